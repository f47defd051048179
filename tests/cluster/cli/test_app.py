"""The command line, as a stranger meets it: whole runs in one process, and every mistake as one line."""

from __future__ import annotations

import json
import math
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from mlflow import MlflowClient
from PIL import Image
from typer.testing import CliRunner, Result

from cluster.cli.app import app
from rl.checkpoints.manifest import damage
from rl.errors import WorkerError
from rl.tracking.metric_meanings import meaning_of
from rl.tracking.mlflow_address import store_uri
from tests.toys import toy_folder

DRAW = ("--task", "draw", "--n", "2")
SEE = ("--task", "understand")
# The toy takes 128 tokens in all, as many as the default writes.
ROOM = "evaluation.understand={max_new_tokens: 16, block_length: 8, steps: 4}"

# Runs every bad command in one fresh process, and says after each whether something heavy was loaded.
SCRIPT = """
import json, sys
from typer.testing import CliRunner
from cluster.cli.app import app

HEAVY = ("ray", "deepspeed", "mlflow", "transformers")
for name, args in json.loads(sys.stdin.read()).items():
    result = CliRunner().invoke(app, args)
    loaded = [module for module in HEAVY if module in sys.modules]
    print(json.dumps([name, {"code": result.exit_code, "out": result.stdout, "err": result.stderr, "loaded": loaded}]))
"""

ROWS = [{"id": str(i), "prompt": f"{i} + 1 =", "answer": str(i + 1)} for i in range(4)]
HELD_OUT = [{"id": f"v{i}", "prompt": f"{i} + 5 =", "answer": str(i + 5)} for i in range(4)]


def write_rows(path: Path, rows: list[dict]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def write_recipe(folder: Path, train: Path, val: Path, **settings) -> Path:
    """YAML that JSON is: a text recipe over two files."""
    recipe = {
        "name": "run",
        "output_dir": str(folder / "runs"),
        "policy": {"path": str(toy_folder())},
        "data": {"train": [{"source": str(train)}], "val": [{"source": str(val)}]},
        "rewards": {"mix": {"text": {"correctness": 2.0, "format": 0.5}}},
        "evaluation": {"mix": {"text": {"correctness": 1.0, "format": 0.0}}},
        **settings,
    }
    path = folder / "recipe.yaml"
    path.write_text(json.dumps(recipe))
    return path


@pytest.fixture(scope="module")
def refusals(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict]:
    folder = tmp_path_factory.mktemp("refusals")
    train = write_rows(folder / "sums.jsonl", ROWS)
    val = write_rows(
        folder / "held_out.jsonl", [{**row, "id": f"v{row['id']}", "prompt": f"v {row['prompt']}"} for row in ROWS]
    )
    empty = write_rows(folder / "empty.jsonl", [])
    bare = write_rows(folder / "bare.jsonl", [ROWS[0], {"id": "b", "prompt": "7 + 1 ="}])
    (folder / "broken.png").write_bytes(b"\\x89PNG\\r\\n\\x1a\\n and then nothing of a picture")
    seen = write_rows(folder / "seen.jsonl", [{"prompt": "what is it?", "answer": "red", "image": "broken.png"}])
    recipe = ["train", "--recipe", str(write_recipe(folder, train, val))]
    cases = {
        "misspelt key": [*recipe, "learner.algoritm.mu=4"],
        "negative group size": [*recipe, "rollout.n_samples_per_prompt=-8"],
        "not a number": [*recipe, "steps=many"],
        "missing model folder": [*recipe, f"policy.path={folder / 'no-model'}"],
        "unknown model": [*recipe, "policy.path=tiney"],
        "empty data file": [*recipe, f"data.train=[{{source: {empty}}}]"],
        "corrupt image": [*recipe, f"data.train=[{{source: {seen}}}]"],
        "row without a reference": [*recipe, f"data.train=[{{source: {bare}}}]"],
        "held-out rows in training": [*recipe, f"data.val=[{{source: {train}}}]"],
        "canvas too long": [*recipe, "rollout.text.max_new_tokens=1024"],
        "no data": [*recipe, "data.train=[]"],
        "unknown generator": [*recipe, "data.train=[{source: sudoku5x5}]"],
        "unknown reward": [*recipe, "rewards.mix.text.corectness=1.0"],
        "unknown reward setting": [*recipe, "rewards.settings.format.weight=1.0"],
        "missing custom reward": [*recipe, f"custom_reward_function.path={folder}/me.py", "rewards.mix.text.custom=1"],
        "task without rewards": [*recipe, "data.train=[{source: scenes, limit: 4}]"],
        "unknown recipe": ["train", "--recipe", "tinny"],
        "resume from nowhere": [*recipe, "resume_mode=path"],
        "eval of a missing model": ["eval", "--recipe", recipe[-1], "policy.path=/no/such/folder"],
        "sft of a missing model": ["sft", "--recipe", recipe[-1], "policy.path=/no/such/folder"],
        "generate with an unknown task": ["generate", "--recipe", recipe[-1], "hello", "--task", "sing"],
        "generate from a corrupt image": [
            "generate", "--recipe", recipe[-1], "hello", "--task", "understand", "--image", str(folder / "broken.png"),
        ],
    }  # fmt: skip
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT], input=json.dumps(cases), capture_output=True, text=True, timeout=120, check=True
    )
    answers = dict(json.loads(line) for line in done.stdout.splitlines())
    assert answers.keys() == cases.keys()
    assert not (folder / "runs").exists(), "a refused run must leave nothing behind"
    return answers


