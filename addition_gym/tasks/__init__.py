"""The tasks by the id of their environment; see :class:`addition_gym.tasks.task.Task`."""

from dataclasses import fields
from typing import Any

import gymnasium as gym

from addition_gym.checks import one_of
from addition_gym.tasks.addition import Addition
from addition_gym.tasks.parity import MixedParity
from addition_gym.tasks.path_star import PathStar
from addition_gym.tasks.permutation import PermutationTrack
from addition_gym.tasks.task import Task

__all__ = ["TASKS", "MixedParity", "PathStar", "PermutationTrack", "Task", "make_task", "register"]

TASKS: dict[str, type[Task]] = {"ScratchpadAdd-v0": Addition}


def register(env_id: str, task: type[Task]) -> None:
    """Make ``gym.make(env_id)`` and ``gym.make_vec(env_id)`` play a task. Fields of the task are arguments of the environment.

    :param env_id: such as ``"Reverse-v0"``
    :param task: the subclass
    """
    TASKS[env_id] = task
    gym.register(
        id=env_id,
        entry_point="addition_gym.env:TokenEnv",
        vector_entry_point="addition_gym.vector_env:TokenVectorEnv",
        order_enforce=False,  # the environment's own check says what to do
        kwargs={"task": env_id},
    )


def make_task(task: Task | str, arguments: dict[str, Any]) -> Task:
    """A task that is given, or that is to be made.

    :param task: the task, or the id that it is registered under
    :param arguments: its fields, if it is to be made
    :raises TypeError, ValueError: if it is not registered, or an argument breaks its constraint
    """
    if isinstance(task, str):
        one_of("task", task, list(TASKS))
    taken = {field.name for field in fields(TASKS[task])} if isinstance(task, str) else set()
    if unknown := arguments.keys() - taken:
        raise TypeError(
            f"arguments must be those of the environment or fields of a task that is named, but {min(unknown)!r} is neither: "
            "remove it"
        )
    return TASKS[task](**arguments) if isinstance(task, str) else task


register("MixedParity-v0", MixedParity)
register("PathStar-v0", PathStar)
register("PermutationTrack-v0", PermutationTrack)
