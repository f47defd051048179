"""A setting of the wrong type, and a run's name that leaves its folder: one line in a user's words."""

from __future__ import annotations

from pathlib import Path

import pytest

from rl.config import build_config
from rl.config.run_name import check_name
from rl.errors import ConfigError

WRONG = {
    "rewards.mix.text=5": "rewards.mix.text: expected names with their values, e.g. {name: 1.0}, got a value of type int",
    "rewards.mix.text.correctness=high": "rewards.mix.text.correctness: expected a number, got 'high'",
    "rewards.mix.text.correctness=true": "expected a number, got 'True'",
    "rewards.mix.text.correctness=[1]": "expected a number, got '[1]'",
    "rewards.mix.text.correctness=null": "rewards.mix.text.correctness: null is not allowed",
    "rewards.mix.text=null": "rewards.mix.text: null is not allowed",
    "rewards.mix=null": "rewards.mix: null is not allowed",
    "rewards.mix=5": "rewards.mix: expected names with their values",
    "rewards.mix.5=5": "rewards.mix.5: expected names with their values",
    "rewards.mix.text={5: 1}": "a name must be a text: write '5' in quotes",
    "rewards.mix=[a]": "a list where settings have names",
    "evaluation.mix.text=abc": "evaluation.mix.text: expected names with their values, e.g. {name: 1.0}, got a value of type str",
    "rewards.settings.correctness=5": "rewards.settings.correctness: expected names",
    "rewards.curves.x=5": "rewards.curves.x: expected settings, e.g. {name: value}, got one value",
    "data.train=5": "data.train: expected a list, e.g. [a, b]",
    "data.train=[5]": "data.train[0]: expected settings, e.g. {name: value}",
    "data.train=[{weight: x, source: y}]": "weight: expected a number, got 'x'",
    "rollout.batch_size=x": "rollout.batch_size: expected a whole number, got 'x'",
    "rollout.batch_size=1.5": "expected a whole number, got '1.5'",
    "rollout.n_samples_by_task.text=x": "expected a whole number",
    "learner.lora.target=5": "learner.lora.target: expected a list",
    "custom_reward_function.reward_kwargs=5": "expected names with their values",
    "cluster.labels=5": "cluster.labels: expected names with their values",
    "policy=5": "policy: expected settings",
    "rollout=[1]": "rollout: expected settings",
    "steps={a: 1}": "steps: expected a whole number, got '{'a': 1}'",
    "steps=null": "steps: null is not allowed",
    "resume_mode=[1]": "resume_mode: expected one value, got a list",
    "name={a: 1}": "name: expected one value, got a mapping",
    "val_before_train=maybe": "val_before_train: expected true or false",
}
LIBRARY = ("Dict[", "ListConfig", "AnyNode", "typing.", "subclass", "Optional", "Merge error", "could not be converted")


@pytest.mark.parametrize("override", WRONG)
def test_a_wrong_type_is_said_in_a_users_words(override: str) -> None:
    with pytest.raises(ConfigError) as caught:
        build_config([], [override])
    line = str(caught.value)
    assert line.startswith(f"override {override!r}: ") and WRONG[override] in line and "\n" not in line
    assert not [word for word in LIBRARY if word in line]


OUTSIDE = [
    "..", ".", "a/../../b", "/etc/x", "../x", "a/..", "a/./b", "~", "~/x", "~root", " ", "", "/", "x" * 256, "é" * 128,
    "a/" + "x" * 256,
    "a\nb", "a\0b", "a\tb", "../../../../tmp/x", "a/b/../../..", "./x",
]  # fmt: skip


@pytest.mark.parametrize("name", OUTSIDE)
def test_a_name_that_leaves_output_dir_is_refused(name: str) -> None:
    with pytest.raises(
        ConfigError, match="^name=.*: allowed: NAME, or FOLDER/NAME, of a folder within output_dir"
    ) as caught:
        check_name(name)
    assert "\n" not in str(caught.value) and len(str(caught.value)) < 500
    with pytest.raises(ConfigError, match="^name="):
        build_config([("test", {"name": name})])


