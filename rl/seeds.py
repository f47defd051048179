"""One run seed; every other seed, number and order is a pure function of it. Nothing is drawn from hidden state, so a run
resumes. Numbers that devices draw are in ``policies.noise``.
"""

from __future__ import annotations

import operator
from hashlib import blake2b

import numpy as np


class SeedPath:
    """The beginning of many seeds' parts, hashed once: ``SeedPath(seed, "a").derive(3)`` is ``derive_seed(seed, "a", 3)``."""

    def __init__(self, seed: int, *parts: int | str) -> None:
        self._hash = blake2b(digest_size=8)
        self._hash.update(_encoded((seed, *parts)))

    def derive(self, *parts: int | str) -> int:
        whole = self._hash.copy()
        whole.update(_encoded(parts))
        return int.from_bytes(whole.digest(), "big") >> 1


def derive_seed(seed: int, *parts: int | str) -> int:
    """A seed for one purpose: the first 63 bits of BLAKE2b over ``seed`` and ``parts``, in order. 0 <= result < 2**63.

    Parts say what the seed is for and where, e.g. ``derive_seed(run_seed, "mask", step, prompt_id, index, n)``. Each
    part is hashed with its kind and length, so ``("a", "b")``, ``("ab",)``, ``(1,)`` and ``("1",)`` all differ.
    """
    return SeedPath(seed, *parts).derive()


def uniforms(seed: int, count: int) -> tuple[np.ndarray, np.random.Philox]:
    """``count`` float64 numbers in [0, 1), and the generator behind them. NumPy promises Philox's raw stream."""
    bits = np.random.Philox(key=seed)
    return (bits.random_raw(count) >> np.uint64(11)) * 2.0**-53, bits


def shuffled(bits: np.random.Philox, length: int) -> np.ndarray:
    """A uniform order of ``length`` positions."""
    return np.argsort(bits.random_raw(length), kind="stable")


def _encoded(parts: tuple[int | str, ...]) -> bytes:
    encoded = b""
    for part in parts:
        kind, text = (b"s", part) if isinstance(part, str) else (b"i", str(operator.index(part)))
        data = text.encode()
        encoded += b"%b%d:%b" % (kind, len(data), data)
    return encoded
