import math

import numpy as np
import pytest
import torch

from addition_gym import PAD_TOKEN_ID, VOCAB_SIZE, decode, encode, prompt, solution
from agents.weighting.signals import ReferenceCertainty
from agents.weighting.weightings import certainty_power
from policies import GPT2Policy
from tests.train.helpers import budget, critical, greedy_text, next_token_log_probs, random_policy, scripted_policy
from train.measure.inspection import QUANTITIES, Inspection, complete, inspect, rgb

PROBLEM = (13, 4)


def moved_policy(temperature: float = 1.0) -> GPT2Policy:
    """Far from its reference, with a critic."""
    policy = random_policy(2, temperature=temperature)
    torch.manual_seed(1)
    with torch.no_grad():
        for parameter in (*policy.language_model.parameters(), *policy.value_net.parameters()):
            parameter.add_(0.1 * torch.randn_like(parameter))
    return policy


def look(policy: GPT2Policy, text: str, n: int = 1, exponent: float = 3.0) -> Inspection:
    return inspect(policy, PROBLEM, encode(text), n, certainty_power(exponent), ReferenceCertainty())


@torch.no_grad()
def slow_quantities(policy: GPT2Policy, text: str, exponent: float) -> dict[str, list[float]]:
    """Every token by a forward of the text before it, and the formulas of the design."""
    found: dict[str, list[float]] = {name: [] for name in QUANTITIES}
    space = policy.observation_space.shape[0]
    for position, token in enumerate(encode(text)):
        before = prompt(*PROBLEM) + text[:position]
        ours = (next_token_log_probs(policy.language_model, before).double() / policy.temperature).log_softmax(0)
        raw = next_token_log_probs(policy.reference, before).double()
        reference = (raw / policy.temperature).log_softmax(0)
        certainty = 1 + float((raw.exp() * raw).sum()) / math.log(VOCAB_SIZE)
        observation = torch.zeros(1, space, dtype=torch.long)
        observation[0, : len(before)] = torch.from_numpy(encode(before))
        value = float(policy.predict_values(observation))
        found["certainty"].append(certainty)
        found["weight"].append(certainty**exponent)
        found["entropy"].append(-float((ours.exp() * ours).sum()))
        found["surprisal"].append(-float(ours[token]))
        found["kl"].append(float((ours.exp() * (ours - reference)).sum()))
        found["value"].append(value)
        found["advantage"].append((text == solution(*PROBLEM)) - value)
    return found


@pytest.mark.parametrize("temperature", [1.0, 2.0])
@pytest.mark.parametrize("text", [solution(*PROBLEM), "\n<scratch>\n[1]"])
def test_quantities_are_those_of_a_slow_reading(temperature, text) -> None:
    policy = moved_policy(temperature)
    inspection = look(policy, text)
    expected = slow_quantities(policy, text, exponent=3.0)
    assert inspection.quantities.keys() == expected.keys() == QUANTITIES.keys()
    for name, values in expected.items():
        np.testing.assert_allclose(inspection.quantities[name], values, atol=1e-4, err_msg=name)
    assert inspection.quantities["kl"].min() > 1e-3


def test_policy_that_is_its_reference_has_no_kl() -> None:
    policy = random_policy(2)
    policy.reference.load_state_dict(policy.language_model.state_dict())
    inspection = look(policy, solution(*PROBLEM))
    assert np.abs(inspection.quantities["kl"]).max() < 1e-6
    np.testing.assert_array_equal(inspection.log_probs, inspection.reference_log_probs)
    assert inspection.log_probs.shape == (len(solution(*PROBLEM)), VOCAB_SIZE)


def test_critical_tokens_end_with_the_first_error() -> None:
    policy, right = random_policy(2), solution(*PROBLEM)
    assert look(policy, right).critical == set(critical(PROBLEM, 1))
    comma = right.index(",")
    wrong = right[:comma] + "]" + right[comma + 1 :]
    inspection = look(policy, wrong)
    assert inspection.first_error == comma
    assert inspection.critical == {comma}


def test_verdict() -> None:
    policy, right = random_policy(2), solution(*PROBLEM)
    comma = right.index(",")
    assert look(policy, right).verdict == "right, answer 1 7"
    changed = right[:comma] + "]" + right[comma + 1 :]
    assert look(policy, changed).verdict == f"right, answer 1 7; first error at token {comma}: ']' where ',' is right"
    assert look(policy, right[:comma]).verdict == f"wrong, answer none; out of budget after {comma} tokens"


def test_completion_is_the_models_own(policy, model) -> None:
    own = greedy_text(model, PROBLEM, budget(2))[len(prompt(*PROBLEM)) :]
    assert decode(complete(policy, PROBLEM, "greedy")) == own
    np.testing.assert_array_equal(complete(policy, PROBLEM), encode(solution(*PROBLEM)))
    texts = set()
    for seed in range(5):
        torch.manual_seed(seed)
        texts.add(decode(complete(policy, PROBLEM, "sampled")))
    assert len(texts) > 1


@pytest.mark.parametrize("text", ["", "\n<scratch>\n[1"])
def test_padding_that_ends_a_completion_is_a_token(text) -> None:
    policy = scripted_policy(lambda a, b: text)
    tokens = complete(policy, PROBLEM, "greedy")
    assert tokens.tolist() == [*encode(text).tolist(), PAD_TOKEN_ID]
    inspection = inspect(policy, PROBLEM, tokens, 1, certainty_power(1.0), ReferenceCertainty())
    assert inspection.first_error == len(text)
    assert f"first error at token {len(text)}: '' where" in inspection.verdict


def test_no_padding_is_made_up_where_the_budget_ends() -> None:
    tokens = complete(scripted_policy(lambda a, b: "1" * 999), PROBLEM, "greedy")
    assert decode(tokens) == "1" * (budget(2) - len(prompt(*PROBLEM)))


@pytest.mark.parametrize("completion", ["solution", "greedy"])
def test_too_long_problems_are_refused(completion) -> None:
    with pytest.raises(ValueError, match=r"operands a and b must have .* positions"):
        complete(random_policy(1), (12345, 6), completion)


@pytest.mark.parametrize(
    ("name", "value", "shade"),
    [
        ("certainty", 1, 0),
        ("certainty", 0.75, 0.5),
        ("certainty", 0.1, 1),
        ("kl", -1e-7, 0),
        ("kl", 7, 1),
        ("weight", 0, 1),
        ("value", 0.5, -0.5),
        ("value", -0.5, 0),
        ("advantage", -0.5, 0.5),
        ("advantage", 2, -1),
    ],
)
def test_shades(name, value, shade) -> None:
    assert QUANTITIES[name].shade(value) == pytest.approx(shade)


@pytest.mark.parametrize("shade", np.linspace(-1, 1, 21))
def test_black_letters_are_legible_on_all_shades(shade) -> None:
    """WCAG 2.2's contrast, level AA."""
    linear = [x / 12.92 if x <= 0.04045 else ((x + 0.055) / 1.055) ** 2.4 for x in (channel / 255 for channel in rgb(shade))]
    luminance = 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]
    assert (luminance + 0.05) / 0.05 > 4.5
