"""What a family's card gives: only what nobody says, a canvas as a whole, and nothing to the shipped policy."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from cluster.plan.family import family_layer, family_notes, with_family
from policies.families.card import ALL_LINEAR, SHAPE
from policies.families.registry import FAMILIES, family_of
from rl.config import Config, Origin, layers_of, merge
from rl.types import ImageSampling, TextSampling
from tests.policies.originals import CONFIGS, GOLDEN

PUBLISHED = {
    layout["config"]["model_type"]: layout["config"]
    for layout in json.loads((GOLDEN / "layouts.json").read_text()).values()
    if "config" in layout
}
PUBLISHED["mmada"] = {**CONFIGS["mmada"], "max_sequence_length": 4096}


def folder_of(family: str, tmp_path: Path, **changes: object) -> Path:
    """A folder with the family's published config alone: no weights are looked at."""
    folder = tmp_path / family
    folder.mkdir(exist_ok=True)
    (folder / "config.json").write_text(json.dumps({**PUBLISHED[family], **changes}))
    return folder


def recipe(tmp_path: Path, text: str = "steps: 1\n") -> str:
    (tmp_path / "mine.yaml").write_text(text)
    return str(tmp_path / "mine.yaml")


@pytest.mark.parametrize("family", sorted(PUBLISHED))
def test_a_card_is_whole_and_its_settings_are_valid(family: str, tmp_path: Path) -> None:
    card = family_of(family).card
    assert card is not None and "text" in card.rollout and "text" in card.evaluation
    for sampling in (*card.rollout.values(), *card.evaluation.values()):
        assert set(SHAPE) <= set(sampling) or "max_new_tokens" not in sampling
        assert {name for name in sampling} <= set(TextSampling.__slots__) | set(ImageSampling.__slots__)
    assert set(card.lora_target) <= set(ALL_LINEAR) and card.lr[0] <= card.lr[1] and card.lora_lr[0] <= card.lora_lr[1]
    told = " ".join(card.sources)
    assert all(part in told for part in ("evaluation", "rollout", "lr", "lora_lr", "lora_target")) and card.prompt
    config, layers = with_family(recipe(tmp_path), [f"policy.path={folder_of(family, tmp_path)}"])
    assert layers[0].origin is Origin.FAMILY and config.learner.lr == card.lr[0]
    assert config.rollout.text.max_new_tokens == card.rollout["text"]["max_new_tokens"]
    assert config.evaluation.text.temperature == card.evaluation["text"]["temperature"]


def test_every_built_in_family_has_a_card() -> None:
    assert (
        {name for name in FAMILIES if FAMILIES[name].card is not None} >= set(PUBLISHED) >= {"llada", "mmada", "Dream"}
    )


def test_an_adapter_has_its_own_rate_and_targets(tmp_path: Path) -> None:
    path = f"policy.path={folder_of('llada2_moe', tmp_path)}"
    config, _ = with_family(recipe(tmp_path), [path, "learner.lora.rank=8"])
    assert (config.learner.lr, config.learner.lora.target) == (3e-6, ["attn_out"])
    config, _ = with_family(recipe(tmp_path), [path])
    assert config.learner.lora.target == Config().learner.lora.target


GIVEN = [
    ("rollout.text.temperature=0.5", {"rollout.text.temperature"}),
    ("rollout.text.steps=64", {f"rollout.text.{name}" for name in SHAPE}),
    ("rollout.text={max_new_tokens: 64, block_length: 64}", {f"rollout.text.{name}" for name in SHAPE}),
    ("learner.lr=1e-6", {"learner.lr"}),
    ("evaluation.text.top_p=0.9", set()),
]


@pytest.mark.parametrize(("override", "dropped"), GIVEN)
def test_what_is_given_stays_and_a_canvas_is_one_thing(tmp_path: Path, override: str, dropped: set[str]) -> None:
    path = f"policy.path={folder_of('llada', tmp_path)}"
    base = layers_of(recipe(tmp_path), [path], family_layer)[0].given
    layers = layers_of(recipe(tmp_path), [path, override], family_layer)
    assert set(base) - set(layers[0].given) == dropped
    assert merge(layers)  # what is left is valid together


def test_the_recipe_counts_as_well(tmp_path: Path) -> None:
    file = recipe(tmp_path, f"policy: {{path: {folder_of('Dream', tmp_path)}}}\nlearner: {{lr: 2.0e-6}}\n")
    config, layers = with_family(file, [])
    assert config.learner.lr == 2e-6 and "learner.lr" not in layers[0].given


def test_a_canvas_that_leaves_no_room_for_a_prompt_is_not_used(tmp_path: Path) -> None:
    path = f"policy.path={folder_of('llada', tmp_path, max_sequence_length=256)}"
    config, _ = with_family(recipe(tmp_path), [path])
    assert config.rollout.text.max_new_tokens == Config().rollout.text.max_new_tokens
    assert config.rollout.text.temperature == 0.9


NONE = ["tiny", "no/such/place/at all", "{tmp}/empty", "{tmp}/odd", "{tmp}/broken"]


@pytest.mark.parametrize("path", NONE)
def test_no_card_where_the_policy_is_ours_or_cannot_be_read(tmp_path: Path, path: str) -> None:
    for name, text in (("odd", '{"model_type": "gpt2"}'), ("broken", "{")):
        (tmp_path / name).mkdir()
        (tmp_path / name / "config.json").write_text(text)
    (tmp_path / "empty").mkdir()
    path = path.format(tmp=tmp_path)
    assert family_layer(layers_of(recipe(tmp_path), [f"policy.path={path}"])) is None


def test_the_notes_say_what_came_and_warn_of_a_rate_far_from_published_ones(tmp_path: Path) -> None:
    path = f"policy.path={folder_of('llada', tmp_path)}"
    config, layers = with_family(recipe(tmp_path), [path])
    (note,) = family_notes(config, layers)
    assert "the card of family llada" in note and "rollout.text.steps=128" in note and "learner.lr=5e-07" in note
    config, layers = with_family(recipe(tmp_path), [path, "learner.lr=1e-3"])
    assert "learner.lr=0.001: published runs of family llada have 5e-07 to 1e-06" in family_notes(config, layers)[1]
    config, layers = with_family(recipe(tmp_path), ["policy.path=/only/on/the/cluster"])
    assert "/only/on/the/cluster: cannot be read here" in family_notes(config, layers)[0]
    config, layers = with_family("tiny", [])
    assert family_notes(config, layers) == []
