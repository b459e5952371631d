"""What a policy and its reference make of every token of a completion, and the scales on which it is coloured."""

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from addition_gym import PAD_TOKEN_ID
from addition_gym.tasks import Task
from addition_gym.tasks.addition import Addition
from agents.weighting.signals import ReferenceCertainty
from agents.weighting.token_batch import TokenBatch
from agents.weighting.weightings import Weighting
from policies import GPT2Policy
from policies.policy import entropy
from train.measure.choices import Colour, Completion
from train.measure.solve import budget, solve

Floats = npt.NDArray[np.float32]

ADDITION = Addition()


@dataclass(frozen=True)
class Quantity:
    """A number that every token has, and its colours: none at ``plain``, growing to full orange and, some, to full blue."""

    label: str
    meaning: str
    plain: float
    orange: float | None = None
    blue: float | None = None

    def shade(self, value: float) -> float:
        """From 0 (no colour) to 1 (full orange, also beyond it) or to -1 (full blue, also beyond it)."""
        for end, sign in ((self.orange, 1), (self.blue, -1)):
            if end is not None and (share := (value - self.plain) / (end - self.plain)) > 0:
                return sign * min(share, 1.0)
        return 0.0


QUANTITIES: dict[Colour, Quantity] = {
    "certainty": Quantity("certainty", "J(s) of the reference: 1 is sure", plain=1, orange=0.5),
    "entropy": Quantity("entropy", "of the policy's next token, in nats", plain=0, orange=1.5),
    "surprisal": Quantity("surprisal", "-log of the policy's probability of this token, in nats", plain=0, orange=3),
    "kl": Quantity("KL", "exact KL(policy || reference) of the next token, in nats", plain=0, orange=1),
    "weight": Quantity("weight", "of the KL penalty: 0 sets the policy free", plain=1, orange=0),
    "value": Quantity("value", "V(s), the reward that the critic expects", plain=0, blue=1),
    "advantage": Quantity("advantage", "reward (1 right, 0 wrong) minus value", plain=0, orange=-1, blue=1),
}

OF_AGENTS: tuple[Colour, ...] = ("kl", "value", "advantage")
"""A pre-trained model is its own reference and has no critic yet."""

ORANGE, BLUE = (247, 103, 7), (77, 171, 247)
"""Full colours, for black letters; the colour-blind tell them apart."""


def rgb(shade: float) -> tuple[int, int, int]:
    """White (0) mixed with orange (to 1) or blue (to -1); black letters are legible on all of it."""
    full = ORANGE if shade > 0 else BLUE
    red, green, blue = (round(255 + abs(shade) * (channel - 255)) for channel in full)
    return red, green, blue


@dataclass(frozen=True)
class Inspection:
    """A completion of T tokens over a vocabulary of size V. Position t is the state before a token, and that token."""

    problem: Any
    """A pair of operands, or a problem of the task."""
    tokens: npt.NDArray[np.int64]
    """``(T,)``; the last one is padding if the model ended its completion with it."""
    log_probs: Floats
    """log pi(.|s), ``(T, V)``."""
    reference_log_probs: Floats
    """log pi_ref(.|s), ``(T, V)``."""
    quantities: dict[Colour, Floats]
    """Each ``(T,)``."""
    critical: frozenset[int]
    """Positions of the critical tokens, as far as the completion is right before them."""
    task: Task = ADDITION

    @cached_property
    def text(self) -> str:
        """The completion without padding."""
        return self.task.vocabulary.decode(self.tokens)

    @property
    def is_success(self) -> bool:
        """Whether the answer is right."""
        return self.task.is_correct(self.text, self.problem)

    @property
    def first_error(self) -> int:
        """Position of the first token that differs from the right text, T if the budget ends before one, or -1."""
        return self.task.first_error(self.text, self.problem)

    @property
    def verdict(self) -> str:
        """One line: right or wrong, and where it goes wrong."""
        judged = f"{'right' if self.is_success else 'wrong'}, answer {self.task.answer(self.text) or 'none'}"
        error, right = self.first_error, self.task.right_text(self.text, self.problem)
        if error < 0:
            return judged
        if error == len(self.tokens):
            return f"{judged}; out of budget after {error} tokens"
        given = self.task.vocabulary.decode(self.tokens[[error]])
        return f"{judged}; first error at token {error}: {given!r} where {right[error]!r} is right"


