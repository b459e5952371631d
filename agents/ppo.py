"""``PrioritizedKLPPO``: PPO on whole episodes of tokens, with a KL penalty to a frozen reference weighted by its certainty."""

import time
from typing import Any, ClassVar, Literal, Self, get_args

import gymnasium as gym
import numpy as np
import torch
import torch.nn.functional as F
from gymnasium import spaces
from stable_baselines3.common.policies import BasePolicy
from stable_baselines3.common.type_aliases import GymEnv, MaybeCallback, Schedule
from stable_baselines3.common.utils import FloatSchedule, explained_variance

from agents.baselines import Baseline, ClassMeans, estimate_advantages, normalize_advantages
from agents.critic import train_critic
from agents.diagnostics import add_divergences, record_rollout, record_update
from agents.episode_buffer import EpisodeBatch, EpisodeBuffer
from agents.episodic_algorithm import EpisodicAlgorithm
from agents.health import Health, check_finite, clip_gradients
from agents.kl_controller import make_kl_controller
from agents.losses import Certainty, KLEstimator, check_kl_estimator, kl_per_token, kl_reward
from agents.memory import ALWAYS_KEPT, check_memory, logits_bytes
from agents.statistics import MaskedStatistics
from agents.surrogates import ClipRule, policy_surrogate
from agents.weighting import SLOTS, ReferenceCertainty, TokenWeights, WeightingName, named_weighting, none
from policies.checks import above, at_least, between, one_of, whole
from policies.device import resolve_device
from policies.policy import GPT2Policy, entropy


