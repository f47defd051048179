"""The loop over a real toy policy: what it measures, saves and resumes, and how it ends."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from rl.checkpoints.folder import FolderCheckpoints
from rl.checkpoints.ratings import Ratings
from rl.config import (
    Config,
)
from rl.errors import CheckpointError
from rl.stop import Stop
from rl.tracking.clock import orchestration
from rl.types import (
    Rollout,
    Score,
)
from tests.rl.examples import Recorder
from tests.rl.toy_loop import ToyWorkers, by_content, config, run, start


def test_the_flow_is_measured_under_its_public_names(tmp_path: Path) -> None:
    workers = ToyWorkers()
    result, recorder = run(config(tmp_path), workers)
    assert sorted(recorder.logged) == [0, 1, 2, 3]
    wanted = """
        critic/rewards/mean critic/rewards/max critic/rewards/min rewards/variety/mean rewards/variety/std
        frac_reward_zero_std actor/pg_loss actor/pg_clipfrac actor/ppo_kl actor/kl_loss actor/entropy actor/grad_norm
        actor/lr response_length/mean timing_s/gen timing_s/reward timing_s/old_log_prob timing_s/ref
        timing_s/update_actor timing_s/update_weights timing_s/step perf/throughput perf/images_per_s
        perf/exposed_reward_s
    """.split()
    for step in (1, 2, 3):
        assert set(wanted) <= recorder.logged[step].keys()
        assert all(math.isfinite(value) for value in recorder.logged[step].values())
    assert "timing_s/save_checkpoint" in recorder.logged[3]
    timings = recorder.logged[1]
    assert timings["perf/images_per_s"] == pytest.approx(4 / timings["timing_s/step"])
    assert timings["perf/throughput"] >= (4 + 4 * 16) / timings["timing_s/step"]  # 4 images of 16 codes
    assert result.before == {name: recorder.logged[0][name] for name in result.before}
    assert result.after.keys() >= {"val/text/score", "val/draw/score"}
    assert result.steps == 3 and result.weights.version == workers.versions[-1] == 3
    assert recorder.ended == ["FINISHED"]


def test_every_step_has_its_noise_and_every_evaluation_the_same(tmp_path: Path) -> None:
    workers = ToyWorkers()
    run(config(tmp_path, test_freq=1), workers)
    training = [seed for seed, evaluate in workers.seeds if not evaluate]
    held_out = [seed for seed, evaluate in workers.seeds if evaluate]
    assert len(set(training)) == len(training) == 3
    assert len(held_out) == 4 and len(set(held_out)) == 1  # before, after 1, after 2, after training: step 3 only once
    assert not set(training) & set(held_out)


def test_saved_every_so_often_and_at_the_end(tmp_path: Path) -> None:
    _, recorder = run(config(tmp_path, save_freq=2, keep_checkpoints=9))
    folder = tmp_path / "run" / "checkpoints"
    assert sorted(path.name for path in folder.iterdir()) == ["global_step_2", "global_step_3", "ratings.json"]
    held_out = {name: value for name, value in recorder.logged[3].items() if name.startswith("val/")}
    assert held_out.items() <= Ratings(folder).read()[3].items() and Ratings(folder).read().keys() == {0, 3}
    assert [step for step, metrics in recorder.logged.items() if "timing_s/save_checkpoint" in metrics] == [2, 3]
    assert recorder.shown == [(0, "val"), (2, "train"), (3, "train"), (3, "val")]


class Minutes:
    """A clock by which a step takes so many minutes."""

    def __init__(self, per_step: float) -> None:
        self.recorder, self.per_step = Recorder(), per_step

    def __call__(self) -> float:
        steps = [step for step, metrics in self.recorder.logged.items() if "actor/lr" in metrics]
        return 1e6 + 60 * self.per_step * max(steps, default=0)


def saved_steps(cfg: Config, minutes: float) -> list[int]:
    now = Minutes(minutes)
    start(cfg, ToyWorkers(), now.recorder, total=8, now=now)
    return [step for step, metrics in now.recorder.logged.items() if "timing_s/save_checkpoint" in metrics]


@pytest.mark.parametrize(
    ("minutes", "settings", "saved"),
    [
        (4.0, {}, [3, 6]),  # 12 minutes after the start, and 12 after that
        (5.0, {}, [2, 4, 6]),
        (30.0, {}, [1, 2, 3, 4, 5, 6]),
        (0.1, {}, [6]),  # the last one always is
        (30.0, {"save_minutes": 0.0}, [6]),
        (4.0, {"save_minutes": 15.5}, [4, 6]),
        (4.0, {"save_freq": 4}, [3, 4, 6]),  # on top of it; each save starts the clock again
        (4.0, {"save_freq": 2}, [2, 4, 6]),
        (0.0, {"save_freq": 5}, [5, 6]),
    ],
)
def test_saved_once_so_many_minutes_have_passed(
    tmp_path: Path, minutes: float, settings: dict[str, float], saved: list[int]
) -> None:
    cfg = config(tmp_path, steps=6, val_before_train=False, val_after_train=False, **settings)
    assert saved_steps(cfg, minutes) == saved
    left = [path.name for path in (tmp_path / "run" / "checkpoints").glob("global_step_*")]
    assert sorted(left) == [f"global_step_{step}" for step in saved[-2:]]  # keep_checkpoints


def test_saving_by_the_clock_changes_no_bit_and_a_run_goes_on_from_it(tmp_path: Path) -> None:
    whole, straight = run(config(tmp_path / "whole", steps=4, save_minutes=0.0))
    now = Minutes(10.0)
    often = start(config(tmp_path / "often", steps=4), ToyWorkers(), now.recorder, now=now)
    assert often.weights == whole.weights
    assert now.recorder.curve().keys() == straight.curve().keys()
    half = Minutes(10.0)
    start(config(tmp_path / "halves", steps=3, keep_checkpoints=9), ToyWorkers(), half.recorder, now=half)
    middle = tmp_path / "halves" / "run" / "checkpoints" / "global_step_1"
    rest = config(tmp_path / "rest", steps=4, resume_mode="path", resume_path=str(middle))
    resumed, recorder = run(rest)
    assert resumed.weights == whole.weights
    assert resumed.before == whole.before
    assert recorder.curve() == {step: straight.curve()[step] for step in (2, 3, 4)}


def test_a_run_that_is_told_to_stop_leaves_its_last_whole_step(tmp_path: Path) -> None:
    stop = Stop()

    def stop_in_the_third(rollout: Rollout) -> Score:
        if rollout.weight_version == 2:
            stop.request()
        return by_content(rollout)

    recorder = Recorder()
    with pytest.raises(KeyboardInterrupt):
        start(config(tmp_path / "halves", steps=4), ToyWorkers(stop_in_the_third), recorder, stop=stop)
    assert recorder.ended == ["KILLED"]
    assert [path.name for path in (tmp_path / "halves" / "run" / "checkpoints").glob("global*")] == ["global_step_2"]
    rest, _ = run(config(tmp_path / "halves", steps=4))
    whole, _ = run(config(tmp_path / "whole", steps=4))
    assert rest.weights == whole.weights and rest.after == whole.after


def test_a_disk_that_was_full_is_tried_again_when_the_clock_says_so(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    tried: list[int] = []
    save = FolderCheckpoints.save

    def full(self: FolderCheckpoints, step: int, *rest) -> Path:
        tried.append(step)
        if step < 6:
            raise CheckpointError("the disk is full")
        return save(self, step, *rest)

    monkeypatch.setattr(FolderCheckpoints, "save", full)
    assert saved_steps(config(tmp_path, steps=6, val_before_train=False, val_after_train=False), 5.0) == [6]
    assert tried == [2, 4, 6] and "training goes on" in caplog.text


def test_no_evaluation_where_none_is_asked_for(tmp_path: Path) -> None:
    workers = ToyWorkers()
    result, recorder = run(config(tmp_path, steps=1, val_before_train=False, val_after_train=False), workers)
    assert result.before == result.after == {}
    assert not any(evaluate for _, evaluate in workers.seeds)
    assert sorted(recorder.logged) == [1]


def test_a_resumed_run_equals_the_uninterrupted_one_bit_for_bit(tmp_path: Path) -> None:
    whole, straight = run(config(tmp_path / "whole", steps=4))
    run(config(tmp_path / "halves", steps=2))
    workers = ToyWorkers()
    rest, resumed = run(config(tmp_path / "halves", steps=4), workers)
    assert sorted(resumed.logged) == [3, 4]
    assert resumed.curve() == {step: straight.curve()[step] for step in (3, 4)}
    assert rest.weights == whole.weights and rest.after == whole.after
    assert rest.before == whole.before  # measured once, and carried along
    assert workers.versions[0] == 2  # rollouts say by which weights they were sampled, also after a restart


def test_a_finished_run_is_only_evaluated_again(tmp_path: Path) -> None:
    first, _ = run(config(tmp_path))
    again, recorder = run(config(tmp_path))
    assert again.steps == 3 and again.weights == first.weights and again.after == first.after
    assert sorted(recorder.logged) == [3]


def test_orchestration_is_what_is_left_of_a_step_beside_its_longest_chain() -> None:
    learned = {"timing_s/learner": 4.0}
    timings = {"timing_s/step": 10.0, "timing_s/workers_chain": 5.0, **learned}
    assert orchestration(timings) == {"perf/orchestration_s": 1.0, "perf/orchestration_share": 0.1}
    assert orchestration({"timing_s/step": 10.0, **learned}) == {}  # these workers do not tell
    assert orchestration({**timings, "staleness/max": 1.0}) == {}
