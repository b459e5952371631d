"""Commands tell a person what went wrong in one line."""

import signal
import sys
from collections.abc import Callable

from train.failure import TrainingFailed
from train.stop_signals import Interrupted, stop_at_once


def run_command(main: Callable[[], None]) -> None:
    """Run a command; in Python's development mode (``python -X dev -m train.ppo``) errors show where they come from.

    :param main: its ``main``
    :raises SystemExit: with status 2 if an argument or an input is wrong (``ValueError``, ``TypeError``), with 1 if the machine
        or the training failed, or a package is missing, with 128 and the number of the signal if a run was interrupted
    """
    handlers = {number: signal.signal(number, stop_at_once) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        main()
    except Interrupted as interrupted:
        raise SystemExit(128 + interrupted.number) from None
    except KeyboardInterrupt as interrupt:
        (number,) = interrupt.args or (signal.SIGINT,)
        print(f"stopped by {signal.Signals(number).name}", file=sys.stderr)
        raise SystemExit(128 + number) from None
    except (ValueError, TypeError, OSError, ImportError, TrainingFailed) as error:
        if sys.flags.dev_mode:
            raise
        print(f"error: {error}", file=sys.stderr)
        raise SystemExit(2 if isinstance(error, ValueError | TypeError) else 1) from None
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)
