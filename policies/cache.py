"""Keys and values of tokens that are settled, for policies whose later blocks cannot change earlier ones.

Exact for block-causal attention alone: there the states of a block depend on it and on what came before. Keys are kept
rotated, so nothing is computed again.
"""

from __future__ import annotations

import torch
from torch import Tensor


class KeyValueCache:
    """Buffers [B, kv_heads, capacity, H] for each layer; the first ``length`` positions are settled.

    A forward pass writes its own keys and values behind them and reads both as one slice; ``commit`` settles them. For
    sampling only: it writes in place, so no gradient passes through it.
    """

    def __init__(self, n_layers: int) -> None:
        self.length = 0
        self._buffers: list[tuple[Tensor, Tensor] | None] = [None] * n_layers

    def write(self, layer: int, keys: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
        """[B, kv_heads, L, H] twice -> the settled positions and these, [B, kv_heads, length + L, H] twice."""
        stop = self.length + keys.shape[2]
        buffers = self._room(layer, keys, stop)
        for buffer, new in zip(buffers, (keys, values), strict=True):
            buffer[:, :, self.length : stop] = new
        return buffers[0][:, :, :stop], buffers[1][:, :, :stop]

    def commit(self, count: int) -> None:
        """The ``count`` positions written last are settled."""
        self.length += count

    def select(self, index: Tensor) -> KeyValueCache:
        """A cache of its own for the batch rows at ``index`` [B'] int64: one may be taken many times, or left out."""
        chosen = KeyValueCache(len(self._buffers))
        chosen.length = self.length
        chosen._buffers = [None if pair is None else (pair[0][index], pair[1][index]) for pair in self._buffers]
        return chosen

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


def expand(cache: KeyValueCache, count: int) -> KeyValueCache:
    """The cache of one sequence, for ``count`` that begin alike: a prompt is computed once for its group."""
    return cache.select(torch.zeros(count, dtype=torch.int64))
