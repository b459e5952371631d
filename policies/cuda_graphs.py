"""Decoding as CUDA graphs: one launch per token instead of hundreds."""

import warnings
from collections.abc import Callable

import torch
from torch import Tensor

SPAN = 128
"""The number of tokens of the cache that a graph looks at is a multiple of this."""

Step = Callable[[Tensor, Tensor, int], Tensor]
"""Maps tokens ``(B,)``, positions ``(B,)`` and how many tokens of the cache to look at, to hidden states ``(B, D)``."""


class GraphedStep:
    """Replays a decoding step from static buffers, with one graph per number of rows and span.

    The number of rows is rounded up to a power of two, the span to a multiple of :data:`SPAN`. The rows added write to
    position ``max_tokens``, where no text is. If a graph cannot be captured, this warns once and runs the step without graphs.

    :param step: the step; it must not read anything from the device
    :param n_rows: rows of the cache
    :param max_tokens: length of the cache
    :param device: a CUDA device
    """

    def __init__(self, step: Step, n_rows: int, max_tokens: int, device: torch.device):
        self.step, self.n_rows, self.max_tokens = step, n_rows, max_tokens
        self._tokens = torch.zeros(n_rows, dtype=torch.int64, device=device)
        self._positions = torch.zeros_like(self._tokens)
        self._graphs: dict[tuple[int, int], tuple[Callable[[], None], Tensor]] = {}
        self._captures = True

    def __call__(self, tokens: Tensor, positions: Tensor, longest: int) -> Tensor:
        """As the step, but the next call overwrites the result."""
        n = len(tokens)
        rows = min(1 << (n - 1).bit_length(), self.n_rows)
        span = min(-(-longest // SPAN) * SPAN, self.max_tokens)
        if not self._captures:
            return self.step(tokens, positions, longest)
        self._tokens[:n], self._positions[:n] = tokens, positions
        self._positions[n:] = self.max_tokens
        if (rows, span) not in self._graphs:
            try:
                self._graphs[rows, span] = capture(lambda: self.step(self._tokens[:rows], self._positions[:rows], span))
            except RuntimeError as error:
                warnings.warn(f"Decoding without CUDA graphs, since one could not be captured: {error}", stacklevel=2)
                self._captures = False
                return self.step(tokens, positions, longest)
        replay, hidden = self._graphs[rows, span]
        replay()
        return hidden[:n]


def capture(step: Callable[[], Tensor]) -> tuple[Callable[[], None], Tensor]:
    """Capture a graph.

    :param step: reads and writes static memory only; is run three times
    :return: a function that replays it, and its result, which every replay overwrites
    """
    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):  # PyTorch asks for a warm-up outside the capture
        for _ in range(2):
            step()
    torch.cuda.current_stream().wait_stream(stream)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        result = step()
    return graph.replay, result
