"""All that a sampler asks of a row of logits, in one launch: its argmax, one sample, probability, entropy and margin.

A Triton kernel with one program a row. The eager version, and the reference that it is tested against, is ``tokens.look_eager``:
it writes a row's softmax, its tempered softmax and a float64 cumulative sum to memory and reads them again; here a row is
read three times, the last two out of the cache, and nothing as long as the vocabulary is written.

The noise is the sampler's own, one uniform number a row of (seed, step, position), and it is used in the same way: the
token is where the cumulative distribution passes it, summed in float64 in the order of the vocabulary (Gumbel's trick
would need a number a token). So tokens are eager's, but where that number lies within the rounding of exp() of the border
between two tokens.
"""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

from policies.samplers.remasking import RowStatistics

WIDTH = 4096  # logits that a program looks at at once


def look(logits: Tensor, uniform: Tensor, temperature: float) -> RowStatistics:
    """logits [M, V] of any float type, -inf allowed; uniform [M] float64 in (0, 1). Temperature 0: the likeliest."""
    rows, vocabulary = logits.shape
    logits = logits if logits.stride(1) == 1 else logits.contiguous()
    token = torch.empty(rows, dtype=torch.int64, device=logits.device)
    found = torch.empty(3, rows, dtype=torch.float32, device=logits.device)
    width = min(WIDTH, triton.next_power_of_2(vocabulary))
    with torch.cuda.device_of(logits):  # Triton starts kernels on the current device, whatever it is given
        if rows:
            _look[(rows,)](
                logits, uniform.double().contiguous(), token, found, logits.stride(0), rows, vocabulary,
                float(temperature or 1.0), SAMPLE=temperature > 0, PLAIN=temperature in (0, 1), WIDTH=width,
                num_warps=8,  # pyright: ignore[reportCallIssue]
            )  # fmt: skip
    return RowStatistics(token, found[0], found[1], found[2])


@triton.jit
def _look(
    logits, uniform, token, found, stride, rows, vocabulary, temperature,
    SAMPLE: tl.constexpr, PLAIN: tl.constexpr, WIDTH: tl.constexpr,
):  # fmt: skip
    row = tl.program_id(0)
    base = logits + row.to(tl.int64) * stride
    lane = tl.arange(0, WIDTH)

    # First reading: the largest logit, where it is (the first of equals), and the next.
    top = float("-inf")
    next_top = float("-inf")
    where = 0
    for start in range(0, vocabulary, WIDTH):
        x = tl.load(base + start + lane, mask=start + lane < vocabulary, other=float("-inf")).to(tl.float32)
        best = tl.max(x, 0)
        place = tl.min(tl.where(x == best, lane, WIDTH), 0)
        rest = tl.max(tl.where(lane == place, float("-inf"), x), 0)
        next_top = tl.maximum(tl.maximum(next_top, rest), tl.minimum(top, best))
        where = tl.where(best > top, start + place, where)
        top = tl.maximum(top, best)

    # Second: the sums of the plain and of the tempered distribution, and of p log p.
    total = tl.zeros([WIDTH], dtype=tl.float32)
    weighted = tl.zeros([WIDTH], dtype=tl.float32)
    tempered = tl.zeros([WIDTH], dtype=tl.float64)
    for start in range(0, vocabulary, WIDTH):
        x = tl.load(base + start + lane, mask=start + lane < vocabulary, other=float("-inf")).to(tl.float32) - top
        e = tl.exp(x)
        total += e
        weighted += tl.where(e > 0, e * x, 0.0)
        if SAMPLE:
            tempered += (e if PLAIN else tl.exp(x / temperature)).to(tl.float64)
    norm = tl.sum(total, 0)

    # Third: how many tokens lie before the number.
    chosen = where
    if SAMPLE:
        target = tl.load(uniform + row) * tl.sum(tempered, 0)
        before = tl.zeros([], dtype=tl.float64)
        chosen = 0
        for start in range(0, vocabulary, WIDTH):
            inside = start + lane < vocabulary
            x = tl.load(base + start + lane, mask=inside, other=float("-inf")).to(tl.float32) - top
            e = (tl.exp(x) if PLAIN else tl.exp(x / temperature)).to(tl.float64)
            passed = before + tl.cumsum(e, 0)
            chosen += tl.sum((inside & (passed <= target)).to(tl.int32), 0)
            before += tl.sum(e, 0)
        chosen = tl.minimum(chosen, vocabulary - 1)

    logit = tl.load(base + chosen).to(tl.float32)
    tl.store(token + row, chosen.to(tl.int64))
    tl.store(found + row, tl.exp(logit - top) / norm)
    tl.store(found + rows + row, tl.log(norm) - tl.sum(weighted, 0) / norm)
    tl.store(found + 2 * rows + row, (1.0 - tl.exp(next_top - top)) / norm)
