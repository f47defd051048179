"""The learner: old and reference log-probs once, then mu inner updates on one batch (arXiv 2505.15809, algorithm 1)."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from policies.base import Policy
from policies.network.packed_sequences import pack_sequences
from rl.config import LearnerConfig
from rl.errors import TrainingError
from rl.estimators import ESTIMATORS
from rl.learner.agreed_passes import agree
from rl.learner.checkpointed_layers import checkpoint_layers
from rl.learner.engine import Engine
from rl.learner.likelihood import LogProbs, Wanted, masked_loss, token_values
from rl.learner.microbatches import MicroBatch, collate, mini_batches, plan
from rl.learner.past_weights import PastWeights
from rl.learner.reference import BaseReference, Reference, make_reference
from rl.learner.state import Counters, SavedParts, load_state, save_state
from rl.learner.tally import LARGEST, Tally, max_over_ranks
from rl.learner.trained import iter_weights, trained, whole_weights
from rl.objectives import OBJECTIVES
from rl.objectives.base import Terms, loss_of
from rl.threads import torch_threads
from rl.tracking.clock import Clock
from rl.types import LossOutput, StepReport, TrainBatch

# On the first inner update of an on-policy step every ratio is 1, up to float32's rounding.
RATIO_TOLERANCE = 1e-5


@dataclass(frozen=True, slots=True)
class _Scored:
    """A micro-batch with what is known before the first update: log-probs [N, b, L] under each inner update's mask.

    behavior: of the weights that sampled, None where that needs no correction
    """

    data: MicroBatch
    old: Tensor | None
    ref: Tensor | None
    behavior: Tensor | None = None


class UniGRPOLearner:
    """Implements ``rl.protocols.Learner`` for one rank. Every rank is given the same batch and takes its share."""

    def __init__(
        self,
        policy: Policy,
        engine: Engine,
        config: LearnerConfig,
        reference: Reference | BaseReference | None = None,
    ) -> None:
        """engine works on ``policy.module``. reference: made before the engine where that wraps the module; by default
        it is made here, where ``kl_coef`` needs one."""
        if reference is None and config.algorithm.kl_coef > 0:
            reference = make_reference(policy, config.reference_sync_freq)
        if config.activation_checkpointing:
            checkpoint_layers(policy.module)
        if config.packing:
            for each in (policy, *([] if reference is None else [reference.policy])):
                pack_sequences(each.module)
        self.policy, self.engine, self.config, self.reference = policy, engine, config, reference
        self.trained = trained(policy)
        corrects = config.algorithm.importance_cap is not None
        self.past = PastWeights(engine, config.algorithm.importance_versions) if corrects else None
        self.device = next(policy.module.parameters()).device
        self._parts = SavedParts(self.trained, engine, reference)
        self._steps = 0
        self._skipped_in_row = 0

    def update(self, batch: TrainBatch) -> StepReport:
        """mu inner updates on one batch, each with its own mask for every rollout.

        The weights do not depend on the size of micro-batches or the number of ranks, but for rounding. Raises
        TrainingError where ratios are off 1 that must be 1, or too many updates in a row were skipped.
        """
        began = time.perf_counter()
        self._steps += 1
        if self.past is not None:
            self.past.remember()
        if not len(batch):
            self._count_skip("no usable group in the batch")
            return StepReport({"actor/skipped_updates": 1.0, "actor/lr": self.engine.lr}, updated=False)
        with torch_threads(self.config.threads):
            report = self._update(batch)
        return replace(report, metrics={**report.metrics, "timing_s/learner": time.perf_counter() - began})

    def weights(self) -> Mapping[str, np.ndarray]:
        return whole_weights(self.trained, self.engine)

    def shapes(self) -> Mapping[str, tuple[int, ...]]:
        """Of ``weights``."""
        return self.trained.shapes()

    def iter_weights(self, moved: bool = True) -> Iterator[Tensor]:
        return iter_weights(self.trained, self.engine, moved)

    def save(self, folder: Path) -> None:
        """The policy's own folder, the engine's files, the learner's counters. A collective: every rank calls it.

        Raises CheckpointError where files cannot be written.
        """
        save_state(folder, self._parts, Counters(self._steps, self._skipped_in_row))

    def load(self, folder: Path) -> None:
        counters = load_state(folder, self._parts)
        self._steps, self._skipped_in_row = counters.steps, counters.skipped_in_row

    def close(self) -> None:
        """Nothing to give back: the engine's owner closes it."""

    def _update(self, batch: TrainBatch) -> StepReport:
        clock, tally = Clock(self._settle), Tally(self.engine)
        minis = self._score(batch, clock)
        metrics: dict[str, float] = {}
        with clock("timing_s/update_actor"):
            for n in range(len(batch.mask_draws)):
                for index, mini in enumerate(minis):
                    deviations = [self._backward(scored, n, tally) for scored in mini]
                    if n == index == 0 and batch.on_policy and OBJECTIVES[self.config.algorithm.objective].has_ratio:
                        metrics["actor/first_ratio_error"] = self._check_first_ratios(deviations)
                    metrics["actor/lr"] = self.engine.lr
                    self._optimizer_step(tally)
            metrics |= tally.metrics()
        if batch.staleness is not None:
            metrics |= {"staleness/mean": float(batch.staleness.mean()), "staleness/max": float(batch.staleness.max())}
        if self.reference is not None and self.reference.due(self._steps):
            with self.engine.whole():
                self.reference.sync(self.policy.module)
        return StepReport(metrics | clock.seconds, updated=tally.stepped > 0)

    def _score(self, batch: TrainBatch, clock: Clock) -> list[list[_Scored]]:
        """The micro-batches of every mini-batch, with old and reference log-probs under the masks of all updates."""
        minis = [self._collate(batch, mini) for mini in mini_batches(batch, self.config.mini_batch_size)]
        minis = agree(minis, self.engine)
        unknown = [[None] * len(mini) for mini in minis]
        # With one optimizer step in all, the old policy is the new one: the ratio is 1 by definition.
        single = batch.on_policy and len(batch.mask_draws) == 1 and len(minis) == 1
        needless = single or not OBJECTIVES[self.config.algorithm.objective].uses_old
        with clock("timing_s/old_log_prob"):
            old = unknown if needless else self._log_probs(self.policy, minis)
        with clock("timing_s/ref"):
            ref = unknown if self.reference is None else self._log_probs(self.reference.policy, minis)
        behavior = self._behavior(batch, minis, old) or unknown
        columns = zip(minis, old, ref, behavior, strict=True)
        return [[_Scored(*parts) for parts in zip(*mini, strict=True)] for mini in columns]

    def _behavior(
        self, batch: TrainBatch, minis: Sequence[Sequence[MicroBatch]], old: Sequence[Sequence[Tensor | None]]
    ) -> list[list[Tensor]] | None:
        """Log-probs [N, b, L] of the weights that sampled each rollout; None where nothing is stale, or not corrected."""
        ages = [] if batch.staleness is None else sorted({int(age) for age in batch.staleness} - {0})
        if self.past is None or not ages or old[0][0] is None:
            return None
        found = [[self._known(of_data).clone() for of_data in mini] for mini in old]
        for age in ages:  # all ranks go through all of them: passes may be collectives
            with self.past.at(age):
                then = self._log_probs(self.policy, minis)
            for mini, values, targets in zip(minis, then, found, strict=True):
                for data, value, target in zip(mini, values, targets, strict=True):
                    rows = data.staleness == age
                    target[:, rows] = value[:, rows]
        return found

    def _settle(self) -> None:
        """Wait for work that the GPU still owes."""
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)

    @staticmethod
    def _known(values: Tensor | None) -> Tensor:
        assert values is not None
        return values

    def _collate(self, batch: TrainBatch, mini: range) -> list[MicroBatch]:
        lengths = np.array([len(token_ids) for token_ids in batch.token_ids])
        size = self.config.micro_batch_size_per_gpu
        pairs = OBJECTIVES[self.config.algorithm.objective].pairs
        rank, ranks = self.engine.rank, self.engine.world_size
        parts = plan(lengths, mini, size, rank, ranks, weights=batch.weights, pairs=pairs)
        return [collate(batch, part, self.device, self.config.algorithm, self.policy.block_length) for part in parts]

    # no_grad, not inference_mode: tables that the module caches here (rotary positions) must serve training as well.
    @torch.no_grad()
    def _log_probs(self, policy: Policy, minis: Sequence[Sequence[MicroBatch]]) -> list[list[Tensor]]:
        """Log-probs [N, b, L] of every micro-batch, in the shapes that the updates use: equal arithmetic, ratio 1."""
        return [[self._before_updates(policy, data) for data in mini] for mini in minis]

    def _before_updates(self, policy: Policy, data: MicroBatch) -> Tensor:
        """[N, b, L]. Inner updates under equal masks, as all are with ``schedule=full``, share one pass."""
        found: list[Tensor] = []
        for n, fresh in enumerate(data.fresh):
            found.append(self._values(policy, data, n).values if fresh else found[-1])
        return torch.stack(found)

    def backward(self, data: MicroBatch, n: int) -> LossOutput:
        """The gradient of one on-policy micro-batch under inner update n's masks, without a step: for measurements."""
        return self._gradient(_Scored(data, None, None), n)[0]

    def _backward(self, scored: _Scored, n: int, tally: Tally) -> Tensor | None:
        """The gradient of one micro-batch under inner update n's masks; its largest |ratio - 1|, if it has ratios."""
        output, entropy = self._gradient(scored, n)
        tally.add_micro_batch(output.metrics, entropy, int((scored.data.term_weights[n] != 0).sum()))
        return output.metrics.get(LARGEST)

    def _gradient(self, scored: _Scored, n: int) -> tuple[LossOutput, Tensor]:
        """Its loss, and the mean entropy of its terms."""
        data = scored.data
        if self._separable(data, n):
            output, entropy = masked_loss(
                self.policy, data, n, self.config.logits_mib, lambda logp: self._loss(scored, n, logp[None])
            )
        else:
            new = self._values(self.policy, data, n, with_entropy=True)
            output, entropy = self._loss_of_values(scored, n, new.values, new.token_entropy), new.entropy
        self.engine.backward(output.loss)
        return output, entropy

    def _separable(self, data: MicroBatch, n: int) -> bool:
        """Whether each log-prob has a derivative of its own, so that it may be taken chunk by chunk."""
        algorithm = self.config.algorithm
        separable = OBJECTIVES[algorithm.objective].by_token and algorithm.ratio == "token"
        return separable and len(data.hidden[n]) == 1 and not algorithm.entropy_coef

    def _loss(self, scored: _Scored, n: int, logp: Tensor) -> LossOutput:
        """logp [K, b, L] of the passes."""
        data, algorithm = scored.data, self.config.algorithm
        combine = ESTIMATORS[algorithm.estimator].combine
        return self._loss_of_values(scored, n, combine(logp, data.term_weights[n], data.advantages, algorithm))

    def _loss_of_values(self, scored: _Scored, n: int, values: Tensor, entropy: Tensor | None = None) -> LossOutput:
        data = scored.data
        terms = Terms(
            logp=values,
            old_logp=None if scored.old is None else scored.old[n],
            ref_logp=None if scored.ref is None else scored.ref[n],
            advantages=data.advantages,
            mask=data.masks[n],
            lengths=data.lengths,
            weights=data.weights,
            scales=data.scales[n],
            entropy=entropy,
            behavior_logp=None if scored.behavior is None else scored.behavior[n],
            credit=data.credit,
        )
        return loss_of(terms, self.config.algorithm)

    def _values(self, policy: Policy, data: MicroBatch, n: int, *, with_entropy: bool = False) -> LogProbs:
        algorithm = self.config.algorithm
        of_tokens = with_entropy and algorithm.entropy_coef != 0
        return token_values(policy, data, n, algorithm, Wanted(self.config.logits_mib, with_entropy, of_tokens))

    def _optimizer_step(self, tally: Tally) -> None:
        """A step on all ranks, or on none."""
        result = self.engine.step()
        tally.add_step(result)
        if result.stepped:
            self._skipped_in_row = 0
        else:
            self._count_skip(f"a gradient norm of {result.grad_norm}")

    def _check_first_ratios(self, deviations: Sequence[Tensor | None]) -> float:
        """Largest |ratio - 1| over all ranks. All ranks raise together, so that none waits for another."""
        finite = [
            value for value in (float(found) for found in deviations if found is not None) if math.isfinite(value)
        ]
        error = max_over_ranks(self.engine, [max(finite, default=0.0)])[0]
        exact = next(self.policy.module.parameters()).dtype in (torch.float32, torch.float64)
        if exact and error > RATIO_TOLERANCE:
            raise TrainingError(
                f"first inner update: a ratio is {error:.2e} off 1 (at most {RATIO_TOLERANCE:g} in float32): "
                "old and new log-probs differ under the same weights and masks; is a module in it random (dropout)?"
            )
        return error

    def _count_skip(self, reason: str) -> None:
        self._skipped_in_row += 1
        if self._skipped_in_row >= self.config.max_skipped_updates:
            raise TrainingError(
                f"{self._skipped_in_row} updates in a row were skipped (learner.max_skipped_updates), the last for: "
                f"{reason}; look at frac_groups_dropped and score_status, or lower learner.lr"
            )
