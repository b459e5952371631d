"""Tables and figures that need pre-trained models alone: Tables 1, 4 and 5, Figs. 1, 2 and 5, and the first check."""

from collections.abc import Sequence

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.figure import Figure
from scipy.stats import spearmanr

from addition_gym import solution
from addition_gym.problems import ProblemSampler
from addition_gym.scratchpad import critical_tokens
from agents.weighting.signals import ReferenceCertainty
from agents.weighting.weightings import certainty_power
from policies import GPT2Policy
from train.measure.accuracy import Accuracy, Kind
from train.measure.choices import Distribution
from train.measure.inspection import Completion, Inspection, complete, inspect
from train.measure.pictures import STYLES, draw_text
from train.measure.solve import Problem
from train.measure.statistics import mean
from train.reproduction import paper
from train.reproduction.artefact import Artefact
from train.reproduction.workshop import Workshop

GENERATIONS = 50
"""Of Table 1, as in the paper."""
ALIGNED_PROBLEMS = 30
"""Of the first check."""
EXAMPLE = "482913", "75"
"""The problem of Fig. 1, cut to N+1 digits."""
SHOWN = 3
"""Outputs in Fig. 5."""
UNSURE = 0.2
"""1 - certainty that Fig. 5 colours fully."""


def read(policy: GPT2Policy, problem: Problem, digits: int, completion: Completion) -> Inspection:
    """What a pre-trained model makes of a completion."""
    tokens = complete(policy, problem, completion)
    return inspect(policy, problem, tokens, digits, certainty_power(150.0), ReferenceCertainty())


def certainty_gaps(inspection: Inspection) -> tuple[list[float], list[float]]:
    """A token's certainty minus the mean certainty of all others, for critical tokens and for the others."""
    certainty = inspection.quantities["certainty"].astype(np.float64)
    gaps = certainty - (certainty.sum() - certainty) / (len(certainty) - 1)
    critical = np.isin(np.arange(len(gaps)), list(inspection.critical))
    return gaps[critical].tolist(), gaps[~critical].tolist()


def table_1(workshop: Workshop) -> Artefact:
    """How much less certain a pre-trained model is on critical tokens than elsewhere."""
    rows, table = [], [["N", "critical", "non-critical, mean", "non-critical, minimum"]]
    for digits in workshop.scale.certainty_digits:
        problems = Kind(1).problems(digits, GENERATIONS, seed=0)
        gaps = [certainty_gaps(read(workshop.policy(digits), problem, digits, "greedy")) for problem in problems]
        found = {
            "critical": mean([np.mean(critical) for critical, _ in gaps if critical]),
            "non-critical, mean": mean([np.mean(others) for _, others in gaps]),
            "non-critical, minimum": mean([np.min(others) for _, others in gaps]),
        }
        rows += [{"digits": digits, "tokens": name, **vars(estimate)} for name, estimate in found.items()]
        table.append([str(digits), *(f"{estimate:.4f}" for estimate in found.values())])
    for digits, (value, half_width) in paper.CERTAINTY_GAP.items():
        other = "{:.4f} ± {:.4f}".format(*paper.OTHER_CERTAINTY_GAP[digits])
        table.append([f"{digits} (paper)", f"{value:.2f} ± {half_width:.2f}", "", other])
    figure, axes = plt.subplots(figsize=(6, 3.6), layout="constrained")
    for (name, label), (colour, _), marker in zip(
        {"critical": "critical", "non-critical, mean": "others"}.items(), STYLES, "o^", strict=False
    ):
        chosen = [row for row in rows if row["tokens"] == name]
        errors = [[max(row["value"] - row["low"], 0) for row in chosen], [max(row["high"] - row["value"], 0) for row in chosen]]
        digits_shown, values = [row["digits"] for row in chosen], [row["value"] for row in chosen]
        axes.errorbar(digits_shown, values, errors, fmt=marker, color=colour, capsize=4, markersize=8, label=label)
    axes.axhline(0, color="black", linewidth=0.8)
    axes.set(xlabel="N, digits of the pre-training", ylabel="certainty minus that of the other tokens", xticks=digits_of(rows))
    axes.grid(alpha=0.3)
    axes.legend()
    caption = (
        "Certainty (normalised negentropy) of a token minus the mean certainty of all other tokens of the completion, over "
        f"{GENERATIONS} greedy completions of N+1-digit problems, with 95% bootstrap intervals over completions. Critical are "
        "the tokens of the task's rule, as far as the completion is right before them: all of them, also those that the model "
        "gets right, so the mean says little about those where it fails. Ours: "
        + "; ".join(f"N = {row['digits']}: {row['value']:+.3f}" for row in rows if row["tokens"] == "critical")
        + ". The paper: "
        + "; ".join(f"N = {digits}: {value:+.2f}" for digits, (value, _) in paper.CERTAINTY_GAP.items())
        + ". It calls its column for non-critical tokens their minimum; the values are what a mean would be, so both are here."
    )
    return Artefact("Table 1: certainty on critical tokens", caption, rows, figure, table)


