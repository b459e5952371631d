"""A critic that is trained on its own: several passes over what the language model makes of a rollout."""

import numpy as np
import torch
import torch.nn.functional as F

from agents.episode_buffer import EpisodeBuffer
from agents.health import clip_gradients
from agents.statistics import MaskedStatistics
from policies.policy import GPT2Policy


def train_critic(
    policy: GPT2Policy,
    buffer: EpisodeBuffer,
    n_epochs: int,
    n_minibatches: int,
    max_batch_tokens: int,
    max_grad_norm: float | None,
    rng: np.random.Generator,
    statistics: MaskedStatistics,
) -> None:
    """Regress the value head on the returns of a rollout; the language model, which is read once, stays as it is.

    :param policy: after its own update, since the next rollout is its
    :param buffer: of the rollout
    :param n_epochs: passes over all of its states
    :param n_minibatches: of a pass; states are shuffled regardless of their episodes
    :param max_batch_tokens: most tokens that the language model reads at once
    :param rng: shuffles
    :param statistics: ``train/value_loss`` is added
    :raises FloatingPointError: if a gradient is not finite
    """
    batches = list(buffer.batches(np.arange(buffer.n_episodes), max_batch_tokens))
    features = torch.cat([policy.features(batch.tokens, batch.mask) for batch in batches])  # (M, D)
    returns = torch.cat([batch.returns for batch in batches])
    for _ in range(n_epochs):
        for chosen in np.array_split(rng.permutation(len(returns)), n_minibatches):
            rows = torch.as_tensor(chosen, device=returns.device)
            loss = F.mse_loss(policy.value_net(features[rows])[:, 0], returns[rows])
            statistics.add("train/value_loss", loss, len(rows))
            policy.optimizer.zero_grad()
            loss.backward()
            clip_gradients(policy.optimizer, max_grad_norm, statistics)
            policy.optimizer.step()
