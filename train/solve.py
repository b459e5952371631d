"""Let a policy solve given problems, and look at how it reads given solutions."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from addition_gym import PAD_TOKEN_ID, ScratchpadAddVectorEnv, encode, prompt, solution
from addition_gym.scratchpad import critical_tokens
from policies import GPT2Policy
from policies.kv_cache import KVCache

Problem = tuple[int, int]


def solve(
    policy: GPT2Policy, problems: Sequence[Problem], deterministic: bool = True, n_lanes: int = 64
) -> list[dict[str, Any]]:
    """Write a completion for every problem.

    :param policy: decodes in eval mode
    :param problems: pairs of operands
    :param deterministic: the most probable token (greedy), or a sample
    :param n_lanes: how many are solved at a time
    :return: the environment's final ``info`` of each problem, in order
    """
    policy.set_training_mode(False)
    infos: list[dict[str, Any]] = []
    for start in range(0, len(problems), n_lanes):
        infos += _solve_at_once(policy, problems[start : start + n_lanes], deterministic)
    return infos


def _solve_at_once(policy: GPT2Policy, problems: Sequence[Problem], deterministic: bool) -> list[dict[str, Any]]:
    n = len(problems)
    digits = max(len(str(operand)) for problem in problems for operand in problem)
    env = ScratchpadAddVectorEnv(n, digits=digits, distribution="identical")
    cache = KVCache(policy.language_model.transformer, n, env.max_tokens)
    infos: list[dict[str, Any]] = [{} for _ in problems]
    active = np.ones(n, dtype=np.bool_)
    obs, _ = env.reset(options={"operands": list(problems)})
    while active.any():
        obs_tensor = torch.as_tensor(obs, device=policy.device)
        actions = policy.decode(obs_tensor, cache, deterministic, torch.as_tensor(active, device=policy.device))[0]
        obs, _, terminations, _, step_infos = env.step(np.where(active, actions.cpu().numpy(), PAD_TOKEN_ID + 1))
        for lane in np.flatnonzero(terminations & active):
            infos[lane] = {key: values[lane] for key, values in step_infos["final_info"].items() if key[0] != "_"}
        active &= ~terminations
    return infos


@torch.no_grad()
def critical_probabilities(
    policy: GPT2Policy, problems: Sequence[Problem], pretrained_digits: int
) -> dict[tuple[int, int, str], float]:
    """Probability of the right token at every critical position, given the right text before it.

    :param policy: reads the solutions in one forward each
    :param problems: pairs of operands, some longer than ``pretrained_digits``
    :param pretrained_digits: N
    :return: mean probability by ``(line, operand, kind)`` of :class:`addition_gym.scratchpad.CriticalToken`
    """
    gathered: dict[tuple[int, int, str], list[float]] = {}
    for a, b in problems:
        question, worked = encode(prompt(a, b)), encode(solution(a, b))
        text = torch.as_tensor(np.concatenate([question, worked]), device=policy.device)[None]
        mask = torch.ones_like(text, dtype=torch.bool)
        log_probs = policy.evaluate_sequences(text, mask)[0]  # (T, V)
        for token in critical_tokens(a, b, pretrained_digits):
            index = len(question) + token.position
            probability = log_probs[index - 1, text[0, index]].exp().item()
            gathered.setdefault((token.line, token.operand, token.kind), []).append(probability)
    return {key: float(np.mean(values)) for key, values in sorted(gathered.items())}