def digits_of(rows: Sequence[dict[str, object]]) -> list[object]:
    """The different N of some rows, in order."""
    return list(dict.fromkeys(row["digits"] for row in rows))


def _accuracies(workshop: Workshop, distribution: Distribution) -> dict[int, list[Accuracy]]:
    return {digits: workshop.accuracies(digits, distribution) for digits in workshop.scale.pretrained_digits}


def _accuracy_rows(found: dict[int, list[Accuracy]]) -> list[dict[str, object]]:
    return [
        {"digits": digits, "kind": accuracy.kind, "extra_digits": extra, **accuracy.as_dict()}
        for digits, accuracies in found.items()
        for extra, accuracy in enumerate(accuracies)
    ]


def _draw_accuracies(found: dict[int, list[Accuracy]], distribution: Distribution) -> Figure:
    figure, axes = plt.subplots(figsize=(6, 3.8), layout="constrained")
    for (digits, accuracies), (colour, dash), marker in zip(found.items(), STYLES, "os^Dv", strict=False):
        values = [100 * accuracy.value for accuracy in accuracies]
        ends = [(100 * low, 100 * high) for low, high in (accuracy.interval for accuracy in accuracies)]
        errors = [
            [value - low for value, (low, _) in zip(values, ends, strict=True)],
            [high - value for value, (_, high) in zip(values, ends, strict=True)],
        ]
        axes.errorbar(
            range(len(values)),
            values,
            np.maximum(errors, 0),
            color=colour,
            linestyle=dash,
            marker=marker,
            capsize=3,
            label=f"N = {digits}",
        )
    labels = ["N", "N+1", "N+2", "N+3"]
    axes.set(
        xlabel=f"digits, {distribution}", ylabel="accuracy (%), greedy", xticks=range(4), xticklabels=labels, ylim=(-3, 103)
    )
    axes.grid(alpha=0.3)
    axes.legend()
    return figure


def _accuracy_table(workshop: Workshop, number: int, distribution: Distribution, meaning: str) -> Artefact:
    found = _accuracies(workshop, distribution)
    table = [["N", "N digits", "N+1", "N+2", "N+3"]]
    for digits, accuracies in found.items():
        cells = [str(accuracy) for accuracy in accuracies]
        table.append([str(digits), *cells, *[""] * (4 - len(cells))])
    table += paper.accuracy_rows(distribution)
    ours = "; ".join(
        f"N = {digits}: {', '.join(f'{100 * accuracy.value:.1f}' for accuracy in accuracies)}"
        for digits, accuracies in found.items()
    )
    published = "; ".join(
        f"N = {digits}: {', '.join(f'{value:.1f}' for value, _ in row)}" for digits, row in paper.ACCURACY[distribution].items()
    )
    caption = (
        f"Accuracy of the pre-trained models before RL, in per cent, on {workshop.n_problems} test problems of each kind, "
        f"greedy, with 95% Wilson intervals. {meaning} On N, N+1, N+2 and N+3 digits, ours: {ours}. The paper: {published}."
    )
    title = f"Table {number}: accuracy before RL, {distribution} digits"
    return Artefact(title, caption, _accuracy_rows(found), _draw_accuracies(found, distribution), table)


def table_4(workshop: Workshop) -> Artefact:
    """Accuracy before RL, both operands of the same length."""
    return _accuracy_table(workshop, 4, "identical", "Both operands have exactly the named number of digits.")


def table_5(workshop: Workshop) -> Artefact:
    """Accuracy before RL, one operand shorter."""
    return _accuracy_table(workshop, 5, "varying", "One operand has the named number of digits, the other at most as many.")


def fig_2(workshop: Workshop) -> Artefact:
    """Table 5 as a picture."""
    artefact = table_5(workshop)
    return Artefact("Figure 2: generalisation of the pre-trained models", artefact.caption, artefact.rows, artefact.figure)


def fig_1(workshop: Workshop) -> Artefact:
    """The task, with the critical tokens of a worked scratchpad."""
    digits = workshop.scale.focus
    a, b = int(EXAMPLE[0][: digits + 1].ljust(digits + 1, "7")), int(EXAMPLE[1])
    text, critical = solution(a, b), {token.position: token for token in critical_tokens(a, b, digits)}
    figure, axes = plt.subplots(figsize=(9, 3), layout="constrained")
    draw_text(axes, text, [0.6 if position in critical else 0 for position in range(len(text))], critical)
    rows = [{"position": position, "token": text[position], **token._asdict()} for position, token in critical.items()]
    caption = (
        f"The completion of {a}+{b}. The critical tokens for a model pre-trained on up to N = {digits} digits are boxed: in "
        "lines 1 to 3, the digits of an operand's list beyond those that the model has seen there, and the comma before "
        "each. Dots are spaces. The paper's Fig. 1 highlights the same tokens in a longer problem."
    )
    return Artefact("Figure 1: the task and its critical tokens", caption, rows, figure)


