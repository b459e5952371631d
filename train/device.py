"""Is there such a device?"""

import torch


def check_device(device: str) -> None:
    """Refuse a device that torch cannot use here; SB3 would take the CPU instead and say nothing.

    :param device: such as ``"cpu"``, ``"cuda"`` or ``"cuda:1"``
    :raises ValueError: if there is no such device
    """
    try:
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:
        reason = str(error).splitlines()[0]
        raise ValueError(f"device must be one that torch can use here, but it is {device!r} ({reason}): pass cpu") from error
