"""Which tokens are critical, measured instead of assumed.

The environment starts in the middle of a right solution, and the policy continues by itself. With V(t) the probability
that it then succeeds, given t right tokens, the *criticality* of token t is the share of successes that are lost there::

    criticality(t) = 1 - V(t) / V(t + 1),    V(T) = 1

and ``-log V(0)``, the policy's failure in all, is the sum of ``-log(1 - criticality(t))``. V follows backwards from

    V(t) = pi(right) V(t + 1)  +  sum over wrong tokens a of  pi(a) Q(t, a)

exactly, but for Q(t, a), the success rate after a first wrong token, which rollouts measure, and for wrong tokens rarer than
:data:`RARE`, which count as failures.
"""

import math
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np
import numpy.typing as npt
import torch
from rich.console import Console, RenderableType
from scipy.stats import rankdata

from addition_gym import PAD_TOKEN_ID
from addition_gym.tasks.addition import Addition
from agents.losses import certainty_of
from policies import GPT2Policy
from train.measure.inspection import Inspection
from train.measure.pictures import COLOURS
from train.measure.solve import solve
from train.measure.statistics import Estimate
from train.measure.tables import rich_table
from train.run.meter import SILENT, meter

RARE = 1e-3
"""Wrong tokens below this probability count as failures."""
CRITICAL = 0.05
"""A token is called critical from this criticality on: one success in twenty is lost there."""
EXPONENT = 150.0
"""The paper's, for the weight that the summary speaks of."""
RESAMPLES = 1000
PLACES = 10
"""How many places the terminal shows."""
Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Criticality:
    """The right solution of a problem, of T tokens, and what the policy would make of it."""

    inspection: Inspection
    success: Floats
    """V(t), 0 to 1, ``(T + 1,)``: the probability of success after t right tokens."""

    @property
    def criticality(self) -> Floats:
        """``1 - V(t) / V(t + 1)``, ``(T,)``; below 0 where the policy's own choice is the better one."""
        return 1 - self.success[:-1] / self.success[1:]

    @property
    def lost(self) -> Floats:
        """``-log(1 - criticality)``, ``(T,)``; its sum is ``-log V(0)``."""
        return np.log(self.success[1:] / self.success[:-1])

    @property
    def on_critical_tokens(self) -> npt.NDArray[np.bool_]:
        """Where the task itself has a critical token, ``(T,)``."""
        return np.isin(np.arange(len(self.inspection.tokens)), list(self.inspection.critical))

    def signals(self) -> dict[str, Floats]:
        """What could tell a critical token without a rollout; the higher, the more critical. Each ``(T,)``."""
        reference = torch.from_numpy(self.inspection.reference_log_probs)
        quantities = self.inspection.quantities
        found = {
            "certainty, negentropy": -certainty_of(reference, "negentropy", 1.0).numpy(),
            "certainty, min-entropy": -certainty_of(reference, "min_entropy", 1.0).numpy(),
            "entropy of the policy": quantities["entropy"],
            "KL to the reference": quantities["kl"],
            "surprisal of the right token": quantities["surprisal"],
            "the task's critical tokens": self.on_critical_tokens,
        }
        return {name: np.asarray(values, dtype=np.float64) for name, values in found.items()}


def measure(
    policy: GPT2Policy, inspections: Sequence[Inspection], n_samples: int, console: Console = SILENT
) -> list[Criticality]:
    """Probabilities of success all along right solutions.

    :param policy: which the inspections are of
    :param inspections: of right solutions
    :param n_samples: rollouts after every first wrong token
    :param console: where to show progress
    """
    detours = [  # problem, position, wrong token
        (index, int(position), int(token))
        for index, inspection in enumerate(inspections)
        for position, token in np.argwhere(np.exp(inspection.log_probs) >= RARE)
        if token != inspection.tokens[position]
    ]
    detour_success = _success_after(policy, inspections, detours, n_samples, console)
    found = []
    for index, inspection in enumerate(inspections):
        probabilities = np.exp(inspection.log_probs.astype(np.float64))
        gained = np.zeros(len(inspection.tokens))  # through wrong tokens
        for (of, position, token), success in zip(detours, detour_success, strict=True):
            if of == index:
                gained[position] += probabilities[position, token] * success
        success = np.ones(len(inspection.tokens) + 1)
        for t in reversed(range(len(inspection.tokens))):
            success[t] = probabilities[t, inspection.tokens[t]] * success[t + 1] + gained[t]
        found.append(Criticality(inspection, success))
    return found


