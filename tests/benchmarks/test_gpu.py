"""The stretch for one GPU: what is predicted, rows that are lost alone, and every row with small shapes on the CPU."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from benchmarks.speed.gpu.__main__ import main
from benchmarks.speed.gpu.predicted import BACK_ENDS, SAMPLED, UPDATED, WHOLE, Expected, Prediction, predictions
from benchmarks.speed.gpu.supervised import measure
from benchmarks.speed.gpu.table import compared, prediction_table, result_table
from benchmarks.speed.gpu.work import DRY, WORK
from cluster.plan.seconds import DEVICES

ROOT = Path(__file__).parents[2]
H100 = DEVICES["h100"]


@dataclass(frozen=True)
class Row:
    most_s: float = 30.0


def supervised(folder: Path, *names: str, seconds: float = 60.0, most_s: float = 30.0) -> dict[str, dict[str, Any]]:
    found: dict[str, dict[str, Any]] = {}
    rows = {name: Row(most_s) for name in names}
    measure(rows, names, "none", folder, seconds, False, found.__setitem__, "tests.benchmarks.gpu_child")
    return found


def test_a_row_that_is_lost_takes_no_other_with_it(tmp_path: Path) -> None:
    found = supervised(tmp_path, "one", "crash", "two", "hang", "three", "spoils", "four", most_s=1.0)
    said = {name: row["status"] for name, row in found.items()}
    assert said == {
        "one": "ok", "crash": "crashed", "two": "ok", "hang": "timeout", "three": "ok", "spoils": "ok", "four": "ok",
    }  # fmt: skip
    assert len({row["pid"] for row in found.values() if "pid" in row}) == 4
    assert "code -6" in found["crash"]["reason"]


def test_a_process_that_never_measures_is_not_started_for_ever(tmp_path: Path) -> None:
    found: dict[str, dict[str, Any]] = {}
    rows = {name: Row() for name in ("one", "two")}
    measure(rows, list(rows), "none", tmp_path, 60, False, found.__setitem__, "tests.benchmarks.no_such_module")
    assert {row["status"] for row in found.values()} == {"crashed"} and len(found) == 2


def test_the_floor_of_a_pass_is_its_arithmetic_or_its_weights() -> None:
    """By hand: 8 x 512 tokens through 32 layers of 4 x 4096^2 + 3 x 4096 x 12288 weights, attention, and 32 rows of logits."""
    found = predictions(WORK, H100, "bfloat16")["forward 8b"]
    weights = 32 * (4 * 4096**2 + 3 * 4096 * 12288 + 2 * 4096)
    flops = 512 * (2 * weights + 4 * 512 * 4096 * 32) + 32 * 2 * 134656 * 4096
    assert found["8 x 512"].floor == pytest.approx(8 * flops / 989e12, rel=1e-3)
    read = 2 * (weights + 2 * 134656 * 4096 + 4096) / 3.35e12
    assert found["1 x 512"].floor == pytest.approx(max(flops / 989e12, read), rel=1e-3)


def test_the_published_step_is_predicted_under_half_of_its_seconds() -> None:
    found = predictions(WORK, H100, "bfloat16")["LoRA 8b"]
    assert found[WHOLE].expected == pytest.approx(found[SAMPLED].expected + found[UPDATED].expected)
    assert found[WHOLE].expected < WORK.published.seconds / 2


@pytest.mark.parametrize("card", sorted(DEVICES))
@pytest.mark.parametrize("work", [WORK, DRY, replace(WORK, kernel=((1, 7),), batches=((3, 33),))])
def test_nothing_is_expected_above_its_floor(card: str, work: Any) -> None:
    for row, results in predictions(work, DEVICES[card], "bfloat16").items():
        for each in results.values():
            worse = each.expected < each.floor if row == "rates" else each.expected > each.floor
            assert each.floor > 0 and worse, (row, each)


def test_a_slower_start_of_kernels_makes_graphs_pay() -> None:
    slow = predictions(WORK, H100, "bfloat16", Expected(launch_s=1e-4))["graphs 1b"]
    assert slow["1 x 512, plain"].expected > 5 * slow["1 x 512, graph"].expected


def test_a_result_stands_beside_its_prediction() -> None:
    predicted = {"flops": Prediction(200.0, 100.0), "pass": Prediction(2.0, 4.0), "lost": Prediction(1.0, 2.0)}
    found = compared({"flops": 150.0, "pass": 8.0, "more": 1.0}, predicted)
    assert (found["flops"]["of_floor"], found["pass"]["of_floor"], found["lost"]["of_floor"]) == (0.75, 0.25, None)
    rows = {
        "row": {"status": "ok", "compared": found, "memory": {}, "failed": {}},
        "other": {"status": "crashed", "reason": "why"},
    }
    said = result_table(rows)
    assert "| row | pass | 2 s | 4 s | 8 s | 25% |" in said and "| other | crashed: why |" in said


def test_the_page_has_the_predictions_as_the_command_prints_them(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--predict"]) == 0
    said = capsys.readouterr().out.strip()
    assert said == prediction_table(predictions(WORK, H100, "bfloat16"))
    assert said in (ROOT / "docs" / "gpu.md").read_text()


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["--out", "gpu.json"], "error: no GPU is visible here; --dry runs small shapes on the CPU"),
        (["--dry", "--out", "none/gpu.json"], "error: --out none/gpu.json: no such folder: none; make it first"),
        (["--dry", "--only", "kernels"], "error: --only kernels: no such row; allowed: rates, row kernel"),
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
    said = capsys.readouterr().err
    assert said.startswith(expected) and len(said.splitlines()) == 1 and not list(tmp_path.iterdir())


@pytest.mark.long
@pytest.mark.timeout(900)
def test_every_row_runs_with_small_shapes(tmp_path: Path) -> None:
    pytest.importorskip("triton")  # has no wheels but for Linux on x86-64
    out = tmp_path / "gpu.json"
    command = [sys.executable, "-m", "benchmarks.speed.gpu", "--dry", "--out", str(out), "--minutes", "12"]
    environment = {**os.environ, "CUDA_VISIBLE_DEVICES": "", "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=840)
    assert done.returncode == 0, done.stdout + done.stderr
    rows = json.loads(out.read_text())["rows"]
    predicted = predictions(DRY, H100, "float32")
    assert set(predicted) <= set(rows) and {row["status"] for row in rows.values()} == {"ok"}
    for name, results in predicted.items():
        lost = {each for each in results if rows[name]["measured"].get(each) is None}
        not_here = {each for each in results if each.endswith(("efficient", "cudnn"))}  # back-ends of GPUs
        assert lost <= not_here and lost <= set(rows[name]["failed"]), name
    assert all(f", {back_end}" in out.with_suffix(".md").read_text() for back_end in BACK_ENDS)
    assert all(case["same_tokens"] == 1 for case in rows["row kernel"]["more"].values())
    assert rows["graphs 1b"]["more"]["same_rollouts"] == rows["graphs 8b"]["more"]["same_rollouts"] == 1
    assert rows["graphs 1b"]["more"]["graphs"] == len(DRY.batches)
    assert len(rows["profile"]["more"]["tables"]) == 3
    assert rows["LoRA 8b"]["memory"]["updates"]["planned_sum"] > 0
