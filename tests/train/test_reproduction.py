"""The reproduction on a minuscule model and on made-up runs, against slow and obvious counterparts."""

import csv
import dataclasses
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console
from scipy.stats import trim_mean

from addition_gym import solution
from tests.train.experiment.made_up_runs import DEFAULT, write_record
from tests.train.helpers import PRETRAIN_RUN, budget, critical, greedy_text
from train import publish, reproduce
from train.experiment.runner import Runner
from train.experiment.store import Store
from train.finetuning.arguments import PPOArgs
from train.measure.accuracy import Kind
from train.pretraining.arguments import PretrainArgs
from train.reproduction import finetuned, paper, workshop
from train.reproduction.bands import band
from train.reproduction.pretrained import (
    aligned_problems,
    certainty_by_position,
    certainty_gaps,
    fig_1,
    fig_2,
    fig_5,
    read,
    table_1,
    table_4,
    table_5,
)
from train.reproduction.scales import SCALES
from train.reproduction.targets import MAKERS
from train.reproduction.workshop import Workshop
from train.run.process import Interrupted
from train.run.run import FinishedRun

LAST = 5
MODULE = "train.reproduction.pretrained"


@pytest.fixture
def shop(tmp_path, pretrained) -> Workshop:
    """A workshop of one-digit models, whose only model is made."""
    shutil.copytree(pretrained.parent, tmp_path / "store" / "pretrained" / "tiny-1")
    scale = dataclasses.replace(
        SCALES["tiny"], pretrained_digits=(1,), certainty_digits=(1,), focus=1, pretrain=PretrainArgs(**PRETRAIN_RUN)
    )
    return Workshop(scale, Store(tmp_path / "store"), Console(quiet=True), 3, 6, Runner(), "cpu")


