"""Estimators of a response's log-likelihood, by name. A new one is one file here and one line below."""

from __future__ import annotations

from rl.estimators.base import Estimator
from rl.registry import Registry

ESTIMATORS: Registry[Estimator] = Registry(
    "estimator",
    {
        "masked": "rl.estimators.masked:MASKED",
        "coupled": "rl.estimators.coupled:COUPLED",
        "trajectory": "rl.estimators.trajectory:TRAJECTORY",
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
