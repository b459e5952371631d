"""Commands tell a person what went wrong in one line."""

import sys
from collections.abc import Callable

from train.failure import TrainingFailed
from train.stop_signals import Interrupted


def run_command(main: Callable[[], None]) -> None:
    """Run a command; in Python's development mode (``python -X dev -m train.ppo``) errors show where they come from.

    :param main: its ``main``
    :raises SystemExit: with status 2 if an argument or an input is wrong (``ValueError``, ``TypeError``), with 1 if the machine
        or the training failed, or a package is missing, with 128 and the number of the signal if a run was interrupted
    """
    try:
        main()
    except Interrupted as interrupted:
        raise SystemExit(128 + interrupted.number) from None
    except (ValueError, TypeError, OSError, ImportError, TrainingFailed) as error:
        if sys.flags.dev_mode:
            raise
        print(f"error: {error}", file=sys.stderr)
        raise SystemExit(2 if isinstance(error, ValueError | TypeError) else 1) from None
