"""The format reward (arXiv 2505.15809, section 2.3.2): 1 for ``<think>...</think>answer``, else 0.

The paper's 0.5 is its weight in the mix. A response in another format is scored, with a 0 that counts and the status
``wrong_format``: it is something to learn from, not a failure.
"""

from __future__ import annotations

from collections.abc import Sequence

from rewards.response import split_response
from rl.types import RewardItem, Score, ScoreStatus


class FormatReward:
    """1.0 for exactly one non-empty ``<think>...</think>`` at the start, followed by a non-empty answer; where the answer
    is a picture (think_draw), the thought alone will do."""

    name = "format"
    largest = 1.0
    reads_reference = False

    def score(self, items: Sequence[RewardItem]) -> list[Score]:
        return [self._one(item) for item in items]

    def _one(self, item: RewardItem) -> Score:
        response = split_response(item.text, answered=item.image is not None)
        return Score(1.0) if response.well_formed else Score(0.0, ScoreStatus.WRONG_FORMAT)
