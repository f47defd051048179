"""The loop over a real toy policy: what it measures, saves and resumes, and how it ends."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from policies.generate import rollout_group
from rl.checkpoints.folder import FolderCheckpoints
from rl.checkpoints.ratings import Ratings
from rl.config import (
    Config,
    EvaluationConfig,
    LearnerConfig,
    RolloutConfig,
    SourceConfig,
    TrackingConfig,
    UniGRPOConfig,
)
from rl.data.stream import PromptStream
from rl.errors import CheckpointError, TrainingError
from rl.learner.engine import TorchEngine
from rl.learner.update import UniGRPOLearner
from rl.loop import Parts, TrainResult, train
from rl.protocols import Learner
from rl.seeds import derive_seed
from rl.stop import Stop
from rl.tracking.clock import orchestration
from rl.types import (
    Group,
    ImageSampling,
    Prompt,
    RewardCall,
    Rollout,
    Score,
    ScoreStatus,
    Task,
    TextSampling,
    WeightRef,
)
from tests.rl.examples import Recorder
from tests.toys import toy_draw_prompt, toy_policy, toy_text_prompt

TEXT, DRAW = TextSampling(8, 4, 4), ImageSampling(steps=2, guidance=0.0)
VAL = [toy_text_prompt(100), toy_draw_prompt(100)]


def by_content(rollout: Rollout) -> Score:
    """Something that a random policy's rollouts differ in."""
    value = float(len(set(rollout.token_ids.tolist())))
    return Score(value, parts={"variety": value})


class ToyWorkers:
    """One process, one policy, and a scoring function that a test may let fail."""

    def __init__(self, score: Callable[[Rollout], Score] = by_content) -> None:
        self.policy = toy_policy()
        self.score = score
        self.seeds: list[tuple[int, bool]] = []
        self.versions: list[int] = []

    def update_weights(self, learner: Learner, version: int) -> WeightRef:
        import torch

        weights = learner.weights()
        self.policy.module.load_state_dict({name: torch.from_numpy(value) for name, value in weights.items()})
        self.versions.append(version)
        return WeightRef(version, str(hash(tuple(value.tobytes() for value in weights.values()))))

    def rollout_and_score(
        self, prompts: Sequence[Prompt], weights: WeightRef, seed: int, *, evaluate: bool = False
    ) -> list[Group]:
        self.seeds.append((seed, evaluate))
        return [self._group(prompt, weights.version, seed, 1 if evaluate else 4) for prompt in prompts]

    def timings(self) -> Mapping[str, float]:
        return {"timing_s/gen": 0.1, "timing_s/reward": 0.2, "perf/exposed_reward_s": 0.05}

    def close(self) -> None: ...

    def _group(self, prompt: Prompt, version: int, seed: int, size: int) -> Group:
        sampling = DRAW if prompt.task is Task.DRAW else TEXT
        seeds = [derive_seed(seed, prompt.id, index) for index in range(size)]
        rollouts = rollout_group(self.policy, prompt, sampling, seeds, version)
        return Group(prompt, rollouts, tuple(map(self.score, rollouts)))


def config(folder: Path, **settings) -> Config:
    learner = LearnerConfig(
        algorithm=UniGRPOConfig(mu=2),
        engine="torch",
        lr=1e-2,
        lr_schedule="cosine",
        micro_batch_size_per_gpu=8,
        threads=1,
    )
    return Config(
        **{
            "name": "run",
            "output_dir": str(folder),
            "steps": 3,
            "rollout": RolloutConfig(batch_size=2, n_samples_per_prompt=4),
            "evaluation": EvaluationConfig(),
            "learner": learner,
            "tracking": TrackingConfig(mlflow=False, samples_freq=2),
            **settings,
        }
    )


def run(cfg: Config, workers: ToyWorkers | None = None, total: int = 4) -> tuple[TrainResult, Recorder]:
    """total: steps that the learning-rate schedule spans."""
    recorder = Recorder()
    result = start(cfg, workers or ToyWorkers(), recorder, total)
    return result, recorder


