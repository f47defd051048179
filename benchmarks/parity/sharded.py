"""ZeRO stage 3 on two and three ranks against one rank of AdamW: ``python -m benchmarks.parity.sharded [--out FILE]``.

Each forward pass is a collective there. So responses are of 1 to 40 tokens, one rollout a micro-batch, and DeepSpeed keeps no
weight between two uses: ranks that make other passes than their neighbours stop at once. Every estimator with every objective
that takes it, two batches of two optimizer steps each, then what else changes a rank's passes. Losses within 1e-5 of one rank's,
or of them where they are above 1.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import re
import shutil
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.parity.matrix import LOSS_TOLERANCE, LOSSES, import_once, make_policy
from benchmarks.parity.ranks import fork_ranks

RESPONSES = (2, 40, 1, 17, 30, 16, 3, 9)  # tokens; 16 is an image
SHORT_RESPONSES = (2, 12, 1, 5, 9, 16, 3, 4)
DEADLINE_S = 1800.0  # for all cases of one number of ranks
COLLECTIVE_S = 30.0
MU = 2


@dataclass(frozen=True, slots=True)
class Case:
    """algorithm, learner: settings that differ from the defaults. lora: an adapter is trained. stale: some rollouts are of
    earlier weights. responses: tokens of each rollout."""

    name: str
    algorithm: dict[str, Any] = field(default_factory=dict)
    learner: dict[str, Any] = field(default_factory=dict)
    family: str = "policy"
    lora: bool = False
    stale: bool = False
    responses: tuple[int, ...] = RESPONSES


def cases() -> list[Case]:
    from rl.estimators import ESTIMATORS
    from rl.objectives import OBJECTIVES

    pairs = itertools.product(ESTIMATORS, OBJECTIVES)
    found = [Case(f"{one} {two}", {"estimator": one, "objective": two}) for one, two in pairs]
    found += [Case(f"masked {name}", {"schedule": name}) for name in ("algorithm1", "random", "middle", "full")]
    every = ("masked", "coupled", "trajectory")
    found += [Case(f"{one} entropy", {"estimator": one, "entropy_coef": 0.01}) for one in every]
    found += [Case(f"{one} sequence", {"estimator": one, "ratio": "sequence"}) for one in every]
    found += [Case(f"{one} control", {"estimator": one, "control_variate": 1.0}) for one in every]
    found += [Case(f"{one} structure", {"estimator": one, "structure_weight": 3.0}) for one in every]
    found += [Case(f"{one} lora", {"estimator": one}, lora=True) for one in every]
    found += [Case(f"{one} stale", {"estimator": one, "importance_cap": 2.0}, stale=True) for one in every]
    found += [Case(f"{one} chunks", {"estimator": one}, {"logits_mib": 0.002}) for one in every]
    found += [Case(f"{one} recomputed", {"estimator": one}, {"activation_checkpointing": True}) for one in every]
    found += [
        Case(f"{one} packed", {"estimator": one}, {"packing": True, "micro_batch_size_per_gpu": 4}) for one in every
    ]
    found += [Case(f"{one} prompt", {"estimator": one, "prompt_mask_prob": 0.3}) for one in every]
    found += [Case(f"{one} blocks", {"estimator": one}, family="blocks") for one in every]
    found += [Case(f"{one} experts", {"estimator": one}, family="experts") for one in every]
    found += [Case(f"{one} mini", {"estimator": one}, {"mini_batch_size": 6}) for one in every]
    return [replace(case, name=case.name.replace(" ", "-")) for case in found]


def run(chosen: Sequence[Case], ranks: Sequence[int] = (2, 3), log: Callable[[str], None] = print) -> dict[str, Any]:
    """The largest error of each case's losses. Raises RuntimeError where ranks fail or wait for each other."""
    import torch

    import_once()
    torch.set_num_threads(1)
    folder = Path(tempfile.mkdtemp(prefix="unigrpo-sharded-"))
    try:
        make_policy(folder)
        rows = []
        for count in (1, *ranks):
            fork_ranks(count, partial(_rank, folder, chosen, count), DEADLINE_S)
        for case, count in itertools.product(chosen, ranks):
            one, many = (json.loads((folder / f"{case.name}-{of}.json").read_text()) for of in (1, count))
            expected, found = (np.array(of)[:, :2] for of in (one, many))
            error = float((np.abs(found - expected) / np.maximum(1.0, np.abs(expected))).max())
            rows.append({"case": case.name, "ranks": count, "loss_error": error, "losses": one})
            log(f"{case.name} on {count} ranks: {error:.1e}")
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    largest = max(row["loss_error"] for row in rows)
    return {"bench": "sharded", "rows": rows, "largest": largest, "within_tolerance": largest <= LOSS_TOLERANCE}


def _rank(folder: Path, chosen: Sequence[Case], ranks: int, rank: int) -> None:
    """Runs all cases. One rank is plain AdamW."""
    import torch.distributed as dist

    from cluster.learner.deepspeed_engine import start_distributed

    file = dist.FileStore(str(folder / f"store-{ranks}"), ranks)  # pyright: ignore[reportPrivateImportUsage]
    os.environ.setdefault("GLOO_SOCKET_IFNAME", "lo")
    start_distributed(rank, ranks, file, "cpu", COLLECTIVE_S)
    for case in chosen:
        losses = _train(folder, case, rank, ranks)
        if rank == 0:
            (folder / f"{case.name}-{ranks}.json").write_text(json.dumps(losses))


