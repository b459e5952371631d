"""The token inspector as one HTML page that needs nothing else: the template ``page.html`` with the data in it."""

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from train.measure.choices import Colour
from train.measure.inspection import OF_AGENTS, QUANTITIES, Inspection

TEMPLATE = Path(__file__).with_name("page.html")
TOP = 5
"""How many of the most probable next tokens are shown, of policy and reference each."""


def page(title: str, frames: Sequence[tuple[str, Inspection]], colour: Colour, of_agents: bool) -> str:
    """The page. All texts are data: they reach the document as JSON, and its script writes them as text.

    :param title: what was looked at
    :param frames: name and inspection of each checkpoint, all of one problem; at least one
    :param colour: the quantity that the page opens with
    :param of_agents: whether policy and reference may differ, and there is a critic
    :return: HTML
    """
    problem, task = frames[0][1].problem, frames[0][1].task
    data = {
        "title": title,
        "problem": task.key(problem),
        "prompt": task.prompt(problem),
        "solution": task.solution(problem),
        "expected": task.expected(problem),
        "vocabulary": ["", *task.vocabulary.characters],
        "quantities": {name: asdict(q) for name, q in QUANTITIES.items() if of_agents or name not in OF_AGENTS},
        "colour": colour,
        "ofAgents": of_agents,
        "frames": [{"name": name, **_frame(inspection)} for name, inspection in frames],
    }
    as_json = json.dumps(data, separators=(",", ":")).replace("<", "\\u003c")  # no text can end the script element
    return TEMPLATE.read_text(encoding="utf-8").replace("{{data}}", as_json)


def _frame(inspection: Inspection) -> dict[str, Any]:
    return {
        "tokens": inspection.tokens.tolist(),
        "critical": sorted(inspection.critical),
        "firstError": inspection.first_error,
        "isSuccess": inspection.is_success,
        "verdict": inspection.verdict,
        "quantities": {name: [_rounded(value) for value in values] for name, values in inspection.quantities.items()},
        "next": [_next_tokens(inspection, position) for position in range(len(inspection.tokens))],
    }


def _next_tokens(inspection: Inspection, position: int) -> list[list[float]]:
    """``[token, policy's probability, reference's]`` of what either finds most probable and of the token written there."""
    policy = np.exp(inspection.log_probs[position])
    reference = np.exp(inspection.reference_log_probs[position])
    shown = {*np.argsort(-policy)[:TOP], *np.argsort(-reference)[:TOP], inspection.tokens[position]}
    likely_first = sorted(shown, key=lambda token: (-max(policy[token], reference[token]), token))
    return [[int(token), _rounded(policy[token]), _rounded(reference[token])] for token in likely_first]


def _rounded(value: float) -> float:
    return float(f"{value:.4g}")
