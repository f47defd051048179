from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from policies.generate import rollout_group
from policies.policy import MaskedDiffusionPolicy
from rl.config import Config, LearnerConfig, UniGRPOConfig
from rl.errors import CheckpointError, TrainingError
from rl.learner import microbatches
from rl.learner.engine import StepResult, TorchEngine
from rl.learner.likelihood import Masked, masked_log_probs
from rl.learner.microbatches import mini_batches, plan
from rl.learner.reference import Reference
from rl.learner.update import UniGRPOLearner
from rl.masking import mask_pattern
from rl.prepare import prepare
from rl.types import Group, ImageSampling, Score, TextSampling, TrainBatch
from tests.toys import toy_draw_prompt, toy_policy, toy_text_prompt, toy_understand_prompt

TEXT, IMAGE = TextSampling(max_new_tokens=12, block_length=6, steps=4), ImageSampling(steps=2, guidance=0.0)
SETTINGS = LearnerConfig(UniGRPOConfig(mu=2, kl_coef=0.05), lr=1e-2, micro_batch_size_per_gpu=4, threads=1)


@cache
def groups(seed: int = 0) -> tuple[Group, ...]:
    """One group of three for each task, really sampled, with scores from a generator."""
    policy, generator = toy_policy(), np.random.default_rng(seed)
    found = []
    for prompt in (toy_text_prompt(seed), toy_draw_prompt(seed), toy_understand_prompt(seed)):
        rollouts = rollout_group(policy, prompt, IMAGE if prompt.task == "draw" else TEXT, [1, 2, 3], 0)
        found.append(Group(prompt, rollouts, tuple(Score(float(value)) for value in generator.normal(size=3))))
    return tuple(found)


def make_batch(step: int = 0, settings: LearnerConfig = SETTINGS) -> TrainBatch:
    return prepare(groups(), Config(learner=settings), step)


def make_learner(settings: LearnerConfig = SETTINGS) -> UniGRPOLearner:
    policy = toy_policy()
    return UniGRPOLearner(policy, TorchEngine(policy.module, settings, 100), settings)


def assert_same_weights(left: UniGRPOLearner, right: UniGRPOLearner, tolerance: float = 0.0) -> None:
    others = right.weights()
    for name, value in left.weights().items():
        np.testing.assert_allclose(value, others[name], rtol=0, atol=tolerance, err_msg=name)


class Recorder(TorchEngine):
    """Keeps gradients instead of stepping, as one of several ranks: what ranks send each other is added up by hand."""

    def __init__(self, policy: MaskedDiffusionPolicy, settings: LearnerConfig, rank: int = 0, world_size: int = 1):
        super().__init__(policy.module, settings, 100)
        self.rank, self.world_size = rank, world_size
        self.gradients: list[list[Tensor]] = []
        self.backwards = 0

    def backward(self, loss: Tensor) -> None:
        self.backwards += 1
        super().backward(loss)

    def step(self) -> StepResult:
        self.gradients.append([torch.zeros_like(p) if p.grad is None else p.grad for p in self.module.parameters()])
        self.optimizer.zero_grad(set_to_none=True)
        return StepResult(1.0, True)


def recorded(
    settings: LearnerConfig, rank: int = 0, world_size: int = 1, batch: TrainBatch | None = None
) -> tuple[Recorder, dict[str, float]]:
    policy = toy_policy()
    engine = Recorder(policy, settings, rank, world_size)
    report = UniGRPOLearner(policy, engine, settings).update(batch or make_batch(0, settings))
    return engine, dict(report.metrics)


def assert_same_gradients(left: Sequence[Sequence[Tensor]], right: Sequence[Sequence[Tensor]]) -> None:
    assert len(left) == len(right)
    for ours, theirs in zip(left, right, strict=True):
        scale = max(float(gradient.abs().max()) for gradient in theirs)
        for a, b in zip(ours, theirs, strict=True):
            torch.testing.assert_close(a, b, rtol=0, atol=1e-5 * scale)


