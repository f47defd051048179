"""Folders of weights are sent, or found where they are."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from rl.errors import ConfigError
from tests.cluster.jobs.sending import KWARGS, sends
from tests.cluster.jobs.shipments import moved, put


def test_adapter_and_policy_are_found_there(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from cluster.run import preflight
    from policies import load_policy, lora
    from tests.toys import toy_folder

    policy = load_policy(toy_folder())
    lora.attach(policy, rank=2, alpha=4.0)
    lora.save_adapter(policy, home / "adapters" / "first")
    monkeypatch.setenv("REWARD_KEY", "x")
    config = moved(sends({"learner.lora.path": "adapters/first"}), home, monkeypatch)
    inputs = preflight.check(config, needs_train=True, needs_val=True)
    assert len(inputs.train[0]) == len(inputs.val) == 4
    assert not Path(str(config.learner.lora.path)).is_absolute()
    lora.load_adapter(load_policy(config.policy.path), Path(str(config.learner.lora.path)))


def test_a_checkpoint_to_go_on_from(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of another place it is sent; of the runs' folder it is where the runs are."""
    put("old/global_step_3/manifest.json", "runs/first/checkpoints/global_step_2/manifest.json")
    own = sends({"resume_mode": "path", "resume_path": "runs/first/checkpoints/global_step_2"})
    assert own.config.resume_path == str(home / "runs/first/checkpoints/global_step_2")
    assert not [place for place in own.files if "global_step" in place]
    assert sends({"resume_mode": "path", "resume_path": "runs/not/here/yet"}).config.resume_path == str(
        home / "runs/not/here/yet"
    )
    with pytest.raises(ConfigError, match="^resume_path=old/global_step_4: no such file or folder here"):
        sends({"resume_mode": "path", "resume_path": "old/global_step_4"})
    config = moved(
        sends({"resume_mode": "path", "resume_path": "old/global_step_3", "output_dir": "."}), home, monkeypatch
    )
    assert config.resume_path == str(home / "old/global_step_3")  # all of the folder is for outputs here


def test_a_checkpoint_of_another_place_is_sent(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    put("old/global_step_3/manifest.json")
    config = moved(sends({"resume_mode": "path", "resume_path": "old/global_step_3"}), home, monkeypatch)
    assert Path(str(config.resume_path), "manifest.json").is_file() and str(config.resume_path).endswith(
        "/global_step_3"
    )


def test_links_that_lead_back_have_an_end(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    put("lists/en.csv", "lists/inner/de.csv")
    Path("lists/inner/back").symlink_to("..")
    Path("lists/dangling").symlink_to("nowhere")
    config = moved(sends({KWARGS: {"a": "./lists"}}), home, monkeypatch)
    folder = Path(config.custom_reward_function.reward_kwargs["a"])
    assert sorted(str(file.relative_to(folder)) for file in folder.rglob("*.csv")) == ["en.csv", "inner/de.csv"]


def test_a_file_that_cannot_be_copied_is_one_line(home: Path) -> None:
    put("lists/en.csv")
    os.mkfifo("lists/pipe")
    with pytest.raises(ConfigError, match="lists: cannot be copied to be sent: .*pipe") as told:
        sends({KWARGS: {"a": "./lists"}}).write(home.parent)
    assert "\n" not in str(told.value)
