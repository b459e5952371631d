"""Gymnasium's wrappers around the task: which ones apply, and why NormalizeObservation does not.

Run it, in full or in short:

    python examples/gymnasium_wrappers.py
    python examples/gymnasium_wrappers.py --operands 9 9
"""

from typing import Any

import gymnasium as gym
import numpy as np
import tyro
from gymnasium.wrappers import NormalizeObservation, RecordEpisodeStatistics, TimeLimit, TransformObservation

import addition_gym


def main(operands: tuple[int, int] = (345, 67)) -> dict[str, Any]:
    """Write the right solution through each wrapper.

    :param operands: the two numbers to add
    """
    problem = {"operands": operands}
    solution = addition_gym.encode(addition_gym.solution(*operands))

    # RecordEpisodeStatistics adds the return, the length and the seconds of an episode to its last info.
    env: gym.Env = RecordEpisodeStatistics(gym.make("ScratchpadAdd-v0"))
    env.reset(seed=0, options=problem)
    for token in solution:
        *_, info = env.step(token)
    episode = info["episode"]
    print(f"{operands[0]}+{operands[1]} = {info['answer']}: return {episode['r']}, {episode['l']} tokens")

    # Wrappers stack. TimeLimit truncates; the task's own budget, max_tokens, terminates: to run out of it is a wrong answer.
    env = RecordEpisodeStatistics(TimeLimit(gym.make("ScratchpadAdd-v0"), max_episode_steps=len(solution) // 2))
    env.reset(seed=0, options=problem)
    for token in solution:
        _, _, terminated, truncated, info = env.step(token)
        if terminated or truncated:
            break
    print(f"With a time limit: truncated = {truncated} after {info['episode']['l']} tokens")

    # NormalizeObservation runs, but token ids are names, not quantities: it makes floats of them that drift with its running
    # mean, so that one and the same text looks different each time. GPT2Policy refuses such observations.
    env = NormalizeObservation(gym.make("ScratchpadAdd-v0"))
    first, _ = env.reset(options=problem)
    env.step(solution[0])
    second, _ = env.reset(options=problem)
    drift = float(np.abs(first - second).max())
    print(f"NormalizeObservation: the same prompt, one token later, differs by up to {drift:.2f}")

    # What a network that is no language model wants is one-hot tokens.
    one_hot = gym.spaces.Box(0.0, 1.0, (env.observation_space.shape[0], addition_gym.VOCAB_SIZE))
    identity = np.eye(addition_gym.VOCAB_SIZE, dtype=np.float32)
    env = TransformObservation(gym.make("ScratchpadAdd-v0"), lambda tokens: identity[tokens], one_hot)
    obs, _ = env.reset(options=problem)
    print(f"One-hot tokens: {obs.shape}, which read {addition_gym.decode(obs.argmax(axis=1))!r}")
    return {
        "episode": episode,
        "truncated": truncated,
        "truncated_episode": info["episode"],
        "drift": drift,
        "one_hot": obs,
    }


if __name__ == "__main__":
    tyro.cli(main, description=__doc__)
