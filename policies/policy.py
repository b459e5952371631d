"""``GPT2Policy``: a GPT-2, its value head and its frozen reference as a Stable-Baselines3 policy."""

import copy
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from gymnasium import spaces
from stable_baselines3.common.distributions import Distribution
from stable_baselines3.common.policies import ActorCriticPolicy
from stable_baselines3.common.torch_layers import create_mlp
from stable_baselines3.common.type_aliases import Schedule
from torch import Tensor, nn
from transformers import GPT2Config, GPT2LMHeadModel

from policies.checks import above, at_least, between
from policies.gpt2 import build_gpt2, gpt2_config, hidden_states
from policies.kv_cache import KVCache
from policies.model_files import load_gpt2
from policies.text_cache import Choice, Decoded, Draft, TextCache


class GPT2Policy(ActorCriticPolicy):
    """Actor-critic policy whose actor is a GPT-2 over token observations.

    An observation is a row of token ids padded right, an action is the next token. The policy holds the trained model
    (``language_model``), a frozen copy of it as it was at the start (``reference``; not in the optimizer, but in the
    ``state_dict``) and a value head (``value_net``). It follows SB3's contract, so stock SB3 algorithms run with it; they read
    the whole text at every step. ``predict`` carries a :class:`policies.text_cache.TextCache` as SB3's ``state``.

    Policy and reference always use the same softmax temperature and precision, and no dropout.

    :param observation_space: ``Box(0, V - 1, (max_tokens,))`` of integers
    :param action_space: ``Discrete(V)``
    :param lr_schedule: learning rate as a function of the remaining progress (1 to 0)
    :param pretrained: ``"tiny"`` or ``"seven"`` (bundled) or a folder in Hugging Face format; None starts from random weights
    :param n_layer: blocks of a model with random weights
    :param n_head: attention heads of a model with random weights
    :param n_embd: width D of a model with random weights
    :param config: entries of a ``transformers.GPT2Config``, all of them, in place of the three sizes; a saved agent keeps
        this instead of ``pretrained``, so that it loads where that folder does not exist
    :param value_net_arch: widths of the hidden layers of the value head; empty for a linear one
    :param detach_value: whether the value loss stops at the trunk. Adam turns a critic's gradient on a nearly deterministic
        trunk into destructive steps, so the default is True; the paper's critic is ``detach_value=False,
        value_net_arch=(128, 128)``
    :param temperature: softmax temperature of policy and reference, > 0
    :param autocast: run the matrix products of policy and reference in bfloat16, in rollouts and updates alike; worth it where
        the CPU or GPU has bfloat16 instructions. Logits, softmax, value head and losses stay float32
    :param pad_token_id: the padding token of the observations
    :param optimizer_class: optimizer of policy and value head
    :param optimizer_kwargs: its arguments besides the learning rate; SB3's default for Adam is ``dict(eps=1e-5)``
    :param use_sde: passed by SB3, must be False
    :raises TypeError, ValueError: if an argument or a space breaks its constraint
    """

    language_model: GPT2LMHeadModel
    reference: GPT2LMHeadModel
    value_net: nn.Sequential  # type: ignore[assignment]
    draft: Draft | None = None
    """Says how texts may continue, for decoding several tokens at a time; an agent sets it to its environment's."""

    def __init__(
        self,
        observation_space: spaces.Space,
        action_space: spaces.Space,
        lr_schedule: Schedule,
        pretrained: str | Path | None = None,
        n_layer: int = 3,
        n_head: int = 4,
        n_embd: int = 128,
        config: dict[str, Any] | None = None,
        value_net_arch: tuple[int, ...] = (),
        detach_value: bool = True,
        temperature: float = 1.0,
        autocast: bool = False,
        pad_token_id: int = 0,
        optimizer_class: type[torch.optim.Optimizer] = torch.optim.Adam,
        optimizer_kwargs: dict[str, Any] | None = None,
        use_sde: bool = False,
    ):
        vocab_size, max_tokens = _token_shape(observation_space, action_space)
        if use_sde:
            raise ValueError("use_sde must be False, but it is True: state-dependent exploration needs continuous actions")
        above("temperature", temperature, 0, "pass 1.0 to leave the softmax as it is")
        between("pad_token_id", pad_token_id, 0, vocab_size, "pass the environment's padding token", ends="[)")
        for width in value_net_arch:
            at_least("each width of value_net_arch", width, 1, "pass () for a linear head")
        if pretrained is not None and not isinstance(pretrained, str | Path):
            raise TypeError(
                f"pretrained must be 'tiny', 'seven' or a folder, but it is a {type(pretrained).__name__}: write a model to a "
                "folder with policies.model_files.save_gpt2(model, folder) first"
            )
        self.max_tokens = max_tokens
        self.value_net_arch = tuple(value_net_arch)
        self.detach_value = detach_value
        self.temperature = temperature
        self.autocast = autocast
        self.pad_token_id = pad_token_id
        self._pretrained = pretrained
        self._config = (
            GPT2Config(**config)
            if config is not None
            else gpt2_config(vocab_size, max_tokens, n_layer, n_head, n_embd, pad_token_id)
        )
        _check_positions(max_tokens, self._config.n_positions)
        super().__init__(
            observation_space,
            action_space,
            lr_schedule,
            optimizer_class=optimizer_class,
            optimizer_kwargs=optimizer_kwargs,
        )

    def _build(self, lr_schedule: Schedule) -> None:
        if self._pretrained is None:
            self.language_model = build_gpt2(self._config)
        else:
            vocab_size = int(self._config.vocab_size)
            self.language_model = load_gpt2(self._pretrained, vocab_size, self.max_tokens, self.pad_token_id)
        self.reference = copy.deepcopy(self.language_model).requires_grad_(False)
        width = int(self.language_model.config.n_embd)
        self.value_net = nn.Sequential(*create_mlp(width, 1, list(self.value_net_arch), nn.ReLU))
        last = self.value_net[-1]
        assert isinstance(last, nn.Linear)
        nn.init.zeros_(last.weight)
        nn.init.zeros_(last.bias)
        groups = [
            {"name": "policy", "params": list(self.language_model.parameters())},
            {"name": "value", "params": list(self.value_net.parameters())},
        ]
        self.optimizer = self.optimizer_class(groups, lr=lr_schedule(1), **self.optimizer_kwargs)  # type: ignore[call-arg]

    def _get_constructor_parameters(self) -> dict[str, Any]:
        return dict(
            observation_space=self.observation_space,
            action_space=self.action_space,
            lr_schedule=self._dummy_schedule,
            config=self.language_model.config.to_dict(),
            value_net_arch=self.value_net_arch,
            detach_value=self.detach_value,
            temperature=self.temperature,
            autocast=self.autocast,
            pad_token_id=self.pad_token_id,
            optimizer_class=self.optimizer_class,
            optimizer_kwargs=self.optimizer_kwargs,
        )

    def set_observation_space(self, observation_space: spaces.Space) -> None:
        """Read longer or shorter texts; the model stays as it is.

        :param observation_space: ``Box(0, V - 1, (max_tokens,))`` of integers
        :raises TypeError, ValueError: if it is not one, or if it has more tokens than the model has positions
        """
        _, max_tokens = _token_shape(observation_space, self.action_space)
        _check_positions(max_tokens, self.language_model.config.n_positions)
        self.observation_space, self.max_tokens = observation_space, max_tokens

    def train(self, mode: bool = True) -> "GPT2Policy":
        """As ``nn.Module.train``, except that the reference stays in eval mode."""
        super().train(mode)
        self.reference.eval()
        return self

    # Whole texts: one causal forward for all the tokens of a text

    def evaluate_sequences(self, tokens: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        """Log-probabilities and values of many states, one causal forward for all the states of a text.

        :param tokens: token ids, int64 of shape ``(B, T)``, padded right
        :param mask: bool of shape ``(B, T)``; True where the state that ends with this token is wanted. M of them are True
        :return: log-probabilities of the next token ``(M, V)`` and values ``(M,)``, in row-major order of ``mask``
        """
        with self._precision():
            hidden = hidden_states(self.language_model.transformer, tokens)[mask]  # (M, D)
        return self._log_probs(hidden), self._values(hidden)

    @torch.no_grad()
    def features(self, tokens: Tensor, mask: Tensor) -> Tensor:
        """What the value head reads.

        :param tokens: ``(B, T)``; :param mask: ``(B, T)``, as for :meth:`evaluate_sequences`
        :return: ``(M, D)``
        """
        with self._precision():
            return hidden_states(self.language_model.transformer, tokens)[mask].float()

    @torch.no_grad()
    def reference_logits(self, tokens: Tensor, mask: Tensor) -> Tensor:
        """The reference's logits, before the softmax temperature.

        :param tokens: ``(B, T)``; :param mask: ``(B, T)``, as for :meth:`evaluate_sequences`
        :return: ``(M, V)``
        """
        with self._precision():
            return self.reference.lm_head(hidden_states(self.reference.transformer, tokens)[mask]).float()

    # The next token of every text, through a cache

    def make_cache(
        self,
        n_rows: int,
        max_tokens: int | None = None,
        draft: Draft | None = None,
        rng: np.random.Generator | None = None,
        keep_logits: bool = True,
    ) -> TextCache:
        """An empty cache for decoding.

        :param n_rows: number of texts
        :param max_tokens: longest text; by default that of the observations
        :param draft: says how texts may continue; by default ``self.draft``
        :param rng: draws the random numbers that choose tokens; by default PyTorch's generator seeds one
        :param keep_logits: whether logits are wanted
        """
        dtype = torch.bfloat16 if self.autocast else torch.float32
        return TextCache(
            KVCache(self.language_model.transformer, n_rows, max_tokens or self.max_tokens, dtype),
            int(self.language_model.config.vocab_size),
            self.pad_token_id,
            [*self.language_model.parameters(), *self.value_net.parameters()],
            rng,
            draft or self.draft,
            keep_logits,
        )

    @torch.no_grad()
    def decode(self, obs: np.ndarray, cache: TextCache, deterministic: bool = False) -> Decoded:
        """Choose the next token of every text; the same as :meth:`forward`, several tokens at a time where there are drafts.

        :param obs: observations ``(B, max_tokens)``, on the host
        :param cache: of ``B`` texts, updated in place
        :param deterministic: the most probable token instead of a sample
        :raises FloatingPointError: if the logits hold a NaN or an infinity
        """
        return cache.decode(obs, self._choose_all, deterministic, self.temperature)

    def _choose_all(self, hidden: Tensor, uniforms: np.ndarray | None) -> Choice:
        logits = self._logits(hidden)
        device_uniforms = None if uniforms is None else torch.as_tensor(uniforms, device=logits.device)
        actions, log_prob = _choose(F.log_softmax(logits / self.temperature, dim=-1), device_uniforms)
        return Choice(actions, self._values(hidden), log_prob, logits)

    # SB3's contract

    def forward(self, obs: Tensor, deterministic: bool = False) -> tuple[Tensor, Tensor, Tensor]:
        """Actions ``(B,)``, values ``(B, 1)`` and log-probabilities ``(B,)`` for observations ``(B, max_tokens)``."""
        hidden = self._last_hidden(obs)
        uniforms = None if deterministic else torch.rand(len(hidden), device=hidden.device)
        actions, log_prob = _choose(self._log_probs(hidden), uniforms)
        return actions, self._values(hidden)[:, None], log_prob

    def evaluate_actions(self, obs: Tensor, actions: Tensor) -> tuple[Tensor, Tensor, Tensor]:  # type: ignore[override]
        """Values ``(B, 1)``, log-probabilities of ``actions`` and entropies ``(B,)``, with gradients."""
        hidden = self._last_hidden(obs)
        log_probs = self._log_probs(hidden)
        log_prob = log_probs.gather(1, actions.long().reshape(-1, 1))[:, 0]
        return self._values(hidden)[:, None], log_prob, entropy(log_probs)

    def get_distribution(self, obs: Tensor) -> Distribution:  # type: ignore[override]
        """SB3's distribution over the next token."""
        return self.action_dist.proba_distribution(self._log_probs(self._last_hidden(obs)))

    def predict_values(self, obs: Tensor) -> Tensor:  # type: ignore[override]
        """Values ``(B, 1)``."""
        return self._values(self._last_hidden(obs))[:, None]

    def predict(  # type: ignore[override]
        self,
        observation: np.ndarray | dict[str, np.ndarray],
        state: TextCache | None = None,
        episode_start: np.ndarray | None = None,
        deterministic: bool = False,
    ) -> tuple[np.ndarray, TextCache]:
        """Choose tokens, as SB3's ``predict``.

        :param observation: one observation ``(max_tokens,)`` or several ``(B, max_tokens)``
        :param state: what the last call returned; None reads the texts from their beginning
        :param episode_start: not needed: the observation itself tells whether it continues the text in ``state``
        :param deterministic: the most probable token instead of a sample
        :return: actions, and the state for the next call
        """
        del episode_start
        if self.training:  # to walk through all modules takes as long as a token of a small model
            self.set_training_mode(False)
        obs, vectorized = self.obs_to_tensor(observation)
        assert isinstance(obs, Tensor)
        if state is None or state.shape != (len(obs), self.max_tokens):
            state = self.make_cache(len(obs), keep_logits=False)
        actions = self.decode(obs.cpu().numpy(), state, deterministic).actions
        return (actions if vectorized else actions[0]), state

    def _texts(self, obs: Tensor) -> tuple[Tensor, Tensor]:
        """Token ids ``(B, max_tokens)`` and lengths ``(B,)``; a text without any token counts its first padding as one."""
        tokens = obs.long()
        return tokens, (tokens != self.pad_token_id).sum(dim=1).clamp(min=1)

    def _last_hidden(self, obs: Tensor) -> Tensor:
        tokens, lengths = self._texts(obs)
        with self._precision():
            hidden = hidden_states(self.language_model.transformer, tokens[:, : int(lengths.max())])
        return hidden[torch.arange(len(tokens), device=tokens.device), lengths - 1]  # (B, D)

    def _precision(self) -> AbstractContextManager[None]:
        device = self.language_model.lm_head.weight.device  # SB3's self.device walks through all modules
        return torch.autocast(device.type, torch.bfloat16, enabled=self.autocast, cache_enabled=False)

    def _logits(self, hidden: Tensor) -> Tensor:
        with self._precision():
            return self.language_model.lm_head(hidden).float()

    def _log_probs(self, hidden: Tensor) -> Tensor:
        return F.log_softmax(self._logits(hidden) / self.temperature, dim=-1)

    def _values(self, hidden: Tensor) -> Tensor:
        return self.value_net((hidden.detach() if self.detach_value else hidden).float())[..., 0]


def _choose(log_probs: Tensor, uniforms: Tensor | None) -> tuple[Tensor, Tensor]:
    """Tokens by inverting the distribution function at random numbers, and their log-probabilities.

    :param log_probs: ``(M, V)``
    :param uniforms: in [0, 1), ``(M,)``; None for the most probable tokens
    :raises FloatingPointError: if a log-probability is not a number
    """
    if uniforms is None:
        actions = log_probs.argmax(dim=1)
    else:
        cumulated = log_probs.exp().cumsum(dim=1)
        actions = (cumulated <= uniforms[:, None] * cumulated[:, -1:]).sum(dim=1).clamp(max=log_probs.shape[1] - 1)
    log_prob = log_probs.gather(1, actions[:, None])[:, 0]
    if log_prob.isnan().any():
        raise FloatingPointError("NaN or infinity in the policy's logits: its weights are broken, or too large")
    return actions, log_prob


def entropy(log_probs: Tensor) -> Tensor:
    """Shannon entropy in nats of distributions given as log-probabilities. :param log_probs: ``(..., V)`` :return: ``(...)``"""
    return -(log_probs.exp() * log_probs).sum(dim=-1)


def _token_shape(observation_space: spaces.Space, action_space: spaces.Space) -> tuple[int, int]:
    """V and T of a token-level environment.

    :raises TypeError: if the spaces are not ``Discrete(V)`` and a ``Box`` of integers
    :raises ValueError: if the box is not one row of token ids in ``[0, V)``
    """
    if not isinstance(action_space, spaces.Discrete):
        raise TypeError(f"action_space must be Discrete, but it is {action_space}: use a token-level environment")
    if not isinstance(observation_space, spaces.Box) or not np.issubdtype(observation_space.dtype, np.integer):
        raise TypeError(
            f"observation_space must be a Box of integers, but it is {observation_space}: use a token-level environment"
        )
    vocab_size = int(action_space.n)
    if len(observation_space.shape) != 1 or observation_space.low.min() < 0 or observation_space.high.max() >= vocab_size:
        raise ValueError(
            f"observation_space must be one row of token ids in [0, {vocab_size}), but it is {observation_space}: "
            "pad texts right into a Box(0, V - 1, (max_tokens,))"
        )
    return vocab_size, observation_space.shape[0]


def _check_positions(max_tokens: int, n_positions: int) -> None:
    """:raises ValueError: if texts may be longer than a model's position table"""
    if max_tokens > n_positions:
        raise ValueError(
            f"observation_space must have at most the model's {n_positions} positions, but it has {max_tokens} tokens: use an "
            "environment with shorter texts, or a model that was pre-trained with more positions"
        )
