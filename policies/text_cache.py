"""Decoding of many texts: token by token, or many tokens at a time where a draft says what to expect.

Exact speculative decoding (Leviathan et al. 2023, arXiv:2211.17192; Chen et al. 2023, arXiv:2302.01318), with drafts that are
given instead of modelled. One forward pass reads a draft, a token is chosen at every position of it from the policy's own
distribution, and the tokens are kept up to and including the first that differs from the draft. So each is chosen given nothing
but those before it, and with one random number per text and position they are the very tokens of decoding one by one.
"""

import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import NamedTuple, Self

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from policies.kv_cache import KVCache

Draft = Callable[[npt.NDArray[np.int64]], npt.NDArray[np.int64]]
"""Maps texts, int64 ``(B, T)`` padded right, to how they may continue, int64 ``(B, K)`` padded right. Wrong tokens cost
time, and nothing else; a row of padding says that its text is expected to end."""

Floats = npt.NDArray[np.float32]

COST_OF_A_READ = 3.0
"""What a forward pass costs for every text besides reading its tokens, in tokens."""

FEW_TOKENS = 192
"""A forward pass of fewer tokens does not pay: where few texts are left, more of their drafts is read."""

MANY_TOKENS = 4096
"""A forward pass has at most as many tokens, unless a single text needs more."""

MANY_LOGITS = 2**24
"""A forward pass has at most as many logits, likewise."""


class Choice(NamedTuple):
    """Tokens chosen in M states, on the device."""

    actions: Tensor
    """int64 ``(M,)``"""
    values: Tensor
    """Of the states, ``(M,)``."""
    log_prob: Tensor
    """Of the tokens, ``(M,)``."""
    logits: Tensor
    """``(M, V)``"""


class Decoded(NamedTuple):
    """The next tokens of B texts, on the host."""

    actions: npt.NDArray[np.int64]
    """The tokens, ``(B,)``."""
    values: Floats
    """Values of the states in which they were chosen, ``(B,)``."""
    log_prob: Floats
    """Log-probabilities of the tokens, ``(B,)``."""
    logits: Floats | None
    """The language model's logits, before the softmax temperature, ``(B, V)``; None if the cache does not keep them."""


Choose = Callable[[Tensor, Floats | None], Choice]
"""Chooses tokens from hidden states ``(M, D)`` and random numbers in [0, 1), ``(M,)``; the most probable ones without."""


@dataclass
class _Texts:
    """What is known of each text. Position t is the state whose last token is ``tokens[:, t]``."""

    tokens: npt.NDArray[np.int64]
    """Those seen, those foreseen, and a draft, ``(B, T + 1)``: a text of T tokens has a next one, too."""
    uniforms: Floats
    """A random number for the choice in each state, ``(B, T)``."""
    values: Floats
    """``(B, T)``, where a token has been chosen; and so the next two."""
    log_prob: Floats
    logits: Floats | None
    seen: npt.NDArray[np.int64]
    """How many tokens the last observation had, 0 without any, ``(B,)``."""
    ends: npt.NDArray[np.int64]
    """How many tokens are seen or foreseen, ``(B,)``."""
    drafted: npt.NDArray[np.int64]
    """How many there are with the draft, ``(B,)``."""
    trust: npt.NDArray[np.int64]
    """1 if the environment has written all that it was told, -1 if it has not, 0 if it was told nothing yet, ``(B,)``."""

    @classmethod
    def empty(cls, n_rows: int, max_tokens: int, vocab_size: int | None) -> Self:
        """Nothing known. :param n_rows: B; :param max_tokens: T; :param vocab_size: V, None if no logits are wanted"""
        shape = (n_rows, max_tokens)
        return cls(
            tokens=np.zeros((n_rows, max_tokens + 1), dtype=np.int64),
            uniforms=np.zeros(shape, dtype=np.float32),
            values=np.zeros(shape, dtype=np.float32),
            log_prob=np.zeros(shape, dtype=np.float32),
            logits=None if vocab_size is None else np.zeros((*shape, vocab_size), dtype=np.float32),
            seen=np.zeros(n_rows, dtype=np.int64),
            ends=np.zeros(n_rows, dtype=np.int64),
            drafted=np.zeros(n_rows, dtype=np.int64),
            trust=np.zeros(n_rows, dtype=np.int64),
        )

    def move(self, rows: npt.NDArray[np.int64], to: npt.NDArray[np.int64]) -> None:
        """Copy some texts over others."""
        for array in vars(self).values():
            if array is not None:
                array[to] = array[rows]


