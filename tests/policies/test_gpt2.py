import json

import pytest
import torch
from transformers import GPT2LMHeadModel

from policies.gpt2 import build_gpt2, gpt2_config, hidden_states, sinusoids
from policies.model_files import load_gpt2

CONFIG = dict(vocab_size=11, n_positions=24, n_layer=2, n_head=2, n_embd=16, pad_token_id=0)


@pytest.fixture
def model() -> GPT2LMHeadModel:
    torch.manual_seed(0)
    return build_gpt2(gpt2_config(**CONFIG))


def test_trunk_equals_hugging_face_forward(model: GPT2LMHeadModel) -> None:
    tokens = torch.randint(1, 11, (3, 20))
    expected = model.transformer(tokens, attention_mask=torch.ones_like(tokens)).last_hidden_state
    torch.testing.assert_close(hidden_states(model.transformer, tokens), expected, atol=1e-5, rtol=0)


def test_right_padding_changes_nothing(model: GPT2LMHeadModel) -> None:
    tokens = torch.randint(1, 11, (2, 12))
    padded = torch.cat([tokens, torch.zeros(2, 9, dtype=torch.long)], dim=1)
    torch.testing.assert_close(
        hidden_states(model.transformer, padded)[:, :12], hidden_states(model.transformer, tokens), atol=1e-6, rtol=0
    )


def test_position_table_is_sinusoidal() -> None:
    table = sinusoids(50, 16)
    assert table.square().mean(dim=1).numpy() == pytest.approx(1, rel=1e-5)
    similarity = table @ table.T
    # The inner product of two positions depends on their distance only.
    torch.testing.assert_close(similarity.diagonal(3), similarity.diagonal(3)[:1].expand(47), atol=1e-4, rtol=0)


def test_round_trip_through_a_folder(model: GPT2LMHeadModel, tmp_path) -> None:
    model.save_pretrained(tmp_path)
    loaded = load_gpt2(tmp_path, 11, 24, pad_token_id=0)
    for name, weight in model.state_dict().items():
        assert torch.equal(weight, loaded.state_dict()[name]), name
    assert not loaded.training


@pytest.mark.parametrize(
    ("change", "vocab_size", "n_positions", "message"),
    [
        ({}, 12, 24, "vocabulary size of the environment, 12"),
        ({}, 11, 25, "at least 25 positions"),
        ({"model_type": "bert"}, 11, 24, "must hold a GPT-2"),
    ],
)
def test_folder_that_does_not_fit(model, tmp_path, change, vocab_size, n_positions, message) -> None:
    model.save_pretrained(tmp_path)
    path = tmp_path / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **change}))
    with pytest.raises(ValueError, match=message):
        load_gpt2(tmp_path, vocab_size, n_positions, pad_token_id=0)


@pytest.mark.parametrize("folder", ["nowhere", "./tiny", "n" * 300, "a\0b"])
def test_folder_that_does_not_exist(folder) -> None:
    with pytest.raises(ValueError, match=r"pretrained must be one of .*'tiny' or the folder"):
        load_gpt2(folder, 11, 24, pad_token_id=0)


@pytest.mark.parametrize(
    ("change", "message"), [({"n_layer": 0}, "n_layer must be >= 1"), ({"n_head": 3}, "multiple of n_head")]
)
def test_impossible_sizes(change, message) -> None:
    with pytest.raises(ValueError, match=message):
        gpt2_config(**{**CONFIG, **change})
