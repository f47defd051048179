"""Saying why scores failed: each reason once, with the row that it was met at."""

from __future__ import annotations

import logging
import re
from collections.abc import Sequence

from rl.types import Group, Score

logger = logging.getLogger(__name__)

_MOST = 20  # reasons of one run
_PARTICULAR = re.compile(r"\brow \S+|[0-9]+")  # what two tellings of one reason differ in


class FailureNotes:
    """Remembers what was said, so that a reward that fails at every row is one line of the log and not thousands."""

    def __init__(self) -> None:
        self._said: set[str] = set()

    def tell(self, groups: Sequence[Group]) -> None:
        """Warn of each failure whose reason is new. Groups as they come from the workers, of one step."""
        scores = [score for group in groups for score in group.scores]
        failed = sum(not score.usable for score in scores)
        for group in groups:
            for score in group.scores:
                if not score.usable and self._is_new(score):
                    logger.warning(
                        "rewards: %s at row %s: %s (%d of this step's %d scores failed; said once)",
                        score.status, group.prompt.id, score.detail, failed, len(scores),
                    )  # fmt: skip

    def _is_new(self, score: Score) -> bool:
        reason = f"{score.status} {_PARTICULAR.sub('#', score.detail)}"
        if reason in self._said or len(self._said) >= _MOST:
            return False
        self._said.add(reason)
        return True
