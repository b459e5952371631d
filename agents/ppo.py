"""``PrioritizedKLPPO``: PPO on whole episodes of tokens, with a KL penalty to a frozen reference weighted by its certainty."""

import time
from typing import Any, ClassVar, Literal, Self

import gymnasium as gym
import numpy as np
import torch
import torch.nn.functional as F
from gymnasium import spaces
from stable_baselines3.common.base_class import maybe_make_env
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.on_policy_algorithm import OnPolicyAlgorithm
from stable_baselines3.common.policies import BasePolicy
from stable_baselines3.common.type_aliases import GymEnv, MaybeCallback, Schedule
from stable_baselines3.common.utils import FloatSchedule, explained_variance
from stable_baselines3.common.vec_env import VecEnv, VecMonitor

from agents.arguments import check_arguments, check_batch_size, check_kl_in, check_n_episodes
from agents.diagnostics import record_rollout, record_update
from agents.episode_buffer import EpisodeBatch, EpisodeBuffer
from agents.health import Health, check_finite, clip_gradients
from agents.kl_controller import AdaptiveKLCoef
from agents.losses import (
    Certainty,
    KLEstimator,
    check_certainty,
    check_kl_estimator,
    clipped_surrogate,
    kl_per_token,
    kl_reward,
)
from agents.resumable import ResumableAlgorithm
from agents.statistics import MaskedStatistics
from agents.vec_env import VectorEnvAdapter
from agents.weighting.signals import ReferenceCertainty
from agents.weighting.token_weights import SLOTS, TokenWeights, WeightsName, named_weights
from policies.kv_cache import KVCache
from policies.policy import GPT2Policy, entropy


