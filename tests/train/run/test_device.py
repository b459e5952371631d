import pytest
import torch

from train.device import check_device


def test_devices() -> None:
    check_device("cpu")
    missing = f"cuda:{torch.cuda.device_count()}"
    for device in ("foo", "", missing):
        with pytest.raises(ValueError, match=f"device must be one that torch can use here, but it is '{device}'"):
            check_device(device)
