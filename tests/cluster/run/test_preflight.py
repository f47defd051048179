"""What is found before anything starts: relations between the config and what rewards say of themselves."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from cluster.run.preflight import check
from rewards.functions.source import check_function
from rewards.sandbox.kernel import offers
from rl.checkpoints.manifest import damage
from rl.config import Config, LearnerConfig, LoraConfig, SourceConfig, load_config
from rl.data.rows import load_rows
from rl.errors import ConfigError, DataError, PolicyError, RewardError
from rl.estimators import ESTIMATORS
from rl.masking import SCHEDULES
from tests.cluster.recipe import write_recipe
from tests.policies.originals import GOLDEN, write_folder

ADDRESS = {"url": "http://127.0.0.1:1/v1", "model": "m"}


@pytest.fixture
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)

    def make(**settings: Any) -> Config:
        return load_config(str(write_recipe(tmp_path, **settings)))

    return make


def test_a_judges_server_is_no_scorers_whatever_its_name(config) -> None:
    settings = {"vlm": {"name": "judge", **ADDRESS}}
    rewards = {"mix": {"text": {"vlm": 1.0}}, "settings": settings, "scorers": ["vlm"]}
    with pytest.raises(ConfigError, match="rewards.scorers: vlm: a judge's server is beside the reward workers"):
        check(config(rewards=rewards), needs_train=True, needs_val=False)


def test_a_sandbox_that_is_required_and_not_whole_refuses_the_run(config, monkeypatch) -> None:
    less = offers.Offer(landlock=3, seccomp=True)
    monkeypatch.setattr(offers, "found", lambda: less)
    for sandbox in ("best_effort", "required"):
        made = config(rewards={"sandbox": sandbox})
        if sandbox == "best_effort":
            check(made, needs_train=True, needs_val=False)
            continue
        with pytest.raises(RewardError, match="rewards.sandbox=required: .*no user namespaces.*best_effort"):
            check(made, needs_train=True, needs_val=False)


@pytest.mark.parametrize("name", ["correctness", "exact"])
def test_rows_of_a_reward_that_compares_need_a_reference_also_under_another_name(config, tmp_path, name) -> None:
    rewards = {"mix": {"text": {name: 1.0}}, "settings": {"exact": {"name": "correctness", "kind": "exact"}}}
    made = config(rewards=rewards)
    (tmp_path / "train.jsonl").write_text('{"id": "a", "prompt": "1 + 1 ="}\n')
    with pytest.raises(DataError, match="train.jsonl"):
        check(made, needs_train=True, needs_val=False)


def test_a_setting_is_checked_by_the_rewards_own_class(config) -> None:
    rewards = {"mix": {"text": {"length": 1.0}}, "settings": {"length": {"longest": 3, "unit": "word"}}}
    with pytest.raises(
        RewardError, match="^reward 'length': unit='word'; allowed: words, characters; did you mean 'words'"
    ):
        check(config(rewards=rewards), needs_train=True, needs_val=False)


def test_an_adapter_or_a_target_that_the_policy_does_not_take_is_found(config, tmp_path: Path) -> None:
    check(config(learner={"lora": {"rank": 2, "target": ["q_proj"]}}), needs_train=True, needs_val=False)
    fused = str(write_folder("llada2", tmp_path / "fused"))
    with pytest.raises(PolicyError, match="lora: target 'blocks.0.q_proj': fused has it within a fused weight"):
        check(
            config(policy=fused, learner={"lora": {"rank": 2, "target": ["q_proj"]}}), needs_train=True, needs_val=False
        )
    adapter = {"lora": {"path": str(GOLDEN / "peft")}}  # of the small LLaDA, which is wider than the toy
    with pytest.raises(
        PolicyError, match=r"peft/adapter_model.safetensors: .* has shape .*; give an adapter of this policy"
    ):
        check(config(learner=adapter), needs_train=True, needs_val=False)


@pytest.mark.parametrize("path", ["a" * 300, "a/" * 3000, f"{'a' * 300}/b", "a\0b", "a\0b/c"])
def test_paths_that_nothing_can_have(path: str) -> None:
    """The system refuses to look for them; each is one line, as a path is where nothing lies."""
    for source in (path, f"{path}.jsonl", f"{path}.parquet"):
        with pytest.raises((ConfigError, DataError), match="no such"):
            load_rows(SourceConfig(source=source))
    for recipe in (path, f"{path}.yaml"):
        with pytest.raises(ConfigError, match="recipe: (no such file|unknown)"):
            load_config(recipe)
    with pytest.raises(RewardError, match="no such file"):
        check_function(f"{path}.py", "reward")
    assert damage(Path(path)) == "no such folder"
    config = Config(learner=LearnerConfig(lora=LoraConfig(path=path)))
    with pytest.raises(PolicyError, match=r"learner\.lora\.path=.*no adapter_config\.json in it"):
        check(config, needs_train=False, needs_val=False)


@pytest.mark.parametrize(
    "choice",
    [f"{key}={name}" for key, names in (("schedule", SCHEDULES), ("estimator", ESTIMATORS)) for name in names],
)
def test_every_schedule_and_estimator_passes(choice: str) -> None:
    """Alone, beside the recipe's other settings: one that no run can start with is not there."""
    check(load_config("tiny", [f"learner.algorithm.{choice}"]), needs_train=False, needs_val=False)
