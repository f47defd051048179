"""A checkpoint is whole or absent: what is damaged is found before it is read, and named."""

from __future__ import annotations

import dataclasses
import json
import logging
import shutil
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from rl.checkpoints.folder import FolderCheckpoints
from rl.checkpoints.manifest import MANIFEST, STATE, damage
from rl.config import Config, LearnerConfig, RewardsConfig
from rl.errors import CheckpointError
from rl.types import StepReport, TrainBatch

WHERE = {"data": {"drawn": [3]}, "weight_version": 7, "before": {"val/text/score": 0.1 + 0.2}}


class NumberLearner:
    """All its weights are one number, in two files."""

    def __init__(self, number: int = 0) -> None:
        self.number = number

    def update(self, batch: TrainBatch) -> StepReport:
        return StepReport({})

    def weights(self) -> Mapping[str, np.ndarray]:
        return {"number": np.array([self.number], np.float32)}

    def save(self, folder: Path) -> None:
        (folder / "policy").mkdir()
        (folder / "policy" / "weights.bin").write_bytes(bytes([self.number]) * 64)
        (folder / "optimizer.bin").write_bytes(b"m" * 16)

    def load(self, folder: Path) -> None:
        self.number = (folder / "policy" / "weights.bin").read_bytes()[0]

    def close(self) -> None: ...


class BrokenLearner(NumberLearner):
    def save(self, folder: Path) -> None:
        super().save(folder)
        raise OSError("disk full")


def checkpoints(folder: Path, **settings) -> FolderCheckpoints:
    return FolderCheckpoints(Config(name="run", output_dir=str(folder), **settings))


def saved(folder: Path, *steps: int, **settings) -> FolderCheckpoints:
    target = checkpoints(folder, **settings)
    for step in steps:
        target.save(step, NumberLearner(step), WHERE)
    return target


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in (folder / "run" / "checkpoints").iterdir())


def test_state_and_learner_come_back(tmp_path: Path) -> None:
    path = saved(tmp_path, 4).folder / "global_step_4"
    assert damage(path) == ""
    learner = NumberLearner()
    state = checkpoints(tmp_path).resume(learner)
    assert learner.number == 4
    assert state["step"] == 4
    assert {key: state[key] for key in WHERE} == WHERE  # floats to the last bit


def test_a_fresh_run_has_no_state(tmp_path: Path) -> None:
    assert checkpoints(tmp_path).resume(NumberLearner()) == {}


def test_the_newest_are_kept(tmp_path: Path) -> None:
    saved(tmp_path, 2, 9, 10, keep_checkpoints=2)
    assert names(tmp_path) == ["global_step_10", "global_step_9"]


DAMAGES = {
    "weights.bin is missing": lambda path: (path / "policy" / "weights.bin").unlink(),
    "has 63 bytes, expected 64": lambda path: (path / "policy" / "weights.bin").write_bytes(b"\x04" * 63),
    "does not match its SHA-256": lambda path: (path / "policy" / "weights.bin").write_bytes(b"\x05" * 64),
    "evil.bin is not listed": lambda path: (path / "evil.bin").write_bytes(b"x"),
    f"{MANIFEST} is missing": lambda path: (path / MANIFEST).unlink(),
    f"{MANIFEST} cannot be read": lambda path: (path / MANIFEST).write_text("{"),
    "has format 99": lambda path: (path / MANIFEST).write_text('{"format": 99, "files": {}}'),
    f"{STATE} is not listed": lambda path: (path / MANIFEST).write_text('{"format": 1, "files": {}}'),
}


@pytest.mark.parametrize("reason", DAMAGES)
def test_resume_passes_over_a_damaged_checkpoint_and_says_so(
    tmp_path: Path, reason: str, caplog: pytest.LogCaptureFixture
) -> None:
    newest = saved(tmp_path, 3, 4).folder / "global_step_4"
    DAMAGES[reason](newest)
    again, learner = checkpoints(tmp_path), NumberLearner()
    with caplog.at_level(logging.WARNING):
        assert again.resume(learner)["step"] == learner.number == 3
    assert [path for path, _ in again.skipped] == [newest]
    assert reason in again.skipped[0][1]
    assert "step 4 skipped" in caplog.text and reason in caplog.text
    again.save(4, NumberLearner(44), WHERE)  # the step is done again; the damaged one is out of the way
    assert damage(newest) == ""
    assert "set_aside_1" in names(tmp_path)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_any_changed_byte_is_found(tmp_path: Path, data: st.DataObject) -> None:
    folder = tmp_path / "run" / "checkpoints" / "global_step_1"
    shutil.rmtree(tmp_path, ignore_errors=True)
    saved(tmp_path, 1)
    files = sorted(path for path in folder.rglob("*") if path.is_file() and path.name != MANIFEST)
    path = data.draw(st.sampled_from(files))
    content = bytearray(path.read_bytes())
    place = data.draw(st.integers(0, len(content) - 1))
    content[place] ^= data.draw(st.integers(1, 255))
    path.write_bytes(content)
    assert damage(folder)


