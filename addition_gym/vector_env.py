"""Many lanes of a task at once: arrays in every step, Python only where an episode ends."""

from collections.abc import Callable, Sequence
from typing import Any, ClassVar, Literal

import numpy as np
import numpy.typing as npt
from gymnasium import spaces
from gymnasium.utils import seeding
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import batch_space

from addition_gym import drafts
from addition_gym.checks import one_of, shown, whole
from addition_gym.episode import (
    Reward,
    Tokens,
    check_completion,
    check_options,
    check_problem,
    check_seed,
    end_of_episode,
    failure_reward,
    resolve_max_tokens,
    token_space,
)
from addition_gym.problems import Distribution, Split
from addition_gym.tasks import make_task
from addition_gym.tasks.addition import DEFAULT_DIGITS, addition
from addition_gym.tasks.task import Task
from addition_gym.vocabulary import PAD_TOKEN_ID


class TokenVectorEnv(VectorEnv[Tokens, npt.NDArray[np.int64], npt.NDArray[Any]]):
    """``num_envs`` lanes of :class:`addition_gym.env.TokenEnv`.

    Row i of an environment seeded with s replays the scalar environment seeded with s + i, step for step. A lane that ends
    is reset within the same step (``AutoresetMode.SAME_STEP``): the returned observation is that of its next episode, and
    ``info["final_obs"]`` and ``info["final_info"]`` hold the last of the old one. Gymnasium's own vectorizers reset in the next
    step by default: ``gym.make_vec(id, num_envs=4, vectorization_mode="sync")`` (or ``"async"``) gives those.

    With ``n_samples_per_problem`` = k above 1, rows k * i to k * i + k - 1 are a group, whose rows all have the stream of
    problems of the first. ``reset`` sets them to the same place of it, so that from there on the first, second, ... episodes of
    these rows ask the same problem, whenever each begins.

    The other arguments are those of the scalar environment. ``render()`` returns one text per lane.

    :param num_envs: number of lanes, >= 1
    :param task: the task, or the id that it is registered under
    :param n_samples_per_problem: how many lanes play each problem, a divisor of ``num_envs``
    :raises TypeError, ValueError: if an argument breaks its constraint
    """

    metadata: ClassVar[dict[str, Any]] = {  # type: ignore[misc]
        "render_modes": ["ansi"],
        "autoreset_mode": AutoresetMode.SAME_STEP,
    }

    def __init__(
        self,
        num_envs: int,
        task: Task | str,
        reward: Reward = "binary",
        max_tokens: int | None = None,
        render_mode: Literal["ansi"] | None = None,
        n_samples_per_problem: int = 1,
        **arguments: Any,
    ):
        whole("num_envs", num_envs, 1, "pass a number of lanes")
        whole("n_samples_per_problem", n_samples_per_problem, 1, "1 gives every lane problems of its own")
        if num_envs % n_samples_per_problem:
            raise ValueError(
                f"n_samples_per_problem must divide num_envs = {num_envs}, but it is {shown(n_samples_per_problem)}: change "
                "one of them, so that all problems are played equally often"
            )
        one_of("render_mode", render_mode, (None, *self.metadata["render_modes"]))
        self.num_envs = num_envs
        self.render_mode = render_mode
        self.task = make_task(task, arguments)
        self.failure_reward = failure_reward(reward)
        self.max_tokens = resolve_max_tokens(max_tokens, self.task, num_envs)
        self.vocab_size = self.task.vocabulary.size
        self.single_observation_space = token_space(self.max_tokens, self.vocab_size)
        self.single_action_space = spaces.Discrete(self.vocab_size)
        self.observation_space = batch_space(self.single_observation_space, num_envs)
        self.action_space = batch_space(self.single_action_space, num_envs)
        self._rows = np.arange(num_envs)
        self._first_rows = (self._rows - self._rows % n_samples_per_problem).tolist()
        self._rngs, self._seeds = map(list, zip(*(seeding.np_random() for _ in range(num_envs)), strict=True))
        self._problems: list[Any] = [None] * num_envs
        self._tokens = np.full((num_envs, self.max_tokens), PAD_TOKEN_ID, dtype=np.int64)
        self._lengths = np.zeros(num_envs, dtype=np.int64)
        self._prompt_lengths = np.zeros(num_envs, dtype=np.int64)
        self._closed = np.zeros(num_envs, dtype=np.bool_)  # whether the answer has begun
        self._closing = self.task.vocabulary.encode(self.task.closing)
        self._line_break = int(self.task.vocabulary.encode("\n")[0])
        self._running = False

    def reset(
        self, *, seed: int | Sequence[int | None] | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Tokens, dict[str, Any]]:
        """Start an episode in every lane.

        :param seed: s seeds lane i with s + i; a sequence gives one seed per lane; None continues the streams. In a group, the
            seed of its first lane counts
        :param options: ``{"problem": [...]}`` sets the problem of every lane (addition: ``{"operands": [(a, b), ...]}``);
            ``"completion"`` beside it, the texts that are already written
        :return: observations, int64 of shape ``(num_envs, max_tokens)``, and the problems under the same key
        :raises TypeError, ValueError: as the scalar environment; ``ValueError`` if there is not one seed or problem per lane
        """
        task, key = self.task, self.task.problem_key
        options = check_options(options, key)
        given = self._per_lane(key, options.get(key), None)
        texts = self._per_lane("completion", options.get("completion"), "")
        problems = [check_problem(task, problem, self.max_tokens) for problem in given]
        completions = [check_completion(task, *start, self.max_tokens) for start in zip(texts, problems, strict=True)]
        self._seed_lanes(seed)
        infos: dict[str, Any] = {}
        for row in range(self.num_envs):
            self._start_episode(row, problems[row], completions[row])
            infos = self._add_info(infos, {key: self._problems[row]}, row)
        self._running = True
        return self._tokens.copy(), infos

    def step(
        self, actions: npt.NDArray[np.int64]
    ) -> tuple[Tokens, npt.NDArray[np.float64], npt.NDArray[np.bool_], npt.NDArray[np.bool_], dict[str, Any]]:
        """Append a token to every lane.

        :param actions: token ids in ``[0, V)``, integers of shape ``(num_envs,)``
        :return: observations ``(num_envs, max_tokens)``, rewards, terminations, truncations (all False) of shape
            ``(num_envs,)``, and infos
        :raises ValueError: before ``reset``, or if ``actions`` is not in the action space
        :raises TypeError: if the actions are not integers
        """
        if not self._running:
            raise ValueError("step needs running episodes, but there are none: call reset() first")
        actions = np.asarray(actions)
        if not np.issubdtype(actions.dtype, np.integer):
            raise TypeError(f"actions must be integers, but their dtype is {actions.dtype}: pass token ids")
        if actions.shape != (self.num_envs,) or actions.min() < 0 or actions.max() >= self.vocab_size:
            raise ValueError(
                f"actions must be token ids in [0, {self.vocab_size}) of shape ({self.num_envs},), but they are {actions!r}: "
                "pass one id per lane, as the vocabulary's encode returns"
            )
        self._tokens[self._rows, self._lengths] = actions
        self._lengths += 1

        terminations = (actions == PAD_TOKEN_ID) | (self._lengths == self.max_tokens)
        line_ended = np.flatnonzero(actions == self._line_break)
        if len(line_ended):
            terminations[line_ended] |= self._closed[line_ended]
        if len(self._closing):
            last = self._closing[-1]
            self._note_closings(line_ended if last == self._line_break else np.flatnonzero(actions == last))

        rewards = np.zeros(self.num_envs)
        infos: dict[str, Any] = {}
        for row in np.flatnonzero(terminations).tolist():
            completion = self.task.vocabulary.decode(self._tokens[row, self._prompt_lengths[row] : self._lengths[row]])
            final_info = end_of_episode(self.task, completion, self._problems[row])
            rewards[row] = 1.0 if final_info["is_success"] else self.failure_reward
            final_obs = self._tokens[row].copy()
            self._start_episode(row)
            infos = self._add_info(
                infos, {"final_obs": final_obs, "final_info": final_info, self.task.problem_key: self._problems[row]}, row
            )
        return self._tokens.copy(), rewards, terminations, np.zeros(self.num_envs, dtype=np.bool_), infos

    @property
    def draft(self) -> Callable[[Tokens], Tokens] | None:
        """How texts are likely to go on (:meth:`addition_gym.tasks.task.Task.draft`); None if the task cannot guess."""
        return self.task.draft if self.task.continuation else None

    def action_masks(self) -> npt.NDArray[np.bool_]:
        """Which actions are legal: all of them. Bool of shape ``(num_envs, V)``."""
        return np.ones((self.num_envs, self.vocab_size), dtype=np.bool_)

    def render(self) -> tuple[str, ...] | None:
        """The text so far of every lane if ``render_mode`` is ``"ansi"``."""
        return tuple(self.task.vocabulary.decode(row) for row in self._tokens) if self.render_mode == "ansi" else None

    @property
    def np_random_seed(self) -> tuple[int, ...]:  # type: ignore[override]
        """The seed of every lane."""
        return tuple(self._seeds)

    @property  # type: ignore[misc]
    def np_random(self) -> tuple[np.random.Generator, ...]:  # type: ignore[override]
        """The generator of every lane."""
        return tuple(self._rngs)

    def _per_lane(self, name: str, values: Any, default: Any) -> list[Any]:
        """Given values, one for each lane; without any, the default for all."""
        if values is None:
            return [default] * self.num_envs
        if not _is_list(values) or len(values) != self.num_envs:
            raise ValueError(
                f"{name} must be a list of one for each of the num_envs = {self.num_envs} lanes, "
                f"but it is {shown(values)}: pass that many"
            )
        return list(values)

    def _seed_lanes(self, seed: Any) -> None:
        if not _is_list(seed):
            check_seed(seed)
            seed = None if seed is None else [int(seed) + row for row in range(self.num_envs)]
        seeds = self._per_lane("seed", seed, None)
        for lane_seed in seeds:
            check_seed(lane_seed)
        for row, lane_seed in enumerate(seeds):
            if lane_seed is not None:
                self._rngs[row], self._seeds[row] = seeding.np_random(int(lane_seed))
        for row, first in enumerate(self._first_rows):
            self._rngs[row].bit_generator.state, self._seeds[row] = self._rngs[first].bit_generator.state, self._seeds[first]

    def _note_closings(self, rows: npt.NDArray[np.int64]) -> None:
        """Where a completion has just written what stands before its answer. :param rows: that have written its last token"""
        if not len(rows):
            return
        tails = self._lengths[rows, None] + np.arange(-len(self._closing), 0)
        rows = rows[(self._tokens[rows[:, None], tails] == self._closing).all(axis=1)]
        if len(rows):
            self._closed[rows] |= self._lengths[rows] - self._prompt_lengths[rows] >= len(self._closing)

    def _start_episode(self, row: int, problem: Any = None, completion: str = "") -> None:
        self._problems[row] = self.task.sample(self._rngs[row]) if problem is None else problem
        prompt = self.task.prompt(self._problems[row])
        written = self.task.vocabulary.encode(prompt + completion)
        self._tokens[row] = PAD_TOKEN_ID
        self._tokens[row, : len(written)] = written
        self._lengths[row], self._prompt_lengths[row] = len(written), len(prompt)
        self._closed[row] = self.task.closing in completion


class ScratchpadAddVectorEnv(TokenVectorEnv):
    """``num_envs`` lanes of :class:`addition_gym.env.ScratchpadAddEnv`, whose docstring is the manual.

    What it has besides, and the arguments ``num_envs`` and ``n_samples_per_problem``, is that of :class:`TokenVectorEnv`.

    :raises TypeError, ValueError: if an argument breaks its constraint
    """

    draft = staticmethod(drafts.draft)  # it needs no instance

    def __init__(
        self,
        num_envs: int = 1,
        digits: int = DEFAULT_DIGITS,
        distribution: Distribution = "mixture",
        pretrained_digits: int | None = None,
        split: Split = "all",
        reward: Reward = "binary",
        max_tokens: int | None = None,
        render_mode: Literal["ansi"] | None = None,
        n_samples_per_problem: int = 1,
    ):
        task = addition(digits, distribution, pretrained_digits, split)
        super().__init__(num_envs, task, reward, max_tokens, render_mode, n_samples_per_problem)


def _is_list(values: Any) -> bool:
    return isinstance(values, Sequence | np.ndarray) and not isinstance(values, str)
