"""Fine-tuning runs as pandas DataFrames."""

from collections.abc import Mapping, Sequence
from glob import glob
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from policies.safe_files import read_json
from train.experiment.identity import accuracies_before, differences, recorded_identity, written
from train.finetuning.arguments import BEFORE_IT_EXISTED, PPOArgs
from train.measure.episodes import SUCCESS
from train.measure.learning_speed import LearningSpeed, learning_speed
from train.measure.task_accuracy import HARDER
from train.run.arguments import ADDITION
from train.run.log import EPISODES, PROGRESS, STEP, Progress, in_order
from train.run.run import RECORD, RESULTS, read_record

CLOCKS = {EPISODES: "episodes", STEP: "timesteps"}
_DEFAULTS = {name: value for name, value in vars(PPOArgs()).items() if name not in ("run_folder", "resume")} | BEFORE_IT_EXISTED
"""Of arguments that were not there yet when a run was made."""
_MEASURES = ["gain", "retention", "kl", "forward_kl", *LearningSpeed._fields]
LAST_ROLLOUTS = 5
"""The KL that a run has spent is the mean over so many rollouts at its end."""


class Runs(NamedTuple):
    """Fine-tuning runs as DataFrames, which share the folder of a run as ``run``."""

    runs: pd.DataFrame
    """One row per run, finished or not; its index is ``run``. The columns are

    - ``configuration``: the arguments in which the runs differ, seeds aside, such as ``"kl_coef=0.2 weighting=uniform"``; runs
      that are alike but for their seeds have the same one
    - all arguments of ``train.ppo``
    - ``commit`` that began the run, and whether it is ``finished``
    - ``episodes``, ``timesteps`` and ``seconds`` of training, so far
    - ``before_<=N``, ``after_N+1``, ...: accuracy before and after training, 0 to 1
    - ``gain`` and ``retention``: the change on longer numbers (in another task: of its success) and on up to N digits, in
      percentage points
    - ``kl``, KL(pi || pi_ref) at the end, in nats per episode: the mean over the last five rollouts; ``forward_kl``, likewise
      KL(pi_ref || pi) in the same states, NaN if the run did not log it
    - ``success_area``, the mean of the curve of sampled success over episodes, 0 to 1, and ``episodes_to_threshold``, when it
      first reached 0.4 (infinity: never); see :class:`train.measure.learning_speed.LearningSpeed`
    """
    curves: pd.DataFrame
    """One row per rollout: ``run``, ``episodes``, ``timesteps``, and everything that ``progress.csv`` holds. The values of an
    update are in the row of its own rollout."""


def load_runs(*runs: str | Path) -> Runs:
    """Read runs of ``train.ppo``, finished or not.

    :param runs: run folders, folders that contain some, such as a store, and patterns of these, such as ``"runs/*"``
    :raises ValueError: if there are no such runs, or one is damaged
    """
    logged = {folder: Progress(folder) for folder in find_runs(*runs)}
    index = pd.Index([str(folder) for folder in logged], name="run")
    of_runs = pd.DataFrame([_row(folder, progress) for folder, progress in logged.items()], index)
    of_runs.insert(0, "configuration", configurations(list(logged)))
    accuracies = [str(name) for start in ("before_", "after_") for name in of_runs if str(name).startswith(start)]
    of_runs = of_runs[[*of_runs.columns.drop([*accuracies, *_MEASURES]), *accuracies, *_MEASURES]]
    rollouts = [{"run": str(folder), **rollout} for folder, progress in logged.items() for rollout in progress.rollouts]
    others = in_order({name for rollout in rollouts for name in rollout} - CLOCKS.keys() - {"run"})
    curves = pd.DataFrame(rollouts, columns=["run", *CLOCKS, *others]).rename(columns=CLOCKS)
    return Runs(of_runs, curves.astype({"episodes": np.int64}))


def find_runs(*runs: str | Path) -> list[Path]:
    """The folders of fine-tuning runs; parameters and errors are those of :func:`load_runs`."""
    if not runs:
        raise ValueError('runs must name at least one folder, but there is none: pass some, such as "runs/*"')
    found: dict[Path, None] = {}
    for path in runs:
        matching = [str(path)] if Path(path).exists() else sorted(glob(str(path)))
        folders = [folder for match in matching for folder in _runs_in(Path(match))]
        if not folders:
            raise ValueError(
                f"run must be a run folder of train.ppo, but {str(path)!r} holds no {PROGRESS}, and no folder with one: "
                "check the path"
            )
        found |= dict.fromkeys(folders)
    return list(found)


