import html
import math
import re

import numpy as np
import pytest
import torch
from rich.style import Style

from addition_gym import VOCAB_SIZE, prompt, solution
from agents import PrioritizedKLPPO
from tests.train.helpers import critical, next_token_log_probs, random_policy
from train import inspect
from train.inspect import coloured, solution_certainty
from train.model_folder import load_policy

PROBLEM = (13, 4)


def slow_certainty(model, problem: tuple[int, int], temperature: float = 1.0) -> list[float]:
    """Eq. 2 of the paper, a forward for each prefix."""
    values = []
    for position in range(len(solution(*problem))):
        text = prompt(*problem) + solution(*problem)[:position]
        p = (next_token_log_probs(model, text) / temperature).softmax(0).double()
        values.append(1 + float((p * p.log()).sum()) / math.log(VOCAB_SIZE))
    return values


def test_certainty_of_every_token(policy, model) -> None:
    certainty = solution_certainty(policy, PROBLEM)
    assert certainty.shape == (len(solution(*PROBLEM)),)
    np.testing.assert_allclose(certainty, slow_certainty(model, PROBLEM), atol=1e-5)
    assert certainty.min() < 0.8 < 0.99 < certainty.max()


def test_certainty_has_the_temperature_of_the_policy() -> None:
    policy = random_policy(1, temperature=3.0)
    expected = slow_certainty(policy.language_model, (3, 4), temperature=3.0)
    np.testing.assert_allclose(solution_certainty(policy, (3, 4)), expected, atol=1e-5)


def styles(problem: tuple[int, int], certainty: np.ndarray, n: int) -> tuple[str, list[Style]]:
    """The text, and the style of every character of it."""
    text = coloured(problem, certainty, n)
    found = [Style.parse(str(text.style))] * len(text.plain)
    for span in text.spans:
        for index in range(span.start, span.end):
            found[index] += Style.parse(str(span.style))
    return text.plain, found


@pytest.mark.parametrize(("problem", "n"), [((13, 4), 1), ((345, 6789), 2), ((345, 6789), 3), ((345, 67), 3)])
def test_critical_tokens_are_underlined(problem, n) -> None:
    plain, found = styles(problem, np.full(len(solution(*problem)), 0.5), n)
    assert plain == prompt(*problem) + solution(*problem)
    start = len(prompt(*problem))
    underlined = [index - start for index, style in enumerate(found) if style.underline]
    assert underlined == sorted(critical(problem, n))


def test_colours_go_from_red_to_green() -> None:
    """ColorBrewer's RdYlGn from a certainty of 0.5 (and below) to 1, mixed with two fifths of white."""
    certainty = np.full(len(solution(3, 4)), 0.5)
    certainty[:4] = [0.5, 0.0, 1.0, 0.75]
    _, found = styles((3, 4), certainty, 1)
    start = len(prompt(3, 4))
    red, below, green, yellow = (found[start + index].bgcolor.triplet for index in range(4))
    for colour, brewer in ((red, (0xA5, 0x00, 0x26)), (below, (0xA5, 0x00, 0x26)), (green, (0x00, 0x68, 0x37))):
        assert tuple(colour) == pytest.approx([0.4 * 255 + 0.6 * channel for channel in brewer], abs=1)
    assert min(yellow.red, yellow.green) > 240 > yellow.blue
    assert all(style.bgcolor is None for style in found[:start])  # the prompt is not the model's


def svg_text(path) -> str:
    """What a reader of the picture sees, without blanks, which are not drawn."""
    pieces = re.findall(r"<text[^>]*>([^<]*)</text>", path.read_text())
    return "".join(html.unescape("".join(pieces)).split())


def test_command_prints_and_writes_a_picture(pretrained, command, capsys, tmp_path) -> None:
    command(inspect, 13, 4, "--model", pretrained, "--svg", tmp_path / "a.svg")
    out = capsys.readouterr().out
    assert out.startswith(prompt(13, 4) + solution(13, 4))
    svg = (tmp_path / "a.svg").read_text()
    assert svg.lstrip().startswith("<svg")
    shown = svg_text(tmp_path / "a.svg")
    assert "13+4,N=1" in shown
    assert "".join((prompt(13, 4) + solution(13, 4)).split()) in shown
    rules = re.findall(r"\.([\w-]+) \{ ([^}]*) \}", svg)
    underlining = {name for name, rule in rules if "underline" in rule}
    pieces = re.findall(r'<text class="([\w-]+)"[^>]*>([^<]*)</text>', svg)
    assert [piece for name, piece in pieces if name in underlining] == [
        solution(13, 4)[position] for position in sorted(critical((13, 4), 1))
    ]


def test_saved_agent_is_shown_as_it_is(pretrained, ppo_run, command, tmp_path, capsys) -> None:
    """An agent that has changed much: its own colours, not those of the model it comes from."""
    agent = PrioritizedKLPPO.load(ppo_run / "agent.zip", device="cpu")
    torch.manual_seed(0)
    with torch.no_grad():
        for parameter in agent.policy.language_model.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    agent.save(tmp_path / "agent.zip")
    colours = []
    for policy in (agent.policy, load_policy(pretrained)):
        plain, found = styles(PROBLEM, solution_certainty(policy, PROBLEM), 1)
        visible = [style for character, style in zip(plain, found, strict=True) if style.bgcolor and character != "\n"]
        colours.append({style.bgcolor.triplet.hex for style in visible})
    command(inspect, *PROBLEM, "--model", tmp_path / "agent.zip", "--pretrained-digits", 1, "--svg", tmp_path / "a.svg")
    drawn = set(re.findall(r"#[0-9a-f]{6}", (tmp_path / "a.svg").read_text()))
    assert colours[0] <= drawn
    assert not colours[1] <= drawn
    command(inspect, *PROBLEM, "--model", tmp_path / "agent.zip", "--pretrained-digits", 1)  # no picture wanted
    assert capsys.readouterr().out.count(solution(*PROBLEM)) == 2


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((-1, 4), "operand a must be >= 0"),
        ((3, 4, "--model", "nowhere"), "'nowhere'"),
        ((12345, 4), "digits|positions"),  # longer than the position table
    ],
)
def test_bad_arguments(arguments, message, pretrained, command) -> None:
    with pytest.raises(ValueError, match=message):
        command(inspect, "--model", pretrained, *arguments)
