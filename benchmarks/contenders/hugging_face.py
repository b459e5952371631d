"""``transformers`` as others use it for this: ``generate`` with its cache, then a padded forward and backward."""

import numpy as np
import torch
import torch.nn.functional as F
from transformers import GPT2LMHeadModel
from transformers.utils import logging

from addition_gym import PAD_TOKEN_ID
from benchmarks.episodes import Episodes
from train.run.models import Model

BATCH_SIZE = 8
"""Episodes of a minibatch, as in the tiny preset."""


class HuggingFace:
    """A plain ``GPT2LMHeadModel``.

    :param pretrained: the bundled model, or a folder
    :param device: where
    :param dtype: of its weights
    """

    def __init__(self, pretrained: str = "tiny", device: str = "cpu", dtype: torch.dtype = torch.float32):
        logging.disable_progress_bar()
        self.model = GPT2LMHeadModel.from_pretrained(Model.find(pretrained).folder, dtype=dtype, local_files_only=True)
        self.model.to(device).eval()  # no dropout
        self.model.config.pad_token_id = None  # else it warns of every padded text without an attention mask
        self.device = device

    def generate(self, episodes: Episodes) -> int:
        """Sample as many tokens as the longest completion has; those beyond the end of an episode do not count.

        :param episodes: whose prompts are continued, padded left
        :return: completion tokens
        """
        lengths = episodes.prompt_lengths
        longest = int(lengths.max())
        prompts = np.full((len(lengths), longest), PAD_TOKEN_ID, dtype=np.int64)
        for row, length in enumerate(lengths):
            prompts[row, longest - length :] = episodes.tokens[row, :length]
        n_new = int(episodes.completion_lengths.max())
        self.model.generate(
            torch.as_tensor(prompts, device=self.device),
            attention_mask=torch.as_tensor(np.arange(longest) >= longest - lengths[:, None], device=self.device).long(),
            do_sample=True,
            top_k=0,
            min_new_tokens=n_new,
            max_new_tokens=n_new,
            eos_token_id=None,
            pad_token_id=PAD_TOKEN_ID,
        )
        return episodes.n_tokens

    def forward_backward(self, episodes: Episodes) -> int:
        """Cross-entropy of the completions and its gradient, in minibatches of random episodes padded right.

        Right padding needs no attention mask, which PyTorch's kernels are fastest without.

        :return: completion tokens
        """
        order = np.random.default_rng(0).permutation(len(episodes.tokens))
        for start in range(0, len(order), BATCH_SIZE):
            rows = order[start : start + BATCH_SIZE]
            longest = int(episodes.text_lengths[rows].max())
            tokens = torch.as_tensor(episodes.tokens[rows, :longest], device=self.device)
            targets = F.pad(tokens[:, 1:], (0, 1), value=PAD_TOKEN_ID)
            mask = torch.as_tensor(episodes.mask[rows, :longest], device=self.device)
            logits = self.model(tokens, use_cache=False).logits  # (B, T, V)
            F.cross_entropy(logits[mask].float(), targets[mask]).backward()
            self.model.zero_grad()
        return episodes.n_tokens
