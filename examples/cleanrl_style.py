"""The prioritized KL penalty on one page: REINFORCE with a plain transformers GPT-2, in CleanRL's style.

No Stable-Baselines3 and nothing of our agent. By default it sharpens the longest numbers of the pre-training.

Run it, in full or in short:

    python examples/cleanrl_style.py
    python examples/cleanrl_style.py --digits 1 --iterations 2 --num-envs 4
"""

import copy
import math

import gymnasium as gym
import numpy as np
import torch
import tyro
from torch.distributions import Categorical
from transformers import GPT2LMHeadModel

from addition_gym import PAD_TOKEN_ID, VOCAB_SIZE
from policies.model_files import TINY  # a folder in Hugging Face format


def main(
    digits: int = 5,
    iterations: int = 20,
    num_envs: int = 32,
    learning_rate: float = 1e-4,
    kl_coef: float = 2.0,
    kl_exponent: float = 150.0,
    seed: int = 0,
) -> list[dict[str, float]]:
    """Train. :return: accuracy, and KL to the reference in nats per episode, of every iteration"""
    torch.manual_seed(seed)
    # Operands of one length make prompts of one length, so all lanes share a plain key-value cache.
    envs = gym.make_vec("ScratchpadAdd-v0", num_envs=num_envs, digits=digits, distribution="identical", split="train")
    model = GPT2LMHeadModel.from_pretrained(TINY)
    reference = copy.deepcopy(model)
    optimizer = torch.optim.Adam(model.parameters(), lr=learning_rate)
    history = []
    for iteration in range(iterations):
        # One whole episode a lane. A lane that is done starts another one; what it writes there is not used.
        obs, _ = envs.reset(seed=seed if iteration == 0 else None)
        start = length = int((obs[0] != PAD_TOKEN_ID).sum())
        texts, lengths, returns = np.zeros_like(obs), np.zeros(num_envs, np.int64), np.zeros(num_envs)
        tokens, cache = torch.from_numpy(obs[:, :start]), None
        while not lengths.all():
            with torch.no_grad():
                out = model(tokens, past_key_values=cache, use_cache=True)
            actions, cache = Categorical(logits=out.logits[:, -1]).sample(), out.past_key_values
            _, rewards, terminations, _, infos = envs.step(actions.numpy())
            tokens, length = actions[:, None], length + 1
            for lane in np.flatnonzero(terminations & (lengths == 0)):
                texts[lane], lengths[lane], returns[lane] = infos["final_obs"][lane], length, rewards[lane]

        text = torch.from_numpy(texts[:, : lengths.max()])  # (B, T), padded right
        position = torch.arange(1, text.shape[1])
        written = (position >= start) & (position < torch.from_numpy(lengths)[:, None])  # (B, T - 1)
        mask = torch.ones_like(text[:, :-1])  # a causal model needs none, but transformers asks for it
        log_probs = model(text[:, :-1], attention_mask=mask).logits.log_softmax(-1)  # (B, T - 1, V)
        with torch.no_grad():
            reference_log_probs = reference(text[:, :-1], attention_mask=mask).logits.log_softmax(-1)
        log_prob = log_probs.gather(-1, text[:, 1:, None])[..., 0]
        advantage = torch.from_numpy((returns - returns.mean()) / (returns.std() + 1e-8)).float()[:, None]
        certainty = 1 + (reference_log_probs.exp() * reference_log_probs).sum(-1) / math.log(VOCAB_SIZE)  # Eq. 2: J(s)
        kl = (log_probs.exp() * (log_probs - reference_log_probs)).sum(-1)
        loss = (-advantage * log_prob + kl_coef * certainty**kl_exponent * kl)[written].mean()
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 0.5)
        optimizer.step()
        history.append({"accuracy": float(returns.mean()), "kl": float(kl[written].detach().sum() / num_envs)})
        print(f"{iteration:3}: " + ", ".join(f"{name} {value:.3f}" for name, value in history[-1].items()))
    return history


if __name__ == "__main__":
    tyro.cli(main, description=__doc__)
