"""What checks are given: the settings, and for a policy what the checks before have found."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rl.config import Config
from rl.types import Group, StepReport, Task

if TYPE_CHECKING:
    from policies.base import Vocabulary
    from policies.families.registry import Family
    from policies.files.tokenizer import ChatTokenizer
    from policies.policy import MaskedDiffusionPolicy


@dataclass(frozen=True, slots=True)
class Machine:
    """config: whose cluster, tracking and output folder are looked at."""

    config: Config


@dataclass(slots=True)
class Case:
    """One policy. ``path``, ``device``, ``dtype``, ``out`` and ``recipe`` are asked for; checks fill in the rest.

    out      where pictures go
    recipe   its name, where the user gave one; ``config`` is its settings
    pass_s   seconds of a forward pass over a short prompt with its answer
    planned, peak  bytes of the update: by the plan's arithmetic, and measured (None where nothing measures it)
    """

    path: str
    config: Config
    device: str
    dtype: str
    out: Path
    recipe: str | None = None
    folder: Path = field(default_factory=Path)
    settings: Mapping[str, Any] = field(default_factory=dict)
    family: Family | None = None
    tokenizer: ChatTokenizer | None = None
    vocabulary: Vocabulary | None = None
    policy: MaskedDiffusionPolicy | None = None
    weights: int = 0
    pass_s: float = 0.0
    groups: dict[Task, Group] = field(default_factory=dict)
    sampled: dict[Task, tuple[int, float]] = field(default_factory=dict)
    report: StepReport | None = None
    trained: str = ""
    tokens: int = 0
    planned: float = 0.0
    peak: float | None = None
    before: float = 0.0

    @property
    def loaded(self) -> MaskedDiffusionPolicy:
        assert self.policy is not None
        return self.policy
