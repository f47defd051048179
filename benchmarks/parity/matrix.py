"""The same steps in every layout: ``python -m benchmarks.parity.matrix [--short] [--out FILE]``.

One seed, one stream of batches of text and images, two inner updates each, ten optimizer steps. Every layout (ranks, ZeRO
stage, size of micro-batches, packed or padded, activations kept or computed again, optimizer's state offloaded or not) is
compared with one rank of plain AdamW: losses at each step, and weights at the end. Then a run that is saved half-way on
one rank goes on with two, and the other way round. The 8-bit AdamW rounds in other blocks in another layout, so that it is
compared with itself, and less closely.
"""

from __future__ import annotations

import argparse
import importlib
import itertools
import json
import os
import shutil
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.parity.ranks import fork_ranks

STEPS, HALF, MU = 5, 3, 2  # batches, of which so many before a checkpoint; inner updates of each
LOSSES = ("actor/pg_loss", "actor/kl_loss", "actor/grad_norm")
LOSS_TOLERANCE, WEIGHT_TOLERANCE = 1e-5, 1e-4
ROUGH = 1e-3, 2.5e-4  # of the 8-bit AdamW: the second is a tenth of how far weights move, root mean square
DEADLINE_S = 1800.0  # for the layouts of one number of ranks
RESPONSES = (12, 16, 5, 16, 9, 16, 3, 7)  # tokens; 16 is an image


@dataclass(frozen=True, slots=True)
class Layout:
    """stage -1 is plain AdamW. start: the layout whose half-way checkpoint this one goes on from; save: make one."""

    ranks: int = 1
    stage: int = -1
    micro: int = 8
    packed: bool = False
    recomputed: bool = False
    offload: bool = False
    eight_bit: bool = False
    start: str = ""
    save: bool = False

    @property
    def name(self) -> str:
        marks = [name for name in ("packed", "recomputed", "offload", "eight_bit") if getattr(self, name)]
        stage = "adamw" if self.stage < 0 else f"zero{self.stage}"
        return "-".join([f"{self.ranks}x{stage}", f"micro{self.micro}", *marks]) + (
            f" from {self.start}" * bool(self.start)
        )

    @property
    def base(self) -> Layout:
        return EIGHT_BIT if self.eight_bit else BASE

    @property
    def tolerances(self) -> tuple[float, float]:
        """Of losses and of weights."""
        return ROUGH if self.eight_bit else (LOSS_TOLERANCE, WEIGHT_TOLERANCE)


BASE, EIGHT_BIT = Layout(), Layout(eight_bit=True, save=True)
SHORT = (
    Layout(1, 0, 1, packed=True, save=True), Layout(1, 3, 1, recomputed=True), Layout(2, 0, 8, packed=True),
    Layout(2, 1, 1, recomputed=True), Layout(2, 2, 1, packed=True),
    Layout(2, 3, 8, packed=True, recomputed=True, save=True),
)  # fmt: skip


def layouts(short: bool) -> list[Layout]:
    """Those on one rank, BASE first; those on two; and those that go on from a checkpoint of other ranks."""
    first = list(SHORT)
    if not short:
        every = itertools.product((1, 2), range(4), (1, 8), (False, True), (False, True))
        first = [Layout(*one, save=one == (1, 2, 8, False, False)) for one in every]
        first += [Layout(ranks, stage, 8, offload=True, save=stage == 3) for ranks in (1, 2) for stage in (1, 2, 3)]
    saved = {layout.ranks: layout for layout in first if layout.save}
    eight_bit = [replace(EIGHT_BIT, ranks=2, stage=stage, save=stage == 2) for stage in (2, 3)]
    second = [
        Layout(2, 1, start=saved[1].name), replace(EIGHT_BIT, ranks=2, stage=3, start=EIGHT_BIT.name, save=False),
        Layout(1, -1, start=saved[2].name), replace(EIGHT_BIT, start=eight_bit[0].name, save=False),
    ]  # fmt: skip
    return [BASE, EIGHT_BIT, *sorted([*first, *eight_bit], key=lambda layout: layout.ranks), *second]


def run(short: bool, log: Any = print) -> dict[str, Any]:
    """Errors of every layout, and whether all are within the tolerances."""
    import torch

    import_once()
    torch.set_num_threads(1)
    began = time.process_time()
    folder = Path(tempfile.mkdtemp(prefix="unigrpo-matrix-"))
    try:
        make_policy(folder)
        rows = []
        for _, group in itertools.groupby(layouts(short), key=lambda layout: layout.ranks):
            members = list(group)
            store = folder / f"store-{members[0].name}"
            fork_ranks(members[0].ranks, partial(_rank, folder, members, store), DEADLINE_S)
            rows += [_compare(folder, layout) for layout in members]
            for row in rows[-len(members) :]:
                log(f"{row['layout']}: loss {row['loss_error']:.1e}, weights {row['weight_error']:.1e}")
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    return {
        "bench": "matrix", "optimizer_steps": STEPS * MU, "layouts": rows,
        "within_tolerance": all(row["within_tolerance"] for row in rows),
        "tolerances": {"loss": LOSS_TOLERANCE, "weights": WEIGHT_TOLERANCE, "eight_bit": ROUGH},
        "cpu_s_of_parent": round(time.process_time() - began, 1),
    }  # fmt: skip


def import_once() -> None:
    """What every rank needs, before they are forked: half of their time would be imports."""
    ours = ("cluster.learner.deepspeed_engine", "policies", "policies.lora", "rl.learner.update", "jinja2.ext")
    theirs = ("deepspeed.runtime.zero.stage3", "deepspeed.module_inject.auto_ep_layer", "torch._inductor.compile_fx")
    for module in (*ours, *theirs):
        importlib.import_module(module)


