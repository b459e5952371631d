"""The golden file is written again by ``python -m tests.addition_gym.test_problems``; that breaks every user's seeds."""

import json
from collections import Counter
from fractions import Fraction
from itertools import product
from pathlib import Path

import numpy as np
import pytest
from scipy.stats import chisquare

from addition_gym.env import ScratchpadAddEnv
from addition_gym.problems import ProblemSampler, split_of

SPLITS = ("train", "validation", "test")
GOLDEN = Path(__file__).with_name("golden_problems.json")
GOLDEN_ARGUMENTS = [
    {"digits": 1, "distribution": "identical"},
    {"digits": 8, "distribution": "identical"},
    {"digits": 5, "distribution": "varying"},
    {"digits": 5, "distribution": "varying", "split": "train"},
    {"digits": 7, "distribution": "up_to"},
    {"digits": 7, "distribution": "up_to", "split": "test"},
    {"digits": 8},
    {"digits": 9, "distribution": "mixture", "pretrained_digits": 7},
    {"digits": 9, "distribution": "mixture", "pretrained_digits": 7, "split": "test"},
    {"digits": 25, "distribution": "varying"},
]
GOLDEN_SEEDS = [0, 1, 20250206]


def first_problems(arguments: dict, seed: int, count: int = 5) -> list[list[int]]:
    env = ScratchpadAddEnv(**arguments)
    infos = [env.reset(seed=seed)[1]] + [env.reset()[1] for _ in range(count - 1)]
    return [list(info["operands"]) for info in infos]


def golden_cases() -> list[dict]:
    return [
        {"arguments": arguments, "seed": seed, "operands": first_problems(arguments, seed)}
        for arguments in GOLDEN_ARGUMENTS
        for seed in GOLDEN_SEEDS
    ]


def test_a_seed_gives_the_same_problems_for_ever():
    recorded = json.loads(GOLDEN.read_text())
    assert len(recorded) == len(GOLDEN_ARGUMENTS) * len(GOLDEN_SEEDS)
    assert golden_cases() == recorded


def draw(count: int, seed: int = 0, **arguments) -> list[tuple[int, int]]:
    sampler, rng = ProblemSampler(**arguments), np.random.default_rng(seed)
    return [sampler.sample(rng) for _ in range(count)]


def test_same_seed_same_problems_other_seed_others():
    arguments = {"digits": 6, "distribution": "up_to"}
    assert draw(20, seed=1, **arguments) == draw(20, seed=1, **arguments)
    assert draw(20, seed=1, **arguments) != draw(20, seed=2, **arguments)


def probabilities(digits: int, distribution: str, pretrained_digits: int) -> dict[tuple[int, int], Fraction]:
    """P(both lengths), summed over every choice that the definition makes."""
    table = Counter()
    lengths = range(1, digits + 1)
    if distribution == "identical":
        table[digits, digits] = Fraction(1)
    elif distribution == "up_to":
        for pair in product(lengths, lengths):
            table[pair] += Fraction(1, digits**2)
    elif distribution == "longer":
        for draws in product(lengths, repeat=4):
            table[max(draws[:2]), max(draws[2:])] += Fraction(1, digits**4)
    else:
        for other in lengths:
            if distribution == "varying":
                share = Fraction(1, digits)
            elif other <= pretrained_digits:
                share = Fraction(1, 2 * pretrained_digits)
            else:
                share = Fraction(1, 2 * (digits - pretrained_digits))
            table[digits, other] += share / 2
            table[other, digits] += share / 2
    assert sum(table.values()) == 1
    return table


@pytest.mark.parametrize(
    ("digits", "distribution", "pretrained_digits"),
    [
        (1, "identical", 1),
        (4, "identical", 1),
        (1, "varying", 1),
        (4, "varying", 1),
        (1, "up_to", 1),
        (4, "up_to", 1),
        (1, "longer", 1),
        (4, "longer", 1),
        (2, "mixture", 1),
        (4, "mixture", 3),
        (5, "mixture", 3),
        (5, "mixture", 1),
    ],
)
def test_lengths_follow_the_definition(digits, distribution, pretrained_digits):
    count = 4000
    problems = draw(count, digits=digits, distribution=distribution, pretrained_digits=pretrained_digits)
    seen = Counter((len(str(a)), len(str(b))) for a, b in problems)
    expected = probabilities(digits, distribution, pretrained_digits)
    assert set(seen) == set(expected)
    if len(expected) > 1:
        pairs = sorted(expected)
        frequencies = [seen[pair] for pair in pairs]
        assert chisquare(frequencies, [float(count * expected[pair]) for pair in pairs]).pvalue > 1e-4


