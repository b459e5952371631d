"""Let a policy solve given problems, and look at how it reads given solutions."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from addition_gym import PAD_TOKEN_ID, ScratchpadAddVectorEnv, encode, prompt, solution
from addition_gym.scratchpad import critical_tokens
from policies import GPT2Policy

Problem = tuple[int, int]


def solve(
    policy: GPT2Policy, problems: Sequence[Problem], deterministic: bool = True, n_lanes: int = 64
) -> list[dict[str, Any]]:
    """Write a completion for every problem. All have the token budget of the longest.

    :param policy: decodes in eval mode
    :param problems: pairs of operands
    :param deterministic: the most probable token (greedy), or a sample
    :param n_lanes: how many are solved at a time, problems of similar length together
    :return: the environment's final ``info`` of each problem, in order
    """
    policy.set_training_mode(False)
    digits = max((len(str(operand)) for problem in problems for operand in problem), default=1)
    by_length = sorted(range(len(problems)), key=lambda index: sum(len(str(operand)) for operand in problems[index]))
    infos: list[dict[str, Any]] = [{} for _ in problems]
    for start in range(0, len(problems), n_lanes):
        chosen = by_length[start : start + n_lanes]
        for index, info in zip(
            chosen, _solve_at_once(policy, [problems[i] for i in chosen], digits, deterministic), strict=True
        ):
            infos[index] = info
    return infos


def _solve_at_once(policy: GPT2Policy, problems: Sequence[Problem], digits: int, deterministic: bool) -> list[dict[str, Any]]:
    env = ScratchpadAddVectorEnv(len(problems), digits=digits, distribution="identical")
    cache = policy.make_cache(len(problems), env.max_tokens)
    infos: list[dict[str, Any]] = [{} for _ in problems]
    lanes = np.arange(len(problems))  # row i of the cache writes in lane lanes[i]
    actions = np.zeros(len(problems), dtype=np.int64)
    obs, _ = env.reset(options={"operands": list(problems)})
    while len(lanes):
        actions[lanes] = policy.decode(obs[lanes], cache, deterministic).actions.cpu().numpy()
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
    texts = [np.concatenate([encode(prompt(a, b)), encode(solution(a, b))]) for a, b in problems]
    gathered: dict[tuple[int, int, str], list[float]] = {}
    for start in range(0, len(texts), batch_size):
        rows = texts[start : start + batch_size]
        tokens = torch.full((len(rows), max(map(len, rows))), PAD_TOKEN_ID)
        for row, text in enumerate(rows):
            tokens[row, : len(text)] = torch.from_numpy(text)
        tokens = tokens.to(policy.device)
        log_probs = policy.evaluate_sequences(tokens, torch.ones_like(tokens, dtype=torch.bool))[0]
        right = log_probs.view(*tokens.shape, -1)[:, :-1].gather(2, tokens[:, 1:, None])[:, :, 0].exp().cpu()  # (B, T - 1)
        for row, (a, b) in enumerate(problems[start : start + batch_size]):
            for token in critical_tokens(a, b, pretrained_digits):
                probability = right[row, len(prompt(a, b)) + token.position - 1].item()
                gathered.setdefault((token.line, token.operand, token.kind), []).append(probability)
    return {key: float(np.mean(values)) for key, values in sorted(gathered.items())}
