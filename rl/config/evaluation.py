"""The checks of ``unigrpo eval``'s own settings."""

from __future__ import annotations

from rl.config.sections import EvaluationConfig
from rl.errors import ConfigError
from rl.layouts import LAYOUTS


def check_evaluation(settings: EvaluationConfig) -> None:
    """Raises ConfigError."""
    if settings.n_samples is not None and settings.n_samples < 1:
        raise ConfigError(f"evaluation.n_samples={settings.n_samples}: must be a number above 0, or null")
    if settings.k_shots < 0:
        raise ConfigError(f"evaluation.k_shots={settings.k_shots}: must be 0 or more")
    if settings.layout is not None:
        LAYOUTS.require("evaluation.layout", settings.layout, "null")