@pytest.mark.parametrize(
    ("case", "told"),
    [
        ("misspelt key", ["learner.algoritm", "did you mean 'learner.algorithm"]),
        ("negative group size", ["rollout.n_samples_per_prompt=-8", "must be"]),
        ("not a number", ["steps", "many"]),
        ("missing model folder", ["policy.path", "no-model", "no such folder"]),
        ("unknown model", ["policy.path", "'tiney'", "tiny"]),
        ("empty data file", ["empty.jsonl", "no rows"]),
        ("corrupt image", ["seen.jsonl: row 1", "image", "broken.png"]),
        ("row without a reference", ["bare.jsonl: row 2", "no reference"]),
        ("held-out rows in training", ["data.val", "is in data.train too"]),
        ("canvas too long", ["rollout.text.max_new_tokens=1024", "128"]),
        ("no data", ["data.train", "at least one source"]),
        ("unknown generator", ["'sudoku5x5'", "sudoku4x4"]),
        ("unknown reward", ["'corectness'", "did you mean 'correctness'"]),
        ("unknown reward setting", ["format", "'weight'"]),
        ("missing custom reward", ["me.py"]),
        ("task without rewards", ["rewards.mix", "draw"]),
        ("unknown recipe", ["'tinny'", "allowed"]),
        ("resume from nowhere", ["resume_path"]),
        ("eval of a missing model", ["policy.path", "/no/such/folder"]),
        ("sft of a missing model", ["policy.path", "/no/such/folder"]),
        ("generate with an unknown task", ["sing", "text, understand, draw"]),
        ("generate from a corrupt image", ["broken.png"]),
    ],
)
def test_a_mistake_is_one_line_and_nothing_is_started(refusals: dict[str, dict], case: str, told: list[str]):
    answer = refusals[case]
    assert answer["code"] == 2, answer
    assert answer["err"].startswith("error: ") and answer["err"].count("\n") == 1, answer["err"]
    for words in told:
        assert words in answer["err"]
    assert answer["out"] == ""
    assert answer["loaded"] == [], "Ray, DeepSpeed, MLflow and transformers wait for the cheap checks"


SMALL = {
    "steps": 2,
    "save_freq": 1,
    "rollout": {
        "batch_size": 2,
        "n_samples_per_prompt": 2,
        "text": {"max_new_tokens": 8, "block_length": 8, "steps": 4},
        "draw": {"steps": 2, "guidance": 0.0},
    },
    "evaluation": {
        "text": {"max_new_tokens": 8, "block_length": 8, "steps": 4},
        "draw": {"steps": 2, "guidance": 0.0},
        "mix": {"text": {"correctness": 1.0, "format": 0.0}, "draw": {"composition": 1.0}},
    },
    "rewards": {"mix": {"text": {"correctness": 2.0, "format": 0.5}, "draw": {"composition": 1.0}}},
    "learner": {"engine": "torch", "algorithm": {"mu": 2}, "threads": 1},
    "sft": {"steps": 2, "batch_size": 4, "threads": 1},
    "cluster": {"mode": "inline"},
    "tracking": {"samples_freq": 1},
}


