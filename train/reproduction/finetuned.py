"""Figures that need fine-tuning: Figs. 3, 4, 6 and 7, and the other checks."""

from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib.pyplot as plt

from train.finetuning.arguments import PPOArgs
from train.measure.accuracy import Kind
from train.measure.pictures import STYLES
from train.measure.statistics import FEWEST_RUNS, Estimate, interquartile_mean
from train.reproduction.artefact import Artefact
from train.reproduction.bands import band, draw_bands
from train.reproduction.workshop import Workshop
from train.run.run import FinishedRun

SUCCESS = "rollout/success_rate"
KL = "objective/kl"
EXPONENTS = (1.0, 10.0, 150.0, 500.0, 1000.0, 10000.0)
"""Of Fig. 6; 150 is that of Figs. 4 and 7."""
COMMAS = [(line, operand) for line in (1, 2, 3) for operand in (1, 2)]
"""The six critical commas of Fig. 7."""
STANDARD, PRIORITIZED, NO_KL = "standard", "prioritized", "no KL"
ENOUGH = 10
"""Of so many seeds bootstrap intervals are nearly as wide as they should be (docs/matched_budget.md)."""
Runs = Mapping[str, Sequence[FinishedRun]]
Rows = list[dict[str, Any]]


def arms(workshop: Workshop, **fields: Mapping[str, object]) -> dict[str, PPOArgs]:
    """The arms of a figure by name: the arguments in which each differs."""
    return {name.replace("_", " "): workshop.arm(**differences) for name, differences in fields.items()}  # type: ignore[arg-type]


def train(workshop: Workshop, wanted: Mapping[str, PPOArgs]) -> dict[str, list[FinishedRun]]:
    """The runs of each arm."""
    return dict(zip(wanted, workshop.runs(list(wanted.values())), strict=True))


def final_accuracy(runs: Sequence[FinishedRun], kind: str) -> Estimate:
    """Greedy accuracy after training, 0 to 100: interquartile mean over runs.

    :param runs: of one arm
    :param kind: of problems, such as ``"N+1"``
    """
    return interquartile_mean([100 * run.accuracy(kind) for run in runs])


def last(runs: Sequence[FinishedRun], column: str) -> Estimate:
    """Interquartile mean over runs of what they logged last."""
    return interquartile_mean([run.progress.curve(column)[1][-1] for run in runs])


def finals(found: Runs, extra: int) -> str:
    """What every arm ends with, in words."""
    longer, shorter = Kind(extra).name, Kind(0).name
    return "; ".join(
        f"{arm} {final_accuracy(runs, longer):.1f} on {longer} digits and {final_accuracy(runs, shorter):.1f} on {shorter}"
        for arm, runs in found.items()
    )


def how(workshop: Workshop, kl_coef: float | None = None) -> str:
    """What all captions say of the runs."""
    coef = workshop.scale.ppo.kl_coef if kl_coef is None else kl_coef
    if workshop.seeds < FEWEST_RUNS:
        drawn = f"interquartile means over {workshop.seeds} seeds, too few for intervals"
    else:
        narrow = ", too narrow for so few" if workshop.seeds < ENOUGH else ""
        drawn = f"interquartile means over {workshop.seeds} seeds, bands and brackets 95% bootstrap intervals{narrow}"
    return f"KL coefficient {coef:g}; lines are {drawn}."


def fig_3(workshop: Workshop) -> Artefact:
    """Learning curves of models pre-trained to different N."""
    scale = workshop.scale
    extra = scale.comparison_extra_digits
    fields = {"weighting": "uniform", "kl_coef": scale.comparison_kl_coef, "extra_digits": extra}
    found = train(workshop, {f"N = {digits}": workshop.arm(digits, **fields) for digits in scale.pretrained_digits})
    figure, axes = plt.subplots(figsize=(6.5, 4), layout="constrained")
    rows = draw_bands(axes, found, SUCCESS)
    axes.set(xlabel="episodes", ylabel=f"success on N+{extra} digits, sampled (0 to 1)", ylim=(-0.03, 1.03))
    axes.legend()
    caption = (
        f"Success of the rollouts while models of different N are fine-tuned on N+{extra} digits with the standard penalty. "
        f"{how(workshop, scale.comparison_kl_coef)} Greedy accuracy on test problems in per cent at the end: "
        f"{finals(found, extra)}. In the paper (Fig. 3) a larger N starts higher and tends to plateau."
    )
    return Artefact("Figure 3: learning curves by N of the pre-training", caption, rows, figure)


def _standard_and_prioritized(workshop: Workshop) -> dict[str, list[FinishedRun]]:
    wanted = {STANDARD: {"weighting": "uniform"}, PRIORITIZED: {"weighting": "prioritized"}}
    return train(workshop, arms(workshop, **wanted))


