"""Real attacks: pickles that write a file when they are loaded, headers and configurations that lie about sizes."""

import io
import json
import pickle
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import save_file

from policies.gpt2 import build_gpt2, gpt2_config
from policies.model_files import checked_config, load_gpt2
from policies.nanogpt import convert_nanogpt, read_nanogpt
from policies.safe_files import check_tensor, read_json, read_safetensors, read_torch
from tests.fuzz.documented import refused
from train.exporting.export import load_nanogpt
from train.exporting.vocabulary import our_vocabulary
from train.pretraining.checkpoint import Checkpoint
from train.run.models import Model

V, T = 41, 300


class Attack:
    """Unpickled, it creates a file."""

    def __init__(self, target: Path):
        self.target = target

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[str]]:
        return Path.touch, (self.target,)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A sound model."""
    torch.manual_seed(0)
    build_gpt2(gpt2_config(V, T, n_layer=2, n_head=2, n_embd=8, pad_token_id=0)).save_pretrained(tmp_path / "model")
    return tmp_path / "model"


@pytest.fixture
def target(tmp_path: Path):
    """What no attack may create."""
    path = tmp_path / "attacked"
    yield path
    assert not path.exists()


def test_the_attack_works(tmp_path) -> None:
    """Otherwise the tests below would show nothing."""
    torch.save({"model": Attack(tmp_path / "attacked")}, tmp_path / "evil.pt")
    torch.load(tmp_path / "evil.pt", weights_only=False)
    assert (tmp_path / "attacked").exists()


@pytest.mark.parametrize("zipped", [True, False])
@pytest.mark.parametrize(
    "load",
    [
        lambda path: read_torch(path, "checkpoint"),
        lambda path: read_nanogpt(path),
        lambda path: load_nanogpt(path, None, "gelu"),
        lambda path: Checkpoint.load(path),
        lambda path: Model.find(path).load(),
    ],
)
def test_torch_files(load, zipped, target, tmp_path) -> None:
    torch.save({"model": {}, "attack": Attack(target)}, tmp_path / "evil.pt", _use_new_zipfile_serialization=zipped)
    with pytest.raises(ValueError, match=r"checkpoint|model"):
        load(tmp_path / "evil.pt")


@pytest.mark.parametrize("name", ["pytorch_model.bin", "model.safetensors", "config.json", "ckpt.pt", "adapter_model.bin"])
def test_folders(name, folder, target) -> None:
    """A pickle under any name that a model's weights may have, in place of the right file or beside it."""
    if name != "adapter_model.bin":
        (folder / "model.safetensors").unlink()
    (folder / name).write_bytes(pickle.dumps(Attack(target)))
    try:
        Model.find(folder).load()
    except ValueError:
        return
    assert name == "adapter_model.bin"


def test_code_beside_a_model(folder, target, monkeypatch) -> None:
    """What makes transformers import a file or fetch a kernel is not taken from the configuration."""
    config = json.loads((folder / "config.json").read_text())
    (folder / "evil.py").write_text(f"import pathlib\npathlib.Path({str(target)!r}).touch()\n")
    config["auto_map"] = {"AutoConfig": "evil.Config", "AutoModelForCausalLM": "evil.Model"}
    config["attn_implementation"] = config["_attn_implementation"] = "stranger/kernel"
    config["quantization_config"] = {"quant_method": "bitsandbytes", "load_in_8bit": True}
    (folder / "config.json").write_text(json.dumps(config))
    model = load_gpt2(folder, V, T, 0)
    assert model.config.to_dict().keys().isdisjoint({"auto_map", "quantization_config", "_attn_implementation"})
    assert model.config._attn_implementation != "stranger/kernel"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (dict(n_embd=10**9), r"wte.weight of \(41, 1000000000\), but it is of shape \(41, 8\)"),
        (dict(n_positions=10**12), r"wpe.weight of \(1000000000000, 8\)"),
        (dict(n_positions=-1), "n_positions must be >= 1, but it is -1"),
        (dict(n_layer=10**9), "as many blocks as n_layer = 1000000000, but it has 2"),
        (dict(n_inner=10**12), "mlp.c_fc.weight of .8, 1000000000000."),
        (dict(n_inner=0), "mlp.c_fc.weight of .8, 0."),
        (dict(n_head=3), "n_embd must be a multiple of n_head = 3"),
        (dict(n_head="2"), "n_head must be an int"),
        (dict(vocab_size=10**9), "vocabulary size of the environment, 41"),
        (dict(vocab_size=None), "vocab_size must be an int"),
        (dict(layer_norm_epsilon=-1.0), r"layer_norm_epsilon must lie in \(0, 1\), but it is -1.0"),
        (
            dict(activation_function="relu"),
            "activation_function must be one of gelu_new, .*, gelu, but it is 'relu'",
        ),
        (dict(scale_attn_weights=False), "must scale its attention by"),
        (dict(scale_attn_by_inverse_layer_idx=True), "must scale its attention by"),
        (dict(activation_function=["gelu"]), r"sound configuration, but in [\s\S]* expected str"),
        (dict(tie_word_embeddings=False), "lm_head.weight of .41, 8., but it is missing"),
    ],
)
def test_configurations_that_lie(change, message, folder) -> None:
    path = folder / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **change}))
    with pytest.raises(ValueError, match=message):
        load_gpt2(folder, V, T, 0)


@pytest.mark.parametrize("size", [0, 7, 8, 100, -1])
def test_weights_that_are_cut(size, folder) -> None:
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:size])
    with pytest.raises(ValueError, match="pretrained must be a sound safetensors file"):
        load_gpt2(folder, V, T, 0)


