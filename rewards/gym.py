"""reasoning-gym's verifiers (https://github.com/open-thought/reasoning-gym), always inside a killable child.

Some of them call ``eval`` on the answer, others a parser that does, and some accept what is no answer. No answer is
evaluated (``rewards.sandbox.gym``), our own checks stand beside the verifiers that need one
(``rewards.sandbox.gym_rules``), and docs/gym.md has the table of all data sets.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any

from rewards.base import absent, failed, invalid
from rewards.response import final_answer
from rewards.sandbox.gym_rules import FRESH, REFUSED, admits, own_answer
from rewards.sandbox.parent import Isolated
from rewards.sandbox.wire import plain
from rewards.settings import RewardSettings, setting
from rl.errors import RewardError
from rl.types import Prompt, RewardItem, Score, ScoreStatus

_GRADE = "rewards.sandbox.gym:grade"
_MAX_ANSWER = 20_000  # characters


@dataclass(frozen=True, kw_only=True)
class ReasoningGymSettings(RewardSettings):
    partial: bool = setting("give the verifier's own mark, instead of 1 for full marks and 0 otherwise", False)
    deadline_s: float = setting("seconds for one answer", 2.0, above=0)
    memory_mb: int = setting("address space of the child, MiB", 2048, above=0)

    def check(self) -> None:
        if find_spec("reasoning_gym") is None:
            raise RewardError("reasoning-gym is not installed; pip install reasoning-gym")

    @classmethod
    def refuses(cls, prompt: Prompt) -> str:
        entry = entry_of(prompt)
        name = "" if entry is None else entry["dataset"]
        return f"reasoning_gym does not grade the data set {name!r}: {REFUSED[name]}" if name in REFUSED else ""


class ReasoningGymReward:
    """1.0 for full marks, else 0.0; with ``partial``, what the verifier gives.

    A row says which verifier in its metadata: ``source_dataset`` (reasoning-gym writes it) with the entry's other
    metadata beside it. Rows without it have no such reward.
    """

    name = "reasoning_gym"
    largest = 1.0
    Settings = ReasoningGymSettings

    def __init__(self, settings: ReasoningGymSettings) -> None:
        self.partial, self.deadline_s = settings.partial, settings.deadline_s
        self._child = Isolated(_GRADE, memory_mb=settings.memory_mb)
        self._fresh = Isolated(_GRADE, memory_mb=settings.memory_mb, recycle_after=1)  # a process for each answer

    def score(self, items: Sequence[RewardItem]) -> list[Score]:
        return [self._one(item) for item in items]

    def _one(self, item: RewardItem) -> Score:
        entry = entry_of(item.prompt)
        if entry is None:
            return absent()
        answer = final_answer(item.text)
        if answer is None or len(answer) > _MAX_ANSWER:
            return Score(0.0, ScoreStatus.WRONG_FORMAT, detail="no answer after </think>, or a far too long one")
        name, child = entry["dataset"], self._child
        if name in FRESH:
            own = own_answer(entry)
            if (own is None or admits(name, own, entry)) and not admits(name, answer, entry):
                return Score(0.0, parts={"mark": 0.0}, detail="not of the form that the question asks for")
            child = self._fresh
        outcome = child.call({"entry": entry, "answer": answer}, self.deadline_s)
        if outcome.status is not ScoreStatus.OK:
            return failed(outcome.status, f"{name}: {outcome.detail}", outcome.seconds)
        if "refused" in outcome.value:
            return invalid(f"row {item.prompt.id}: {outcome.value['refused']}")
        mark = float(outcome.value["mark"])
        value = mark if self.partial else float(mark >= 1.0)
        return Score(value, parts={"mark": mark}, seconds=outcome.seconds)


def entry_of(prompt: Prompt) -> dict[str, Any] | None:
    """The reasoning-gym entry of a row, or None. verl's rows have it under ``extra_info``."""
    metadata: Mapping[str, Any] = prompt.metadata
    for place in (metadata, metadata.get("metadata"), metadata.get("extra_info")):
        if isinstance(place, Mapping) and isinstance(place.get("source_dataset"), str):
            question = "\n".join(message.content for message in prompt.messages)
            return {
                "dataset": place["source_dataset"],
                "question": question,
                "answer": prompt.reference,
                "metadata": plain(place),
            }
    return None
