"""The track of ``docs/track.md``: its rules, what an entry is, and what its runs found."""

import dataclasses
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

from rich.console import Console

from agents.weighting import TokenWeights
from policies.safe_files import read_json
from train.experiment.results import read_result
from train.experiment.runner import Runner
from train.experiment.store import Store
from train.finetuning.arguments import PPOArgs
from train.finetuning.finetune import make_agent
from train.measure.learning_speed import SAMPLED
from train.measure.statistics import Estimate, sign_flip_p, t_mean
from train.run.files import write_json
from train.run.models import Model
from train.run.own_code import OwnCode
from train.run.run import RESULTS

FREE = ("kl_coef", "kl_estimator", "kl_in", "kl_target", "kl_horizon", "clip_rule", "clip_range", "proximal_coef")
"""Arguments of ``train.ppo`` that an entry may set."""
LONGEST_ENTRY = 60
"""Lines of an entry, so that a person reads it in a minute."""
MEASURES = ("seed", "success_area", "gain", "retention", "kl", "forward_kl", "seconds")
"""What a row says of each run; see :class:`train.experiment.results.RunResult`."""
WORST_RETENTION = -3.0
"""Percentage points; the lower end of an entry's 95% interval must reach it."""
RECORD_P = 0.01
"""A record differs from the one before with a smaller p."""


@dataclass(frozen=True)
class Rules:
    """What is the same for all entries. A change of it is another version."""

    version: str = "track-1"
    model: str = "b477bb2b7b5ef3915be81eafb1e2b69e717ac6bcddd843bb4f115290074150f1"
    """Digest of the base model."""
    learner: PPOArgs = field(default_factory=lambda: PPOArgs(pretrained_digits=5, total_episodes=768, seed=1000))
    """With the first seed; an entry sets its weighting and what is :data:`FREE`."""
    seeds: int = 10


class Entry(NamedTuple):
    """A Python file with a ``weighting``, and perhaps ``settings``."""

    path: Path
    says: str
    """The first paragraph of its docstring."""
    settings: dict[str, Any]

    @classmethod
    def read(cls, path: Path) -> "Entry":
        """Read the file, and run it.

        :raises ValueError: if it breaks a rule
        :raises TypeError: if its weighting is no ``TokenWeights``, or its settings are no dictionary
        """
        if path.suffix != ".py":
            raise ValueError(f"entry must be a Python file, but it is {str(path)!r}: pass one that ends with .py")
        code = OwnCode.find("entry", f"{path}:weighting")
        code.get(TokenWeights)
        source = path.read_text(encoding="utf-8")
        if (lines := len(source.splitlines())) > LONGEST_ENTRY:
            raise ValueError(f"entry must have at most {LONGEST_ENTRY} lines, but {str(path)!r} has {lines}: shorten it")
        if not (says := (code.module.__doc__ or "").strip()):
            raise ValueError(f"entry must say what it does, but {str(path)!r} has no docstring: begin it with a sentence")
        settings = getattr(code.module, "settings", {})
        if not isinstance(settings, dict):
            raise TypeError(f"settings must be a dictionary, but in {str(path)!r} they are {settings!r}: make them one")
        for name in settings:
            if name not in FREE:
                raise ValueError(f"settings must be of {', '.join(FREE)}, but {str(path)!r} sets {name!r}: leave it out")
        return cls(path, " ".join(says.split("\n\n")[0].split()), settings)

    @property
    def name(self) -> str:
        """That of the file."""
        return self.path.stem

    def runs(self, rules: Rules) -> list[PPOArgs]:
        """One of each seed."""
        first = dataclasses.replace(rules.learner, weighting=f"{self.path}:weighting", eval_before=False, **self.settings)
        return [dataclasses.replace(first, seed=first.seed + index) for index in range(rules.seeds)]


@dataclass(frozen=True)
class Row:
    """An entry that was run: what is written as JSON, and again read from there."""

    track: str
    """The version of the rules."""
    entry: str
    says: str
    settings: Mapping[str, Any]
    source: str
    """The file."""
    by: str
    """Who ran it."""
    date: str
    """When its runs were done, in UTC."""
    made_by: Sequence[Mapping[str, Any]]
    """:func:`train.run.provenance.provenance` of its runs, each once."""
    runs: Sequence[Mapping[str, Any]]
    """Of each seed its :data:`MEASURES`, and the ``curve`` of its sampled success."""

    @property
    def score(self) -> Estimate:
        """Area under the curve of sampled success, in per cent: the mean over seeds with its t interval."""
        return t_mean([100 * run["success_area"] for run in self.runs])

    @property
    def retention(self) -> Estimate:
        """Change of accuracy on up to N digits, in percentage points."""
        return t_mean([run["retention"] for run in self.runs])

    @property
    def forward_kl(self) -> Estimate:
        """KL(pi_ref || pi) at the end, in nats per episode."""
        return t_mean([run["forward_kl"] for run in self.runs])

    @property
    def keeps(self) -> bool:
        """Whether it keeps enough of what the base model knew."""
        return self.retention.low >= WORST_RETENTION

    @property
    def commit(self) -> str:
        """Of this project, in short; several if the runs were made by several."""
        said = [(made["commit"] or "unknown")[:7] + (", changed" if made["clean"] is False else "") for made in self.made_by]
        return " and ".join(dict.fromkeys(said))

    @property
    def file(self) -> str:
        """The name of its JSON file: of one entry there is one of each person."""
        person = re.sub(r"\W+", "-", self.by.lower()).strip("-")
        return f"{self.entry}-{person}.json"


