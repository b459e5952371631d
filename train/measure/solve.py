"""Let a policy solve given problems, and look at how it reads given solutions."""

import dataclasses
from collections.abc import Sequence
from itertools import chain
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from addition_gym import PAD_TOKEN_ID, encode, prompt, solution
from addition_gym.scratchpad import critical_tokens
from addition_gym.tasks import Task
from addition_gym.tasks.addition import Addition, default_max_tokens
from addition_gym.tasks.task import MAX_TOKENS_MARGIN
from addition_gym.vector_env import TokenVectorEnv
from policies import GPT2Policy
from train.run.meter import Advance, unseen

Problem = tuple[int, int]


def budget(problems: Sequence[Any], task: Task | None = None) -> int:
    """Tokens of prompt and completion together that :func:`solve` grants: those of the longest, and a margin.

    :param task: addition by default
    """
    if task is not None and not isinstance(task, Addition):
        return max((len(task.prompt(each) + task.solution(each)) for each in problems), default=0) + MAX_TOKENS_MARGIN
    return default_max_tokens(max((len(str(operand)) for problem in problems for operand in problem), default=1))


def solve(
    policy: GPT2Policy,
    problems: Sequence[Any],
    deterministic: bool = True,
    n_lanes: int = 64,
    completions: Sequence[str] | None = None,
    advance: Advance = unseen,
    task: Task | None = None,
) -> list[dict[str, Any]]:
    """Write a completion for every problem. All have the token budget of the longest.

    :param policy: decodes in eval mode
    :param problems: pairs of operands, or problems of the task
    :param deterministic: the most probable token (greedy), or a sample
    :param n_lanes: how many are solved at a time, those with as much to write together
    :param completions: text that is already written, by problem; none by default
    :param advance: is told how many more are solved
    :param task: addition by default
    :return: the environment's final ``info`` of each problem, in order
    """
    policy.set_training_mode(False)
    task = dataclasses.replace(task or Addition(), size=1, distribution="identical")
    max_tokens = budget(problems, task)
    given = [""] * len(problems) if completions is None else completions
    to_write = [len(task.solution(problem)) - len(text) for problem, text in zip(problems, given, strict=True)]
    order = sorted(range(len(problems)), key=to_write.__getitem__)
    infos: list[dict[str, Any]] = [{} for _ in problems]
    for start in range(0, len(problems), n_lanes):
        chosen = order[start : start + n_lanes]
        env = TokenVectorEnv(len(chosen), task, max_tokens=max_tokens)
        start_at = {task.problem_key: [problems[i] for i in chosen], "completion": [given[i] for i in chosen]}
        obs, _ = env.reset(options=start_at)
        for index, info in zip(chosen, _finish(policy, env, obs, deterministic), strict=True):
            infos[index] = info
        advance(len(chosen))
    return infos


def _finish(policy: GPT2Policy, env: TokenVectorEnv, obs: npt.NDArray[np.int64], deterministic: bool) -> list[dict[str, Any]]:
    """The final ``info`` of the episode under way in each lane."""
    cache = policy.make_cache(env.num_envs, env.max_tokens, env.draft, keep_logits=False)
    infos: list[dict[str, Any]] = [{} for _ in range(env.num_envs)]
    lanes = np.arange(env.num_envs)  # row i of the cache writes in lane lanes[i]
    actions = np.zeros(env.num_envs, dtype=np.int64)
    while len(lanes):
        actions[lanes] = policy.decode(obs[lanes], cache, deterministic).actions
        obs, _, terminations, _, step_infos = env.step(actions)
        ended = np.flatnonzero(terminations[lanes])
        actions[lanes[ended]] = PAD_TOKEN_ID + 1  # a lane that is done idles
        for lane in lanes[ended]:
            infos[lane] = {key: values[lane] for key, values in step_infos["final_info"].items() if key[0] != "_"}
        lanes = lanes[cache.drop(ended)]
    return infos


@torch.no_grad()
def critical_probabilities(
    policy: GPT2Policy, problems: Sequence[Problem], pretrained_digits: int, batch_size: int = 8
) -> dict[tuple[int, int, str], float]:
    """Probability of the right token at every critical position, given the right text before it.

    :param policy: reads each solution once
    :param problems: pairs of operands, some longer than ``pretrained_digits``
    :param pretrained_digits: N
    :param batch_size: how many solutions are read at a time
    :return: mean probability by ``(line, operand, kind)`` of :class:`addition_gym.scratchpad.CriticalToken`
    """
    gathered: dict[tuple[int, int, str], list[float]] = {}
    critical = [(problem, found) for problem in problems if (found := critical_tokens(*problem, pretrained_digits))]
    for start in range(0, len(critical), batch_size):
        some = critical[start : start + batch_size]
        states = [[len(prompt(*problem)) + token.position - 1 for token in found] for problem, found in some]
        tokens = np.full((len(some), max(map(max, states)) + 2), PAD_TOKEN_ID)
        mask = np.zeros(tokens.shape, dtype=np.bool_)
        for row, (problem, _) in enumerate(some):
            text = encode(prompt(*problem) + solution(*problem))[: tokens.shape[1]]
            tokens[row, : len(text)] = text
            mask[row, states[row]] = True
        log_probs, _ = policy.evaluate_sequences(*(torch.as_tensor(array, device=policy.device) for array in (tokens, mask)))
        right = torch.as_tensor(tokens[:, 1:][mask[:, :-1]], device=policy.device)
        probabilities = log_probs.gather(1, right[:, None])[:, 0].exp().tolist()
        for token, probability in zip(chain(*(found for _, found in some)), probabilities, strict=True):
            gathered.setdefault((token.line, token.operand, token.kind), []).append(probability)
    return {key: float(np.mean(values)) for key, values in sorted(gathered.items())}