def write_curves(folder: Path, level: float, args: PPOArgs = DEFAULT) -> Path:
    """A run of one-digit models and five rollouts that is worse at first; its columns are those of train.ppo."""
    write_record(folder, dataclasses.replace(args, pretrained_digits=1))
    with (next(ARCHIVED_RUNS.glob("*/progress.csv"))).open(newline="") as file:
        names = next(csv.reader(file))
    with (folder / "progress.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, names)
        writer.writeheader()
        for row in range(LAST + 1):
            values = dict.fromkeys(names, level * (row + 1) / (LAST + 1))
            values = {name: "" if row == 0 and name.startswith(("objective/", "train/")) else v for name, v in values.items()}
            values["time/episodes"] = 64 * (row + 1)
            if row == LAST:  # written after the last update
                values = {name: v if name.startswith(("objective/", "train/")) else "" for name, v in values.items()}
            writer.writerow(values)
    after = {"<=N": {"accuracy": 1 - level / 10}, "N+1": {"accuracy": level}}
    (folder / "results.json").write_text(json.dumps({"before": {}, "after": after, "seconds": 60}))
    return folder


ARCHIVED_RUNS = Path(__file__).parents[2] / "results" / "archive" / "store"


@pytest.fixture
def made_up(shop, tmp_path, monkeypatch) -> dict[str, list[FinishedRun]]:
    """Runs of all arms: arm number i of a figure ends at (i + 1) / 10 + seed / 100."""
    made: dict[str, list[FinishedRun]] = {}

    def runs(self, arms):
        names = []
        for index, arm in enumerate(arms):
            name = f"{arm.weighting}-{arm.kl_exponent:g}-{arm.kl_coef:g}"
            level = (index + 1) / 10
            folders = [write_curves(tmp_path / name / str(seed), level + seed / 100) for seed in range(self.seeds)]
            made[name] = [FinishedRun(folder) for folder in folders]
            names.append(name)
        return [made[name] for name in names]

    monkeypatch.setattr(Workshop, "runs", runs)
    return made


# --- models and runs --------------------------------------------------------------------------------------------------------


def test_models(shop, tmp_path, monkeypatch):
    assert shop.model(5) == "tiny"
    assert shop.model(1) == str(tmp_path / "store" / "pretrained" / "tiny-1" / "model")
    monkeypatch.setattr(workshop, "PUBLISHED_MODELS", tmp_path / "published")
    (tmp_path / "published" / "tiny-3").mkdir(parents=True)
    assert shop.model(3) == str(tmp_path / "published" / "tiny-3")


def test_a_missing_model_is_pretrained_and_an_interrupted_one_resumed(shop, tmp_path, monkeypatch):
    asked = []

    def train(args: PretrainArgs, console: Console) -> None:
        asked.append(args)
        if len(asked) == 1:
            args.run_folder.mkdir(parents=True)
            (args.run_folder / "run.json").touch()
            raise Interrupted(15)

    monkeypatch.setattr(workshop, "pretrain", train)
    folder = tmp_path / "store" / "pretrained" / "tiny-2"
    with pytest.raises(Interrupted):
        shop.model(2)
    assert shop.model(2) == str(folder / "model")
    new = PretrainArgs(**{**PRETRAIN_RUN, "digits": 2}, run_folder=folder)
    assert asked == [new, dataclasses.replace(new, resume=folder)]


def test_runs_come_from_the_store_seed_by_seed(shop, monkeypatch):
    asked = []

    def make(self, store, runs, console):
        asked.extend(runs)
        for run in runs:
            write_curves(store.prepare(run).run_folder, 0.5, run)
        return []

    monkeypatch.setattr(Runner, "run_missing", make)
    arms = [shop.arm(weighting="uniform"), shop.arm(weighting="prioritized", kl_exponent=7.0)]
    found = shop.runs(arms)
    assert [(run.weighting, run.seed) for run in asked] == [
        (weighting, seed) for seed in range(3) for weighting in ("uniform", "prioritized")
    ]
    assert all(run.pretrained == shop.model(1) and run.total_timesteps == 500_000 for run in asked)
    assert [[shop.store.get(dataclasses.replace(arm, seed=seed)) for seed in range(3)] for arm in arms] == found
    monkeypatch.setattr(Runner, "run_missing", lambda *_: [Path("broken")])
    with pytest.raises(ValueError, match="1 runs failed, such as 'broken'"):
        shop.runs(arms)


def test_the_archived_runs_are_those_of_the_figures():
    """With them as the store, Figs. 4 and 7 and the third check train nothing on the bundled model."""
    args = (Console(quiet=True), 5, 6, Runner(), "cpu")
    shop = Workshop(SCALES["tiny"], Store(ARCHIVED_RUNS), *args)
    for fields in ({"weighting": "uniform"}, {"weighting": "prioritized"}, {"weighting": "none", "kl_coef": 0.0}):
        for seed in range(5):
            assert shop.store.get(shop.arm(seed=seed, **fields))


# --- curves -----------------------------------------------------------------------------------------------------------------


def test_bands(tmp_path):
    levels = [0.1, 0.2, 0.9, 0.3, 0.4]
    runs = [FinishedRun(write_curves(tmp_path / str(level), level)) for level in levels]
    found = band(runs, "objective/kl")
    np.testing.assert_allclose(found["value"][-1], trim_mean(levels, 0.25))
    assert (found["low"] < found["value"]).all()
    assert (found["value"] < found["high"]).all()
    assert np.isnan(band(runs[:1], "objective/kl")["low"]).all()


# --- before RL --------------------------------------------------------------------------------------------------------------


def test_certainty_gaps(shop):
    inspection = read(shop.policy(1), (13, 4), 1, "solution")
    certainty = inspection.quantities["certainty"]
    gaps = dict(enumerate(certainty[i] - np.delete(certainty, i).mean() for i in range(len(certainty))))
    found, others = certainty_gaps(inspection)
    assert found == pytest.approx([gaps.pop(position) for position in sorted(critical((13, 4), 1))], abs=1e-5)
    assert others == pytest.approx(list(gaps.values()), abs=1e-5)


def test_table_1(shop, monkeypatch):
    monkeypatch.setattr(f"{MODULE}.GENERATIONS", 4)
    artefact = table_1(shop)
    assert [row["tokens"] for row in artefact.rows] == ["critical", "non-critical, mean", "non-critical, minimum"]
    assert ["3 (paper)", "-0.33 ± 0.01", "", "0.0012 ± 0.0001"] in artefact.table


@pytest.mark.parametrize("distribution", ["identical", "varying"])
def test_accuracies_are_those_of_plain_argmax(shop, model, distribution):
    """Token for token what Hugging Face's forward of the whole text writes."""
    artefact = {"identical": table_4, "varying": table_5}[distribution](shop)
    for extra, row in enumerate(artefact.rows):  # the model has room for two digits
        problems = Kind(extra, distribution).problems(1, 6, seed=0)
        texts = [greedy_text(model, problem, budget(max(len(str(n)) for p in problems for n in p))) for problem in problems]
        right = [
            text.endswith(solution(a, b)[solution(a, b).index("</scratch>") :])
            for text, (a, b) in zip(texts, problems, strict=True)
        ]
        assert (row["solved"], row["total"]) == (sum(right), 6)
    assert len(artefact.rows) == 2
    assert artefact.table[2:] == paper.accuracy_rows(distribution)
    assert "N = 7: 98.9, 48.8, 0.0, 0.0" in table_4(shop).caption


def test_accuracies_are_measured_once(shop, monkeypatch):
    first = shop.accuracies(1, "identical")
    monkeypatch.setattr(workshop, "accuracies", None)
    assert shop.accuracies(1, "identical") == first


def test_aligned_problems_have_one_layout():
    problems = aligned_problems(4, 5)
    layouts = {"".join("d" if c.isdigit() else c for c in solution(a, b)) for a, b in problems}
    assert len(set(problems)) == 5
    assert len(layouts) == 1


def test_pictures_before_rl(shop, tmp_path, monkeypatch):
    monkeypatch.setattr(f"{MODULE}.ALIGNED_PROBLEMS", 3)
    for name, make in (("fig-1", fig_1), ("fig-2", fig_2), ("fig-5", fig_5), ("check-1", certainty_by_position)):
        artefact = make(shop)
        artefact.write(tmp_path / "out", name, f"python -m train.reproduce {name}", 60)
        assert (tmp_path / "out" / f"{name}.png").stat().st_size > 5_000
        page = (tmp_path / "out" / f"{name}.md").read_text()
        assert artefact.caption in page
        assert f"Made by `python -m train.reproduce {name}` in 1.0 minutes" in page
        with (tmp_path / "out" / f"{name}.csv").open(newline="") as file:
            assert len(list(csv.DictReader(file))) == len(artefact.rows)


def test_fig_1_names_the_critical_tokens(shop):
    artefact = fig_1(shop)
    assert {row["position"]: (row["line"], row["operand"], row["kind"]) for row in artefact.rows} == critical((48, 75), 1)


def test_certainty_and_entropy_are_one(shop):
    assert "rank correlation -1.000" in certainty_by_position(shop).caption


# --- after RL ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("make", "arms"),
    [
        (finetuned.fig_3, ["N = 1"]),
        (finetuned.fig_4, ["standard", "prioritized"]),
        (finetuned.fig_7, ["standard", "prioritized"]),
        (finetuned.kl_over_training, ["standard", "prioritized", "no KL"]),
        (finetuned.failure_signatures, ["exponent 150", "too high 10000", "too low 1", "misses shuffled"]),
    ],
)
def test_curves_of_arms(make, arms, shop, made_up, tmp_path):
    artefact = make(shop)
    artefact.write(tmp_path / "out", "it", "command", 1)
    assert list(dict.fromkeys(row["arm"] for row in artefact.rows)) == arms
    assert {row["runs"] for row in artefact.rows} == {3}


