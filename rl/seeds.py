"""One run seed, and every other seed as a pure function of it: nothing is drawn from hidden state, so a run resumes."""

from __future__ import annotations

import operator
from hashlib import blake2b


def derive_seed(seed: int, *parts: int | str) -> int:
    """A seed for one purpose: the first 63 bits of BLAKE2b over ``seed`` and ``parts``, in order. 0 <= result < 2**63.

    Parts say what the seed is for and where, e.g. ``derive_seed(run_seed, "mask", step, prompt_id, index, n)``. Each
    part is hashed with its kind and length, so ``("a", "b")``, ``("ab",)``, ``(1,)`` and ``("1",)`` all differ.
    """
    digest = blake2b(digest_size=8)
    for part in (seed, *parts):
        kind, text = ("s", part) if isinstance(part, str) else ("i", str(operator.index(part)))
        encoded = text.encode()
        digest.update(f"{kind}{len(encoded)}:".encode() + encoded)
    return int.from_bytes(digest.digest(), "big") >> 1
