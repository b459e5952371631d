"""A task of ``addition_gym`` as a command line names it: its id, or where it is, and some of its arguments."""

import dataclasses
from collections.abc import Callable
from typing import Any

from addition_gym.tasks import TASKS, Task, make_task
from policies.checks import one_of
from train.run.own_code import OwnCode


def registered_name(argument: str, spec: str) -> str:
    """The id of an environment; one's own module or file that registers it is imported.

    :param argument: of the command line, for messages
    :param spec: the id, ``module:id`` or ``file.py:id``
    :raises ValueError: if there is no such module
    """
    return OwnCode.find(argument, spec).name if ":" in spec else spec


def named_task(task: str, assignments: str = "") -> Task:
    """The task, where it is to be fine-tuned on.

    :param task: its id, such as ``"MixedParity-v0"``; or ``module:id`` or ``file.py:id`` if a module of one's own registers it
    :param assignments: arguments that are not the default ones, such as ``"size=12,pretrained_size=6"``; of two for one name
        the last counts
    :raises ValueError: if there is no such task or argument, or a value breaks its constraint
    """
    task_id = registered_name("task", task)
    one_of("task", task_id, list(TASKS))
    defaults: dict[str, Any] = {field.name: field.default for field in dataclasses.fields(TASKS[task_id])}
    arguments = {}
    for assignment in filter(None, assignments.split(",")):
        name, equals, value = assignment.partition("=")
        kind: Callable[[str], Any] = type(defaults.get(name))
        try:
            arguments[name] = kind(value)
        except (TypeError, ValueError):
            equals = ""
        if not equals or name not in defaults:
            raise ValueError(
                f"task_arguments must be name=value,... where a name is one of {', '.join(defaults)}, but one is "
                f"{assignment!r}: correct it"
            )
    return make_task(task_id, arguments)
