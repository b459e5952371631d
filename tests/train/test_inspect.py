import html
import re
import shutil

import pytest
import torch
from rich.style import Style

from addition_gym import encode, prompt, solution
from agents import PrioritizedKLPPO
from agents.weighting.signals import ReferenceCertainty
from agents.weighting.weightings import certainty_power
from tests.train.helpers import critical, random_policy, same_weights, weights
from train import inspect
from train.measure.inspection import QUANTITIES, Inspection
from train.measure.inspection import inspect as inspect_tokens
from train.measure.snapshots import coloured, legend, run_agents, run_snapshots, snapshot
from train.run.models import Model

PROBLEM = (13, 4)


def inspection_of(text: str, n: int = 1, **quantities: float) -> Inspection:
    """Of any text of the problem, with some quantities the same everywhere."""
    found = inspect_tokens(random_policy(2), PROBLEM, encode(text), n, certainty_power(1.0), ReferenceCertainty())
    for name, value in quantities.items():
        found.quantities[name][:] = value
    return found


def styles(inspection: Inspection, colour: str = "certainty") -> tuple[str, list[Style]]:
    """The text, and the style of every character of it."""
    text = coloured(inspection, colour)
    found = [Style.parse(str(text.style))] * len(text.plain)
    for span in text.spans:
        for index in range(span.start, span.end):
            found[index] += Style.parse(str(span.style))
    return text.plain, found


@pytest.mark.parametrize("n", [1, 2])
def test_critical_tokens_are_underlined(n) -> None:
    plain, found = styles(inspection_of(solution(*PROBLEM), n))
    assert plain == prompt(*PROBLEM) + solution(*PROBLEM)
    start = len(prompt(*PROBLEM))
    assert [index - start for index, style in enumerate(found) if style.underline] == sorted(critical(PROBLEM, n))
    assert not any(style.reverse for style in found)


def test_first_error_is_reversed() -> None:
    right = solution(*PROBLEM)
    comma = right.index(",")
    _, found = styles(inspection_of(right[:comma] + "]" + right[comma + 1 :]))
    assert [index - len(prompt(*PROBLEM)) for index, style in enumerate(found) if style.reverse] == [comma]


@pytest.mark.parametrize(
    ("colour", "value", "rgb"),
    [
        ("certainty", 1.0, (255, 255, 255)),
        ("certainty", 0.2, (247, 103, 7)),
        ("kl", 0.5, (251, 179, 131)),
        ("value", 1.0, (77, 171, 247)),
    ],
)
def test_colours(colour, value, rgb) -> None:
    _, found = styles(inspection_of(solution(*PROBLEM), **{colour: value}), colour)
    start = len(prompt(*PROBLEM))
    assert all(style.bgcolor is None for style in found[:start])  # the prompt is not the model's
    assert {tuple(style.bgcolor.triplet) for style in found[start:]} == {rgb}


@pytest.mark.parametrize("colour", QUANTITIES)
def test_legend_names_the_quantity_and_the_ends_of_its_scale(colour) -> None:
    quantity, shown = QUANTITIES[colour], legend(colour).plain
    for expected in (quantity.label, quantity.meaning, f"{quantity.plain:g}", f"{quantity.orange or quantity.blue or 0:g}"):
        assert expected in shown


def svg_text(path) -> str:
    """What a reader of the picture sees, without blanks, which are not drawn."""
    pieces = re.findall(r"<text[^>]*>([^<]*)</text>", path.read_text())
    return "".join(html.unescape("".join(pieces)).split())


def test_command_prints_and_writes_a_picture(pretrained, command, capsys, tmp_path) -> None:
    command(inspect, 13, 4, "--model", pretrained, "--svg", tmp_path / "a.svg")
    out = capsys.readouterr().out
    assert out.startswith(prompt(13, 4) + solution(13, 4))
    assert "right, answer 1 7" in out
    svg = (tmp_path / "a.svg").read_text()
    assert svg.lstrip().startswith("<svg")
    assert "".join((prompt(13, 4) + solution(13, 4)).split()) in svg_text(tmp_path / "a.svg")
    rules = re.findall(r"\.([\w-]+) \{ ([^}]*) \}", svg)
    underlining = {name for name, rule in rules if "underline" in rule}
    pieces = re.findall(r'<text class="([\w-]+)"[^>]*>([^<]*)</text>', svg)
    assert [piece for name, piece in pieces if name in underlining] == [
        solution(13, 4)[position] for position in sorted(critical((13, 4), 1))
    ]