def test_captions_tell_what_the_runs_ended_with(shop, made_up):
    caption = finetuned.fig_4(shop).caption
    assert "standard 11.0 on N+1 digits and 98.9 on <=N; prioritized 21.0 on N+1" in caption
    caption = finetuned.kl_over_training(shop).caption
    assert "standard 0.1; prioritized 0.2; no KL 0.1" in caption
    assert "standard 0.09, 0.09, 0.09, 0.09, 0.09, 0.09; prioritized 0.18" in finetuned.fig_7(shop).caption


def test_captions_say_how_few_runs_there_are(shop, made_up):
    few, more = finetuned.how(shop), finetuned.how(dataclasses.replace(shop, seeds=5))
    assert "lines are interquartile means over 3 seeds, too few for intervals" in few
    assert "lines are interquartile means over 5 seeds, bands and brackets 95% bootstrap intervals" in more
    assert few in finetuned.fig_4(shop).caption


def test_exponents(shop, made_up):
    artefact = finetuned.fig_6(shop)
    ends = {row["arm"]: row["value"] for row in artefact.rows if row["column"] == "final accuracy N+1"}
    assert ends == pytest.approx({"0": 11, "1": 21, "10": 31, "150": 41, "500": 51, "1000": 61, "10000": 71, "no KL": 81})
    assert set(made_up) == {
        "uniform-150-0.2",
        "none-150-0",
        *(f"prioritized-{e:g}-0.2" for e in (1, 10, 150, 500, 1000, 10000)),
    }
    rows = finetuned.weights_by_exponent(shop).rows
    weights = {row["exponent"]: row["value"] for row in rows if row["column"] == "objective/weight_mean"}
    assert weights == pytest.approx({"0": 0.11, "1": 0.21, "10": 0.31, "150": 0.41, "500": 0.51, "1000": 0.61, "10000": 0.71})