def test_a_header_that_lies(folder) -> None:
    path = folder / "model.safetensors"
    content = path.read_bytes()
    (length,) = struct.unpack("<Q", content[:8])
    header = json.loads(content[8 : 8 + length])
    header["transformer.wpe.weight"]["shape"] = [10**12, 8]
    lie = json.dumps(header).encode()
    for size in (len(lie), 2**62):
        path.write_bytes(struct.pack("<Q", size) + lie + content[8 + length :])
        with pytest.raises(ValueError, match="pretrained must be a sound safetensors file"):
            load_gpt2(folder, V, T, 0)


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("transformer.wpe.weight", torch.zeros(T, 8, dtype=torch.long), "wpe.weight as a plain tensor of floating-point"),
        ("transformer.wpe.weight", torch.full((T, 8), torch.nan), "finite numbers, but transformer.wpe.weight has NaN"),
        ("transformer.h.0.crossattention.c_attn.weight", torch.zeros(3), "but it also holds transformer.h.0.crossattention"),
        ("lm_head.weight", torch.ones(V, 8), "one embedding for input and head"),
    ],
)
def test_weights_of_another_kind(key, value, message, folder) -> None:
    weights = {name: weight for name, weight in load_gpt2(folder, V, T, 0).state_dict().items() if name != "lm_head.weight"}
    save_file({**weights, key: value}, folder / "model.safetensors")
    with pytest.raises(ValueError, match=message):
        load_gpt2(folder, V, T, 0)


def test_half_precision_is_read_as_float32(folder) -> None:
    weights = load_gpt2(folder, V, T, 0).state_dict()
    save_file(
        {name: weight.half() for name, weight in weights.items() if name != "lm_head.weight"}, folder / "model.safetensors"
    )
    loaded = load_gpt2(folder, V, T, 0).state_dict()
    for name, weight in weights.items():
        assert loaded[name].dtype == torch.float32
        assert torch.equal(loaded[name], weight.half().float())


def test_compressed_torch_file(tmp_path) -> None:
    """A gigabyte of zeros in a megabyte is refused before it is unpacked."""
    path = tmp_path / "bomb.pt"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("archive/data.pkl", bytes(2**20))
    with pytest.raises(ValueError, match="unpacks to 1048576 bytes, more than it has"):
        read_torch(path, "checkpoint")
    with pytest.raises(ValueError, match="unpacks to 1048576 bytes, more than it has"):
        read_torch(io.BytesIO(path.read_bytes()), "checkpoint")


@pytest.mark.parametrize(
    "tensor",
    [
        torch.zeros(1).expand(10**9, 10**9),
        torch.zeros(3, dtype=torch.long),
        torch.zeros(3).to_sparse(),
        torch.empty(10**12, device="meta"),
        {},
        None,
    ],
)
def test_tensors_without_memory_of_their_own(tensor) -> None:
    with pytest.raises(ValueError, match="state must hold wte as a plain tensor"):
        check_tensor(tensor, "wte", "state")
    state = {"transformer.wte.weight": tensor, "transformer.wpe.weight": torch.zeros(3, 8)}
    with pytest.raises(ValueError, match=r"state must hold transformer\.wte\.weight as a plain tensor"):
        convert_nanogpt(state, 1, [0], 0, "gelu")


def test_a_nanogpt_whose_width_would_not_fit() -> None:
    """Wide embeddings and hardly anything else: the matrices that they imply would take terabytes."""
    state = {"wte.weight": torch.zeros(1, 10**6), "wpe.weight": torch.zeros(1, 10**6), "h.0.ln_1.weight": torch.zeros(1)}
    with pytest.raises(ValueError, match=r"c_attn.weight of \(1000000, 3000000\), but it is missing"):
        convert_nanogpt(state, 1, [0], 0, "gelu")


@pytest.mark.parametrize("content", ["", "{", "[" * 100_000, "\udcff", '{"a": ' + "1" * 5000 + "}", "[]", "3", "null"])
def test_what_is_not_json(content, tmp_path) -> None:
    path = tmp_path / "config.json"
    path.write_bytes(content.encode("utf-8", "surrogateescape"))
    with pytest.raises(ValueError, match=r"resume must come with (readable JSON|a JSON object), but .*config.json"):
        read_json(path, "resume")


def test_vocabulary_of_our_own(folder) -> None:
    """So that the models above are refused for what they are, and not for their vocabulary."""
    assert len(our_vocabulary()) == V
    Model.find(folder).load()


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=5,
)
SOUND = gpt2_config(V, T, n_layer=2, n_head=2, n_embd=8, pad_token_id=0).to_dict()


@settings(max_examples=150, deadline=None)
@given(st.dictionaries(st.sampled_from(sorted(SOUND)), values, max_size=3), st.sets(st.sampled_from(sorted(SOUND)), max_size=1))
def test_any_configuration(changes, removed) -> None:
    """A standard GPT-2 comes out, or an error that names the argument."""
    content = {name: value for name, value in {**SOUND, **changes}.items() if name not in removed}
    if refused(("pretrained must",), checked_config, content, "a folder"):
        return
    config = checked_config(content, "a folder")
    assert config.n_embd % config.n_head == 0
    assert config.resid_pdrop == config.embd_pdrop == config.attn_pdrop == 0
    assert min(config.n_embd, config.n_head, config.n_layer, config.n_positions, config.vocab_size) >= 1


@settings(max_examples=100, deadline=None)
@given(content=st.binary(max_size=200))
def test_any_bytes(content, tmp_path_factory) -> None:
    path = tmp_path_factory.getbasetemp() / "any_bytes"
    path.write_bytes(content)
    for read in (read_torch, read_safetensors):
        with pytest.raises(ValueError, match="checkpoint must be a sound"):
            read(path, "checkpoint")
