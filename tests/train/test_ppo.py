import csv
import json
import re
import sys
from dataclasses import asdict, replace
from pathlib import Path

import gymnasium as gym
import numpy as np
import pytest
from rich.console import Console
from tensorboard.plugins.hparams import plugin_data_pb2

from addition_gym import decode, prompt
from agents import PrioritizedKLPPO
from tests.train.helpers import (
    EVAL_PROBLEMS,
    N_ENVS,
    N_EPISODES,
    bucket,
    events,
    hugging_face,
    same_weights,
    scalar,
    text_summaries,
    weights,
)
from train import ppo
from train.finetuning import tasks
from train.finetuning.arguments import PRESETS, PPOArgs
from train.finetuning.finetune import make_agent, train
from train.measure.accuracy import Accuracy, Kind, accuracies
from train.measure.solve import critical_probabilities
from train.run.arguments import parse
from train.run.models import Model
from train.run.provenance import provenance

SHORT = PPOArgs(
    total_timesteps=1,
    n_envs=4,
    n_episodes=4,
    batch_size=2,
    n_epochs=1,
    learning_rate=1e-3,
    ent_coef=0.1,
    eval_problems=0,
    eval_every_problems=2,
    seed=3,
    device="cpu",
)


def results(folder: Path) -> dict:
    return json.loads((folder / "results.json").read_text())


def test_files(ppo_run) -> None:
    names = {path.name for path in ppo_run.iterdir()}
    events = {name for name in names if name.startswith("events.out.tfevents")}
    assert len(events) == 1
    assert names - events == {"run.json", "results.json", "agent.zip", "checkpoints", "progress.csv", "lock"}


def test_the_record_says_what_made_the_run(ppo_run, ppo_arguments, pretrained) -> None:
    record = json.loads((ppo_run / "run.json").read_text())
    config = record["arguments"]
    given = dict(zip(ppo_arguments[::2], ppo_arguments[1::2], strict=True))
    for flag, value in given.items():
        assert config[flag.lstrip("-").replace("-", "_")] == (value if not re.match(r"[\d.]", value) else float(value)), flag
    assert config.keys() == asdict(SHORT).keys() - {"run_folder", "resume"}
    assert record["sessions"] == [provenance()]
    assert record["inputs"] == {"pretrained": Model.find(pretrained).digest()}
    words = record["command"].split()
    assert words[:3] == ["python", "-m", "train.ppo"]
    again = parse(PRESETS, "", words[3:])
    assert again == replace(parse(PRESETS, "", ppo_arguments), pretrained_digits=1, baseline="class")


def test_results_are_the_accuracies_before_and_after(ppo_run, pretrained) -> None:
    found = results(ppo_run)
    for when, model in (("before", pretrained), ("after", ppo_run / "agent.zip")):
        assert found[when].keys() == {"<=N", "N+1"}
        for accuracy in accuracies(Model.find(model).load(), 1, EVAL_PROBLEMS, seed=0, extras=(0, 1)):
            entry = found[when][accuracy.kind]
            assert (entry["solved"], entry["total"]) == (accuracy.solved, EVAL_PROBLEMS)
            assert (entry["accuracy"], tuple(entry["interval"])) == (accuracy.value, accuracy.interval)


def test_before_is_measured_before_and_after_is_measured_after(pretrained, tmp_path, monkeypatch) -> None:
    """An accuracy that is 1 as long as the policy equals its reference."""

    def unchanged(policy, digits, count, *_, **__) -> list[Accuracy]:
        same = same_weights(weights(policy.language_model), weights(policy.reference))
        return [Accuracy("N+1", int(same), 1)]

    monkeypatch.setattr(tasks, "accuracies", unchanged)
    trained_weights(replace(SHORT, pretrained=str(pretrained), eval_problems=1), tmp_path / "run")
    found = results(tmp_path / "run")
    assert (found["before"]["N+1"]["solved"], found["after"]["N+1"]["solved"]) == (1, 0)


