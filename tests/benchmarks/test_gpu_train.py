"""The stretch over Ray on one GPU: its settings, what it says of a run, and all runs with a small policy on the CPU."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from benchmarks.speed.gpu_train.__main__ import judged, main
from benchmarks.speed.gpu_train.planned import LEARNER, WORKER, beside_plan
from benchmarks.speed.gpu_train.reward import digits
from benchmarks.speed.gpu_train.runs import DRY, REWARD, RUNS, STEPS, STRUCK, WHOLE, make_policy, settings
from benchmarks.speed.gpu_train.watched import HOOK, Watched, steps_of
from cluster.plan.sizes import parameters
from cluster.weights.base import check_wire
from rl.config import load_config
from tests.benchmarks.artefacts import faults

ROOT = Path(__file__).parents[2]
STEP = {"timing_s/step": 1.0, "actor/first_ratio_error": 0.01, "perf/worker_restarts": 0.0}


@pytest.mark.parametrize("run", RUNS, ids=lambda run: run.name)
def test_the_settings_of_every_run_are_valid(run: Any, tmp_path: Path) -> None:
    given = settings(run, WHOLE, tmp_path / "policy", tmp_path, "bfloat16")
    config = load_config("tiny", [*given, "policy.device=cuda"])
    check_wire(config)
    assert config.steps == STEPS and config.run_dir == tmp_path / run.name
    assert config.custom_reward_function.path == str(REWARD) and REWARD.is_file()


def test_the_policy_has_a_billion_parameters() -> None:
    assert parameters(WHOLE.size.config) == pytest.approx(1.03e9, rel=0.02)


def test_a_small_policy_is_read_as_mmada(tmp_path: Path) -> None:
    folder = make_policy(tmp_path / "policy", DRY.size)
    config = json.loads((folder / "config.json").read_text())
    assert (config["model_type"], config["vocab_size"]) == ("mmada", DRY.size.vocabulary)
    assert (folder / "image_tokenizer").is_dir() and (folder / "chat_template.jinja").is_file()


def test_random_weights_can_earn_the_reward() -> None:
    assert digits(["?"] * 3, ["a1b2", "", "17"]) == [0.5, 0.0, 1.0]


def run_of(steps: list[dict[str, float]], index: int = 0, **seen: Any) -> dict[str, Any]:
    return judged(RUNS[index], Watched(code=0, **seen), steps, "a" * 64, {})


def test_a_whole_run_has_no_problem() -> None:
    found = run_of([STEP] * STEPS)
    assert found["ok"] and found["problems"] == [] and found["first_ratio_error"] == 0.01


@pytest.mark.parametrize(
    ("steps", "index", "seen", "problem"),
    [
        ([STEP] * 5, 0, {}, "5 of 6 steps"),
        ([{**STEP, "actor/first_ratio_error": 0.2}] + [STEP] * 5, 0, {}, "a first ratio is 0.2 off 1"),
        ([STEP] * 6, 3, {}, "nobody was killed"),
        ([STEP] * 6, 3, {"killed": 7}, "the killed worker was not replaced"),
    ],
)
def test_what_is_not_as_it_must_be_is_said(
    steps: list[dict[str, float]], index: int, seen: dict[str, Any], problem: str
) -> None:
    found = run_of(steps, index, **seen)
    assert not found["ok"] and found["problems"] == [problem]


def test_a_killed_worker_that_was_replaced_is_no_problem() -> None:
    assert RUNS[3].struck and STRUCK < STEPS
    assert run_of([STEP] * 3 + [{**STEP, "perf/worker_restarts": 1.0}] * 3, 3, killed=7)["ok"]


def test_a_run_that_was_ended_says_so() -> None:
    found = judged(RUNS[0], Watched(code=None), [], None, {})
    assert found["problems"] == ["took too long, and was ended", "0 of 6 steps"]


def test_memory_stands_beside_the_plan_and_a_tenth_off_is_a_problem() -> None:
    plan = {LEARNER: {"weights": 80.0, "gradients": 20.0}, WORKER: {"weights": 50.0}}
    peaks = [{"name": LEARNER, "device": 95, "host": 1}, {"name": WORKER, "device": 40, "host": 1}]
    peaks.append({"name": WORKER, "device": 56, "host": 1})  # the one that replaced it
    memory = beside_plan(plan, peaks, together=False)
    assert memory[LEARNER]["peak_of_plan"] == 0.95 and memory[WORKER]["peak_of_plan"] == pytest.approx(1.12)
    found = judged(RUNS[0], Watched(code=0), [STEP] * STEPS, "a" * 64, memory)
    assert found["problems"] == ["rollout worker 0: peak is 1.12 of the plan"]


def test_in_one_process_the_plan_is_of_both() -> None:
    plan = {LEARNER: {"weights": 80.0}, WORKER: {"weights": 50.0}}
    (found,) = beside_plan(plan, [{"name": "the process", "device": None, "host": 1}], together=True).values()
    assert found["planned_sum"] == 130.0 and found["peak"] is None and found["peak_of_plan"] is None


def test_a_process_writes_its_own_peaks(tmp_path: Path) -> None:
    environment = {**os.environ, "PYTHONPATH": str(HOOK), "UNIGRPO_BENCH_MEMORY": str(tmp_path)}
    command = [sys.executable, "-c", "x = bytearray(60_000_000); input()"]
    with subprocess.Popen(command, env=environment, stdin=subprocess.PIPE) as child:
        file, ends = tmp_path / f"{child.pid}.json", time.monotonic() + 60
        while time.monotonic() < ends:
            found = json.loads(file.read_text()) if file.is_file() else {"host": 0, "device": None}
            if found["host"] > 60e6:
                break
            time.sleep(0.1)
        child.kill()
    assert 60e6 < found["host"] < 300e6 and found["device"] is None


def test_a_run_that_never_began_has_no_steps(tmp_path: Path) -> None:
    assert steps_of(tmp_path) == []


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ([], "error: no GPU is visible here; --dry runs a small policy on the CPU"),
        (["--dry", "--out", "none/out.json"], "error: --out none/out.json: no such folder: none; make it first"),
    ],
)
def test_a_mistake_is_one_line(
    arguments: list[str],
    expected: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    assert main(arguments) == 2
    assert capsys.readouterr().err.strip() == expected


@pytest.mark.long
@pytest.mark.timeout(1800)
def test_all_runs_end_with_equal_weights_on_the_cpu(tmp_path: Path) -> None:
    out = tmp_path / "train.json"
    environment = {**os.environ, "CUDA_VISIBLE_DEVICES": "", "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "benchmarks.speed.gpu_train", "--dry", "--out", str(out)]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=1700)
    assert done.returncode == 0, done.stdout + done.stderr
    found = json.loads(out.read_text())
    assert faults("gpu_train", found) == [] and set(found["runs"]) == {run.name for run in RUNS}
    assert found["one_digest"] and found["runs"]["take_turns"]["killed"]
    assert all(run["host_bytes"] for run in found["runs"].values())
