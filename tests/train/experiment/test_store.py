import dataclasses
import json
import re
import shutil
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from policies.model_files import TINY
from tests.docs.pages import ROOT
from tests.train.experiment.made_up_runs import write_record, write_run, write_to
from tests.train.run.test_arguments import FIELDS, another_value
from train.experiment.identity import identity
from train.experiment.store import PUBLISHED, Store
from train.finetuning.arguments import BEFORE_IT_EXISTED, NOT_SCIENCE, PPOArgs
from train.measure.accuracy import Accuracy
from train.pretraining.arguments import PRESETS, PretrainArgs
from train.reproduction.publish import publish
from train.run.run import Run, read_record, run_folders


@pytest.mark.parametrize("name", [name for name in FIELDS if name != "pretrained"])
def test_the_identity_is_of_science(name) -> None:
    other = dataclasses.replace(PPOArgs(), **{name: another_value(name)})
    assert (identity(other) == identity(PPOArgs())) == (name in NOT_SCIENCE)


def test_numbers_and_models_that_are_the_same(tmp_path) -> None:
    assert identity(PPOArgs(kl_coef=2)) == identity(PPOArgs(kl_coef=2.0))
    assert identity(PPOArgs(pretrained_digits=5)) == identity(PPOArgs())
    assert identity(PPOArgs(pretrained=str(shutil.copytree(TINY, tmp_path / "copy")))) == identity(PPOArgs())


def test_the_name_of_a_new_run_is_readable(tmp_path) -> None:
    folder = Store(tmp_path).folder(PPOArgs(weighting="uniform", kl_coef=0.2, seed=3))
    assert re.fullmatch(r"uniform-kl0.2-seed3-[0-9a-f]{12}", folder.name)


def test_a_run_is_done_once_it_says_what_came_out(tmp_path) -> None:
    store, args = Store(tmp_path / "store"), PPOArgs()
    assert store.get(args) is None
    folder = store.prepare(args).run_folder
    assert folder == store.folder(args)
    write_record(folder, args)
    (folder / "results.json").write_text('{"before": {}}')
    assert store.get(args) is None
    write_run(folder, 0.5, 0.9, [1.0], args=args)
    for same in (args, PPOArgs(device="cuda"), PPOArgs(keep_checkpoints=1)):
        assert store.get(same).folder == folder
    assert store.get(PPOArgs(seed=1)) is None


def forget(folder: Path, *names: str) -> None:
    """As if a run had been made before these arguments were added."""
    record = json.loads((folder / "run.json").read_text())
    for name in names:
        del record["arguments"][name]
    (folder / "run.json").write_text(json.dumps(record))


@pytest.mark.parametrize("done", [True, False])
def test_an_argument_that_was_added_later_orphans_no_run(done, tmp_path) -> None:
    """Finished or not, a run answers for it at its default, and an unfinished one is resumed in its folder."""
    store, args = Store(tmp_path), PPOArgs(value_net_arch=(8,), kl_coef=3)
    begun = tmp_path / "uniform-made-by-older-code"
    write_record(begun, args)
    if done:
        write_run(begun, 0.5, 0.9, [1.0], args=args)
    forget(begun, "kl_target", "temperature")
    assert store.folder(args) == begun
    assert (store.get(dataclasses.replace(args, kl_coef=3.0)) is not None) == done
    assert store.prepare(args).resume == begun
    for other in ({"kl_target": 1.0}, {"value_net_arch": ()}):
        assert store.folder(dataclasses.replace(args, **other)) != begun


def test_a_run_of_pretraining_is_none_of_its_runs(tmp_path) -> None:
    """Such as one whose --run-folder lies in the store."""
    store = Store(tmp_path)
    args = PretrainArgs(run_folder=tmp_path / "model")
    with Run.start("pretrain", args, PRESETS, Console(quiet=True)) as run:
        run.write_results({"after": {}})
    assert store.get(PPOArgs()) is None
    assert store.folder(PPOArgs()) != args.run_folder


