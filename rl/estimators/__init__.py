"""Estimators of a response's log-likelihood, by name. A new one is one file here and one line below."""

from __future__ import annotations

from collections.abc import Mapping

from rl.errors import ConfigError
from rl.estimators.base import Estimator, EstimatorConfig, Views, weighted_sum
from rl.estimators.coupled import coupled_views
from rl.estimators.elbo import antithetic_views, independent_views, stratified_views
from rl.estimators.left_to_right import left_to_right_views
from rl.estimators.masked import masked_views
from rl.estimators.spg import sandwich, spg_views
from rl.estimators.trajectory import trajectory_views

ESTIMATORS: Mapping[str, Estimator] = {
    "masked": Estimator(masked_views),
    "coupled": Estimator(coupled_views),
    "trajectory": Estimator(trajectory_views),
    "elbo": Estimator(independent_views),
    "elbo_stratified": Estimator(stratified_views),
    "elbo_antithetic": Estimator(antithetic_views),
    "spg": Estimator(spg_views, sandwich),
    "left_to_right": Estimator(left_to_right_views),
}


def estimator(name: str) -> Estimator:
    """Raises ConfigError."""
    if name not in ESTIMATORS:
        raise ConfigError(f"estimator={name!r}: allowed: {', '.join(ESTIMATORS)}")
    return ESTIMATORS[name]


__all__ = ["ESTIMATORS", "Estimator", "EstimatorConfig", "Views", "estimator", "weighted_sum"]
