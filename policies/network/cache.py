"""Keys and values of tokens that are settled, so that no pass computes them again. Keys are kept rotated.

Exact for block-causal attention alone: there the states of a block depend on it and on what came before. Elsewhere it is
an approximation, which a sampler must be asked for.
"""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor


class KeyValueCache:
    """Buffers [B, kv_heads, capacity, H] for each layer; the first ``length`` positions are settled.

    A forward pass writes its own keys and values behind them and reads both as one slice; ``commit`` settles them. For
    sampling only: it writes in place, so no gradient passes through it.

    After ``hold(start, total)`` passes write at ``start`` and read all of the first ``total`` positions: what an earlier
    pass wrote behind their own tokens stays visible.
    """

    def __init__(self, n_layers: int) -> None:
        self.length, self.total = 0, 0
        self._buffers: list[tuple[Tensor, Tensor] | None] = [None] * n_layers

    def write(self, layer: int, keys: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
        """[B, kv_heads, L, H] twice -> the settled positions and these, [B, kv_heads, length + L, H] twice."""
        stop = self.length + keys.shape[2]
        buffers = self._room(layer, keys, stop)
        for buffer, new in zip(buffers, (keys, values), strict=True):
            buffer[:, :, self.length : stop] = new
        seen = max(stop, self.total)
        return buffers[0][:, :, :seen], buffers[1][:, :, :seen]

    def commit(self, count: int) -> None:
        """The ``count`` positions written last are settled."""
        self.length += count

    def hold(self, start: int, total: int = 0) -> None:
        """Passes write at ``start`` from now on, and read at least the first ``total`` positions that were written."""
        self.length, self.total = start, total

    def select(self, index: Tensor) -> KeyValueCache:
        """A cache of its own for the batch rows at ``index`` [B'] int64: one may be taken many times, or left out."""
        return self._each(lambda buffer: buffer[index])

    def repeat(self, count: int) -> KeyValueCache:
        """A cache of its own for ``count`` sequences that begin as this one does."""
        return self._each(lambda buffer: buffer.repeat(count, 1, 1, 1))

    def _each(self, change: Callable[[Tensor], Tensor]) -> KeyValueCache:
        changed = KeyValueCache(len(self._buffers))
        changed.length, changed.total = self.length, self.total
        changed._buffers = [None if pair is None else (change(pair[0]), change(pair[1])) for pair in self._buffers]
        return changed

    def _room(self, layer: int, like: Tensor, stop: int) -> tuple[Tensor, Tensor]:
        pair = self._buffers[layer]
        if pair is None or pair[0].shape[2] < stop:
            batch, heads, _, size = like.shape
            capacity = max(64, 2 * stop)
            grown = (like.new_empty(batch, heads, capacity, size), like.new_empty(batch, heads, capacity, size))
            if pair is not None:
                for old, new in zip(pair, grown, strict=True):
                    new[:, :, : self.length] = old[:, :, : self.length]
            self._buffers[layer] = pair = grown
        return pair


class GroupCache:
    """The cache of a group: one row while all members are alike, then one for each member that is still writing."""

    def __init__(self, cache: KeyValueCache, members: int, rows: int = 1) -> None:
        self._cache, self._members, self._rows = cache, members, rows
        self._part: tuple[int, KeyValueCache] | None = None

    def of(self, members: Tensor) -> KeyValueCache:
        """For a pass over ``members`` [b] int64. Between two passes over all of them, members only become fewer."""
        count = len(members)
        if count > self._rows:
            self._cache, self._rows = self._cache.repeat(self._members), self._members
        if count == self._rows:
            self._part = None
            return self._cache
        if self._part is None or self._part[0] != count:
            self._part = count, self._cache.select(members)
        return self._part[1]

    def keep(self, index: Tensor) -> None:
        """The members at ``index`` go on; the others have ended."""
        if self._rows > len(index):
            self._cache, self._rows = self._cache.select(index), len(index)
        self._members, self._part = len(index), None