@pytest.mark.parametrize(
    "name",
    [
        "a",
        "a/b",
        "a.b",
        "..a",
        "a..",
        "-x",
        "größe",
        "准确率",
        "a b",
        "a?b",
        "x" * 255,
        "a//b",
        "run-2026.11",
        "a:b",
        "...",
        "5",
    ],
)
def test_any_other_name_lies_in_output_dir(name: str, tmp_path: Path) -> None:
    config = build_config([("test", {"name": name, "output_dir": str(tmp_path)})])
    assert (
        config.run_dir.resolve().is_relative_to(tmp_path.resolve()) and config.run_dir.resolve() != tmp_path.resolve()
    )


ELSEWHERE = {
    "rollout.text.gen_length=128": "here it is 'rollout.text.max_new_tokens'",
    "rollout.text.max_length=128": "here it is 'rollout.text.max_new_tokens'",
    "rollout.text.max_gen_toks=128": "here it is 'rollout.text.max_new_tokens'",
    "rollout.text.diffusion_steps=64": "here it is 'rollout.text.steps'",
    "rollout.text.denoising_steps=4": "here it is 'rollout.text.steps'",
    "evaluation.text.alg=entropy": "here it is 'evaluation.text.remasking'",
    "rollout.text.alg_temp=0.1": "here it is 'rollout.text.remask_temperature'",
    "rollout.text.threshold=0.9": "here it is 'rollout.text.confidence_threshold'",
    "rollout.understand.remasking_strategy=x": "here it is 'rollout.understand.remasking'",
    "rollout.text.block_size=4": "here it is 'rollout.text.block_length'",
    "rollout.text.cfg=1.0": "here it is 'rollout.text.cfg_scale'",
    "rollout.draw.timesteps=15": "here it is 'rollout.draw.steps'",
    "rollout.draw.generation_timesteps=15": "here it is 'rollout.draw.steps'",
    "rollout.draw.guidance_scale=3.5": "here it is 'rollout.draw.guidance'",
    "rollout.draw.noise_schedule=cosine": "here it is 'rollout.draw.schedule'",
    "rollout.text.use_cache=true": "here it is 'rollout.text.cache'",
    "rollout.text.remasking=maskgit_plus": "here it is 'low_confidence'",
    "rollout.text.remasking=topk_margin": "here it is 'margin'",
    "rollout.text.remasking=low_confidence_static": "here it is 'low_confidence'",
    "rollout.text.remasking=low_confidence_dynamic": "here it is 'low_confidence' with confidence_threshold",
    "rollout.text.editing_threshold=0.9": "no such option here: docs/parity.md",
    "rollout.text.max_post_steps=16": "no such option here: docs/parity.md",
    "rollout.text.eps=0.01": "no such option here: docs/parity.md",
    "rollout.text.eb_threshold=0.6": "no such option here: docs/parity.md",
    "rollout.text.remasking=sequential": "no such option here: docs/parity.md",
    "rollout.text.remasking=entropy_bounded": "no such option here: docs/parity.md",
    "rollout.text.mask_id=5": "no such option here: docs/parity.md",
    "rollout.text.tempreature=1": "did you mean 'rollout.text.temperature'",
    "rollout.text.max_new_token=1": "did you mean 'rollout.text.max_new_tokens'",
    "rollout.text.remasking=entorpy": "did you mean 'entropy'",
}


@pytest.mark.parametrize("override", ELSEWHERE)
def test_a_name_of_a_model_card_leads_to_ours_or_to_the_page_of_what_is_missing(override: str) -> None:
    with pytest.raises(ConfigError) as caught:
        build_config([], [override])
    assert ELSEWHERE[override] in str(caught.value) and "\n" not in str(caught.value)
