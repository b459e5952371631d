"""Every check takes what it should, and refuses the rest with the argument, the constraint, the value and the remedy."""

import math

import numpy as np
import pytest

from policies.checks import above, at_least, between, one_of, whole


def message(check, *arguments, error=ValueError, **keywords) -> str:
    with pytest.raises(error) as caught:
        check(*arguments, **keywords)
    return str(caught.value)


def test_messages_name_the_argument_the_constraint_the_value_and_the_remedy():
    assert message(whole, "steps", 0) == "steps must be >= 1, but it is 0: pass a positive number"
    assert message(whole, "steps", -1, 0, "0 leaves it out") == "steps must be >= 0, but it is -1: 0 leaves it out"
    assert message(at_least, "exponent", -0.5, 0, "0 weights all alike") == (
        "exponent must be >= 0, but it is -0.5: 0 weights all alike"
    )
    assert message(at_least, "kl_coef", math.inf, 0, "0 switches it off", finite=True) == (
        "kl_coef must be >= 0 and finite, but it is inf: 0 switches it off"
    )
    assert message(above, "scale", 0.0) == "scale must be > 0, but it is 0.0: pass a positive number"
    assert message(between, "gamma", 1.5, 0, 1, "1 suits it") == "gamma must lie in [0, 1], but it is 1.5: 1 suits it"
    assert message(between, "weight", 1, 0, 1, "lower it", ends="()") == "weight must lie in (0, 1), but it is 1: lower it"
    assert message(one_of, "name", "x", ("a", "b")) == "name must be one of a, b, but it is 'x': choose one of these"


@pytest.mark.parametrize("value", [1.0, True, "1", None, np.int64(1), math.nan])
def test_whole_takes_nothing_but_an_int(value):
    assert f"steps must be an int, but it is {value!r}: pass" in message(whole, "steps", value, error=TypeError)


@pytest.mark.parametrize("value", ["1", None, [1.0], 1j])
def test_what_is_not_a_number_is_refused_by_name(value):
    for check, arguments in ((at_least, (0, "r")), (above, (0, "r")), (between, (0, 1, "r"))):
        remedy = "leave out the quotes" if value == "1" else "pass one"
        expected = f"rate must be a number, but it is {value!r}: {remedy}"
        assert message(check, "rate", value, *arguments, error=TypeError) == expected


@pytest.mark.parametrize("nan", [math.nan, np.float32("nan")])
def test_nan_is_refused(nan):
    for check, arguments in ((at_least, (-math.inf,)), (above, (-math.inf,)), (between, (-math.inf, math.inf, "r"))):
        assert ", but it is nan: " in message(check, "rate", nan, *arguments)
    message(at_least, "rate", nan, 0, finite=True)
    message(one_of, "rate", nan, ("nan",))


def test_the_bounds_themselves():
    whole("n", 1)
    whole("n", 0, 0)
    at_least("x", 0.0, 0)
    at_least("x", math.inf, 0)
    at_least("x", np.float32(0.5), 0.5, finite=True)
    above("x", 1e-300)
    above("x", math.inf)
    message(above, "x", -0.0)
    message(at_least, "x", -1e-300, 0)
    one_of("x", "a", ("a", "b"))
    message(one_of, "x", ["a"], ("a", "b"))


@pytest.mark.parametrize("ends", ["[]", "[)", "(]", "()"])
def test_an_end_is_in_its_interval_if_its_bracket_is_square(ends):
    between("x", 1, 0, 2, "r", ends)
    for value, included in ((0, ends[0] == "["), (2, ends[1] == "]"), (-1e-9, False), (2 + 1e-9, False)):
        if included:
            between("x", value, 0, 2, "r", ends)
        else:
            message(between, "x", value, 0, 2, "r", ends=ends)
