"""What DeepSpeed is told about sizes: the engine sets it, and the plan of a run counts with it."""

from __future__ import annotations

LARGEST_BUCKET = 500_000_000  # numbers that are reduced together
LIVE_PARAMETERS = 1_000_000_000  # sharded numbers that stay gathered between uses, at most: DeepSpeed's own default


def stage_of(asked: int, bfloat16: bool) -> int:
    """The stage that runs. With bfloat16 weights it is 2 where 0 or 1 is asked for: stage 0 has no float32 weights for
    AdamW to work on, and stage 1 adds up a wrong gradient unless the engine's own forward is used."""
    return max(2, asked) if bfloat16 else asked