class PrioritizedKLPPO(EpisodicAlgorithm):
    """PPO with the prioritized KL penalty of arXiv:2502.06533 in its loss.

    A rollout is ``n_episodes`` whole episodes; the loss is ``L_PPO + vf_coef * L_V - ent_coef * H + kl_coef * L_KL``, where
    ``L_KL = mean over completion tokens of J(s) ** kl_exponent * KL(pi || pi_ref)`` and J is the reference's certainty. The
    penalty thus vanishes on critical tokens, where the reference is unsure, and stays everywhere else.

    :param policy: ``"GPT2Policy"`` or a subclass of :class:`policies.GPT2Policy`
    :param env: a token-level environment: a Gymnasium environment or its id, a Gymnasium ``VectorEnv`` or an SB3 ``VecEnv``;
        the logits of a rollout, ``n_episodes * T * V`` numbers, must fit into memory
    :param learning_rate: of the language model; a number, or a function of the remaining progress (1 to 0)
    :param value_learning_rate: of the value head, likewise; None for the same as ``learning_rate``
    :param n_episodes: episodes of a rollout, a multiple of the number of lanes
    :param batch_size: episodes of a minibatch, 1 to ``n_episodes``
    :param max_batch_tokens: most tokens, padding included, that the model reads at once in an update; the gradients of the
        pieces of a minibatch add up, so that this bounds memory and changes nothing else
    :param n_epochs: passes over a rollout. ``n_epochs=1, batch_size=n_episodes`` is A2C
    :param gamma: discount
    :param baseline: what returns are compared with: ``"critic"``; ``"class"``, earlier episodes of the problem's class, which
        the environment names as ``problem_class``; or episodes with the same prompt, ``"rloo"``, ``"grpo"`` or
        ``"grpo_no_std"``. See :func:`agents.baselines.estimate_advantages`. Without a critic the value head is not trained
    :param class_horizon: episodes of a class over which ``baseline="class"`` averages
    :param gae_lambda: lambda of the critic's generalised advantage estimation; 1 is plain Monte Carlo
    :param clip_range: PPO's epsilon; a number, or a function of the remaining progress. With another rule it is its threshold
    :param clip_rule: ``"ppo"``, or DPPO's rule: drop tokens whose probability (``"dppo_binary"``), or whose whole distribution
        (``"dppo_tv"``), has moved too far; see :func:`agents.surrogates.policy_surrogate`
    :param proximal_coef: coefficient of the mean squared log-ratio to the policy that sampled
    :param normalize_advantage: whether to normalise advantages, over all tokens of a rollout; GRPO's stay as they are. See
        :func:`agents.baselines.normalize_advantages`
    :param ent_coef: entropy coefficient
    :param vf_coef: coefficient of the value loss (mean squared error)
    :param value_epochs: passes of the critic alone over a rollout, after the language model's update; the value loss then is no
        term of the loss. 0 trains both together
    :param max_grad_norm: largest norm of the gradient, of the language model and of the value head each; None for any
    :param kl_coef: coefficient of the KL penalty, >= 0; a number, or a function of the remaining progress
    :param kl_exponent: beta >= 0, how strongly certainty prioritises; 0 is the standard penalty
    :param kl_estimator: ``"full"``, ``"k2"``, ``"k3"`` or ``"rk3"``; see :func:`agents.losses.kl_per_token`
    :param kl_in: ``"loss"``, or ``"reward"`` for a penalty on the reward of every token instead, as in TRL's PPO; see
        :func:`agents.losses.kl_reward`
    :param kl_target: KL to the reference of an episode, in nats, that a number ``kl_coef`` adapts to; None keeps it. See
        :class:`agents.kl_controller.AdaptiveKLCoef`
    :param kl_horizon: its pace: episodes in which ``kl_target`` can change the coefficient by a factor e, >= ``n_episodes``
    :param weighting: what weights the tokens in the terms of the loss: a name of :func:`agents.weighting.named_weighting`
        (``"prioritized"`` is the paper), or a :class:`agents.weighting.TokenWeights`, which ignores ``kl_exponent``
    :param certainty: ``"negentropy"``, ``"min_entropy"`` or ``"max_prob"``; see :func:`agents.losses.certainty_of`
    :param certainty_temperature: softmax temperature of the certainty, > 0
    :param stats_window_size: episodes over which SB3's ``rollout/*`` are averaged
    :param tensorboard_log: folder of the TensorBoard events, None for none
    :param policy_kwargs: arguments of the policy, such as ``dict(pretrained="tiny")``
    :param verbose: 0 nothing, 1 training output, 2 debugging
    :param seed: of the problems, the sampling and the minibatches
    :param device: ``"auto"``, ``"cpu"``, ``"cuda"``; one that is not here is refused
    :param _init_setup_model: passed by SB3's ``load``
    :raises TypeError, ValueError: if an argument breaks its constraint
    """

    policy_aliases: ClassVar[dict[str, type[BasePolicy]]] = {"GPT2Policy": GPT2Policy}

    def __init__(
        self,
        policy: str | type[GPT2Policy],
        env: GymEnv | gym.vector.VectorEnv | str,
        learning_rate: float | Schedule = 1e-4,
        value_learning_rate: float | Schedule | None = 1e-3,
        n_episodes: int = 64,
        batch_size: int = 8,
        max_batch_tokens: int = 2048,
        n_epochs: int = 1,
        gamma: float = 1.0,
        baseline: Baseline = "critic",
        class_horizon: int = 64,
        gae_lambda: float = 1.0,
        clip_range: float | Schedule = 0.2,
        clip_rule: ClipRule = "ppo",
        proximal_coef: float = 0.0,
        normalize_advantage: bool = True,
        ent_coef: float = 0.0,
        vf_coef: float = 0.5,
        value_epochs: int = 0,
        max_grad_norm: float | None = 0.5,
        kl_coef: float | Schedule = 2.0,
        kl_exponent: float = 150.0,
        kl_estimator: KLEstimator = "full",
        kl_in: Literal["loss", "reward"] = "loss",
        kl_target: float | None = None,
        kl_horizon: float = 100.0,
        weighting: WeightingName | TokenWeights = "prioritized",
        certainty: Certainty = "negentropy",
        certainty_temperature: float = 1.0,
        stats_window_size: int = 100,
        tensorboard_log: str | None = None,
        policy_kwargs: dict[str, Any] | None = None,
        verbose: int = 0,
        seed: int | None = None,
        device: torch.device | str = "auto",
        _init_setup_model: bool = True,
    ):
        if env is None and _init_setup_model:
            raise ValueError(
                "env must be a token-level environment or its id, but it is None: pass one; only a saved agent can do without, "
                "by PrioritizedKLPPO.load(path)"
            )
        super().__init__(
            policy,
            env,  # type: ignore[arg-type]
            learning_rate=learning_rate,
            n_steps=n_episodes,
            gamma=gamma,
            gae_lambda=gae_lambda,
            ent_coef=ent_coef,
            vf_coef=vf_coef,
            max_grad_norm=max_grad_norm,  # type: ignore[arg-type]
            use_sde=False,
            sde_sample_freq=-1,
            stats_window_size=stats_window_size,
            tensorboard_log=tensorboard_log,
            policy_kwargs=policy_kwargs,
            verbose=verbose,
            seed=seed,
            device=resolve_device(device),
            _init_setup_model=False,
        )
        self.value_learning_rate = value_learning_rate
        self.n_episodes = n_episodes
        self.batch_size = batch_size
        self.max_batch_tokens = max_batch_tokens
        self.n_epochs = n_epochs
        self.baseline: Baseline = baseline
        self.class_means = ClassMeans(class_horizon)
        self.value_epochs = value_epochs
        self.clip_range = clip_range
        self.clip_rule: ClipRule = clip_rule
        self.proximal_coef = proximal_coef
        self.normalize_advantage = normalize_advantage
        self.kl_coef = kl_coef
        self.kl_estimator: KLEstimator = kl_estimator
        self.kl_in = kl_in
        self.certainty: Certainty = certainty
        self.certainty_temperature = certainty_temperature
        self._check_arguments(kl_exponent)
        if not isinstance(weighting, TokenWeights):
            weighting = named_weighting(weighting, kl_exponent, certainty, certainty_temperature)
        self.weighting = weighting
        self._check_kl_in()
        self.kl_controller = make_kl_controller(kl_coef, kl_target, kl_horizon, n_episodes)
        self.health = Health()
        if _init_setup_model:
            self._setup_model()

    def _check_arguments(self, kl_exponent: float) -> None:
        for name in ("n_episodes", "batch_size", "max_batch_tokens", "n_epochs"):
            whole(name, getattr(self, name))
        if self.batch_size > self.n_episodes:
            raise ValueError(
                f"batch_size must be at most n_episodes = {self.n_episodes}, but it is {self.batch_size}: it counts whole "
                "episodes"
            )
        whole("class_horizon", self.class_means.horizon)
        whole("value_epochs", self.value_epochs, 0, "0 trains the critic together with the language model")
        one_of("baseline", self.baseline, get_args(Baseline))
        one_of("clip_rule", self.clip_rule, get_args(ClipRule))
        at_least("kl_exponent", kl_exponent, 0, "0 is the standard penalty", finite=True)
        for name in ("kl_coef", "vf_coef", "ent_coef", "proximal_coef", "learning_rate", "value_learning_rate", "clip_range"):
            value = getattr(self, name)
            if value is not None and not callable(value):  # schedules are left to those who call them
                at_least(name, value, 0, "0 switches it off", finite=True)
        for name in ("gamma", "gae_lambda"):
            between(name, getattr(self, name), 0, 1, "1 suits a terminal reward")
        if self.max_grad_norm is not None:
            above("max_grad_norm", self.max_grad_norm, remedy="None leaves the gradient as it is")
        above("certainty_temperature", self.certainty_temperature)
        one_of("certainty", self.certainty, get_args(Certainty))
        check_kl_estimator(self.kl_estimator)

    def _check_kl_in(self) -> None:
        one_of("kl_in", self.kl_in, ("loss", "reward"))
        if self.kl_in == "reward" and self.weighting.kl.action_dependent:
            raise ValueError(
                f"weighting must weight the KL by the state alone with kl_in='reward', but {self.weighting.kl.signal} depends "
                "on the action and perhaps its advantage, which follows from the reward: use kl_in='loss'"
            )

    def _current_kl_coef(self) -> float:
        """The coefficient that a rollout and its update use."""
        if not callable(self.kl_coef):
            return self.kl_coef
        kl_coef = float(self.kl_coef(self._current_progress_remaining))
        at_least("kl_coef", kl_coef, 0, "let its function return such numbers", finite=True)
        return kl_coef

    def _setup_model(self) -> None:
        if self.n_episodes % self.n_envs:
            raise ValueError(
                f"n_episodes must be a multiple of the environment's lanes, {self.n_envs}, but it is {self.n_episodes}: "
                "change one of them, so that every lane plays the same number of whole episodes"
            )
        self._setup_lr_schedule()
        self.value_lr_schedule = (
            self.lr_schedule if self.value_learning_rate is None else FloatSchedule(self.value_learning_rate)
        )
        self.clip_range_schedule = FloatSchedule(self.clip_range)
        self.set_random_seed(self.seed)
        self.batch_rng = np.random.default_rng(self.seed)
        policy = self.policy_class(self.observation_space, self.action_space, self.lr_schedule, **self.policy_kwargs)
        assert isinstance(policy, GPT2Policy)
        if self.value_epochs and not policy.detach_value:
            raise ValueError(
                f"value_epochs must be 0 with detach_value=False, but it is {self.value_epochs}: they train the critic alone, "
                "and nothing of its loss would reach the language model; change one of them"
            )
        self.policy = policy.to(self.device)
        # What rebuilds the policy from the state_dict alone: the pre-trained folder may be gone when the agent is loaded.
        rebuild = {"pretrained": None, "config": policy.language_model.config.to_dict()}
        self.policy_kwargs = {**self.policy_kwargs, **rebuild}
        if self.env is not None:
            self._adopt_draft()
            self._setup_buffer()

    def _setup_buffer(self) -> None:
        assert isinstance(self.action_space, spaces.Discrete)
        shape = (self.n_episodes, self.policy.max_tokens, int(self.action_space.n))
        read = self.weighting.reads_old_logits or self.clip_rule == "dppo_tv"
        keep_old_logits = read or logits_bytes(*shape) <= ALWAYS_KEPT
        check_memory(*shape, keep_old_logits)
        self.rollout_buffer = EpisodeBuffer(
            *shape,
            self.policy.pad_token_id,
            gamma=self.gamma,
            gae_lambda=self.gae_lambda,
            device=self.device,
            keep_old_logits=keep_old_logits,
        )

    def _finish_rollout(self, buffer: EpisodeBuffer) -> None:
        """Compute, once per rollout, what the update reads: reference logits, returns, advantages and token weights."""
        for batch in buffer.batches(np.arange(self.n_episodes), self.max_batch_tokens):
            buffer.put(buffer.reference_logits, batch, self.policy.reference_logits(batch.tokens, batch.mask))
        kl_coef = self._current_kl_coef()
        if self.kl_in == "reward":
            tokens = buffer.token_batch(self.policy.temperature)
            penalty = kl_reward(tokens.old_log_prob, tokens.reference_log_prob, self.weighting.kl(tokens), kl_coef)
            buffer.rewards += penalty.masked_fill(~tokens.mask, 0).cpu().numpy()
        estimate_advantages(buffer, self.baseline, self.class_means)
        buffer.check_finite()
        if self.normalize_advantage:
            normalize_advantages(buffer, self.baseline)
        tokens = buffer.token_batch(self.policy.temperature)
        for slot in SLOTS:
            buffer.weights[slot] = getattr(self.weighting, slot)(tokens).cpu().numpy()
        check_finite({f"weights of the {slot} term": weights for slot, weights in buffer.weights.items()})
        kl_weights = torch.as_tensor(buffer.weights["kl"], device=self.device)
        certainty = ReferenceCertainty(self.certainty, self.certainty_temperature)(tokens)
        weight_mean = record_rollout(self.logger, tokens, kl_weights, self.weighting.kl, certainty)
        if self.weighting.kl != none():  # which is meant
            self.health.after_weighting(weight_mean, kl_coef, self.weighting.kl)

    def train(self) -> None:
        """Update policy and value head from a finished rollout; log SB3's ``train/*`` and ``objective/*`` of the reference."""
        self.policy.set_training_mode(True)
        self._update_learning_rate(self.policy.optimizer)
        clip_range = self.clip_range_schedule(self._current_progress_remaining)
        buffer = self.rollout_buffer
        explained = explained_variance(buffer.values[buffer.mask], buffer.returns[buffer.mask])

        statistics = MaskedStatistics()
        for epoch in range(self.n_epochs):
            for rows in buffer.minibatches(self.batch_size, self.batch_rng):
                n_minibatch = int(buffer.mask[rows].sum())
                self.policy.optimizer.zero_grad()
                for batch in buffer.batches(rows, self.max_batch_tokens):
                    share = len(batch.actions) / n_minibatch
                    (share * self._loss(batch, clip_range, statistics, first_epoch=epoch == 0)).backward()
                norms = clip_gradients(self.policy.optimizer, self.max_grad_norm, statistics)
                statistics.add("train/grad_norm", norms["policy"], n_minibatch)
                self.policy.optimizer.step()

        if self.baseline == "critic" and self.value_epochs:
            n_minibatches = -(-self.n_episodes // self.batch_size)
            train_critic(
                self.policy,
                buffer,
                self.value_epochs,
                n_minibatches,
                self.max_batch_tokens,
                self.max_grad_norm,
                self.batch_rng,
                statistics,
            )
        self.health.after_update(statistics.means(), self.policy.parameters())
        self._n_updates += self.n_epochs
        kl = record_update(self.logger, statistics, self.n_episodes)
        self.logger.record("objective/kl_coef", self._current_kl_coef())
        self.logger.record("train/explained_variance", explained)
        self.logger.record("train/n_updates", self._n_updates, exclude="tensorboard")
        self.logger.record("train/clip_range", clip_range)
        if self.kl_controller is not None:
            self.kl_coef = self.kl_controller.update(kl, self.n_episodes)
        self.seconds_learned = (time.time_ns() - self.start_time) / 1e9

    def _loss(self, batch: EpisodeBatch, clip_range: float, statistics: MaskedStatistics, first_epoch: bool) -> torch.Tensor:
        """The loss of some episodes, a mean over their completion tokens."""
        log_probs, values = self.policy.evaluate_sequences(batch.tokens, batch.mask)  # (M, V), (M,)
        log_ratio = log_probs.gather(1, batch.actions[:, None])[:, 0] - batch.old_log_prob
        reference_log_probs = F.log_softmax(batch.reference_logits / self.policy.temperature, dim=-1)
        clip_ranges = clip_range * batch.weights["clip"]
        surrogate, clipped = policy_surrogate(self.clip_rule, log_probs, batch, clip_ranges, self.policy.temperature)
        token_entropy = entropy(log_probs)
        kl = kl_per_token(log_probs, reference_log_probs, batch.actions, self.kl_estimator, batch.old_log_prob)
        policy_loss = (batch.weights["policy"] * surrogate).mean()
        entropy_loss = -(batch.weights["entropy"] * token_entropy).mean()
        kl_loss = (batch.weights["kl"] * kl).mean()
        loss = policy_loss + self.ent_coef * entropy_loss + self.proximal_coef * (log_ratio**2).mean()
        if self.kl_in == "loss":
            loss = loss + self._current_kl_coef() * kl_loss
        n_tokens = len(batch.actions)
        if self.baseline == "critic" and not self.value_epochs:
            value_loss = F.mse_loss(values, batch.returns)
            loss = loss + self.vf_coef * value_loss
            statistics.add("train/value_loss", value_loss, n_tokens)

        statistics.add("train/policy_gradient_loss", policy_loss, n_tokens)
        statistics.add("train/entropy_loss", entropy_loss, n_tokens)
        statistics.add("train/kl_loss", kl_loss, n_tokens)
        statistics.add("train/loss", loss, n_tokens)
        statistics.add("train/approx_kl", (torch.exp(log_ratio) - 1 - log_ratio).mean(), n_tokens)
        statistics.add("train/clip_fraction", clipped.float().mean(), n_tokens)
        if first_epoch:
            add_divergences(statistics, log_probs, reference_log_probs, batch.actions, batch.weights["kl"])
            statistics.add("objective/entropy", token_entropy.mean(), n_tokens)
        return loss

    def _update_learning_rate(self, optimizers: list[torch.optim.Optimizer] | torch.optim.Optimizer) -> None:
        """As SB3's, with a learning rate of its own for the value head."""
        super()._update_learning_rate(optimizers)
        for optimizer in optimizers if isinstance(optimizers, list) else [optimizers]:
            for group in optimizer.param_groups:
                if group.get("name") == "value":
                    group["lr"] = self.value_lr_schedule(self._current_progress_remaining)

    def learn(
        self,
        total_timesteps: int,
        callback: MaybeCallback = None,
        log_interval: int = 1,
        tb_log_name: str = "PrioritizedKLPPO",
        reset_num_timesteps: bool = True,
        progress_bar: bool = False,
        total_episodes: int | None = None,
    ) -> Self:
        """Train until at least ``total_timesteps`` completion tokens have been written; arguments as SB3's ``learn``.

        :param total_episodes: training also ends with the rollout that brings it to so many episodes; None for any number
        :raises FloatingPointError: at a NaN or an infinity, before it reaches the weights
        """
        self.total_episodes = total_episodes
        try:
            super().learn(total_timesteps, callback, log_interval, tb_log_name, reset_num_timesteps, progress_bar)
        except FloatingPointError as error:
            raise FloatingPointError(f"update {self.updates_done + 1}: {error}") from error
        self.logger.record("time/episodes", self.episodes_done, exclude="tensorboard")
        self.logger.record("time/total_timesteps", self.num_timesteps, exclude="tensorboard")
        self.logger.dump(self.num_timesteps)  # the last update, which SB3 would leave unwritten
        return self
