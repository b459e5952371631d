"""An experiment's arms, and the runs that they consist of."""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from policies.checks import at_least
from train.experiment.arguments import PLACES, refuse_place
from train.experiment.identity import written
from train.experiment.results import Results
from train.experiment.store import Store
from train.finetuning.arguments import PRESETS, PPOArgs
from train.finetuning.finetune import token_weights
from train.run.arguments import ADDITION

Arms = Mapping[str, PPOArgs]
"""Arguments of fine-tuning by the name of the arm; their seed is the first one."""


@dataclass(frozen=True)
class Experiment:
    """What is compared, and where."""

    title: str
    """Of the report."""
    command: str
    """What makes it."""
    arms: Arms
    seeds: int
    """Runs of each arm."""
    store: Store
    """Where its runs are."""
    output: Path
    """The folder of the report."""
    answer: Callable[[Results], str] = lambda _: ""
    """A sentence that the results say together."""
    note: str = ""
    """What stands below it in the report."""


READ_BY_WEIGHTING = ("kl_exponent", "certainty", "certainty_temperature")
"""Arguments that some weightings do not read."""


def matched_budget(base: PPOArgs, uniform_coefs: tuple[float, ...], prioritized_coefs: tuple[float, ...] = ()) -> Arms:
    """Penalties of different shapes and coefficients. Their weights are matched, not the KL that they spend.

    :param base: what all arms share
    :param uniform_coefs: KL coefficients of the uniform arms
    :param prioritized_coefs: of more prioritized arms
    :raises ValueError: if there is none
    """
    if not uniform_coefs:
        raise ValueError("uniform_coefs must hold at least one coefficient, but it is empty: pass some, such as 0.05 0.2 0.8")
    fields: dict[str, dict[str, object]] = {
        "no KL": {"weighting": "none", "kl_coef": 0.0},
        **{f"uniform {coef:g}": {"weighting": "uniform", "kl_coef": coef} for coef in uniform_coefs},
        **{name: {"weighting": name} for name in ("prioritized", "constant", "shuffled", "inverted", "oracle")},
        **{f"prioritized {coef:g}": {"weighting": "prioritized", "kl_coef": coef} for coef in prioritized_coefs},
    }
    return {arm: dataclasses.replace(base, **differing) for arm, differing in fields.items()}  # type: ignore[arg-type]


def plan(arms: Arms, seeds: int) -> dict[tuple[str, int], PPOArgs]:
    """The runs by arm and seed, seed by seed, so that an unfinished experiment has whole seeds.

    The accuracy before training is not theirs to measure: runs of one pre-trained model share it
    (:meth:`train.experiment.store.Store.before`).

    :param seeds: runs of each arm
    :raises ValueError: if there would be no runs or no gains, or all would share a run folder
    """
    at_least("seeds", seeds, 1, "pass how many runs each arm has")
    for args in arms.values():
        at_least("eval_problems", args.eval_problems, 1, "gains are measured on them")
        if args.env != ADDITION:
            raise ValueError(
                f"env must be {ADDITION} in an experiment, whose gains are those on longer numbers, but it is {args.env!r}: "
                "make such runs with train.ppo, and compare their folders"
            )
        for name in PLACES:
            refuse_place(name, getattr(args, name))
    return {
        (arm, args.seed + index): dataclasses.replace(args, seed=args.seed + index, eval_before=False)
        for index in range(seeds)
        for arm, args in arms.items()
    }


def name_arms(points: Sequence[PPOArgs], axes: Sequence[str]) -> Arms:
    """Arms by the values in which they differ. Points that differ only in what their weighting does not read are one arm.

    :param points: of the grid
    :param axes: names of the arguments that have several values
    """
    alike: dict[PPOArgs, list[PPOArgs]] = {}
    for point in points:
        alike.setdefault(_normalized(point), []).append(point)
    arms = {}
    for args, members in alike.items():
        differing = [name for name in axes if len({getattr(member, name) for member in members}) == 1]
        arms[" ".join(f"{name}={written(getattr(args, name))}" for name in differing) or args.preset] = args
    return arms


def _normalized(args: PPOArgs) -> PPOArgs:
    """With the preset's values of what the weighting does not read, such as the exponent of a uniform penalty."""
    for name in READ_BY_WEIGHTING:
        other = dataclasses.replace(args, **{name: getattr(PRESETS[args.preset], name)})
        if token_weights(other) == token_weights(args):
            args = other
    return args
