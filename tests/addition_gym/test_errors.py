import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from addition_gym import prompt, solution
from addition_gym.errors import CompletionError, ErrorCategory, completion_error
from addition_gym.scratchpad import result_line
from addition_gym.vocabulary import CHARACTERS

START = "\n<scratch>\n"
FIRST = "[5,7] + [6,8] , A=[] , C=0 , 7+8+0=15 , A->5 , C->1\n"
SECOND = "[5] + [6] , A=[5] , C=1 , 5+6+1=12 , A->2 , C->1\n"
LAST = "[] + [] , A=[2,5] C=1 , END\n"
END = "</scratch>\n1 2 5\n"


def test_worked_example() -> None:
    assert solution(57, 68) == START + FIRST + SECOND + LAST + END


HAND_MADE = {
    "stopped a list early": [
        START + "[5]",
        START + "[]",
        START + "[5,]",
        START + "[5,7] + [6]",
        START + FIRST + "[5] + [6] , A=[]",
        START + FIRST + SECOND + "[] + [] , A=[2]",
    ],
    "continued a list": [
        START + "[5,7,",
        START + "[5,77",
        START + "[5,7] + [6,8] , A=[0",
        START + FIRST + "[5,",
        START + FIRST + SECOND + "[5",
    ],
    "wrong copied digit": [
        START + "[6",
        START + "[5,3",
        START + "[5,7] + [6,8] , A=[] , C=0 , 5",
        START + "[5,7] + [6,8] , A=[] , C=0 , 7+6",
        START + FIRST + "[5] + [6] , A=[1",
        START + FIRST + SECOND + "[] + [] , A=[2,2",
    ],
    "wrong carry": [
        START + "[5,7] + [6,8] , A=[] , C=1",
        START + "[5,7] + [6,8] , A=[] , C=0 , 7+8+1",
        START + "[5,7] + [6,8] , A=[] , C=0 , 7+8+0=15 , A->5 , C->0",
        START + FIRST + SECOND + "[] + [] , A=[2,5] C=0",
    ],
    "wrong column sum": [
        START + "[5,7] + [6,8] , A=[] , C=0 , 7+8+0=16",
        START + "[5,7] + [6,8] , A=[] , C=0 , 7+8+0=5",
        START + "[5,7] + [6,8] , A=[] , C=0 , 7+8+0=1 ",
        START + "[5,7] + [6,8] , A=[] , C=0 , 7+8+0=155",
        START + "[5,7] + [6,8] , A=[] , C=0 , 7+8+0= ",
        START + "[5,7] + [6,8] , A=[] , C=0 , 7+8+0=15 , A->1",
    ],
    "wrong result line": [
        START + FIRST + SECOND + LAST + "</scratch>\n2",
        START + FIRST + SECOND + LAST + "</scratch>\n1 2\n",
        START + FIRST + SECOND + LAST + "</scratch>\n125\n",
        START + FIRST + SECOND + LAST + "</scratch>\n1 2 5 \n",
        START + FIRST + SECOND + LAST + "</scratch>\n\n",
    ],
    "bad format": [
        " ",
        START + "5",
        START + "[,",
        START + "[5+",
        START + "[5,7 ",
        START + "[5,7]+",
        START + "[5,7] + [6,8] , A=[] C",
        START + "[5,7] + [6,8] , A=[] , C=]",
        START + "[5,7] + [6,8] , A=[] , C=00",
        START + FIRST + SECOND + "[] + [] , A=[2,5] ,",
        START + FIRST + SECOND + LAST + "</scratch> ",
        "\n</scratch>\n1 2 4\n",
    ],
    "ended early": ["", "\n", START, START + "[5,7] + ", START + FIRST + SECOND + LAST + "</scratch>\n1 2 5"],
}


