"""A task of ``addition_gym`` as a command line names it: its id, and some of its arguments."""

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

from addition_gym.tasks import TASKS, Task, make_task
from policies.checks import one_of

ADDITION = "ScratchpadAdd-v0"


def named_task(task_id: str, assignments: Sequence[str] = ()) -> Task:
    """The task, where it is to be fine-tuned on.

    :param task_id: such as ``"MixedParity-v0"``
    :param assignments: arguments that are not the default ones, such as ``"size=12"``
    :raises ValueError: if there is no such task or argument, or a value breaks its constraint
    """
    one_of("task", task_id, list(TASKS))
    defaults: dict[str, Any] = {field.name: field.default for field in dataclasses.fields(TASKS[task_id])}
    arguments = {}
    for assignment in assignments:
        name, equals, value = assignment.partition("=")
        kind: Callable[[str], Any] = type(defaults.get(name))
        try:
            arguments[name] = kind(value)
        except (TypeError, ValueError):
            equals = ""
        if not equals or name not in defaults:
            raise ValueError(
                f"task_arguments must be name=value, where name is one of {', '.join(defaults)}, but one is {assignment!r}: "
                "correct it"
            )
    return make_task(task_id, arguments)
