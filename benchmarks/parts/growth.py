"""How the cost of a token grows with the length of the texts and with the number of lanes."""

import statistics
from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks.contenders.matrix_products import operations
from benchmarks.contenders.ours import Ours
from benchmarks.measure import Part, Row, Settings, interleave
from benchmarks.random_model import save_random_model

Cases = dict[str, Ours]


def measure(settings: Settings) -> list[Row]:
    """Digits at the fewest lanes, then lanes at the fewest digits."""
    fewest, lanes = settings.growth_digits[0], settings.growth_lanes[0]
    longer: Cases = {}
    wider: Cases = {}
    with TemporaryDirectory() as folder:
        for digits in settings.growth_digits:
            model = Path(folder) / str(digits)
            save_random_model(model, digits)
            ours = Ours(lanes, digits - 1, str(model), settings.device)
            longer[f"{digits} digits, {ours.agent.policy.max_tokens:,} tokens"] = ours
        for more in settings.growth_lanes:
            wider[f"{more} lanes"] = Ours(more, fewest - 1, str(Path(folder) / str(fewest)), settings.device)
    return by_length(longer, f"{lanes} lanes", settings) + by_lanes(wider, f"{fewest} digits", settings)


def by_length(cases: Cases, lanes: str, settings: Settings) -> list[Row]:
    """Time and operations of a token."""
    rollout, update = times(cases, settings)
    rollout_operations, update_operations = {}, {}
    for case, ours in cases.items():
        episodes, config = ours.episodes, ours.agent.policy.language_model.config
        counts = operations(config, episodes, ours.agent.batch_size)
        rollout_operations[case], update_operations[case] = ([count / episodes.n_tokens / 1e6] for count in counts)
    return [
        *against_first(f"rollout, {lanes}", "µs/token", rollout),
        *against_first("rollout, its operations", "MFLOP/token", rollout_operations),
        *against_first(f"update, {lanes}", "µs/token", update),
        *against_first("update, its operations", "MFLOP/token", update_operations),
    ]


def by_lanes(cases: Cases, length: str, settings: Settings) -> list[Row]:
    """Time of a token."""
    rollout, update = times(cases, settings)
    return [
        *against_first(f"rollout, {length}", "µs/token", rollout),
        *against_first(f"update, {length}", "µs/token", update),
    ]


def times(cases: Cases, settings: Settings) -> tuple[dict[str, list[float]], dict[str, list[float]]]:
    """Microseconds a token of rollouts and of updates, by case."""
    both = []
    for contenders in (
        {case: ours.rollout for case, ours in cases.items()},
        {case: ours.update for case, ours in cases.items()},
    ):
        rates = interleave(contenders, settings.repeats, settings.device)
        both.append({case: [1e6 / rate for rate in repeats] for case, repeats in rates.items()})
    return both[0], both[1]


def against_first(case: str, unit: str, values: Mapping[str, list[float]]) -> list[Row]:
    """A row for each entry; ratios are to the first."""
    first = statistics.median(next(iter(values.values())))
    return [Row(case, name, unit, tuple(repeats), statistics.median(repeats) / first) for name, repeats in values.items()]


PART = Part(
    "Growth",
    "Ours, with random weights that never write padding, so that every episode spends the whole token budget. Operations are "
    "counted: those of the products of matrices, in which attention grows with the length.",
    measure,
    ratio="this / first",
)
