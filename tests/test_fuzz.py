"""Some of the fuzzer's cases; that it finds planted bugs; and its oracle against the paper's example."""

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from addition_gym import env, errors, prompt, scratchpad, solution
from addition_gym.tasks.addition import Addition
from tests.addition_gym.helpers import ALPHABET, PROMPT, SOLUTION, fragments, operand
from tests.fuzz import oracle, task
from tests.fuzz.__main__ import fuzz
from tests.fuzz.documented import UndocumentedError

right_answer, first_error = scratchpad.answer, scratchpad.first_error


def test_some_cases() -> None:
    counts, failures = fuzz(range(2000), seed=1)
    assert failures == []
    assert sum(counts.values()) == 2000
    assert min(counts.values()) > 10
    assert len(counts) == 6


def surplus_space(completion: str) -> str | None:
    answer = right_answer(completion)
    return answer.rstrip(" ") if answer else answer


def any_line_closes(completion: str) -> str | None:
    """The tag counts even where it does not fill its line."""
    _, closing, rest = completion.partition("</scratch>\n")
    line, end, _ = rest.partition("\n")
    return line if closing and end else None


def one_too_late(completion: str, a: int, b: int) -> int:
    position = first_error(completion, a, b)
    return position + (0 < position < len(completion))


def first_failure(case: Callable[[np.random.Generator], None], tries: int) -> int | None:
    """Which of so many cases of one kind fails first, if one does."""
    for number in range(tries):
        try:
            case(np.random.default_rng([2, number]))
        except UndocumentedError:
            return number
    return None


@pytest.mark.parametrize(
    ("case", "module", "name", "bug"),
    [
        (task.checker, scratchpad, "answer", surplus_space),
        (task.checker, scratchpad, "answer", any_line_closes),
        (task.checker, scratchpad, "first_error", one_too_late),
        (task.options, env, "check_seed", lambda seed: None),
        (task.environment, env, "end_of_episode", lambda *_: {"is_success": False}),
        (task.vector_environment, Addition, "closing", "cratch>\n"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_planted_bugs_are_found(case, module, name, bug, monkeypatch) -> None:
    assert first_failure(case, tries=40) is None
    monkeypatch.setattr(module, name, bug)
    assert first_failure(case, tries=400) is not None


def test_a_case_can_be_run_again(monkeypatch) -> None:
    monkeypatch.setattr(scratchpad, "first_error", one_too_late)
    _, failures = fuzz(range(20), seed=2, report=lambda failure: None)
    number = int(failures[-1].split()[1])
    _, again = fuzz(range(number, number + 1), seed=2, report=lambda failure: None)
    assert again == failures[-1:]


def test_the_oracle_knows_the_paper() -> None:
    tokens = oracle.tokens_of_solution("345", "67")
    assert "".join(token.character for token in tokens) == SOLUTION
    assert oracle.answer_of(SOLUTION, PROMPT) == "4 1 2"
    assert oracle.answer_of(SOLUTION[:-1], PROMPT) is None
    assert oracle.answer_of("</scratch>\n1\n", PROMPT) is None
    assert oracle.first_difference(SOLUTION, SOLUTION) == -1


edit = st.tuples(st.integers(0, 10**6), st.integers(0, 3), fragments | st.text(ALPHABET, max_size=3))


@settings(max_examples=300, deadline=None)
@given(
    operand, operand, st.lists(st.tuples(st.integers(0, 10**6), st.integers(0, 3), fragments | st.text(ALPHABET, max_size=3)))
)
def test_package_and_oracle_agree(a, b, edits) -> None:
    """Any edits of a solution; hypothesis looks for the smallest on which they differ."""
    tokens = oracle.tokens_of_solution(str(a), str(b))
    right = "".join(token.character for token in tokens)
    assert solution(a, b) == right
    completion = right
    for place, removed, inserted in edits:
        position = place % (len(completion) + 1)
        completion = completion[:position] + inserted + completion[position + removed :]
    assert scratchpad.answer(completion) == oracle.answer_of(completion, prompt(a, b))
    assert scratchpad.first_error(completion, a, b) == oracle.first_difference(completion, right)
    error = errors.completion_error(completion, a, b)
    assert (None if error is None else error.category) == oracle.category_of(completion, tokens, prompt(a, b), None)


@pytest.mark.parametrize("given_character", ["٣", "²"])
def test_digits_of_other_scripts_are_no_digits(given_character) -> None:
    for before in ("[", "[5,7", "[5,7] + [6,8] , A=[] , C=", "[5,7] + [6,8] , A=[] , C=0 , "):
        error = errors.completion_error("\n<scratch>\n" + before + given_character, 57, 68)
        assert error is not None
        assert error.category == "bad format"
