"""Fast-dLLM's dual cache as it is published, for comparison (arXiv 2505.22618; github.com/NVlabs/Fast-dLLM, llada).

Written from the paper's section 3.2, to cost what the original costs: keys are kept as they are before rotation and are
all rotated at each step, a block's first step forms the logits of the whole sequence, and confidences are those of a
float64 softmax. One sequence at a time, greedy.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from policies.network.transformer import Transformer

Kept = list[tuple[Tensor, Tensor]]  # of each layer: keys before rotation, and values [B, heads, L, H]


class PlainDualCache:
    """The network with Fast-dLLM's cache: a whole pass keeps keys and values, a pass over a block replaces its own."""

    def __init__(self, module: Transformer) -> None:
        self.module = module

    def __call__(self, ids: Tensor, kept: Kept | None = None, place: slice | None = None) -> tuple[Tensor, Kept]:
        """ids [B, L], or the block at ``place`` of what is kept -> logits [B, L, V], and what is kept now."""
        length = ids.shape[1] if kept is None else kept[0][0].shape[2]
        place = place or slice(0, length)
        x, found = self.module.wte(ids), []
        rope = self.module._rope_tables(0, length, x)
        for layer, block in enumerate(self.module.blocks):
            x, pair = _layer(block, x, rope, None if kept is None else kept[layer], place)
            found.append(pair)
        return self.module.ff_out(self.module.ln_f(x)), found


def _layer(
    block: Any, x: Tensor, rope: tuple[Tensor, Tensor], kept: tuple[Tensor, Tensor] | None, place: slice
) -> tuple[Tensor, tuple[Tensor, Tensor]]:
    normed = block.attn_norm(x)
    q, k, v = (
        project(normed).unflatten(-1, (-1, block.head_size)).transpose(1, 2)
        for project in (block.q_proj, block.k_proj, block.v_proj)
    )
    if kept is not None:
        kept[0][:, :, place], kept[1][:, :, place] = k, v
        k, v = kept
    attended = F.scaled_dot_product_attention(rotate(q, (rope[0][place], rope[1][place])), rotate(k, rope), v)
    x = x + block.attn_out(attended.transpose(1, 2).flatten(2))
    normed = block.ff_norm(x)
    return x + block.ff_out(F.silu(block.ff_proj(normed)) * block.up_proj(normed)), (k, v)


def rotate(x: Tensor, rope: tuple[Tensor, Tensor]) -> Tensor:
    first, second = x.chunk(2, dim=-1)
    return x * rope[0] + torch.cat([-second, first], dim=-1) * rope[1]


@torch.no_grad()
def dual_cache_generate(
    network: PlainDualCache, prompt: Tensor, *, steps: int, length: int, block: int, mask_id: int
) -> Tensor:
    """prompt [1, P] -> [1, P + length]"""
    start = prompt.shape[1]
    ids = torch.cat([prompt, torch.full((1, length), mask_id)], dim=1)
    base, more = divmod(block, steps // (length // block))
    for first in range(start, start + length, block):
        place = slice(first, first + block)
        logits, kept = network(ids)
        _reveal(ids, logits, slice(0, first + block), base + (more > 0), mask_id)
        step = 1
        while bool((ids[:, place] == mask_id).any()):
            logits, kept = network(ids[:, place], kept, place)
            _reveal(ids, logits, place, base + (step < more), mask_id)
            step += 1
    return ids


def _reveal(ids: Tensor, logits: Tensor, place: slice, count: int, mask_id: int) -> None:
    """Write the ``count`` likeliest candidates of masked positions in ``place``; logits begin at its start."""
    candidate = logits.argmax(-1)
    confidence = logits.to(torch.float64).softmax(-1).gather(-1, candidate[..., None]).squeeze(-1)
    candidate, confidence = candidate[:, : place.stop - place.start], confidence[:, : place.stop - place.start]
    masked = ids[:, place] == mask_id
    confidence = torch.where(masked, confidence, -torch.inf)
    chosen = confidence[0].topk(count).indices
    ids[0, place.start + chosen] = candidate[0, chosen]
