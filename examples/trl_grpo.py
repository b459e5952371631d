"""TRL's GRPO on an export: groups of completions of one problem, the environment's reward, and a KL penalty.

Two things are not TRL's own. GPT-2 counts positions from the left edge of a batch, so prompts padded on the left need
position_ids. And the end token after an answer is the export's choice, not the model's, so it is not learned from.

Run it, in full or in short; it needs the extra trl:

    python -m train.export --output runs/export
    python examples/trl_grpo.py --folder runs/export --output runs/grpo
    python examples/trl_grpo.py --folder runs/export --output runs/grpo --digits 2 --episodes 16 --eval-problems 4
"""

from pathlib import Path
from typing import Any

import numpy as np
import torch
import tyro
from datasets import Dataset
from transformers import AutoModelForCausalLM, AutoTokenizer
from trl import GRPOConfig, GRPOTrainer

from addition_gym import prompt
from addition_gym.problems import ProblemSampler
from addition_gym.scratchpad import is_correct, longest_text
from train.measure.accuracy import Kind, evaluate
from train.run.models import Model


def add_positions(module: torch.nn.Module, args: tuple, kwargs: dict[str, Any]) -> tuple[tuple, dict[str, Any]]:
    """Before a forward pass: the positions of left-padded texts. Generation brings its own."""
    if kwargs.get("position_ids") is None and (mask := kwargs.get("attention_mask")) is not None:
        kwargs["position_ids"] = (mask.cumsum(-1) - 1).clamp(min=0)
    return args, kwargs


def reward(completions: list[str], a: list[int], b: list[int], **_: Any) -> list[float]:
    """The environment's: 1 if the result line is right."""
    return [float(is_correct(*episode)) for episode in zip(completions, a, b, strict=True)]


def main(
    folder: Path = Path("runs/export"),
    output: Path = Path("runs/grpo"),
    digits: int = 6,
    episodes: int = 640,
    learning_rate: float = 1e-4,
    beta: float = 0.05,
    eval_problems: int = 500,
    seed: int = 0,
) -> tuple[GRPOTrainer, float, float]:
    """Train, and compare greedy accuracy on held-out problems before and after.

    :param folder: what ``python -m train.export`` wrote
    :param output: where the trained model goes; ``--model`` and ``--pretrained`` take it
    :param digits: of the longest operand; the bundled model was pre-trained on up to 5
    :param episodes: completions to train on, 8 of each problem
    :param beta: coefficient of the KL penalty
    """
    sampler, rng = ProblemSampler(digits, pretrained_digits=digits - 1, split="train"), np.random.default_rng(seed)
    rows = [{"prompt": prompt(a, b), "a": a, "b": b} for a, b in (sampler.sample(rng) for _ in range(episodes // 8))]
    tokenizer, model = AutoTokenizer.from_pretrained(folder), AutoModelForCausalLM.from_pretrained(folder)

    def complete(prompts: list[str], trainer: GRPOTrainer) -> dict[str, Any]:
        batch = tokenizer(prompts, padding=True, return_tensors="pt")
        start = batch["input_ids"].shape[1]
        with torch.no_grad():
            written = trainer.model.generate(**batch, do_sample=True, max_length=longest_text(digits) + 16)[:, start:]
        completions = [row[row != tokenizer.pad_token_id].tolist() for row in written]
        return {"prompt_ids": tokenizer(prompts)["input_ids"], "completion_ids": completions, "logprobs": None}

    batches = dict(per_device_train_batch_size=8, num_generations=8, steps_per_generation=min(8, len(rows)))
    training = dict(learning_rate=learning_rate, beta=beta, num_train_epochs=1, seed=seed)
    plain = dict(use_cpu=True, bf16=False, activation_checkpointing=False, save_strategy="no", report_to="none")
    config = GRPOConfig(str(output), **batches, **training, **plain)
    trainer = GRPOTrainer(model, reward, config, Dataset.from_list(rows), processing_class=tokenizer, rollout_func=complete)
    for part in (trainer.model, trainer.ref_model):
        part.register_forward_pre_hook(add_positions, with_kwargs=True)
    trainer.train()
    trainer.save_model(str(output))
    found = [evaluate(Model.find(path).load(), Kind(1), digits - 1, eval_problems, seed) for path in (folder, output)]
    before, after = (evaluation.accuracy for evaluation in found)
    print(f"N+1, greedy: {before} before, {after} after")
    return trainer, before.value, after.value


if __name__ == "__main__":
    tyro.cli(main, description=__doc__)
