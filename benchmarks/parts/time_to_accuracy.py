"""Time until the tiny preset solves a share of the longer problems."""

import time

from stable_baselines3.common.logger import configure

from benchmarks.measure import Part, Row, Settings, compare
from benchmarks.parts import iteration
from train.finetuning.arguments import PPOArgs
from train.finetuning.finetune import make_agent
from train.measure.accuracy import Kind, evaluate
from train.measure.callbacks import RolloutCallback

PROBLEMS = 100
EVERY = 5


class StopAtAccuracy(RolloutCallback):
    """Stops training once greedy accuracy on held-out N+1 digits reaches the target.

    :param digits: N
    :param target: share solved, 0 to 1
    :param every: rollouts between two evaluations
    """

    def __init__(self, digits: int, target: float, every: int = EVERY):
        super().__init__(every)
        self.digits, self.target = digits, target
        self.reached = False
        self.tokens = 0
        self.training_seconds = 0.0

    def _on_training_start(self) -> None:
        self._resumed = time.perf_counter()

    def act(self) -> None:
        self.training_seconds += time.perf_counter() - self._resumed
        self.tokens = self.model.num_timesteps
        self.reached = evaluate(self.policy, Kind(1), self.digits, PROBLEMS).accuracy.value >= self.target
        self._resumed = time.perf_counter()

    def _on_step(self) -> bool:
        return not self.reached


def measure(settings: Settings) -> list[Row]:
    """One run of ours; the others would need as many tokens at their own rate of iterations."""
    lanes = settings.train_lanes
    args = PPOArgs(
        pretrained_digits=settings.digits,
        n_envs=lanes,
        n_episodes=lanes,
        batch_size=min(lanes, PPOArgs.batch_size),
        device=settings.device,
    )
    agent = make_agent(args)
    agent.set_logger(configure(None, []))
    callback = StopAtAccuracy(settings.digits, settings.target_accuracy)
    agent.learn(args.total_timesteps, callback=callback)
    seconds = {"ours, measured": [callback.training_seconds]}
    for row in iteration.measure(settings)[1:]:
        seconds[f"{row.contender}, computed"] = [callback.tokens / rate for rate in row.values]
    reached = "reached" if callback.reached else "NOT reached"
    return compare(f"{settings.target_accuracy:.0%} {reached}, {callback.tokens:,} tokens", "s", seconds)


PART = Part(
    "Time to accuracy",
    f"Tiny preset, seed 0, until greedy accuracy on {PROBLEMS} held-out problems of N+1 digits, looked at every {EVERY} "
    "rollouts, reaches the target; evaluation is not counted. The others are computed, not measured: our number of tokens at "
    "their rate of whole iterations. Less is better.",
    measure,
)
