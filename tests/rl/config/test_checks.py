"""Sampling settings that cannot be are told in one line, with the way out, at every place where they stand."""

from __future__ import annotations

import re

import pytest

from rl.config import build_config, load_config
from rl.config.flat import flatten
from rl.errors import ConfigError

PLACES = ["rollout.text", "evaluation.understand", "rollout.think_draw.think"]
DRAWN = ["rollout.draw", "evaluation.draw", "evaluation.think_draw.draw"]


def refusal(key: str, value) -> str:
    *sections, name = key.split(".")
    layer = {name: value}
    for section in reversed(sections):
        layer = {section: layer}
    with pytest.raises(ConfigError) as caught:
        build_config([("test", layer)])
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("where", PLACES)
def test_settings_of_text(where: str) -> None:
    assert refusal(f"{where}.remasking", "entropi") == (
        f"{where}.remasking='entropi': allowed: low_confidence, random, entropy, margin, origin; did you mean 'entropy'?"
    )
    assert refusal(f"{where}.schedule", "dreams") == (
        f"{where}.schedule='dreams': allowed: auto, uniform, dream; did you mean 'dream'?"
    )
    assert refusal(f"{where}.confidence", "drown") == f"{where}.confidence=drown: must be one of auto, plain, drawn"
    for name in ("remask_temperature", "cfg_scale"):
        assert refusal(f"{where}.{name}", -0.1) == f"{where}.{name}=-0.1: must be 0 (off) or more"
    assert refusal(f"{where}.top_p", 0.0) == f"{where}.top_p=0.0: must be above 0, at most 1 (all tokens)"
    assert refusal(f"{where}.top_k", -1) == f"{where}.top_k=-1: must be 0 (all tokens) or more"
    assert refusal(f"{where}.repetition_penalty", 0.0).startswith(f"{where}.repetition_penalty=0.0: must be above 0")
    assert refusal(f"{where}.confidence_threshold", 1.5).startswith(
        f"{where}.confidence_threshold=1.5: must be above 0"
    )


def test_a_leg_of_fine_tuning_is_no_longer_than_its_schedule() -> None:
    assert refusal("sft.lr_decay_steps", 10) == "sft.lr_decay_steps=10: must be null, or sft.steps=1000 or more"


def test_a_threshold_needs_a_confidence() -> None:
    layer = {"rollout": {"text": {"confidence_threshold": 0.9, "remasking": "random"}}}
    with pytest.raises(ConfigError, match=re.escape("set rollout.text.remasking=low_confidence")):
        build_config([("test", layer)])


@pytest.mark.parametrize("where", DRAWN)
def test_settings_of_images(where: str) -> None:
    assert refusal(f"{where}.remasking", "surest").startswith(f"{where}.remasking='surest': allowed: low_confidence")
    assert refusal(f"{where}.remasking", "origin") == (
        f"{where}.remasking=origin: an image reveals a fixed number of codes a step; set {where}.remasking=random"
    )
    assert refusal(f"{where}.schedule", "cosin") == (
        f"{where}.schedule='cosin': allowed: cosine, linear; did you mean 'cosine'?"
    )
    assert refusal(f"{where}.top_p", 1.1) == f"{where}.top_p=1.1: must be above 0, at most 1 (all tokens)"
    assert refusal(f"{where}.steps", 0) == f"{where}.steps=0: must be a number above 0"


def test_sizes_of_groups() -> None:
    assert refusal("rollout.n_samples_by_task.drew", 8).startswith(
        "rollout.n_samples_by_task.drew: unknown task; allowed: text"
    )
    for name in ("n_samples_by_task.draw", "n_samples_per_prompt"):
        assert refusal(f"rollout.{name}", 1).startswith(f"rollout.{name}=1: must be 2 or more")
    layer = {"rollout": {"n_samples_by_task": {"draw": 32}}, "learner": {"mini_batch_size": 8}}
    with pytest.raises(ConfigError, match="learner.mini_batch_size=8 with rollout.n_samples_by_task"):
        build_config([("test", layer)])


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (
            ("cluster.take_turns=true", "cluster.mode=inline"),
            r"take_turns=true with cluster.mode=inline: .*set cluster.mode=ray",
        ),
        (("cluster.take_turns=true", "max_staleness=1"), r"take_turns=true with max_staleness=1: .*max_staleness=0"),
        (
            ("cluster.take_turns=true", "policy.device=cuda", "cluster.placement=disaggregated"),
            r"take_turns=true with cluster.placement=disaggregated: .*placement=colocated",
        ),
    ],
)
def test_what_shares_a_device_says_what_it_cannot_go_with(overrides: tuple[str, ...], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        load_config("tiny", overrides)


def test_a_tree_has_dotted_names() -> None:
    tree = {"a": {"b": 1, "c": {}}, "d": [{"e": 2}, 3], "f": [4]}
    assert dict(flatten(tree)) == {"a.b": 1, "a.c": {}, "d": [{"e": 2}, 3], "f": [4]}
    assert dict(flatten(tree, into_lists=True)) == {"a.b": 1, "a.c": {}, "d.0.e": 2, "d.1": 3, "f": [4]}
    assert [name for name, _ in flatten(tree, leaves_only=False)] == ["a", "a.b", "a.c", "d", "f"]


@pytest.mark.parametrize("weights", [{"correctness": 0.0}, {"format": 0, "length": 0.0}])
def test_a_mix_that_trains_nothing_is_refused(weights: dict[str, float]) -> None:
    with pytest.raises(ConfigError, match="at least one weight that is not 0"):
        build_config([("test", {"rewards": {"mix": {"text": weights}}})])
    build_config([("test", {"evaluation": {"mix": {"text": weights}}})])
