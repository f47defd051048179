"""What a reward's value becomes before it is weighted: curves, gates, and standardisation within a group.

Summed raw rewards let the one with the largest spread decide alone; standardising each within its group first gives
every weight its meaning (GDPO, arXiv 2601.05242). A gate makes one reward depend on another: correctness counts only
where the format is right.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from rewards.base import is_absent
from rl.errors import RewardError
from rl.registry import close_to
from rl.types import Curve, Gate, RewardItem, Score

_EPSILON = 1e-6


@dataclass(frozen=True, slots=True)
class Shaping:
    """All of it, by reward name. In this order: the curve, then the gate, then standardisation over the group.

    Held-out evaluation uses none: it compares plain values.
    """

    curves: Mapping[str, Curve] = field(default_factory=dict)
    gates: Mapping[str, Gate] = field(default_factory=dict)
    normalize: frozenset[str] = frozenset()

    def check(self, mix: Mapping[str, Mapping[str, float]]) -> None:
        """Every name is in the mix, and a gate in each mix of what it guards. Raises RewardError."""
        known = sorted({name for weights in mix.values() for name in weights})
        for section, names in (("curves", self.curves), ("gates", self.gates), ("normalize", self.normalize)):
            for name in names:
                _require_known(f"rewards.{section}", name, known)
        for name, curve in self.curves.items():
            if curve.low is not None and curve.high is not None and curve.low > curve.high:
                raise RewardError(f"rewards.curves.{name}: low={curve.low:g} is above high={curve.high:g}")
        for name, gate in self.gates.items():
            _require_known(f"rewards.gates.{name}.by", gate.by, known)
            for task, weights in mix.items():
                if name in weights and gate.by not in weights:
                    raise RewardError(
                        f"rewards.gates.{name}.by={gate.by}: not in the mix of task {task}, which {name} is in; add "
                        f"rewards.mix.{task}.{gate.by}=0 to have it scored"
                    )

    def values(self, items: Sequence[RewardItem], found: Sequence[Mapping[str, Score]]) -> list[dict[str, float]]:
        """For each item, reward name -> the value to weight; no entry where there is no finite one."""
        values = [
            {
                name: self._one(name, score, scores)
                for name, score in scores.items()
                if score.usable and not is_absent(score)
            }
            for scores in found
        ]
        for name in self.normalize:
            for members in _groups(items):
                _standardise(name, [values[index] for index in members])
        return values

    def _one(self, name: str, score: Score, scores: Mapping[str, Score]) -> float:
        value = self.curves[name](score.value) if name in self.curves else score.value
        gate = self.gates.get(name)
        return value if gate is None or gate.opens(scores) else 0.0


def _standardise(name: str, members: Iterable[dict[str, float]]) -> None:
    """(value - mean) / std over those that have one; all 0 where they are the same."""
    having = [values for values in members if name in values]
    if not having:
        return
    mean = sum(values[name] for values in having) / len(having)
    std = math.sqrt(sum((values[name] - mean) ** 2 for values in having) / len(having))
    for values in having:
        values[name] = (values[name] - mean) / std if std > _EPSILON * max(1.0, abs(mean)) else 0.0


def _groups(items: Sequence[RewardItem]) -> list[list[int]]:
    groups: dict[str, list[int]] = defaultdict(list)
    for index, item in enumerate(items):
        groups[item.prompt.id].append(index)
    return list(groups.values())


def _require_known(where: str, name: str, known: Sequence[str]) -> None:
    if name not in known:
        raise RewardError(f"{where}: {name!r} is in no mix; allowed: {', '.join(known)}{close_to(name, known)}")
