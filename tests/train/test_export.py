import json
import re
import sys

import pytest
import torch

from addition_gym import PAD_TOKEN_ID, VOCAB_SIZE, encode, prompt, solution
from addition_gym.vocabulary import CHARACTERS
from tests.train.helpers import PPO_RUN, hugging_face, same_weights, weights
from train import export, ppo
from train.exporting.export import rows_of
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
    code = re.search(r"```python\n(.*?)```", readme, re.DOTALL)[1].replace("max_new_tokens=200", "max_new_tokens=20")
    exec(code, {})
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