def _success_after(
    policy: GPT2Policy,
    inspections: Sequence[Inspection],
    detours: Sequence[tuple[int, int, int]],
    n_samples: int,
    console: Console,
) -> Floats:
    """Q, the share of rollouts that succeed after each first wrong token, ``(n_detours,)``."""
    success = np.zeros(len(detours))
    rollouts: list[tuple[int, Any, str]] = []
    task = inspections[0].task if inspections else None
    for detour, (index, position, token) in enumerate(detours):
        inspection = inspections[index]
        text = inspection.text[:position] + inspection.task.vocabulary.decode([token])
        if token != PAD_TOKEN_ID and inspection.task.answer(text) is None:  # otherwise the episode ends, and has failed
            rollouts += [(detour, inspection.problem, text)] * n_samples
    problems, texts = [problem for _, problem, _ in rollouts], [text for *_, text in rollouts]
    with meter(console, "Rollouts after wrong tokens", len(rollouts)) as advance:
        infos = solve(policy, problems, deterministic=False, completions=texts, advance=advance, task=task)
    for (detour, _, _), info in zip(rollouts, infos, strict=True):
        success[detour] += info["is_success"] / n_samples
    return success


def auroc(score: npt.ArrayLike, critical: npt.ArrayLike) -> float:
    """Area under the ROC curve: the probability that a critical token has the higher score, ties counted half.

    :param score: ``(n,)``
    :param critical: bool ``(n,)``
    :return: NaN if all tokens are alike
    """
    scores, labels = np.asarray(score), np.asarray(critical)
    critical_tokens, others = labels.sum(), (~labels).sum()
    if not critical_tokens or not others:
        return math.nan
    return float((rankdata(scores)[labels].mean() - (critical_tokens + 1) / 2) / others)


def average_precision(score: npt.ArrayLike, critical: npt.ArrayLike) -> float:
    """Area under the precision-recall curve as a sum of steps: the mean, over critical tokens, of the share of critical ones
    among all tokens of at least its score. By chance it is the share of critical tokens.

    :param score: ``(n,)``
    :param critical: bool ``(n,)``
    :return: NaN if no token is critical
    """
    scores, labels = np.asarray(score), np.asarray(critical)
    if not labels.any():
        return math.nan
    all_below = np.searchsorted(np.sort(scores), scores[labels], side="left")
    critical_below = np.searchsorted(np.sort(scores[labels]), scores[labels], side="left")
    return float(((labels.sum() - critical_below) / (len(scores) - all_below)).mean())


Measure = Callable[[npt.ArrayLike, npt.ArrayLike], float]
"""How well scores find the critical tokens: :func:`auroc` or :func:`average_precision`."""


def of_signals(found: Sequence[Criticality], measure: Measure, seed: int = 0, console: Console = SILENT) -> dict[str, Estimate]:
    """A measure of every signal, with 95% bootstrap intervals over problems.

    :param found: at least one
    :param measure: takes the scores of all tokens, and which are critical
    :param seed: of the resampling
    :param console: where to show progress
    """
    labels = [each.criticality >= CRITICAL for each in found]
    signals = [each.signals() for each in found]
    draws = np.random.default_rng(seed).integers(0, len(found), size=(RESAMPLES, len(found)))

    def of(name: str, chosen: Iterable[int]) -> float:
        return measure(np.concatenate([signals[i][name] for i in chosen]), np.concatenate([labels[i] for i in chosen]))

    estimates = {}
    with meter(console, "Intervals of signals", len(signals[0])) as advance:
        for name in signals[0]:
            low, high = np.nanquantile([of(name, draw) for draw in draws], [0.025, 0.975])
            estimates[name] = Estimate(of(name, range(len(found))), float(low), float(high))
            advance(1)
    return estimates


def place_of(inspection: Inspection, position: int) -> str:
    """Where a token stands: in words for addition, elsewhere its index."""
    return place(inspection.text, position) if isinstance(inspection.task, Addition) else f"token {position}"


def place(text: str, position: int) -> str:
    """Where a token of a solution stands, such as ``"line 2, list of operand 1"``.

    :param text: the solution
    :param position: of the token
    """
    lines, index = text.split("\n"), text[:position].count("\n")
    end = lines.index("</scratch>") - 1
    if index > end + 1:
        return "result line"
    if not 2 <= index <= end:
        return "frame"
    written = text[:position].split("\n")[-1]
    lists = ("list of operand 1", "list of operand 2", "list A")
    in_list = written.count("[") > written.count("]")
    name = "END line" if index == end else f"line {index - 1}"
    return f"{name}, {lists[written.count('[') - 1] if in_list else 'outside the lists'}"


