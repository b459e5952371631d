"""Run the fuzzer: ``python -m tests.fuzz --cases 100000 --seed 0``. It ends with status 1 if anything undocumented happened."""

import faulthandler
import json
import resource
import tempfile
import time
import traceback
import warnings
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import tyro

from benchmarks.report import header
from tests.fuzz import task
from tests.fuzz.files import Files
from train.run.files import write_json

MEMORY = 8 * 2**30
"""Bytes of address space: what asks for more fails."""

PATIENCE = 300.0
"""Seconds after which a case counts as hanging."""


@dataclass(frozen=True)
class FuzzArgs:
    cases: int = 100_000
    """How many."""
    seed: int = 0
    """Case i depends on the seed and i alone."""
    start: int = 0
    """The first case, to run a failed one again: --start 4711 --cases 1."""
    output: Path | None = None
    """JSON to write the outcome to."""


def targets(folder: Path) -> dict[str, tuple[float, Callable[[np.random.Generator], None]]]:
    """Every kind of case and its share.

    :param folder: empty, for the files
    """
    return {
        "checker": (0.75, task.checker),
        "vocabulary": (0.06, task.vocabulary),
        "options": (0.08, task.options),
        "environment": (0.03, task.environment),
        "vector environment": (0.02, task.vector_environment),
        "files and command lines": (0.06, Files(folder).case),
    }


def fuzz(cases: range, seed: int, report: Callable[[str], Any] = print) -> tuple[dict[str, int], list[str]]:
    """Run cases.

    :param cases: their numbers
    :param seed: of all of them
    :param report: gets what went wrong, case by case
    :return: how many cases of each kind were run, and what went wrong
    """
    counts: Counter[str] = Counter()
    failures = []
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        kinds = targets(Path(folder))
        shares = [share for share, _ in kinds.values()]
        for number in cases:
            rng = np.random.default_rng([seed, number])
            name = list(kinds)[rng.choice(len(kinds), p=shares)]
            counts[name] += 1
            faulthandler.dump_traceback_later(PATIENCE, exit=True)
            try:
                kinds[name][1](rng)
            except Exception as error:
                failures.append(f"case {number} ({name}): {type(error).__name__}: {error}")
                report(failures[-1] + "\n" + traceback.format_exc())
            finally:
                faulthandler.cancel_dump_traceback_later()
    return dict(counts), failures


def main() -> None:
    args = tyro.cli(FuzzArgs, description="Random and mutated token streams, texts, configurations and files.")
    if args.output:
        args.output.parent.mkdir(parents=True, exist_ok=True)
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    torch.set_num_threads(1)
    started = time.perf_counter()
    counts, failures = fuzz(range(args.start, args.start + args.cases), args.seed)
    outcome = {
        "cases": args.cases,
        "seed": args.seed,
        "failures": failures,
        "kinds": counts,
        "seconds": round(time.perf_counter() - started),
        "machine": header("cpu"),
    }
    print(json.dumps(outcome, indent=2))
    if args.output:
        write_json(args.output, outcome)
    raise SystemExit(1 if failures else 0)


if __name__ == "__main__":
    main()