class PrioritizedKLPPO(ResumableAlgorithm):
    """PPO with the prioritized KL penalty of arXiv:2502.06533 in its loss.

    A rollout is ``n_episodes`` whole episodes; the loss is ``L_PPO + vf_coef * L_V - ent_coef * H + kl_coef * L_KL``, where
    ``L_KL = mean over completion tokens of J(s) ** kl_exponent * KL(pi || pi_ref)`` and J is the reference's certainty. The
    penalty thus vanishes on critical tokens, where the reference is unsure, and stays everywhere else.

    :param policy: ``"GPT2Policy"`` or a subclass of :class:`policies.GPT2Policy`
    :param env: a token-level environment: a Gymnasium environment or its id, a Gymnasium ``VectorEnv`` or an SB3 ``VecEnv``
    :param learning_rate: of the language model; a number, or a function of the remaining progress (1 to 0)
    :param value_learning_rate: of the value head, likewise; None for the same as ``learning_rate``
    :param n_episodes: episodes of a rollout, a multiple of the number of lanes
    :param batch_size: episodes of a minibatch, 1 to ``n_episodes``
    :param max_batch_tokens: most tokens, padding included, that the model reads at once in an update; the gradients of the
        pieces of a minibatch add up, so that this bounds memory and changes nothing else
    :param n_epochs: passes over a rollout. ``n_epochs=1, batch_size=n_episodes`` is A2C
    :param gamma: discount
    :param gae_lambda: lambda of generalised advantage estimation; 1 is plain Monte Carlo
    :param clip_range: PPO's epsilon; a number, or a function of the remaining progress
    :param normalize_advantage: whether to normalise advantages, over all tokens of a rollout
    :param ent_coef: entropy coefficient
    :param vf_coef: coefficient of the value loss (mean squared error)
    :param max_grad_norm: largest norm of the gradient, of the language model and of the value head each
    :param kl_coef: coefficient of the KL penalty, >= 0
    :param kl_exponent: beta >= 0, how strongly certainty prioritises; 0 is the standard penalty
    :param kl_estimator: ``"full"``, ``"k2"``, ``"k3"`` or ``"rk3"``; see :func:`agents.losses.kl_per_token`
    :param kl_in: ``"loss"``, or ``"reward"`` for a penalty on the reward of every token instead, as in TRL's PPO; see
        :func:`agents.losses.kl_reward`
    :param kl_target: KL to the reference of an episode, in nats, that ``kl_coef`` adapts to; None keeps it as it is. See
        :class:`agents.kl_controller.AdaptiveKLCoef`
    :param token_weights: what weights the tokens in the terms of the loss: a name of :func:`agents.weighting.token_weights.named_weights`
        (``"prioritized"`` is the paper), or a :class:`agents.weighting.token_weights.TokenWeights`, which ignores ``kl_exponent``
    :param certainty: ``"negentropy"``, ``"min_entropy"`` or ``"max_prob"``; see :func:`agents.losses.certainty_of`
    :param certainty_temperature: softmax temperature of the certainty, > 0
    :param stats_window_size: episodes over which SB3's ``rollout/*`` are averaged
    :param tensorboard_log: folder of the TensorBoard events, None for none
    :param policy_kwargs: arguments of the policy, such as ``dict(pretrained="tiny")``
    :param verbose: 0 nothing, 1 training output, 2 debugging
    :param seed: of the problems, the sampling and the minibatches
    :param device: ``"auto"``, ``"cpu"``, ``"cuda"``
    :param _init_setup_model: passed by SB3's ``load``
    :raises TypeError, ValueError: if an argument breaks its constraint
    """

    policy_aliases: ClassVar[dict[str, type[BasePolicy]]] = {"GPT2Policy": GPT2Policy}
    policy: GPT2Policy
    rollout_buffer: EpisodeBuffer  # type: ignore[assignment]

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
        gae_lambda: float = 1.0,
        clip_range: float | Schedule = 0.2,
        normalize_advantage: bool = True,
        ent_coef: float = 0.0,
        vf_coef: float = 0.5,
        max_grad_norm: float = 0.5,
        kl_coef: float = 2.0,
        kl_exponent: float = 150.0,
        kl_estimator: KLEstimator = "full",
        kl_in: Literal["loss", "reward"] = "loss",
        kl_target: float | None = None,
        token_weights: WeightsName | TokenWeights = "prioritized",
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
        check_arguments(
            at_least_zero=dict(kl_coef=kl_coef, kl_exponent=kl_exponent, vf_coef=vf_coef, ent_coef=ent_coef),
            rates=dict(learning_rate=learning_rate, value_learning_rate=value_learning_rate, clip_range=clip_range),
            positive=dict(certainty_temperature=certainty_temperature, max_grad_norm=max_grad_norm),
            fractions=dict(gamma=gamma, gae_lambda=gae_lambda),
            counts=dict(n_episodes=n_episodes, batch_size=batch_size, max_batch_tokens=max_batch_tokens, n_epochs=n_epochs),
        )
        check_batch_size(batch_size, n_episodes)
        check_kl_estimator(kl_estimator)
        check_certainty(certainty)
        if isinstance(token_weights, str):
            token_weights = named_weights(token_weights, kl_exponent, certainty, certainty_temperature)
        check_kl_in(kl_in, token_weights)
        super().__init__(
            policy,
            env,  # type: ignore[arg-type]
            learning_rate=learning_rate,
            n_steps=n_episodes,
            gamma=gamma,
            gae_lambda=gae_lambda,
            ent_coef=ent_coef,
            vf_coef=vf_coef,
            max_grad_norm=max_grad_norm,
            use_sde=False,
            sde_sample_freq=-1,
            stats_window_size=stats_window_size,
            tensorboard_log=tensorboard_log,
            policy_kwargs=policy_kwargs,
            verbose=verbose,
            seed=seed,
            device=device,
            _init_setup_model=False,
        )
        self.value_learning_rate = value_learning_rate
        self.n_episodes = n_episodes
        self.batch_size = batch_size
        self.max_batch_tokens = max_batch_tokens
        self.n_epochs = n_epochs
        self.clip_range = clip_range
        self.normalize_advantage = normalize_advantage
        self.kl_coef = kl_coef
        self.kl_exponent = kl_exponent
        self.kl_estimator: KLEstimator = kl_estimator
        self.kl_in = kl_in
        self.kl_controller = None if kl_target is None else AdaptiveKLCoef(kl_coef, kl_target)
        self.token_weights = token_weights
        self.certainty: Certainty = certainty
        self.certainty_temperature = certainty_temperature
        self._cache: KVCache | None = None
        self.health = Health()
        if _init_setup_model:
            self._setup_model()

    def _excluded_save_params(self) -> list[str]:
        return [*super()._excluded_save_params(), "_cache"]

    @staticmethod
    def _wrap_env(env: Any, verbose: int = 0, monitor_wrapper: bool = True) -> VecEnv:
        """As SB3's, and a Gymnasium ``VectorEnv`` is adapted."""
        if isinstance(env, gym.vector.VectorEnv):
            adapted = VectorEnvAdapter(env)
            return VecMonitor(adapted) if monitor_wrapper else adapted
        return OnPolicyAlgorithm._wrap_env(maybe_make_env(env, verbose), verbose, monitor_wrapper)

    def _setup_model(self) -> None:
        check_n_episodes(self.n_episodes, self.n_envs)
        self._setup_lr_schedule()
        self.value_lr_schedule = (
            self.lr_schedule if self.value_learning_rate is None else FloatSchedule(self.value_learning_rate)
        )
        self.clip_range_schedule = FloatSchedule(self.clip_range)
        self.set_random_seed(self.seed)
        self.batch_rng = np.random.default_rng(self.seed)
        policy = self.policy_class(self.observation_space, self.action_space, self.lr_schedule, **self.policy_kwargs)
        assert isinstance(policy, GPT2Policy)
        self.policy = policy.to(self.device)
        # What rebuilds the policy from the state_dict alone: the pre-trained folder may be gone when the agent is loaded.
        rebuild = {"pretrained": None, "config": policy.language_model.config.to_dict()}
        self.policy_kwargs = {**self.policy_kwargs, **rebuild}
        assert isinstance(self.action_space, spaces.Discrete)
        self.rollout_buffer = EpisodeBuffer(
            self.n_episodes,
            policy.max_tokens,
            int(self.action_space.n),
            policy.pad_token_id,
            gamma=self.gamma,
            gae_lambda=self.gae_lambda,
            device=self.device,
        )

    def collect_rollouts(  # type: ignore[override]
        self, env: VecEnv, callback: BaseCallback, rollout_buffer: EpisodeBuffer, n_rollout_steps: int
    ) -> bool:
        """Fill the buffer with ``n_episodes`` whole episodes, the same number from every lane.

        When ``callback.on_rollout_end`` is called, the rollout is finished: the buffer holds all that the update will read,
        advantages and token weights included, and the logger holds what is known of ``objective/*`` before the update.

        :param env: the training environment
        :param callback: called at every step, and at the beginning and the end of the rollout
        :param rollout_buffer: is emptied and filled
        :param n_rollout_steps: SB3's argument, not used
        :return: False if the callback stopped the rollout
        :raises FloatingPointError: if the rollout holds a NaN or an infinity
        """
        del n_rollout_steps
        self.policy.set_training_mode(False)
        callback.on_rollout_start()  # the buffer still holds the last rollout
        self.training_state = None
        rollout_buffer.reset()
        if not self._play_episodes(env, callback, rollout_buffer):
            return False
        self.health.after_rollout(list(self.ep_success_buffer or [])[-self.n_episodes :])
        self._finish_rollout(rollout_buffer)
        callback.update_locals(locals())
        callback.on_rollout_end()
        return True

    def _play_episodes(self, env: VecEnv, callback: BaseCallback, buffer: EpisodeBuffer) -> bool:
        """Write whole episodes into an empty buffer; False if the callback stopped it.

        Every lane is reset first. A lane that has done its share leaves the batch and idles until the last one is done; its
        steps are not counted and not seen by the statistics.
        """
        if self._cache is None or self._cache.capacity != env.num_envs:
            self._cache = self.policy.make_cache(env.num_envs)
        (cache := self._cache).reset()
        per_lane = self.n_episodes // env.num_envs
        played = np.zeros(env.num_envs, dtype=np.int64)  # episodes of each lane
        lanes = np.arange(env.num_envs)  # row i of the cache writes in lane lanes[i]
        idle_action = (self.policy.pad_token_id + 1) % buffer.vocab_size  # padding would end an episode at every step
        actions = np.full(env.num_envs, idle_action)
        obs = env.reset()
        while len(lanes):
            assert isinstance(obs, np.ndarray)
            states = obs[lanes]
            decoded = self.policy.decode(states, cache)
            actions[lanes] = decoded.actions.cpu().numpy()
            new_obs, rewards, dones, infos = env.step(actions)
            active = np.bincount(lanes, minlength=env.num_envs).astype(np.bool_)
            dones = dones & active
            infos = [info if is_active else {} for info, is_active in zip(infos, active, strict=True)]
            self.num_timesteps += len(lanes)
            callback.update_locals(locals())
            if not callback.on_step():
                return False
            self._update_info_buffer(infos, dones)
            for lane in np.flatnonzero(dones):
                if infos[lane].get("TimeLimit.truncated", False):
                    rewards[lane] += self.gamma * self._value_of(infos[lane]["terminal_observation"])
                if "critical_tokens" in infos[lane]:
                    buffer.mark_critical(lane * per_lane + played[lane], infos[lane]["critical_tokens"])
            buffer.add(lanes * per_lane + played[lanes], states, actions[lanes], rewards[lanes], *decoded[1:])
            played += dones
            self._episode_num += int(dones.sum())
            obs = new_obs
            if (finished := np.flatnonzero(played[lanes] == per_lane)).size:
                actions[lanes[finished]] = idle_action
                lanes = lanes[cache.drop(finished)]
        buffer.fetch()
        return True

    def _value_of(self, observation: np.ndarray) -> float:
        with torch.no_grad():
            return float(self.policy.predict_values(self.policy.obs_to_tensor(observation)[0]))  # type: ignore[arg-type]

    def _finish_rollout(self, buffer: EpisodeBuffer) -> None:
        """Compute, once per rollout, what the update reads: reference logits, returns, advantages and token weights."""
        for batch in buffer.batches(np.arange(self.n_episodes), self.max_batch_tokens):
            buffer.put(buffer.reference_logits, batch, self.policy.reference_logits(batch.tokens, batch.mask))
        if self.kl_in == "reward":
            tokens = buffer.token_batch(self.policy.temperature)
            weights = self.token_weights.kl(tokens)
            penalty = kl_reward(tokens.old_log_prob, tokens.reference_log_prob, weights, self.kl_coef)
            buffer.rewards += penalty.masked_fill(~tokens.mask, 0).cpu().numpy()
        buffer.compute_returns_and_advantage()
        buffer.check_finite()
        if self.normalize_advantage:
            buffer.normalize_advantages()
        tokens = buffer.token_batch(self.policy.temperature)
        for slot in SLOTS:
            buffer.weights[slot] = getattr(self.token_weights, slot)(tokens).cpu().numpy()
        check_finite({f"weights of the {slot} term": weights for slot, weights in buffer.weights.items()})
        certainty = ReferenceCertainty(self.certainty, self.certainty_temperature)(tokens)
        weights = torch.as_tensor(buffer.weights["kl"], device=self.device)
        record_rollout(self.logger, tokens, weights, self.token_weights.kl, certainty)

    def train(self) -> None:
        """Update policy and value head from a finished rollout; log SB3's ``train/*`` and ``objective/*`` about the reference."""
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

        self.health.after_update(statistics.means(), self.policy.parameters())
        self._n_updates += self.n_epochs
        kl = record_update(self.logger, statistics, self.n_episodes)
        self.logger.record("objective/kl_coef", self.kl_coef)
        self.logger.record("train/explained_variance", explained)
        self.logger.record("train/n_updates", self._n_updates, exclude="tensorboard")
        self.logger.record("train/clip_range", clip_range)
        if self.kl_controller is not None:
            self.kl_coef = self.kl_controller.update(kl, self.n_episodes)
        self.seconds_learned = (time.time_ns() - self.start_time) / 1e9

    def _loss(self, batch: EpisodeBatch, clip_range: float, statistics: MaskedStatistics, first_epoch: bool) -> torch.Tensor:
        """The loss of some episodes, a mean over their completion tokens."""
        log_probs, values = self.policy.evaluate_sequences(batch.tokens, batch.mask)  # (M, V), (M,)
        log_prob = log_probs.gather(1, batch.actions[:, None])[:, 0]
        reference_log_probs = F.log_softmax(batch.reference_logits / self.policy.temperature, dim=-1)
        clip_ranges = clip_range * batch.weights["clip"]
        surrogate, ratio = clipped_surrogate(log_prob, batch.old_log_prob, batch.advantages, clip_ranges)
        token_entropy = entropy(log_probs)
        kl = kl_per_token(log_probs, reference_log_probs, batch.actions, self.kl_estimator, batch.old_log_prob)
        policy_loss = (batch.weights["policy"] * surrogate).mean()
        value_loss = F.mse_loss(values, batch.returns)
        entropy_loss = -(batch.weights["entropy"] * token_entropy).mean()
        kl_loss = (batch.weights["kl"] * kl).mean()
        loss = policy_loss + self.vf_coef * value_loss + self.ent_coef * entropy_loss
        if self.kl_in == "loss":
            loss = loss + self.kl_coef * kl_loss

        n_tokens = len(batch.actions)
        log_ratio = (log_prob - batch.old_log_prob).detach()
        statistics.add("train/policy_gradient_loss", policy_loss, n_tokens)
        statistics.add("train/value_loss", value_loss, n_tokens)
        statistics.add("train/entropy_loss", entropy_loss, n_tokens)
        statistics.add("train/kl_loss", kl_loss, n_tokens)
        statistics.add("train/loss", loss, n_tokens)
        statistics.add("train/approx_kl", (torch.exp(log_ratio) - 1 - log_ratio).mean(), n_tokens)
        statistics.add("train/clip_fraction", ((ratio - 1).abs() > clip_ranges).float().mean(), n_tokens)
        if first_epoch:
            exact = kl_per_token(log_probs.detach(), reference_log_probs, batch.actions, "full")
            statistics.add("objective/kl_per_token", exact.mean(), n_tokens)
            statistics.add("objective/kl_weighted", (batch.weights["kl"] * exact).mean(), n_tokens)
            statistics.add("objective/entropy", token_entropy.mean(), n_tokens)
        return loss

    def _update_current_progress_remaining(self, num_timesteps: int, total_timesteps: int) -> None:
        """As SB3's, but never below 0: the last rollout ends with its last episode, beyond ``total_timesteps``."""
        super()._update_current_progress_remaining(num_timesteps, total_timesteps)
        self._current_progress_remaining = max(self._current_progress_remaining, 0.0)

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
    ) -> Self:
        """Train until at least ``total_timesteps`` completion tokens have been written; arguments as SB3's ``learn``.

        :raises FloatingPointError: at a NaN or an infinity, before it reaches the weights
        """
        try:
            super().learn(total_timesteps, callback, log_interval, tb_log_name, reset_num_timesteps, progress_bar)
        except FloatingPointError as error:
            raise FloatingPointError(f"update {self.updates_done + 1}: {error}") from error
        self.logger.dump(self.num_timesteps)  # the last update, which SB3 would leave unwritten
        return self

    @property
    def updates_done(self) -> int:
        """How many rollouts the agent has learned from."""
        return self._n_updates // self.n_epochs

    @property
    def episodes_done(self) -> int:
        """How many episodes have ended."""
        return self._episode_num

    def dump_logs(self, iteration: int = 0) -> None:
        """As SB3's, with the number of episodes."""
        self.logger.record("time/episodes", self.episodes_done)
        super().dump_logs(iteration)
