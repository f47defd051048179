"""What the stretches write stays whole: each schema takes an artefact as the code makes it, and none with a part less."""

from __future__ import annotations

import copy
import json
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from benchmarks.bench.loop import row
from benchmarks.faults.soak_samples import Sample, judged
from benchmarks.speed.gpu.card import machine
from benchmarks.speed.gpu.found import Found, Memory
from benchmarks.speed.gpu.predicted import Prediction
from benchmarks.speed.gpu.table import compared
from benchmarks.speed.gpu_train.__main__ import judged as judged_run
from benchmarks.speed.gpu_train.planned import beside_plan
from benchmarks.speed.gpu_train.runs import RUNS, STEPS
from benchmarks.speed.gpu_train.watched import Watched
from tests.benchmarks.artefacts import SCHEMAS, faults


def gpu() -> dict[str, Any]:
    found = Found({"pass": 2.0}, {"x": 1}, {"sampling": Memory({"weights": 10.0}, 9)}, {"flash": "why"}).as_json()
    ok = {"status": "ok", "seconds": 1.0, **found, "compared": compared(found["measured"], {"pass": Prediction(1, 2)})}
    return {
        "bench": "gpu", "format": 1, "dry": True, "began": "2026-11-28T00:00:00+00:00", "machine": machine("cpu"),
        "predicted_for": "h100", "work": {}, "seconds": 3.0,
        "rows": {"forward": ok, "lost": {"status": "crashed", "seconds": 1.0, "reason": "code -6"}},
    }  # fmt: skip


def gpu_train() -> dict[str, Any]:
    steps = [
        {"step": n, "timing_s/step": 1.0, "actor/first_ratio_error": 0.01, "timing_s/gen": 0.5} for n in range(STEPS)
    ]
    seen = Watched(code=0, seconds=9.0, peaks=[{"name": "learner rank 0", "host": 5, "device": 105}])
    memory = beside_plan({"learner rank 0": {"weights": 100.0}}, seen.peaks, together=False)
    runs = {
        "inline": judged_run(RUNS[0], seen, steps, "a" * 64, memory),
        "ipc": judged_run(RUNS[2], Watched(code=1, seconds=2.0), [], None, {}),
    }
    return {
        "bench": "gpu_train", "format": 1, "dry": True, "machine": machine("cpu"), "steps": STEPS, "ratio_tolerance": 0.05,
        "memory_tolerance": 0.1, "runs": runs, "seconds": 11.0, "one_digest": True,
    }  # fmt: skip


def bench() -> dict[str, Any]:
    about = {
        "cores": 2,
        "one_core": 1e9,
        "all_cores": 2e9,
        "processor": "p",
        "capability": "c",
        "python": "3",
        "torch": "2",
    }
    rows = [row("whole loop, ours", 1.5, "s a step", 0.5, 1 / 3), row("forward", 40.0, "GFLOP/s", 60.0, 0.7, 1.1)]
    return {
        "bench": "all", "format": 1, "machine": about, "rows": rows, "parts": {"loop": {"seconds": 1.0}}, "seconds": 1.0
    }  # fmt: skip


def soak() -> dict[str, Any]:
    kinds = {"python": {"pss": 1e8, "files": 9.0, "sockets": 2.0, "threads": 4.0, "processes": 1.0}}
    samples = [Sample(0, float(step), step, kinds, 3) for step in range(40)]
    return {**judged(samples, [1.0] * 40, 10, [], 0), "code": 0}


MADE = {"gpu": gpu, "gpu_train": gpu_train, "bench": bench, "soak": soak}


def test_every_schema_is_one_and_has_an_artefact() -> None:
    files = {file.stem: json.loads(file.read_text()) for file in SCHEMAS.glob("*.json")}
    assert set(files) == set(MADE)
    for schema in files.values():
        Draft202012Validator.check_schema(schema)


@pytest.mark.parametrize("name", MADE)
def test_an_artefact_is_whole(name: str) -> None:
    made = json.loads(json.dumps(MADE[name]()))
    assert faults(name, made) == []


@pytest.mark.parametrize("name", MADE)
def test_an_artefact_without_one_of_its_parts_is_not(name: str) -> None:
    made = json.loads(json.dumps(MADE[name]()))
    for missing in made:
        assert faults(name, {key: value for key, value in made.items() if key != missing}), missing


@pytest.mark.parametrize(
    ("name", "path", "value"),
    [
        ("gpu", ("rows", "forward", "measured", "pass"), -1.0),
        ("gpu", ("rows", "forward", "status"), "fine"),
        ("gpu", ("rows", "lost", "reason"), ""),
        ("gpu", ("rows", "forward", "compared", "pass"), {"floor": 1.0}),
        ("gpu", ("rows", "forward", "memory", "sampling", "planned"), {}),
        ("gpu_train", ("runs", "inline", "step_s"), [1.0] * 5),
        ("gpu_train", ("runs", "inline", "weights_digest"), None),
        ("gpu_train", ("runs", "ipc", "problems"), []),
        ("gpu_train", ("runs", "nccl"), {}),
        ("bench", ("rows",), [{"name": "x"}]),
        ("bench", ("parts", "other"), {"seconds": 1.0}),
        ("soak", ("problems",), ["it grew"]),
        ("soak", ("growths",), [{"kind": "python"}]),
    ],
)
def test_a_wrong_value_is_found(name: str, path: tuple[str, ...], value: Any) -> None:
    made = copy.deepcopy(MADE[name]())
    *parents, last = path
    place = made
    for key in parents:
        place = place[key]
    place[last] = value
    assert faults(name, json.loads(json.dumps(made)))
