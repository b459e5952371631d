"""``ScratchpadAdd-v0``: the scratchpad addition task as a Gymnasium environment, one token a step."""

from typing import Any, ClassVar, Literal, get_args

import gymnasium as gym
import numpy as np
import numpy.typing as npt
from gymnasium import spaces

from addition_gym import scratchpad
from addition_gym.problems import Distribution, ProblemSampler, Split
from addition_gym.vocabulary import PAD_TOKEN_ID, VOCAB_SIZE, decode, encode

Reward = Literal["binary", "signed"]
Tokens = npt.NDArray[np.int64]

DEFAULT_DIGITS = 6
MAX_TOKENS_MARGIN = 16
"""How many tokens the default budget leaves beyond the longest solution."""

MAX_HELD_TOKENS = 2**28
"""The most tokens that the observations of an environment hold, those of all lanes together: 2 GB."""

_FAILURE_REWARD: dict[Reward, float] = {"binary": 0.0, "signed": -1.0}


class ScratchpadAddEnv(gym.Env[Tokens, np.int64]):
    """Add two numbers on a scratchpad, one character token at a time; only the final answer is rewarded.

    ## Description
    The model is given a prompt such as ``Input:\\n345+67\\nTarget:`` and must write a worked scratchpad and the result:

        <scratch>
        [3,4,5] + [6,7] , A=[] , C=0 , 5+7+0=12 , A->2 , C->1
        [3,4] + [6] , A=[2] , C=1 , 4+6+1=11 , A->1 , C->1
        [3] + [] , A=[1,2] , C=1 , 3+0+1=4 , A->4 , C->0
        [] + [] , A=[4,1,2] C=0 , END
        </scratch>
        4 1 2

    The state is the text so far, an action is the next token, and a transition appends it. A model that was pre-trained on
    shorter operands fails at a few *critical tokens*, where the longer number must survive the copy.

    ## Action Space
    ``Discrete(VOCAB_SIZE)``: the next token. Every token is legal in every state (``action_masks()`` says so to
    sb3-contrib); padding ends the episode. ``addition_gym.decode`` turns token ids into text.

    ## Observation Space
    ``Box(0, VOCAB_SIZE - 1, (max_tokens,), int64)``: prompt and completion so far, padded right with ``PAD_TOKEN_ID``.

    ## Starting State
    The prompt of a problem drawn from ``distribution``. ``reset(options={"operands": (a, b)})`` sets the problem instead, and
    ``{"operands": (a, b), "completion": text}`` starts in the middle of its scratchpad: the text is already written.

    ## Rewards
    0 until the end. At the end 1 if the result line is exactly that of the sum, otherwise 0 (``reward="binary"``, the
    paper) or -1 (``reward="signed"``, the authors' code). The scratchpad above the result line is not judged.

    ## Episode End
    The episode terminates at the line break that ends the result line (the first line after the line ``</scratch>``), on
    the padding token, or when ``max_tokens`` are written. The budget is part of the task, so it terminates the episode;
    ``truncated`` is always False.

    ## Information
    ``reset`` returns ``operands``. The last step of an episode returns

    - ``is_success``: bool, whether the result line is right
    - ``operands``: ``(a, b)``
    - ``expected``: the right result line, such as ``"4 1 2"``
    - ``answer``: the given result line, or None if the completion ended before one
    - ``text``: prompt and completion
    - ``first_error``: index of the first completion token that departs from ``solution(a, b)``, or -1
    - ``critical_tokens``: indices, in prompt and completion together, of the tokens written where
      :func:`addition_gym.scratchpad.critical_tokens` has a critical one, up to the first error: behind it the text is not
      the solution's any more

    ## Arguments
    - ``digits``: the longest operand, in digits, >= 1
    - ``distribution``: ``"identical"``, ``"varying"``, ``"up_to"`` or ``"mixture"``; see
      :class:`addition_gym.problems.ProblemSampler`
    - ``pretrained_digits``: N of the mixture and of the critical tokens, 1 <= N < ``digits``; ``digits - 1`` by default
    - ``split``: ``"all"``, ``"train"`` or ``"test"``; a fixed hash puts one problem in ten into ``"test"``
    - ``reward``: ``"binary"`` or ``"signed"``
    - ``max_tokens``: length of the observation, prompt and completion together; by default the longest solution plus 16
    - ``render_mode``: None, ``"ansi"`` (``render()`` returns the text so far) or ``"human"`` (it is printed as it grows)

    ``env.spec`` and ``gym.make`` take all of them; ``gym.make_vec("ScratchpadAdd-v0", num_envs=64)`` gives the native
    vector environment, whose row i equals this environment seeded with seed + i.

    ## References
    - Vassoyan, Beau, Plaud (2025), "Ignore the KL Penalty! Boosting Exploration on Critical Tokens to Enhance RL
      Fine-Tuning", arXiv:2502.06533
    - Lee et al. (2024), "Teaching Arithmetic to Small Transformers", arXiv:2307.03381

    ## Version History
    * v0: initial version
    """

    metadata: ClassVar[dict[str, Any]] = {"render_modes": ["ansi", "human"], "render_fps": 30}  # type: ignore[misc]

    def __init__(
        self,
        digits: int = DEFAULT_DIGITS,
        distribution: Distribution = "mixture",
        pretrained_digits: int | None = None,
        split: Split = "all",
        reward: Reward = "binary",
        max_tokens: int | None = None,
        render_mode: Literal["ansi", "human"] | None = None,
    ):
        self.sampler = make_sampler(digits, distribution, pretrained_digits, split)
        self.failure_reward = failure_reward(reward)
        self.max_tokens = resolve_max_tokens(max_tokens, digits)
        if render_mode is not None and render_mode not in self.metadata["render_modes"]:
            raise TypeError(  # SB3 asks every environment id for rgb_array, and takes a TypeError for a no
                f"render_mode must be None or one of {self.metadata['render_modes']}, but it is "
                f"{scratchpad.shown(render_mode)}: choose one of these"
            )
        self.render_mode = render_mode
        self.observation_space = token_space(self.max_tokens)  # type: ignore[assignment]
        self.action_space = spaces.Discrete(VOCAB_SIZE)
        self._operands: tuple[int, int] | None = None
        self._tokens = np.full(self.max_tokens, PAD_TOKEN_ID, dtype=np.int64)
        self._length = 0
        self._prompt_length = 0
        self._running = False

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Tokens, dict[str, Any]]:
        """Start an episode.

        :param seed: seeds the problem stream; the same seed gives the same problems for ever
        :param options: ``{"operands": (a, b)}`` sets the problem; ``"completion"`` beside it, the text that is already written
        :return: the observation, int64 of shape ``(max_tokens,)``, and ``{"operands": (a, b)}``
        :raises TypeError: if ``options`` is not a dict, the seed or an operand is not an int, or the completion is not a string
        :raises ValueError: if ``options`` has an unknown key, or a completion without operands; if the seed or an operand is
            negative, the solution does not fit into ``max_tokens``, or the completion leaves nothing to write
        """
        check_seed(seed)
        options = check_options(options)
        problem = None if options.get("operands") is None else check_problem(options["operands"], self.max_tokens)
        completion = check_completion(options.get("completion", ""), problem, self.max_tokens)
        super().reset(seed=seed)
        self._operands = problem or self.sampler.sample(self.np_random)
        prompt = scratchpad.prompt(*self._operands)
        written = encode(prompt + completion)
        self._tokens[:] = PAD_TOKEN_ID
        self._tokens[: len(written)] = written
        self._length, self._prompt_length = len(written), len(prompt)
        self._running = True
        if self.render_mode == "human":
            print(prompt + completion, end="", flush=True)
        return self._tokens.copy(), {"operands": self._operands}

    def step(self, action: np.int64 | int) -> tuple[Tokens, float, bool, bool, dict[str, Any]]:
        """Append a token.

        :param action: token id in ``[0, VOCAB_SIZE)``
        :return: observation, reward, terminated, truncated (always False), info
        :raises ValueError: before the first ``reset``, after the end of an episode,
            or if the token id is not in the action space
        """
        if not self._running or self._operands is None:
            raise ValueError("step needs a running episode, but there is none: call reset() first")
        if not self.action_space.contains(action):
            raise ValueError(
                f"action must be a token id, an integer in [0, {VOCAB_SIZE}), but it is {scratchpad.shown(action)}: "
                "pass an id as addition_gym.encode returns"
            )
        self._tokens[self._length] = action
        self._length += 1
        completion = decode(self._tokens[self._prompt_length : self._length])
        if self.render_mode == "human":
            print(decode(np.array([action])), end="", flush=True)
        result_line_ended = scratchpad.answer(completion) is not None
        terminated = result_line_ended or int(action) == PAD_TOKEN_ID or self._length == self.max_tokens
        if not terminated:
            return self._tokens.copy(), 0.0, False, False, {}
        self._running = False
        if self.render_mode == "human" and not result_line_ended:
            print(flush=True)
        info = end_of_episode(completion, self._operands, self.sampler.pretrained_digits)
        return self._tokens.copy(), 1.0 if info["is_success"] else self.failure_reward, True, False, info

    def action_masks(self) -> npt.NDArray[np.bool_]:
        """Which actions are legal, for sb3-contrib: all of them. Bool of shape ``(VOCAB_SIZE,)``."""
        return np.ones(VOCAB_SIZE, dtype=np.bool_)

    def render(self) -> str | None:
        """The text so far if ``render_mode`` is ``"ansi"``."""
        return decode(self._tokens) if self.render_mode == "ansi" else None


