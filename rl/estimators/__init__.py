"""Estimators of a response's log-likelihood, by name. A new one is one file here and one line below."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rl.errors import ConfigError, UniGRPOError, one_line
from rl.estimators.base import Estimator, EstimatorConfig, Revealed, Views
from rl.estimators.control_variate import controlled
from rl.registry import Registry
from rl.types import MaskDraw

if TYPE_CHECKING:
    import numpy as np

ESTIMATORS: Registry[Estimator] = Registry(
    "estimator",
    {
        "masked": "rl.estimators.masked:MASKED",
        "coupled": "rl.estimators.coupled:COUPLED",
        "trajectory": "rl.estimators.trajectory:TRAJECTORY",
        "trajectory_entropy": "rl.estimators.trajectory_entropy:TRAJECTORY_ENTROPY",
        "trajectory_surprisal": "rl.estimators.trajectory_surprisal:TRAJECTORY_SURPRISAL",
        "elbo": "rl.estimators.elbo:ELBO",
        "elbo_stratified": "rl.estimators.elbo:ELBO_STRATIFIED",
        "elbo_antithetic": "rl.estimators.elbo:ELBO_ANTITHETIC",
        "quadrature": "rl.estimators.quadrature:QUADRATURE",
        "strata": "rl.estimators.strata:STRATA",
        "spg": "rl.estimators.spg:SPG",
        "left_to_right": "rl.estimators.left_to_right:LEFT_TO_RIGHT",
    },
    group="unigrpo.estimators",
    member=Estimator,
)


def views_of(
    name: str, draw: MaskDraw, step_map: np.ndarray, config: EstimatorConfig, revealed: Revealed | None = None
) -> Views:
    """What the estimator of this name makes of a response of ``len(step_map)`` tokens, with the control variate that the config
    asks for. Raises ConfigError where a package's fails, or gives something else than ``Views`` are."""
    estimator = ESTIMATORS[name]
    try:
        found: object = estimator.views(draw, step_map, config, *((revealed,) if estimator.revealed else ()))
    except UniGRPOError:
        raise
    except Exception as error:
        raise ConfigError(f"estimator {name!r}: a response of {len(step_map)} tokens: {one_line(error)}") from error
    if not isinstance(found, Views):
        raise ConfigError(f"estimator {name!r}: returned {found!r:.80}; must be rl.estimators.base.Views")
    found.check(name, len(step_map))
    return controlled(found, config.control_variate) if config.control_variate else found
