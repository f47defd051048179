"""The learner against the plain full-logits loss: the same random weights and masks, in one process, taking turns.

CPU-seconds of this process, so that a busy machine does not count. ``gradient`` is forward and backward of one inner
update for each of the mu masks; ``step`` is a whole UniGRPO step: old and reference log-probs, then mu updates with
AdamW. Both take rollouts one at a time. The plain side pads each to the longest, as dLLM-RL pads to its canvas; in
``gradient_equal`` all rollouts are of that length. ``packing`` is another pair: one micro-batch of our learner, padded
(plain) and packed (ours), see ``benchmarks.speed.packing``. Every case is one warm-up and ``repeats`` turns of each side; the
medians are reported. ``saved`` counts what is kept for the backward pass, parameters and their gradients apart.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from statistics import median
from typing import Any

import numpy as np
import torch
from torch import Tensor

from benchmarks.policy import FIRST_PLAIN, bench_policy
from benchmarks.speed.plain_learner import plain_layers, plain_log_probs, plain_loss, plain_step
from benchmarks.timing import one_thread, seconds
from policies.policy import MaskedDiffusionPolicy
from rl.config import LearnerConfig, UniGRPOConfig
from rl.learner.engine import TorchEngine, adamw
from rl.learner.microbatches import MicroBatch, collate
from rl.learner.update import UniGRPOLearner
from rl.types import MaskDraw, Task, TrainBatch

VOCABULARIES = (4096, 32768)
RATIOS = (0.1, 0.35, 0.6, 0.85)  # four strata of the mask ratio, as section 5.2 spaces them


@dataclass(frozen=True, slots=True)
class Shape:
    """The model and the batch. Tokens, but for the sizes of the network."""

    d_model: int = 384
    n_layers: int = 6
    n_heads: int = 6
    mlp_hidden_size: int = 1152
    prompt: int = 64
    responses: tuple[int, ...] = (192, 48)
    logits_mib: float = 16.0


def run(
    repeats: int = 5,
    shape: Shape | None = None,
    vocabularies: Sequence[int] = VOCABULARIES,
    log: Callable[[str], None] = print,
) -> dict[str, Any]:
    """All cases, as what ``unigrpo bench learner`` writes. One thread."""
    from benchmarks.speed import packing

    shape, cases = shape or Shape(), []
    with one_thread():
        for vocabulary in vocabularies:
            equal = replace(shape, responses=(max(shape.responses),) * len(shape.responses))
            for name, of in (("gradient_equal", equal), ("gradient", shape), ("step", shape)):
                cases.append(Bench(of, vocabulary).case(name, repeats))
                log(_line(cases[-1]))
            cases.append(packing.case(shape, vocabulary, repeats))
            log(_line(cases[-1]))
    return {"bench": "learner", "torch": torch.__version__, "threads": 1, "shape": asdict(shape), "cases": cases}


class Bench:
    """Both sides around one policy, one batch and its masks."""

    def __init__(self, shape: Shape, vocabulary: int) -> None:
        self.vocabulary = vocabulary
        self.policy = bench_policy(shape, vocabulary)
        self.config = LearnerConfig(
            UniGRPOConfig(mu=len(RATIOS)), lr=1e-5, micro_batch_size_per_gpu=1, threads=1, logits_mib=shape.logits_mib
        )
        self.batch = bench_batch(shape, vocabulary)
        count = len(self.batch)
        self.data = [self._collate([(i, 1 / count)]) for i in range(count)]
        self.padded = self._collate([(i, 1 / count) for i in range(count)])
        self.trained: tuple[MaskedDiffusionPolicy, ...] = ()  # ours and theirs, by ``steps``

    def _collate(self, entries: list[tuple[int, float]]) -> MicroBatch:
        return collate(self.batch, entries, torch.device("cpu"), self.config.algorithm)

    def case(self, name: str, repeats: int) -> dict[str, Any]:
        ours, plain = self.steps() if name == "step" else (self._ours, self._plain)
        ours()
        plain()
        turns = [(seconds(plain), seconds(ours)) for _ in range(repeats)]
        result = {
            "case": name,
            "vocabulary": self.vocabulary,
            "plain_cpu_s": [turn[0] for turn in turns],
            "ours_cpu_s": [turn[1] for turn in turns],
            "speedup": median(first / second for first, second in turns),
        }
        return result | ({} if name == "step" else self.fidelity())

    def steps(self) -> tuple[Callable[[], None], ...]:
        mine, theirs, frozen = (copy.copy(self.policy) for _ in range(3))
        mine.module, theirs.module = copy.deepcopy(self.policy.module), copy.deepcopy(self.policy.module)
        frozen.module = copy.deepcopy(self.policy.module).requires_grad_(False)
        learner = UniGRPOLearner(mine, TorchEngine(mine.module, self.config, 1000), self.config)
        optimizer, data = adamw(theirs.module, self.config), self.padded

        def plain() -> None:
            with plain_layers():
                plain_step(
                    theirs, frozen, optimizer, data.token_ids, data.attention, data.masks, data.advantages,
                    clip=0.2, beta=self.config.algorithm.kl_coef, max_grad_norm=1.0,
                )  # fmt: skip

        self.trained = mine, theirs
        return lambda: void(learner.update(self.batch)), plain

    def fidelity(self) -> dict[str, float]:
        """Relative error of the gradient, and bytes kept for the backward pass under the largest mask."""
        grads = []
        for side in (self._plain, self._ours):
            side()
            grads.append(torch.cat([p.grad.flatten() for p in self.policy.module.parameters() if p.grad is not None]))
        kept = [self._saved(side) for side in (self._plain, self._ours)]
        return {
            "gradient_relative_error": float((grads[1] - grads[0]).norm() / grads[0].norm()),
            "plain_saved_bytes": kept[0],
            "ours_saved_bytes": kept[1],
            "saved_share": kept[1] / kept[0],
        }

    def _plain(self, masks: slice = slice(None)) -> None:
        with plain_layers():
            self._plain_gradient(masks)

    def _plain_gradient(self, masks: slice) -> None:
        self.policy.module.zero_grad(set_to_none=True)
        for n in range(len(RATIOS))[masks]:
            for ids, attention, mask, advantages in rows_of(self.padded, n):
                logp = plain_log_probs(self.policy, ids, attention, mask)
                loss = plain_loss(logp, logp.detach(), None, advantages, mask, 0.2, 0.0)
                (loss / len(self.batch)).backward()

    def _ours(self, masks: slice = slice(None)) -> None:
        self.policy.module.zero_grad(set_to_none=True)
        config = replace(self.config, algorithm=UniGRPOConfig(mu=len(RATIOS), kl_coef=0.0))
        learner = UniGRPOLearner(self.policy, Gradients(self.policy.module), config)
        for n in range(len(RATIOS))[masks]:
            for data in self.data:
                learner.backward(data, n)

    def _saved(self, side: Callable[[slice], None]) -> int:
        """Most bytes of distinct storages kept for one backward pass, parameters apart, over the micro-batches."""
        parameters = {p.untyped_storage().data_ptr() for p in self.policy.module.parameters()}
        kept: dict[int, int] = {}
        peak = 0

        def pack(tensor: Tensor) -> Tensor:
            storage = tensor.untyped_storage()
            if storage.data_ptr() not in parameters:
                kept[storage.data_ptr()] = storage.nbytes()
            return tensor

        def unpack(tensor: Tensor) -> Tensor:  # the backward pass has begun
            nonlocal peak
            peak = max(peak, sum(kept.values()))
            kept.clear()
            return tensor

        with torch.autograd.graph.saved_tensors_hooks(pack, unpack):
            side(slice(-1, None))
        return peak


class Gradients(TorchEngine):
    """Backward alone: an engine without an optimizer."""

    def __init__(self, module: torch.nn.Module) -> None:
        self.module = module


def bench_batch(shape: Shape, vocabulary: int, seed: int = 0) -> TrainBatch:
    generator = np.random.default_rng(seed)
    lengths, count = [shape.prompt + response for response in shape.responses], len(shape.responses)
    return TrainBatch(
        token_ids=tuple(generator.integers(FIRST_PLAIN, vocabulary, length) for length in lengths),
        response_mask=tuple(np.arange(length) >= shape.prompt for length in lengths),
        advantages=generator.normal(size=count).astype(np.float32),
        mask_draws=tuple(tuple(MaskDraw(100 * n + i, ratio) for i in range(count)) for n, ratio in enumerate(RATIOS)),
        tasks=(Task.TEXT,) * count,
        step_maps=tuple(np.zeros(response, dtype=np.int32) for response in shape.responses),
    )


def rows_of(data: MicroBatch, n: int) -> Iterator[tuple[Tensor, Tensor | None, Tensor, Tensor]]:
    """Each rollout of a padded batch alone: ids, attention, mask, advantage."""
    for i in range(len(data.token_ids)):
        row = slice(i, i + 1)
        attention = None if data.attention is None else data.attention[row]
        yield data.token_ids[row], attention, data.masks[n][row], data.advantages[row]


def void(_: object) -> None:
    """A turn gives nothing back."""


def _line(case: dict[str, Any]) -> str:
    times = f"{median(case['ours_cpu_s']):.2f} CPU-s against {median(case['plain_cpu_s']):.2f}: {case['speedup']:.2f}x"
    more = ""
    if "saved_share" in case:
        more = f", {case['saved_share']:.2f} of its memory, gradient error {case['gradient_relative_error']:.1e}"
    return f"{case['case']}, vocabulary {case['vocabulary']:,}: {times}{more}"