def make_sampler(digits: int, distribution: Distribution, pretrained_digits: int | None, split: Split) -> ProblemSampler:
    """The problem distribution of an environment; N is ``digits - 1`` if it is not given.

    :raises TypeError, ValueError: see :class:`addition_gym.problems.ProblemSampler`
    """
    if pretrained_digits is None:
        pretrained_digits = digits - 1 if isinstance(digits, int) and digits > 1 else 1
    return ProblemSampler(digits, distribution, pretrained_digits, split)


def failure_reward(reward: Reward) -> float:
    """What a wrong answer earns.

    :raises ValueError: if ``reward`` is unknown
    """
    if reward not in get_args(Reward):
        raise ValueError(f"reward must be 'binary' or 'signed', but it is {scratchpad.shown(reward)}: choose one of these")
    return _FAILURE_REWARD[reward]


def resolve_max_tokens(max_tokens: int | None, digits: int, num_envs: int = 1) -> int:
    """The token budget: as given, or the longest solution plus a margin.

    :param num_envs: lanes that hold so many tokens each
    :raises TypeError: if ``max_tokens`` is not an int
    :raises ValueError: if the longest solution does not fit, or all lanes together hold more than ``MAX_HELD_TOKENS``
    """
    needed = scratchpad.longest_text(digits)
    if max_tokens is None:
        max_tokens = needed + MAX_TOKENS_MARGIN
    if not isinstance(max_tokens, int) or isinstance(max_tokens, bool):
        raise TypeError(f"max_tokens must be an int, but it is {scratchpad.shown(max_tokens)}: pass a number of tokens")
    if max_tokens < needed:
        raise ValueError(
            f"max_tokens must be >= {needed}, the longest text with {digits} digits, but it is "
            f"{scratchpad.shown(max_tokens)}: raise it, or lower digits"
        )
    if num_envs * max_tokens > MAX_HELD_TOKENS:
        raise ValueError(
            f"num_envs * max_tokens must be at most {MAX_HELD_TOKENS}, what fits into memory, but it is "
            f"{scratchpad.shown(num_envs)} * {scratchpad.shown(max_tokens)}: lower num_envs, digits or max_tokens"
        )
    return max_tokens


