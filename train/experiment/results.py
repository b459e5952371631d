"""What finished runs found, by arm and seed."""

from collections.abc import Mapping
from dataclasses import dataclass

from train.experiment.frames import at_the_end
from train.experiment.store import Store
from train.finetuning.arguments import PPOArgs
from train.measure.accuracy import Kind
from train.measure.learning_speed import learning_speed
from train.run.run import FinishedRun


@dataclass(frozen=True)
class RunResult:
    """One run of one arm. Accuracies are greedy, on held-out problems, 0 to 1."""

    arm: str
    seed: int
    longer_before: float
    """Accuracy on the N+k digits of the fine-tuning, before it."""
    longer_after: float
    shorter_before: float
    """Accuracy on up to N digits, before fine-tuning."""
    shorter_after: float
    gain: float
    """Change on the longer numbers, in percentage points."""
    retention: float
    """Change on up to N digits, in percentage points."""
    kl: float
    """KL(pi || pi_ref) at the end, nats per episode."""
    forward_kl: float
    """KL(pi_ref || pi) at the end, in the same states; NaN if the run did not log it."""
    seconds: float
    """Of training."""
    success_area: float
    """See :class:`train.measure.learning_speed.LearningSpeed`; so does the next."""
    episodes_to_threshold: float


Runs = Mapping[tuple[str, int], FinishedRun]
"""Finished runs by arm and seed."""
Results = Mapping[str, Mapping[int, RunResult]]
"""Results by arm and seed; an arm may have none."""


def read_result(arm: str, seed: int, run: FinishedRun, extra_digits: int, before: Mapping[str, float]) -> RunResult:
    """What a run of an arm found.

    :param extra_digits: k of the longer numbers
    :param before: accuracies of the pre-trained model, by the kind of problem
    :raises ValueError: if the run was not evaluated after training
    """
    longer, shorter = Kind(extra_digits).name, Kind(0).name
    longer_after, shorter_after = run.accuracy(longer), run.accuracy(shorter)
    return RunResult(
        arm,
        seed,
        before[longer],
        longer_after,
        before[shorter],
        shorter_after,
        gain=100 * (longer_after - before[longer]),
        retention=100 * (shorter_after - before[shorter]),
        kl=at_the_end(run.progress, "objective/kl"),
        forward_kl=at_the_end(run.progress, "objective/forward_kl"),
        seconds=run.results["seconds"],
        **learning_speed(run.progress.rollouts)._asdict(),
    )


def read_results(arms: Mapping[str, PPOArgs], runs: Runs, store: Store) -> Results:
    """What the runs of an experiment found.

    :param arms: of the experiment
    :param runs: those that are done
    :param store: which knows the accuracies before training
    """
    results: dict[str, dict[int, RunResult]] = {}
    for arm, args in arms.items():
        seeds = {seed: run for (of, seed), run in runs.items() if of == arm}
        before = store.before(args) if seeds else {}
        results[arm] = {seed: read_result(arm, seed, run, args.extra_digits, before) for seed, run in seeds.items()}
    return results


def paired_seeds(results: Results, *arms: str) -> list[int]:
    """Seeds that all the given arms have."""
    return sorted(set.intersection(*(set(results[arm]) for arm in arms)))
