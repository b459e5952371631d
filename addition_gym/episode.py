"""What the scalar and the vector environment share: their arguments, their reset options, and the end of an episode."""

from typing import Any, Literal, get_args

import numpy as np
import numpy.typing as npt
from gymnasium import spaces

from addition_gym.checks import one_of, shown, whole
from addition_gym.tasks.addition import Addition
from addition_gym.tasks.task import Task
from addition_gym.vocabulary import VOCAB_SIZE

Tokens = npt.NDArray[np.int64]
Reward = Literal["binary", "signed"]

MAX_HELD_TOKENS = 2**28
"""The most tokens that the observations of an environment hold, those of all lanes together: 2 GB."""


def failure_reward(reward: Reward) -> float:
    """What a wrong answer earns.

    :raises ValueError: if ``reward`` is unknown
    """
    one_of("reward", reward, get_args(Reward))
    return 0.0 if reward == "binary" else -1.0


def resolve_max_tokens(max_tokens: int | None, task: Task, num_envs: int = 1) -> int:
    """The token budget: as given, or the longest solution plus a margin.

    :param num_envs: number of lanes, each of which holds that many tokens
    :raises TypeError: if ``max_tokens`` is not an int
    :raises ValueError: if the longest solution does not fit, or all lanes together hold more than ``MAX_HELD_TOKENS``
    """
    needed = task.longest_text
    if max_tokens is None:
        max_tokens = task.default_max_tokens
    whole("max_tokens", max_tokens, needed, f"pass room for the longest text of size {task.size}, or lower that")
    if num_envs * max_tokens > MAX_HELD_TOKENS:
        raise ValueError(
            f"num_envs * max_tokens must be at most {MAX_HELD_TOKENS}, what fits into memory, but it is "
            f"{shown(num_envs)} * {shown(max_tokens)}: lower num_envs, max_tokens or the size of problems"
        )
    return max_tokens


def token_space(max_tokens: int, vocab_size: int = VOCAB_SIZE) -> spaces.Box:
    """The observation space: token ids, padded on the right. :param vocab_size: V; that of addition by default"""
    return spaces.Box(0, vocab_size - 1, (max_tokens,), np.int64)


def check_seed(seed: Any) -> None:
    """Refuse what does not seed a generator.

    :raises TypeError: if it is neither an int nor None
    :raises ValueError: if it is negative
    """
    if seed is not None and not isinstance(seed, int | np.integer):
        raise TypeError(f"seed must be an int or None, but it is {shown(seed)}: pass a number >= 0")
    if seed is not None and seed < 0:
        raise ValueError(f"seed must be >= 0, but it is {shown(seed)}: pass a number >= 0")


def check_options(options: dict[str, Any] | None, problem_key: str) -> dict[str, Any]:
    """Refuse reset options that would be silently ignored.

    :param problem_key: what the task calls a problem
    :return: the options, empty if there are none
    :raises TypeError: if it is not a dict
    :raises ValueError: if there is a key other than ``problem_key`` and ``"completion"``
    """
    options = {} if options is None else options
    if not isinstance(options, dict):
        raise TypeError(f"options must be a dict, but it is {shown(options)}: pass {{{problem_key!r}: ...}}")
    for key in options:
        if key not in (problem_key, "completion"):
            raise ValueError(
                f"options must hold only the keys {problem_key!r} and 'completion', but it holds {shown(key)}: remove it"
            )
    return options


def check_problem(task: Task, problem: Any, max_tokens: int) -> Any:
    """A given problem in the form that the task draws it, if its solution fits.

    :param problem: None if it is still to be drawn
    :raises TypeError, ValueError: if it is none of the task, or prompt and solution need more than ``max_tokens``
    """
    if problem is None:
        return None
    problem = task.check(problem)
    needed = len(task.prompt(problem)) + len(task.solution(problem))
    if needed > max_tokens:
        raise ValueError(
            f"{task.problem_key} must have a solution of at most max_tokens = {max_tokens} tokens, but {task.key(problem)} "
            f"needs {needed}: make the environment with more max_tokens, or for larger problems"
        )
    return problem


def check_completion(task: Task, completion: Any, problem: Any, max_tokens: int) -> str:
    """The text that an episode starts with after its prompt, if it leaves something to write.

    :param completion: ``""`` to start at the prompt
    :param problem: the problem it belongs to, or None if that is still to be drawn
    :raises TypeError: if it is not a string
    :raises ValueError: if it is not empty and there is no problem, it holds characters that are not in the vocabulary, it has
        an answer, or it fills the budget
    """
    if not isinstance(completion, str):
        raise TypeError(f"completion must be a string, but it is {shown(completion)}: pass the text after the prompt")
    if not completion:
        return completion
    key = task.problem_key
    if problem is None:
        raise ValueError(f"completion needs {key}, but there are none: pass {{{key!r}: ..., 'completion': text}}")
    room = max_tokens - len(task.prompt(problem))
    if task.answer(completion) is not None or len(task.vocabulary.encode(completion)) >= room:
        raise ValueError(
            f"completion must leave something to write within {room} tokens, but it has {len(completion)}, and its answer "
            f"is {task.answer(completion)!r}: pass a shorter part of it"
        )
    return completion


def end_of_episode(task: Task, completion: str, problem: Any) -> dict[str, Any]:
    """The ``info`` of an episode's last step.

    :param completion: the text after the prompt, without padding
    """
    prompt = task.prompt(problem)
    first_error = task.first_error(completion, problem)
    right_until = len(completion) if first_error < 0 else min(first_error + 1, len(completion))
    return {
        "is_success": task.is_correct(completion, problem),
        task.problem_key: problem,
        "expected": task.expected(problem),
        "answer": task.answer(completion),
        "text": prompt + completion,
        "first_error": first_error,
        "critical_tokens": tuple(len(prompt) + index for index in task.critical_tokens(problem) if index < right_until),
        "problem_class": task.problem_class(problem),
    }


def longest_digits(max_tokens: int) -> int:
    """The longest operands, in digits, whose problems fit into a token budget; 0 if none do."""
    return longest_size(Addition, max_tokens)


def longest_size(task: type[Task], max_tokens: int) -> int:
    """The largest problems of a task that fit into a token budget; 0 if none do."""
    size = 0
    while task(size=size + 1, distribution="identical").default_max_tokens <= max_tokens:
        size += 1
    return size