def token_space(max_tokens: int) -> spaces.Box:
    """The observation space: token ids, padded right."""
    return spaces.Box(0, VOCAB_SIZE - 1, (max_tokens,), np.int64)


def check_options(options: dict[str, Any] | None) -> dict[str, Any]:
    """Refuse reset options that would be silently ignored.

    :raises TypeError: if it is not a dict
    :raises ValueError: if there is a key other than ``"operands"`` and ``"completion"``
    """
    if options is not None and not isinstance(options, dict):
        raise TypeError(f"options must be a dict, but it is {scratchpad.shown(options)}: pass {{'operands': ...}}")
    for key in options or {}:
        if key not in ("operands", "completion"):
            raise ValueError(
                f"options must hold only the keys 'operands' and 'completion', but it holds {scratchpad.shown(key)}: remove it"
            )
    return options or {}


def check_seed(seed: Any) -> None:
    """Refuse what seeds no generator.

    :raises TypeError: if it is neither an int nor None
    :raises ValueError: if it is negative
    """
    if seed is not None and not isinstance(seed, int | np.integer):
        raise TypeError(f"seed must be an int or None, but it is {scratchpad.shown(seed)}: pass a number >= 0")
    if seed is not None and seed < 0:
        raise ValueError(f"seed must be >= 0, but it is {scratchpad.shown(seed)}: pass a number >= 0")


