"""Settings of an adapter."""

from __future__ import annotations

from dataclasses import dataclass, field

TARGETS = ("q_proj", "k_proj", "v_proj", "attn_out", "ff_proj", "up_proj", "ff_out")


@dataclass(frozen=True)
class LoraConfig:
    """Train a low-rank adapter (arXiv 2106.09685) beside frozen weights; the reference is the policy without it.

    rank     of the adapter; 0 trains all weights
    alpha    the adapter counts alpha / rank times
    target   layers of each block: q_proj, k_proj, v_proj, attn_out, ff_proj, up_proj, ff_out
    path     a folder with an adapter in PEFT's format to start from, which says the rest; null: a new one
    """

    rank: int = 0
    alpha: float = 16.0
    target: list[str] = field(default_factory=lambda: list(TARGETS))
    path: str | None = None

    @property
    def on(self) -> bool:
        return self.rank > 0 or self.path is not None