def unigrpo(*args: str) -> Result:
    return CliRunner().invoke(app, list(args))


def make_run(folder: Path, **settings) -> str:
    """A recipe of two tasks for the toy policy, in one process."""
    rows = [{**row, "solution": f"<think>{row['prompt']}</think>{row['answer']}"} for row in ROWS]
    train = write_rows(folder / "sums.jsonl", rows)
    val = write_rows(folder / "held_out.jsonl", HELD_OUT)
    recipe = SMALL | {
        "data": {
            "train": [{"source": str(train)}, {"source": "scenes", "limit": 4}],
            "val": [{"source": str(val)}, {"source": "scenes", "split": "val", "limit": 2}],
        },
    }
    return str(write_recipe(folder, train, val, **(recipe | settings)))


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Path, Result]:
    folder = tmp_path_factory.mktemp("finished")
    recipe = make_run(folder)
    result = unigrpo("train", "--recipe", recipe)
    assert result.exit_code == 0, result.output
    return recipe, folder / "runs" / "run", result


def read_summary(run_dir: Path) -> dict:
    return json.loads((run_dir / "summary.json").read_text())


def mlflow_run(run_dir: Path):
    client = MlflowClient(store_uri(run_dir))
    return client.get_run(json.loads((run_dir / "mlflow_run.json").read_text())["run_id"])


def test_train_leaves_a_summary_pictures_a_policy_and_a_finished_mlflow_run(finished: tuple[str, Path, Result]):
    _, run_dir, result = finished
    summary = read_summary(run_dir)
    assert summary["tasks"].keys() == {"text", "draw"}
    assert all(isinstance(value, float) for pair in summary["tasks"].values() for value in pair.values())
    assert summary["steps"] == 2 and summary["seconds"] > 0 and len(summary["weights_digest"]) == 64
    for name in ("curves.png", "drawings.png", "metrics.jsonl", "log", "config.yaml", "policy/model.safetensors"):
        assert (run_dir / name).is_file(), name
    logged = {name for line in (run_dir / "metrics.jsonl").read_text().splitlines() for name in json.loads(line)}
    assert [name for name in logged - {"step", "time"} if meaning_of(name) is None] == []
    assert "mlflow ui --backend-store-uri sqlite:///" in result.stdout
    assert "draw (composition)" in result.stdout and "step 2/2" in result.stdout
    assert {"first_ratio", "skipped_updates", "wide_interval"} <= set(summary["health"]["checked"])
    sick = sorted(name for name, one in summary["health"]["sick"].items() if one["at_end"])
    run = mlflow_run(run_dir)
    assert run.info.status == "FINISHED"
    assert run.data.tags["health"] == (f"sick: {', '.join(sick)}" if sick else "healthy")
    assert run.data.metrics["health/wide_interval"] == float("wide_interval" in sick)
    assert run.data.params["learner.algorithm.mu"] == "2"
    assert {"val/text/score", "val/draw/composition", "actor/kl_loss", "critic/rewards/mean"} <= run.data.metrics.keys()


def test_what_is_trained_is_said_before_it_starts_and_kept(finished: tuple[str, Path, Result]):
    _, run_dir, result = finished
    lines = (run_dir / "objective.txt").read_text().splitlines()
    assert lines[:2] == ["text: 2 x correctness + 0.5 x format, at most 2.5", "draw: 1 x composition, at most 1"]
    assert lines[2].startswith("loss: unigrpo, estimator masked") and len(lines) == 3
    shown = " ".join(result.stdout.split())  # a narrow screen folds a line
    places = [shown.index(line) for line in lines]
    assert places == sorted(places) and places[-1] < shown.index("step 1/")
    log = (run_dir / "log").read_text()
    assert all(line in log for line in lines)


