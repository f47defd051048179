"""Killed while saving, a full disk, damaged files: the previous checkpoint is found, used, and the message says why."""

from __future__ import annotations

import logging
import os
import resource
import signal
import sys
import time
from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path

import numpy as np
import pytest

from rl.checkpoints.folder import FolderCheckpoints
from rl.checkpoints.manifest import damage
from rl.config import Config, LearnerConfig
from rl.errors import CheckpointError
from rl.learner.engine import TorchEngine
from rl.learner.update import UniGRPOLearner
from tests.rl.learner.test_update import SETTINGS, make_batch
from tests.toys import toy_policy

STATE = {"data": {"drawn": [1]}, "weight_version": 1, "before": {}}
DEADLINE_S = 60.0


def make_learner() -> UniGRPOLearner:
    policy = toy_policy()
    return UniGRPOLearner(policy, TorchEngine(policy.module, SETTINGS, 100), SETTINGS)


@cache
def trained() -> tuple[UniGRPOLearner, Mapping[str, np.ndarray]]:
    """A learner after two steps, and its weights after the first. It only saves from here on."""
    learner = make_learner()
    learner.update(make_batch(0))
    return learner, learner.weights()


def checkpoints(folder: Path) -> FolderCheckpoints:
    return FolderCheckpoints(Config(name="run", output_dir=str(folder), learner=LearnerConfig(), keep_checkpoints=1))


def die_at(nth: int, event: str, part: str) -> Callable[[], None]:
    """kill -9 of this process, when it does something with such a path for the nth time."""
    seen = 0

    def hook(name: str, args: tuple) -> None:
        nonlocal seen
        if name == event and part in " ".join(map(str, args)):
            seen += 1
            if seen == nth:
                os.kill(os.getpid(), signal.SIGKILL)

    return lambda: sys.addaudithook(hook)


def in_child(prepare: Callable[[], None], work: Callable[[], None]) -> int:
    """Fork, do both, leave without Python's goodbye. The child's wait status."""
    child = os.fork()
    if not child:
        try:
            prepare()
            work()
        except BaseException as error:  # nothing of the child may go on as a second pytest
            os.write(2, f"{type(error).__name__}: {error}\n".encode())
            os._exit(3)
        os._exit(0)
    ends = time.monotonic() + DEADLINE_S
    while time.monotonic() < ends:
        done, status = os.waitpid(child, os.WNOHANG)
        if done:
            return status
        time.sleep(0.01)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    raise AssertionError("the child hangs")


# Where in saving step 2 the process is killed: (what it does, with which path, for the nth time) -> what is left whole.
POINTS = {
    "before the policy's weights": (1, "open", ".unfinished_global_step_2/policy/tokenizer", 1),
    "before the optimizer's state": (1, "open", "optimizer.json", 1),
    "while files are hashed": (2, "open", ".unfinished_global_step_2/policy/model.safetensors", 1),
    "before the manifest": (1, "open", "manifest.json", 1),
    "before it gets its name": (1, "os.rename", ".unfinished_global_step_2", 1),
    "before the old one goes": (1, "os.remove", "global_step_1/manifest.json", 2),
    "while the old one goes": (1, "shutil.rmtree", "global_step_1", 2),
}


@pytest.mark.parametrize("point", POINTS)
def test_killed_while_saving(tmp_path: Path, point: str, caplog: pytest.LogCaptureFixture) -> None:
    learner, weights = trained()
    target = checkpoints(tmp_path)
    target.save(1, learner, STATE)
    nth, event, part, left = POINTS[point]
    status = in_child(die_at(nth, event, part), lambda: void(target.save(2, learner, STATE)))
    assert os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL, f"the child ended by itself: {status}"
    again, fresh = checkpoints(tmp_path), make_learner()
    with caplog.at_level(logging.WARNING):
        assert again.resume(fresh)["step"] == left
    assert all(np.array_equal(value, weights[name]) for name, value in fresh.weights().items())
    if left == 1:
        assert "global_step_2 was not saved to its end: the process was ended" in caplog.text
    again.save(3, fresh, STATE)
    assert damage(again.folder / "global_step_3") == ""
    assert [path.name for path in again.folder.iterdir() if path.name != "ratings.json"] == ["global_step_3"]


def limit_files(size: int) -> None:
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))


@pytest.mark.parametrize("size", [4_096, 100_000])
def test_a_disk_that_takes_no_more(tmp_path: Path, size: int) -> None:
    """The kernel refuses to write further, to us and to safetensors' own code."""
    learner, _ = trained()
    target = checkpoints(tmp_path)
    target.save(1, learner, STATE)
    said = tmp_path / "said"
    handle = os.open(said, os.O_CREAT | os.O_WRONLY)

    def save() -> None:
        try:
            target.save(2, learner, STATE)
        except CheckpointError as error:
            os.write(handle, str(error).encode())

    assert in_child(lambda: limit_files(size), save) == 0
    os.close(handle)
    text = said.read_text()
    assert "global_step_2: cannot be saved" in text and "File too large" in text
    assert "global_step_1 is still there; make room, and the same command goes on" in text
    assert checkpoints(tmp_path).resume(make_learner())["step"] == 1
    assert [path.name for path in target.folder.iterdir()] == ["global_step_1"]


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


DAMAGES = {
    "policy/model.safetensors does not match its SHA-256": lambda path: flip(path / "policy/model.safetensors"),
    "optimizer.safetensors does not match its SHA-256": lambda path: flip(path / "optimizer.safetensors"),
    "optimizer.safetensors is missing": lambda path: (path / "optimizer.safetensors").unlink(),
    "policy/model.safetensors is missing": lambda path: (path / "policy/model.safetensors").unlink(),
}


@pytest.mark.parametrize("reason", DAMAGES)
def test_a_flipped_byte_and_a_deleted_shard(tmp_path: Path, reason: str, caplog: pytest.LogCaptureFixture) -> None:
    learner, _ = trained()
    target = FolderCheckpoints(Config(name="run", output_dir=str(tmp_path), keep_checkpoints=2))
    for step in (1, 2):
        target.save(step, learner, STATE)
    DAMAGES[reason](target.folder / "global_step_2")
    with caplog.at_level(logging.WARNING):
        assert checkpoints(tmp_path).resume(make_learner())["step"] == 1
    assert f"checkpoint of step 2 skipped: {target.folder / 'global_step_2'}: {reason}" in caplog.text
    assert f"going on from {target.folder / 'global_step_1'}, the newest whole one" in caplog.text


def void(_: object) -> None:
    """The child gives nothing back."""
