"""``EpisodicAlgorithm``: SB3's ``OnPolicyAlgorithm`` for whole episodes of tokens, resuming exactly from its checkpoints."""

import io
from pathlib import Path
from typing import Any, Self

import gymnasium as gym
import numpy as np
import torch
from stable_baselines3.common.base_class import maybe_make_env
from stable_baselines3.common.callbacks import BaseCallback, CallbackList, ConvertCallback
from stable_baselines3.common.on_policy_algorithm import OnPolicyAlgorithm
from stable_baselines3.common.type_aliases import GymEnv, MaybeCallback
from stable_baselines3.common.vec_env import SubprocVecEnv, VecEnv, VecMonitor

from agents.episode_buffer import EpisodeBuffer
from agents.health import Health
from agents.progress_bar import TimestepsBar
from agents.training_state import TrainingState
from agents.vec_env import VectorEnvAdapter
from policies.policy import GPT2Policy
from policies.text_cache import TextCache


def lane_seeds(seed: int, n_lanes: int) -> list[int | None]:
    """Seeds of lanes, as good as certainly other ones for every seed of a run, near or far.

    :param seed: of the run, >= 0
    :param n_lanes: how many
    """
    return np.random.SeedSequence([seed, 2]).generate_state(n_lanes).tolist()  # [seed, 1] is that of the sampling


