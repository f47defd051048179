"""Settings of health rules."""

from __future__ import annotations

from dataclasses import dataclass, field

from rl.errors import ConfigError
from rl.health import RULES


@dataclass(frozen=True)
class HealthConfig:
    """Rules over the run's metrics that say in words what is wrong; they change nothing of training. See docs/health.md.

    on      false: no rule is asked
    off     rules that are left out
    limits  rule -> the limit beyond which it is sick, where its own does not fit: ``{kl: 1.0}``
    """

    on: bool = True
    off: list[str] = field(default_factory=list)
    limits: dict[str, float] = field(default_factory=dict)


def check_health(config: HealthConfig) -> None:
    """Raises ConfigError."""
    for name in config.off:
        RULES.require("health.off", name)
    for name, limit in config.limits.items():
        RULES.require("health.limits", name)
        if limit < 0:
            raise ConfigError(f"health.limits.{name}={limit}: must be a number, 0 or more")
