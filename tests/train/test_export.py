import json
import re
import sys

import gymnasium as gym
import pytest
import torch
from transformers import AutoTokenizer, GenerationConfig

from addition_gym import PAD_TOKEN_ID, VOCAB_SIZE, encode, prompt, solution
from addition_gym.vocabulary import CHARACTERS
from agents import PrioritizedKLPPO
from tests.token_env import RepeatEnv
from tests.train.helpers import PPO_RUN, hugging_face, same_weights, weights
from train import export, ppo
from train.exporting.vocabulary import rows_of
from train.measure.solve import solve
from train.run.models import Model

THEIRS = "".join(reversed(CHARACTERS)) + "%q"
"""Another order, and two characters that no scratchpad has."""

TEXT = prompt(3, 4) + solution(3, 4)


@pytest.fixture(scope="module")
def nanogpt(model, tmp_path_factory):
    """The pre-trained model of these tests in nanoGPT's layout, its vocabulary in another order."""
    folder = tmp_path_factory.mktemp("nanogpt")
    state = {}
    for name, weight in model.state_dict().items():
        linear = re.search(r"(c_attn|c_proj|c_fc)\.weight$", name)
        state[name] = (weight.T if linear else weight).contiguous()
    torch.manual_seed(0)
    table = torch.randn(len(THEIRS), model.config.n_embd)
    for row, character in enumerate(THEIRS[: len(CHARACTERS)]):
        table[row] = model.transformer.wte.weight[int(encode(character)[0])].detach()
    state["transformer.wte.weight"] = state["lm_head.weight"] = table
    config = model.config
    arguments = dict(n_layer=config.n_layer, n_head=config.n_head, n_embd=config.n_embd, block_size=config.n_positions)
    arguments |= dict(vocab_size=len(THEIRS), bias=True, dropout=0.0)
    torch.save({"model": state, "model_args": arguments}, folder / "ckpt.pt")
    spelling = {" ": "Ġ", "\n": "Ċ"}
    ids = {spelling.get(character, character): row for row, character in enumerate(THEIRS)}
    (folder / "vocab.json").write_text(json.dumps(ids))
    return folder


@torch.no_grad()
def logits(model) -> torch.Tensor:
    return model(torch.from_numpy(encode(TEXT))[None]).logits[0]


def test_model_and_agent_become_plain_folders(pretrained, ppo_run, command, tmp_path, capsys) -> None:
    for name, model in (("model", pretrained), ("agent", ppo_run)):
        folder = tmp_path / name
        command(export, "--model", model, "--output", folder)
        assert same_weights(weights(hugging_face(folder)), weights(Model.find(model).load().language_model))
        assert Model.find(folder).pretrained_digits == 1
        ids = json.loads((folder / "vocab.json").read_text())
        assert len(ids) == VOCAB_SIZE
        assert ids.pop("<pad>") == PAD_TOKEN_ID
        assert all(encode(character)[0] == token for character, token in ids.items())
        assert f"--pretrained {folder}" in capsys.readouterr().out


def test_code_of_the_readme_runs(pretrained, command, tmp_path, capsys, monkeypatch) -> None:
    """It prints what the model writes for 34+7, prompt and all."""
    command(export, "--model", pretrained, "--output", tmp_path / "out")
    readme = (tmp_path / "out" / "README.md").read_text(encoding="utf-8")
    assert "1 layers, 2 heads" in readme
    monkeypatch.chdir(tmp_path / "out")
    capsys.readouterr()
    exec(re.search(r"```python\n(.*?)```", readme, re.DOTALL)[1], {})
    expected = solve(Model.find(pretrained).load(), [(34, 7)])[0]["text"]
    assert capsys.readouterr().out.startswith(expected[: len(prompt(34, 7)) + 15])


