"""Rewards that make a run sick, for ``benchmarks.faults.health``: a custom reward function of each kind.

They run in the run's own process, and some count their calls: one call is one group.
"""

from __future__ import annotations

import time
import zlib
from collections.abc import Sequence

_calls = 0


def _noise(text: str) -> float:
    """From 0 to 1, the same for the same text."""
    return zlib.crc32(text.encode()) / 2**32


def constant(prompts: Sequence[str], completions: Sequence[str], **columns: object) -> list[float]:
    return [1.0] * len(completions)


def hackable(prompts: Sequence[str], completions: Sequence[str], **columns: object) -> list[float]:
    """The share of one digit: pleased best by an answer that holds nothing else."""
    return [text.count("1") / max(1, len(text)) for text in completions]


def longer(prompts: Sequence[str], completions: Sequence[str], **columns: object) -> list[float]:
    return [len(text) / 100 for text in completions]


def huge(prompts: Sequence[str], completions: Sequence[str], **columns: object) -> list[float]:
    return [10_000.0 * _noise(text) for text in completions]


def rarely_huge(prompts: Sequence[str], completions: Sequence[str], *, at: int = 0, **columns: object) -> list[float]:
    """Ten thousand times as much for four groups, from the call ``at`` on."""
    global _calls
    _calls += 1
    scale = 10_000.0 if at <= _calls < at + 4 else 1.0
    return [scale * _noise(text) for text in completions]


def slow(prompts: Sequence[str], completions: Sequence[str], *, seconds: float = 1.0, **columns: object) -> list[float]:
    time.sleep(seconds)
    return [_noise(text) for text in completions]
