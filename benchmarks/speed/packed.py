"""Forward passes with plain and with packed weights, in turns: ``python -m benchmarks.speed.packed``.

Plain over packed, in CPU time.

``policies.network.prepacked_weights`` packs where torch says AVX512; here both ways are taken whatever the processor.
"""

from __future__ import annotations

import statistics
import time

import torch

import policies.network.prepacked_weights
from policies import load_policy
from policies.network.transformer import Transformer, TransformerConfig

SMALL, WIDE = ((8, 64), (16, 96), (32, 96), (1, 128)), ((1, 32), (1, 128), (8, 128))


def ratio(module: torch.nn.Module, rows: int, length: int, repeats: int) -> float:
    """Medians of the CPU-seconds of a pass over random tokens."""
    seconds: dict[bool, list[float]] = {True: [], False: []}
    tokens = torch.randint(0, 1700, (rows, length), generator=torch.Generator().manual_seed(0))
    chosen = policies.network.prepacked_weights._faster
    try:
        for turn in range(repeats):
            for packs in (True, False) if turn % 2 else (False, True):
                policies.network.prepacked_weights._faster = lambda packs=packs: packs
                with torch.no_grad(), policies.network.prepacked_weights.packed(module):
                    module(tokens)
                    began = time.process_time()
                    module(tokens)
                    seconds[packs].append(time.process_time() - began)
    finally:
        policies.network.prepacked_weights._faster = chosen
    return statistics.median(seconds[False]) / statistics.median(seconds[True])


def main() -> None:
    torch.set_num_threads(1)
    print(torch.backends.cpu.get_cpu_capability())
    for module, shapes, repeats in (
        (load_policy("tiny").module, SMALL, 25),
        (Transformer(TransformerConfig(4096, 384, 6, 6, 1152)).eval(), WIDE, 11),
    ):
        for rows, length in shapes:
            print(f"{rows} x {length}: {ratio(module, rows, length, repeats):.2f}", flush=True)


if __name__ == "__main__":
    main()