def test_a_crash_while_saving_leaves_nothing(tmp_path: Path) -> None:
    target = saved(tmp_path, 1)
    with pytest.raises(
        CheckpointError, match="global_step_2: cannot be saved: disk full; global_step_1 is still there"
    ):
        target.save(2, BrokenLearner(2), WHERE)
    learner = NumberLearner()
    assert checkpoints(tmp_path).resume(learner)["step"] == learner.number == 1
    assert names(tmp_path) == ["global_step_1"]  # nothing is left of it


def test_disable_starts_over_and_loses_nothing(tmp_path: Path) -> None:
    saved(tmp_path, 8, 9)
    fresh, learner = checkpoints(tmp_path, resume_mode="disable"), NumberLearner()
    assert fresh.resume(learner) == {} and learner.number == 0
    fresh.save(2, NumberLearner(2), WHERE)
    assert names(tmp_path) == ["global_step_2", "set_aside_1"]  # the old future cannot be resumed by mistake
    assert sorted(path.name for path in (fresh.folder / "set_aside_1").iterdir()) == ["global_step_8", "global_step_9"]
    assert checkpoints(tmp_path).resume(learner)["step"] == 2


def test_path_goes_back_within_a_run(tmp_path: Path) -> None:
    first = saved(tmp_path, 3, 6).folder / "global_step_3"
    learner = NumberLearner()
    state = checkpoints(tmp_path, resume_mode="path", resume_path=str(first)).resume(learner)
    assert state["step"] == learner.number == 3
    assert names(tmp_path) == ["global_step_3", "set_aside_1"]


def test_path_takes_another_runs_checkpoint(tmp_path: Path) -> None:
    source = saved(tmp_path / "other", 5).folder / "global_step_5"
    learner = NumberLearner()
    assert checkpoints(tmp_path, resume_mode="path", resume_path=str(source)).resume(learner)["step"] == 5
    assert source.is_dir()


def test_a_damaged_path_is_refused_in_one_line(tmp_path: Path) -> None:
    path = saved(tmp_path, 5).folder / "global_step_5"
    (path / "optimizer.bin").write_bytes(b"")
    learner = NumberLearner()
    with pytest.raises(CheckpointError, match=r"optimizer.bin has 0 bytes, expected 16; give a whole") as caught:
        checkpoints(tmp_path, resume_mode="path", resume_path=str(path)).resume(learner)
    assert len(str(caught.value).splitlines()) == 1
    assert learner.number == 0  # nothing of it was read
    with pytest.raises(CheckpointError, match="no such folder"):
        checkpoints(tmp_path, resume_mode="path", resume_path=str(tmp_path / "nowhere")).resume(learner)


def test_changed_settings_are_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    saved(tmp_path, 1, steps=5)
    with caplog.at_level(logging.WARNING):
        checkpoints(tmp_path, steps=9).resume(NumberLearner())
        assert caplog.text == ""  # a longer run is the same run
        changed = dataclasses.replace(LearnerConfig(), lr=1e-3)
        checkpoints(tmp_path, learner=changed, seed=3).resume(NumberLearner())
    assert caplog.text.strip().endswith("other settings of: learner.lr, seed")


@pytest.mark.parametrize(
    ("before", "after", "told"),
    [
        ({"correctness": 1.0}, {"format": 1.0}, "rewards.mix.text.correctness, rewards.mix.text.format"),
        ({"correctness": 1.0}, {"correctness": 1.0, "format": 1.0}, "rewards.mix.text.format"),
        ({"correctness": 1.0, "format": 1.0}, {"correctness": 1.0}, "rewards.mix.text.format"),
        ({"correctness": 1.0}, {"correctness": 2.0}, "rewards.mix.text.correctness"),
    ],
)
def test_another_mix_is_told(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, before: dict[str, float], after: dict[str, float], told: str
) -> None:
    """Also where its names are others: such a setting was there under no name before."""
    saved(tmp_path, 1, rewards=RewardsConfig(mix={"text": before}))
    with caplog.at_level(logging.WARNING):
        checkpoints(tmp_path, rewards=RewardsConfig(mix={"text": before})).resume(NumberLearner())
        assert caplog.text == ""
        checkpoints(tmp_path, rewards=RewardsConfig(mix={"text": after})).resume(NumberLearner())
    assert caplog.text.strip().endswith(f"other settings of: {told}")


