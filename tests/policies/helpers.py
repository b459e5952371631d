"""A toy model that is far from deterministic."""

import torch
from transformers import GPT2LMHeadModel

from policies.gpt2 import build_gpt2, gpt2_config

VOCAB_SIZE = 7


def random_model(max_tokens: int) -> GPT2LMHeadModel:
    torch.manual_seed(1)
    model = build_gpt2(gpt2_config(VOCAB_SIZE, max_tokens, n_layer=2, n_head=2, n_embd=8, pad_token_id=0))
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.3 * torch.randn_like(parameter))  # far from the near-uniform start
    return model