def test_gradient_is_the_written_objectives() -> None:
    """From full logits, rollout by rollout, without padding: at ratio 1 and KL 0 it is the mean of -A * grad logp."""
    settings = replace(SETTINGS, algorithm=UniGRPOConfig(mu=1, kl_coef=0.05))
    batch, policy = make_batch(0, settings), toy_policy()
    vocabulary, losses = policy.vocabulary, []
    for ids, response, advantage, draw, task in zip(
        batch.token_ids, batch.response_mask, batch.advantages, batch.mask_draws[0], batch.tasks, strict=True
    ):
        masked = np.flatnonzero(response)[mask_pattern(draw, int(response.sum()))]
        token_ids, positions = torch.tensor(ids)[None], torch.tensor(masked)
        logits = policy.logits(token_ids.index_fill(1, positions, vocabulary.mask_id))[0, positions]
        targets = token_ids[0, positions]
        if task == "draw":
            targets = targets - vocabulary.image_offset
            logits = logits[:, vocabulary.image_offset :][:, : vocabulary.codebook_size]
        logp = logits.log_softmax(-1).gather(1, targets[:, None])
        losses.append(-float(advantage) * logp.mean())
    expected = torch.autograd.grad(torch.stack(losses).mean(), list(policy.module.parameters()))
    engine, metrics = recorded(settings)
    assert_same_gradients(engine.gradients, [expected])
    assert metrics["actor/pg_loss"] == pytest.approx(-float(batch.advantages.mean()), abs=1e-6)
    assert metrics["actor/kl_loss"] == pytest.approx(0.0, abs=1e-6)


def test_first_ratios_are_one_and_later_ones_are_not() -> None:
    learner = make_learner()
    report = learner.update(make_batch())
    assert report.updated
    assert report.metrics["actor/first_ratio_error"] <= 1e-5
    assert report.metrics["actor/ratio_max_deviation"] > 1e-3
    names = "pg_loss pg_clipfrac ppo_kl kl_loss entropy grad_norm lr".split()
    assert all(math.isfinite(report.metrics[f"actor/{name}"]) for name in names)
    assert {"timing_s/old_log_prob", "timing_s/ref", "timing_s/update_actor"} <= report.metrics.keys()


def noisy(module: torch.nn.Module, args: tuple[Tensor, ...], output: Tensor) -> Tensor:
    return output + 0.01 * torch.randn_like(output)


def test_a_random_module_is_caught_at_the_first_update() -> None:
    learner = make_learner()
    last = learner.policy.module.get_submodule("ln_f")
    last.register_forward_hook(noisy)
    before = learner.weights()
    with pytest.raises(TrainingError, match="off 1") as caught:
        learner.update(make_batch())
    assert "\n" not in str(caught.value)
    assert all(np.array_equal(before[name], value) for name, value in learner.weights().items())
    off_policy = replace(make_batch(), on_policy=False)
    assert "actor/first_ratio_error" not in learner.update(off_policy).metrics


@pytest.mark.parametrize("normalizer", ["masked", "length"])
def test_micro_batches_do_not_matter(normalizer: str) -> None:
    settings = replace(SETTINGS, algorithm=replace(SETTINGS.algorithm, normalizer=normalizer))
    whole, expected = recorded(replace(settings, micro_batch_size_per_gpu=100))
    for size in (1, 2, 4):
        parts, metrics = recorded(replace(settings, micro_batch_size_per_gpu=size))
        assert_same_gradients(parts.gradients, whole.gradients)
        for name in expected.keys() - {name for name in expected if name.startswith("timing_s/")}:
            assert metrics[name] == pytest.approx(expected[name], rel=1e-4, abs=1e-5), name


@pytest.mark.parametrize("world_size", [2, 4, 5])
@pytest.mark.parametrize("mini_batch_size", [None, 4])
def test_ranks_add_up_to_one_rank(world_size: int, mini_batch_size: int | None) -> None:
    settings = replace(SETTINGS, mini_batch_size=mini_batch_size, micro_batch_size_per_gpu=2)
    whole, expected = recorded(settings)
    ranks = [recorded(settings, rank, world_size) for rank in range(world_size)]
    together = [
        [torch.stack(parts).sum(0) for parts in zip(*steps, strict=True)]
        for steps in zip(*(engine.gradients for engine, _ in ranks), strict=True)
    ]
    assert_same_gradients(together, whole.gradients)
    assert len({engine.backwards for engine, _ in ranks}) == 1
    for name in ("actor/pg_loss", "actor/kl_loss", "actor/pg_clipfrac", "actor/ppo_kl"):
        assert sum(metrics[name] for _, metrics in ranks) == pytest.approx(expected[name], rel=1e-4, abs=1e-5)


@given(st.integers(1, 40), st.integers(1, 12), st.integers(1, 7), st.integers(0, 2**32))
def test_a_plan_covers_every_rollout_once(size: int, micro: int, world_size: int, seed: int) -> None:
    lengths = np.random.default_rng(seed).integers(1, 9, size + 3)
    mini = range(3, 3 + size)
    plans = [plan(lengths, mini, micro, rank, world_size) for rank in range(world_size)]
    assert len({len(parts) for parts in plans}) == 1
    assert all(1 <= len(part) <= micro for parts in plans for part in parts)
    entries = [entry for parts in plans for part in parts for entry in part]
    assert sorted(rollout for rollout, weight in entries if weight) == list(mini)
    assert sum(weight for _, weight in entries) == pytest.approx(1.0)
    for parts in plans:
        in_order = [lengths[rollout] for part in parts for rollout, _ in part]
        assert in_order == sorted(in_order)


