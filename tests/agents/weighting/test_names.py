"""``agents.weighting`` is the door to its modules."""

import subprocess
import sys
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

import agents.weighting
from agents.weighting import Sigmoid, TokenBatch, TokenWeights, Weighting
from tests.agents.rollouts import random_batch
from tests.agents.test_ppo import learn, make_agent


def test_every_name_is_there() -> None:
    assert len(set(agents.weighting.__all__)) == len(agents.weighting.__all__)
    for name in agents.weighting.__all__:
        assert hasattr(agents.weighting, name), name


FIRST = """
import importlib, sys
for module in ("agents.weighting", "agents.weighting.token_batch", "agents.losses", "agents.training_state"):
    for name in [name for name in sys.modules if name.split(".")[0] in ("agents", "policies")]:
        del sys.modules[name]
    importlib.import_module(module)
"""


def test_it_can_be_imported_first() -> None:
    """Each where nothing of ours has been imported, in one process, which imports torch once."""
    subprocess.run([sys.executable, "-c", FIRST], check=True)


@dataclass(frozen=True)
class Surprise:
    """That of the docstring."""

    action_dependent: ClassVar[bool] = False

    def __call__(self, batch: TokenBatch) -> Tensor:
        return -batch.reference_log_probs.amax(dim=-1)


def test_a_weighting_of_ones_own() -> None:
    weighting = TokenWeights(kl=Weighting(Surprise(), Sigmoid(scale=0.5)))
    batch = random_batch()
    expected = torch.sigmoid(-batch.reference_log_probs.amax(dim=-1) / 0.5)
    torch.testing.assert_close(weighting.kl(batch)[batch.mask], expected[batch.mask])
    agent = make_agent(weighting=weighting)
    learn(agent, 1)
    assert agent.weighting is weighting
