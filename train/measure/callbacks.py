"""What a fine-tuning run shows in TensorBoard besides the algorithm's own numbers."""

from collections.abc import Callable, Mapping, Sequence

import torch
from matplotlib.figure import Figure
from rich.console import Console
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.logger import Figure as LoggedFigure
from stable_baselines3.common.logger import HParam, TensorBoardOutputFormat

from agents import PrioritizedKLPPO
from agents.diagnostics import over_position
from agents.weighting.signals import ReferenceCertainty
from policies import GPT2Policy
from train.measure.accuracy import Accuracy, Kind
from train.measure.choices import Colour
from train.measure.inspection import complete, inspect
from train.measure.pictures import draw_inspection
from train.measure.solve import critical_probabilities, solve
from train.run.meter import Advance

DURING = "eval/accuracy_"
"""Beginning of the tags of accuracies during training, all on validation problems."""


class RolloutCallback(BaseCallback):
    """Does something every ``every`` rollouts, before the update; the first time before the first update."""

    def __init__(self, every: int):
        super().__init__()
        self.every = every

    def _on_step(self) -> bool:
        return True

    def _on_rollout_end(self) -> None:
        if self.agent.updates_done % self.every == 0:
            self.act()

    def act(self) -> None:
        """What is done."""
        raise NotImplementedError

    @property
    def agent(self) -> PrioritizedKLPPO:
        """The agent in training."""
        assert isinstance(self.model, PrioritizedKLPPO)
        return self.model

    @property
    def policy(self) -> GPT2Policy:
        """Its policy."""
        return self.agent.policy

    def record_figure(self, name: str, figure: Figure) -> None:
        """Log a picture, for TensorBoard alone."""
        self.logger.record(name, LoggedFigure(figure, close=False), exclude=("stdout", "log", "json", "csv"))


class ProgressCallback(BaseCallback):
    """Tells how far training is.

    :param advance: is told how many more timesteps are done
    """

    def __init__(self, advance: Advance):
        super().__init__()
        self.advance, self.told = advance, 0

    def _on_training_start(self) -> None:
        self.told = self.model.num_timesteps

    def _on_step(self) -> bool:
        self.advance(self.num_timesteps - self.told)
        self.told = self.num_timesteps
        return True


class HyperparameterCallback(BaseCallback):
    """``hparams``: what TensorBoard's tab of that name compares runs by.

    :param arguments: of the run, by name
    :param metrics: tags of scalars that are shown beside them, the last value of each
    """

    def __init__(self, arguments: Mapping[str, object], metrics: Sequence[str]):
        super().__init__()
        shown = {name: value if isinstance(value, int | float) else str(value) for name, value in arguments.items()}
        self.hyperparameters = HParam(shown, dict.fromkeys(metrics, 0.0))

    def _on_step(self) -> bool:
        return True

    def _on_training_start(self) -> None:
        self.logger.record("hparams", self.hyperparameters, exclude=("stdout", "log", "json", "csv"))


class AccuracyCallback(RolloutCallback):
    """``eval/accuracy_<=N``, ``eval/accuracy_N+1``, ...: what a measurement finds, by kind of problem.

    :param measure: the measurement
    :param every: rollouts between two of them
    :param console: where to print a line for each
    """

    def __init__(self, measure: Callable[[], Sequence[Accuracy]], every: int, console: Console | None = None):
        super().__init__(every)
        self.measure, self.console = measure, console

    def act(self) -> None:
        found = self.measure()
        for accuracy in found:
            self.logger.record(f"{DURING}{accuracy.kind}", accuracy.value)
        if self.console:
            shown = "  ".join(f"{accuracy.kind} {accuracy.value:4.0%}" for accuracy in found)
            self.console.print(f"rollout {self.agent.updates_done + 1:4d}  accuracy  {shown}")


