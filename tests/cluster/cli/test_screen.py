"""What a person sees: help, versions, one evaluation, an interrupted run, a log that holds what the screen showed."""

from __future__ import annotations

import json
import signal
import socket
import subprocess
import sys
import time
from importlib.metadata import version
from pathlib import Path

import pytest
from typer.testing import CliRunner

from cluster import console
from cluster.cli.app import app
from cluster.run.folder import way_on
from rl.checkpoints.manifest import MANIFEST
from rl.config import Config, load_config
from tests.cluster.cli.test_app import make_run, unigrpo
from tests.wide import wide

QUIET = ("tracking.mlflow=false", "val_before_train=false", "val_after_train=false")


def test_version_and_help_have_short_names() -> None:
    assert unigrpo("--version").stdout == f"unigrpo {version('unigrpo')}\n"
    for words in ([], ["train"], ["eval"], ["generate"], ["jobs", "list"], ["rewards", "check"]):
        short, long = unigrpo(*words, "-h"), unigrpo(*words, "--help")
        assert short.exit_code == long.exit_code == 0
        assert short.stdout == long.stdout and "Usage" in short.stdout


def test_a_shell_can_complete_its_words() -> None:
    told = unigrpo("--help").stdout
    assert "--install-completion" in told and "--show-completion" in told


@pytest.mark.parametrize("command", ["train", "sft", "eval"])
def test_help_says_where_settings_are_and_settings_prints_them(tmp_path: Path, command: str) -> None:
    told = " ".join(CliRunner().invoke(app, [command, "--help"], env={"COLUMNS": "200"}).stdout.split())
    assert "--settings" in told and "unigrpo config" in told and "steps=500" in told
    result = unigrpo(command, "--settings", "steps=7", "rollout.batch_size=3")
    assert result.exit_code == 0
    path = tmp_path / "all.yaml"
    path.write_text(result.stdout)
    config = load_config(path)
    assert (config.steps, config.rollout.batch_size) == (7, 3)
    root = Path(__file__).parents[3]
    assert all((root / name).is_file() for name in ("docs/learner.md", "docs/sampling.md", "docs/rewards.md"))


@pytest.fixture(scope="module")
def evaluated(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Path]:
    folder = tmp_path_factory.mktemp("evaluated")
    result = unigrpo("eval", "--recipe", make_run(folder), "tracking.mlflow=false")
    assert result.exit_code == 0, result.output
    return result.stdout, folder / "runs" / "run-eval"


def test_one_evaluation_is_one_column_and_every_row_is_kept(evaluated: tuple[str, Path]) -> None:
    shown, run_dir = evaluated
    assert "95% interval" in shown and "before" not in shown.replace("evaluating before", "")
    assert str(run_dir / "rows.jsonl") in shown.splitlines()
    rows = [json.loads(line) for line in (run_dir / "rows.jsonl").read_text().splitlines()]
    assert len(rows) == 6  # all four sums, and both scenes
    assert [row["task"] for row in rows] == ["text"] * 4 + ["draw"] * 2
    assert all((run_dir / row["image"]).is_file() for row in rows[4:])
    summary = json.loads((run_dir / "summary.json").read_text())
    assert summary["intervals"]["val/text/score"]["n"] == 4


def test_the_log_has_every_line_of_the_screen(evaluated: tuple[str, Path]) -> None:
    shown, run_dir = evaluated
    log = (run_dir / "log").read_text()
    for line in filter(str.strip, shown.splitlines()):
        assert line.strip("│┃ ").split("│")[0].strip() in log, line


def test_a_short_run_leaves_samples_and_a_log_of_its_steps(tmp_path: Path) -> None:
    result = unigrpo("train", "--recipe", make_run(tmp_path, steps=3, tracking={"samples_freq": 10}), *QUIET)
    assert result.exit_code == 0, result.output
    run_dir = tmp_path / "runs" / "run"
    assert [path.name for path in (run_dir / "samples").iterdir()] == ["train-000003"]
    log = (run_dir / "log").read_text()
    for line in result.stdout.splitlines():
        assert line.strip() in log, line
    assert log.count("step 3/3") == 1