def test_mini_batches_follow_each_other() -> None:
    batch = make_batch()
    assert mini_batches(batch, 4) == [range(0, 4), range(4, 8), range(8, 9)]
    assert mini_batches(batch, None) == [range(0, 9)]
    engine, _ = recorded(replace(SETTINGS, mini_batch_size=4))
    assert len(engine.gradients) == 2 * 3


def test_one_update_needs_no_old_log_probs() -> None:
    settings = replace(SETTINGS, algorithm=replace(SETTINGS.algorithm, mu=1))
    skipping, computing = make_learner(settings), make_learner(settings)
    batch = make_batch(0, settings)
    short, long = skipping.update(batch), computing.update(replace(batch, on_policy=False))
    assert short.metrics["actor/ratio_max_deviation"] == 0.0
    assert "actor/ratio_max_deviation" in long.metrics
    assert_same_weights(skipping, computing, tolerance=1e-6)


def test_same_inputs_same_bits_and_other_steps_other_masks() -> None:
    left, right, other = make_learner(), make_learner(), make_learner()
    for step in range(2):
        left.update(make_batch(step))
        right.update(make_batch(step))
        other.update(make_batch(step + 10))
    assert_same_weights(left, right)
    with pytest.raises(AssertionError):
        assert_same_weights(left, other, tolerance=1e-5)


def test_training_raises_what_scored_well() -> None:
    """One rollout of a group is the best: its likelihood must rise, those of the others must fall."""
    settings = replace(SETTINGS, algorithm=UniGRPOConfig(mu=2, kl_coef=0.0, schedule="full"), lr=3e-3)
    group = replace(groups()[0], scores=(Score(1.0), Score(0.0), Score(0.0)))
    learner = make_learner(settings)

    def likelihood(index: int) -> float:
        rollout = group.rollouts[index]
        token_ids, mask = torch.tensor(rollout.token_ids)[None], torch.tensor(rollout.response_mask)[None]
        with torch.no_grad():
            return float(masked_log_probs(learner.policy, Masked(token_ids, None, mask)).values.sum())

    before = [likelihood(index) for index in range(3)]
    for step in range(8):
        learner.update(prepare([group], Config(learner=settings), step))
    gains = [likelihood(index) - before[index] for index in range(3)]
    assert gains[0] > 0 > max(gains[1:])


def test_an_empty_batch_is_skipped_counted_and_at_last_refused() -> None:
    learner = make_learner(replace(SETTINGS, max_skipped_updates=3))
    empty, before = prepare([], Config(learner=SETTINGS), 0), learner.weights()
    for _ in range(2):
        report = learner.update(empty)
        assert not report.updated and report.metrics["actor/skipped_updates"] == 1
    learner.update(make_batch())
    assert any(not np.array_equal(before[name], value) for name, value in learner.weights().items())
    learner.update(empty)
    learner.update(empty)
    with pytest.raises(TrainingError, match="3 updates in a row.*max_skipped_updates"):
        learner.update(empty)


def test_a_gradient_that_is_not_finite_is_skipped_and_counted() -> None:
    learner = make_learner(replace(SETTINGS, max_skipped_updates=5))
    poisoned = replace(make_batch(), advantages=np.full(9, np.inf, np.float32))
    before = learner.weights()
    for _ in range(2):
        report = learner.update(poisoned)
        assert not report.updated and report.metrics["actor/skipped_updates"] == 2
        assert all(math.isfinite(value) for value in report.metrics.values())
    assert all(np.array_equal(before[name], value) for name, value in learner.weights().items())
    with pytest.raises(TrainingError, match="5 updates in a row"):
        learner.update(poisoned)


def test_weights_are_a_copy() -> None:
    learner = make_learner()
    before = learner.weights()
    kept = {name: value.copy() for name, value in before.items()}
    learner.update(make_batch())
    assert all(value.dtype == np.float32 and np.array_equal(value, kept[name]) for name, value in before.items())


@pytest.mark.parametrize("sync_freq", [None, 2])
def test_resumes_bit_for_bit(tmp_path: Path, sync_freq: int | None) -> None:
    settings = replace(SETTINGS, reference_sync_freq=sync_freq, lr_schedule="cosine", warmup_steps=3)
    straight, first, second = (make_learner(settings) for _ in range(3))
    for step in range(6):
        straight.update(make_batch(step, settings))
    for step in range(3):
        first.update(make_batch(step, settings))
    first.save(tmp_path)
    second.load(tmp_path)
    reports = [second.update(make_batch(step, settings)) for step in range(3, 6)]
    assert_same_weights(straight, second)
    assert reports[-1].metrics["actor/lr"] == pytest.approx(settings.lr * lr_factor(11))


