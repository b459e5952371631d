"""What the machine can do: its largest rate of operations and of reading memory."""

import torch

from benchmarks.measure import Part, Row, Settings, compare, interleave


class Gemm:
    """The product of two square matrices.

    :param size: rows and columns
    :param device: where
    :param dtype: of all numbers
    """

    def __init__(self, size: int, device: str = "cpu", dtype: torch.dtype = torch.float32):
        self.a, self.b, self.out = (torch.randn(size, size, device=device, dtype=dtype) for _ in range(3))
        self.name = f"GEMM, {size} x {size}"

    def multiply(self) -> int:
        """:return: floating-point operations"""
        torch.mm(self.a, self.b, out=self.out)
        return 2 * len(self.a) ** 3


class Read:
    """The sum of a long vector.

    :param megabytes: its size
    :param device: where
    """

    def __init__(self, megabytes: int, device: str = "cpu"):
        self.numbers = torch.ones(megabytes * 2**20 // 4, device=device)
        self.name = f"sum of {megabytes} MiB"

    def read(self) -> int:
        """:return: bytes"""
        self.numbers.sum()
        return self.numbers.numel() * 4


def measure(settings: Settings) -> list[Row]:
    """Peaks in float32."""
    gemm, read = Gemm(settings.gemm_size, settings.device), Read(settings.read_megabytes, settings.device)
    gemm.multiply()
    rates = interleave({gemm.name: gemm.multiply, read.name: read.read}, settings.repeats, settings.device)
    giga = {name: [rate / 1e9 for rate in repeats] for name, repeats in rates.items()}
    return [
        *compare("operations", "GFLOP/s", {gemm.name: giga[gemm.name]}),
        *compare("reading memory", "GB/s", {read.name: giga[read.name]}),
    ]


PART = Part("Machine", "In float32.", measure, ratio="")
