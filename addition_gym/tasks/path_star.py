"""``PathStar-v0``: a star graph with shuffled edges, and the arm of it that leads to the goal."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Self

import numpy as np

from addition_gym.checks import shown, whole
from addition_gym.tasks.task import Task
from addition_gym.vocabulary import Vocabulary

NAMES = "abcdefghijklmnopqrstuvwxyz"
_PROBLEM = re.compile(r"((?:[a-z]{2},)*[a-z]{2})>([a-z]):([a-z])")


@dataclass(frozen=True)
class PathStar(Task):
    """The way from the centre of a star to its goal. One choice among the arms, then copying.

    ## Description
    A star has a centre and a few arms, all of one length. The prompt lists its edges in random order, each as the names of the
    two nodes from the centre outwards, then the goal and, last, the centre: ``ab,ca,de,cd>e:c`` asks for the way from c to e.
    The completion is the nodes on it after the centre, ``de``, and a line break.

    Every node but the first is copied: it stands behind the one before it in some edge. The first is a choice among the
    neighbours of the centre, and needs a walk back from the goal. How long that is decides how hard a graph is, so a size is a
    length of arms; their number only says how often a guess is right.

    Pre-training shows arms of all lengths. A model that has learnt to copy is left with one token a text to learn the search
    from. Until it does, it guesses, and its certainty of this token is 1 - log(``arms``) / log(V), V = 31 tokens. Graphs whose
    goal is at most N steps away are easy, and a share of them gives fine-tuning a foothold.

    ## Action Space
    ``Discrete(31)``: the next token, one of a to z, ``,``, ``>``, ``:`` and the line break, or padding, which ends the episode.
    Every token is legal in every state. ``PathStar.vocabulary`` encodes and decodes.

    ## Observation Space
    ``Box(0, 30, (max_tokens,), int64)``: prompt and completion so far, padded on the right with 0.

    ## Starting State
    The prompt of a star whose arms have a length drawn from ``distribution``; its names and the order of its edges are random.
    The goal is the end of an arm, or in a share ``easy_share`` of the graphs a node 1 to N steps from the centre, uniformly.
    ``reset(options={"problem": "ab,ca,de,cd>e:c"})`` sets the prompt; ``"completion": "d"`` beside it starts after the choice.

    ## Rewards
    0 until the end; then 1 for the whole way to the goal, otherwise 0 (``reward="binary"``) or -1 (``reward="signed"``).

    ## Episode End
    The episode terminates at the first line break, on padding, or when ``max_tokens`` are written.

    ## Information
    ``reset`` returns ``problem``. The last step of an episode returns what :class:`addition_gym.env.TokenEnv` says, where

    - ``critical_tokens`` is the index of the completion's first token, the choice of the arm
    - ``problem_class`` is the number of steps from the centre to the goal

    ## Arguments
    - ``size``, ``distribution``, ``pretrained_size`` (N), ``split``: see :class:`addition_gym.tasks.task.Task`; size at most 6
    - ``arms``: how many, 2 to 4
    - ``easy_share``: of the graphs, 0 to 1, in pre-training too
    - ``reward``, ``max_tokens``, ``render_mode``: see :class:`addition_gym.env.TokenEnv`

    ## References
    - Bachmann, Nagarajan (2024), "The Pitfalls of Next-Token Prediction", arXiv:2403.06963: the task
    - Frydenlund (2025), "Language Models, Graph Searching, and Supervision Adulteration", arXiv:2503.10542: why it is hard
    - Ran-Milo et al. (2026), "Outcome-Based RL Provably Leads Transformers to Reason", arXiv:2601.15158: why easy graphs help

    ## Version History
    * v0: initial version
    """

    vocabulary = Vocabulary(NAMES + ",>:\n")
    max_size: ClassVar[int] = 6

    size: int = 5
    pretrained_size: int = 2
    arms: int = 4
    easy_share: float = 0.2

    def __post_init__(self) -> None:
        super().__post_init__()
        whole("arms", self.arms, 2, "one arm leaves no choice")
        if self.arms > 4:
            raise ValueError(f"arms must be at most 4, since there are 26 names, but it is {shown(self.arms)}: lower it")
        if not 0 <= self.easy_share <= 1:
            raise ValueError(f"easy_share must lie in [0, 1], but it is {shown(self.easy_share)}: pass a share of graphs")

    @property
    def pretraining(self) -> Self:
        return replace(self, distribution="up_to", split="train")

    def draw(self, rng: np.random.Generator, size: int) -> str:
        centre, *names = (NAMES[index] for index in rng.permutation(len(NAMES)))
        arms = [centre + "".join(names[start : start + size]) for start in range(0, self.arms * size, size)]
        edges = [arm[step : step + 2] for arm in arms for step in range(size)]
        steps = int(rng.integers(min(size, self.pretrained_size))) + 1 if rng.random() < self.easy_share else size
        return ",".join(edges[index] for index in rng.permutation(len(edges))) + f">{arms[0][steps]}:{centre}"

    def check(self, problem: Any) -> str:
        if not isinstance(problem, str):
            raise TypeError(f"problem must be a prompt, but it is {shown(problem)}: pass 'ab,ca,de,cd>e:c'")
        edges, centre = problem.partition(">")[0], problem[-1:]
        ends, inner = edges[1::3], edges[::3].replace(centre, "")
        is_star = all(len(set(names)) == len(names) for names in (ends, inner))
        if not is_star or not all(map(_way, [problem, *(f"{edges}>{end}:{centre}" for end in ends)])):
            raise ValueError(f"problem must be a star and a goal in it, but it is {shown(problem)}: pass 'ab,ca,de,cd>e:c'")
        return problem

    def prompt(self, problem: str) -> str:
        return problem

    def solution(self, problem: str) -> str:
        return _way(problem) + "\n"

    @property
    def longest_text(self) -> int:
        return 3 * self.arms * self.size + len(">g:c") + self.size

    def problem_class(self, problem: str) -> str:
        return str(len(_way(problem)))

    def critical_tokens(self, problem: str) -> Sequence[int]:
        return [0]

    def continuation(self, text: str) -> str:
        match = _PROBLEM.match(text)
        if not match or "\n" in text or not (way := _way(match[0])):
            return ""
        edges, goal, _ = match.groups()
        written = text[match.end() :]
        if way.startswith(written):
            return way[len(written) :] + "\n"
        after = dict(zip(edges[::3], edges[1::3], strict=True))
        walk = written[-1]  # an arm that was chosen is taken, right or wrong
        while walk[-1] != goal and walk[-1] in after and len(walk) <= len(after):
            walk += after[walk[-1]]
        return walk[1:] + "\n"


def _way(problem: str) -> str:
    """The nodes from the centre, left out, to the goal; empty if there is no way, or the text is no problem."""
    if not (match := _PROBLEM.fullmatch(problem)):
        return ""
    (edges, node, centre), way = match.groups(), ""
    before = dict(zip(edges[1::3], edges[::3], strict=True))
    while node != centre and node in before and len(way) < len(before):
        node, way = before[node], node + way
    return way if node == centre else ""