def interrupt(recipe: str, run_dir: Path, *settings: str, command: str = "train", until: str = "step 2/") -> str:
    """Ctrl-C once the log of a run in a terminal's foreground has some words; what it says on stderr."""
    process = subprocess.Popen(
        [sys.executable, "-m", "cluster.cli", command, "--recipe", recipe, *settings],
        stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )  # fmt: skip
    try:
        deadline = time.monotonic() + 200
        while not (log := run_dir / "log").is_file() or until not in log.read_text():
            assert process.poll() is None, process.communicate()[1]
            assert time.monotonic() < deadline
            time.sleep(0.05)
        process.send_signal(signal.SIGINT)
        _, told = process.communicate(timeout=120)
    finally:
        process.kill()
    assert process.returncode == 130 and "Traceback" not in told, told
    return told


@pytest.mark.parametrize("command", wide(["train", "sft"], 2))
def test_ctrl_c_saves_and_says_from_where_the_run_goes_on(tmp_path: Path, command: str) -> None:
    recipe = make_run(tmp_path, steps=100_000, save_freq=0, sft={"steps": 100_000, "batch_size": 4})
    run_dir, texts = tmp_path / "runs" / "run", f"data.train=[{{source: {tmp_path / 'sums.jsonl'}}}]"
    told = interrupt(recipe, run_dir, texts, *QUIET, command=command)
    (saved,) = (run_dir / "checkpoints").glob("global_step_*")
    lines = told.splitlines()
    assert lines[0].startswith("warning: Ctrl-C: the step is abandoned or finished, and saved")
    assert lines[1:] == [f"interrupted; the same command goes on from step {saved.name[12:]}"]
    assert lines[1] in (run_dir / "log").read_text()


def test_an_evaluation_that_is_interrupted_promises_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def stop(*args, **kwargs):
        raise KeyboardInterrupt

    monkeypatch.setattr("cluster.run.session.session", stop)
    for command, said in (
        ("eval", "interrupted\n"),
        ("train", "interrupted; no checkpoint was saved: the same command starts over\n"),
    ):
        result = unigrpo(command, "--recipe", make_run(tmp_path), *QUIET)
        assert (result.exit_code, result.stderr) == (console.INTERRUPTED, said)


@pytest.mark.parametrize(
    ("steps", "mode", "said"),
    [
        ((), "auto", "no checkpoint was saved: the same command starts over"),
        ((3, 20), "auto", "the same command goes on from step 20"),
        ((3,), "disable", "step 3 is saved: the same command with resume_mode=auto goes on from it"),
        ((3,), "path", "step 3 is saved: the same command with resume_mode=auto goes on from it"),
        ((), "disable", "no checkpoint was saved: the same command starts over"),
    ],
)
def test_what_is_promised_is_there(tmp_path: Path, steps: tuple[int, ...], mode: str, said: str) -> None:
    config = Config(output_dir=str(tmp_path), resume_mode=mode)
    for step in steps:
        folder = config.run_dir / "checkpoints" / f"global_step_{step}"
        folder.mkdir(parents=True)
        (folder / MANIFEST).touch()
    (config.run_dir / "checkpoints" / "global_step_99").mkdir(parents=True)  # half removed: no manifest
    assert way_on(config) == said


@pytest.mark.parametrize("uri", ["localhost:5999", "htp://x", "mlruns", "sqlite://", "refused"])
def test_an_address_of_mlflow_that_leads_nowhere_is_one_line(tmp_path: Path, uri: str) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # bound and never listening
        uri = f"http://127.0.0.1:{taken.getsockname()[1]}" if uri == "refused" else uri
        result = unigrpo("train", "--recipe", make_run(tmp_path), f"tracking.uri={uri}")
    assert result.exit_code == 2 and result.stdout == ""
    assert result.stderr.startswith(f"error: tracking.uri={uri!r}: ") and result.stderr.count("\n") == 1
    assert not (tmp_path / "runs").exists()