def fig_5(workshop: Workshop) -> Artefact:
    """Outputs on N+1 digits, every token coloured by certainty."""
    digits = workshop.scale.focus
    policy = workshop.policy(digits)
    found = [read(policy, problem, digits, "greedy") for problem in Kind(1, "identical").problems(digits, SHOWN, seed=0)]
    figure, panels = plt.subplots(SHOWN, 1, figsize=(9, 3 * SHOWN), layout="constrained")
    rows = []
    for axes, inspection in zip(panels, found, strict=True):
        certainty = inspection.quantities["certainty"][: len(inspection.text)]
        shades = np.clip((1 - certainty) / UNSURE, 0, 1).tolist()
        draw_text(axes, inspection.text, shades, inspection.critical, inspection.first_error)
        axes.set_title(f"{inspection.problem[0]}+{inspection.problem[1]}: {inspection.verdict}", fontsize=8, loc="left")
        rows += [
            {"a": inspection.problem[0], "b": inspection.problem[1], "position": position, "token": token, "certainty": value}
            for position, (token, value) in enumerate(zip(inspection.text, certainty, strict=True))
        ]
    caption = (
        f"Greedy completions of three {digits + 1}-digit problems by the model of N = {digits}: the more orange, the less "
        f"certain (white 1, full orange {1 - UNSURE:g} and less). Boxed: critical tokens by the task's rule; crossed out: the "
        "first error; dots are spaces. The paper's Fig. 5 shows such outputs of its own models, green where certain and red "
        "where not."
    )
    return Artefact("Figure 5: outputs coloured by certainty", caption, rows, figure)


def aligned_problems(digits: int, count: int) -> list[Problem]:
    """Held-out problems of two numbers of exactly so many digits without a carry: their solutions have one layout."""
    sampler, rng = ProblemSampler(digits, "identical", split="test"), np.random.default_rng(0)
    problems: list[Problem] = []
    while len(problems) < count:
        a, b = sampler.sample(rng)
        if all(int(x) + int(y) < 10 for x, y in zip(str(a), str(b), strict=True)):
            problems.append((a, b))
    return problems


def certainty_by_position(workshop: Workshop) -> Artefact:
    """Certainty against entropy, by position in the scratchpad."""
    digits = workshop.scale.focus
    policy, problems = workshop.policy(digits), aligned_problems(digits + 1, ALIGNED_PROBLEMS)
    found = [read(policy, problem, digits, "solution") for problem in problems]
    certainty, entropy = (np.stack([each.quantities[name] for each in found]) for name in ("certainty", "entropy"))
    text, critical = solution(*problems[0]), sorted(found[0].critical)
    figure, panels = plt.subplots(2, 1, figsize=(10, 5), sharex=True, layout="constrained")
    for axes, values, label, (colour, _) in zip(
        panels, (certainty, entropy), ("certainty J (0 to 1)", "entropy of the policy (nats)"), STYLES, strict=False
    ):
        for position in critical:
            axes.axvspan(position - 0.5, position + 0.5, color="0.8", label="critical" if position == critical[0] else None)
        axes.plot(values.mean(0), color=colour, linewidth=1)
        axes.fill_between(range(len(text)), *np.quantile(values, [0.1, 0.9], axis=0), color=colour, alpha=0.25, linewidth=0)
        axes.set_ylabel(label)
        axes.grid(alpha=0.3)
    panels[0].legend(loc="lower right", fontsize=8)
    panels[1].set_xlabel("position in the completion (tokens)")
    rows = [
        {
            "position": position,
            "critical": position in critical,
            "certainty": certainty[:, position].mean(),
            "entropy": entropy[:, position].mean(),
        }
        for position in range(len(text))
    ]
    correlation = float(spearmanr(certainty.ravel(), entropy.ravel()).statistic)
    lowest = np.argsort(certainty.mean(0))[: len(critical)]
    caption = (
        "Certainty of the reference (normalised negentropy) and entropy of the policy before RL along the right solutions of "
        f"{len(problems)} problems of {digits + 1} digits without carries, whose layout is the same: means, with the middle "
        f"80%. The two are one quantity turned upside down (rank correlation {correlation:.3f}): J = 1 - H / log V, since "
        f"policy and reference are still equal. Of the {len(critical)} least certain positions "
        f"{len(set(lowest) & set(critical))} are among the {len(critical)} critical ones of the task's rule (grey). The paper "
        "shows no such picture."
    )
    return Artefact("Check 1: certainty against entropy by position", caption, rows, figure)
