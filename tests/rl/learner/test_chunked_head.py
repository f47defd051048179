"""Logits in chunks: the same numbers and gradients as all at once, and never all at once."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from rl.config import LearnerConfig
from rl.errors import ConfigError
from rl.learner import chunked_head
from rl.learner.checkpointed_layers import checkpoint_layers
from rl.learner.chunked_head import Targets, chunks, linear_log_probs, linear_loss
from rl.masking import mask_ratios
from rl.types import MaskDraw, Task, TrainBatch
from tests.rl.learner.test_update import SETTINGS, assert_same_gradients, recorded


def inputs(
    seed: int, rows: int, width: int = 5, vocabulary: int = 11, states: int | None = None
) -> tuple[Tensor, Tensor, Targets]:
    """So many targets of so many states, None: one each; a state may predict several targets, or none."""
    generator = torch.Generator().manual_seed(seed)
    hidden = torch.randn(
        rows if states is None else states, width, generator=generator, dtype=torch.float64, requires_grad=True
    )
    weight = torch.randn(vocabulary, width, generator=generator, dtype=torch.float64, requires_grad=True)
    source = torch.arange(rows) if states is None else torch.randint(states, (rows,), generator=generator)
    return hidden, weight, Targets(torch.randint(vocabulary, (rows,), generator=generator), source)


def plain(hidden: Tensor, weight: Tensor, targets: Targets) -> tuple[Tensor, Tensor]:
    logp = (hidden[targets.source] @ weight.T).log_softmax(-1)
    return logp.gather(1, targets.ids[:, None]).squeeze(1), -(logp.exp() * logp).sum().detach()


@given(st.integers(0, 500), st.integers(1, 60))
def test_chunks_cover_all_rows_once_and_evenly(rows: int, size: int) -> None:
    parts = list(chunks(rows, size))
    assert [row for part in parts for row in range(part.start, part.stop)] == list(range(rows))
    sizes = [part.stop - part.start for part in parts]
    assert max(sizes) <= size and max(sizes) - min(sizes) <= 1


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 2**31), st.integers(1, 30), st.integers(1, 40), st.none() | st.integers(1, 30))
def test_log_probs_and_their_gradient(seed: int, rows: int, size: int, states: int | None) -> None:
    hidden, weight, targets = inputs(seed, rows, states=states)
    upstream = torch.randn(rows, dtype=torch.float64)
    expected, entropy = plain(hidden, weight, targets)
    found, summed = linear_log_probs(hidden, weight, targets, size, with_entropy=True)
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(summed, entropy, rtol=1e-10, atol=1e-12)
    for ours, theirs in zip(
        torch.autograd.grad(found @ upstream, (hidden, weight)),
        torch.autograd.grad(expected @ upstream, (hidden, weight)),
        strict=True,
    ):
        torch.testing.assert_close(ours, theirs, rtol=1e-9, atol=1e-11)


@settings(max_examples=25, deadline=None)
@given(
    st.integers(0, 2**31), st.integers(1, 30), st.integers(1, 40), st.sampled_from([1.0, 0.3]),
    st.none() | st.integers(1, 30),
)  # fmt: skip
def test_a_loss_taken_chunk_by_chunk(seed: int, rows: int, size: int, factor: float, states: int | None) -> None:
    """A clipped, separable loss; an engine may multiply it by a factor."""
    hidden, weight, targets = inputs(seed, rows, states=states)
    old = plain(hidden, weight, targets)[0].detach() + 0.4 * torch.randn(rows, dtype=torch.float64)

    def loss(logp: Tensor, old: Tensor) -> Tensor:
        ratio = (logp - old).exp()
        return -torch.minimum(ratio, ratio.clamp(0.8, 1.2)).sum()

    def slope(part: Tensor, logp: Tensor) -> Tensor:
        leaf = logp.clone().requires_grad_()
        with torch.enable_grad():
            return torch.autograd.grad(loss(leaf, old[part]), leaf)[0]

    expected, entropy = plain(hidden, weight, targets)
    zero, values, summed = linear_loss(hidden, weight, targets, size, slope)
    assert zero.item() == 0.0 and not values.requires_grad
    torch.testing.assert_close(values, expected.detach(), rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(summed, entropy, rtol=1e-10, atol=1e-12)
    for ours, theirs in zip(
        torch.autograd.grad(zero * factor, (hidden, weight)),
        torch.autograd.grad(loss(expected, old) * factor, (hidden, weight)),
        strict=True,
    ):
        torch.testing.assert_close(ours, theirs, rtol=1e-9, atol=1e-11)


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 2**31), st.integers(1, 30), st.integers(0, 40), st.integers(1, 12))
def test_every_target_is_in_its_states_chunk_once(seed: int, states: int, rows: int, size: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    targets = Targets(torch.zeros(rows, dtype=torch.long), torch.randint(states, (rows,), generator=generator))
    parts = list(targets.by_chunk(states, size))
    assert sorted(int(i) for _, which in parts for i in which) == list(range(rows))
    for part, which in parts:
        assert part.stop - part.start <= size
        assert all(part.start <= state < part.stop for state in targets.source[which].tolist())


@pytest.mark.parametrize("schedule", ["full", "stratified"])
def test_the_heads_work_is_counted_in_states_that_differ(schedule: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Under a full mask a group of three has one set of states: the head sees each once, in chunks too, and exactly."""
    whole = replace(SETTINGS, algorithm=replace(SETTINGS.algorithm, schedule=schedule), micro_batch_size_per_gpu=64)
    batch = group_batch(whole)
    expected, _ = recorded(whole, batch=batch)
    seen: list[int] = []
    formed = chunked_head._chunk
    monkeypatch.setattr(
        chunked_head, "_chunk", lambda hidden, weight: seen.append(len(hidden)) or formed(hidden, weight)
    )
    found, _ = recorded(replace(whole, logits_mib=0.001), batch=batch)
    assert_same_gradients(found.gradients, expected.gradients)
    targets = sum(int(mask.sum()) for mask in batch.response_mask)
    mu = whole.algorithm.mu
    if schedule == "full":  # old and reference log-probs once for all inner updates, and each of those by itself
        assert sum(seen) == (2 + mu) * targets // 3
    else:
        assert sum(seen) > (2 + mu) * targets // 3


