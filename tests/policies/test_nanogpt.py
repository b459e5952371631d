"""Made-up checkpoints against a small nanoGPT written here from its description."""

import json
import math

import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import save_file
from torch import nn

from policies.gpt2 import build_gpt2, gpt2_config
from policies.model_files import load_gpt2
from policies.nanogpt import convert_nanogpt, is_nanogpt, read_nanogpt

V, D, H, L, T = 7, 8, 2, 2, 12
ROWS = [None, 4, 0, 6, 1]  # our five tokens: padding, and four of theirs
KNOWN = [4, 0, 6, 1]


class NanoGPT(nn.Module):
    """Names and layout of nanoGPT's model.py; attention by explicit loops over heads."""

    def __init__(self, bias: bool = True):
        super().__init__()
        self.bias = bias
        self.transformer = nn.ModuleDict(
            dict(wte=nn.Embedding(V, D), wpe=nn.Embedding(T, D), h=nn.ModuleList(map(self.block, range(L))), ln_f=self.norm())
        )
        self.lm_head = nn.Linear(D, V, bias=False)
        self.lm_head.weight = self.transformer.wte.weight
        for parameter in self.parameters():
            nn.init.normal_(parameter, std=0.7)

    def norm(self) -> nn.LayerNorm:
        return nn.LayerNorm(D, bias=self.bias)

    def block(self, _: int) -> nn.ModuleDict:
        attn = nn.ModuleDict(dict(c_attn=nn.Linear(D, 3 * D, bias=self.bias), c_proj=nn.Linear(D, D, bias=self.bias)))
        mlp = nn.ModuleDict(dict(c_fc=nn.Linear(D, 4 * D, bias=self.bias), c_proj=nn.Linear(4 * D, D, bias=self.bias)))
        return nn.ModuleDict(dict(ln_1=self.norm(), attn=attn, ln_2=self.norm(), mlp=mlp))

    def forward(self, tokens: torch.Tensor, activation: str) -> torch.Tensor:
        x = self.transformer.wte(tokens) + self.transformer.wpe(torch.arange(len(tokens)))  # (T, D)
        for block in self.transformer.h:
            q, k, v = block.attn.c_attn(block.ln_1(x)).split(D, dim=1)
            heads = []
            for start in range(0, D, D // H):
                part = slice(start, start + D // H)
                scores = q[:, part] @ k[:, part].T / math.sqrt(D // H)
                scores = scores + torch.triu(torch.full_like(scores, -math.inf), diagonal=1)
                heads.append(scores.softmax(dim=1) @ v[:, part])
            x = x + block.attn.c_proj(torch.cat(heads, dim=1))
            hidden = block.mlp.c_fc(block.ln_2(x))
            if activation == "gelu":
                hidden = hidden * 0.5 * (1 + torch.erf(hidden / math.sqrt(2)))
            else:
                hidden = F.gelu(hidden, approximate="tanh")
            x = x + block.mlp.c_proj(hidden)
        return self.lm_head(self.transformer.ln_f(x))


def nanogpt(bias: bool = True) -> NanoGPT:
    torch.manual_seed(0)
    return NanoGPT(bias)


def checkpoint(model: NanoGPT, prefix: str = "") -> dict:
    """As nanoGPT's train.py saves it, with the mask that old versions keep."""
    state = {prefix + name: weight for name, weight in model.state_dict().items()}
    state[prefix + "transformer.h.0.attn.bias"] = torch.ones(1, 1, T, T).tril()
    arguments = dict(n_layer=L, n_head=H, n_embd=D, block_size=T, vocab_size=V, bias=model.bias, dropout=0.2)
    return {"model": state, "model_args": arguments, "iter_num": 3, "best_val_loss": torch.tensor(0.1), "config": {"seed": 1}}


@torch.no_grad()
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("prefix", ["", "_orig_mod."])
@pytest.mark.parametrize("activation", ["gelu", "gelu_new"])
def test_logits_are_those_of_nanogpt(bias, prefix, activation, tmp_path) -> None:
    model = nanogpt(bias)
    torch.save(checkpoint(model, prefix), tmp_path / "ckpt.pt")
    converted = convert_nanogpt(*read_nanogpt(tmp_path), ROWS, 0, activation)
    tokens = torch.tensor([1, 3, 2, 2, 4, 1, 3, 4])
    expected = model(torch.tensor(KNOWN)[tokens - 1], activation)[:, KNOWN]
    found = converted(tokens[None]).logits[0]
    torch.testing.assert_close(found[:, 1:], expected, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(found[:, 0], expected.mean(dim=1), rtol=1e-4, atol=1e-4)  # padding: never the most probable
    assert converted.lm_head.weight is converted.transformer.wte.weight
    other = {"gelu": "gelu_new", "gelu_new": "gelu"}[activation]
    assert not torch.allclose(found[:, 1:], model(torch.tensor(KNOWN)[tokens - 1], other)[:, KNOWN], rtol=1e-4, atol=1e-4)


def test_file_folder_and_hub_layouts_agree(tmp_path) -> None:
    """A checkpoint, and what ``PyTorchModelHubMixin`` writes: one of two tied names, and a config without positions."""
    saved = checkpoint(nanogpt())
    torch.save(saved, tmp_path / "any.pt")
    hub, old_hub = tmp_path / "hub", tmp_path / "old_hub"
    for folder in (hub, old_hub):
        folder.mkdir()
        (folder / "config.json").write_text(json.dumps(saved["model_args"]))
    one_name = {name: weight.clone() for name, weight in saved["model"].items() if name != "transformer.wte.weight"}
    save_file(one_name, hub / "model.safetensors")
    torch.save(saved["model"], old_hub / "pytorch_model.bin")
    expected = convert_nanogpt(*read_nanogpt(tmp_path / "any.pt"), ROWS, 0, "gelu").state_dict()
    for path in (hub, old_hub, old_hub / "pytorch_model.bin"):
        found = convert_nanogpt(*read_nanogpt(path), ROWS, 0, "gelu").state_dict()
        assert found.keys() == expected.keys()
        assert all(torch.equal(found[name], expected[name]) for name in found)


def test_what_is_a_nanogpt(tmp_path) -> None:
    assert not is_nanogpt(tmp_path)
    assert not is_nanogpt(tmp_path / "nowhere.pt")
    (tmp_path / "config.json").write_text(json.dumps({"n_positions": 3}))
    assert not is_nanogpt(tmp_path)
    (tmp_path / "config.json").write_text(json.dumps({"block_size": 3}))
    assert is_nanogpt(tmp_path)
    other = tmp_path / "other"
    other.mkdir()
    (other / "ckpt.pt").touch()
    assert is_nanogpt(other)
    assert is_nanogpt(other / "ckpt.pt")


@pytest.mark.parametrize("prefix", ["", "_orig_mod."])
@pytest.mark.parametrize("file", ["model.safetensors", "pytorch_model.bin"])
def test_a_nanogpt_under_a_configuration_of_gpt2_is_known_by_its_shapes(file, prefix, tmp_path) -> None:
    config = {"model_type": "gpt2", "n_layer": L, "n_head": H, "n_embd": D, "n_positions": T, "vocab_size": V}
    weights = {name: weight.clone() for name, weight in checkpoint(nanogpt(), prefix)["model"].items()}
    for folder, state in (("theirs", weights), ("gpt2", build_gpt2(gpt2_config(V, T, L, H, D, 0)).state_dict())):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "config.json").write_text(json.dumps(config))
        state = {name: weight.clone() for name, weight in state.items()}
        save_file(state, tmp_path / folder / file) if file.endswith("safetensors") else torch.save(
            state, tmp_path / folder / file
        )
    assert is_nanogpt(tmp_path / "theirs")
    assert not is_nanogpt(tmp_path / "gpt2")
    with pytest.raises(
        ValueError, match=r"the matrices of '.*theirs' are transposed, .*: convert it with `addition-gym export"
    ):
        load_gpt2(tmp_path / "theirs", V + 1, T, 0)


class Stranger:
    """Something that only code can unpickle."""


def test_pickled_code_is_not_run(tmp_path) -> None:
    torch.save({**checkpoint(nanogpt()), "extra": Stranger()}, tmp_path / "ckpt.pt")
    with pytest.raises(ValueError, match="checkpoint must hold only tensors, numbers and texts"):
        read_nanogpt(tmp_path)


def test_unreadable_checkpoints(tmp_path) -> None:
    with pytest.raises(ValueError, match="checkpoint must be a torch file or a folder"):
        read_nanogpt(tmp_path)
    torch.save([1, 2], tmp_path / "list.pt")
    with pytest.raises(ValueError, match=r"checkpoint must be a dict, but .* holds a list"):
        read_nanogpt(tmp_path / "list.pt")
    torch.save(checkpoint(nanogpt())["model"], tmp_path / "ckpt.pt")
    with pytest.raises(ValueError, match="checkpoint must say n_head"):
        read_nanogpt(tmp_path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda state: state.update({"lm_head.weight": torch.zeros(V, D)}), "tied head"),
        (lambda state: state.pop("transformer.wpe.weight"), "transformer.wpe.weight, but it does not"),
        (lambda state: state.pop("transformer.h.1.mlp.c_fc.weight"), "transformer.h.1.mlp.c_fc.weight of .* is missing"),
        (
            lambda state: state.update({"transformer.h.0.attn.c_attn.weight": torch.zeros(D, 3 * D)}),
            r"c_attn.weight of \(8, 24\), but it is of shape \(24, 8\)",
        ),
        (lambda state: state.update({"transformer.rotary": torch.zeros(1)}), "also holds transformer.rotary"),
    ],
)
def test_another_layout(change, message) -> None:
    state = checkpoint(nanogpt())["model"]
    change(state)
    with pytest.raises(ValueError, match=message):
        convert_nanogpt(state, H, ROWS, 0, "gelu")


@pytest.mark.parametrize("rows", [[None], [None, V], [None, -1]])
def test_rows_out_of_range(rows) -> None:
    with pytest.raises(ValueError, match="rows must lie in"):
        convert_nanogpt(checkpoint(nanogpt())["model"], H, rows, 0, "gelu")


def test_unknown_activation() -> None:
    with pytest.raises(ValueError, match="activation_function must be one of"):
        convert_nanogpt(checkpoint(nanogpt())["model"], H, ROWS, 0, "relu")
