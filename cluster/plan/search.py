"""Settings that make a run fit, or make it faster: every combination that memory depends on, by the arithmetic of a plan.

What the user typed stays as typed. AdamW in 32 bits on the device comes first; with 8 bits a step is rounded, and on the
host it waits: those are tried only where nothing else fits, in this order.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import product
from typing import Any

from cluster.plan.layout import wire_shares_device
from cluster.plan.plan import Assumed, Model, Plan, make_plan
from cluster.plan.seconds import Device
from rl.config import Config
from rl.errors import ConfigError

RANKS, WORKERS = "cluster.learner_ranks", "cluster.rollout_workers"
PLACEMENT, TURNS = "cluster.placement", "cluster.take_turns"
OPTIMIZER, OFFLOAD = "learner.optimizer", "learner.offload_optimizer"
STAGE, MICRO = "learner.zero_stage", "learner.micro_batch_size_per_gpu"
CHECKPOINTING, DTYPE = "learner.activation_checkpointing", "policy.dtype"
DIVISION = (RANKS, WORKERS)
TIERS = ((("adamw", False),), (("adamw8bit", False),), (("adamw", True), ("adamw8bit", True)))


@dataclass(frozen=True, slots=True)
class Proposal:
    """settings: what differs from the config, as ``key=value``. plan: with them."""

    settings: tuple[str, ...]
    plan: Plan


def divide(config: Config, model: Model, device: Device, assumed: Assumed, gpus: int) -> Config:
    """The config with ranks and workers for so many devices: of the divisions that fit, the fastest; else the fastest."""
    best: tuple[tuple[bool, float], Config] | None = None
    for division in _divisions(config, gpus, {PLACEMENT, TURNS}):
        changed = apply(config, division)
        try:
            plan = make_plan(changed, model, device, assumed, gpus)
        except ConfigError:
            continue
        rank = (plan.fits, plan.samples_per_hour)
        best = (rank, changed) if best is None or rank > best[0] else best
    return best[1] if best else config


def propose(
    config: Config,
    typed: Collection[str],
    model: Model,
    device: Device,
    assumed: Assumed,
    gpus: int,
    given: Config | None = None,
) -> Proposal | None:
    """The fastest settings that fit on ``gpus`` devices; among equals those that change least. None where none fit.

    given: what the user has, where ``config`` is that with a division of ours: the proposal names all that differs from it
    """
    for tier in TIERS:
        best: tuple[tuple[float, int], Proposal] | None = None
        for optimizer, offload in tier:
            for changes in _candidates(config, gpus, typed, {OPTIMIZER: optimizer, OFFLOAD: offload}):
                proposal = _try(config, changes, model, device, assumed, gpus, given or config)
                if proposal is None:
                    continue
                rank = (round(proposal.plan.samples_per_hour, 3), -len(proposal.settings))
                best = (rank, proposal) if best is None or rank > best[0] else best
        if best is not None:
            return best[1]
    return None


def _try(
    config: Config,
    changes: Mapping[str, Any],
    model: Model,
    device: Device,
    assumed: Assumed,
    gpus: int,
    given: Config,
) -> Proposal | None:
    try:
        plan = make_plan(apply(config, changes), model, device, assumed, gpus)
    except ConfigError:
        return None
    if not plan.fits:
        return None
    named = DIVISION if given is not config else ()  # else a plan with these settings would be divided anew
    settings = tuple(
        f"{key}={_word(value)}" for key, value in changes.items() if key in named or value != read(given, key)
    )
    return Proposal(settings, plan)


def _candidates(
    config: Config, gpus: int, typed: Collection[str], fixed: Mapping[str, Any]
) -> Iterator[dict[str, Any]]:
    """Every combination of what was not typed."""
    for key, value in fixed.items():
        if key in typed and value != read(config, key):
            return
    choices = {
        DTYPE: (config.policy.dtype,) if config.policy.dtype == "bfloat16" else ("float32", "bfloat16"),
        STAGE: tuple(range(4)),
        CHECKPOINTING: (False, True),
        MICRO: _halves(config.learner.micro_batch_size_per_gpu),
    }
    for key in choices.keys() & set(typed):
        choices[key] = (read(config, key),)
    for division, values in product(_divisions(config, gpus, typed), product(*choices.values())):
        changes = {**fixed, **division, **dict(zip(choices, values, strict=True))}
        if _makes_sense(changes):
            yield changes


def _makes_sense(changes: Mapping[str, Any]) -> bool:
    """Combinations that another one covers, or that the config refuses, are not tried."""
    stage, ranks = changes[STAGE], changes[RANKS]
    if changes[OFFLOAD]:
        return stage > 0
    least = 2 if changes[DTYPE] == "bfloat16" and stage else 0
    return stage >= least and (stage == 0 or ranks > 1)


def _divisions(config: Config, gpus: int, typed: Collection[str]) -> list[dict[str, Any]]:
    """Ranks, workers, and where they live. Ranks are powers of two, which batches divide by, or all GPUs."""
    cluster, trained = config.cluster, config.learner.n_trained_per_prompt
    rollouts = config.rollout.batch_size * (trained or config.rollout.n_samples_per_prompt)
    powers = [2**power for power in range(gpus.bit_length())]
    counts = [ranks for ranks in dict.fromkeys([*powers, gpus]) if ranks <= min(gpus, rollouts)]
    ranks = [cluster.learner_ranks] if RANKS in typed else counts
    together = {RANKS: ranks, WORKERS: [gpus], PLACEMENT: ["colocated"], TURNS: [True, False]}
    found = [dict(zip(together, values, strict=True)) for values in product(*together.values())]
    found += [
        {RANKS: each, WORKERS: gpus - each, PLACEMENT: "disaggregated", TURNS: False} for each in ranks if each < gpus
    ]
    if WORKERS in typed:
        found = [{**each, WORKERS: cluster.rollout_workers} for each in found]
    return [
        {**each, PLACEMENT: "auto"} if cluster.placement == "auto" else each
        for each in found
        if _allowed(config, each, typed)
    ]


def _allowed(config: Config, division: Mapping[str, Any], typed: Collection[str]) -> bool:
    """Whether it leaves what was typed as it is, and the config's checks take it."""
    cluster, apart = config.cluster, division[PLACEMENT] == "disaggregated"
    if TURNS in typed and division[TURNS] != cluster.take_turns:
        return False
    if PLACEMENT in typed and cluster.placement not in ("auto", division[PLACEMENT]):
        return False
    if apart and wire_shares_device(config):
        return False
    return not (division[TURNS] and (config.max_staleness or cluster.mode != "ray"))


def _halves(size: int) -> tuple[int, ...]:
    """From the size down to 1."""
    found = [size]
    while found[-1] > 1:
        found.append(found[-1] // 2)
    return tuple(found)


def apply(config: Config, changes: Mapping[str, Any]) -> Config:
    """``section.name`` -> value."""
    for section in dict.fromkeys(key.partition(".")[0] for key in changes):
        values = {key.partition(".")[2]: value for key, value in changes.items() if key.startswith(f"{section}.")}
        config = replace(config, **{section: replace(getattr(config, section), **values)})
    return config


def read(config: Config, key: str) -> Any:
    section, _, name = key.partition(".")
    return getattr(getattr(config, section), name)


def _word(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