class EpisodicAlgorithm(OnPolicyAlgorithm):
    """The base class of agents: what SB3 has in ``OnPolicyAlgorithm``, apart from any one loss.

    A subclass sets the attributes below, and has ``_setup_buffer``, ``_finish_rollout`` and ``train``. An agent resumes as if
    it had never stopped, bit for bit on one CPU thread::

        agent.save_checkpoint(path)  # between an update and the next rollout, such as in a callback's _on_rollout_start

        agent = PrioritizedKLPPO.load(path, env=env)  # a new environment like the old one
        agent.resume()
        agent.learn(timesteps_left, reset_num_timesteps=False)
    """

    policy: GPT2Policy
    rollout_buffer: EpisodeBuffer  # type: ignore[assignment]
    n_episodes: int
    """Episodes of a rollout, a multiple of the number of lanes."""
    n_epochs: int
    """Passes of an update over its rollout."""
    total_episodes: int | None = None
    """No rollout begins after so many episodes; None for any number."""
    health: Health
    batch_rng: np.random.Generator
    """Draws the minibatches."""
    sampling_rng: np.random.Generator
    """Draws a number for every token of every episode, which chooses it."""
    training_state: TrainingState | None = None
    """What :meth:`save_checkpoint` remembered; None again as soon as a rollout begins."""
    seconds_learned: float = 0.0
    """How long the agent had learned when its last update ended, interruptions aside; reset with the timesteps."""
    _cache: TextCache | None = None

    def _excluded_save_params(self) -> list[str]:
        return [*super()._excluded_save_params(), "_cache"]

    @staticmethod
    def _wrap_env(env: Any, verbose: int = 0, monitor_wrapper: bool = True) -> VecEnv:
        """As SB3's, and a Gymnasium ``VectorEnv`` is adapted."""
        if isinstance(env, gym.vector.VectorEnv):
            adapted = VectorEnvAdapter(env)
            return VecMonitor(adapted) if monitor_wrapper else adapted
        return OnPolicyAlgorithm._wrap_env(maybe_make_env(env, verbose), verbose, monitor_wrapper)

    @classmethod
    def load(
        cls,
        path: str | Path | io.BufferedIOBase,
        env: GymEnv | gym.vector.VectorEnv | None = None,
        device: torch.device | str = "auto",
        custom_objects: dict[str, Any] | None = None,
        print_system_info: bool = False,
        force_reset: bool = True,
        **kwargs: Any,
    ) -> Self:
        """As SB3's, and the observations of ``env`` may be longer or shorter than those that the agent has learned on.

        :raises ValueError: if they are longer than the model has positions, or ``env`` has another vocabulary
        """
        if env is not None:
            env = cls._wrap_env(env)
            custom_objects = {**(custom_objects or {}), "observation_space": env.observation_space}
        return super().load(path, env, device, custom_objects, print_system_info, force_reset, **kwargs)

    def set_env(self, env: GymEnv | gym.vector.VectorEnv, force_reset: bool = True) -> None:
        """As SB3's, and the observations may be longer or shorter than before.

        :raises ValueError: if they are longer than the model has positions, or ``env`` has another vocabulary
        """
        env = self._wrap_env(env, self.verbose)
        resized = env.observation_space != self.observation_space
        if resized and env.num_envs == self.n_envs and env.action_space == self.action_space:
            self.policy.set_observation_space(env.observation_space)
            self.observation_space = env.observation_space
        super().set_env(env, force_reset)
        self._adopt_draft()
        if resized or not hasattr(self, "rollout_buffer"):
            self._setup_buffer()

    def _adopt_draft(self) -> None:
        """Decode with the drafts of the environment, if it has any in this process; see :data:`policies.text_cache.Draft`."""
        assert self.env is not None
        in_process = not isinstance(self.env.unwrapped, SubprocVecEnv)
        draft = self.env.get_attr("draft")[0] if in_process and self.env.has_attr("draft") else None
        self.policy.draft = draft if callable(draft) else None
        self._cache = None

    def set_random_seed(self, seed: int | None = None) -> None:
        """As SB3's, but lane i is not seeded with ``seed + i``, which near seeds would share nearly all lanes of."""
        super().set_random_seed(seed)
        sampling_rng = np.random.default_rng(None if seed is None else [seed, 1])
        if not hasattr(self, "sampling_rng"):
            self.sampling_rng = sampling_rng
        elif seed is not None:
            self.sampling_rng.bit_generator.state = sampling_rng.bit_generator.state  # a cache has it, too
        if seed is not None and self.env is not None:
            self.env.unwrapped._seeds = lane_seeds(seed, self.n_envs)

    def _setup_buffer(self) -> None:
        """Make ``rollout_buffer`` for the environment; there is none without one.

        :raises ValueError: if it would not fit into memory
        """
        raise NotImplementedError

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
        :return: False if the callback stopped the rollout, or there have been ``total_episodes``
        :raises FloatingPointError: if the rollout holds a NaN or an infinity
        """
        del n_rollout_steps
        if self.total_episodes is not None and self.episodes_done >= self.total_episodes:
            return False
        self.policy.set_training_mode(False)
        callback.on_rollout_start()  # the buffer still holds the last rollout
        self.training_state = None
        rollout_buffer.reset()
        if not self._play_episodes(env, callback, rollout_buffer):
            return False
        self.health.after_rollout(list(self.ep_success_buffer or [])[-self.n_episodes :])
        self._update_current_progress_remaining(self.num_timesteps, self._total_timesteps)  # as SB3 does, but before the update
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
            self._cache = self.policy.make_cache(env.num_envs, rng=self.sampling_rng, keep_logits=buffer.keep_old_logits)
        (cache := self._cache).reset()
        n_reads, n_tokens_read = cache.kv.n_reads, cache.kv.n_tokens_read
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
            actions[lanes] = decoded.actions
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
                episode = lane * per_lane + played[lane]
                buffer.problem_classes[episode] = infos[lane].get("problem_class")
                if "critical_tokens" in infos[lane]:
                    buffer.mark_critical(episode, infos[lane]["critical_tokens"])
            buffer.add(lanes * per_lane + played[lanes], states, actions[lanes], rewards[lanes], *decoded[1:])
            played += dones
            self._episode_num += int(dones.sum())
            obs = new_obs
            if (finished := np.flatnonzero(played[lanes] == per_lane)).size:
                actions[lanes[finished]] = idle_action
                lanes = lanes[cache.drop(finished)]
        self.logger.record("rollout/forward_passes", cache.kv.n_reads - n_reads)
        self.logger.record("rollout/tokens_read", (cache.kv.n_tokens_read - n_tokens_read) / buffer.mask.sum())
        return True

    def _value_of(self, observation: np.ndarray) -> float:
        with torch.no_grad():
            return float(self.policy.predict_values(self.policy.obs_to_tensor(observation)[0]))  # type: ignore[arg-type]

    def _finish_rollout(self, buffer: EpisodeBuffer) -> None:
        """Compute what the update reads, once per rollout.

        :param buffer: of the whole episodes
        """
        raise NotImplementedError

    @property
    def updates_done(self) -> int:
        """How many rollouts the agent has learned from."""
        return self._n_updates // self.n_epochs

    @property
    def episodes_done(self) -> int:
        """How many episodes have ended."""
        return self._episode_num

    def save_checkpoint(self, path: str | Path | io.BufferedIOBase) -> None:
        """Save the agent with everything that :meth:`resume` needs.

        To be called between an update and the next rollout. Unlike ``save`` it needs lanes that give their random generators as
        ``np_random``, as Gymnasium's environments do, in this process (not in a ``SubprocVecEnv``).

        :param path: of the zip file, or an open binary file
        :raises ValueError: if the agent has no environment, or has not begun to learn
        :raises AttributeError: if the lanes have no ``np_random``
        """
        self.training_state = TrainingState.of(self)
        self.save(path)

    def resume(self) -> None:
        """Restore what :meth:`save_checkpoint` remembered; the last thing to do before ``learn``.

        The agent must have its environment, which is reset here.

        :raises ValueError: if the agent was not loaded from such a checkpoint or has learned since, or if it has no environment
            with as many lanes
        """
        if self.training_state is None:
            raise ValueError(
                "training_state must be that of a checkpoint, but it is None: load a file that save_checkpoint wrote, or call "
                "learn without resume"
            )
        self.training_state.restore(self)

    def _setup_learn(
        self,
        total_timesteps: int,
        callback: MaybeCallback = None,
        reset_num_timesteps: bool = True,
        tb_log_name: str = "run",
        progress_bar: bool = False,
    ) -> tuple[int, BaseCallback]:
        """As SB3's; if the timesteps continue, so do the clock and the row of the log that was begun."""
        result = super()._setup_learn(total_timesteps, callback, reset_num_timesteps, tb_log_name, progress_bar)
        if reset_num_timesteps:
            self.seconds_learned = 0.0
        elif self.training_state is not None:
            self.training_state.restore_log(self.logger)
        self.start_time -= round(self.seconds_learned * 1e9)
        self._num_timesteps_at_start = 0
        return result

    def _init_callback(self, callback: MaybeCallback, progress_bar: bool = False) -> BaseCallback:
        """As SB3's, with a progress bar that leaves out the steps of idle lanes."""
        if progress_bar:
            callbacks = callback if isinstance(callback, list) else [callback]
            given = [each if isinstance(each, BaseCallback) else ConvertCallback(each) for each in callbacks]
            callback = CallbackList([*given, TimestepsBar()])
        return super()._init_callback(callback)

    def _update_current_progress_remaining(self, num_timesteps: int, total_timesteps: int) -> None:
        """As SB3's, but never below 0: the last rollout ends with its last episode, beyond ``total_timesteps``."""
        super()._update_current_progress_remaining(num_timesteps, total_timesteps)
        self._current_progress_remaining = max(self._current_progress_remaining, 0.0)

    def dump_logs(self, iteration: int = 0) -> None:
        """As SB3's, with the number of episodes."""
        self.logger.record("time/episodes", self.episodes_done)
        super().dump_logs(iteration)