def fig_4(workshop: Workshop) -> Artefact:
    """Standard against prioritized KL: success, and two critical tokens."""
    found = _standard_and_prioritized(workshop)
    extra = workshop.scale.ppo.extra_digits
    figure, panels = plt.subplots(3, 1, figsize=(6.5, 8), sharex=True, layout="constrained")
    rows = draw_bands(panels[0], found, SUCCESS)
    panels[0].set(ylabel=f"success on N+{extra} digits,\nsampled (0 to 1)")
    panels[0].legend()
    for axes, operand in zip(panels[1:], (1, 2), strict=True):
        rows += draw_bands(axes, found, f"critical/line1_operand{operand}_comma")
        axes.set(ylabel=f"probability of the right comma,\nline 1, operand {operand}", ylim=(-0.03, 1.03))
    panels[-1].set_xlabel("episodes")
    caption = (
        f"Fine-tuning the model of N = {workshop.scale.focus} under the standard and the prioritized penalty (exponent "
        f"{workshop.scale.ppo.kl_exponent:g}): success above, below it the probability of the right prediction on two "
        f"critical tokens of held-out problems. {how(workshop)} Greedy accuracy on test problems in per cent at the end: "
        f"{finals(found, extra)}. In the paper (Fig. 4) the prioritized run is clearly ahead, and under the standard penalty "
        "the critical probabilities fall back. This is one coefficient: at another the order can be the reverse, and the arms "
        "spend different amounts of KL (check 3)."
    )
    return Artefact("Figure 4: standard against prioritized KL", caption, rows, figure)


def fig_7(workshop: Workshop) -> Artefact:
    """The six critical commas during RL."""
    found = _standard_and_prioritized(workshop)
    figure, panels = plt.subplots(3, 2, figsize=(9, 8), sharex=True, sharey=True, layout="constrained")
    rows: Rows = []
    for axes, (line, operand) in zip(panels.flat, COMMAS, strict=True):
        rows += draw_bands(axes, found, f"critical/line{line}_operand{operand}_comma")
        axes.set(title=f"line {line}, operand {operand}", ylim=(-0.03, 1.03))
    panels[0, 0].legend()
    figure.supxlabel("episodes")
    figure.supylabel("probability of the right comma (0 to 1)")
    ends = {
        arm: ", ".join(f"{last(runs, f'critical/line{line}_operand{operand}_comma').value:.2f}" for line, operand in COMMAS)
        for arm, runs in found.items()
    }
    first = "critical/line1_operand1_comma"
    curves = {arm: band(runs, first)["value"] for arm, runs in found.items()}
    below = {arm: sum(bool(run.progress.curve(first)[1][-1] < curves[arm][0]) for run in runs) for arm, runs in found.items()}
    commas = "; ".join(
        f"{arm} starts at {values[0]:.2f}, reaches {values.max():.2f} and lies between {values[-5:].min():.2f} and "
        f"{values[-5:].max():.2f} in the last five rollouts, and {below[arm]} of {len(found[arm])} runs end below the start"
        for arm, values in curves.items()
    )
    caption = (
        "Probability of the right prediction on the six critical commas, line by line, given the right text before them, "
        f"during RL with the standard and the prioritized penalty. {how(workshop)} At the end: "
        + "; ".join(f"{arm} {values}" for arm, values in ends.items())
        + f". The first comma: {commas}"
        + ". In the paper (Fig. 7) they rise with the prioritized penalty; with the standard one they fall back to their start."
    )
    return Artefact("Figure 7: the six critical commas", caption, rows, figure)


def _exponents(workshop: Workshop) -> dict[str, list[FinishedRun]]:
    wanted = {"0": workshop.arm(weighting="uniform")}
    wanted |= {f"{exponent:g}": workshop.arm(weighting="prioritized", kl_exponent=exponent) for exponent in EXPONENTS}
    return train(workshop, {**wanted, NO_KL: workshop.arm(weighting="none", kl_coef=0.0)})


def _draw_estimates(
    axes: plt.Axes, labels: Sequence[str], values: Sequence[Estimate], style: int, label: str | None = None
) -> None:
    errors = [[max(e.value - e.low, 0) for e in values], [max(e.high - e.value, 0) for e in values]]
    axes.errorbar(
        range(len(labels)), [e.value for e in values], errors, fmt="os^"[style], color=STYLES[style][0], capsize=4, label=label
    )
    axes.set(xticks=range(len(labels)), xticklabels=labels, xlabel="exponent of the certainty (0: standard penalty)")
    axes.grid(alpha=0.3)


