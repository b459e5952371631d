import pickle
import sys
from pathlib import Path

import cloudpickle
import pytest

from agents.weighting import TokenWeights
from train.run.own_code import OwnCode

SOURCE = """
from dataclasses import dataclass

@dataclass(frozen=True)
class Answer:
    value: int = 42

answer, number = Answer(), 7
"""


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch) -> Path:
    """A working folder with a module, and another one elsewhere; nothing of it is left behind."""
    before = set(sys.modules)
    monkeypatch.setattr(sys, "path", list(sys.path))
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "here").mkdir()
    (tmp_path / "here" / "my_own_module.py").write_text(SOURCE)
    (tmp_path / "elsewhere" / "my_own_file.py").write_text(f"import my_helper\n{SOURCE}")
    (tmp_path / "elsewhere" / "my_helper.py").touch()
    monkeypatch.chdir(tmp_path / "here")
    yield tmp_path
    for name in set(sys.modules) - before:
        if name.startswith("my_"):
            cloudpickle.unregister_pickle_by_value(sys.modules[name]) if name != "my_helper" else None
            del sys.modules[name]


@pytest.mark.parametrize("spec", ["my_own_module:answer", "../elsewhere/my_own_file.py:answer", "./my_own_module.py:answer"])
def test_found_and_saved_together_with_its_code(spec) -> None:
    code = OwnCode.find("weighting", spec)
    assert code.source.name.startswith("my_own")
    answer = code.get(object)
    assert answer.value == 42
    saved = cloudpickle.dumps(answer)
    module = sys.modules.pop(code.module.__name__)
    assert pickle.loads(saved).value == 42  # where there is no such module
    sys.modules[code.module.__name__] = module


def test_the_digest_changes_with_file_and_name(folder) -> None:
    code = OwnCode.find("weighting", "my_own_module:answer")
    digest = code.digest()
    assert OwnCode.find("weighting", "my_own_module.py:answer").digest() == digest
    assert OwnCode.find("weighting", "my_own_module:number").digest() != digest
    code.source.write_text(f"{SOURCE}\n")
    assert code.digest() != digest


def test_what_is_installed_comes_before_the_working_folder() -> None:
    Path("this.py").write_text("answer = 1")  # a module of Python's that nobody has imported
    assert not hasattr(OwnCode.find("env", "this:d").module, "answer")
    with pytest.raises(ValueError, match=r"env must name a module with a file, but 'sys' has none"):
        OwnCode.find("env", "sys:path")


@pytest.mark.parametrize(
    ("spec", "kind", "error", "message"),
    [
        ("answer", object, ValueError, "weighting must have the form module:name or file.py:name, but it is 'answer'"),
        (":answer", object, ValueError, "must have the form module:name"),
        ("my_own_module:", object, ValueError, "must have the form module:name"),
        (
            "my_missing:x",
            object,
            ValueError,
            r"must name a module that can be imported, but 'my_missing' cannot",
        ),
        ("my_missing.py:x", object, ValueError, "must name a Python file that exists, but .*my_missing.py' does not"),
        ("my_own_module:x", object, ValueError, "must name something in .*my_own_module.py, but it has no 'x'"),
        ("my_own_module:number", TokenWeights, TypeError, "must name a TokenWeights, but 'number' in .* is 7: make it one"),
    ],
)
def test_what_cannot_be_found_is_named(spec, kind, error, message) -> None:
    with pytest.raises(error, match=message):
        OwnCode.find("weighting", spec).get(kind)


def test_a_file_with_the_name_of_a_module_is_refused() -> None:
    Path("torch.py").write_text(SOURCE)
    with pytest.raises(ValueError, match=r"whose name is not that of another module, but 'torch.py' is: give it another name"):
        OwnCode.find("weighting", "torch.py:answer")


def test_a_broken_file_leaves_nothing_behind() -> None:
    Path("my_broken.py").write_text("1 / 0")
    for _ in range(2):
        with pytest.raises(ZeroDivisionError):
            OwnCode.find("weighting", "my_broken.py:x")