def test_a_finished_run_says_so_and_changes_nothing(finished: tuple[str, Path, Result]):
    recipe, run_dir, _ = finished
    before = {path: path.stat().st_mtime_ns for path in run_dir.rglob("*")}
    result = unigrpo("train", "--recipe", recipe)
    assert result.exit_code == 0
    assert "finished its 2 steps before" in result.stdout and "name=NAME" in result.stdout
    assert {path: path.stat().st_mtime_ns for path in run_dir.rglob("*")} == before


def test_eval_of_the_trained_policy_gives_the_scores_that_training_ended_with(finished: tuple[str, Path, Result]):
    recipe, run_dir, _ = finished
    result = unigrpo("eval", "--recipe", recipe, f"policy.path={run_dir / 'policy'}")
    assert result.exit_code == 0, result.output
    trained, evaluated = read_summary(run_dir), read_summary(run_dir.with_name("run-eval"))
    assert evaluated["weights_digest"] == trained["weights_digest"]
    for task, pair in evaluated["tasks"].items():
        assert pair["before"] == pair["after"] == trained["tasks"][task]["after"]
    assert "same number" in evaluated["note"]


def test_eval_does_not_write_over_a_training_run(finished: tuple[str, Path, Result]):
    recipe, run_dir, _ = finished
    result = unigrpo("eval", "--recipe", recipe, "name=run")
    assert result.exit_code == 2 and "holds a run of `unigrpo train`" in result.stderr
    assert read_summary(run_dir)["command"] == "train"


def test_a_finished_run_can_go_on_in_the_same_mlflow_run(tmp_path: Path):
    recipe = make_run(tmp_path)
    run_dir = tmp_path / "runs" / "run"
    assert unigrpo("train", "--recipe", recipe, "steps=1").exit_code == 0
    first, summary = mlflow_run(run_dir), read_summary(run_dir)
    assert unigrpo("train", "--recipe", recipe).exit_code == 0
    assert mlflow_run(run_dir).info.run_id == first.info.run_id
    steps = MlflowClient(store_uri(run_dir)).get_metric_history(first.info.run_id, "critic/rewards/mean")
    assert [point.step for point in steps] == [1, 2]
    later = read_summary(run_dir)
    assert later["steps"] == 2
    assert {task: pair["before"] for task, pair in later["tasks"].items()} == {
        task: pair["before"] for task, pair in summary["tasks"].items()
    }


@pytest.mark.long
def test_ctrl_c_is_exit_130_a_killed_run_and_a_whole_checkpoint(tmp_path: Path):
    quick = {"samples_freq": 100_000}  # MLflow takes longer over a table than a step takes
    recipe = make_run(tmp_path, steps=100_000, val_before_train=False, tracking=quick)
    run_dir = tmp_path / "runs" / "run"
    command = [sys.executable, "-m", "cluster.cli", "train", "--recipe", recipe]
    # What a shell starts in its background ignores Ctrl-C, and so would all its children: this one is a foreground job.
    process = subprocess.Popen(
        command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )  # fmt: skip
    try:
        deadline = time.monotonic() + 100
        while not list(run_dir.glob("checkpoints/global_step_2/manifest.json")) and time.monotonic() < deadline:
            assert process.poll() is None, process.communicate()[1]
            time.sleep(0.1)
        process.send_signal(signal.SIGINT)
        _, told = process.communicate(timeout=90)
    finally:
        process.kill()
    assert process.returncode == 130, told
    assert "interrupted" in told and "Traceback" not in told
    assert mlflow_run(run_dir).info.status == "KILLED"
    kept = list((run_dir / "checkpoints").glob("global_step_*"))
    assert kept and not any(damage(folder) for folder in kept)
    assert not (run_dir / "summary.json").exists()