def lost_by_place(found: Sequence[Criticality]) -> dict[str, float]:
    """Share of everything lost, 0 to 1, by place, the largest first."""
    shares: dict[str, float] = defaultdict(float)
    total = sum(float(each.lost.sum()) for each in found)
    for each in found:
        for position, lost in enumerate(each.lost):
            shares[place_of(each.inspection, position)] += float(lost) / total
    return dict(sorted(shares.items(), key=lambda item: -item[1]))


def token_rows(found: Sequence[Criticality]) -> Iterator[dict[str, Any]]:
    """One row per token: the problem, the place, V before and after it, its criticality, and all signals."""
    for each in found:
        signals, criticality = each.signals(), each.criticality
        operands = isinstance(each.inspection.task, Addition)
        problem = dict(zip("ab", each.inspection.problem, strict=True)) if operands else {"problem": each.inspection.problem}
        for position, token in enumerate(each.inspection.text):
            yield {
                **problem,
                "position": position,
                "place": place_of(each.inspection, position),
                "token": token,
                "success_before": round(each.success[position], 5),
                "success_after": round(each.success[position + 1], 5),
                "criticality": round(criticality[position], 5),
                **{name: round(values[position], 5) for name, values in signals.items()},
            }


def summary(found: Sequence[Criticality]) -> str:
    """The numbers behind the table, in a sentence each."""
    labels = np.concatenate([each.criticality >= CRITICAL for each in found])
    task = np.concatenate([each.on_critical_tokens for each in found])
    lost = np.concatenate([each.lost for each in found])
    held = np.concatenate([each.inspection.quantities["weight"] for each in found]) > 0.5
    return (
        f"The policy succeeds with probability {np.mean([each.success[0] for each in found]):.3f}. {labels.sum()} of "
        f"{len(labels)} tokens of {len(found)} solutions are critical (criticality >= {CRITICAL}), {(labels & task).sum()} of "
        f"them among the task's {task.sum()} critical tokens, which hold {lost[task].sum() / lost.sum():.0%} of all that is "
        f"lost. {(labels & held).sum()} of them have a certainty that leaves more than half of the weight J ** {EXPONENT:g}; "
        f"{lost[held].sum() / lost.sum():.0%} is lost on such tokens."
    )


def tables(
    aurocs: Mapping[str, Estimate], precisions: Mapping[str, Estimate], places: Mapping[str, float]
) -> list[RenderableType]:
    """AUROC and average precision of the signals, and where successes are lost."""
    signals = [[name, f"{estimate:.3f}", f"{precisions[name]:.3f}"] for name, estimate in aurocs.items()]
    shares = [[name, f"{share:.1%}"] for name, share in list(places.items())[:PLACES]]
    return [
        rich_table(
            "How well a signal finds the critical tokens",
            ["signal", "AUROC", "average precision"],
            signals,
            "95% bootstrap intervals over problems",
        ),
        rich_table("Where successes are lost", ["place", "share"], shares, "shares of the sum of -log(1 - criticality)"),
    ]


def draw(found: Sequence[Criticality], estimates: Mapping[str, Estimate], path: Path) -> None:
    """Criticality from -1 on against certainty, one dot per token, and the AUROC of the signals."""
    figure, (left, right) = plt.subplots(1, 2, figsize=(11, 4.2), layout="constrained")
    certainty = np.concatenate([each.inspection.quantities["certainty"] for each in found])
    criticality = np.concatenate([each.criticality for each in found])
    task = np.concatenate([each.on_critical_tokens for each in found])
    for chosen, label, marker, colour in (
        (~task, "other", "o", COLOURS[0]),
        (task, "critical by the task's rule", "^", COLOURS[5]),
    ):
        left.plot(certainty[chosen], criticality[chosen], marker, color=colour, markersize=4, alpha=0.5, label=label)
    left.axhline(CRITICAL, color="black", linestyle=":", linewidth=1, label=f"critical from {CRITICAL} on")
    left.set(
        xlabel="certainty of the reference (negentropy, 0 to 1)",
        ylabel="criticality (share of successes lost)",
        ylim=(-1.05, 1.05),
    )
    left.grid(alpha=0.3)
    left.legend(fontsize=8)
    names = list(estimates)[::-1]
    for row, name in enumerate(names):
        estimate = estimates[name]
        right.plot([estimate.low, estimate.high], [row, row], color="black")
        right.plot(estimate.value, row, "o", color=COLOURS[0], markersize=8)
    right.axvline(0.5, color="black", linestyle=":", linewidth=1)
    right.set(yticks=range(len(names)), yticklabels=names, xlim=(None, 1.01), xlabel="AUROC (0.5: chance; 95% intervals)")
    right.grid(alpha=0.3)
    figure.savefig(path, dpi=150)
    plt.close(figure)
