"""The checks of a config: ranges, choices and relations between settings. All run before the first process starts."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from typing import Any

from policies.samplers import AUTO, CACHES, CONFIDENCES, REMASKING, TEXT_SCHEDULES, UNMASKING
from rl.config.algorithm import check_algorithm
from rl.config.flat import flatten
from rl.config.lora import TARGETS
from rl.config.private import check_secrets
from rl.config.run_name import check_name
from rl.config.sections import Config, EvaluationConfig, SourceConfig
from rl.config.wording import require, require_choice, require_member
from rl.errors import ConfigError
from rl.estimators import ESTIMATORS
from rl.layouts import LAYOUTS
from rl.masking import SCHEDULES
from rl.objectives import OBJECTIVES
from rl.objectives.kl import KL_ESTIMATORS
from rl.objectives.normalizers import NORMALIZERS
from rl.registry import Registry, close_to
from rl.tasks import GENERATORS
from rl.tracking.mlflow_address import check_experiment, check_model, check_uri
from rl.types import ImageSampling, Task, TextSampling

CHOICES: Mapping[str, tuple[str, ...]] = {
    "policy.dtype": ("auto", "float32", "bfloat16"),
    "data.filter_overlong": ("error", "drop", "truncate"),
    "data.on_overlap": ("error", "drop"),
    "learner.algorithm.ratio": ("token", "sequence"),
    "learner.algorithm.importance_level": ("token", "sequence"),
    "learner.advantage_baseline": ("mean", "leave_one_out"),
    "rewards.on_failure.action": ("drop", "retry", "fail"),
    "rewards.sandbox": ("best_effort", "required"),
    "learner.engine": ("deepspeed", "torch"),
    "learner.zero_stage": (0, 1, 2, 3),  # pyright: ignore[reportAssignmentType]
    "learner.lr_schedule": ("constant", "cosine"),
    "learner.optimizer": ("adamw", "adamw8bit"),
    "sft.optimizer": ("adamw", "adamw8bit"),
    "sft.lr_schedule": ("constant", "cosine"),
    "sft.eos_fill": ("block", "canvas"),
    "cluster.mode": ("ray", "inline"),
    "cluster.in_flight": ("finish", "restart"),
    "cluster.placement": ("auto", "colocated", "disaggregated"),
    "resume_mode": ("auto", "disable", "path"),
    "best_mode": ("max", "min"),
    "tracking.log_model": ("final", "best", "both", "off"),
}

# Choices that a file and a line of their own, or an installed package, bring.
REGISTRIES: Mapping[str, Registry[Any]] = {
    "learner.algorithm.estimator": ESTIMATORS,
    "learner.algorithm.kl_estimator": KL_ESTIMATORS,
    "learner.algorithm.normalizer": NORMALIZERS,
    "learner.algorithm.objective": OBJECTIVES,
    "learner.algorithm.schedule": SCHEDULES,
}

POSITIVE = (
    "steps rollout.batch_size rollout.n_samples_per_prompt rollout.threads learner.algorithm.mu learner.lr "
    "learner.micro_batch_size_per_gpu learner.mini_batch_size learner.max_grad_norm learner.max_skipped_updates "
    "learner.algorithm.estimator_samples learner.algorithm.trajectory_shrink learner.algorithm.spg_beta "
    "learner.algorithm.residual_scale learner.algorithm.weight_cap "
    "learner.algorithm.structure_weight learner.algorithm.structure_share "
    "rollout.max_gen_batches learner.logits_mib learner.algorithm.dual_clip learner.algorithm.normalizer_length "
    "learner.algorithm.importance_cap learner.algorithm.importance_versions "
    "learner.algorithm.kl_clip learner.lora.alpha learner.threads learner.reference_sync_freq "
    "sft.steps sft.batch_size sft.lr sft.lr_decay_steps sft.threads sft.max_grad_norm "
    "cluster.rollout_workers cluster.reward_workers cluster.scorer_workers cluster.scorer_gpus cluster.learner_ranks "
    "cluster.start_deadline_s "
    "cluster.rollout_deadline_s cluster.reward_deadline_s cluster.learner_deadline_s evaluation.n_samples_per_prompt "
    "keep_checkpoints keep_best tracking.samples_freq tracking.traces_freq rewards.on_failure.attempts "
    "custom_reward_function.deadline_s custom_reward_function.memory_mb judge.start_deadline_s "
    "rollout.cache_gate.prompts cluster.heartbeat_s cluster.grace_s cluster.stall_s"
).split()
NOT_NEGATIVE = (
    "learner.algorithm.clip_low learner.algorithm.clip_high learner.algorithm.kl_coef learner.weight_decay "
    "learner.sft_rows learner.sft_coef "
    "learner.algorithm.entropy_coef learner.algorithm.control_variate "
    "learner.lora.rank learner.warmup_steps sft.warmup_steps sft.weight_decay test_freq "
    "save_freq save_minutes seed tracking.log_model_gb "
    "tracking.traces tracking.machine_s judge.port judge.restarts judge.gpus rollout.cache_gate.max_reward_drop "
    "max_staleness cluster.restart_budget cluster.learner_rebuilds"
).split()
PROBABILITIES = (
    "learner.algorithm.spg_mixture learner.algorithm.prompt_mask_prob learner.algorithm.structure_share "
    "rollout.cache_gate.min_agreement sft.canvas_prob sft.semi_autoregressive_prob sft.prompt_dropout"
).split()


def validate(config: Config) -> None:
    """Check ranges and relations. Raises ConfigError."""
    settings = dataclasses.asdict(config)
    check_secrets(settings)
    flat = dict(flatten(settings))
    check_name(config.name)
    _validate_evaluation(config.evaluation)
    for key, registry in REGISTRIES.items():
        registry.require(key, flat[key])
    for key, allowed in CHOICES.items():
        require_choice(key, flat[key], allowed)
    for key in POSITIVE:
        require(flat[key] is None or flat[key] > 0, key, flat[key], "a number above 0")
    for key in NOT_NEGATIVE:
        require(flat[key] >= 0, key, flat[key], "0 or more")
    require(config.seed < 1 << 63, "seed", config.seed, "a number below 2**63")
    for key, value in flat.items():
        if isinstance(value, float):
            require(math.isfinite(value), key, value, "a finite number")
    _validate_group_sizes(config)
    for section, part in (("rollout", config.rollout), ("evaluation", config.evaluation)):
        for name in ("text", "understand"):
            _validate_text(f"{section}.{name}", getattr(part, name))
        _validate_image(f"{section}.draw", part.draw)
        _validate_text(f"{section}.think_draw.think", part.think_draw.think)
        _validate_image(f"{section}.think_draw.draw", part.think_draw.draw)
    _validate_rewards(config)
    _validate_scorers(config)
    _validate_learner(config)
    for probability in PROBABILITIES:
        require(0 <= flat[probability] <= 1, probability, flat[probability], "a probability, 0 to 1")
    share = config.rewards.on_failure.max_failed_share
    require(0 <= share < 1, "rewards.on_failure.max_failed_share", share, "a share, from 0 to below 1")
    for which in ("train", "val"):
        for index, source in enumerate(getattr(config.data, which)):
            _validate_source(f"data.{which}[{index}]", source)
    if config.resume_mode == "path" and not config.resume_path:
        raise ConfigError("resume_mode=path: also give resume_path=FOLDER (a global_step_N folder)")
    decay = config.sft.lr_decay_steps
    require(
        decay is None or decay >= config.sft.steps,
        "sft.lr_decay_steps",
        decay,
        f"null, or sft.steps={config.sft.steps} or more",
    )
    if config.tracking.mlflow:
        check_uri(config.tracking.uri, config.tracking.password_env)
        check_experiment(config.tracking.experiment, config.tracking.uri)
        check_model(config.tracking.registered_model, config.tracking.log_model)
    _validate_best(config)
    _validate_staleness(config)
    _validate_hints(config)
    _validate_sharing(config)


def _validate_best(config: Config) -> None:
    """A checkpoint can be told to be the best only where it was measured."""
    metric, save, test = config.best_metric, config.save_freq, config.test_freq
    if metric is None:
        if config.tracking.log_model == "best":
            raise ConfigError(
                "tracking.log_model=best: needs best_metric, e.g. best_metric=val/text/score; or set tracking.log_model=final"
            )
        return
    if not metric.startswith("val/"):
        raise ConfigError(f"best_metric={metric}: must start with val/, e.g. val/text/score")
    if not save or not test or save % test:
        raise ConfigError(
            f"best_metric={metric}: every saved step must be evaluated: set save_freq={save} and test_freq={test} "
            "above 0, save_freq a multiple of test_freq"
        )


def _validate_staleness(config: Config) -> None:
    """Rollouts may run ahead only where it is known which weights sample which batch, and who still has them."""
    if config.max_staleness and config.rollout.max_gen_batches > 1:
        raise ConfigError(
            f"max_staleness={config.max_staleness} with rollout.max_gen_batches={config.rollout.max_gen_batches}: how many "
            "batches a step takes is only known when it is sampled; set one of them to max_staleness=0 or max_gen_batches=1"
        )


def _validate_hints(config: Config) -> None:
    hints, where = config.rollout.hints, "rollout.hints"
    require(0 <= hints.share < 1, f"{where}.share", hints.share, "a share of a group, from 0 (off) to below 1")
    given, chunk = hints.given, hints.chunk
    fits = len(given) == 2 and 0 < given[0] <= given[1] <= 1
    require(fits, f"{where}.given", given, "two shares, lowest and highest, above 0 and at most 1, e.g. [0.2, 0.6]")
    fits = len(chunk) == 2 and 1 <= chunk[0] <= chunk[1]
    require(fits, f"{where}.chunk", chunk, "two numbers of tokens, lowest and highest, 1 or more, e.g. [5, 10]")
    if hints.share and config.max_staleness:
        raise ConfigError(
            f"{where}.share={hints.share} with max_staleness={config.max_staleness}: hints are sampled at the "
            "weights of their group, which rollouts that run ahead no longer have; set one of them to 0"
        )
    if hints.share and config.rewards.normalize:
        raise ConfigError(
            f"{where}.share={hints.share} with rewards.normalize={config.rewards.normalize}: hinted rollouts are "
            "scored apart from their group, so that a reward standardised within it says nothing; leave one of them out"
        )


def _validate_sharing(config: Config) -> None:
    """What only processes on one device can do."""
    cluster = config.cluster
    if cluster.take_turns and cluster.placement == "disaggregated" and config.policy.device.startswith("cuda"):
        raise ConfigError(
            "cluster.take_turns=true with cluster.placement=disaggregated: learner ranks and rollout workers must share GPUs "
            "for it; set cluster.placement=colocated"
        )
    if not cluster.take_turns:
        return
    if cluster.mode != "ray":
        raise ConfigError(
            f"cluster.take_turns=true with cluster.mode={cluster.mode}: it is for processes; set cluster.mode=ray, or "
            "cluster.take_turns=false"
        )
    if config.max_staleness:
        raise ConfigError(
            f"cluster.take_turns=true with max_staleness={config.max_staleness}: rollouts that run ahead sample while the "
            "learner learns; set one of them to take_turns=false or max_staleness=0"
        )


def _validate_text(where: str, sampling: TextSampling) -> None:
    for name in ("max_new_tokens", "block_length", "steps"):
        require(getattr(sampling, name) > 0, f"{where}.{name}", getattr(sampling, name), "a number above 0")
    require(sampling.temperature >= 0, f"{where}.temperature", sampling.temperature, "0 (greedy) or more")
    for name in ("remask_temperature", "cfg_scale"):
        require(getattr(sampling, name) >= 0, f"{where}.{name}", getattr(sampling, name), "0 (off) or more")
    TEXT_SCHEDULES.require(f"{where}.schedule", sampling.schedule, AUTO)
    confidences = ", ".join(CONFIDENCES)
    require(sampling.confidence in CONFIDENCES, f"{where}.confidence", sampling.confidence, f"one of {confidences}")
    if sampling.max_new_tokens % sampling.block_length:
        raise ConfigError(
            f"{where}.block_length={sampling.block_length}: must divide max_new_tokens={sampling.max_new_tokens}"
        )
    require_member(f"{where}.remasking", sampling.remasking, REMASKING)
    CACHES.require(f"{where}.cache", sampling.cache)
    _validate_tail(where, sampling)
    threshold = sampling.confidence_threshold
    require(
        threshold is None or 0 < threshold <= 1,
        f"{where}.confidence_threshold",
        threshold,
        "above 0, at most 1, or null",
    )
    if threshold is not None and REMASKING[sampling.remasking].random:
        raise ConfigError(
            f"{where}.confidence_threshold={threshold}: a random order is never sure; set {where}.remasking=low_confidence"
        )
    require(
        sampling.repetition_penalty > 0,
        f"{where}.repetition_penalty",
        sampling.repetition_penalty,
        "above 0 (1 is off)",
    )
    blocks = sampling.max_new_tokens // sampling.block_length
    if sampling.steps % blocks:
        raise ConfigError(f"{where}.steps={sampling.steps}: must be a multiple of the {blocks} blocks")


def _validate_image(where: str, sampling: ImageSampling) -> None:
    require(sampling.steps > 0, f"{where}.steps", sampling.steps, "a number above 0")
    for name in ("guidance", "temperature", "remask_temperature"):
        require(getattr(sampling, name) >= 0, f"{where}.{name}", getattr(sampling, name), "0 or more")
    UNMASKING.require(f"{where}.schedule", sampling.schedule)
    require_member(f"{where}.remasking", sampling.remasking, REMASKING)
    if REMASKING[sampling.remasking].alone:
        raise ConfigError(
            f"{where}.remasking={sampling.remasking}: an image reveals a fixed number of codes a step; set "
            f"{where}.remasking=random"
        )
    _validate_tail(where, sampling)


def _validate_tail(where: str, sampling: TextSampling | ImageSampling) -> None:
    require(sampling.top_k >= 0, f"{where}.top_k", sampling.top_k, "0 (all tokens) or more")
    require(0 < sampling.top_p <= 1, f"{where}.top_p", sampling.top_p, "above 0, at most 1 (all tokens)")


def _validate_rewards(config: Config) -> None:
    tasks = [str(task) for task in Task]
    for section, mix in (("rewards.mix", config.rewards.mix), ("evaluation.mix", config.evaluation.mix)):
        for task, parts in mix.items():
            if task not in tasks:
                raise ConfigError(f"{section}.{task}: unknown task; allowed: {', '.join(tasks)}{close_to(task, tasks)}")
            require(bool(parts), f"{section}.{task}", parts, "at least one reward, e.g. {correctness: 1.0}")
            if section == "rewards.mix":
                require(
                    any(parts.values()), f"{section}.{task}", parts, "at least one weight that is not 0: 0 only records"
                )
            custom = config.custom_reward_function
            if "custom" in parts and not (custom.path or custom.url):
                raise ConfigError(
                    f"{section}.{task}.custom: also give custom_reward_function.path=FILE.py (or .url=URL)"
                )
            if custom.path and custom.url:
                raise ConfigError("custom_reward_function: path and url are both given; give one")


def _validate_scorers(config: Config) -> None:
    mixes = (*config.rewards.mix.values(), *config.evaluation.mix.values())
    known = sorted({name for parts in mixes for name in parts} | set(config.rewards.settings))
    for name in config.rewards.scorers:
        require_choice("rewards.scorers", name, known)
    gpus = config.cluster.scorer_gpus
    require(gpus <= 1 or gpus.is_integer(), "cluster.scorer_gpus", gpus, "a share of a GPU, or a whole number of them")


def _validate_group_sizes(config: Config) -> None:
    by_task, tasks = config.rollout.n_samples_by_task, [str(task) for task in Task]
    sizes = {"n_samples_per_prompt": config.rollout.n_samples_per_prompt}
    for task, size in by_task.items():
        if task not in tasks:
            raise ConfigError(f"rollout.n_samples_by_task.{task}: unknown task; allowed: {', '.join(tasks)}")
        sizes[f"n_samples_by_task.{task}"] = size
    for name, size in sizes.items():
        require(size >= 2, f"rollout.{name}", size, "2 or more (an advantage compares members of a group)")
    if by_task and config.learner.mini_batch_size is not None:
        raise ConfigError(
            f"learner.mini_batch_size={config.learner.mini_batch_size} with rollout.n_samples_by_task: steps would differ "
            "in their number of updates; leave mini_batch_size out, or give all tasks n_samples_per_prompt"
        )


def _validate_learner(config: Config) -> None:
    learner = config.learner
    rollouts = config.rollout.batch_size * (learner.n_trained_per_prompt or config.rollout.n_samples_per_prompt)
    require(len(learner.betas) == 2, "learner.betas", learner.betas, "two numbers")
    if learner.engine == "torch" and config.cluster.learner_ranks > 1:
        raise ConfigError(
            f"learner.engine=torch with cluster.learner_ranks={config.cluster.learner_ranks}: the torch engine has "
            "one rank; set learner.engine=deepspeed"
        )
    if learner.lora.on and learner.reference_sync_freq is not None:
        raise ConfigError(
            f"learner.reference_sync_freq={learner.reference_sync_freq} with learner.lora: the reference is the policy "
            "without its adapter; set learner.reference_sync_freq=null"
        )
    if learner.lora.rank and not learner.lora.target:
        raise ConfigError("learner.lora.target=[]: name at least one layer, e.g. [q_proj, v_proj]")
    for name in learner.lora.target:
        require_choice("learner.lora.target", name, TARGETS)
    if learner.offload_optimizer and (learner.engine != "deepspeed" or learner.zero_stage == 0):
        raise ConfigError(
            f"learner.offload_optimizer=true with learner.engine={learner.engine}, zero_stage={learner.zero_stage}: "
            "only ZeRO offloads; set learner.engine=deepspeed and learner.zero_stage=1, 2 or 3"
        )
    if config.cluster.mode == "inline" and config.cluster.learner_ranks > 1:
        raise ConfigError("cluster.mode=inline with cluster.learner_ranks > 1: one process has one rank; use mode=ray")
    for kind in config.cluster.labels:
        require_choice("cluster.labels", kind, ("rollout", "reward", "scorer", "learner"))
    if config.cluster.learner_ranks > rollouts:
        raise ConfigError(
            f"cluster.learner_ranks={config.cluster.learner_ranks}: more ranks than the {rollouts} rollouts of a step"
        )
    require(
        learner.sft_rows <= config.rollout.batch_size,
        "learner.sft_rows",
        learner.sft_rows,
        f"at most rollout.batch_size={config.rollout.batch_size}: they are some of a step's prompts",
    )
    check_algorithm(learner, rollouts=config.rollout.n_samples_per_prompt)
    if learner.mini_batch_size is not None and learner.mini_batch_size > rollouts:
        raise ConfigError(
            f"learner.mini_batch_size={learner.mini_batch_size}: a step trains on rollout.batch_size * "
            f"{'rollout.n_samples' if learner.n_trained_per_prompt is None else 'learner.n_trained'}_per_prompt = {rollouts} "
            "rollouts"
        )


def _validate_source(where: str, source: SourceConfig) -> None:
    if source.task is not None and source.task not in tuple(Task):
        raise ConfigError(f"{where}.task={source.task!r}: allowed: {', '.join(Task)}")
    if source.source in GENERATORS and source.split not in ("train", "val"):
        raise ConfigError(f"{where}.split={source.split!r}: allowed for {source.source}: train, val")
    require(source.weight > 0, f"{where}.weight", source.weight, "a number above 0")
    require(source.limit is None or source.limit > 0, f"{where}.limit", source.limit, "a number above 0")


def _validate_evaluation(settings: EvaluationConfig) -> None:
    if settings.n_samples is not None and settings.n_samples < 1:
        raise ConfigError(f"evaluation.n_samples={settings.n_samples}: must be a number above 0, or null")
    if settings.k_shots < 0:
        raise ConfigError(f"evaluation.k_shots={settings.k_shots}: must be 0 or more")
    if settings.layout is not None:
        LAYOUTS.require("evaluation.layout", settings.layout, "null")