@pytest.mark.parametrize(("category", "completions"), HAND_MADE.items())
def test_category_of_hand_made_completions(category, completions) -> None:
    """Whatever follows the first wrong token changes nothing, unless it makes the answer right."""
    for completion in completions:
        error = completion_error(completion, 57, 68)
        assert (error.category, error.category.value) == (ErrorCategory(category), category), completion
        if error.given:
            assert completion_error(completion + " , [3]", 57, 68) == error


def test_every_category_has_an_example() -> None:
    assert {*HAND_MADE, "out of budget"} == {category.value for category in ErrorCategory}


def test_first_wrong_token() -> None:
    error = completion_error(START + "[5]xyz", 57, 68)
    assert error == CompletionError(ErrorCategory.STOPPED_LIST_EARLY, len(START) + 2, ",", "]")
    assert completion_error(START + "[5", 57, 68) == CompletionError(ErrorCategory.ENDED_EARLY, len(START) + 2, ",", "")


def test_right_result_line_below_a_wrong_scratchpad_is_right() -> None:
    assert completion_error("\n</scratch>\n1 2 5\n", 57, 68) is None
    assert completion_error(START + "[5]\n</scratch>\n1 2 5\n", 57, 68) is None


def test_out_of_budget() -> None:
    """Only where the budget is spent, and no result line is written."""
    completion = START + "[5,7,7,7,7,7,7,7,7"
    spent = len(prompt(57, 68)) + len(completion)
    assert completion_error(completion, 57, 68, spent).category == ErrorCategory.OUT_OF_BUDGET
    assert completion_error(completion, 57, 68, spent + 1).category == ErrorCategory.CONTINUED_LIST
    assert completion_error(completion, 57, 68).category == ErrorCategory.CONTINUED_LIST
    answered = START + "[5]\n</scratch>\n1\n"
    spent = len(prompt(57, 68)) + len(answered)
    assert completion_error(answered, 57, 68, spent).category == ErrorCategory.STOPPED_LIST_EARLY
    right = solution(57, 68)
    assert completion_error(right, 57, 68, len(prompt(57, 68)) + len(right)) is None


def test_operands_are_checked() -> None:
    with pytest.raises(ValueError, match="operand a must be >= 0"):
        completion_error("", -1, 2)


operands = st.integers(1, 6).flatmap(lambda digits: st.integers(0, 10**digits - 1))


def answered(completion: str) -> str | None:
    """The line below the first line ``</scratch>``, by lines."""
    lines = completion.split("\n")
    if "</scratch>" not in lines[1:-1]:
        return None
    line = lines.index("</scratch>", 1) + 1
    return lines[line] if line + 1 < len(lines) else None


@settings(max_examples=300, deadline=None)
@given(operands, operands, st.data())
def test_mutations(a, b, data) -> None:
    """One token of the solution replaced, inserted or left out, or the rest cut off: wrong completions have a category and the
    first wrong token, right ones none."""
    right = solution(a, b)
    position = data.draw(st.integers(0, len(right) - 1))
    token = data.draw(st.sampled_from(CHARACTERS))
    completion = data.draw(
        st.sampled_from(
            [
                right[:position] + token + right[position + 1 :],
                right[:position] + token + right[position:],
                right[:position] + right[position + 1 :],
                right[:position],
            ]
        )
    )
    error = completion_error(completion, a, b)
    assert (error is None) == (answered(completion) == result_line(a, b))
    if error is not None:
        assert completion[: error.position] == right[: error.position]
        assert completion[error.position : error.position + 1] == error.given != error.expected == right[error.position]
        assert (error.category == ErrorCategory.ENDED_EARLY) == (error.given == "")


@settings(max_examples=100, deadline=None)
@given(operands, operands, st.text(CHARACTERS, max_size=80), st.data())
def test_anything_has_one_category_or_is_right(a, b, tail, data) -> None:
    right = solution(a, b)
    completion = right[: data.draw(st.integers(0, len(right)))] + tail
    error = completion_error(completion, a, b)
    assert (error is None) == (answered(completion) == result_line(a, b))