def test_results_count_what_was_trained_on(ppo_run) -> None:
    found = results(ppo_run)
    assert found["timesteps"] >= 1500
    assert found["episodes"] % N_EPISODES == 0
    assert scalar(ppo_run, "time/episodes") == [N_EPISODES * (i + 1) for i in range(found["episodes"] // N_EPISODES)]
    agent = PrioritizedKLPPO.load(ppo_run / "agent.zip", device="cpu")
    assert agent.num_timesteps == found["timesteps"]


def test_agent_loads_predicts_and_keeps_its_reference(ppo_run, pretrained) -> None:
    agent = PrioritizedKLPPO.load(ppo_run / "agent.zip", device="cpu")
    before = weights(hugging_face(pretrained))
    assert same_weights(weights(agent.policy.reference), before)
    assert not same_weights(weights(agent.policy.language_model), before)
    env = gym.make("ScratchpadAdd-v0", digits=2)
    action, _ = agent.predict(env.reset(seed=0)[0], deterministic=True)
    assert env.action_space.contains(action)


def test_tensorboard_tags(ppo_run) -> None:
    """SB3's, section 5 of the design, and what the callbacks add."""
    wanted = {
        "rollout": ("ep_len_mean", "ep_rew_mean", "forward_passes", "success_rate", "tokens_read"),
        "time": ("episodes", "fps"),
        "train": (
            "approx_kl",
            "clip_fraction",
            "clip_range",
            "entropy_loss",
            "explained_variance",
            "grad_norm",
            "kl_loss",
            "learning_rate",
            "loss",
            "policy_gradient_loss",
        ),
        "objective": (
            "certainty_mean",
            "entropy",
            "forward_kl",
            "forward_kl_per_token",
            "kl",
            "kl_coef",
            "kl_per_token",
            "kl_share_critical",
            "kl_weighted",
            "kl_weighted_per_episode",
            "weight_ess",
            "weight_frac_lt_0.1",
            "weight_mean",
        ),
        "accuracy": ("<=N", "N+1"),
        "eval": ("accuracy_<=N", "accuracy_N+1"),
        "tokens/critical": (  # below the accuracies: TensorBoard sorts by name
            "line1_operand1_comma",
            "line1_operand1_digit",
            "line1_operand2_comma",
            "line1_operand2_digit",
            "line2_operand1_digit",
            "line2_operand2_digit",
            "mean",
        ),
    }
    tags = set(events(ppo_run).Tags()["scalars"])
    assert tags == {f"{group}/{name}" for group, names in wanted.items() for name in names}
    assert events(ppo_run).Tags()["tensors"] == ["samples/text_summary"]
    assert events(ppo_run).Tags()["histograms"] == ["objective/certainty"]


def test_tensorboard_has_the_hyperparameters_and_what_came_out(ppo_run) -> None:
    """Read by TensorBoard's own plugin: the arguments of the run, and for every metric a scalar of that name."""
    content = events(ppo_run).SummaryMetadata("_hparams_/session_start_info").plugin_data.content
    shown = dict(plugin_data_pb2.HParamsPluginData.FromString(content).session_start_info.hparams)
    arguments = json.loads((ppo_run / "run.json").read_text())["arguments"]
    assert shown.keys() == arguments.keys()
    assert (shown["kl_coef"].number_value, shown["baseline"].string_value) == (0.2, "class")
    content = events(ppo_run).SummaryMetadata("_hparams_/experiment").plugin_data.content
    metrics = {info.name.tag for info in plugin_data_pb2.HParamsPluginData.FromString(content).experiment.metric_infos}
    assert metrics == {"accuracy/<=N", "accuracy/N+1", "eval/accuracy_<=N", "eval/accuracy_N+1"}
    for kind in ("<=N", "N+1"):
        before, after = events(ppo_run).Scalars(f"accuracy/{kind}")
        assert (before.step, after.step) == (0, results(ppo_run)["timesteps"])
        for point, name in ((before, "before"), (after, "after")):
            assert point.value == pytest.approx(results(ppo_run)[name][kind]["accuracy"])


def test_table_has_its_columns_in_order_and_a_clock_in_every_row(ppo_run) -> None:
    with (ppo_run / "progress.csv").open(newline="") as file:
        table = csv.DictReader(file)
        rows, columns = list(table), table.fieldnames
    groups = [column.split("/")[0] for column in columns]
    assert list(dict.fromkeys(groups)) == ["time", "eval", "rollout", "objective", "train", "critical"]
    assert [sorted(columns, key=lambda column: (groups.index(column.split("/")[0]), column))] == [columns]
    episodes = [int(row["time/episodes"]) for row in rows]
    rollouts = results(ppo_run)["episodes"] // N_EPISODES
    assert episodes == [*(N_EPISODES * (1 + index) for index in range(rollouts)), N_EPISODES * rollouts]
    assert int(rows[-1]["time/total_timesteps"]) == results(ppo_run)["timesteps"]
    assert rows[-1]["train/loss"]


def test_every_update_is_logged(ppo_run) -> None:
    rollouts = results(ppo_run)["episodes"] // N_EPISODES
    assert rollouts >= 2
    for tag in ("rollout/ep_rew_mean", "tokens/critical/mean"):
        assert len(scalar(ppo_run, tag)) == rollouts
    for tag in ("train/loss", "objective/kl"):  # SB3 writes an update with the rollout after it, the last one at the end
        values = scalar(ppo_run, tag)
        assert len(values) == rollouts
        assert np.isfinite(values).all()
    assert scalar(ppo_run, "objective/kl")[0] < scalar(ppo_run, "objective/kl")[-1]
    assert len(scalar(ppo_run, "eval/accuracy_N+1")) == len(text_summaries(ppo_run)) == -(-rollouts // 2)


def test_first_looks_are_at_the_pretrained_model(ppo_run, policy) -> None:
    for accuracy in accuracies(policy, 1, 6, seed=0, split="validation"):
        assert scalar(ppo_run, f"eval/accuracy_{accuracy.kind}")[0] == pytest.approx(accuracy.value)
    probabilities = critical_probabilities(policy, Kind(1).problems(1, 32, seed=0, split="validation"), 1)
    for (line, operand, kind), value in probabilities.items():
        assert scalar(ppo_run, f"tokens/critical/line{line}_operand{operand}_{kind}")[0] == pytest.approx(value, rel=1e-4)


def test_samples_are_validation_problems(ppo_run) -> None:
    for summary in text_summaries(ppo_run):
        headings = re.findall(r"^\*\*(\d+)\+(\d+): (right|wrong)\*\*$", summary, re.MULTILINE)
        assert len(headings) == 4
        for a, b, verdict in headings:
            assert bucket(int(a), int(b)) == 1
            assert prompt(int(a), int(b)) in summary
            assert (verdict == "wrong") <= ("<<HERE>>" in summary)


def test_checkpoints_load_and_differ(ppo_run) -> None:
    paths = sorted((ppo_run / "checkpoints").iterdir(), key=lambda path: int(path.stem.split("_")[1]))
    assert len(paths) == results(ppo_run)["episodes"] // N_EPISODES - 1  # the last update is in agent.zip
    found = []
    for path in paths:
        agent = PrioritizedKLPPO.load(path, device="cpu")
        assert path.name == f"agent_{agent.num_timesteps}.zip"
        found.append(weights(agent.policy.language_model))
    found.append(weights(Model.find(ppo_run).load().language_model))
    for earlier, later in zip(found, found[1:], strict=False):  # noqa: RUF007
        assert not same_weights(earlier, later)


def trained_weights(args: PPOArgs, folder: Path) -> dict[str, np.ndarray]:
    assert train(replace(args, run_folder=folder), Console(quiet=True)) == folder
    return weights(Model.find(folder).load())


def test_same_seed_same_run_however_often_one_looks(pretrained, tmp_path) -> None:
    """Evaluation, samples and checkpoints are of no influence on the training."""
    args = replace(SHORT, pretrained=str(pretrained), total_timesteps=600)
    first = trained_weights(args, tmp_path / "first")
    again = trained_weights(replace(args, eval_every=1, checkpoint_every=1, eval_problems=3), tmp_path / "again")
    other = trained_weights(replace(args, seed=4), tmp_path / "other")
    assert results(tmp_path / "first")["episodes"] > 4  # more than one rollout
    assert same_weights(first, again)
    assert not same_weights(first, other)


def test_no_evaluation_if_it_is_not_wanted(pretrained, tmp_path) -> None:
    trained_weights(replace(SHORT, pretrained=str(pretrained)), tmp_path / "run")
    found = results(tmp_path / "run")
    assert found["before"] == found["after"] == {}
    assert found["episodes"] == 4


def test_agent_is_as_the_arguments_say(pretrained) -> None:
    args = replace(
        SHORT,
        pretrained=str(pretrained),
        pretrained_digits=1,
        reward="signed",
        n_epochs=3,
        value_learning_rate=0.25,
        baseline="rloo",
        class_horizon=9,
        n_samples_per_problem=N_ENVS,
        gae_lambda=0.5,
        clip_range=0.3,
        ent_coef=0.01,
        vf_coef=0.7,
        max_grad_norm=0.9,
        adam_eps=1e-7,
        kl_coef=1.5,
        kl_exponent=20.0,
        kl_estimator="k3",
        certainty="max_prob",
        certainty_temperature=4.0,
        temperature=1.25,
        value_net_arch=(5, 6),
        detach_value=False,
        seed=11,
    )
    agent = make_agent(args)
    named = ("n_episodes", "batch_size", "n_epochs", "learning_rate", "value_learning_rate", "gae_lambda", "clip_range")
    coefficients = ("ent_coef", "vf_coef", "max_grad_norm", "kl_coef", "seed")
    kinds = ("kl_estimator", "certainty", "certainty_temperature")
    for name in (*named, *coefficients, *kinds):
        assert getattr(agent, name) == getattr(args, name), name
    assert (agent.policy.temperature, agent.policy.detach_value) == (1.25, False)
    assert {group["eps"] for group in agent.policy.optimizer.param_groups} == {1e-7}
    assert [tuple(weight.shape) for weight in agent.policy.value_net.parameters() if weight.dim() == 2] == [
        (5, 32),
        (6, 5),
        (1, 6),
    ]
    assert agent.n_envs == N_ENVS
    assert (agent.baseline, agent.class_means.horizon) == ("rloo", 9)
    assert make_agent(replace(args, detach_value=True, value_epochs=2)).value_epochs == 2
    prompts = agent.env.reset()
    assert (prompts == prompts[0]).all()
    _, rewards, dones, _ = agent.env.step(np.zeros(N_ENVS, dtype=np.int64))  # padding ends an episode
    assert dones.all()
    assert (rewards == -1).all()


def test_trains_on_the_mixture_of_training_problems(pretrained) -> None:
    agent = make_agent(replace(SHORT, pretrained=str(pretrained), pretrained_digits=1))
    prompts = [decode(row) for _ in range(60) for row in agent.env.reset()]
    problems = [tuple(map(int, re.findall(r"\d+", text))) for text in prompts]
    assert len(set(problems)) > 100
    assert all(bucket(*problem) > 1 for problem in problems)
    assert {max(len(str(operand)) for operand in problem) for problem in problems} == {2}
    assert {min(len(str(operand)) for operand in problem) for problem in problems} == {1, 2}


def test_digits_given_win_over_the_folder(pretrained, tmp_path, capsys) -> None:
    """The folder says 1; told 2 it must train on 3 digits, which do not fit."""
    with pytest.raises(ValueError, match=r"at least \d+ positions"):
        train(replace(SHORT, pretrained=str(pretrained), pretrained_digits=2, run_folder=tmp_path), Console(quiet=True))


def test_prints_where_to_look_and_the_table(pretrained, tmp_path, command, capsys) -> None:
    folder = tmp_path / "run"
    sizes = ["--total-timesteps", 1, "--n-envs", 2, "--n-episodes", 2, "--batch-size", 2]
    problems = ["--eval-problems", 3, "--eval-every-problems", 1]
    command(ppo, "--pretrained", pretrained, *sizes, *problems, "--device", "cpu", "--run-folder", folder)
    out = capsys.readouterr().out
    assert f"tensorboard --logdir {folder}" in out
    assert "N = 1" in out
    assert "before" in out
    assert "after" in out
    assert re.search(rf"Trained on 2 episodes in \d+ seconds; the agent is {folder / 'agent.zip'}", out)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--extra-digits", "2"], r"at least \d+ positions"),
        (["--extra-digits", "0"], "digits must be"),
        (["--n-envs", "3"], "n_episodes must be a multiple of the environment's lanes, 3"),
        (["--batch-size", "5"], "batch_size must be at most n_episodes"),
        (["--kl-coef", "-1"], "kl_coef must be >= 0"),
        (["--eval-every", "0"], "eval_every"),
        (["--eval-every-problems", "0"], "eval_every_problems"),
        (["--checkpoint-every", "0"], "checkpoint_every"),
        (["--eval-problems", "-3"], "eval_problems must be >= 0"),
        (["--seed", "99999999999999999999"], "seed must lie in"),
        (["--max-grad-norm", "0"], "max_grad_norm must be > 0"),
        (["--adam-eps", "0"], "adam_eps must be > 0"),
        (["--device", "foo"], "device must be one that torch can use here"),
        (["--clip-range", "-1"], "clip_range must be >= 0"),
        (["--value-net-arch", "0"], "each width of value_net_arch must be >= 1"),
    ],
)
def test_bad_arguments(arguments, message, pretrained, tmp_path, command) -> None:
    """A ``ValueError`` that names the argument, and no run folder that would stand in the way of the next try."""
    valid = ["--n-envs", 4, "--n-episodes", 4, "--batch-size", 2, "--total-timesteps", 1, "--eval-problems", 0]
    with pytest.raises(ValueError, match=message):
        command(ppo, "--pretrained", pretrained, *valid, "--run-folder", tmp_path / "run", *arguments)
    assert not (tmp_path / "run").exists()


def test_existing_run_is_refused(ppo_run, ppo_arguments, command) -> None:
    before = (ppo_run / "run.json").read_text()
    with pytest.raises(ValueError, match="run_folder must not hold a run yet"):
        command(ppo, *ppo_arguments, "--seed", 6, "--run-folder", ppo_run)
    assert (ppo_run / "run.json").read_text() == before


class FirstUpdate(Exception):  # noqa: N818
    """Ends a run before its first update."""


def test_the_way_to_the_first_update_is_short(pretrained, tmp_path, monkeypatch) -> None:
    """Files of ``train`` that run before the first update, with evaluations, callbacks and their pictures; 39 were too many."""
    run = set()

    def visit(frame, *_) -> None:
        run.add(frame.f_code)

    def update(agent: PrioritizedKLPPO) -> None:
        raise FirstUpdate

    monkeypatch.setattr(PrioritizedKLPPO, "train", update)
    args = replace(SHORT, pretrained=str(pretrained), eval_problems=2, run_folder=tmp_path)
    sys.setprofile(visit)
    try:
        with pytest.raises(FirstUpdate):
            train(args, Console(quiet=True))
    finally:
        sys.setprofile(None)
    paths = {Path(code.co_filename) for code in run if code.co_name != "<module>"}
    folder = Path(ppo.__file__).parent
    visited = {path.relative_to(folder).as_posix() for path in paths if path.is_relative_to(folder)}
    assert len(visited) <= 16, sorted(visited)
