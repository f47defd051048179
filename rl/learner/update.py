"""The learner: old and reference log-probs once, then mu inner updates on one batch (arXiv 2505.15809, algorithm 1)."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
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
from rl.learner.scored import Backward, Scored, same_masks
from rl.learner.state import Counters, SavedParts, load_state, save_state
from rl.learner.supervised import Supervised, shares
from rl.learner.tally import LARGEST, Tally, max_over_ranks
from rl.learner.totals import totals_by_group
from rl.learner.trained import iter_weights, trained, whole_weights
from rl.objectives import OBJECTIVES
from rl.objectives.base import Terms, loss_of
from rl.registry import resolve
from rl.seeds import derive_seed
from rl.threads import torch_threads
from rl.tracking.clock import Clock
from rl.types import LossOutput, StepReport, TrainBatch

# On the first inner update of an on-policy step every ratio is 1, up to float32's rounding.
RATIO_TOLERANCE = 1e-5
CHECK_EVERY = 50  # steps between two that make a pass of their own to check it; the first does


class UniGRPOLearner:
    """Implements ``rl.protocols.Learner`` for one rank. Every rank is given the same batch and takes its share."""

    def __init__(
        self,
        policy: Policy,
        engine: Engine,
        config: LearnerConfig,
        reference: Reference | BaseReference | None = None,
        supervised: Supervised | None = None,
    ) -> None:
        """engine works on ``policy.module``. reference: made before the engine where that wraps the module; by default
        it is made here, where ``kl_coef`` needs one. supervised: what ``sft_rows`` are learned with."""
        if reference is None and config.algorithm.kl_coef > 0:
            reference = make_reference(policy, config.reference_sync_freq)
        if config.activation_checkpointing:
            checkpoint_layers(policy.module)
        if config.packing:
            for each in (policy, *([] if reference is None else [reference.policy])):
                pack_sequences(each.module)
        self.policy, self.engine, self.config, self.reference = policy, engine, config, reference
        self.supervised = supervised
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
                    whole = self._with_totals(mini, n, batch)
                    found = [self._backward(scored, n, tally) for scored in whole]
                    if n == index == 0:
                        metrics |= self._check_first_ratios(mini, found)
                        minis[0] = [scored.knows(each.values) for scored, each in zip(mini, found, strict=True)]
                    self._supervise(batch, n, index, len(minis), tally)
                    metrics["actor/lr"] = self.engine.lr
                    self._optimizer_step(tally)
            metrics |= tally.metrics()
        if batch.staleness is not None:
            metrics |= {"staleness/mean": float(batch.staleness.mean()), "staleness/max": float(batch.staleness.max())}
        if self.reference is not None and self.reference.due(self._steps):
            with self.engine.whole():
                self.reference.sync(self.policy.module)
        return StepReport(metrics | clock.seconds, updated=tally.stepped > 0)

    def _score(self, batch: TrainBatch, clock: Clock) -> list[list[Scored]]:
        """The micro-batches of every mini-batch, with old and reference log-probs under the masks of all updates."""
        minis = [self._collate(batch, mini) for mini in mini_batches(batch, self.config.mini_batch_size)]
        minis = agree(minis, self.engine)
        unknown = [[None] * len(mini) for mini in minis]
        objective = OBJECTIVES[self.config.algorithm.objective]
        check = unknown
        with clock("timing_s/old_log_prob"):
            old = self._old(minis, own=batch.on_policy) if objective.uses_old else unknown
            if objective.has_ratio and batch.on_policy and self._steps % CHECK_EVERY == 1:
                check = [[self._first(data) for data in minis[0]], *unknown[1:]]
        with clock("timing_s/ref"):
            ref = unknown if self.reference is None else self._log_probs(self.reference.policy, minis)
        behavior = self._behavior(batch, minis, old) or unknown
        columns = zip(minis, old, ref, behavior, check, strict=True)
        return [[Scored(*parts) for parts in zip(*mini, strict=True)] for mini in columns]

    def _old(self, minis: Sequence[Sequence[MicroBatch]], own: bool) -> list[list[list[Tensor | None]]]:
        """own: the weights are those that sampled, so that the first update's own log-probs are the old ones: no pass is made
        for them, nor for inner updates that have its masks."""
        first = [[same_masks(data) if own and index == 0 else 0 for data in mini] for index, mini in enumerate(minis)]
        return self._log_probs(self.policy, minis, first)

    @torch.no_grad()
    def _first(self, data: MicroBatch) -> Tensor:
        """[b, L] of the first inner update, from a pass of its own."""
        return self._values(self.policy, data, 0).values

    def _behavior(
        self,
        batch: TrainBatch,
        minis: Sequence[Sequence[MicroBatch]],
        old: Sequence[Sequence[Sequence[Tensor | None] | None]],
    ) -> list[list[Tensor]] | None:
        """Log-probs [N, b, L] of the weights that sampled each rollout; None where nothing is stale, or not corrected."""
        ages = [] if batch.staleness is None else sorted({int(age) for age in batch.staleness} - {0})
        if self.past is None or not ages or old[0][0] is None:
            return None
        found = [[self._known(of_data) for of_data in mini] for mini in old]
        for age in ages:  # all ranks go through all of them: passes may be collectives
            with self.past.at(age):
                then = self._log_probs(self.policy, minis)
            for mini, values, targets in zip(minis, then, found, strict=True):
                for data, value, target in zip(mini, values, targets, strict=True):
                    rows = data.staleness == age
                    target[:, rows] = self._known(value)[:, rows]
        return found

    def _settle(self) -> None:
        """Wait for work that the GPU still owes."""
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)

    @staticmethod
    def _known(values: Sequence[Tensor | None] | None) -> Tensor:
        """[N, b, L]"""
        assert values is not None
        return torch.stack([value for value in values if value is not None])

    def _collate(self, batch: TrainBatch, mini: range) -> list[MicroBatch]:
        lengths = np.array([len(token_ids) for token_ids in batch.token_ids])
        size = self.config.micro_batch_size_per_gpu
        pairs = OBJECTIVES[self.config.algorithm.objective].pairs
        rank, ranks = self.engine.rank, self.engine.world_size
        parts = plan(lengths, mini, size, rank, ranks, weights=batch.weights, pairs=pairs)
        return [collate(batch, part, self.device, self.config.algorithm, self.policy.block_length) for part in parts]

    # no_grad, not inference_mode: tables that the module caches here (rotary positions) must serve training as well.
    @torch.no_grad()
    def _log_probs(
        self,
        policy: Policy,
        minis: Sequence[Sequence[MicroBatch]],
        first: Sequence[Sequence[int]] | None = None,
    ) -> list[list[list[Tensor | None]]]:
        """N log-probs [b, L] of every micro-batch, in the shapes that the updates use: equal arithmetic, ratio 1.

        first: of each micro-batch, so many inner updates at the start are left out, and are None
        """
        starts = first or [[0] * len(mini) for mini in minis]
        return [
            [self._before_updates(policy, data, start) for data, start in zip(mini, of_mini, strict=True)]
            for mini, of_mini in zip(minis, starts, strict=True)
        ]

    def _before_updates(self, policy: Policy, data: MicroBatch, first: int) -> list[Tensor | None]:
        """Inner updates under equal masks, as all are with ``schedule=full``, share one pass."""
        found: list[Tensor | None] = [None] * first
        for n in range(first, len(data.fresh)):
            found.append(self._values(policy, data, n).values if data.fresh[n] else found[-1])
        return found

    def backward(self, data: MicroBatch, n: int) -> LossOutput:
        """The gradient of one on-policy micro-batch under inner update n's masks, without a step: for measurements."""
        return self._gradient(Scored(data, None, None), n).output

    def _backward(self, scored: Scored, n: int, tally: Tally) -> Backward:
        """The gradient of one micro-batch under inner update n's masks."""
        found = self._gradient(scored, n)
        tally.add_micro_batch(found.output.metrics, found.entropy, int((scored.data.term_weights[n] != 0).sum()))
        return found

    def _gradient(self, scored: Scored, n: int) -> Backward:
        data = scored.data
        if self._separable(data, n):
            seen: list[Tensor] = []  # a chunk's loss is asked for before the next is known; the last one knows all

            def loss(logp: Tensor) -> LossOutput:
                seen[:] = [self._combined(data, n, logp[None])]
                return self._loss_of_values(scored, n, seen[0])

            output, entropy = masked_loss(self.policy, data, n, self.config.logits_mib, loss)
            values = seen[0]
        else:
            new = self._values(self.policy, data, n, with_entropy=True)
            output = self._loss_of_values(scored, n, new.values, new.token_entropy)
            entropy, values = new.entropy, new.values
        self.engine.backward(output.loss)
        return Backward(output, entropy, values.detach())

    def _separable(self, data: MicroBatch, n: int) -> bool:
        """Whether each log-prob has a derivative of its own, so that it may be taken chunk by chunk."""
        algorithm = self.config.algorithm
        separable = OBJECTIVES[algorithm.objective].by_token and algorithm.ratio == "token"
        return separable and len(data.hidden[n]) == 1 and not algorithm.entropy_coef

    def _combined(self, data: MicroBatch, n: int, logp: Tensor) -> Tensor:
        """logp [K, b, L] of the passes -> [b, L]"""
        algorithm = self.config.algorithm
        return ESTIMATORS[algorithm.estimator].combine(logp, data.term_weights[n], data.advantages, algorithm)

    def _with_totals(self, mini: Sequence[Scored], n: int, batch: TrainBatch) -> Sequence[Scored]:
        """With what the objective must know of all rollouts of the update, where a micro-batch does not hold them all."""
        totals = OBJECTIVES[self.config.algorithm.objective].totals
        if totals is None or (len(mini) == 1 and self.engine.world_size == 1):
            return mini
        function, found = resolve(totals), []
        with torch.no_grad():
            for scored in mini:
                terms = self._terms(scored, n, self._values(self.policy, scored.data, n).values)
                found.append((function(terms, self.config.algorithm), scored.data.groups))
        count = 1 if batch.groups is None else int(batch.groups.max()) + 1
        summed = totals_by_group(self.engine, found, count)
        return [replace(scored, totals=summed) for scored in mini]

    def _loss_of_values(self, scored: Scored, n: int, values: Tensor, entropy: Tensor | None = None) -> LossOutput:
        terms = self._terms(scored, n, values, entropy)
        output = loss_of(terms, self.config.algorithm)
        if n or scored.check is None:
            return output
        with torch.no_grad():
            checked = loss_of(replace(terms, old_logp=scored.check), self.config.algorithm).metrics
        found = {name: value for name, value in checked.items() if name == LARGEST}
        return replace(output, metrics={**output.metrics, **found})

    def _terms(self, scored: Scored, n: int, values: Tensor, entropy: Tensor | None = None) -> Terms:
        data = scored.data
        return Terms(
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
            groups=data.groups,
            totals=scored.totals,
            credit=data.credit,
        )

    def _values(self, policy: Policy, data: MicroBatch, n: int, *, with_entropy: bool = False) -> LogProbs:
        algorithm = self.config.algorithm
        of_tokens = with_entropy and algorithm.entropy_coef != 0
        return token_values(policy, data, n, algorithm, Wanted(self.config.logits_mib, with_entropy, of_tokens))

    def _supervise(self, batch: TrainBatch, n: int, part: int, parts: int, tally: Tally) -> None:
        """The gradient of this update's supervised rows, each time with other tokens hidden."""
        if self.supervised is None:
            return
        size, seed = self.config.micro_batch_size_per_gpu, derive_seed(batch.supervised_seed, n)
        for rows, weights in shares(batch.supervised, part, parts, self.engine.rank, self.engine.world_size, size):
            loss = self.supervised.loss(rows, weights, seed)
            self.engine.backward(self.config.sft_coef * loss)
            tally.add_micro_batch({"actor/sft_loss": loss.detach()}, loss.new_zeros(()), 0)

    def _optimizer_step(self, tally: Tally) -> None:
        """A step on all ranks, or on none."""
        result = self.engine.step()
        tally.add_step(result)
        if result.stepped:
            self._skipped_in_row = 0
        else:
            self._count_skip(f"a gradient norm of {result.grad_norm}")

    def _check_first_ratios(self, mini: Sequence[Scored], found: Sequence[Backward]) -> dict[str, float]:
        """The largest |ratio - 1| over all ranks, where it is checked. All ranks raise together: none waits for another."""
        if all(scored.check is None for scored in mini):
            return {}
        deviations = [float(each.output.metrics[LARGEST]) for each in found if LARGEST in each.output.metrics]
        finite = [value for value in deviations if math.isfinite(value)]
        error = max_over_ranks(self.engine, [max(finite, default=0.0)])[0]
        exact = next(self.policy.module.parameters()).dtype in (torch.float32, torch.float64)
        if exact and error > RATIO_TOLERANCE:
            raise TrainingError(
                f"first inner update: a ratio is {error:.2e} off 1 (at most {RATIO_TOLERANCE:g} in float32): "
                "old and new log-probs differ under the same weights and masks; is a module in it random (dropout)?"
            )
        return {"actor/first_ratio_error": error}

    def _count_skip(self, reason: str) -> None:
        self._skipped_in_row += 1
        if self._skipped_in_row >= self.config.max_skipped_updates:
            raise TrainingError(
                f"{self._skipped_in_row} updates in a row were skipped (learner.max_skipped_updates), the last for: "
                f"{reason}; look at frac_groups_dropped and score_status, or lower learner.lr"
            )