def test_a_solution_is_not_taken_for_what_the_model_wrote(pretrained, command, capsys) -> None:
    said = "the solution, not written by the model"
    command(inspect, *PROBLEM, "--model", pretrained)
    assert said in capsys.readouterr().out
    command(inspect, *PROBLEM, "--model", pretrained, "--completion", "greedy")
    assert said not in capsys.readouterr().out


@pytest.mark.parametrize("completion", ["solution", "greedy", "sampled"])
def test_run_is_shown_and_written_with_all_its_checkpoints(completion, ppo_run, command, capsys, tmp_path) -> None:
    page = tmp_path / "new" / "page.html"
    command(inspect, *PROBLEM, "--run", ppo_run, "--completion", completion, "--colour", "kl", "--html", page)
    assert capsys.readouterr().out.startswith(prompt(*PROBLEM))
    text = page.read_text()
    assert text.count('"verdict":') == 1 + len(list(ppo_run.glob("checkpoints/agent*.zip"))) + 1  # the start and the end


def test_samples_are_those_of_the_seed(pretrained, command, capsys) -> None:
    shown = []
    for seed in (0, 0, 1, 2):
        command(inspect, *PROBLEM, "--model", pretrained, "--completion", "sampled", "--seed", seed)
        shown.append(capsys.readouterr().out)
    assert shown[0] == shown[1]
    assert len(set(shown)) > 1


@pytest.mark.parametrize("colour", ["kl", "value", "advantage"])
def test_what_only_agents_have_is_refused_for_a_pretrained_model(colour, pretrained, command) -> None:
    with pytest.raises(ValueError, match=r"colour must not be .* for a pre-trained model"):
        command(inspect, *PROBLEM, "--model", pretrained, "--colour", colour)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((-1, 4), "operand a must be >= 0"),
        ((3, 4, "--model", "nowhere"), "'nowhere'"),
        ((3, 4, "--run", "nowhere"), "'nowhere'"),
        ((12345, 4), "digits|positions"),  # longer than the position table
    ],
)
def test_bad_arguments(arguments, message, pretrained, command) -> None:
    with pytest.raises(ValueError, match=message):
        command(inspect, "--model", pretrained, *arguments)


def test_run_starts_with_its_reference(pretrained, ppo_run, tmp_path) -> None:
    run = shutil.copytree(ppo_run, tmp_path / "run")
    agent = PrioritizedKLPPO.load(run / "agent.zip", device="cpu")
    for parameter in agent.policy.value_net.parameters():  # zero at the start
        torch.nn.init.ones_(parameter)
    agent.save(run / "agent.zip")
    shutil.copy(run / "agent.zip", run / "checkpoints" / "agent_10.zip")  # 10 sorts after 9, unlike "10"
    shutil.copy(run / "agent.zip", run / "checkpoints" / "agent_9.zip")
    paths = run_agents(run)
    assert len(paths) == len(list(run.glob("checkpoints/*.zip"))) + 1
    assert [path.stem for path in paths[:2]] == ["agent_9", "agent_10"]
    assert paths[-1] == run / "agent.zip"
    reference = weights(Model.find(pretrained).load().language_model)
    names = []
    for index, found in enumerate(run_snapshots(run)):
        names.append(found.name)
        expected = Model.find(paths[index - 1] if index else pretrained).load()
        assert same_weights(weights(found.policy.language_model), weights(expected.language_model))
        assert same_weights(weights(found.policy.reference), reference)
        if index in (0, 1, 2, len(paths)):
            assert all((weight == min(index, 1)).all() for weight in weights(found.policy.value_net).values())
    assert names[0] == "start"
    assert names[-1].startswith("end, ")
    assert len(names) == len(paths) + 1


def test_snapshot_has_the_weights_of_its_own_penalty(ppo_run, pretrained) -> None:
    assert snapshot(ppo_run).kl_weighting == certainty_power(150.0)
    assert snapshot(ppo_run).is_agent
    assert not snapshot(pretrained).is_agent


def test_run_without_agents_is_refused(tmp_path) -> None:
    with pytest.raises(ValueError, match="run must be a run folder with agents"):
        run_agents(tmp_path)
