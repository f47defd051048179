"""The checks of the learner's algorithm: what its choices ask of one another."""

from __future__ import annotations

from rl.config.learner import LearnerConfig, UniGRPOConfig
from rl.config.wording import require, require_choice
from rl.errors import ConfigError
from rl.estimators import ESTIMATORS
from rl.estimators.base import Estimator
from rl.masking import SCHEDULES
from rl.objectives import OBJECTIVES
from rl.objectives.normalizers import NORMALIZERS
from rl.objectives.objective import Objective
from rl.types import Task


def check_algorithm(learner: LearnerConfig, rollouts: int) -> None:
    """rollouts: of a prompt. Raises ConfigError."""
    algorithm = learner.algorithm
    where = "learner.algorithm"
    samples = algorithm.estimator_samples
    estimator, objective = ESTIMATORS[algorithm.estimator], OBJECTIVES[algorithm.objective]
    if estimator.pairs and samples is not None and samples % 2:
        raise ConfigError(f"{where}.estimator_samples={samples}: {algorithm.estimator} draws masks in pairs: even")
    if SCHEDULES[algorithm.schedule].states is not None and not estimator.states:
        raise ConfigError(
            f"{where}.schedule={algorithm.schedule}: estimator={algorithm.estimator} makes no masks from the sampler's "
            "states; masked does"
        )
    if NORMALIZERS[algorithm.normalizer].needs_length and algorithm.normalizer_length is None:
        raise ConfigError(
            f"{where}.normalizer={algorithm.normalizer}: also give {where}.normalizer_length, e.g. the canvas's length"
        )
    if algorithm.ratio != "token" and not objective.has_ratio:
        raise ConfigError(f"{where}.ratio={algorithm.ratio}: objective={algorithm.objective} has no ratio; unigrpo has")
    if algorithm.importance_cap is not None and not objective.has_ratio:
        raise ConfigError(
            f"{where}.importance_cap={algorithm.importance_cap}: objective={algorithm.objective} has no such weights; "
            "unigrpo has"
        )
    if algorithm.dual_clip is not None and algorithm.dual_clip <= 1:
        raise ConfigError(f"{where}.dual_clip={algorithm.dual_clip}: must be above 1, e.g. 3")
    named = f"objective={algorithm.objective}"
    if objective.needs_reference:
        require(
            algorithm.kl_coef > 0,
            f"{where}.kl_coef",
            algorithm.kl_coef,
            f"above 0: {named} compares with the reference",
        )
    if objective.pairs:
        for name in ("mini_batch_size", "micro_batch_size_per_gpu"):
            size = getattr(learner, name)
            require(size is None or size % 2 == 0, f"learner.{name}", size, f"even: {named} learns from pairs")
    _check_weights(algorithm, estimator, objective)
    _check_trained(learner, rollouts, pairs=objective.pairs)
    tasks = [str(task) for task in Task]
    for task, length in algorithm.spg_block_length.items():
        require_choice(f"{where}.spg_block_length", task, tasks)
        require(length >= 1, f"{where}.spg_block_length.{task}", length, "1 or more tokens")
    if algorithm.spg_block_length and not estimator.blocks:
        raise ConfigError(f"{where}.spg_block_length: estimator={algorithm.estimator} has no blocks; spg has")
    for task, weight in learner.task_weights.items():
        if task not in tasks:
            raise ConfigError(f"learner.task_weights.{task}: unknown task; allowed: {', '.join(tasks)}")
        require(weight >= 0, f"learner.task_weights.{task}", weight, "0 or more")


def _check_weights(algorithm: UniGRPOConfig, estimator: Estimator, objective: Objective) -> None:
    where, states = "learner.algorithm", SCHEDULES[algorithm.schedule].states
    if algorithm.control_variate:
        key = f"{where}.control_variate={algorithm.control_variate:g}"
        if not estimator.even:
            raise ConfigError(
                f"{key}: not exact with estimator={algorithm.estimator}; allowed: {', '.join(_even())}; or set it to 0"
            )
        if states is not None and states.sampled:
            raise ConfigError(
                f"{key}: not exact with schedule={algorithm.schedule}, whose masks are not drawn at random; set "
                f"{where}.schedule=matched, or the control variate to 0"
            )
    if algorithm.structure_weight != 1:
        key = f"{where}.structure_weight={algorithm.structure_weight:g}"
        if not objective.by_token:
            raise ConfigError(
                f"{key}: objective={algorithm.objective} has one term a response, and no credit by token; set it to 1, or "
                f"{where}.objective=unigrpo"
            )
        if algorithm.ratio != "token":
            raise ConfigError(
                f"{key}: ratio={algorithm.ratio} has one term a response, and no credit by token; set it to 1, or "
                f"{where}.ratio=token"
            )


def _even() -> list[str]:
    return [name for name in ESTIMATORS if ESTIMATORS[name].even]


def _check_trained(learner: LearnerConfig, sampled: int, *, pairs: bool) -> None:
    count, key = learner.n_trained_per_prompt, "learner.n_trained_per_prompt"
    if count is None:
        return
    require(2 <= count <= sampled, key, count, f"from 2 to rollout.n_samples_per_prompt={sampled}, or null")
    if pairs:
        raise ConfigError(
            f"{key}={count}: objective={learner.algorithm.objective} takes a pair of each group; leave it out"
        )