def _runs_in(folder: Path) -> list[Path]:
    return [folder] if (folder / PROGRESS).is_file() else sorted(path.parent for path in folder.glob(f"*/{PROGRESS}"))


def configurations(folders: Sequence[Path]) -> list[str]:
    """The arguments in which runs differ, seeds aside, of each run; its preset if there is none.

    A run without a record has its folder for a configuration: nobody knows what it has in common with others.
    """
    recorded = {folder: read_record(folder, "runs")["arguments"] for folder in folders if (folder / RECORD).is_file()}
    identities = {folder: recorded_identity(folder) for folder in recorded}
    names = differences(identities.values())
    models = {(found["pretrained"], found["pretrained_digits"]) for found in identities.values()}
    if len(models) == len({digest for digest, _ in models}) > 1:
        names = [name for name in names if name != "pretrained_digits"]  # which the model says
    texts = {}
    for folder, arguments in recorded.items():
        values = {name: written(identities[folder].get(name)) for name in names}
        for name in values.keys() & read_record(folder, "runs")["inputs"].keys():  # a digest says less than a name
            namesakes = [other for other, said in recorded.items() if said.get(name) == arguments.get(name)]
            digest = f"@{values[name][:8]}" if len({identities[other].get(name) for other in namesakes}) > 1 else ""
            values[name] = f"{arguments.get(name)}{digest}"
        texts[folder] = " ".join(f"{name}={value}" for name, value in values.items()) or str(arguments.get("preset"))
    return [texts.get(folder, str(folder)) for folder in folders]


def _row(folder: Path, progress: Progress) -> dict[str, Any]:
    """A row of :attr:`Runs.runs`, without the configuration."""
    record = read_record(folder, "runs")
    results = read_json(folder / RESULTS, "runs") if (folder / RESULTS).is_file() else {}
    arguments = {**_DEFAULTS, **record["arguments"]} if record else {}
    last = progress.rollouts[-1] if progress.rollouts else {}
    row = {name: tuple(value) if isinstance(value, list) else value for name, value in arguments.items()} | {
        "commit": record["sessions"][0].get("commit") if record else None,
        "finished": "after" in results,
        "episodes": int(last.get(EPISODES, 0)),
        "timesteps": results.get("timesteps", int(last.get(STEP, 0))),
        "seconds": results.get("seconds", last.get("time/time_elapsed", 0.0)),
    }
    before = _values(results.get("before", {})) or _shared_before(folder)
    after = _values(results.get("after", {}))
    for name, accuracies in (("before", before), ("after", after)):
        row |= {f"{name}_{kind}": value for kind, value in accuracies.items()}
    for name, kind in (("gain", trained_kind(row)), ("retention", "<=N")):
        row[name] = 100 * (after[kind] - before[kind]) if kind in before and kind in after else np.nan
    row |= {name: at_the_end(progress, f"objective/{name}") for name in ("kl", "forward_kl")}
    return row | learning_speed(progress.rollouts)._asdict()


def at_the_end(progress: Progress, column: str) -> float:
    """The mean of what was logged over the last :data:`LAST_ROLLOUTS`; NaN if nothing was."""
    logged = [rollout[column] for rollout in progress.rollouts if column in rollout]
    return float(np.mean(logged[-LAST_ROLLOUTS:])) if logged else np.nan


def trained_kind(run: Mapping[str, Any] | pd.Series) -> str:
    """What the accuracy on the problems of the training is called, for a row of :attr:`Runs.runs`."""
    if run.get("env") == ADDITION:
        return f"N+{run['extra_digits']:g}"
    of_task = any(pd.notna(run.get(f"{when}_{HARDER}")) for when in ("before", "after"))
    return HARDER if of_task else SUCCESS


def _values(accuracies: Mapping[str, Any]) -> dict[str, float]:
    return {kind: found["accuracy"] for kind, found in accuracies.items()}


def _shared_before(folder: Path) -> dict[str, float]:
    """What a store has measured once for all runs of a model."""
    found = recorded_identity(folder) if (folder / RECORD).is_file() else {}
    path = accuracies_before(folder.parent, found) if found.get("pretrained_digits") else None
    return read_json(path, "runs") if path and path.is_file() else {}
