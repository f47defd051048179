"""Knights and knaves (arXiv 2410.23123): who is who. The setting of Logic-RL (arXiv 2502.14768) for the answer."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from rewards.base import absent
from rewards.response import final_answer
from rl.types import RewardItem, Score, ScoreStatus

_LONGEST = 20_000  # characters of an answer
_SAYS = re.compile(
    r"(?P<name>[^\W\d_][\w'-]*)[\s*_]*(?:\bis\b|\bmust be\b|:|=|->|→)[\s*_]*(?P<no>\bnot\b)?[\s*_]*(?:\b(?:an?|the)\b)?[\s*_]*"
    r"\b(?P<role>knight|knave)\b",
    re.IGNORECASE,
)


class KnightsReward:
    """1.0 where the answer says of everybody in the reference whether they are a knight or a knave, all of it right; else 0.0.

    A reference reads ``(1) Zoey is a knight (2) Oliver is a knave``, and so may the answer, in any order. Somebody who is
    called both is wrong. ``parts["people"]`` is the share of people who are right. Rows whose reference names nobody have no
    such reward.
    """

    name = "knights_and_knaves"
    largest = 1.0

    def score(self, items: Sequence[RewardItem]) -> list[Score]:
        return [_one(item) for item in items]


def _one(item: RewardItem) -> Score:
    wanted = roles(item.prompt.reference or "")
    if not wanted or None in wanted.values():
        return absent()
    answer = final_answer(item.text)
    if not answer:
        return Score(0.0, ScoreStatus.WRONG_FORMAT, detail="no answer")
    share = _right(wanted, roles(answer[-_LONGEST:])) / len(wanted)
    return Score(float(share == 1.0), parts={"people": share})


def _right(wanted: Mapping[str, bool | None], said: Mapping[str, bool | None]) -> int:
    return sum(said.get(name) is role for name, role in wanted.items())


def roles(text: str) -> dict[str, bool | None]:
    """Name in small letters -> is a knight; None: called both. Example: ``roles("Zoey is a knave")`` is ``{"zoey": False}``."""
    found: dict[str, bool | None] = {}
    for match in _SAYS.finditer(text):
        name = match["name"].lower()
        knight = (match["role"].lower() == "knight") != bool(match["no"])
        found[name] = knight if found.get(name, knight) is knight else None
    return found