def check_problem(operands: Any, max_tokens: int) -> tuple[int, int]:
    """The operands as a pair of Python ints, if their solution fits.

    :raises TypeError: if it is not a pair of integers
    :raises ValueError: if an operand is negative, or prompt and solution need more than ``max_tokens``
    """
    try:
        a, b = (int(x) if isinstance(x, np.integer) else x for x in operands)
    except (TypeError, ValueError):
        raise TypeError(f"operands must be a pair of ints, but it is {scratchpad.shown(operands)}: pass (a, b)") from None
    scratchpad.check_operands(a, b)
    needed = len(scratchpad.prompt(a, b)) + len(scratchpad.solution(a, b))
    if needed > max_tokens:
        raise ValueError(
            f"operands must have a solution of at most max_tokens = {max_tokens} tokens, but {a}+{b} needs {needed}: "
            "make the environment with more digits or max_tokens"
        )
    return a, b


def check_completion(completion: Any, operands: tuple[int, int] | None, max_tokens: int) -> str:
    """The text that an episode starts with behind its prompt, if something is left to write.

    :param completion: ``""`` to start at the prompt
    :param operands: the problem it belongs to, or None if that is still to be drawn
    :raises TypeError: if it is not a string
    :raises ValueError: if it is not empty and there are no operands, it holds characters that are not in the vocabulary, its
        result line is complete, or it fills the budget
    """
    if not isinstance(completion, str):
        raise TypeError(
            f"completion must be a string, but it is {scratchpad.shown(completion)}: pass the text behind the prompt"
        )
    if not completion:
        return completion
    if operands is None:
        raise ValueError("completion needs operands, but there are none: pass {'operands': (a, b), 'completion': text}")
    room = max_tokens - len(scratchpad.prompt(*operands))
    if scratchpad.answer(completion) is not None or len(encode(completion)) >= room:
        raise ValueError(
            f"completion must leave something to write within {room} tokens, but it has {len(completion)}, and its result line "
            f"is {scratchpad.answer(completion)!r}: pass a shorter part of it"
        )
    return completion


def end_of_episode(completion: str, operands: tuple[int, int], pretrained_digits: int) -> dict[str, Any]:
    """The ``info`` of an episode's last step.

    :param completion: the text behind the prompt, without padding
    :param operands: the problem
    :param pretrained_digits: N, which decides what is critical
    """
    prompt = scratchpad.prompt(*operands)
    first_error = scratchpad.first_error(completion, *operands)
    right_until = len(completion) if first_error < 0 else min(first_error + 1, len(completion))
    return {
        "is_success": scratchpad.is_correct(completion, *operands),
        "operands": operands,
        "expected": scratchpad.result_line(*operands),
        "answer": scratchpad.answer(completion),
        "text": prompt + completion,
        "first_error": first_error,
        "critical_tokens": tuple(
            len(prompt) + token.position
            for token in scratchpad.critical_tokens(*operands, pretrained_digits)
            if token.position < right_until
        ),
    }
