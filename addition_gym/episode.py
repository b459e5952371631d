"""What the scalar and the vector environment share: their arguments, their reset options, and the end of an episode."""

from typing import Any, Literal, get_args

import numpy as np
import numpy.typing as npt
from gymnasium import spaces

from addition_gym import scratchpad
from addition_gym.checks import check_operands, one_of, shown, whole
from addition_gym.problems import Distribution, ProblemSampler, Split, problem_class
from addition_gym.vocabulary import VOCAB_SIZE, encode

Tokens = npt.NDArray[np.int64]
Reward = Literal["binary", "signed"]

DEFAULT_DIGITS = 6

MAX_TOKENS_MARGIN = 16
"""How many tokens the default budget leaves beyond the longest solution."""

MAX_HELD_TOKENS = 2**28
"""The most tokens that the observations of an environment hold, those of all lanes together: 2 GB."""


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
    one_of("reward", reward, get_args(Reward))
    return 0.0 if reward == "binary" else -1.0


def resolve_max_tokens(max_tokens: int | None, digits: int, num_envs: int = 1) -> int:
    """The token budget: as given, or the longest solution plus a margin.

    :param num_envs: number of lanes, each of which holds that many tokens
    :raises TypeError: if ``max_tokens`` is not an int
    :raises ValueError: if the longest solution does not fit, or all lanes together hold more than ``MAX_HELD_TOKENS``
    """
    needed = scratchpad.longest_text(digits)
    if max_tokens is None:
        max_tokens = needed + MAX_TOKENS_MARGIN
    whole("max_tokens", max_tokens, needed, f"pass room for the longest text with {digits} digits, or lower digits")
    if num_envs * max_tokens > MAX_HELD_TOKENS:
        raise ValueError(
            f"num_envs * max_tokens must be at most {MAX_HELD_TOKENS}, what fits into memory, but it is "
            f"{shown(num_envs)} * {shown(max_tokens)}: lower num_envs, digits or max_tokens"
        )
    return max_tokens


def token_space(max_tokens: int) -> spaces.Box:
    """The observation space: token ids, padded on the right."""
    return spaces.Box(0, VOCAB_SIZE - 1, (max_tokens,), np.int64)


def check_seed(seed: Any) -> None:
    """Refuse what does not seed a generator.

    :raises TypeError: if it is neither an int nor None
    :raises ValueError: if it is negative
    """
    if seed is not None and not isinstance(seed, int | np.integer):
        raise TypeError(f"seed must be an int or None, but it is {shown(seed)}: pass a number >= 0")
    if seed is not None and seed < 0:
        raise ValueError(f"seed must be >= 0, but it is {shown(seed)}: pass a number >= 0")


def check_options(options: dict[str, Any] | None) -> dict[str, Any]:
    """Refuse reset options that would be silently ignored.

    :return: the options, empty if there are none
    :raises TypeError: if it is not a dict
    :raises ValueError: if there is a key other than ``"operands"`` and ``"completion"``
    """
    options = {} if options is None else options
    if not isinstance(options, dict):
        raise TypeError(f"options must be a dict, but it is {shown(options)}: pass {{'operands': ...}}")
    for key in options:
        if key not in ("operands", "completion"):
            raise ValueError(
                f"options must hold only the keys 'operands' and 'completion', but it holds {shown(key)}: remove it"
            )
    return options


def check_problem(operands: Any, max_tokens: int) -> tuple[int, int] | None:
    """The operands as a pair of Python ints, if their solution fits.

    :param operands: None if the problem is still to be drawn
    :raises TypeError: if it is not a pair of integers
    :raises ValueError: if an operand is negative, or prompt and solution need more than ``max_tokens``
    """
    if operands is None:
        return None
    try:
        a, b = (int(x) if isinstance(x, np.integer) else x for x in operands)
    except (TypeError, ValueError):
        raise TypeError(f"operands must be a pair of ints, but it is {shown(operands)}: pass (a, b)") from None
    check_operands(a, b)
    needed = len(scratchpad.prompt(a, b)) + len(scratchpad.solution(a, b))
    if needed > max_tokens:
        raise ValueError(
            f"operands must have a solution of at most max_tokens = {max_tokens} tokens, but {a}+{b} needs {needed}: "
            "make the environment with more digits or max_tokens"
        )
    return a, b


def check_completion(completion: Any, operands: tuple[int, int] | None, max_tokens: int) -> str:
    """The text that an episode starts with after its prompt, if it leaves something to write.

    :param completion: ``""`` to start at the prompt
    :param operands: the problem it belongs to, or None if that is still to be drawn
    :raises TypeError: if it is not a string
    :raises ValueError: if it is not empty and there are no operands, it holds characters that are not in the vocabulary, its
        result line is complete, or it fills the budget
    """
    if not isinstance(completion, str):
        raise TypeError(f"completion must be a string, but it is {shown(completion)}: pass the text after the prompt")
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

    :param completion: the text after the prompt, without padding
    :param operands: the problem
    :param pretrained_digits: N, which decides what is critical, and what is long
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
        "problem_class": problem_class(operands, pretrained_digits),
    }


def longest_digits(max_tokens: int) -> int:
    """The longest operands, in digits, whose problems fit into a token budget; 0 if none do."""
    digits = 0
    while resolve_max_tokens(None, digits + 1) <= max_tokens:
        digits += 1
    return digits