def _train(folder: Path, case: Case, rank: int, ranks: int) -> list[list[float]]:
    """Losses of each of two batches."""
    from cluster.learner.deepspeed_engine import DeepSpeedEngine
    from rl.config import LearnerConfig, UniGRPOConfig
    from rl.learner.engine import TorchEngine
    from rl.learner.reference import make_reference
    from rl.learner.update import UniGRPOLearner

    algorithm = UniGRPOConfig(**{"mu": MU, "kl_coef": 0.05, **case.algorithm})
    settings = {"lr": 3e-4, "threads": 1, "micro_batch_size_per_gpu": 2 if "dpo" in case.name else 1, **case.learner}
    config = LearnerConfig(algorithm, **settings)
    policy = _policy(folder, case)
    reference, total = make_reference(policy, None), 2 * MU
    if ranks == 1:
        engine = TorchEngine(policy.module, config, total)
    else:
        log = folder / f"deepspeed-{rank}.log"
        engine = DeepSpeedEngine(policy.module, config, total, zero_stage=3, live_parameters=0, log=log)
    learner = UniGRPOLearner(policy, engine, config, reference)
    losses = []
    for step in range(2):
        metrics = learner.update(_batch(policy, algorithm, step, case)).metrics
        losses.append([metrics.get(name, 0.0) for name in LOSSES])
    if ranks > 1:
        engine.close()  # pyright: ignore[reportAttributeAccessIssue]
    return losses


def _policy(folder: Path, case: Case) -> Any:
    """A tiny one with images; of its size, a block-causal one or one with experts."""
    from benchmarks.policy import bench_policy
    from policies import load_policy
    from policies.lora import attach
    from policies.network.experts import ExpertsConfig

    policy = load_policy(folder / "policy")
    vocabulary, sizes = policy.vocabulary, policy.module.config
    if case.family == "blocks":
        return bench_policy(sizes, vocabulary.size, codebook=vocabulary.codebook_size, block_length=4)
    if case.family == "experts":
        experts = ExpertsConfig(8, 2, 16, 1, 4, 2, 2.5, 1)
        return bench_policy(sizes, vocabulary.size, codebook=vocabulary.codebook_size, experts=experts)
    if case.lora:
        attach(policy, 2, 4.0, ("q_proj", "ff_out"))
    return policy


def _batch(policy: Any, algorithm: Any, step: int, case: Case) -> Any:
    """Eight rollouts of random tokens: what is learned does not matter here."""
    from rl.masking import mask_ratios
    from rl.types import MaskDraw, Task, TrainBatch

    generator, vocabulary = np.random.default_rng(step), policy.vocabulary
    rows, masks, tasks, steps = [], [], [], []
    for length in case.responses:
        image = length == 16
        first, last = (vocabulary.image_offset, vocabulary.size) if image else (20, vocabulary.image_offset)
        prompt = int(generator.integers(3, 9))
        rows.append(np.concatenate([generator.integers(20, 200, prompt), generator.integers(first, last, length)]))
        masks.append(np.arange(len(rows[-1])) >= prompt)
        tasks.append(Task.DRAW if image else Task.TEXT)
        steps.append(generator.integers(0, max(1, length // 3), length).astype(np.int32))
    sure = [np.linspace(0.1, 1, len(each), dtype=np.float32) for each in steps]
    doubts = [-np.log(each) for each in sure]
    count, ratios = len(rows), mask_ratios(algorithm.schedule, MU, step)
    return TrainBatch(
        token_ids=tuple(rows), response_mask=tuple(masks),
        advantages=generator.normal(size=count).astype(np.float32),
        mask_draws=tuple(
            tuple(MaskDraw(1000 * step + 10 * n + i, ratio) for i in range(count)) for n, ratio in enumerate(ratios)
        ),
        tasks=tuple(tasks), step_maps=tuple(steps), confidences=tuple(sure), entropies=tuple(doubts),
        staleness=np.arange(count) % 2 * min(step, 1) if case.stale else None,
        on_policy=not (case.stale and step),
    )  # fmt: skip


def _matches(name: str, patterns: Sequence[str]) -> bool:
    return not patterns or any(re.match(pattern, name) for pattern in patterns)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.parity.sharded", description=__doc__)
    parser.add_argument("--case", nargs="*", default=[], help="patterns of cases; all by default")
    parser.add_argument("--short", action="store_true", help="responses of 1 to 16 tokens: a third of the passes")
    parser.add_argument("--ranks", type=int, nargs="*", default=[2, 3])
    parser.add_argument("--out", type=Path, help="where the JSON goes")
    arguments = parser.parse_args()
    chosen = [case for case in cases() if _matches(case.name, arguments.case)]
    if arguments.short:
        chosen = [replace(case, responses=SHORT_RESPONSES) for case in chosen]
    result = run(chosen, arguments.ranks)
    if arguments.out is not None:
        arguments.out.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    print(f"largest error {result['largest']:.1e}, {LOSS_TOLERANCE:g} allowed")
    raise SystemExit(0 if result["within_tolerance"] else 1)


if __name__ == "__main__":
    main()