class Difference(NamedTuple):
    """Of two rows' scores, over the seeds that both have, in percentage points."""

    value: Estimate
    p: float
    """Of the sign-flip test."""


def difference(row: Row, other: Row) -> Difference:
    """How much more a row scores than another."""
    ours, theirs = ({run["seed"]: 100 * run["success_area"] for run in each.runs} for each in (row, other))
    paired = [ours[seed] - theirs[seed] for seed in sorted(ours.keys() & theirs.keys())]
    return Difference(t_mean(paired), sign_flip_p(paired))


def records(rows: Sequence[Row]) -> list[Row]:
    """The rows that set a record, in the order of their dates; the first that keeps enough is the first record."""
    found: list[Row] = []
    for row in sorted(rows, key=lambda each: each.date):
        if row.keeps and (not found or beats(row, found[-1])):
            found.append(row)
    return found


def beats(row: Row, record: Row) -> bool:
    """Whether a row scores more than the record, by the rules."""
    value, p = difference(row, record)
    return value.value > 0 and p < RECORD_P


def ranked(rows: Sequence[Row]) -> list[Row]:
    """By score to a tenth of a per cent, then by forward KL; those that do not keep enough come last."""
    return sorted(rows, key=lambda row: (not row.keeps, -round(row.score.value, 1), row.forward_kl.value))


def uniform_of(rows: Sequence[Row]) -> Row | None:
    """The row that all others are compared with, the oldest of its entry."""
    return min((row for row in rows if row.entry == "uniform"), key=lambda row: row.date, default=None)


def read_rows(folder: Path, version: str) -> list[Row]:
    """The rows of a version of the rules, from their JSON files."""
    found = [read_json(path, "row") for path in sorted(folder.glob("*.json"))]
    names = [each.name for each in dataclasses.fields(Row)]
    return [Row(**{name: row[name] for name in names}) for row in found if row["track"] == version]


def record_to_beat(row: Row, rows: Sequence[Row]) -> Row | None:
    """The record among all other rows."""
    return next(reversed(records([other for other in rows if other.file != row.file])), None)


def verdict(row: Row, rows: Sequence[Row]) -> str:
    """How a row did against the record, in a sentence."""
    record = record_to_beat(row, rows)
    parts = [f"{row.entry}: score {row.score:.1f}"]
    if record:
        value, p = difference(row, record)
        parts.append(f"{value:+.1f} points to the record ({record.entry} by {record.by}), p = {p:.3f}")
    if not row.keeps:
        parts.append(f"no rank, since it may lose too much of what was known ({row.retention:+.1f} points)")
    elif record is None or beats(row, record):
        parts.append("a new record")
    return ", ".join(parts)


def write_row(row: Row, rows: Sequence[Row], folder: Path) -> Path:
    """Write a row, with what follows from it and from the rows that were there before."""
    others = [other for other in rows if other.file != row.file]
    found: dict[str, Any] = {name: vars(getattr(row, name)) for name in ("score", "retention", "forward_kl")}
    for name, other in {"minus_record": record_to_beat(row, rows), "minus_uniform": uniform_of(others)}.items():
        if other:
            value, p = difference(row, other)
            found[name] = {"entry": other.entry, **vars(value), "p": p}
    folder.mkdir(parents=True, exist_ok=True)
    write_json(folder / row.file, {**found, **vars(row)})
    return folder / row.file


def make_row(entry: Entry, rules: Rules, store: Store, runner: Runner, by: str, console: Console) -> Row:
    """Make the runs of an entry that are missing, and read what they found.

    :raises ValueError: if the base model is not that of the rules, or the entry's settings break their constraints
    :raises SystemExit: if runs failed
    """
    args = entry.runs(rules)
    model = rules.learner.pretrained
    if (found := Model.find(model).digest()) != rules.model:
        raise ValueError(
            f"{rules.version} must start from the model with the digest {rules.model}, but that of {model!r} here is {found}: "
            "use a version of this project that has it"
        )
    make_agent(args[0])  # whatever is wrong with the settings shows before runs are made
    if failed := runner.run_missing(store, args, console):
        raise SystemExit(f"{len(failed)} runs failed; the same command tries them again")
    results, made_by, ended = [], [], 0.0
    for each in args:
        run = store.get(each)
        assert run is not None
        ended = max(ended, (run.folder / RESULTS).stat().st_mtime)
        result = read_result(entry.name, each.seed, run, each.extra_digits, store.before(each))
        episodes, success = run.progress.curve(SAMPLED)
        curve = {"episodes": episodes.tolist(), "success": success.tolist()}
        results.append({**{name: getattr(result, name) for name in MEASURES}, "curve": curve})
        made_by += [session for session in run.record["sessions"] if session not in made_by]
    return Row(
        track=rules.version,
        entry=entry.name,
        says=entry.says,
        settings=entry.settings,
        source=entry.path.read_text(encoding="utf-8"),
        by=by,
        date=datetime.fromtimestamp(ended, UTC).isoformat(timespec="seconds"),
        made_by=made_by,
        runs=results,
    )