def test_a_bug_is_exit_1_with_its_traceback_in_the_log(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    def broken(*args, **kwargs):
        raise ZeroDivisionError("a bug of ours")

    monkeypatch.setattr("rl.loop.train", broken)
    result = unigrpo("train", "--recipe", make_run(tmp_path))
    run_dir = tmp_path / "runs" / "run"
    assert result.exit_code == 1
    assert result.stderr.count("\n") == 1 and "ZeroDivisionError: a bug of ours" in result.stderr
    assert "Traceback" in (run_dir / "log").read_text()
    assert mlflow_run(run_dir).info.status == "FAILED"


def test_an_error_of_ours_in_the_middle_of_a_run_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    def lost(*args, **kwargs):
        raise WorkerError("learner rank 0 died")

    monkeypatch.setattr("rl.loop.train", lost)
    result = unigrpo("train", "--recipe", make_run(tmp_path), "tracking.mlflow=false")
    assert (result.exit_code, result.stderr) == (2, "error: learner rank 0 died\n")
    assert "Traceback" in (tmp_path / "runs" / "run" / "log").read_text()


def test_sft_trains_evaluates_and_leaves_a_policy_that_eval_and_generate_take(tmp_path: Path):
    recipe = make_run(tmp_path, tracking={"mlflow": False})
    data = f"data.train=[{{source: {tmp_path / 'sums.jsonl'}}}]"
    result = unigrpo("sft", "--recipe", recipe, data, "sft.warmup_steps=0", "sft.lr_decay_steps=4")
    assert result.exit_code == 0, result.output
    run_dir = tmp_path / "runs" / "run"
    rates = [json.loads(line).get("actor/lr") for line in (run_dir / "metrics.jsonl").read_text().splitlines()]
    second_of_four = 1e-3 * 0.5 * (1 + math.cos(math.pi / 4))  # the leg ends where another one may go on
    assert [rate for rate in rates if rate is not None][-1] == pytest.approx(second_of_four)
    summary = read_summary(run_dir)
    assert summary["tasks"].keys() == {"text", "draw"} and summary["steps"] == 2
    assert "text loss" in result.stdout and (run_dir / "curves.png").is_file()
    policy = f"policy.path={run_dir / 'policy'}"
    assert unigrpo("generate", "1 + 1 =", policy, "--recipe", recipe).exit_code == 0
    drawn = unigrpo("generate", "a red circle", policy, "--recipe", recipe, *DRAW, "--out", str(tmp_path / "a.png"))
    assert drawn.stdout.splitlines() == [str(tmp_path / "a-0.png"), str(tmp_path / "a-1.png")], drawn.output
    with Image.open(tmp_path / "a-1.png") as picture:
        assert picture.size == (32, 32)
    seen = unigrpo("generate", "what?", policy, ROOM, "--recipe", recipe, *SEE, "--image", str(tmp_path / "a-1.png"))
    assert seen.exit_code == 0, seen.output


def test_sft_needs_worked_answers(tmp_path: Path):
    recipe = make_run(tmp_path)
    write_rows(tmp_path / "sums.jsonl", ROWS)
    result = unigrpo("sft", "--recipe", recipe)
    assert result.exit_code == 2 and "worked answer" in result.stderr


@pytest.mark.long
def test_doctor_names_what_is_installed_and_what_is_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    healthy = unigrpo("doctor", f"output_dir={tmp_path}")
    names = ("Python", "torch", "ray", "deepspeed", "cores", "memory", "GPU", "C++ compiler", "Ray's token", "MLflow")
    for name in names:
        assert re.search(rf"^(ok|RED|skipped) +{re.escape(name)} ", healthy.stdout, re.MULTILINE), healthy.output
    assert re.search(r"^ok +Ray +a Ray of its own: ready in .*, 1 nodes", healthy.stdout, re.MULTILINE), healthy.output
    monkeypatch.setenv("PATH", "")
    sick = unigrpo("doctor", f"output_dir={tmp_path}", "tracking.uri=http://127.0.0.1:1", "cluster.address=127.0.0.1:1")
    assert sick.exit_code == 2
    for name, remedy in (
        ("C\\+\\+ compiler", "build tools"),
        ("MLflow", "tracking.uri"),
        ("Ray", "Ray head"),
        ("Ray's token", "RAY_AUTH"),
    ):
        assert re.search(rf"^RED +{name} .*{remedy}", sick.stdout, re.MULTILINE), sick.output