def start(
    cfg: Config,
    workers: ToyWorkers,
    recorder: Recorder,
    total: int = 4,
    stop: Stop | None = None,
    now: Callable[[], float] = time.monotonic,
) -> TrainResult:
    policy = toy_policy()
    learner = UniGRPOLearner(policy, TorchEngine(policy.module, cfg.learner, total * 2), cfg.learner)
    rows = [[toy_text_prompt(i) for i in range(5)], [toy_draw_prompt(i) for i in range(5)]]
    stream = PromptStream([SourceConfig("texts"), SourceConfig("drawings")], cfg.seed, rows)
    return train(Parts(cfg, stream, VAL, workers, learner, recorder, FolderCheckpoints(cfg)), stop, now)


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


@pytest.mark.parametrize(("error", "status"), [(ZeroDivisionError, "FAILED"), (KeyboardInterrupt, "KILLED")])
def test_a_crash_is_told_to_the_tracker(tmp_path: Path, error: type[BaseException], status: str) -> None:
    def crash(rollout: Rollout) -> Score:
        if rollout.weight_version == 1:
            raise error
        return by_content(rollout)

    recorder = Recorder()
    with pytest.raises(error):
        start(config(tmp_path), ToyWorkers(crash), recorder)
    assert recorder.ended == [status]
    assert sorted(recorder.logged) == [0, 1]


def test_a_step_without_a_usable_group_changes_nothing(tmp_path: Path) -> None:
    def fail_once(rollout: Rollout) -> Score:
        return Score(math.nan, ScoreStatus.TIMEOUT) if rollout.weight_version == 1 else by_content(rollout)

    _, recorder = run(config(tmp_path), ToyWorkers(fail_once))
    assert recorder.logged[2]["frac_groups_dropped"] == 1.0
    assert recorder.logged[2]["score_status/timeout"] == 1.0
    assert recorder.logged[2]["actor/skipped_updates"] == 1.0
    assert "critic/rewards/mean" not in recorder.logged[2]
    assert "actor/pg_loss" in recorder.logged[3]  # and the run goes on


def test_a_run_of_failures_stops(tmp_path: Path) -> None:
    recorder = Recorder()
    learner = LearnerConfig(engine="torch", max_skipped_updates=2, threads=1)
    workers = ToyWorkers(lambda rollout: Score(math.nan, ScoreStatus.CRASHED))
    with pytest.raises(TrainingError, match="2 updates in a row"):
        start(config(tmp_path, learner=learner, steps=9, val_before_train=False), workers, recorder)
    assert recorder.ended == ["FAILED"]


def scored(name: str, *failing: int, task: str = "") -> Callable[[Rollout], Score]:
    """The reward ``name`` fails at the versions ``failing`` (-1: at all of them); ``steady`` always works."""

    def score(rollout: Rollout) -> Score:
        good = by_content(rollout)
        calls = {"steady": RewardCall(ScoreStatus.OK, 0.0)}
        if task and not rollout.prompt_id.startswith(task):
            return replace(good, calls=calls)
        if -1 in failing or rollout.weight_version in failing:
            calls[name] = RewardCall(ScoreStatus.CRASHED, 0.0)
            detail = f"{name}: my.py:11: return {rollout.index} / 0: ZeroDivisionError (row {rollout.prompt_id})"
            return Score(math.nan, ScoreStatus.CRASHED, detail=detail, calls=calls)
        return replace(good, calls=calls | {name: RewardCall(ScoreStatus.OK, 0.0)})

    return score


def broken(folder: Path, score: Callable[[Rollout], Score], **settings: Any) -> tuple[Recorder, str]:
    """What a run that must end says."""
    recorder = Recorder()
    with pytest.raises(TrainingError) as caught:
        start(config(folder, **settings), ToyWorkers(score), recorder, total=9)
    assert recorder.ended == ["FAILED"] and "\n" not in str(caught.value)
    return recorder, str(caught.value)


