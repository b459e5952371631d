"""What a fine-tuning run shows in TensorBoard besides the algorithm's own numbers."""

from collections.abc import Sequence

import torch
from matplotlib.figure import Figure
from rich.console import Console
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.logger import Figure as LoggedFigure
from stable_baselines3.common.logger import TensorBoardOutputFormat

from agents import PrioritizedKLPPO
from agents.diagnostics import over_position
from policies import GPT2Policy
from policies.policy import entropy
from train.measure.accuracy import evaluate, held_out_problems
from train.measure.solve import critical_probabilities, solve


class RolloutCallback(BaseCallback):
    """Does something every ``every`` rollouts, before the update; the first time before the first update."""

    def __init__(self, every: int):
        super().__init__()
        self.every = every

    def _on_step(self) -> bool:
        return True

    def _on_rollout_end(self) -> None:
        if self.updates % self.every == 0:
            self.act()

    def act(self) -> None:
        """What is done."""
        raise NotImplementedError

    @property
    def updates(self) -> int:
        """How many rollouts have been learnt from."""
        return updates_of(self.model)

    @property
    def policy(self) -> GPT2Policy:
        """The policy in training."""
        policy = self.model.policy
        assert isinstance(policy, GPT2Policy)
        return policy


def updates_of(agent: BaseAlgorithm) -> int:
    """How many rollouts an agent has learnt from; a saved agent knows it too."""
    assert isinstance(agent, PrioritizedKLPPO)
    return agent._n_updates // agent.n_epochs


class AccuracyCallback(RolloutCallback):
    """``eval/accuracy_<=N``, ``eval/accuracy_N+1``, ...: greedy accuracy on held-out problems.

    :param digits: N
    :param extras: which k of N+k; 0 is up to N
    :param problems: of each kind
    :param every: rollouts between two evaluations
    :param seed: of the problems
    :param console: where to print a line for each evaluation
    """

    def __init__(
        self, digits: int, extras: Sequence[int], problems: int, every: int, seed: int = 0, console: Console | None = None
    ):
        super().__init__(every)
        self.digits, self.extras, self.problems, self.seed, self.console = digits, extras, problems, seed, console

    def act(self) -> None:
        accuracies = evaluate(self.policy, self.digits, self.problems, self.seed, extras=self.extras)
        for accuracy in accuracies:
            self.logger.record(f"eval/accuracy_{accuracy.problems}", accuracy.value)
        if self.console:
            found = "  ".join(f"{accuracy.problems} {accuracy.value:4.0%}" for accuracy in accuracies)
            self.console.print(f"rollout {self.updates + 1:4d}  accuracy  {found}")


class CriticalTokenCallback(RolloutCallback):
    """``critical/...``: probability of the right token at each critical position, and the mean over them.

    :param digits: N
    :param extra: k, of the N+k problems to look at
    :param problems: how many
    :param every: rollouts between two looks
    """

    def __init__(self, digits: int, extra: int, problems: int = 32, every: int = 1):
        super().__init__(every)
        self.digits = digits
        self.held_out = held_out_problems(digits, extra, problems, seed=0)

    def act(self) -> None:
        probabilities = critical_probabilities(self.policy, self.held_out, self.digits)
        for (line, operand, kind), probability in probabilities.items():
            self.logger.record(f"critical/line{line}_operand{operand}_{kind}", probability)
        self.logger.record("critical/mean", sum(probabilities.values()) / len(probabilities))


class SampleCallback(RolloutCallback):
    """``samples``: a few completions as text, with the first wrong token marked.

    :param digits: N
    :param extra: k, of the N+k problems to solve
    :param problems: how many
    :param every: rollouts between two looks
    """

    def __init__(self, digits: int, extra: int, problems: int = 4, every: int = 10):
        super().__init__(every)
        self.held_out = held_out_problems(digits, extra, problems, seed=0)

    def act(self) -> None:
        texts = []
        for info in solve(self.policy, self.held_out):
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


class PositionCallback(BaseCallback):
    """``position``, a picture: KL to the reference, entropy and weight of the KL over the position in the completion.

    It shows a rollout as the update that followed saw it: means over the episodes that reach a position.

    :param every: rollouts between two pictures
    """

    def __init__(self, every: int = 10):
        super().__init__()
        self.every = every

    def _on_step(self) -> bool:
        return True

    def _on_rollout_start(self) -> None:
        if (updates_of(self.model) - 1) % self.every == 0:
            self.draw()

    def _on_training_end(self) -> None:
        self.draw()

    def draw(self) -> None:
        """The last rollout."""
        assert isinstance(self.model, PrioritizedKLPPO)
        buffer = self.model.rollout_buffer
        if not buffer.mask.any():
            return
        tokens = buffer.token_batch(self.model.policy.temperature)
        quantities = {
            "KL to the reference (nats)": tokens.kl,
            "entropy of the policy (nats)": entropy(tokens.old_log_probs),
            "weight of the KL": torch.as_tensor(buffer.weights["kl"], device=tokens.mask.device),
        }
        figure = Figure(figsize=(8, 6), layout="constrained")
        for axes, (label, values) in zip(figure.subplots(3, sharex=True), quantities.items(), strict=True):
            axes.plot(over_position(tokens, values).cpu().numpy(), linewidth=0.8)
            axes.set_ylabel(label)
        axes.set_xlabel("position in the completion (tokens)")
        self.logger.record("position", LoggedFigure(figure, close=False), exclude=("stdout", "log", "json", "csv"))
