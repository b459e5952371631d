"""A Gymnasium ``VectorEnv`` seen as a Stable-Baselines3 ``VecEnv``."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from gymnasium.vector import AutoresetMode, SyncVectorEnv, VectorEnv
from stable_baselines3.common.vec_env.base_vec_env import VecEnv, VecEnvIndices, VecEnvObs, VecEnvStepReturn


class VectorEnvAdapter(VecEnv):
    """Run a Gymnasium ``VectorEnv`` wherever SB3 wants a ``VecEnv``.

    ``final_obs`` becomes ``terminal_observation``, ``final_info`` the info of an episode's last step.

    :param env: a vector environment that resets a lane within the step that ends it
    :raises TypeError: if it is not a ``VectorEnv``
    :raises ValueError: if its autoreset mode is not ``SAME_STEP``, the only one that has SB3's meaning
    """

    def __init__(self, env: VectorEnv):
        if not isinstance(env, VectorEnv):
            raise TypeError(
                f"env must be a gymnasium.vector.VectorEnv, but it is {env!r}: SB3 takes other environments as they are"
            )
        mode = env.metadata.get("autoreset_mode")
        if mode != AutoresetMode.SAME_STEP:
            raise ValueError(
                f"env must reset in the same step (AutoresetMode.SAME_STEP), but its autoreset mode is {mode}: "
                "pass vector_kwargs={'autoreset_mode': AutoresetMode.SAME_STEP} to gymnasium.make_vec"
            )
        self.env = env
        self.render_mode = env.render_mode
        self._actions = np.zeros(env.num_envs, dtype=np.int64)
        super().__init__(env.num_envs, env.single_observation_space, env.single_action_space)

    def reset(self) -> VecEnvObs:
        seed = None if all(lane_seed is None for lane_seed in self._seeds) else self._seeds
        obs, infos = self.env.reset(
            seed=seed,  # type: ignore[arg-type]
            options=self._shared_options(),
        )
        self.reset_infos = self._lane_infos(infos)
        self._reset_seeds()
        self._reset_options()
        return obs

    def step_async(self, actions: np.ndarray) -> None:
        self._actions = actions

    def step_wait(self) -> VecEnvStepReturn:
        obs, rewards, terminations, truncations, infos = self.env.step(self._actions)
        dones = terminations | truncations
        lane_infos: list[dict[str, Any]] = [{} for _ in range(self.num_envs)]
        ended = np.flatnonzero(dones)
        if len(ended):
            final_infos = self._lane_infos(infos["final_info"], ended)
            for lane in ended:
                lane_infos[lane] = {
                    **final_infos[lane],
                    "terminal_observation": infos["final_obs"][lane],
                    "TimeLimit.truncated": bool(truncations[lane] and not terminations[lane]),
                }
        return obs, rewards.astype(np.float32), dones, lane_infos

    def close(self) -> None:
        self.env.close()

    def get_attr(self, attr_name: str, indices: VecEnvIndices = None) -> list[Any]:
        """An attribute of the vector environment, once per lane; a tuple, list or array of ``num_envs`` is split by lane.

        What a vector environment lacks is looked up below its wrappers, and then in the environments of a ``SyncVectorEnv``.
        """
        for env in (self.env, self.env.unwrapped):
            if hasattr(env, attr_name):
                return self._by_lane(getattr(env, attr_name), indices)
        if not isinstance(self.env.unwrapped, SyncVectorEnv):
            raise AttributeError(f"{self.env} has no attribute {attr_name!r}")
        return [self.env.unwrapped.envs[lane].get_wrapper_attr(attr_name) for lane in self._get_indices(indices)]

    def set_attr(self, attr_name: str, value: Any, indices: VecEnvIndices = None) -> None:
        """Set an attribute of the vector environment.

        :raises ValueError: if ``indices`` leaves lanes out: the lanes share one environment
        """
        if len(list(self._get_indices(indices))) != self.num_envs:
            raise ValueError(f"indices must name every lane, but it is {indices!r}: the lanes share one environment")
        setattr(self.env, attr_name, value)

    def env_method(self, method_name: str, *method_args: Any, indices: VecEnvIndices = None, **method_kwargs: Any) -> list[Any]:
        """Call a method of the vector environment once; a result with one entry per lane is split by lane."""
        return self._by_lane(getattr(self.env, method_name)(*method_args, **method_kwargs), indices)

    def env_is_wrapped(self, wrapper_class: type, indices: VecEnvIndices = None) -> list[bool]:
        return [False for _ in self._get_indices(indices)]

    def get_images(self) -> Sequence[np.ndarray | None]:
        return [None] * self.num_envs

    def _shared_options(self) -> dict[str, Any] | None:
        """One dictionary of lists from SB3's one dictionary per lane."""
        keys = {key for options in self._options for key in options}
        return {key: [options.get(key) for options in self._options] for key in keys} or None

    def _by_lane(self, value: Any, indices: VecEnvIndices) -> list[Any]:
        per_lane = isinstance(value, tuple | list | np.ndarray) and len(value) == self.num_envs
        return [value[lane] if per_lane else value for lane in self._get_indices(indices)]

    def _lane_infos(self, infos: dict[str, Any], lanes: Sequence[int] | np.ndarray | None = None) -> list[dict[str, Any]]:
        """Gymnasium's dictionary of arrays and masks as one dictionary per lane."""
        result: list[dict[str, Any]] = [{} for _ in range(self.num_envs)]
        for key, values in infos.items():
            if key.startswith("_"):
                continue
            present = infos.get(f"_{key}", np.ones(self.num_envs, dtype=np.bool_))
            nested = self._lane_infos(values) if isinstance(values, dict) else None
            for lane in range(self.num_envs) if lanes is None else lanes:
                if present[lane]:
                    value = values[lane] if nested is None else nested[lane]
                    result[lane][key] = value.item() if isinstance(value, np.generic) else value
        return result