def complete(
    policy: GPT2Policy, problem: Any, completion: Completion = "solution", task: Task = ADDITION
) -> npt.NDArray[np.int64]:
    """The tokens to look at, without the prompt; padding that ends a completion is one of them.

    :param policy: writes the completion, unless that is the solution
    :param problem: the operands, or a problem of the task
    :param completion: the right solution, or what the policy writes with the most probable tokens or with a sample
    :return: int64 ``(T,)``
    :raises ValueError: if the problem does not fit into the model's position table
    """
    n_positions = int(policy.language_model.config.n_positions)
    prompt, solution = task.prompt(problem), task.solution(problem)
    needed = len(prompt + solution) if completion == "solution" else budget([problem], task)
    if needed > n_positions:
        named = "operands a and b" if isinstance(task, Addition) else "problem"
        raise ValueError(
            f"{named} must have a {completion} completion within the model's {n_positions} positions, but {task.key(problem)} "
            f"needs {needed}: choose a smaller one"
        )
    if completion == "solution":
        return task.vocabulary.encode(solution)
    text = solve(policy, [problem], deterministic=completion == "greedy", task=task)[0]["text"]
    ended_by_padding = task.answer(text[len(prompt) :]) is None and len(text) < budget([problem], task)
    tokens = task.vocabulary.encode(text[len(prompt) :])
    return np.append(tokens, PAD_TOKEN_ID) if ended_by_padding else tokens


@torch.no_grad()
def inspect(
    policy: GPT2Policy,
    problem: Any,
    tokens: npt.NDArray[np.int64],
    pretrained_digits: int,
    weighting: Weighting,
    certainty: ReferenceCertainty,
    task: Task | None = None,
) -> Inspection:
    """Read a completion once with the policy and once with its reference.

    Whatever a weighting takes from a whole rollout, such as its mean, it takes here from this completion.

    :param policy: with its reference
    :param problem: the operands, or a problem of the task
    :param tokens: the completion, from :func:`complete`
    :param pretrained_digits: N, which says what is critical
    :param weighting: of the KL penalty
    :param certainty: of the reference
    :param task: addition by default, of a model that was pre-trained on ``pretrained_digits``
    """
    task = task or Addition(pretrained_digits, "up_to", pretrained_digits)
    question = task.vocabulary.encode(task.prompt(problem))
    text = torch.as_tensor(np.concatenate([question, tokens]), device=policy.device)[None]
    actions = text[:, len(question) :]  # (1, T)
    mask = torch.zeros_like(text, dtype=torch.bool)
    mask[0, len(question) - 1 : -1] = True
    log_probs, values = policy.evaluate_sequences(text, mask)  # (T, V), (T,)
    written = task.vocabulary.decode(tokens)
    error = task.first_error(written, problem)
    right_until = len(tokens) if error < 0 else error + 1
    critical = {position for position in task.critical_tokens(problem) if position < right_until}
    advantages = float(task.is_correct(written, problem)) - values
    batch = TokenBatch(
        old_logits=log_probs[None] * policy.temperature,
        old_log_prob=log_probs.gather(1, actions.mT).mT,
        reference_logits=policy.reference_logits(text, mask)[None],
        actions=actions,
        advantages=advantages[None],
        mask=torch.ones_like(actions, dtype=torch.bool),
        critical_tokens=torch.tensor([[position in critical for position in range(len(tokens))]], device=text.device),
        temperature=policy.temperature,
    )
    quantities: dict[Colour, torch.Tensor] = {
        "certainty": certainty(batch)[0],
        "entropy": entropy(log_probs),
        "surprisal": -batch.old_log_prob[0],
        "kl": batch.kl[0],
        "weight": weighting(batch)[0],
        "value": values,
        "advantage": advantages,
    }
    return Inspection(
        problem,
        tokens,
        log_probs.cpu().numpy(),
        batch.reference_log_probs[0].cpu().numpy(),
        {name: quantity.cpu().numpy() for name, quantity in quantities.items()},
        frozenset(critical),
        task,
    )
