"""Whether a base model fails as that of arXiv:2502.06533 does, so that fine-tuning it tests what the paper claims: five
numbers, each with a bar.

The problems are held-out ones with two operands of exactly N+1 digits. The model completes all of them greedily, and reads all
of their solutions.

1. N, and the size of the weights in MB: 10^6 bytes, four for each parameter of the language model.
2. The accuracy on these problems, with its 95% Wilson interval.
3. The share of fatal errors in the *first lists*, with its 95% Wilson interval. A *fatal error* is the first token of a
   completion that differs from the solution, if the result line is wrong or missing; every completion that fails has one. The
   first lists are those of both operands in decomposition lines 1 to 3, with all of their digits, commas and brackets, more
   than what the paper's rule names (:func:`addition_gym.scratchpad.critical_tokens`). What counts is the token that the
   solution has there.
4. The mean of ``J ** 150`` in the states before those fatal errors that are in the first lists. J is the model's own
   certainty, the normalised negentropy, at a softmax temperature of 1.
5. The mean of ``1 - J`` in the states before all other tokens of the solutions, solved or not: from the end of the prompt to
   the end, without the tokens of the first lists.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import islice
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from rich.console import Console, RenderableType

from addition_gym import encode, prompt, solution
from addition_gym.scratchpad import CRITICAL_LINES
from agents.losses import certainty_of
from policies import GPT2Policy
from train.measure.accuracy import Accuracy, Kind, evaluate, fitting_extras
from train.measure.choices import HeldOut
from train.measure.criticality import EXPONENT
from train.measure.solve import Problem
from train.measure.tables import rich_table
from train.run.meter import SILENT, meter

KIND = Kind(1, "identical")
_DECOMPOSITION = re.compile(r"^(\[[\d,]*\]) \+ (\[[\d,]*\]) .*->", re.MULTILINE)


@dataclass(frozen=True)
class Finding:
    """A number and its bar."""

    number: str
    bar: str
    met: bool
    value: float | None
    """None where there is nothing to count."""
    shown: str
    """The value, with its interval if it has one."""
    interval: tuple[float, float] | None = None

    def __str__(self) -> str:
        value, *interval = self.shown.partition(" [")
        return f"{value} {'met' if self.met else 'missed'}{''.join(interval)}"


@dataclass(frozen=True)
class Diagnosis:
    """The five numbers of a model."""

    pretrained_digits: int
    """N."""
    megabytes: float
    """Of the weights."""
    accuracy: Accuracy
    fatal_in_lists: Accuracy | None
    """Of all fatal errors, those in the first lists; None if nothing fails."""
    fatal_weight: float | None
    """Mean ``J ** 150`` before those that are; None if none is."""
    doubt: float
    """Mean ``1 - J`` everywhere else."""

    def findings(self) -> list[Finding]:
        """All numbers, in order; the first one takes two."""
        n, size, weight, doubt = self.pretrained_digits, self.megabytes, self.fatal_weight, self.doubt
        return [
            Finding("N", ">= 7", n >= 7, n, str(n)),
            Finding("weights, MB", "<= 4", size <= 4, size, f"{size:.2f}"),
            _share(f"accuracy, {KIND.name}", "40-70%", (0.4, 0.7), self.accuracy),
            _share("fatal in first lists", ">= 80%", (0.8, 1.0), self.fatal_in_lists),
            Finding(
                f"J^{EXPONENT:g} before these",
                "< 0.1",
                weight is not None and weight < 0.1,
                weight,
                "none" if weight is None else f"{weight:.3f}",
            ),
            Finding("1 - J elsewhere", "<= 0.001", doubt <= 1e-3, doubt, f"{doubt:.5f}"),
        ]


def _share(number: str, bar: str, bounds: tuple[float, float], share: Accuracy | None) -> Finding:
    if share is None:
        return Finding(number, bar, False, None, "none")
    return Finding(number, bar, bounds[0] <= share.value <= bounds[1], share.value, str(share), share.interval)


def first_lists(a: int, b: int) -> npt.NDArray[np.bool_]:
    """Which tokens of the solution are in the lists of the operands in decomposition lines 1 to 3, brackets included.

    :param a: first operand, >= 0
    :param b: second operand, >= 0
    :return: ``(T,)``
    """
    text = solution(a, b)
    inside = np.zeros(len(text), dtype=np.bool_)
    for line in islice(_DECOMPOSITION.finditer(text), CRITICAL_LINES):
        for operand in (1, 2):
            inside[slice(*line.span(operand))] = True
    return inside


@torch.no_grad()
def certainties(policy: GPT2Policy, problem: Problem) -> npt.NDArray[np.float64]:
    """J of the policy in the state before every token of the solution, at a softmax temperature of 1.

    :param policy: reads the solution once
    :param problem: the operands
    :return: ``(T,)``
    """
    question = prompt(*problem)
    tokens = torch.as_tensor(encode(question + solution(*problem)), device=policy.device)[None]
    mask = torch.zeros_like(tokens, dtype=torch.bool)
    mask[0, len(question) - 1 : -1] = True
    log_probs, _ = policy.evaluate_sequences(tokens, mask)
    return certainty_of(log_probs.double() * policy.temperature).cpu().numpy()


def diagnose(
    policy: GPT2Policy,
    pretrained_digits: int,
    n_problems: int,
    seed: int = 0,
    split: HeldOut = "test",
    console: Console = SILENT,
) -> Diagnosis:
    """Measure the five numbers.

    :param policy: the model
    :param pretrained_digits: N
    :param n_problems: how many
    :param seed: of the problems
    :param split: of the problems
    :param console: where to show progress
    :raises ValueError: if a number is out of range, or N+1 digits do not fit into the model's position table
    """
    if KIND.extra not in fitting_extras(policy, pretrained_digits, [KIND.extra]):
        raise ValueError(
            "pretrained_digits must leave room for one digit more in the model's position table, but it is "
            f"{pretrained_digits}: pre-train with a larger --longest-digits"
        )
    weights: list[float] = []
    doubts: list[npt.NDArray[np.float64]] = []
    n_fatal = 0
    with meter(console, "Diagnosing", 2 * n_problems) as advance:
        evaluation = evaluate(policy, KIND, pretrained_digits, n_problems, seed, advance=advance, split=split)
        for attempt in evaluation.attempts:
            certainty, in_lists = certainties(policy, attempt.problem), first_lists(*attempt.problem)
            doubts.append(1 - certainty[~in_lists])
            if error := attempt.error:
                n_fatal += 1
                if in_lists[error.position]:
                    weights.append(certainty[error.position] ** EXPONENT)
            advance(1)
    return Diagnosis(
        pretrained_digits=pretrained_digits,
        megabytes=sum(4 * parameter.numel() for parameter in policy.language_model.parameters()) / 1e6,
        accuracy=evaluation.accuracy,
        fatal_in_lists=Accuracy("fatal errors", len(weights), n_fatal) if n_fatal else None,
        fatal_weight=float(np.mean(weights)) if weights else None,
        doubt=float(np.concatenate(doubts).mean()),
    )


def diagnosis_table(title: str, diagnoses: Mapping[str, Diagnosis]) -> RenderableType:
    """One row per number, one column per model."""
    columns = [diagnosis.findings() for diagnosis in diagnoses.values()]
    rows = [[row[0].number, row[0].bar, *map(str, row)] for row in zip(*columns, strict=True)]
    return rich_table(title, ["", "bar", *diagnoses], rows, "95% Wilson intervals", left=2)


def diagnosis_rows(diagnoses: Mapping[str, Diagnosis], split: HeldOut) -> list[dict[str, Any]]:
    """One row per model and number. :param split: of the problems"""
    rows = []
    for model, diagnosis in diagnoses.items():
        for finding in diagnosis.findings():
            low, high = finding.interval or (None, None)
            row = {"model": model, "split": split, "number": finding.number, "value": finding.value, "low": low, "high": high}
            rows.append({**row, "bar": finding.bar, "met": finding.met})
    return rows
