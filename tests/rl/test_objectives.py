"""Objectives against their written equations in float64, and against numbers that other projects' losses gave."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from rl.config import Config, UniGRPOConfig, build_config
from rl.errors import ConfigError
from rl.learner.microbatches import plan
from rl.losses import unigrpo
from rl.objectives import OBJECTIVES
from rl.objectives.base import Terms, loss_of
from rl.prepare import prepare
from rl.types import RolloutStatus, Score
from tests.rl.learner.test_update import SETTINGS, assert_same_gradients, groups, make_batch, make_learner, recorded

# Inputs and results of IGPO's `compute_loss` (trainer_baseline.py: mean over all masked tokens, k3, beta 0.04, clip 0.2
# and 0.28) and of dLLM-RL's `forward_process` (train/rl_llada.py: beta 0, eps 0.2), both run on these tensors.
NEW = [[-0.577, -2.656, -2.015, -1.994, -1.731], [-0.464, -0.525, -0.411, -2.46, -1.285],
       [-2.902, -2.074, -2.147, -1.356, -0.292]]  # fmt: skip
OLD = [[0.396, -2.533, -1.221, -1.571, -2.059], [-0.239, -0.192, -1.036, -1.97, -1.641],
       [-2.359, -2.305, -2.094, -1.416, -0.693]]  # fmt: skip
REF = [[-0.877, -2.748, -2.163, -1.753, -1.689], [-0.429, -0.994, -0.53, -2.258, -1.028],
       [-2.714, -2.107, -2.452, -1.203, -0.226]]  # fmt: skip
ADVANTAGES = [1.2, -0.7, -0.5]
MASK = [[1, 1, 1, 1, 0], [1, 0, 1, 0, 0], [1, 0, 1, 1, 1]]
IGPO = 0.11831441515768612, [
    -0.044316972061706685, -0.10576006010547884, -0.05369368950257794, -0.07969952011464966, 0.0,
    -0.0001424788351984934, 0.0, 0.13122598581720776, 0.0, 0.0,
    -0.0008273340613984218, 0.0, 0.04847050712654841, 0.05243052741149702, 0.07439295655633404,
]  # fmt: skip
DLLM_RL = 0.2536769880953227, [
    -0.03779474931581651, -0.08842636625608206, -0.04520330420234146, -0.06550786331118062, 0.0,
    0.0, 0.0, 0.2179620283670926, 0.0, 0.0,
    0.0, 0.0, 0.03951583385342909, 0.04424318943938997, 0.06222155285416501,
]  # fmt: skip


@pytest.mark.parametrize(
    ("config", "published"),
    [(UniGRPOConfig(clip_low=0.2, clip_high=0.28, kl_coef=0.04, normalizer="token_mean"), IGPO),
     (UniGRPOConfig(kl_coef=0.0), DLLM_RL)],
    ids=["igpo", "dllm-rl"],
)  # fmt: skip
def test_agrees_with_published_code(config: UniGRPOConfig, published: tuple[float, list[float]]) -> None:
    double = torch.float64
    logp = torch.tensor(NEW, dtype=double, requires_grad=True)
    old, ref, advantages = (torch.tensor(values, dtype=double) for values in (OLD, REF, ADVANTAGES))
    output = unigrpo(logp, old, ref, advantages, torch.tensor(MASK, dtype=torch.bool), config)
    output.loss.backward()
    assert logp.grad is not None
    assert output.loss.item() == pytest.approx(published[0], rel=1e-12)
    np.testing.assert_allclose(logp.grad.flatten().numpy(), published[1], rtol=0, atol=1e-12)


def random_terms(seed: int, b: int = 4, length: int = 6, spread: float = 0.5) -> Terms:
    generator = np.random.default_rng(seed)
    values = -generator.exponential(1.5, (b, length))
    mask = generator.random((b, length)) < 0.6
    mask[:, 0] = True
    weights = generator.random(b)
    return Terms(
        logp=torch.tensor(values, requires_grad=True),
        old_logp=torch.tensor(values + spread * generator.normal(size=(b, length))),
        ref_logp=torch.tensor(values + spread * generator.normal(size=(b, length))),
        advantages=torch.tensor(generator.normal(size=b)),
        mask=torch.tensor(mask),
        lengths=torch.tensor(generator.integers(length, 2 * length, b)),
        weights=torch.tensor(weights / weights.sum()),
        scales=torch.tensor(generator.uniform(0.5, 2.0, b)),
    )


def assert_written(terms: Terms, config: UniGRPOConfig, rollout: Callable[[int], Tensor]) -> None:
    """The objective, and its gradient, equal the weighted sum over rollouts of the written loss of each."""
    written = torch.stack([terms.weights[i] * rollout(i) for i in range(len(terms.logp))]).sum()
    (expected,) = torch.autograd.grad(written, terms.logp, retain_graph=True)
    output = loss_of(terms, config)
    (found,) = torch.autograd.grad(output.loss, terms.logp)
    assert output.loss.item() == pytest.approx(written.item(), rel=1e-9, abs=1e-12)
    np.testing.assert_allclose(found.numpy(), expected.numpy(), rtol=1e-9, atol=1e-12)


def divisor(terms: Terms, i: int, config: UniGRPOConfig) -> float:
    masked, length = float(terms.mask[i].sum()), float(terms.lengths[i])
    return {"masked": masked, "token_mean": masked, "length": length, "constant": 17.0}[config.normalizer]


def written_kl(terms: Terms, i: int, config: UniGRPOConfig) -> Tensor:
    assert terms.ref_logp is not None
    d = (terms.ref_logp - terms.logp)[i][terms.mask[i]]
    return {"k1": -d, "k2": d**2 / 2, "k3": d.exp() - d - 1}[config.kl_estimator].sum() / divisor(terms, i, config)


@st.composite
def configs(draw, **fixed) -> UniGRPOConfig:
    options = {
        "clip_low": draw(st.sampled_from([0.1, 0.2])),
        "clip_high": draw(st.sampled_from([0.2, 0.28])),
        "kl_coef": draw(st.sampled_from([0.0, 0.3])),
        "kl_estimator": draw(st.sampled_from(["k1", "k2", "k3"])),
        "normalizer": draw(st.sampled_from(["masked", "length", "token_mean", "constant"])),
        "dual_clip": draw(st.sampled_from([None, 1.5, 3.0])),
    }
    return replace(UniGRPOConfig(normalizer_length=17), **{**options, **fixed})


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**32), configs())
def test_token_ratios(seed: int, config: UniGRPOConfig) -> None:
    terms = random_terms(seed)
    assert terms.old_logp is not None
    ratio = (terms.logp - terms.old_logp).exp()

    def rollout(i: int) -> Tensor:
        losses = []
        for r in ratio[i][terms.mask[i]]:
            a = terms.advantages[i]
            inner = torch.min(r * a, torch.clamp(r, 1 - config.clip_low, 1 + config.clip_high) * a)
            losses.append(-(torch.max(inner, config.dual_clip * a) if config.dual_clip and a < 0 else inner))
        return torch.stack(losses).sum() / divisor(terms, i, config) + config.kl_coef * written_kl(terms, i, config)

    assert_written(terms, config, rollout)


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**32), configs(ratio="sequence"))
def test_one_ratio_a_response(seed: int, config: UniGRPOConfig) -> None:
    terms = random_terms(seed)
    assert terms.old_logp is not None
    difference = terms.logp - terms.old_logp

    def rollout(i: int) -> Tensor:
        a = terms.advantages[i]
        r = torch.exp(terms.scales[i] * difference[i][terms.mask[i]].sum() / terms.lengths[i])
        inner = torch.min(r * a, torch.clamp(r, 1 - config.clip_low, 1 + config.clip_high) * a)
        inner = torch.max(inner, config.dual_clip * a) if config.dual_clip and a < 0 else inner
        return -inner + config.kl_coef * written_kl(terms, i, config)

    assert_written(terms, config, rollout)


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2**32), configs(objective="policy_gradient"))
def test_policy_gradient(seed: int, config: UniGRPOConfig) -> None:
    terms = random_terms(seed)

    def rollout(i: int) -> Tensor:
        pg = -terms.advantages[i] * terms.logp[i][terms.mask[i]].sum() / divisor(terms, i, config)
        return pg + config.kl_coef * written_kl(terms, i, config)

    assert_written(terms, config, rollout)


@pytest.mark.parametrize("beta", [0.05, 0.2, 5.0])
def test_dpo_on_margins_of_bounds(beta: float) -> None:
    terms, config = random_terms(4), UniGRPOConfig(objective="dpo", kl_coef=beta)
    assert terms.ref_logp is not None
    gain = [
        terms.scales[i] * (terms.logp[i][terms.mask[i]].sum() - terms.ref_logp[i][terms.mask[i]].sum())  # pyright: ignore[reportOptionalSubscript]
        for i in range(4)
    ]
    losses = [-torch.log(1 / (1 + torch.exp(-(beta * gain[i] - beta * gain[i + 1])))) for i in (0, 2)]
    pairs = {0: losses[0], 1: losses[0], 2: losses[1], 3: losses[1]}
    assert_written(terms, config, lambda i: pairs[i])
    with pytest.raises(ConfigError, match="kl_coef"):
        loss_of(replace(terms, ref_logp=None), config)


def test_the_entropy_bonus_is_subtracted() -> None:
    terms, config = random_terms(5), UniGRPOConfig(entropy_coef=0.1)
    entropy = terms.logp.detach().square().requires_grad_()
    plain = loss_of(terms, config).loss.item()
    output = loss_of(replace(terms, entropy=entropy), config)
    means = torch.stack([entropy[i][terms.mask[i]].mean() for i in range(4)])
    assert output.loss.item() == pytest.approx(plain - 0.1 * (means * terms.weights).sum().item(), rel=1e-12)


def test_wd1_is_its_written_loss() -> None:
    """sum over a group of (softmax(-A) - softmax(A)) * log-likelihood, a mean over groups (arXiv 2507.08838)."""
    algorithm = UniGRPOConfig(
        objective="wd1", mu=1, kl_coef=0.0, schedule="full", normalizer="constant", normalizer_length=1
    )
    learner = replace(SETTINGS, algorithm=algorithm, scale_advantages_by_std=False)
    batch = prepare(groups(), Config(learner=learner), 0)
    expected = []
    for group in groups():
        scores = torch.tensor([score.value for score in group.scores], dtype=torch.float64)
        advantage = scores - scores.mean()
        expected.append(torch.softmax(advantage, 0) - torch.softmax(-advantage, 0))
    # Ours are shares of a mean over 9 rollouts, theirs of a mean over 3 groups.
    np.testing.assert_allclose(batch.advantages / 9, torch.cat(expected).numpy() / 3, rtol=1e-5)


@pytest.mark.parametrize("name", sorted(OBJECTIVES))
@pytest.mark.parametrize("estimator", ["masked", "elbo_antithetic", "spg"])
def test_the_learner_trains_with_it(name: str, estimator: str) -> None:
    algorithm = replace(SETTINGS.algorithm, objective=name, estimator=estimator, entropy_coef=0.01)
    learner = make_learner(replace(SETTINGS, algorithm=algorithm))
    before = learner.weights()
    metrics = learner.update(prepare(groups(), Config(learner=learner.config), 0)).metrics
    assert all(math.isfinite(value) for value in metrics.values()) and metrics["actor/grad_norm"] > 0
    assert ("actor/first_ratio_error" in metrics) == OBJECTIVES[name].has_ratio
    assert any(not np.array_equal(before[key], value) for key, value in learner.weights().items())


@pytest.mark.parametrize(
    "options",
    [
        {"estimator": "elbo_antithetic", "ratio": "sequence"},
        {"objective": "dpo"},
        {"objective": "gdsd", "estimator": "quadrature"},
        {"objective": "rspo", "estimator": "strata"},
        {"estimator": "trajectory", "entropy_coef": 0.1},
        {"normalizer": "token_mean"},
    ],
    ids=str,
)
def test_micro_batches_do_not_matter(options: dict) -> None:
    settings = replace(SETTINGS, algorithm=replace(SETTINGS.algorithm, **options), task_weights={"draw": 0.5})
    whole, expected = recorded(replace(settings, micro_batch_size_per_gpu=100))
    parts, metrics = recorded(replace(settings, micro_batch_size_per_gpu=2))
    assert_same_gradients(parts.gradients, whole.gradients)
    assert metrics["actor/pg_loss"] == pytest.approx(expected["actor/pg_loss"], rel=1e-4, abs=1e-5)
    assert metrics["actor/entropy"] == pytest.approx(expected["actor/entropy"], rel=1e-4)


@given(st.integers(1, 20), st.integers(2, 9), st.integers(1, 4), st.integers(0, 2**32))
def test_pairs_stay_together_and_weights_are_shared_out(count: int, micro: int, world_size: int, seed: int) -> None:
    generator = np.random.default_rng(seed)
    lengths, weights = generator.integers(1, 9, 2 * count), generator.random(2 * count).astype(np.float32)
    plans = [
        plan(lengths, range(2 * count), micro, rank, world_size, weights=weights, pairs=True)
        for rank in range(world_size)
    ]
    assert len({len(parts) for parts in plans}) == 1
    entries = [entry for parts in plans for part in parts for entry in part]
    assert all(len(part) <= micro for parts in plans for part in parts)
    assert all(
        even % 2 == 0 and odd == even + 1 for (even, _), (odd, _) in zip(entries[::2], entries[1::2], strict=True)
    )
    shares = np.zeros(2 * count)
    for rollout, share in entries:
        shares[rollout] += share
    np.testing.assert_allclose(shares, weights / weights.sum(), rtol=1e-5)


def change(terms: Terms, i: int, before: Tensor) -> Tensor:
    """L - L_before of one rollout, written out."""
    return terms.scales[i] * (terms.logp[i] - before[i])[terms.mask[i]].sum()


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**32), st.sampled_from([0.0, 0.3]), st.sampled_from([0.5, 1.0, 3.0]))
def test_gdsd_is_the_public_trainers_loss(seed: int, kl_coef: float, psi: float) -> None:
    config = UniGRPOConfig(objective="gdsd", kl_coef=kl_coef, kl_estimator="k2", residual_scale=psi, clip_high=0.28)
    terms = random_terms(seed, spread=0.05)
    terms = terms if kl_coef else replace(terms, ref_logp=None)

    def rollout(i: int) -> Tensor:
        assert terms.old_logp is not None
        clipped = change(terms, i, terms.old_logp).clamp(math.log(0.8), math.log(1.28))
        loss = (clipped / terms.lengths[i] - psi * terms.advantages[i]) ** 2
        if terms.ref_logp is not None:
            loss = loss + kl_coef * change(terms, i, terms.ref_logp) ** 2 / 2 / terms.lengths[i]
        return loss

    assert_written(terms, config, rollout)


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**32), st.sampled_from([0.5, 1.0, 3.0]))
def test_rspo_follows_the_gap_to_the_reference(seed: int, psi: float) -> None:
    terms = random_terms(seed)
    ref = terms.ref_logp
    assert ref is not None
    config = UniGRPOConfig(objective="rspo", residual_scale=psi)
    assert_written(terms, config, lambda i: (change(terms, i, ref) / terms.lengths[i] - psi * terms.advantages[i]) ** 2)


def test_a_residual_by_hand() -> None:
    """Two tokens of four scored, so twice their sum; 0.1 and 0.3 more likely: 0.8 in all, 0.2 a token; asked for 0.5."""
    row = lambda *values: torch.tensor([values], dtype=torch.float64)  # noqa: E731
    terms = Terms(
        row(-0.9, -5.0, -0.7, -5.0), row(-1.0, 0.0, -1.0, 0.0), row(-1.0, 0.0, -1.0, 0.0), row(1.0)[0],
        torch.tensor([[True, False, True, False]]), torch.tensor([4]), row(1.0)[0], row(2.0)[0],
    )  # fmt: skip
    config = UniGRPOConfig(residual_scale=0.5)
    found = {
        name: loss_of(terms, replace(config, objective=name, kl_coef=0.0)).loss.item() for name in ("gdsd", "rspo")
    }
    assert found["rspo"] == pytest.approx(0.3**2)
    assert found["gdsd"] == pytest.approx((math.log(1.2) / 4 - 0.5) ** 2)  # the change is clipped to log 1.2


def test_dpo_learns_from_the_best_and_the_worst_of_groups_that_differ() -> None:
    flat = replace(groups()[0], scores=(Score(1.0),) * 3)
    learner = replace(SETTINGS, algorithm=replace(SETTINGS.algorithm, objective="dpo"))
    batch = prepare([flat, groups()[1]], Config(learner=learner), 0)
    values = [score.value for score in groups()[1].scores]
    best, worst = (groups()[1].rollouts[choose(range(3), key=values.__getitem__)] for choose in (max, min))
    assert [ids.tolist() for ids in batch.token_ids] == [best.token_ids.tolist(), worst.token_ids.tolist()]
    assert len(batch.mask_draws[0]) == 2


def test_dpo_raises_the_better_one() -> None:
    algorithm = UniGRPOConfig(objective="dpo", estimator="elbo_antithetic", kl_coef=0.5, mu=2)
    learner = make_learner(replace(SETTINGS, algorithm=algorithm, lr=3e-3))
    for step in range(6):
        metrics = learner.update(prepare(groups()[:1], Config(learner=learner.config), step)).metrics
    assert metrics["actor/dpo_margin"] > 0 and metrics["actor/dpo_accuracy"] == 1.0  # pyright: ignore[reportPossiblyUnbound]


def test_what_ran_out_of_canvas_and_what_a_task_weighs() -> None:
    text = groups()[0]
    cut = replace(text.rollouts[1], status=RolloutStatus.TRUNCATED)
    done = tuple(replace(rollout, status=RolloutStatus.COMPLETE) for rollout in text.rollouts)
    group = replace(text, rollouts=(done[0], cut, done[2]))
    settings = replace(SETTINGS, overlong_filtering=True, task_weights={"draw": 0.25})
    weights = prepare([group, groups()[1]], Config(learner=settings), 0).weights
    assert weights is not None and weights.tolist() == [1, 0, 1, 0.25, 0.25, 0.25]
    assert prepare([text], Config(learner=SETTINGS), 0).weights is None
    nothing = replace(text, rollouts=(cut,) * 3)
    assert len(prepare([nothing], Config(learner=settings), 0)) == 0
    by_token = replace(SETTINGS, algorithm=replace(SETTINGS.algorithm, normalizer="token_mean"))
    expected = [int(rollout.response_mask.sum()) for rollout in group.rollouts]
    weights = prepare([group], Config(learner=by_token), 0).weights
    assert weights is not None and weights.tolist() == expected


def test_a_rollout_of_weight_zero_teaches_nothing() -> None:
    batch = make_batch()
    weights = np.ones(9, np.float32)
    weights[2] = 0
    poisoned = batch.advantages.copy()
    poisoned[2] = 100.0
    left, right = make_learner(), make_learner()
    left.update(replace(batch, weights=weights))
    right.update(replace(batch, weights=weights, advantages=poisoned))
    for name, value in left.weights().items():
        np.testing.assert_array_equal(value, right.weights()[name])


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ({"objective": "grpo"}, "learner.algorithm.objective='grpo': allowed: unigrpo"),
        ({"objective": "dpo", "kl_coef": 0.0}, "above 0: objective=dpo compares with the reference"),
        ({"normalizer": "constant"}, "also give learner.algorithm.normalizer_length"),
        ({"objective": "wd1", "ratio": "sequence"}, "objective=wd1 has no ratio; unigrpo has"),
        ({"dual_clip": 0.5}, "dual_clip=0.5: must be above 1"),
        ({"estimator": "elbo_antithetic", "estimator_samples": 3}, "elbo_antithetic draws masks in pairs"),
        ({"spg_block_length": {"txt": 4}}, "learner.algorithm.spg_block_length='txt': allowed: .*did you mean 'text'"),
        ({"spg_block_length": {"text": 0}}, "learner.algorithm.spg_block_length.text=0: must be 1 or more tokens"),
        ({"spg_block_length": {"text": 4}}, "estimator=masked has no blocks; spg has"),
        ({"prompt_mask_prob": 1.5}, "learner.algorithm.prompt_mask_prob=1.5: must be a probability"),
    ],
)
def test_mistakes_are_found_before_a_run(override: dict, message: str) -> None:
    with pytest.raises(ConfigError, match=message) as caught:
        build_config([("test", {"learner": {"algorithm": override}})])
    assert "\n" not in str(caught.value)


def test_an_unknown_objective_or_task_is_refused() -> None:
    with pytest.raises(ConfigError, match="objective='ppo': allowed: unigrpo"):
        OBJECTIVES["ppo"]
    with pytest.raises(ConfigError, match="learner.task_weights.paint: unknown task"):
        build_config([("test", {"learner": {"task_weights": {"paint": 1.0}}})])