def test_nanogpt_has_the_logits_it_had(nanogpt, model, command, tmp_path) -> None:
    command(export, "--model", nanogpt, "--output", tmp_path / "out")
    found, expected = logits(hugging_face(tmp_path / "out")), logits(model)
    torch.testing.assert_close(found[:, 1:], expected[:, 1:], rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(found[:, 0], found[:, 1:].mean(dim=1), rtol=1e-4, atol=1e-4)
    with pytest.raises(ValueError, match="pretrained_digits is not written"):
        Model.find(tmp_path / "out").pretrained_digits  # noqa: B018


def test_exported_nanogpt_is_fine_tuned(nanogpt, command, tmp_path, monkeypatch) -> None:
    command(export, "--model", nanogpt / "ckpt.pt", "--output", tmp_path / "out", "--pretrained-digits", 1)
    monkeypatch.setattr(
        sys, "argv", ["ppo", "--pretrained", str(tmp_path / "out"), *PPO_RUN, "--run-folder", str(tmp_path / "run")]
    )
    ppo.main()
    assert Model.find(tmp_path / "run").pretrained_digits == 1
    reference = Model.find(tmp_path / "run").load().reference
    assert same_weights(weights(reference), weights(hugging_face(tmp_path / "out")))


def test_vocabulary_file_of_another_name(nanogpt, command, tmp_path) -> None:
    torch_file = tmp_path / "model.pt"
    torch_file.write_bytes((nanogpt / "ckpt.pt").read_bytes())
    with pytest.raises(ValueError, match=r"vocabulary must be a JSON file .* meta.pkl is a pickle, .* is not read"):
        command(export, "--model", torch_file, "--output", tmp_path / "out")
    command(export, "--model", torch_file, "--output", tmp_path / "out", "--vocabulary", nanogpt / "vocab.json")
    assert hugging_face(tmp_path / "out").config.vocab_size == VOCAB_SIZE


def test_tokenizer_beside_a_nanogpt(nanogpt, model, command, tmp_path) -> None:
    """The authors' folder: weights in nanoGPT's layout, a configuration in GPT-2's words, and a tokenizer.json."""
    checkpoint = torch.load(nanogpt / "ckpt.pt")
    (tmp_path / "theirs").mkdir()
    torch.save(checkpoint["model"], tmp_path / "theirs" / "pytorch_model.bin")
    sizes = {name: getattr(model.config, name) for name in ("n_layer", "n_head", "n_embd", "n_positions")}
    (tmp_path / "theirs" / "config.json").write_text(json.dumps({"model_type": "gpt2", **sizes, "vocab_size": len(THEIRS)}))
    tokenizer = {"model": {"type": "BPE", "vocab": json.loads((nanogpt / "vocab.json").read_text()), "merges": []}}
    (tmp_path / "theirs" / "tokenizer.json").write_text(json.dumps(tokenizer))
    command(export, "--model", tmp_path / "theirs", "--output", tmp_path / "out")
    torch.testing.assert_close(logits(hugging_face(tmp_path / "out"))[:, 1:], logits(model)[:, 1:], rtol=1e-4, atol=1e-4)
    tokenizer["model"]["merges"] = [["1", "2"]]
    (tmp_path / "theirs" / "tokenizer.json").write_text(json.dumps(tokenizer))
    with pytest.raises(ValueError, match=r"vocabulary must be that of a character tokenizer, but '.*tokenizer.json' merges"):
        command(export, "--model", tmp_path / "theirs", "--output", tmp_path / "other")


@pytest.fixture(scope="module")
def agent_of_another_task(tmp_path_factory):
    """An agent of five tokens that has not learned anything."""
    lanes = gym.vector.SyncVectorEnv([RepeatEnv] * 2, autoreset_mode=gym.vector.AutoresetMode.SAME_STEP)
    sizes = dict(n_layer=1, n_head=1, n_embd=8, temperature=2.0)
    path = tmp_path_factory.mktemp("repeat") / "agent.zip"
    PrioritizedKLPPO("GPT2Policy", lanes, n_episodes=2, batch_size=2, policy_kwargs=sizes, seed=0).save(path)
    return path


def test_agent_of_another_task(agent_of_another_task, command, tmp_path) -> None:
    command(export, "--model", agent_of_another_task, "--output", tmp_path / "out")
    expected = PrioritizedKLPPO.load(agent_of_another_task).policy.language_model
    assert same_weights(weights(hugging_face(tmp_path / "out")), weights(expected))
    assert not (tmp_path / "out" / "vocab.json").exists()
    assert not (tmp_path / "out" / "tokenizer.json").exists()
    config = GenerationConfig.from_pretrained(tmp_path / "out")
    assert (config.eos_token_id, config.pad_token_id, config.sequence_bias) == (0, 0, None)
    readme = (tmp_path / "out" / "README.md").read_text(encoding="utf-8")
    assert "softmax temperature is 2.0" in readme
    assert "adds two numbers" not in readme


def test_agent_of_another_task_with_its_vocabulary(agent_of_another_task, command, tmp_path) -> None:
    (tmp_path / "letters.json").write_text(json.dumps({"a": 1, "b": 2, "c": 3, "d": 4}))
    arguments = ["--model", agent_of_another_task, "--vocabulary", tmp_path / "letters.json"]
    command(export, *arguments, "--output", tmp_path / "out")
    tokenizer = AutoTokenizer.from_pretrained(tmp_path / "out", local_files_only=True)
    assert tokenizer("abba")["input_ids"] == [1, 2, 2, 1]
    assert tokenizer.decode([4, 3, 0], skip_special_tokens=True) == "dc"


@pytest.mark.parametrize(
    ("vocabulary", "message"),
    [
        ({"a": 1, "b": 2, "c": 3}, "vocabulary must name each of the model's 5 tokens once, but it names 4 in 4 entries"),
        ({"a": 1, "b": 2, "c": 3, "d": 3, "e": 4}, "but it names 5 in 6 entries"),
        ({"a": 1, "b": 2, "c": 3, "d": 5}, r"each id of vocabulary must lie in \[0, 5\)"),
        ({"a": 1, "b": 2, "c": 3, "de": 4}, r"single characters, but it holds \['de'\]"),
    ],
)
def test_vocabulary_of_another_model(vocabulary, message, agent_of_another_task, command, tmp_path) -> None:
    (tmp_path / "letters.json").write_text(json.dumps(vocabulary))
    arguments = ["--model", agent_of_another_task, "--vocabulary", tmp_path / "letters.json"]
    with pytest.raises(ValueError, match=message):
        command(export, *arguments, "--output", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_rows() -> None:
    rows = rows_of({character: row for row, character in enumerate(THEIRS)})
    assert rows[PAD_TOKEN_ID] is None
    assert "".join(THEIRS[row] for row in rows[1:]) == CHARACTERS
    with pytest.raises(ValueError, match=r"vocabulary must hold every character of the scratchpad, but it lacks \['\+', '>'\]"):
        rows_of({character: row for row, character in enumerate(THEIRS) if character not in "+>"})


@pytest.mark.parametrize("content", ["[1]", '{"a": "b"}'])
def test_vocabulary_that_is_none(content, nanogpt, command, tmp_path) -> None:
    (tmp_path / "vocab.json").write_text(content)
    with pytest.raises(ValueError, match=r"vocabulary must .* JSON object"):
        command(export, "--model", nanogpt, "--output", tmp_path / "out", "--vocabulary", tmp_path / "vocab.json")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--model", "nowhere"], "'nowhere' is none of these"),
        (["--pretrained-digits", 0], "pretrained_digits must be >= 1"),
    ],
)
def test_bad_arguments(arguments, message, command, tmp_path) -> None:
    with pytest.raises(ValueError, match=message):
        command(export, "--output", tmp_path / "out", *arguments)


def test_existing_model_is_not_overwritten(pretrained, command) -> None:
    with pytest.raises(ValueError, match="output must not hold a model yet"):
        command(export, "--model", pretrained, "--output", pretrained)