# --- the commands -----------------------------------------------------------------------------------------------------------


def test_the_command(command, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(f"{MODULE}.ALIGNED_PROBLEMS", 3)
    command(reproduce, "check-1", "fig-1", "--output", tmp_path / "out", "--store", tmp_path / "store")
    assert "The completion of 482913+75." in capsys.readouterr().out
    assert "Made by `python -m train.reproduce fig-1 --output" in (tmp_path / "out" / "fig-1.md").read_text()
    index = (tmp_path / "out" / "README.md").read_text()
    assert index.index("## Figure 1") < index.index("## Check 1")
    assert "![Figure 1: the task and its critical tokens](fig-1.png)" in index
    assert set(MAKERS) == set(reproduce.TARGETS) == set(reproduce.get_args(reproduce.Target))


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        ([], "targets must name at least one of table-1"),
        (["fig-1", "--seeds", 0], "seeds must be >= 1, but it is 0"),
        (["table-4", "--n-problems", 0], "n_problems must be >= 1, but it is 0"),
    ],
)
def test_bad_arguments_are_named(command, arguments, error):
    with pytest.raises(ValueError, match=error):
        command(reproduce, *arguments)


def test_publish(shop, tmp_path, command, capsys):
    """Finished runs and models are copied once, without weights of runs; unfinished ones are left alone."""
    done, unfinished = shop.arm(weighting="uniform"), shop.arm(weighting="prioritized")
    folder = write_curves(shop.store.prepare(done).run_folder, 0.5, done)
    (folder / "agent.zip").write_bytes(b"weights")
    write_record(shop.store.prepare(unfinished).run_folder, unfinished)
    target = ("--store", shop.store.root, "--runs", tmp_path / "results", "--models", tmp_path / "models")
    command(publish, *target)
    copied = tmp_path / "results" / folder.name
    assert sorted(path.name for path in copied.iterdir()) == ["progress.csv", "results.json", "run.json"]
    for path in copied.iterdir():
        assert path.read_bytes() == (folder / path.name).read_bytes()
    published = Store(tmp_path / "empty", tmp_path / "results")
    assert published.get(done).folder == copied
    assert published.get(unfinished) is None
    assert {"model.safetensors", "run.json", "results.json"} <= {
        path.name for path in (tmp_path / "models" / "tiny-1").iterdir()
    }
    assert "2 new" in capsys.readouterr().out
    copied.rename(tmp_path / "results" / "another-name")
    command(publish, *target)
    assert capsys.readouterr().out.startswith("0 new")
