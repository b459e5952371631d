import re
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from addition_gym.checks import MAX_DIGITS
from addition_gym.scratchpad import (
    answer,
    critical_tokens,
    first_error,
    is_correct,
    longest_text,
    prompt,
    result_line,
    solution,
)
from tests.addition_gym.helpers import ALPHABET, PROMPT, SOLUTION, few, fragments, many, mutate, operand

STEP = re.compile(
    r"\[([\d,]*)\] \+ \[([\d,]*)\] , A=\[([\d,]*)\] , C=([01]) , "
    r"(\d)\+(\d)\+([01])=(\d{1,2}) , A->(\d) , C->([01])"
)
END = re.compile(r"\[\] \+ \[\] , A=\[([\d,]+)\] C=([01]) , END")


def commas(digits: str) -> str:
    return ",".join(digits)


def test_the_example_of_the_paper():
    assert prompt(345, 67) == PROMPT
    assert solution(345, 67) == SOLUTION


def test_a_final_carry_goes_in_front_of_the_result():
    assert solution(9, 1) == (
        "\n<scratch>\n[9] + [1] , A=[] , C=0 , 9+1+0=10 , A->0 , C->1\n[] + [] , A=[0] C=1 , END\n</scratch>\n1 0\n"
    )


def test_zero_and_zero():
    assert prompt(0, 0) == "Input:\n0+0\nTarget:"
    assert solution(0, 0) == (
        "\n<scratch>\n[0] + [0] , A=[] , C=0 , 0+0+0=0 , A->0 , C->0\n[] + [] , A=[0] C=0 , END\n</scratch>\n0\n"
    )


def test_a_first_operand_that_runs_out_first():
    assert solution(7, 95).splitlines()[2:] == [
        "[7] + [9,5] , A=[] , C=0 , 7+5+0=12 , A->2 , C->1",
        "[] + [9] , A=[2] , C=1 , 0+9+1=10 , A->0 , C->1",
        "[] + [] , A=[0,2] C=1 , END",
        "</scratch>",
        "1 0 2",
    ]