class TextCache:
    """What is known of B texts: keys and values, random numbers, and the tokens that are foreseen.

    A cache belongs to whoever decodes. It is never silently wrong: every text is compared with the one before it and with what
    was foreseen, and read again from where it differs; if a weight has changed in place, nothing that was computed is used
    again (changes through ``.data``, or of which tensor is the weight, go unnoticed). The tokens do not depend on drafts. A
    text that does not continue the one before it by one token is a new one; drafts are used from its second token on, when the
    caller has shown that it keeps the cache and writes what it is told.

    :param kv: empty keys and values of B texts of up to T tokens
    :param vocab_size: V
    :param pad_token_id: the padding token, which no text contains
    :param weights: all that the choice of a token depends on
    :param rng: draws the random numbers of every new text; by default PyTorch's generator seeds one when it is needed
    :param draft: says how texts may continue; None decodes token by token
    :param keep_logits: whether logits are wanted
    """

    def __init__(
        self,
        kv: KVCache,
        vocab_size: int,
        pad_token_id: int,
        weights: Iterable[nn.Parameter],
        rng: np.random.Generator | None = None,
        draft: Draft | None = None,
        keep_logits: bool = True,
    ):
        self.kv, self.vocab_size, self.pad_token_id, self.rng, self.draft = kv, vocab_size, pad_token_id, rng, draft
        self.capacity, self.max_tokens = len(kv.lengths), kv.max_tokens
        self._weights = list(weights)
        self._many_tokens = min(MANY_TOKENS, MANY_LOGITS // vocab_size)
        self._texts = _Texts.empty(self.capacity, self.max_tokens, vocab_size if keep_logits else None)
        self.reset()

    def reset(self) -> None:
        """Forget all texts; the rows that were dropped are back."""
        self.n_rows = self.capacity
        self._texts.seen[:] = self._texts.ends[:] = self.kv.lengths[:] = 0
        self._made_with: tuple[int, bool, float] | None = None
        self._kept, self._surprises = 100, 1  # tokens kept of drafts, and drafts that surprised; a guess to start from

    @property
    def shape(self) -> tuple[int, int]:
        """``(B, T)``"""
        return self.n_rows, self.max_tokens

    def drop(self, rows: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
        """Give up some texts. The last of the others take their places, so that the cache stays compact.

        :param rows: which, int ``(k,)``, without repeats
        :return: the former row of each remaining text, int ``(B - k,)``
        """
        n_left = self.n_rows - len(rows)
        order = np.arange(n_left)
        holes = rows[rows < n_left]
        order[holes] = np.setdiff1d(np.arange(n_left, self.n_rows), rows)
        if len(holes):
            self.kv.move(order[holes], to=holes)
            self._texts.move(order[holes], to=holes)
        self.n_rows = n_left
        return order

    def decode(self, obs: npt.NDArray[np.int64], choose: Choose, deterministic: bool, temperature: float) -> Decoded:
        """The next token of every text.

        :param obs: texts padded right, ``(B, T)``
        :param choose: chooses tokens
        :param deterministic: whether without random numbers
        :param temperature: what else it chooses by
        :raises FloatingPointError: from ``choose``
        """
        texts = self._texts
        lengths = np.maximum((obs != self.pad_token_id).sum(axis=1), 1)
        unknown = self._observe(obs, lengths, deterministic, temperature)
        if len(unknown):
            try:
                self._foresee(unknown, choose, deterministic)
            except FloatingPointError:
                self.kv.clear()  # a masked NaN is still a NaN
                raise
        rows, states = np.arange(self.n_rows), lengths - 1
        logits = None if texts.logits is None else texts.logits[rows, states]
        return Decoded(texts.tokens[rows, lengths], texts.values[rows, states], texts.log_prob[rows, states], logits)

    def _observe(
        self, obs: npt.NDArray[np.int64], lengths: npt.NDArray[np.int64], deterministic: bool, temperature: float
    ) -> npt.NDArray[np.int64]:
        """Compare texts with what is known of them. :return: the texts whose next token is not known, int ``(b,)``"""
        texts, n = self._texts, self.n_rows
        seen, ends = texts.seen[:n], texts.ends[:n]
        made_with = sum(weight._version for weight in self._weights), deterministic, temperature
        before, self._made_with = self._made_with or made_with, made_with
        if before[0] != made_with[0]:
            self.kv.lengths[:] = 0
        if before != made_with:
            np.minimum(ends, seen, out=ends)
        if before[1:] != made_with[1:]:
            seen[:] = 0  # chosen otherwise, they are new texts
        longest = int(lengths.max())
        obs, tokens = obs[:, :longest], texts.tokens[:n, :longest]
        common = np.minimum(lengths, ends)
        same = (obs == tokens) | (np.arange(longest) >= common[:, None])
        agreed = np.where(same.all(axis=1), common, same.argmin(axis=1))  # so many tokens
        is_next = (seen > 0) & (lengths == seen + 1) & (agreed >= seen)
        unknown = np.flatnonzero(~(is_next & (agreed == lengths) & (lengths < ends)))
        new = unknown[~is_next[unknown]]
        texts.trust[new] = 0
        if not deterministic:
            self.rng = self.rng or np.random.default_rng(int(torch.randint(2**62, ())))
            for row, seed in zip(new, self.rng.integers(2**63, size=len(new)), strict=True):
                texts.uniforms[row] = np.random.default_rng(seed).random(self.max_tokens, dtype=np.float32)  # whatever T is
        texts.trust[:n] = np.where(is_next & (texts.trust[:n] == 0), 1, texts.trust[:n])
        texts.trust[:n] = np.where(is_next & (agreed < common), -1, texts.trust[:n])
        tokens[unknown] = obs[unknown]
        ends[unknown] = lengths[unknown]
        texts.drafted[unknown] = 0
        self.kv.lengths[unknown] = np.minimum(self.kv.lengths[unknown], np.minimum(agreed, lengths - 1)[unknown])
        seen[:] = lengths
        return unknown

    def _foresee(self, rows: npt.NDArray[np.int64], choose: Choose, deterministic: bool) -> None:
        """Choose the next token of some texts, and all tokens to come of those that have drafts."""
        texts = self._texts
        while len(rows):
            self._draft(rows)
            looks = np.minimum(self._look(len(rows)), texts.drafted[rows] - texts.ends[rows]).clip(min=0)
            for some in _pieces(texts.ends[rows] - self.kv.lengths[rows] + looks, self._many_tokens):
                self._read(rows[some], looks[some], choose, deterministic)
            ends = texts.ends[rows]
            goes_on = (looks > 0) & (ends < self.max_tokens) & (texts.tokens[rows, ends - 1] != self.pad_token_id)
            rows = rows[goes_on]

    def _look(self, n_rows: int) -> int:
        """How many tokens of a draft to read at once; the fewer, the more often drafts have been wrong.

        If a token is a surprise with probability p, and a read costs as much as c tokens besides its own, a look of about
        ``sqrt(2 c / p)`` is the cheapest per token kept.
        """
        look = int(math.sqrt(2 * COST_OF_A_READ * self._kept / self._surprises))
        return min(max(look, FEW_TOKENS // n_rows), 4 * look)

    def _draft(self, rows: npt.NDArray[np.int64]) -> None:
        """Ask how some texts may continue, where it is not known."""
        texts = self._texts
        rows = rows[(texts.drafted[rows] <= texts.ends[rows]) & (texts.trust[rows] > 0)]
        if self.draft is None or not len(rows):
            return
        ends, columns = texts.ends[rows, None], np.arange(self.max_tokens)
        drafts = np.asarray(self.draft(np.where(columns < ends, texts.tokens[rows, :-1], self.pad_token_id)))
        if drafts.ndim != 2 or len(drafts) != len(rows) or drafts.dtype.kind not in "iu":
            raise ValueError(
                f"draft must return token ids of shape ({len(rows)}, K), integers, but it returned {drafts.dtype} of shape "
                f"{drafts.shape}: return a row for every text, padded right"
            )
        legal = (drafts != self.pad_token_id) & (drafts >= 0) & (drafts < self.vocab_size)
        legal &= np.arange(drafts.shape[1]) < self.max_tokens - ends
        lengths = np.logical_and.accumulate(legal, axis=1).sum(axis=1)
        texts.drafted[rows] = texts.ends[rows] + lengths
        wanted = np.arange(drafts.shape[1]) < lengths[:, None]
        row, place = np.nonzero(wanted)
        texts.tokens[rows[row], ends[row, 0] + place] = drafts[wanted]

    def _read(self, rows: npt.NDArray[np.int64], looks: npt.NDArray[np.int64], choose: Choose, deterministic: bool) -> None:
        """Read what is unread of some texts, and so many tokens of their drafts; keep the tokens up to the first surprise."""
        texts = self._texts
        starts, ends = self.kv.lengths[rows], texts.ends[rows]
        counts = ends + looks - starts
        columns = np.arange(int(counts.max()))
        read = columns < counts[:, None]  # (b, L)
        states = np.minimum(starts[:, None] + columns, self.max_tokens - 1)
        hidden = self.kv.read(rows, counts, texts.tokens[rows[:, None], states][read])

        asked = read & (states >= ends[:, None] - 1)
        uniforms = None if deterministic else texts.uniforms[rows[:, None], states][asked]
        chosen = choose(hidden[torch.as_tensor(asked[read], device=hidden.device)], uniforms)
        actions = np.full(asked.shape, self.pad_token_id)
        actions[asked] = chosen.actions.cpu().numpy()
        expected = states + 1 < texts.drafted[rows, None]
        surprises = asked & expected & (actions != texts.tokens[rows[:, None], states + 1])
        kept = asked.copy()
        kept[:, 1:] &= ~np.logical_or.accumulate(surprises, axis=1)[:, :-1]
        surprised = (surprises & kept).any(axis=1)

        where, of_kept = (rows[np.nonzero(kept)[0]], states[kept]), kept[asked]
        texts.tokens[where[0], where[1] + 1] = actions[kept]
        texts.values[where] = chosen.values.cpu().numpy()[of_kept]
        texts.log_prob[where] = chosen.log_prob.cpu().numpy()[of_kept]
        if texts.logits is not None:
            texts.logits[where] = chosen.logits.cpu().numpy()[of_kept]
        n_kept = kept.sum(axis=1)
        texts.ends[rows] = ends + n_kept
        self.kv.lengths[rows] = ends + n_kept - 1
        texts.drafted[rows] = np.where(surprised, 0, texts.drafted[rows])
        self._kept += int(n_kept[looks > 0].sum())
        self._surprises += int(surprised[looks > 0].sum())


def _pieces(counts: npt.NDArray[np.int64], many: int) -> Iterator[slice]:
    """Texts in pieces of at most so many tokens, unless a single text has more. :param counts: tokens of each text"""
    start = n_tokens = 0
    for end, count in enumerate(counts.tolist()):
        if n_tokens + count > many and end > start:
            yield slice(start, end)
            start, n_tokens = end, 0
        n_tokens += count
    yield slice(start, len(counts))
