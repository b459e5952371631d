"""The decision rule of the matched-budget experiment, which ``docs/matched_budget.md`` states and explains."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from train.experiment.results import Results, paired_seeds
from train.measure.statistics import Estimate, paired_difference, paired_p, probability_of_improvement, t_mean

FOCUS = "prioritized"
"""The arm that all others are compared with."""
WORST_RETENTION = -3.0
"""An arm may lose so much on up to N digits, in percentage points, mean over seeds."""
FEWEST_SEEDS = 5
"""No verdict on fewer paired seeds."""

NOT_SHOWN = """\
The decision rule was written before the runs: `docs/matched_budget.md`. It does not settle whether the method helps. What
this does not show (the same page has the numbers):

- The rule compares the best of several uniform coefficients, chosen on these seeds and problems, with one prioritized
  coefficient. It says whether that coefficient is a good one, not whether the method helps.
- Arms of one coefficient match in the mean weight of a token at best, not in the KL that they spend. A control that spends
  less KL may gain less only because it is penalised more: compare arms of equal KL.
- `oracle` frees the tokens of the paper's rule, not all on which the model fails, and is no upper bound.
- The commit that made a run is named above as far as the run recorded it; a run that did not need not come out the same
  again."""
"""Shown with the verdict in the report."""


@dataclass(frozen=True)
class Comparison:
    """The focus arm against another, on the same seeds."""

    other: str
    difference: Estimate
    """Mean paired difference of the gain, focus minus other, in percentage points."""
    difference_t: Estimate
    """The same with its t interval."""
    p: float
    """Of the sign-flip test that it is 0; NaN for too few seeds."""
    improvement: Estimate
    """Probability that the focus arm gains more."""
    area: Estimate
    """Mean paired difference of the area under the curve of success, in percentage points, with its t interval."""
    area_p: float

    @property
    def outcome(self) -> str:
        """``"gains more"`` or ``"gains less"`` if both intervals say so, else ``"no difference shown"``."""
        if self.difference.low > 0 and self.improvement.low > 0.5:
            return "gains more"
        if self.difference.high < 0 and self.improvement.high < 0.5:
            return "gains less"
        return "no difference shown"


def compare(results: Results, other: str) -> Comparison:
    """The focus arm against another, on the seeds that both have; there must be one at least."""
    seeds = paired_seeds(results, FOCUS, other)
    focus, rival = (np.array([results[arm][seed].gain for seed in seeds]) for arm in (FOCUS, other))
    areas = [np.array([100 * results[arm][seed].success_area for seed in seeds]) for arm in (FOCUS, other)]
    return Comparison(
        other,
        difference=paired_difference(focus, rival),
        difference_t=t_mean(focus - rival),
        p=paired_p(focus - rival),
        improvement=probability_of_improvement(focus, rival),
        area=t_mean(areas[0] - areas[1]),
        area_p=paired_p(areas[0] - areas[1]),
    )


def verdict(results: Results, uniform: Sequence[str]) -> str:
    """The answer to the primary question: does the focus arm gain more than the best uniform coefficient?

    :param results: all arms
    :param uniform: the arms with uniform KL
    """
    seeds = paired_seeds(results, FOCUS, *uniform)
    if len(seeds) < FEWEST_SEEDS:
        return f"No verdict yet: {len(seeds)} seeds are done in all arms of the question, and the rule asks for {FEWEST_SEEDS}."

    def mean(arm: str, field: str) -> float:
        return float(np.mean([getattr(results[arm][seed], field) for seed in seeds]))

    if mean(FOCUS, "retention") < WORST_RETENTION:
        return f"No: {FOCUS} loses {-mean(FOCUS, 'retention'):.1f} points on up to N digits, more than the rule allows."
    keeping = [arm for arm in uniform if mean(arm, "retention") >= WORST_RETENTION]
    if not keeping:
        return "No verdict: every uniform coefficient loses more on up to N digits than the rule allows; add a larger one."
    best = max(keeping, key=lambda arm: mean(arm, "gain"))
    comparison = compare(results, best)
    return (
        f"{FOCUS} against {best}, the best uniform coefficient tried, on {len(seeds)} paired seeds: {comparison.outcome} "
        f"(difference {comparison.difference:+.1f} points, probability of improvement {comparison.improvement:.2f})."
    )