@many
@given(operand, operand)
def test_every_line_of_a_solution_is_sound(a, b):
    """Read the text back and redo the sum by hand, column by column."""
    assert prompt(a, b) == "Input:\n" + str(a) + "+" + str(b) + "\nTarget:"
    first, opening, *steps, end, closing, result, last = solution(a, b).split("\n")
    assert (first, opening, closing, last) == ("", "<scratch>", "</scratch>", "")
    assert len(steps) == max(len(str(a)), len(str(b)))
    carry, written = 0, ""
    for column, line in enumerate(steps):
        x_list, y_list, done, carry_in, x, y, carry_again, total, digit, carry_out = STEP.fullmatch(line).groups()
        power = 10**column
        assert x_list == (commas(str(a // power)) if column < len(str(a)) else "")
        assert y_list == (commas(str(b // power)) if column < len(str(b)) else "")
        assert (int(x), int(y)) == (a // power % 10, b // power % 10)
        assert done == commas(written)
        assert int(carry_in) == int(carry_again) == carry
        assert int(total) == int(x) + int(y) + carry == int(carry_out) * 10 + int(digit)
        assert str(int(total)) == total
        carry, written = int(carry_out), digit + written
    done, carry_at_end = END.fullmatch(end).groups()
    assert done == commas(written)
    assert int(carry_at_end) == carry
    assert int((str(carry) if carry else "") + written) == a + b
    assert result == result_line(a, b) == " ".join(digit for digit in str(a + b))


@many
@given(operand, operand)
def test_the_solution_is_right(a, b):
    assert answer(solution(a, b)).replace(" ", "") == str(a + b)
    assert is_correct(solution(a, b), a, b)
    assert first_error(solution(a, b), a, b) == -1


def result_of_lines(text: str) -> str | None:
    """The line after the first line ``</scratch>`` of the whole text, if a line break ends it."""
    *lines, _ = text.split("\n")
    for before, line in pairwise(lines):
        if before == "</scratch>":
            return line
    return None


@many
@given(fragments)
def test_answer_is_the_line_after_the_closing_line(completion):
    assert answer(completion) == result_of_lines(PROMPT + completion)
    assert is_correct(completion, 345, 67) == (result_of_lines(PROMPT + completion) == "4 1 2")


@pytest.mark.parametrize(
    ("completion", "expected"),
    [
        ("", None),
        ("\n</scratch>\n", None),
        ("\n</scratch>\n4 1 2", None),
        ("</scratch>\n4 1 2\n", None),
        ("\n </scratch>\n4 1 2\n", None),
        ("\n</scratch>4 1 2\n", None),
        ("\n</scratch>\n\n", ""),
        ("\n</scratch>\n4 1 2\n", "4 1 2"),
        ("\n</scratch>\n4 1 2\n9\n", "4 1 2"),
        ("\n</scratch>\n</scratch>\n4 1 2\n", "</scratch>"),
    ],
)
def test_answer_of_known_completions(completion, expected):
    assert answer(completion) == expected


@pytest.mark.parametrize("line", ["412", "4 1 2 ", " 4 1 2", "4  1 2", "0 4 1 2", "4 1 3", "4 1", "", "4,1,2"])
def test_the_result_line_is_compared_exactly(line):
    assert not is_correct(f"\n</scratch>\n{line}\n", 345, 67)


@many
@given(operand, operand, st.data())
def test_first_error_after_a_wrong_character(a, b, data):
    text = solution(a, b)
    index = data.draw(st.integers(0, len(text) - 1))
    character = data.draw(st.sampled_from(ALPHABET))
    assume(character != text[index])
    wrong = text[:index] + character + text[index + 1 :]
    assert first_error(wrong, a, b) == index
    in_result = index > text.index("</scratch>") + len("</scratch>")
    if in_result:
        assert not is_correct(wrong, a, b)
    elif index < text.index("\n</scratch>") and "\n</scratch>" not in wrong[: text.index("\n</scratch>")]:
        assert is_correct(wrong, a, b), "the scratchpad is not judged"


@few
@given(operand, operand, st.data())
def test_first_error_of_a_part_is_its_length(a, b, data):
    text = solution(a, b)
    length = data.draw(st.integers(0, len(text) - 1))
    assert first_error(text[:length], a, b) == length
    assert answer(text[:length]) is None
    assert not is_correct(text[:length], a, b)


@few
@given(operand, operand, st.text(alphabet=ALPHABET, min_size=1))
def test_text_after_the_solution_is_an_error_but_does_not_change_the_answer(a, b, more):
    text = solution(a, b)
    assert first_error(text + more, a, b) == len(text)
    assert is_correct(text + more, a, b)


@few
@given(operand, operand, st.integers(0, 2**32))
def test_first_error_of_any_mutant(a, b, seed):
    text = solution(a, b)
    mutant = mutate(text, np.random.default_rng(seed))
    index = first_error(mutant, a, b)
    assert mutant[:index] == text[:index]
    assert mutant[index : index + 1] != text[index : index + 1]


def test_longest_text_of_two_digits_is_the_longest_of_all():
    lengths = [len(prompt(a, b) + solution(a, b)) for a in range(100) for b in range(100)]
    assert longest_text(2) == max(lengths)
    assert longest_text(1) == max(len(prompt(a, b) + solution(a, b)) for a in range(10) for b in range(10))


@many
@given(st.integers(1, 25), st.data())
def test_no_text_is_longer_than_the_longest(digits, data):
    operands = st.integers(0, 10**digits - 1)
    a, b = data.draw(operands), data.draw(operands)
    assert len(prompt(a, b) + solution(a, b)) <= longest_text(digits)


def marked(a: int, b: int, pretrained_digits: int) -> list[str]:
    """The two lists of every line of the solution, with { } around each critical token."""
    text = list(solution(a, b))
    for token in critical_tokens(a, b, pretrained_digits):
        text[token.position] = "{" + text[token.position] + "}"
    return [line.partition(" , A=")[0] for line in "".join(text).split("\n")[2:-4]]


@pytest.mark.parametrize(
    ("a", "b", "pretrained_digits", "lines"),
    [
        (
            12345678,
            1234567,
            7,
            [
                "[1,2,3,4,5,6,7{,}{8}] + [1,2,3,4,5,6,7]",
                "[1,2,3,4,5,6{,}{7}] + [1,2,3,4,5,6]",
                "[1,2,3,4,5{,}{6}] + [1,2,3,4,5]",
                "[1,2,3,4,5] + [1,2,3,4]",
            ],
        ),
        (
            7,
            12345678,
            7,
            [
                "[7] + [1,2,3,4,5,6,7{,}{8}]",
                "[] + [1,2,3,4,5,6{,}{7}]",
                "[] + [1,2,3,4,5{,}{6}]",
                "[] + [1,2,3,4,5]",
            ],
        ),
        (
            9876,
            1234,
            3,
            [
                "[9,8,7{,}{6}] + [1,2,3{,}{4}]",
                "[9,8{,}{7}] + [1,2{,}{3}]",
                "[9{,}{8}] + [1{,}{2}]",
                "[9] + [1]",
            ],
        ),
        (
            12345,
            6789,
            3,
            [
                "[1,2,3{,}{4}{,}{5}] + [6,7,8{,}{9}]",
                "[1,2{,}{3}{,}{4}] + [6,7{,}{8}]",
                "[1{,}{2}{,}{3}] + [6{,}{7}]",
                "[1,2] + [6]",
                "[1] + []",
            ],
        ),
        (12, 3, 1, ["[1{,}{2}] + [3]", "[{1}] + []"]),
        (1234, 5, 1, ["[1{,}{2}{,}{3}{,}{4}] + [5]", "[{1}{,}{2}{,}{3}] + []", "[{1}{,}{2}] + []", "[1] + []"]),
        (123, 45, 2, ["[1,2{,}{3}] + [4,5]", "[1{,}{2}] + [4]", "[{1}] + []"]),
        (3, 21, 1, ["[3] + [2{,}{1}]", "[] + [{2}]"]),
        (999, 111, 3, ["[9,9,9] + [1,1,1]", "[9,9] + [1,1]", "[9] + [1]"]),
        (0, 0, 1, ["[0] + [0]"]),
    ],
)
def test_critical_tokens_by_hand(a, b, pretrained_digits, lines):
    shown = marked(a, b, pretrained_digits)
    assert shown[: len(lines)] == lines
    assert not any("{" in line for line in shown[len(lines) :])


@many
@given(operand, operand, st.integers(1, 6))
def test_critical_tokens_say_where_they_stand(a, b, pretrained_digits):
    text = solution(a, b)
    tokens = critical_tokens(a, b, pretrained_digits)
    assert [token.position for token in tokens] == sorted({token.position for token in tokens})
    assert bool(tokens) == (max(len(str(a)), len(str(b))) > pretrained_digits)
    for position, line, which, kind in tokens:
        line_so_far = text[:position].split("\n")[-1]
        assert text[:position].count("\n") == line + 1, "the lines start after the line <scratch>"
        assert which == (2 if " + " in line_so_far else 1)
        assert " , " not in line_so_far
        assert {"comma": text[position] == ",", "digit": text[position].isdigit()}[kind]


BAD_OPERANDS = [
    (-1, ValueError),
    (1.0, TypeError),
    (True, TypeError),
    ("1", TypeError),
    (None, TypeError),
    (np.int64(1), TypeError),
]


@pytest.mark.parametrize("function", [prompt, solution, lambda a, b: critical_tokens(a, b, 3)])
@pytest.mark.parametrize(("bad", "error"), BAD_OPERANDS)
def test_bad_operands_are_named(function, bad, error):
    with pytest.raises(error, match=r"^operand a must") as caught:
        function(bad, 1)
    assert repr(bad) in str(caught.value)
    with pytest.raises(error, match=r"^operand b must"):
        function(1, bad)


@pytest.mark.parametrize("bad", [0, -3])
def test_pretrained_digits_is_at_least_one(bad):
    with pytest.raises(ValueError, match=rf"^pretrained_digits must be >= 1.*{bad}"):
        critical_tokens(1, 2, bad)


def test_numbers_too_long_to_be_written_are_refused():
    """Python cannot write a number of more than 4300 digits, not even into an error message."""
    assert len(result_line(10**MAX_DIGITS - 1, 0)) == 2 * MAX_DIGITS - 1
    for huge in (10**MAX_DIGITS, 10**5000):
        with pytest.raises(ValueError, match="operand b must have at most 1000 digits"):
            solution(1, huge)
        with pytest.raises(ValueError, match="digits must be at most 1000"):
            longest_text(huge)
    with pytest.raises(ValueError, match=r"operand a must be >= 0, but it is a number of more than 1000 digits"):
        solution(-(10**5000), 1)
    with pytest.raises(ValueError, match=r"digits must be >= 1, but it is a number of more than 1000 digits"):
        longest_text(-(10**5000))
