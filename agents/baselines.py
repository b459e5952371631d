"""What the return of an episode is compared with: a critic, earlier episodes of its class, or others with the same prompt."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np

from agents.episode_buffer import EpisodeBuffer

Baseline = Literal["critic", "class", "rloo", "grpo", "grpo_no_std"]

ROUNDING = 1e-6
"""Returns that differ by less, as a share of the largest (or of 1), are equal."""
GRPO_EPS = 1e-4
"""Is added to the standard deviation of a group, as in TRL's implementation of GRPO."""
LEAST_SCALE = 0.1
"""The least number that normalisation divides advantages by, in standard deviations of the returns: what a baseline leaves
unexplained is not blown up beyond it."""


@dataclass
class ClassMeans:
    """Running means of the returns of episodes, by class of problem; saved with the agent.

    The first ``horizon`` episodes of a class have equal weights; after that each new one weighs ``1 / horizon``, and older ones
    fade exponentially.

    :param horizon: episodes of a class, >= 1
    """

    horizon: int
    means: dict[str, float] = field(default_factory=dict)
    counts: dict[str, int] = field(default_factory=dict)

    def add(self, problem_class: str, episode_return: float) -> None:
        """Learn from one more episode."""
        count = self.counts[problem_class] = self.counts.get(problem_class, 0) + 1
        mean = self.means.get(problem_class, 0.0)
        self.means[problem_class] = mean + (episode_return - mean) / min(count, self.horizon)


def estimate_advantages(buffer: EpisodeBuffer, baseline: Baseline, class_means: ClassMeans) -> None:
    """Fill in returns, advantages and, without a critic, values: what the baseline says.

    With a critic see :meth:`agents.episode_buffer.EpisodeBuffer.compute_returns_and_advantage`. Without one, all tokens of an
    episode share its discounted return G and its advantage, G - b (for ``"grpo"`` divided by the group's standard deviation):

    - ``"class"``: b is the mean return of earlier episodes of the problem's class (:class:`ClassMeans`); in the rollout where a
      class first appears, the mean of its other episodes there; the only episode of a new class has advantage 0
    - ``"rloo"``: the mean of the other episodes with the same prompt (Ahmadian et al. 2024, arXiv:2402.14740)
    - ``"grpo"``, ``"grpo_no_std"``: the mean of all episodes with the same prompt (Shao et al. 2024, arXiv:2402.03300;
      Liu et al. 2025, arXiv:2503.20783)

    If all returns are the same, up to rounding, there is nothing to learn from: all advantages are exactly 0.

    :param class_means: of earlier rollouts; ``"class"`` adds this one
    :raises ValueError: if an episode has no class, or is alone with its prompt, where that is needed
    """
    returns = _discounted_returns(buffer)
    if baseline == "critic":
        buffer.compute_returns_and_advantage()
        compared = returns[buffer.mask]
    else:
        compared = returns[np.arange(buffer.n_episodes), _first_actions(buffer)]  # (E,)
        if baseline == "class":
            expected, scale = _expected_by_class(buffer.problem_classes, compared, class_means), np.ones_like(compared)
        else:
            expected, scale = _expected_by_group(_prompts(buffer), compared, baseline)
        for array, of_episode in (
            (buffer.returns, compared),
            (buffer.values, expected),
            (buffer.advantages, (compared - expected) / scale),
        ):
            array[:] = np.where(buffer.mask, of_episode[:, None], 0)
    with np.errstate(invalid="ignore"):  # of infinite rewards, which are the caller's to refuse
        equal = compared.max() - compared.min() <= ROUNDING * max(1, abs(compared).max())
    if equal:
        buffer.advantages[:] = 0


def normalize_advantages(buffer: EpisodeBuffer, baseline: Baseline) -> None:
    """Bring the advantages of all actions together to mean 0 and standard deviation 1.

    They are not divided by less than :data:`LEAST_SCALE` standard deviations of the returns. Those of ``"rloo"`` are scaled
    only: groups have mean 0, and one whose episodes all did the same is to stay at 0. GRPO's stay as they are, since what
    divides them is all that the two differ in.
    """
    if baseline in ("grpo", "grpo_no_std"):
        return
    advantages = buffer.advantages[buffer.mask]
    centre = 0.0 if baseline == "rloo" else advantages.mean()
    scale = max(np.sqrt(np.square(advantages - centre).mean()), LEAST_SCALE * buffer.returns[buffer.mask].std())
    if scale > 0:
        buffer.advantages[buffer.mask] = (advantages - centre) / scale


def _discounted_returns(buffer: EpisodeBuffer) -> np.ndarray:
    """Sum of the discounted rewards from every action to the end of its episode, ``(E, T)``; no meaning outside the mask."""
    returns = np.zeros((buffer.n_episodes, buffer.max_tokens))
    following = np.zeros(buffer.n_episodes)
    for t in reversed(range(buffer.max_tokens)):
        following = returns[:, t] = buffer.rewards[:, t] + buffer.gamma * following
    return returns


def _first_actions(buffer: EpisodeBuffer) -> np.ndarray:
    return buffer.mask.argmax(axis=1)


def _prompts(buffer: EpisodeBuffer) -> list[bytes]:
    """What stood there before the first action, by episode."""
    return [tokens[: end + 1].tobytes() for tokens, end in zip(buffer.tokens, _first_actions(buffer), strict=True)]


def _expected_by_class(classes: Sequence[str | None], returns: np.ndarray, class_means: ClassMeans) -> np.ndarray:
    """The baseline of every episode, before ``class_means`` learns of any."""
    expected = np.zeros_like(returns)
    for problem_class in dict.fromkeys(classes):
        if problem_class is None:
            raise ValueError(
                "baseline must not be 'class' with an environment that does not name the classes of its problems, but it is: "
                "report problem_class, a string, in the last info of every episode, or choose another baseline"
            )
        rows = np.array([row for row, each in enumerate(classes) if each == problem_class])
        if problem_class in class_means.means:
            expected[rows] = class_means.means[problem_class]
        else:
            expected[rows] = returns[rows] if len(rows) == 1 else _mean_of_others(returns[rows])
        for episode_return in returns[rows]:
            class_means.add(problem_class, float(episode_return))
    return expected


def _expected_by_group(prompts: Sequence[bytes], returns: np.ndarray, baseline: Baseline) -> tuple[np.ndarray, np.ndarray]:
    """The baseline of every episode, and what its advantage is divided by."""
    expected, scale = np.zeros_like(returns), np.ones_like(returns)
    for prompt in dict.fromkeys(prompts):
        rows = np.array([row for row, each in enumerate(prompts) if each == prompt])
        if len(rows) == 1:
            raise ValueError(
                "baseline must be 'critic' or 'class' where a prompt has only one episode in a rollout, but it is "
                f"{baseline!r}: make the environment ask every problem in several lanes (n_samples_per_problem >= 2), or "
                "choose one of these"
            )
        group = returns[rows]
        expected[rows] = _mean_of_others(group) if baseline == "rloo" else group.mean()
        if baseline == "grpo":
            scale[rows] = group.std(ddof=1) + GRPO_EPS
    return expected, scale


def _mean_of_others(returns: np.ndarray) -> np.ndarray:
    return (returns.sum() - returns) / (len(returns) - 1)