def test_published_runs_are_only_read(tmp_path) -> None:
    published = write_run(tmp_path / "published" / "any-name", 0.5, 0.9, [1.0])
    store = Store(tmp_path / "store", tmp_path / "published")
    assert store.get(PPOArgs()).folder == published
    assert store.folder(PPOArgs()).parent == tmp_path / "store"
    own = write_to(store, PPOArgs(), 0.6, 0.9, [1.0])
    assert store.get(PPOArgs()).folder == own


def test_what_was_begun_is_resumed(tmp_path) -> None:
    store, args = Store(tmp_path), PPOArgs()
    new = store.prepare(args)
    assert (new.run_folder, new.resume) == (store.folder(args), None)
    write_record(new.run_folder, args)
    again = store.prepare(args)
    assert (again.run_folder, again.resume) == (new.run_folder, new.run_folder)


def test_accuracy_before_training_is_measured_once(tmp_path, monkeypatch) -> None:
    store, args = Store(tmp_path), PPOArgs(eval_problems=2)
    found = store.before(args)
    assert found.keys() == {"<=N", "N+1"}

    def measured_again(*_: Any, **__: Any) -> None:
        pytest.fail("it was measured again")

    monkeypatch.setattr("train.experiment.store.accuracies", measured_again)
    assert store.before(dataclasses.replace(args, seed=3, kl_coef=0.0)) == found


def test_published_accuracies_before_training_are_not_measured_again(tmp_path, monkeypatch) -> None:
    """``train.publish`` copies them beside the runs."""
    store, args = Store(tmp_path / "store"), PPOArgs(eval_problems=2)
    write_to(store, args, 0.5, 0.9, [1.0])
    found = store.before(args)
    publish(tmp_path / "store", tmp_path / "published", tmp_path / "models")
    monkeypatch.setattr("train.experiment.store.accuracies", lambda *_, **__: pytest.fail("it was measured again"))
    assert Store(tmp_path / "other", tmp_path / "published").before(args) == found
    assert not (tmp_path / "other").exists()


def test_archived_runs_do_not_pass_for_new_ones(tmp_path, monkeypatch) -> None:
    """Unless a command is told to look there."""
    monkeypatch.chdir(ROOT)
    archive = Path("results/archive/store")
    recorded = read_record(run_folders(archive)[0], "archive")["arguments"]
    recorded = {name: tuple(value) if isinstance(value, list) else value for name, value in recorded.items()}
    args = PPOArgs(**{**BEFORE_IT_EXISTED, **recorded})
    assert Store(tmp_path, PUBLISHED).get(args) is None
    assert Store(archive).get(args)


def test_what_n_is_decides_what_was_there_before(tmp_path, monkeypatch) -> None:
    """Up to N digits are other problems for another N."""
    asked = []

    def accuracies(policy: Any, pretrained_digits: int, *_: Any, **__: Any) -> list[Accuracy]:
        asked.append(pretrained_digits)
        return [Accuracy("<=N", pretrained_digits, 10)]

    monkeypatch.setattr("train.experiment.store.accuracies", accuracies)
    store = Store(tmp_path)
    for digits in (None, 4, 5, 4):
        assert store.before(PPOArgs(pretrained_digits=digits)) == {"<=N": (digits or 5) / 10}
    assert asked == [5, 4]


def test_a_damaged_record_is_left_out(tmp_path) -> None:
    store = Store(tmp_path)
    folder = write_to(store, PPOArgs(), 0.5, 0.9, [1.0])
    for name, content in (("broken", "{"), ("huge", None)):
        (tmp_path / name).mkdir()
        record = json.loads((folder / "run.json").read_text())
        record["arguments"]["seed"] = 10**400
        (tmp_path / name / "run.json").write_text(json.dumps(record) if content is None else content)
    with pytest.warns(UserWarning, match=r"(broken|huge) is none of the store's runs"):
        assert store.get(PPOArgs(seed=1)) is None
    assert folder.name > "broken"  # it is looked at later
    with pytest.warns(UserWarning, match="broken is none"):
        found = store.get(PPOArgs())
    assert found.folder == folder