def test_the_state_is_plain_json(tmp_path: Path) -> None:
    path = saved(tmp_path, 1, steps=5).folder / "global_step_1"
    assert json.loads((path / STATE).read_text())["config"]["steps"] == 5


def test_the_best_are_kept_beside_the_newest(tmp_path: Path) -> None:
    options = {"keep_checkpoints": 1, "best_metric": "val/text/score", "keep_best": 2}
    target = checkpoints(tmp_path, **options)
    scores = {1: 0.3, 2: 0.9, 3: 0.5, 4: 0.9, 5: 0.1, 6: 0.2}
    for step, score in scores.items():
        target.save(step, NumberLearner(step), WHERE)
        target.rate(step, {"val/text/score": score, "val/draw/score": -score, "broken": float("nan")})
    assert names(tmp_path) == ["global_step_2", "global_step_4", "global_step_6", "ratings.json"]
    assert target.best() == [4, 2]
    assert checkpoints(tmp_path, **options, best_mode="min").best() == [6, 4]  # of those that are left
    assert checkpoints(tmp_path, best_metric="val/draw/score", keep_best=1).best() == [6]
    learner = NumberLearner()
    assert checkpoints(tmp_path, **options).resume(learner)["step"] == learner.number == 6  # the newest, not the best


def test_a_future_that_was_left_is_not_the_best(tmp_path: Path) -> None:
    options = {"keep_checkpoints": 9, "best_metric": "val/text/score"}
    target = checkpoints(tmp_path, **options)
    for step, score in ((1, 0.1), (2, 0.9)):
        target.save(step, NumberLearner(step), WHERE)
        target.rate(step, {"val/text/score": score})
    back = checkpoints(tmp_path, **options, resume_mode="path", resume_path=str(target.folder / "global_step_1"))
    back.resume(NumberLearner())
    back.save(2, NumberLearner(2), WHERE)
    assert back.best() == [1]
    (back.folder / "ratings.json").write_text("[")
    assert back.best() == []
    back.rate(2, {"val/text/score": 0.4})
    assert back.best() == [2]


def test_an_unknown_metric_is_told_with_those_that_are(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    target = checkpoints(tmp_path, best_metric="val/txt/score")
    with caplog.at_level(logging.WARNING):
        target.rate(3, {"val/text/score": 0.5})
    assert "best_metric=val/txt/score: not measured at step 3; there are: val/text/score" in caplog.text


FILES = {"my_reward.py": "a", "helper.py": "b"}


@pytest.mark.parametrize(
    ("now", "changed"),
    [
        (FILES, ""),
        ({**FILES, "my_reward.py": "c"}, "my_reward.py"),
        ({"my_reward.py": "c", "helper.py": "d"}, "helper.py, my_reward.py"),
        ({"my_reward.py": "a"}, "helper.py"),
        ({**FILES, "words.txt": "e"}, "words.txt"),
        ({}, "helper.py, my_reward.py"),
    ],
)
def test_a_file_that_changed_between_a_run_and_its_resume_is_said(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, now: dict[str, str], changed: str
) -> None:
    config = Config(name="run", output_dir=str(tmp_path))
    FolderCheckpoints(config, FILES).save(3, NumberLearner(3), WHERE)
    resumed = FolderCheckpoints(config, now)
    with caplog.at_level(logging.WARNING):
        assert resumed.resume(NumberLearner())["step"] == 3
    said = [record.getMessage() for record in caplog.records if "changed since" in record.getMessage()]
    assert len(said) == bool(changed)
    assert all(line.endswith(f"global_step_3 was saved, and used as now from here on: {changed}") for line in said)
    resumed.save(4, NumberLearner(4), WHERE)  # from here on the new ones are what was saved
    caplog.clear()
    assert FolderCheckpoints(config, now).resume(NumberLearner())["step"] == 4
    assert not [record for record in caplog.records if "changed since" in record.getMessage()]


def test_a_checkpoint_from_before_files_were_kept_says_nothing(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    saved(tmp_path, 3)
    assert FolderCheckpoints(Config(name="run", output_dir=str(tmp_path)), FILES).resume(NumberLearner())
    assert not [record for record in caplog.records if "changed since" in record.getMessage()]