def fig_6(workshop: Workshop) -> Artefact:
    """Exponents over several orders of magnitude."""
    found, extra = _exponents(workshop), workshop.scale.ppo.extra_digits
    longer, shorter = Kind(extra).name, Kind(0).name
    figure, (left, right) = plt.subplots(1, 2, figsize=(12, 4.2), layout="constrained")
    rows = draw_bands(left, {arm: runs for arm, runs in found.items() if arm not in ("150", "500")}, SUCCESS)
    left.set(xlabel="episodes", ylabel=f"success on {longer} digits, sampled (0 to 1)")
    left.legend(title="exponent")
    for style, kind in enumerate((longer, shorter)):
        values = [final_accuracy(runs, kind) for runs in found.values()]
        _draw_estimates(right, list(found), values, style, f"{kind} digits")
        rows += [
            {"arm": arm, "column": f"final accuracy {kind}", "runs": len(runs), **vars(value)}
            for (arm, runs), value in zip(found.items(), values, strict=True)
        ]
    right.set(ylabel="greedy accuracy at the end (%)", ylim=(-3, 103))
    right.legend()
    caption = (
        f"Prioritized penalties with different exponents, between the standard penalty (0) and none. {how(workshop)} Left: "
        "success of the rollouts (150 and 500 left out for legibility); right: accuracy at the end, in per cent: "
        f"{finals(found, extra)}. In the paper (Fig. 6, 9 seeds) 10 to 500 are slightly better than the standard penalty, 500 "
        "is the best, accuracy declines from 1000 on and collapses at 10000. The arms spend different amounts of KL (check 2)."
    )
    return Artefact("Figure 6: sensitivity to the exponent", caption, rows, figure)


def weights_by_exponent(workshop: Workshop) -> Artefact:
    """Exponents from 1 to 10000, and the weights they produce."""
    found = {arm: runs for arm, runs in _exponents(workshop).items() if arm != NO_KL}
    measures = {
        "objective/weight_mean": "mean weight (0 to 1)",
        "objective/weight_frac_lt_0.1": "share of weights below 0.1",
        KL: "KL to the reference at the end (nats per episode)",
    }
    figure, panels = plt.subplots(1, 3, figsize=(14, 4), layout="constrained")
    rows: Rows = []
    for axes, (column, label) in zip(panels, measures.items(), strict=True):
        values = [last(runs, column) for runs in found.values()]
        _draw_estimates(axes, list(found), values, 0)
        axes.set_ylabel(label)
        rows += [{"exponent": arm, "column": column, **vars(value)} for arm, value in zip(found, values, strict=True)]
    mean_weight = ", ".join(
        f"{row['exponent']}: {row['value']:.3f}" for row in rows if row["column"] == "objective/weight_mean"
    )
    kl = ", ".join(f"{row['exponent']}: {row['value']:.1f}" for row in rows if row["column"] == KL)
    caption = (
        "What an exponent does to the penalty: mean weight of a token and share of weights below 0.1 in the last rollout, "
        f"and the KL that the policy then has. {how(workshop)} "
        f"Mean weight: {mean_weight}. KL: {kl}. The paper varies the exponent, and does not show the weights."
    )
    return Artefact("Check 2: what an exponent does to the weights", caption, rows, figure)


def kl_over_training(workshop: Workshop) -> Artefact:
    """KL to the reference over training, with and without prioritisation."""
    found = {**_standard_and_prioritized(workshop), **train(workshop, {NO_KL: workshop.arm(weighting="none", kl_coef=0.0)})}
    figure, axes = plt.subplots(figsize=(6.5, 4), layout="constrained")
    rows = draw_bands(axes, found, KL)
    axes.set(xlabel="episodes", ylabel="KL to the reference (nats per episode)", yscale="symlog", ylim=(0, None))
    axes.legend()
    ends = "; ".join(f"{arm} {last(runs, KL):.1f}" for arm, runs in found.items())
    caption = (
        f"KL of the policy to the reference per episode over training (linear below 1, then logarithmic). {how(workshop)} In "
        f"the last rollout: {ends}. The paper does not show the KL."
    )
    return Artefact("Check 3: KL to the reference over training", caption, rows, figure)


def failure_signatures(workshop: Workshop) -> Artefact:
    """Failure signatures side by side."""
    found = train(
        workshop,
        arms(
            workshop,
            exponent_150={"weighting": "prioritized"},
            too_high_10000={"weighting": "prioritized", "kl_exponent": 10000.0},
            too_low_1={"weighting": "prioritized", "kl_exponent": 1.0},
            misses_shuffled={"weighting": "shuffled"},
        ),
    )
    extra = workshop.scale.ppo.extra_digits
    measures = {
        SUCCESS: f"success on N+{extra} digits, sampled",
        "critical/mean": "probability of the right critical tokens",
        KL: "KL to the reference (nats per episode)",
        "objective/kl_share_critical": "share of the KL on critical tokens",
    }
    figure, panels = plt.subplots(2, 2, figsize=(10, 7), sharex=True, layout="constrained")
    rows: Rows = []
    for axes, (column, label) in zip(panels.flat, measures.items(), strict=True):
        rows += draw_bands(axes, found, column)
        axes.set_ylabel(label)
    panels[1, 0].set_yscale("symlog")
    panels[0, 0].legend(fontsize=8)
    figure.supxlabel("episodes")
    caption = (
        "How a badly prioritized penalty looks: an exponent that is too high (10000), too low (1, nearly the standard "
        "penalty), and weights that miss the uncertain tokens (those of exponent 150, shuffled again in every rollout, so "
        f"nearly constant), beside exponent 150. {how(workshop)} Greedy accuracy on test problems in per cent at the end: "
        f"{finals(found, extra)}."
    )
    return Artefact("Check 4: failure signatures", caption, rows, figure)
