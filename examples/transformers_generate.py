"""Our export in plain transformers: model.generate writes a solution, and the environment judges it.

Run it:

    python -m train.export --output runs/export      # the bundled model; --model takes a run folder or a saved agent
    python examples/transformers_generate.py --folder runs/export
"""

import json
from pathlib import Path
from typing import Any

import gymnasium as gym
import torch
import tyro
from transformers import GPT2LMHeadModel

import addition_gym


def main(folder: Path = Path("runs/export"), operands: tuple[int, int] = (345, 67)) -> dict[str, Any]:
    """Generate greedily and step through the environment.

    :param folder: what ``python -m train.export`` wrote
    :param operands: the two numbers to add
    """
    model = GPT2LMHeadModel.from_pretrained(folder)
    ids = json.loads((folder / "vocab.json").read_text(encoding="utf-8"))  # one token a character
    prompt = [ids[character] for character in addition_gym.prompt(*operands)]

    env = gym.make("ScratchpadAdd-v0")
    obs, info = env.reset(seed=0, options={"operands": operands})
    assert obs[: len(prompt)].tolist() == prompt, "the export spells as the environment does"

    # There is no end-of-text token: generate up to the budget, and let the environment say where the answer ends.
    budget = len(obs) - len(prompt)
    text = model.generate(torch.tensor([prompt]), do_sample=False, max_new_tokens=budget, pad_token_id=ids["<pad>"])[0]
    for token in text[len(prompt) :].tolist():
        _, reward, terminated, _, info = env.step(token)
        if terminated:
            break
    print(f"{info['text']}\nreward {reward}: the answer is {info['answer']!r}, expected {info['expected']!r}")
    return info


if __name__ == "__main__":
    tyro.cli(main, description=__doc__)