class CriticalTokenCallback(RolloutCallback):
    """``critical/...``: probability of the right token at each critical position of validation problems, and the mean over
    them.

    :param pretrained_digits: N
    :param extra: k, of the N+k problems to look at
    :param n_problems: how many
    :param every: rollouts between two looks
    """

    def __init__(self, pretrained_digits: int, extra: int, n_problems: int = 32, every: int = 1):
        super().__init__(every)
        self.pretrained_digits = pretrained_digits
        self.problems = Kind(extra).problems(pretrained_digits, n_problems, seed=0, split="validation")

    def act(self) -> None:
        probabilities = critical_probabilities(self.policy, self.problems, self.pretrained_digits)
        for (line, operand, kind), probability in probabilities.items():
            self.logger.record(f"critical/line{line}_operand{operand}_{kind}", probability)
        self.logger.record("critical/mean", sum(probabilities.values()) / len(probabilities))


class SampleCallback(RolloutCallback):
    """``samples``: a few completions of validation problems as text, with the first wrong token marked.

    :param pretrained_digits: N
    :param extra: k, of the N+k problems to solve
    :param n_problems: how many
    :param every: rollouts between two looks
    """

    def __init__(self, pretrained_digits: int, extra: int, n_problems: int = 4, every: int = 10):
        super().__init__(every)
        self.problems = Kind(extra).problems(pretrained_digits, n_problems, seed=0, split="validation")

    def act(self) -> None:
        texts = []
        for info in solve(self.policy, self.problems):
            a, b = info["operands"]
            verdict = "right" if info["is_success"] else "wrong"
            start = len(info["text"]) - len(info["text"].split("Target:", 1)[1])
            error = start + info["first_error"]
            text = info["text"]
            if info["first_error"] >= 0:
                text = f"{text[:error]}<<HERE>>{text[error:]}"
            texts.append(f"**{a}+{b}: {verdict}**\n\n```\n{text}\n```")
        for output in self.logger.output_formats:
            if isinstance(output, TensorBoardOutputFormat):
                output.writer.add_text("samples", "\n\n".join(texts), self.num_timesteps)


class PositionCallback(RolloutCallback):
    """``position``, a picture: KL to the reference, entropy and weight of the KL over the position in the completion.

    Means over the episodes of the rollout that reach a position.

    :param every: rollouts between two pictures
    """

    def __init__(self, every: int = 10):
        super().__init__(every)

    def act(self) -> None:
        buffer = self.agent.rollout_buffer
        tokens = buffer.token_batch(self.policy.temperature)
        quantities = {
            "KL to the reference (nats)": tokens.kl,
            "entropy of the policy (nats)": tokens.entropy,
            "weight of the KL": torch.as_tensor(buffer.weights["kl"], device=tokens.mask.device),
        }
        figure = Figure(figsize=(8, 6), layout="constrained")
        for axes, (label, values) in zip(figure.subplots(3, sharex=True), quantities.items(), strict=True):
            axes.plot(over_position(tokens, values).cpu().numpy(), linewidth=0.8)
            axes.set_ylabel(label)
        axes.set_xlabel("position in the completion (tokens)")
        self.record_figure("position", figure)


class InspectorCallback(RolloutCallback):
    """``inspector``, a picture: the right solution of one validation problem, its tokens coloured by some quantities.

    It is the same problem throughout, so that TensorBoard's slider shows where the policy moves. Certainty, and with it the
    prioritized weight, stays the same there: it is the frozen reference's.

    :param pretrained_digits: N
    :param extra: k, of the N+k problem to look at
    :param every: rollouts between two pictures
    :param colours: the quantities, a panel each
    """

    def __init__(self, pretrained_digits: int, extra: int, every: int = 10, colours: Sequence[Colour] = ("kl", "weight")):
        super().__init__(every)
        self.pretrained_digits, self.colours = pretrained_digits, colours
        (self.problem,) = Kind(extra).problems(pretrained_digits, 1, seed=0, split="validation")

    def act(self) -> None:
        certainty = ReferenceCertainty(self.agent.certainty, self.agent.certainty_temperature)
        tokens = complete(self.policy, self.problem)
        weighting = self.agent.weighting.kl
        inspection = inspect(self.policy, self.problem, tokens, self.pretrained_digits, weighting, certainty)
        self.record_figure("inspector", draw_inspection(inspection, self.colours))
