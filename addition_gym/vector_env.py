"""``ScratchpadAdd-v0`` for many lanes at once: arrays in every step, Python only where an episode ends."""

from collections.abc import Sequence
from typing import Any, ClassVar, Literal

import numpy as np
import numpy.typing as npt
from gymnasium import spaces
from gymnasium.utils import seeding
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import batch_space

from addition_gym import scratchpad
from addition_gym.checks import one_of, shown, whole
from addition_gym.drafts import draft
from addition_gym.episode import (
    DEFAULT_DIGITS,
    Reward,
    Tokens,
    check_completion,
    check_options,
    check_problem,
    check_seed,
    end_of_episode,
    failure_reward,
    make_sampler,
    resolve_max_tokens,
    token_space,
)
from addition_gym.problems import Distribution, Split
from addition_gym.vocabulary import PAD_TOKEN_ID, VOCAB_SIZE, decode, encode

_CLOSING = encode(scratchpad.CLOSING)
_LINE_BREAK = int(encode("\n")[0])


class ScratchpadAddVectorEnv(VectorEnv[Tokens, npt.NDArray[np.int64], npt.NDArray[Any]]):
    """``num_envs`` lanes of :class:`addition_gym.env.ScratchpadAddEnv`, whose docstring is the manual.

    Row i of an environment seeded with s replays the scalar environment seeded with s + i, step for step. A lane that ends
    is reset within the same step (``AutoresetMode.SAME_STEP``): the returned observation is that of its next episode, and
    ``info["final_obs"]`` and ``info["final_info"]`` hold the last of the old one. Gymnasium's own vectorizers reset in the next
    step by default: ``gym.make_vec("ScratchpadAdd-v0", num_envs=4, vectorization_mode="sync")`` (or ``"async"``) gives those.

    With ``n_samples_per_problem`` = k above 1, rows k * i to k * i + k - 1 are a group, whose rows all have the stream of
    problems of the first. ``reset`` sets them to the same place of it, so that from there on the first, second, ... episodes of
    these rows ask the same problem, whenever each begins.

    The other arguments are those of the scalar environment. ``render()`` returns one text per lane.

    :param num_envs: number of lanes, >= 1
    :param n_samples_per_problem: how many lanes play each problem, a divisor of ``num_envs``
    :raises TypeError, ValueError: if an argument breaks its constraint
    """

    metadata: ClassVar[dict[str, Any]] = {  # type: ignore[misc]
        "render_modes": ["ansi"],
        "autoreset_mode": AutoresetMode.SAME_STEP,
    }

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
        self.sampler = make_sampler(digits, distribution, pretrained_digits, split)
        self.failure_reward = failure_reward(reward)
        self.max_tokens = resolve_max_tokens(max_tokens, digits, num_envs)
        self.single_observation_space = token_space(self.max_tokens)
        self.single_action_space = spaces.Discrete(VOCAB_SIZE)
        self.observation_space = batch_space(self.single_observation_space, num_envs)
        self.action_space = batch_space(self.single_action_space, num_envs)
        self._rows = np.arange(num_envs)
        self._first_rows = (self._rows - self._rows % n_samples_per_problem).tolist()
        self._rngs, self._seeds = map(list, zip(*(seeding.np_random() for _ in range(num_envs)), strict=True))
        self._operands = [(0, 0)] * num_envs
        self._tokens = np.full((num_envs, self.max_tokens), PAD_TOKEN_ID, dtype=np.int64)
        self._lengths = np.zeros(num_envs, dtype=np.int64)
        self._prompt_lengths = np.zeros(num_envs, dtype=np.int64)
        self._scratch_closed = np.zeros(num_envs, dtype=np.bool_)
        self._running = False

    def reset(
        self, *, seed: int | Sequence[int | None] | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Tokens, dict[str, Any]]:
        """Start an episode in every lane.

        :param seed: s seeds lane i with s + i; a sequence gives one seed per lane; None continues the streams. In a group, the
            seed of its first lane counts
        :param options: ``{"operands": [(a, b), ...]}`` sets the problem of every lane; ``"completion"`` beside it, the texts
            that are already written
        :return: observations, int64 of shape ``(num_envs, max_tokens)``, and ``{"operands": ...}``
        :raises TypeError, ValueError: as the scalar environment; ``ValueError`` if there is not one seed or problem per lane
        """
        options = check_options(options)
        operands = self._per_lane("operands", options.get("operands"), None)
        texts = self._per_lane("completion", options.get("completion"), "")
        problems = [check_problem(pair, self.max_tokens) for pair in operands]
        completions = [check_completion(*start, self.max_tokens) for start in zip(texts, problems, strict=True)]
        self._seed_lanes(seed)
        infos: dict[str, Any] = {}
        for row in range(self.num_envs):
            self._start_episode(row, problems[row], completions[row])
            infos = self._add_info(infos, {"operands": self._operands[row]}, row)
        self._running = True
        return self._tokens.copy(), infos

    def step(
        self, actions: npt.NDArray[np.int64]
    ) -> tuple[Tokens, npt.NDArray[np.float64], npt.NDArray[np.bool_], npt.NDArray[np.bool_], dict[str, Any]]:
        """Append a token to every lane.

        :param actions: token ids in ``[0, VOCAB_SIZE)``, integers of shape ``(num_envs,)``
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
        if actions.shape != (self.num_envs,) or actions.min() < 0 or actions.max() >= VOCAB_SIZE:
            raise ValueError(
                f"actions must be token ids in [0, {VOCAB_SIZE}) of shape ({self.num_envs},), but they are {actions!r}: "
                "pass one id per lane, as addition_gym.encode returns"
            )
        self._tokens[self._rows, self._lengths] = actions
        self._lengths += 1

        terminations = (actions == PAD_TOKEN_ID) | (self._lengths == self.max_tokens)
        line_ended = np.flatnonzero(actions == _LINE_BREAK)
        if len(line_ended):
            terminations[line_ended] |= self._scratch_closed[line_ended]
            tails = self._lengths[line_ended, None] + np.arange(-len(_CLOSING), 0)
            self._scratch_closed[line_ended] |= (self._tokens[line_ended[:, None], tails] == _CLOSING).all(axis=1)

        rewards = np.zeros(self.num_envs)
        infos: dict[str, Any] = {}
        for row in np.flatnonzero(terminations).tolist():
            completion = decode(self._tokens[row, self._prompt_lengths[row] : self._lengths[row]])
            final_info = end_of_episode(completion, self._operands[row], self.sampler.pretrained_digits)
            rewards[row] = 1.0 if final_info["is_success"] else self.failure_reward
            final_obs = self._tokens[row].copy()
            self._start_episode(row)
            infos = self._add_info(
                infos, {"final_obs": final_obs, "final_info": final_info, "operands": self._operands[row]}, row
            )
        return self._tokens.copy(), rewards, terminations, np.zeros(self.num_envs, dtype=np.bool_), infos

    draft = staticmethod(draft)

    def action_masks(self) -> npt.NDArray[np.bool_]:
        """Which actions are legal: all of them. Bool of shape ``(num_envs, VOCAB_SIZE)``."""
        return np.ones((self.num_envs, VOCAB_SIZE), dtype=np.bool_)

    def render(self) -> tuple[str, ...] | None:
        """The text so far of every lane if ``render_mode`` is ``"ansi"``."""
        return tuple(decode(row) for row in self._tokens) if self.render_mode == "ansi" else None

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

    def _start_episode(self, row: int, operands: tuple[int, int] | None = None, completion: str = "") -> None:
        self._operands[row] = self.sampler.sample(self._rngs[row]) if operands is None else operands
        prompt = scratchpad.prompt(*self._operands[row])
        written = encode(prompt + completion)
        self._tokens[row] = PAD_TOKEN_ID
        self._tokens[row, : len(written)] = written
        self._lengths[row], self._prompt_lengths[row] = len(written), len(prompt)
        self._scratch_closed[row] = scratchpad.CLOSING in completion


def _is_list(values: Any) -> bool:
    return isinstance(values, Sequence | np.ndarray) and not isinstance(values, str)