def test_one_digit_operands_are_0_to_9_equally_often():
    problems = draw(5000, digits=1, distribution="identical")
    seen = Counter(problems)
    assert set(seen) == set(product(range(10), repeat=2))
    assert chisquare(list(seen.values())).pvalue > 1e-4


def test_two_digit_operands_are_10_to_99_equally_often():
    """No leading zeros, and nothing left out."""
    for operands in zip(*draw(9000, digits=2, distribution="identical"), strict=True):
        seen = Counter(operands)
        assert set(seen) == set(range(10, 100))
        assert chisquare(list(seen.values())).pvalue > 1e-4


def test_operands_may_be_longer_than_64_bits():
    problems = draw(200, digits=30, distribution="identical")
    assert all(type(x) is int and 10**29 <= x < 10**30 for pair in problems for x in pair)


@pytest.mark.parametrize("distribution", ["identical", "varying", "up_to", "longer"])
def test_the_splits_share_nothing_and_cover_everything(distribution):
    everything = set(product(range(10), repeat=2))
    found = [set(draw(2500, digits=1, distribution=distribution, split=s)) for s in SPLITS]
    assert set.union(*found) == everything
    assert sum(map(len, found)) == len(everything)
    assert all(found)


@pytest.mark.parametrize("split", SPLITS)
@pytest.mark.parametrize("distribution", ["identical", "varying", "up_to", "longer", "mixture"])
def test_a_split_holds_only_its_own_problems(distribution, split):
    problems = draw(300, digits=4, distribution=distribution, split=split)
    assert {split_of(a, b) for a, b in problems} == {split}


@pytest.mark.parametrize("split", ["validation", "test"])
def test_one_problem_in_ten_is_held_out(split):
    held_out = [split_of(a, b) == split for a, b in product(range(200), repeat=2)]
    assert 0.09 < np.mean(held_out) < 0.11


def crc32(text: str) -> int:
    """The checksum by long division, bit by bit."""
    remainder = 0xFFFFFFFF
    for byte in text.encode():
        remainder ^= byte
        for _ in range(8):
            remainder = remainder >> 1 ^ (0xEDB88320 if remainder & 1 else 0)
    return remainder ^ 0xFFFFFFFF


def test_the_hash_of_the_split_never_changes():
    assert crc32("123456789") == 0xCBF43926, "the check value of CRC-32"
    for a, b in product((*range(30), 345, 10**20), repeat=2):
        assert split_of(a, b) == ("test", "validation", *["train"] * 8)[crc32(f"{a}+{b}") % 10]


@pytest.mark.parametrize(
    ("name", "value", "error"),
    [
        ("digits", 0, ValueError),
        ("digits", -1, ValueError),
        ("digits", 2.0, TypeError),
        ("digits", "2", TypeError),
        ("digits", True, TypeError),
        ("digits", None, TypeError),
        ("pretrained_digits", 0, ValueError),
        ("pretrained_digits", 4, ValueError),
        ("pretrained_digits", 5, ValueError),
        ("pretrained_digits", 1.0, TypeError),
        ("pretrained_digits", True, TypeError),
        ("distribution", "uniform", ValueError),
        ("distribution", None, ValueError),
        ("distribution", np.array(["mixture", "varying"]), ValueError),
        ("split", "dev", ValueError),
        ("split", None, ValueError),
    ],
)
def test_a_bad_argument_is_named(name, value, error):
    with pytest.raises(error, match=rf"^{name} must") as caught:
        ProblemSampler(**{"digits": 4, "distribution": "mixture", "pretrained_digits": 3} | {name: value})
    assert repr(value) in str(caught.value)


def test_pretrained_digits_is_bounded_only_for_the_mixture():
    assert draw(1, digits=2, distribution="identical", pretrained_digits=5)


if __name__ == "__main__":
    GOLDEN.write_text("[\n" + ",\n".join(json.dumps(case) for case in golden_cases()) + "\n]\n")
