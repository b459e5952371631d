import pytest
from stable_baselines3.common import callbacks
from stable_baselines3.common.vec_env import DummyVecEnv

from tests.agents.test_health import Count
from tests.agents.test_ppo import make_agent
from tests.token_env import RepeatEnv


class Bar:
    """In place of tqdm's."""

    made: list["Bar"]

    def __init__(self, total: int):
        self.total, self.n, self.closed = total, 0, False
        Bar.made.append(self)

    def update(self, by: int) -> None:
        self.n += by

    def refresh(self) -> None: ...

    def close(self) -> None:
        self.closed = True


@pytest.mark.parametrize("callback", [None, Count(100), [Count(100)], lambda local, of: True])
def test_it_shows_the_timesteps_that_count(callback, monkeypatch) -> None:
    """Lanes idle in a rollout, as episodes differ in length; their steps are no timesteps."""
    Bar.made = []
    monkeypatch.setattr(callbacks, "tqdm", Bar)
    agent = make_agent(DummyVecEnv([RepeatEnv] * 4))
    agent.learn(1000, callback=Count(1), progress_bar=True)
    assert Bar.made[0].n == agent.num_timesteps < 1000
    done = agent.num_timesteps
    agent.learn(90, callback=callback, progress_bar=True, reset_num_timesteps=False)
    assert agent.num_timesteps > done + 90
    assert (Bar.made[1].n, Bar.made[1].total, Bar.made[1].closed) == (90, 90, True)
