"""Groups that are all wrong, with hinted rollouts in the place of some of theirs: what is trained on, and how often."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from policies.generate import rollout_group
from rl.config import Config, RolloutConfig, UniGRPOConfig, load_config
from rl.config.sections import HintsConfig
from rl.errors import ConfigError
from rl.estimators import ESTIMATORS
from rl.hints.again import all_wrong, merged
from rl.hints.given import given_for
from rl.learner.likelihood import token_values
from rl.learner.microbatches import collate
from rl.masking import SCHEDULES
from rl.prepare import prepare, sampled_blocks
from rl.rollouts import sample_groups
from rl.seeds import derive_seed
from rl.types import Group, Prompt, Rollout, Score, ScoreStatus, Task, WeightRef
from tests.rl.learner.test_update import SETTINGS, make_learner
from tests.rl.test_rollouts import WEIGHTS, Turns
from tests.rl.toy_loop import TEXT, ToyWorkers, config, run
from tests.toys import toy_policy, toy_text_prompt

HINTS = HintsConfig(0.5, chunk=[2, 3])
WORKED = replace(toy_text_prompt(1), solution="<think>3+4=7</think>7")
CANVAS = replace(TEXT, max_new_tokens=16, block_length=4, steps=8)


def hinted_rollouts(policy, prompt: Prompt, seeds: Sequence[int], version: int = 0, sampling=CANVAS) -> list[Rollout]:
    encode, eos = policy.tokenizer.encode, policy.vocabulary.eos_id
    found = []
    for index, seed in enumerate(seeds):
        given = given_for(prompt, encode, eos, sampling.max_new_tokens, HINTS, seed)
        (rollout,) = rollout_group(policy, prompt, sampling, [seed], version, given)
        found.append(replace(rollout, index=index))
    return found


class HintingWorkers(ToyWorkers):
    """Gives hints as a rollout worker does."""

    def _group(self, prompt: Prompt, version: int, seed: int, size: int) -> Group:
        if not prompt.hinted:
            return super()._group(prompt, version, seed, size)
        seeds = [derive_seed(seed, prompt.id, index) for index in range(prompt.hinted)]
        rollouts = hinted_rollouts(self.policy, prompt, seeds, version, TEXT)
        return Group(prompt, tuple(rollouts), tuple(map(self.score, rollouts)))


def hinted_is_right(rollout: Rollout) -> Score:
    """What was sampled freely is wrong, and so is every second rollout with a hint."""
    span = slice(rollout.spans[0].start, rollout.spans[0].stop)
    given = not rollout.response_mask[span].all()
    return Score(1.0 if given and rollout.index % 2 == 0 else 0.0)


def settings(**rollout) -> Config:
    return Config(rollout=RolloutConfig(**{"batch_size": 2, "n_samples_per_prompt": 4, "hints": HINTS, **rollout}))


def test_only_groups_that_are_all_wrong_are_sampled_again() -> None:
    workers, stream = HintingWorkers(hinted_is_right), Turns()
    found = sample_groups(workers, stream, WEIGHTS, settings(), 3)
    drawing, text = found.groups
    assert not drawing.prompt.hinted and not text.prompt.hinted
    assert all(
        rollout.response_mask[rollout.spans[0].start : rollout.spans[0].stop].all() for rollout in drawing.rollouts
    )
    assert [score.value for score in text.scores] == [0.0, 0.0, 0.0, 1.0]
    assert [rollout.index for rollout in text.rollouts] == [0, 1, 2, 3]
    assert len({rollout.seed for rollout in text.rollouts}) == 4
    metrics = {name: value for name, value in found.timings.items() if name.startswith("rollout/hints/")}
    assert metrics == {
        "rollout/hints/all_wrong_before": 1.0, "rollout/hints/all_wrong_after": 0.5, "rollout/hints/rollouts": 1.0,
    }  # fmt: skip
    assert found.timings["timing_s/gen"] == pytest.approx(2 * workers.timings()["timing_s/gen"])
    assert len(workers.seeds) == 2 and len({seed for seed, _ in workers.seeds}) == 2


def test_shares_are_over_all_batches_of_a_step() -> None:
    found = sample_groups(HintingWorkers(hinted_is_right), Turns(), WEIGHTS, settings(max_gen_batches=3), 3)
    assert found.timings["rollout/hints/all_wrong_before"] == 1.0
    assert found.timings["rollout/hints/all_wrong_after"] == 0.5
    assert len(found.chosen) == 2 and len(found.groups) == 4


@pytest.mark.parametrize(
    ("scores", "wrong"),
    [
        ([0.5, 0.5], True), ([1.0, 1.0], False), ([0.0, 0.5], False),
        ([0.0, float("nan")], False),
    ],
)  # fmt: skip
def test_all_wrong_is_all_equal_and_low(scores: list[float], wrong: bool) -> None:
    made = tuple(Score(value, ScoreStatus.OK if value == value else ScoreStatus.TIMEOUT) for value in scores)
    rollouts = rollout_group(toy_policy(), WORKED, CANVAS, [1, 2], 0)
    assert all_wrong(Group(WORKED, rollouts, made), HintsConfig(0.5, below=1.0)) == wrong


def test_what_failed_or_is_no_better_takes_no_place() -> None:
    rollouts = rollout_group(toy_policy(), WORKED, CANVAS, [1, 2, 3, 4], 0)
    group = Group(WORKED, rollouts, (Score(0.5),) * 4)
    again = (Score(0.5), Score(float("nan"), ScoreStatus.TIMEOUT), Score(0.25), Score(2.0))
    found, count = merged(group, Group(WORKED, rollouts, again))
    assert count == 1 and [score.value for score in found.scores] == [0.5, 0.5, 0.5, 2.0]
    assert found.rollouts == rollouts


@pytest.fixture(scope="module")
def mixed() -> Group:
    """Two rollouts of a prompt as usual, and two with hints."""
    policy = toy_policy(scale=0.5)
    free = rollout_group(policy, WORKED, CANVAS, [1, 2], 0)
    hinted = [replace(rollout, index=2 + rollout.index) for rollout in hinted_rollouts(policy, WORKED, [3, 4])]
    assert all((rollout.step_map[rollout.spans[0].start :] < 0).any() for rollout in hinted)
    return Group(WORKED, (*free, *hinted), tuple(map(Score, (0.0, 0.0, 1.0, 0.5))))


@pytest.mark.parametrize("estimator", [*ESTIMATORS])
def test_what_was_given_is_shown_in_every_pass_and_scored_in_none(estimator: str, mixed: Group) -> None:
    names = [*SCHEDULES] if ESTIMATORS[estimator].states else ["stratified"]
    for schedule in names:
        algorithm = UniGRPOConfig(estimator=estimator, schedule=schedule, mu=2, prompt_mask_prob=0.6)
        learner = replace(SETTINGS, algorithm=algorithm)
        batch = prepare([mixed], Config(learner=learner, rollout=RolloutConfig(text=CANVAS)), 0)
        data = collate(batch, [(i, 0.25) for i in range(4)], torch.device("cpu"), algorithm)
        for i, rollout in enumerate(mixed.rollouts):
            span = np.arange(rollout.spans[0].start, rollout.spans[0].stop)
            given = span[~rollout.response_mask[span]]
            assert not data.hidden[:, :, i, given].any() and not data.term_weights[:, :, i, given].any()
            assert int(data.lengths[i]) == int(rollout.response_mask.sum())
            assert data.masks[:, i].any(1).all()


def test_its_likelihood_is_that_of_the_rest_given_the_hint(mixed: Group) -> None:
    """From full logits, one token after the other: the chain rule over what was sampled, everything given shown."""
    policy, rollout = toy_policy(scale=0.5), mixed.rollouts[2]
    algorithm = UniGRPOConfig(estimator="left_to_right", mu=1)
    batch = prepare([mixed], Config(learner=replace(SETTINGS, algorithm=algorithm)), 0)
    data = collate(batch, [(2, 1.0)], torch.device("cpu"), algorithm)
    with torch.no_grad():
        found = token_values(policy, data, 0, algorithm).values[0]
        free = np.flatnonzero(rollout.response_mask)
        for place, position in enumerate(free):
            ids = torch.tensor(rollout.token_ids)[None]
            ids[:, free[place:]] = policy.vocabulary.mask_id
            expected = policy.logits(ids)[0, position].log_softmax(-1)[int(rollout.token_ids[position])]
            assert float(found[position]) == pytest.approx(float(expected), abs=1e-5)


def test_blocks_count_without_what_was_given() -> None:
    policy = toy_policy(scale=0.5)
    a, free = policy.tokenizer.encode("a")[0], -1
    given = [free, a, free, free, *[a] * 4, free, free, free, a, *[free] * 4]
    (rollout,) = rollout_group(policy, WORKED, replace(CANVAS, logits_eos_inf=True), [5], 0, given)
    assert sampled_blocks(rollout, Task.TEXT, Config(rollout=RolloutConfig(text=CANVAS))) == (3, 3, 4)


def test_the_first_ratio_is_one_with_hints_too(mixed: Group) -> None:
    learner = make_learner(replace(SETTINGS, algorithm=replace(SETTINGS.algorithm, schedule="matched")))
    batch = prepare([mixed], Config(learner=learner.config, rollout=RolloutConfig(text=CANVAS)), 0, weight_version=0)
    assert batch.on_policy
    report = learner.update(batch)
    assert report.updated and report.metrics["actor/first_ratio_error"] <= 1e-5


def test_a_resumed_run_with_hints_equals_the_uninterrupted_one(tmp_path: Path) -> None:
    def of(name: str, **more) -> Config:
        rollout = RolloutConfig(batch_size=2, n_samples_per_prompt=4, text=TEXT, hints=HINTS)
        return config(tmp_path / name, rollout=rollout, val_before_train=False, val_after_train=False, **more)

    whole, recorded = run(of("whole", steps=4), HintingWorkers(hinted_is_right))
    assert sum(metrics["rollout/hints/rollouts"] for metrics in recorded.logged.values()) > 0
    run(of("halves", steps=2, save_freq=2), HintingWorkers(hinted_is_right))
    resumed, rest = run(of("halves", steps=4), HintingWorkers(hinted_is_right))
    assert resumed.weights == whole.weights
    assert rest.curve() == {step: recorded.curve()[step] for step in (3, 4)}


@pytest.mark.parametrize(
    ("overrides", "said"),
    [
        (["rollout.hints.share=1"], "rollout.hints.share=1"),
        (["rollout.hints.share=-0.5"], "rollout.hints.share=-0.5"),
        (["rollout.hints.given=[0.6, 0.2]"], "rollout.hints.given"),
        (["rollout.hints.given=[0, 0.2]"], "rollout.hints.given"),
        (["rollout.hints.given=[0.2]"], "rollout.hints.given"),
        (["rollout.hints.chunk=[0, 5]"], "rollout.hints.chunk"),
        (["rollout.hints.chunk=[6, 5]"], "rollout.hints.chunk"),
        (["rollout.hints.share=0.5", "max_staleness=1"], "max_staleness=1"),
        (["rollout.hints.share=0.5", "rewards.normalize=[format]"], "rewards.normalize"),
        (["learner.sft_rows=19"], "learner.sft_rows=19"),
        (["learner.sft_rows=-1"], "learner.sft_rows=-1"),
        (["learner.sft_coef=-0.1"], "learner.sft_coef=-0.1"),
        (["learner.algorithm.objective=trafl", "learner.algorithm.kl_coef=0"], "objective=trafl"),
        (["learner.algorithm.objective=stabledrl", "learner.algorithm.weight_cap=0"], "weight_cap=0"),
        (["learner.algorithm.objective=stabledrl", "learner.algorithm.ratio=sequence"], "has no ratio"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_settings_that_cannot_be_are_refused_in_one_line(overrides: list[str], said: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load_config("tiny", overrides)
    assert said in str(caught.value) and "\n" not in str(caught.value)


def test_weights_of_another_version_are_not_asked_for() -> None:
    class Once(HintingWorkers):
        def rollout_and_score(self, prompts, weights: WeightRef, seed: int, *, evaluate: bool = False) -> list[Group]:
            assert weights == WEIGHTS
            return super().rollout_and_score(prompts, weights, seed, evaluate=evaluate)

    found = sample_groups(Once(hinted_is_right), Turns(), WEIGHTS, settings(), 3)
    assert {rollout.weight_version for group in found.groups for rollout in group.rollouts} == {WEIGHTS.version}
