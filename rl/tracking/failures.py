"""Why scores failed: each reason once, with the row that it was met at; and the end of a run that has no score to learn from."""

from __future__ import annotations

import logging
import re
from collections import Counter, defaultdict
from collections.abc import Sequence

from rl.errors import TrainingError
from rl.types import Group, Score, ScoreStatus

logger = logging.getLogger(__name__)

PATIENCE = 3  # steps in which a reward may fail every time before the run ends
_MOST = 20  # reasons of one run
_PARTICULAR = re.compile(r"\brow \S+|[0-9]+")  # what two tellings of one reason differ in
_VALUES = (ScoreStatus.OK, ScoreStatus.WRONG_FORMAT)


class FailureNotes:
    """Remembers what was said, so that a reward that fails at every row is one line of the log and not thousands."""

    def __init__(self) -> None:
        self._said: set[str] = set()
        self._training = _Tally()
        self._updated = False

    def tell(self, groups: Sequence[Group]) -> None:
        """Warn of each failure whose reason is new. Groups as they come from the workers, of one step.

        Raises TrainingError where a reward that is needed has failed every time in ``PATIENCE`` steps, and never worked.
        """
        scores = [score for group in groups for score in group.scores]
        failed = sum(not score.usable for score in scores)
        for group in groups:
            for score in group.scores:
                if not score.usable and self._is_new(score):
                    logger.warning(
                        "rewards: %s at row %s: %s (%d of this step's %d scores failed; said once)",
                        score.status, group.prompt.id, score.detail, failed, len(scores),
                    )  # fmt: skip
        self._training.add(groups)
        self._training.check(PATIENCE, f"the first {self._training.steps} steps")

    def count_update(self, updated: bool) -> None:
        """Whether a step changed the weights."""
        self._updated = self._updated or updated

    def require_update(self) -> None:
        """At the end of a run from its first step. Raises TrainingError where no step changed the weights."""
        steps = self._training.steps
        if steps and not self._updated:
            self._training.check(1, "the run" if steps == 1 else f"all {steps} steps")
            raise TrainingError(
                f"none of the {steps} steps changed the weights: {self._training.failed} of {self._training.total} scores "
                "failed, and the other groups' scores were all equal, or their gradients not finite; look at "
                "frac_reward_zero_std, frac_groups_dropped and actor/grad_norm"
            )

    def _is_new(self, score: Score) -> bool:
        reason = _reason(score)
        if reason in self._said or len(self._said) >= _MOST:
            return False
        self._said.add(reason)
        return True


def require_scores(groups: Sequence[Group], when: str) -> None:
    """Raises TrainingError where every score of a held-out evaluation failed, or every one of a reward that it needs.

    when: ``the evaluation before training``.
    """
    tally = _Tally()
    tally.add(groups)
    tally.check(1, when)


class _Tally:
    """Which rewards have worked so far, and what those failed for that have not."""

    def __init__(self) -> None:
        self.steps = self.total = self.failed = 0
        self._works: set[str] = set()
        self._steps_of: Counter[str] = Counter()
        self._calls_of: Counter[str] = Counter()
        self._causes: defaultdict[str, Counter[str]] = defaultdict(Counter)  # by reward; "" is all of them
        self._told: dict[str, str] = {}  # a cause as it was met first

    def add(self, groups: Sequence[Group]) -> None:
        scores = [score for group in groups for score in group.scores]
        self.steps += 1
        self._steps_of.update({name for score in scores for name in score.calls})
        for score in scores:
            self.total += 1
            self._calls_of.update(list(score.calls))
            self._works |= {name for name, call in score.calls.items() if call.status in _VALUES}
            if not score.usable:
                self.failed += 1
                reason = _reason(score)
                self._told.setdefault(reason, f"{score.status}: {score.detail}")
                for name in {"", _at_fault(score)}:
                    self._causes[name][reason] += 1

    def check(self, patience: int, when: str) -> None:
        """Raises TrainingError for a reward with a weight that failed in all of so many steps, and never worked."""
        for name, causes in self._causes.items():
            if name and name not in self._works and self._steps_of[name] >= patience:
                raise TrainingError(self._line(f"the reward {name!r} failed", self._calls_of[name], causes, when))
        if self.total and self.failed == self.total and self.steps >= patience:
            raise TrainingError(self._line("nothing could be scored: failed", self.total, self._causes[""], when))

    def _line(self, what: str, count: int, causes: Counter[str], when: str) -> str:
        (reason, times), *others = causes.most_common()
        most = "each time" if not others else f"most often ({times} times)"
        return (
            f"rewards: {what} for all {count} scores of {when}, {most} as {self._told[reason]}; there is nothing to learn "
            "from: fix it (unigrpo rewards check runs a reward alone), or take it out of the mix"
        )


def _reason(score: Score) -> str:
    return f"{score.status} {_PARTICULAR.sub('#', score.detail)}"


def _at_fault(score: Score) -> str:
    """The reward whose failure an item's score is (``rewards.mix.combine`` puts its name in front); "" where none is."""
    return next((name for name in score.calls if score.detail.startswith(f"{name}: ")), "")