def test_a_reward_that_fails_at_every_held_out_row_ends_the_run_before_its_first_step(tmp_path: Path) -> None:
    recorder, said = broken(tmp_path, scored("mine", -1))
    assert sorted(recorder.logged) == [0]
    assert (
        "the reward 'mine' failed for all 2 scores of the evaluation before training, each time as crashed: mine: "
        in said
    )
    assert "my.py:11: return 0 / 0: ZeroDivisionError" in said and "unigrpo rewards check" in said


def test_a_reward_that_fails_in_each_of_the_first_three_steps_ends_the_run(tmp_path: Path) -> None:
    recorder, said = broken(tmp_path, scored("mine", -1), val_before_train=False, steps=9)
    assert sorted(recorder.logged) == [1, 2]
    assert (
        "the reward 'mine' failed for all 24 scores of the first 3 steps, each time as crashed: mine: my.py:11" in said
    )


def test_so_does_one_of_a_task_beside_another_that_works(tmp_path: Path) -> None:
    task = toy_draw_prompt(0).id.rstrip("0")
    workers = scored("mine", -1, task=task)
    recorder, said = broken(tmp_path, workers, val_before_train=False, steps=9)
    assert "the reward 'mine' failed for all" in said and len(recorder.logged) >= 2


def test_a_reward_that_worked_once_may_fail_for_long(tmp_path: Path) -> None:
    result, recorder = run(config(tmp_path, steps=6), ToyWorkers(scored("mine", 1, 2, 3, 4)))
    assert result.steps == 6 and recorder.ended == ["FINISHED"]
    (tmp_path / "late").mkdir()
    late = config(tmp_path / "late", steps=3, val_before_train=False)
    assert run(late, ToyWorkers(scored("mine", 0, 1)))[1].ended == ["FINISHED"]  # two steps, and then it works


def test_a_short_run_without_an_update_fails_too(tmp_path: Path) -> None:
    for steps in (1, 2):
        _, said = broken(tmp_path / str(steps), scored("mine", -1), val_before_train=False, steps=steps)
        when = "the run" if steps == 1 else "all 2 steps"
        assert f"the reward 'mine' failed for all {8 * steps} scores of {when}" in said
    learner = LearnerConfig(engine="torch", drop_equal_groups=True, threads=1)
    _, said = broken(tmp_path / "equal", lambda rollout: Score(1.0), learner=learner, steps=2)
    assert "none of the 2 steps changed the weights: 0 of 16 scores failed" in said


def test_the_commonest_cause_is_named_with_its_count(tmp_path: Path) -> None:
    def score(rollout: Rollout) -> Score:
        if rollout.index % 4 == 0:
            return Score(
                math.nan,
                ScoreStatus.TIMEOUT,
                detail="other: slow",
                calls={"other": RewardCall(ScoreStatus.TIMEOUT, 0.0)},
            )
        return scored("mine", -1)(rollout)

    _, said = broken(tmp_path, score, val_before_train=False, steps=1)
    assert "failed for all" in said
    one = Score(math.nan, ScoreStatus.INVALID, detail="no reward applies to this row")
    _, said = broken(tmp_path / "none", lambda rollout: one, val_before_train=False, steps=9)
    assert (
        "nothing could be scored: failed for all 24 scores of the first 3 steps, each time as invalid: no reward applies"
        in said
    )


def test_orchestration_is_what_is_left_of_a_step_beside_its_longest_chain() -> None:
    learned = {"timing_s/learner": 4.0}
    timings = {"timing_s/step": 10.0, "timing_s/workers_chain": 5.0, **learned}
    assert orchestration(timings) == {"perf/orchestration_s": 1.0, "perf/orchestration_share": 0.1}
    assert orchestration({"timing_s/step": 10.0, **learned}) == {}  # these workers do not tell
    assert orchestration({**timings, "staleness/max": 1.0}) == {}