def lr_factor(step: int) -> float:
    return 0.5 * (1 + math.cos(math.pi * (step - 3) / 97))


def test_a_synchronised_reference_forgets_and_a_frozen_one_does_not() -> None:
    frozen, synced = make_learner(), make_learner(replace(SETTINGS, reference_sync_freq=1))
    for learner in (frozen, synced):
        learner.update(make_batch(0))
    first, second = (learner.update(make_batch(1)).metrics["actor/kl_loss"] for learner in (frozen, synced))
    assert first > second
    assert synced.reference is not None and frozen.reference is not None
    for name, value in synced.policy.module.state_dict().items():
        assert torch.equal(synced.reference.policy.module.state_dict()[name], value)
    start = toy_policy().module.state_dict()
    for name, value in frozen.reference.policy.module.state_dict().items():
        assert torch.equal(start[name], value)
    assert not any(parameter.requires_grad for parameter in frozen.reference.policy.module.parameters())


def test_the_reference_is_synchronised_every_so_many_steps() -> None:
    learner = make_learner(replace(SETTINGS, reference_sync_freq=2))
    assert learner.reference is not None
    same = []
    for step in range(4):
        learner.update(make_batch(step))
        reference = learner.reference.policy.module.state_dict()
        same.append(all(torch.equal(reference[name], v) for name, v in learner.policy.module.state_dict().items()))
    assert same == [False, True, False, True]


def test_no_coefficient_no_reference() -> None:
    learner = make_learner(replace(SETTINGS, algorithm=UniGRPOConfig(mu=2, kl_coef=0.0)))
    assert learner.reference is None
    assert "actor/kl_loss" not in learner.update(make_batch()).metrics


def test_another_reference_is_refused_on_resume(tmp_path: Path) -> None:
    learner = make_learner()
    learner.save(tmp_path)
    other = toy_policy(scale=0.5)
    stranger = UniGRPOLearner(other, TorchEngine(other.module, SETTINGS, 100), SETTINGS, Reference(other))
    with pytest.raises(CheckpointError, match="another reference policy"):
        stranger.load(tmp_path)
    (tmp_path / "learner.json").write_text("{}")
    with pytest.raises(CheckpointError, match="learner.json"):
        learner.load(tmp_path)


def test_updates_under_equal_masks_share_the_passes_before_them(monkeypatch: pytest.MonkeyPatch) -> None:
    """One pass of each micro-batch for the old policy and one for the reference, not mu: and the same bits."""
    algorithm = UniGRPOConfig(mu=3, kl_coef=0.05, schedule="full")
    settings = replace(SETTINGS, algorithm=algorithm, micro_batch_size_per_gpu=100)
    shared, apart = make_learner(settings), make_learner(settings)
    counts = [count_passes(learner) for learner in (shared, apart)]
    sharing = shared.update(make_batch(0, settings))
    with monkeypatch.context() as patch:
        patch.setattr(microbatches, "_fresh", lambda hidden, term_weights: (True,) * len(hidden))
        computing = apart.update(make_batch(0, settings))
    # The first inner update's old log-probs are its own; of the passes before it, one is the check's.
    assert counts == [[1 + 3, 1], [1 + 2 + 3, 3]]
    assert_same_weights(shared, apart)
    for name in ("pg_loss", "kl_loss", "ratio_max_deviation", "first_ratio_error", "grad_norm"):
        assert sharing.metrics[f"actor/{name}"] == computing.metrics[f"actor/{name}"]
    other = make_learner(replace(settings, algorithm=replace(algorithm, schedule="stratified")))
    other_passes = passes = count_passes(other)
    other.update(make_batch(0, other.config))
    assert passes == [1 + 2 + 3, 3]
    for learner, passes, expected in ((shared, counts[0], [3, 1]), (other, other_passes, [2 + 3, 3])):
        passes[:] = [0, 0]
        metrics = learner.update(make_batch(1, learner.config)).metrics
        assert passes == expected and "actor/first_ratio_error" not in metrics


def count_passes(learner: UniGRPOLearner) -> list[int]:
    """Forward passes of the policy and of the reference, as they are made."""
    assert learner.reference is not None
    counts = [0, 0]
    for i, policy in enumerate((learner.policy, learner.reference.policy)):

        def add(*_: object, i: int = i) -> None:
            counts[i] += 1

        policy.module.register_forward_hook(add)
    return counts
