"""Where to compute."""

import torch


def resolve_device(device: torch.device | str) -> str:
    """A device that torch can use here; SB3 would silently fall back to the CPU for another one.

    :param device: such as ``"cpu"``, ``"cuda"`` or ``"cuda:1"``; ``"auto"`` is a GPU if there is one
    :raises ValueError: if there is no such device
    """
    device = str(device)
    if device == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    try:
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:
        reason = str(error).splitlines()[0]
        if reason.startswith("Expected one of"):  # a list of all back ends follows
            reason = "torch has cpu, cuda, cuda:1, mps and others"
        raise ValueError(
            f"device must be one that torch can use here, but it is {device!r} ({reason}): pass auto or cpu"
        ) from error
    return device
