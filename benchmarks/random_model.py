"""A model with random weights that writes until the token budget is spent."""

from pathlib import Path

import torch

from addition_gym import PAD_TOKEN_ID, VOCAB_SIZE
from addition_gym.tasks.addition import default_max_tokens
from policies.gpt2 import build_gpt2, gpt2_config
from policies.model_files import save_gpt2


def save_random_model(folder: Path, digits: int, n_layer: int = 3, n_head: int = 4, n_embd: int = 128) -> None:
    """Write a model for problems of up to ``digits`` digits, in Hugging Face format.

    A normalised hidden state sums to 0, so with a bias of 1 its product with a row of -1 is always ``-n_embd``: padding, which
    would end an episode, is never sampled.
    """
    torch.manual_seed(0)
    model = build_gpt2(gpt2_config(VOCAB_SIZE, default_max_tokens(digits), n_layer, n_head, n_embd, PAD_TOKEN_ID))
    with torch.no_grad():
        model.transformer.ln_f.bias.fill_(1.0)
        model.lm_head.weight[PAD_TOKEN_ID] = -1.0
    save_gpt2(model, folder)
