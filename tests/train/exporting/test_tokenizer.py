"""An export in plain transformers, against our own tokens and completions."""

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, pipeline

from addition_gym import PAD_TOKEN_ID, encode, prompt, solution
from addition_gym.scratchpad import answer
from addition_gym.vocabulary import CHARACTERS
from train.exporting.export import export_model
from train.exporting.tokenizer import answer_endings
from train.measure.solve import solve
from train.run.models import Model

PROBLEMS = [(3, 4), (9, 91), (345, 67), (123_456, 654_321)]
"""Of several lengths; the bundled model, of five digits, gets the last one wrong."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """The bundled model, exported."""
    folder = tmp_path_factory.mktemp("export") / "tiny"
    export_model("tiny", folder)
    return folder


@pytest.fixture(scope="module")
def tokenizer(folder):
    return AutoTokenizer.from_pretrained(folder, local_files_only=True)


@pytest.fixture(scope="module")
def written() -> list[str]:
    """What our own policy writes for the problems, prompts included."""
    return [info["text"] for info in solve(Model.find("tiny").load(), PROBLEMS)]


def test_tokens_are_those_of_the_environment(tokenizer, tmp_path) -> None:
    tokenizer.save_pretrained(tmp_path)
    for found in (tokenizer, AutoTokenizer.from_pretrained(tmp_path, local_files_only=True)):
        for text in (CHARACTERS, prompt(345, 67) + solution(345, 67), "0  1\n\n"):
            assert found(text)["input_ids"] == encode(text).tolist()
            assert found.decode(encode(text)) == text
        assert found.pad_token_id == found.eos_token_id == PAD_TOKEN_ID
        assert len(found) == len(CHARACTERS) + 1


def test_unknown_characters_are_refused(tokenizer) -> None:
    with pytest.raises(Exception, match="WordLevel error"):
        tokenizer("345 x 67")


def test_generate_stops_behind_the_answer(folder, tokenizer, written) -> None:
    """Prompts of different lengths side by side, padded left; right answers and a wrong one."""
    model = AutoModelForCausalLM.from_pretrained(folder, local_files_only=True)
    batch = tokenizer([prompt(*problem) for problem in PROBLEMS], padding=True, return_tensors="pt")
    assert (batch["input_ids"][:, -1] == encode(":")[0]).all()
    texts = tokenizer.batch_decode(model.generate(**batch), skip_special_tokens=True)
    assert texts == written
    right = [text == prompt(*problem) + solution(*problem) for text, problem in zip(texts, PROBLEMS, strict=True)]
    assert right == [True] * 3 + [False]


def test_pipeline_stops_behind_the_answer(folder, written) -> None:
    found = pipeline("text-generation", str(folder))([prompt(*problem) for problem in PROBLEMS[:2]])
    assert [output["generated_text"] for [output] in found] == written[:2]


def test_only_a_result_line_ends_as_an_answer() -> None:
    for a, b in [*PROBLEMS, (0, 0), (99, 1), (9_999_999, 9_999_999)]:
        tokens = encode(prompt(a, b) + solution(a, b)).tolist()
        ends = [end for end in range(3, len(tokens) + 1) if tokens[end - 3 : end] in answer_endings()]
        assert ends == [len(tokens)]
        assert answer(solution(a, b)) is not None


@torch.no_grad()
def test_padding_left_needs_positions_and_padding_right_does_not(folder, tokenizer) -> None:
    model = AutoModelForCausalLM.from_pretrained(folder, local_files_only=True)
    long, short = prompt(123_456, 5) + "\n<scratch>", prompt(1, 2) + "\n<scratch>"
    alone = model(torch.from_numpy(encode(short))[None]).logits[0]
    left = tokenizer([long, short], padding=True, return_tensors="pt")
    positions = (left["attention_mask"].cumsum(-1) - 1).clamp(min=0)
    right = tokenizer([long, short], padding=True, padding_side="right", return_tensors="pt")
    length = len(short)
    torch.testing.assert_close(model(**left, position_ids=positions).logits[1, -length:], alone, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(model(**right).logits[1, :length], alone, rtol=1e-4, atol=1e-4)
    assert (model(**left).logits[1, -length:] - alone).abs().max() > 1
