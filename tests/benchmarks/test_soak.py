"""The long run's samples: what grew, what was left behind, and a short run as its rehearsal."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

import psutil
import pytest

from benchmarks.faults.soak import _alive, kinds_of, main, read_samples, steps_of
from benchmarks.faults.soak_samples import Sample, drift, judged, plot, table
from benchmarks.processes import held, name_of, tree
from tests.benchmarks.artefacts import faults

ROOT = Path(__file__).parents[2]
FLAT = {"pss": 1e8, "files": 30.0, "sockets": 5.0, "threads": 9.0, "processes": 1.0}


def samples(change: Callable[[int], dict[str, float]], count: int = 200, start: int = 0) -> list[Sample]:
    return [Sample(start, float(n), n, {"worker": {**FLAT, **change(n)}}, 4) for n in range(count)]


def of(found: list[Sample], steps: int = 200) -> list[str]:
    return judged(found, [1.0] * steps, 100, [], 0)["problems"]


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        (lambda n: {}, None),
        (lambda n: {"pss": 1e8 + 1e6 * min(n, 90)}, None),  # it grows while it warms up
        (lambda n: {"pss": 1e8 * (1 + n / 4000)}, None),  # 2% in a hundred steps
        (lambda n: {"pss": 1e8 * (1 + n / 1000)}, "worker: pss"),
        (lambda n: {"files": 30.0 + n % 3}, None),
        (lambda n: {"files": 30.0 + n / 10}, "worker: files"),
        (lambda n: {"sockets": 5.0 + n / 10}, "worker: sockets"),
        (lambda n: {"threads": 9.0 + n // 20}, "worker: threads"),
        (lambda n: {"processes": 1.0 + n // 25}, "worker: processes"),
    ],
)
def test_what_grows_after_the_warm_up_is_found(change: Callable[[int], dict[str, float]], problem: str | None) -> None:
    said = of(samples(change))
    assert [line.rpartition(" ")[0].startswith(problem or "-") for line in said] == ([True] if problem else [])


def test_a_run_that_was_started_again_is_judged_by_each_start() -> None:
    smaller = samples(lambda n: {"pss": 5e7}, start=1)
    assert of(samples(lambda n: {"pss": 2e8}) + smaller) == []
    assert of(samples(lambda n: {}) + samples(lambda n: {"pss": 1e8 + 1e6 * n}, start=1))


def test_what_is_left_behind_is_a_problem() -> None:
    found = judged(samples(lambda n: {}), [1.0] * 200, 100, ["ray::RankActor"], 2)
    assert found["problems"] == ["left behind: ray::RankActor", "left behind: 2 files in /dev/shm"] and not found["ok"]
    assert "ray::RankActor" in table(found)


def test_a_step_that_grows_slower_is_found_by_its_median() -> None:
    assert drift([1.0] * 100 + [9.0] + [1.0] * 99, 50) == pytest.approx(0.0)
    slower = [1.0 + n / 400 for n in range(200)]
    assert judged(samples(lambda n: {}), slower, 100, [], 0)["problems"] == ["a step takes 13% longer at the end"]
    assert drift([1.0] * 12, 10) is None


def test_a_rehearsal_says_that_it_is_too_short() -> None:
    found = judged(samples(lambda n: {}, count=4), [1.0] * 4, 1, [], 0)
    assert found["ok"] and not found["enough"] and "too few" in table(found)


def test_a_picture_has_every_kind(tmp_path: Path) -> None:
    plot(samples(lambda n: {}), [1.0] * 200, tmp_path / "soak.png")
    assert (tmp_path / "soak.png").stat().st_size > 10_000


def test_samples_are_read_back_but_for_a_line_that_was_cut_off(tmp_path: Path) -> None:
    made, file = samples(lambda n: {}, count=3), tmp_path / "samples.jsonl"
    lines = "".join(json.dumps(asdict(each)) + "\n" for each in made)
    file.write_text(lines + lines[:40])
    assert read_samples(file) == made and read_samples(tmp_path / "none") == []


def test_a_step_that_was_made_twice_counts_once(tmp_path: Path) -> None:
    lines = [
        {"step": 1, "timing_s/step": 1.0},
        {"step": 2, "timing_s/step": 2.0},
        {"step": 2, "timing_s/step": 3.0},
        {"step": 2},
    ]
    (tmp_path / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    assert steps_of(tmp_path) == [1.0, 3.0]


def test_a_process_is_looked_at_from_outside() -> None:
    before = held(psutil.Process())
    with socket.socket() as one, socket.socket() as other, Path(__file__).open():
        after = held(psutil.Process())
        assert one.fileno() != other.fileno()
    assert before is not None and after is not None
    assert (after.sockets - before.sockets, after.files - before.files) == (2, 3)
    assert 1e6 < after.pss <= 1.01 * after.rss and after.pid == os.getpid()


def test_its_children_are_found_and_known_after_their_end() -> None:
    command = [sys.executable, "-c", "import time; print(flush=True); time.sleep(30)"]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as child:
        assert child.stdout is not None and child.stdout.readline()
        assert child.pid in {each.pid for each in tree(os.getpid())}
        began = psutil.Process(child.pid).create_time()
        assert _alive(child.pid, began) is not None and _alive(child.pid, began - 1) is None
        child.kill()
    assert _alive(child.pid, began) is None and tree(child.pid) == []


@pytest.mark.parametrize(
    ("command", "name"),
    [
        (["ray::RolloutActor.rollout"], "ray::RolloutActor"),
        (["ray::IDLE"], "ray::IDLE"),
        (["/usr/bin/python3", "-u", "-m", "cluster.cli", "train"], "python -m cluster.cli"),
        (["/x/python", "/y/monitor.py", "--logs"], "python monitor.py"),
        (["/x/python", "-c", "pass"], "python"),
        (["/ray/gcs_server", "--port=0"], "gcs_server"),
        ([], "gone"),
    ],
)
def test_a_process_has_a_short_name(command: list[str], name: str) -> None:
    assert name_of(command) == name


def test_sums_are_by_name() -> None:
    own = held(psutil.Process())
    assert own is not None
    kinds = kinds_of([own, own])
    assert kinds[own.name]["pss"] == 2 * own.pss and kinds[own.name]["processes"] == 2


def test_too_few_steps_are_one_line(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert main(["--steps", "2", "--out", str(tmp_path / "none")]) == 2
    assert capsys.readouterr().err == "error: --steps 2: at least 3\n" and not list(tmp_path.iterdir())


@pytest.mark.long
@pytest.mark.timeout(1200)
def test_a_short_run_ends_and_goes_on_after_it_was_ended(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "benchmarks.faults.soak", "--steps", "30", "--out", str(tmp_path), "--every", "1"]
    small = ["rollout.batch_size=3", "rollout.n_samples_by_task={understand: 8, draw: 8}", "learner.threads=1"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "MPLBACKEND": "Agg"}
    with subprocess.Popen([*command, *small], cwd=ROOT, env=environment) as first:
        ends = time.monotonic() + 500
        while len(steps_of(tmp_path / "run")) < 6 and time.monotonic() < ends:
            time.sleep(0.5)
        first.terminate()
    assert first.returncode == 130
    done = subprocess.run([*command, *small], cwd=ROOT, env=environment, capture_output=True, text=True, timeout=600)
    found = json.loads((tmp_path / "soak.json").read_text())
    assert faults("soak", found) == [] and found["code"] == 0 and found["steps"] == 30, done.stdout + done.stderr
    assert {each.start for each in read_samples(tmp_path / "samples.jsonl")} == {0, 1}
    assert not [line for line in found["problems"] if "ray::" in line and line.startswith("left")]
    assert (tmp_path / "soak.png").is_file() and "ray::RankActor" in (tmp_path / "soak.md").read_text()
