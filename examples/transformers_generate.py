"""Our export in plain transformers: model.generate writes a solution, and the environment judges it.

Run it:

    python -m train.export --output runs/export      # the bundled model; --model takes a run folder or a saved agent
    python examples/transformers_generate.py --folder runs/export
"""

from pathlib import Path
from typing import Any

import gymnasium as gym
import tyro
from transformers import AutoModelForCausalLM, AutoTokenizer

import addition_gym


def main(folder: Path = Path("runs/export"), operands: tuple[int, int] = (345, 67)) -> dict[str, Any]:
    """Generate greedily and step through the environment.

    :param folder: what ``python -m train.export`` wrote
    :param operands: the two numbers to add
    """
    tokenizer, model = AutoTokenizer.from_pretrained(folder), AutoModelForCausalLM.from_pretrained(folder)
    prompt = tokenizer(addition_gym.prompt(*operands), return_tensors="pt")
    length = prompt["input_ids"].shape[1]

    env = gym.make("ScratchpadAdd-v0")
    obs, info = env.reset(seed=0, options={"operands": operands})
    assert obs[:length].tolist() == prompt["input_ids"][0].tolist(), "the export spells as the environment does"

    # The export says where generate stops: after the answer, or at the budget. The last token is the end, as padding is here.
    text = model.generate(**prompt, max_length=len(obs))[0]
    for token in text[length:].tolist():
        _, reward, terminated, _, info = env.step(token)
        if terminated:
            break
    print(f"{info['text']}\nreward {reward}: the answer is {info['answer']!r}, expected {info['expected']!r}")
    return info


if __name__ == "__main__":
    tyro.cli(main, description=__doc__)