def group_batch(settings: LearnerConfig) -> TrainBatch:
    """One prompt with three answers of equal length."""
    generator = np.random.default_rng(0)
    prompt = generator.integers(20, 200, 5)
    rows = tuple(np.concatenate([prompt, generator.integers(20, 200, 9)]) for _ in range(3))
    ratios = mask_ratios(settings.algorithm.schedule, settings.algorithm.mu, 4)
    return TrainBatch(
        token_ids=rows, response_mask=tuple(np.arange(14) >= 5 for _ in rows),
        advantages=np.array([1.0, -0.5, -0.5], np.float32),
        mask_draws=tuple(tuple(MaskDraw(10 * n + i, r) for i in range(3)) for n, r in enumerate(ratios)),
        tasks=(Task.TEXT,) * 3, step_maps=(np.zeros(9, dtype=np.int32),) * 3,
    )  # fmt: skip


@pytest.mark.parametrize(
    "options", [{}, {"ratio": "sequence"}, {"estimator": "elbo"}, {"estimator": "coupled"}], ids=str
)
def test_the_learner_in_chunks_is_the_learner(options: dict) -> None:
    """A thousandth of a MiB is a row or two of text, and a few of an image."""
    whole = replace(SETTINGS, algorithm=replace(SETTINGS.algorithm, **options))
    expected, metrics = recorded(whole)
    engine, in_chunks = recorded(replace(whole, logits_mib=0.001))
    assert_same_gradients(engine.gradients, expected.gradients)
    assert in_chunks["actor/first_ratio_error"] <= 1e-5
    for name in ("pg_loss", "kl_loss", "entropy", "ppo_kl"):
        assert in_chunks[f"actor/{name}"] == pytest.approx(metrics[f"actor/{name}"], rel=1e-4, abs=1e-5)


@pytest.mark.parametrize("in_place", [True, False])
def test_no_logits_are_kept_for_the_backward_pass(in_place: bool) -> None:
    hidden, weight, targets = inputs(0, rows=64, width=4, vocabulary=1000)
    kept: list[int] = []

    def pack(tensor: Tensor) -> Tensor:
        kept.append(tensor.numel())
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        if in_place:
            linear_loss(hidden, weight, targets, 8, lambda part, logp: torch.ones_like(logp))
        else:
            linear_log_probs(hidden, weight, targets, 8)
    assert max(kept, default=0) <= weight.numel() < 64 * 1000


def saved(settings: LearnerConfig) -> tuple[int, list[list[Tensor]]]:
    """Bytes kept for the backward passes of an update, and its gradients."""
    kept: dict[int, int] = {}

    def pack(tensor: Tensor) -> Tensor:
        kept[id(tensor.untyped_storage())] = tensor.untyped_storage().nbytes()
        alive.append(tensor)
        return tensor

    alive: list[Tensor] = []
    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        engine, _ = recorded(settings)
    return sum(kept.values()), engine.gradients


def test_checkpointed_layers_give_the_same_bits_from_less_memory() -> None:
    one = replace(SETTINGS, micro_batch_size_per_gpu=100)
    plain_bytes, expected = saved(one)
    bytes_kept, gradients = saved(replace(one, activation_checkpointing=True))
    for ours, theirs in zip(gradients, expected, strict=True):
        for a, b in zip(ours, theirs, strict=True):
            assert torch.equal(a, b)
    assert bytes_kept < 0.7 * plain_bytes


def test_a_module_without_layers_cannot_be_checkpointed() -> None:
    with pytest.raises(ConfigError, match="Linear has no list of layers named blocks"):
        checkpoint_layers(torch.nn.Linear(2, 2))