def make_policy(folder: Path) -> None:
    import torch

    from policies.files.fresh_policy import build, train_tokenizer
    from policies.images.lfq import LFQConfig, LFQTokenizer

    torch.manual_seed(0)
    LFQTokenizer(LFQConfig(image_size=32, bits=6, width=16)).save(folder / "images")
    sizes = {"d_model": 32, "n_layers": 2, "n_heads": 2, "mlp_hidden_size": 64}
    build(folder / "policy", train_tokenizer(["red circle"], 300), folder / "images", seed=0, max_length=64, **sizes)


def make_batch(policy: Any, step: int) -> Any:
    """Eight rollouts of text and images, of random tokens: what is learned does not matter here."""
    from rl.masking import mask_ratios
    from rl.types import MaskDraw, Task, TrainBatch

    generator, vocabulary = np.random.default_rng(step), policy.vocabulary
    rows, masks, tasks = [], [], []
    for length in RESPONSES:
        image = length == 16
        first, last = (vocabulary.image_offset, vocabulary.size) if image else (20, vocabulary.image_offset)
        prompt = int(generator.integers(3, 9))
        rows.append(np.concatenate([generator.integers(20, 200, prompt), generator.integers(first, last, length)]))
        masks.append(np.arange(len(rows[-1])) >= prompt)
        tasks.append(Task.DRAW if image else Task.TEXT)
    count, ratios = len(rows), mask_ratios("stratified", MU, step)
    return TrainBatch(
        token_ids=tuple(rows), response_mask=tuple(masks),
        advantages=generator.normal(size=count).astype(np.float32),
        mask_draws=tuple(
            tuple(MaskDraw(1000 * step + 10 * n + i, ratio) for i in range(count)) for n, ratio in enumerate(ratios)
        ),
        tasks=tuple(tasks), step_maps=tuple(np.zeros(length, dtype=np.int32) for length in RESPONSES),
    )  # fmt: skip


def _rank(folder: Path, members: Sequence[Layout], store: Path, rank: int) -> None:
    """Runs all of these layouts."""
    import torch.distributed as dist

    from cluster.learner.deepspeed_engine import start_distributed

    file = dist.FileStore(str(store), members[0].ranks)  # pyright: ignore[reportPrivateImportUsage]
    os.environ.setdefault("GLOO_SOCKET_IFNAME", "lo")
    start_distributed(rank, members[0].ranks, file, "cpu", 60.0)
    for layout in members:
        _train(folder, layout, rank)


def _train(folder: Path, layout: Layout, rank: int) -> None:
    from cluster.learner.deepspeed_engine import DeepSpeedEngine
    from policies import load_policy
    from rl.config import LearnerConfig, UniGRPOConfig
    from rl.learner.engine import TorchEngine
    from rl.learner.reference import Reference
    from rl.learner.update import UniGRPOLearner

    config = LearnerConfig(
        UniGRPOConfig(mu=MU, kl_coef=0.05), lr=1e-3, lr_schedule="cosine", warmup_steps=3, threads=1,
        micro_batch_size_per_gpu=layout.micro, packing=layout.packed, activation_checkpointing=layout.recomputed,
        optimizer="adamw8bit" if layout.eight_bit else "adamw",
    )  # fmt: skip
    policy = load_policy(folder / "policy")
    reference, total = Reference(policy), STEPS * MU
    if layout.stage < 0:
        engine = TorchEngine(policy.module, config, total)
    else:
        log = folder / f"deepspeed-{rank}.log"
        engine = DeepSpeedEngine(policy.module, config, total, zero_stage=layout.stage, offload=layout.offload, log=log)
    learner, losses = UniGRPOLearner(policy, engine, config, reference), []
    if layout.start:
        learner.load(folder / layout.start)
    for step in range(HALF if layout.start else 0, STEPS):
        metrics = learner.update(make_batch(policy, step)).metrics
        losses.append([metrics[name] for name in LOSSES])
        if layout.save and step + 1 == HALF:
            (folder / layout.name).mkdir(exist_ok=True)
            learner.save(folder / layout.name)
    weights = learner.weights()
    if rank == 0:
        np.savez(folder / f"{layout.name}.npz", losses=np.array(losses), **weights)  # pyright: ignore[reportArgumentType]


def _compare(folder: Path, layout: Layout) -> dict[str, Any]:
    with np.load(folder / f"{layout.base.name}.npz") as base, np.load(folder / f"{layout.name}.npz") as found:
        losses = base["losses"][-len(found["losses"]) :]
        names = [name for name in base.files if name != "losses"]
        error = float(np.abs((found["losses"] - losses)[:, :2]).max())
        apart = np.concatenate([(found[name] - base[name]).ravel() for name in names])
        # A weight whose gradient is near 0 goes where rounding sends it: with 8 bits all weights are judged together.
        weights = float(np.sqrt(np.mean(apart**2)) if layout.eight_bit else np.abs(apart).max())
        return {
            "layout": layout.name,
            **asdict(layout),
            "losses": found["losses"].tolist(),
            "loss_error": error,
            "grad_norm_error": float(np.abs((found["losses"] - losses)[:, 2]).max()),
            "weight_error": weights,
            "within_tolerance": error <= layout.tolerances[0] and weights <= layout.tolerances[1],
        }


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.parity.matrix", description=__doc__)
    parser.add_argument("--short", action="store_true", help="each choice once, not every combination")
    parser.add_argument("--out", type=Path, help="where the JSON goes")
    arguments = parser.parse_args()
    result = run(arguments.short)
    if arguments.out is not None:
        arguments.out.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    print("all within tolerance" if result["within_tolerance"] else "OUT OF TOLERANCE")
    raise SystemExit(0 if result["within_tolerance"] else 1)


if __name__ == "__main__":
    main()
