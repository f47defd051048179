"""CUDA graphs for the sampler: all layers but the last, which works on a changing number of rows, as one graph a shape.

On a device without graphs a replay runs the layers again, into the same memory: what depends on who owns that memory shows
there, too.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from benchmarks.speed.gpu.card import Card
from benchmarks.speed.gpu.found import Found
from benchmarks.speed.gpu.sampling import groups, one_pass
from policies.network.transformer import Transformer
from rl.types import Sample

Replay = Callable[[Tensor], Tensor]
WARM_UPS = 3  # passes before a graph is recorded: libraries choose their kernels, and take memory


class Trunk(nn.Module):
    """Layers as one. A pass without a cache, a mask or chosen rows is replayed from its shape's graph; others run as they are."""

    def __init__(self, layers: nn.ModuleList) -> None:
        super().__init__()
        self.layers = layers
        self.graphs: dict[tuple[int, ...], Replay] = {}

    def forward(self, x: Tensor, rope: tuple[Tensor, Tensor], bias: Any, rows: Any = None, cache: Any = None) -> Tensor:
        if bias is not None or rows is not None or cache is not None:
            for layer in self.layers:
                x = layer(x, rope, bias, rows, cache)
            return x
        shape = tuple(x.shape)
        if shape not in self.graphs:
            self.graphs[shape] = record(lambda given: self._plain(given, rope), x)
        return self.graphs[shape](x)

    def _plain(self, x: Tensor, rope: tuple[Tensor, Tensor]) -> Tensor:
        for layer in self.layers:
            x = layer(x, rope, None)
        return x


def record(run: Replay, x: Tensor) -> Replay:
    """``run`` for tensors of x's shape. What a replay gives back is overwritten by the next one."""
    given = x.clone()
    if not x.is_cuda:
        kept = run(given).clone()

        def again(x: Tensor) -> Tensor:
            given.copy_(x)
            return kept.copy_(run(given))

        return again
    side = torch.cuda.Stream()
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):
        for _ in range(WARM_UPS):
            run(given)
    torch.cuda.current_stream().wait_stream(side)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        found = run(given)

    def replay(x: Tensor) -> Tensor:
        given.copy_(x)
        graph.replay()
        return found

    return replay


@contextmanager
def graphed(module: Transformer) -> Iterator[Trunk]:
    """In this block the module's passes are replayed."""
    before = module.blocks
    trunk = Trunk(before[:-1])  # pyright: ignore[reportArgumentType]
    module.blocks = nn.ModuleList([trunk, before[-1]])
    try:
        yield trunk
    finally:
        module.blocks = before


def passes(card: Card, model: str) -> Found:
    """Passes and a group of text, with graphs and without, and whether both write the same tokens."""
    policy, measured = card.policy(model), {}
    sample = groups(card, policy)["text"]
    pairs = {f"{batch} x {length}": one_pass(card, policy, batch, length) for batch, length in card.work.batches}
    tokens: list[list[Sample]] = []
    with torch.inference_mode():
        for name, work in pairs.items():
            measured[f"{name}, plain"] = card.seconds(work)
        measured["text, plain"] = card.once(lambda: tokens.append(sample()))
        with graphed(policy.module) as trunk:
            for name, work in pairs.items():
                measured[f"{name}, graph"] = card.seconds(work)
            measured["text, graph"] = card.once(lambda: tokens.append(sample()))
    same = [np.array_equal(one.token_ids, other.token_ids) for one, other in zip(*tokens, strict=True)]
    pays = {name: measured[f"{name}, plain"] / measured[f"{name}, graph"] for name in (*pairs, "text")}
    return Found(measured, {"speedup": pays, "same_rollouts": float(np.mean(same)), "graphs": len(trunk.graphs)})
