"""What a command says on stderr: notes after its checks, and a mistake as one line alone."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from cluster import console
from cluster.cli.app import app
from cluster.run.settings import load
from policies.files.folders import find_policy
from rl.errors import ConfigError, TrainingError
from tests.cluster.recipes.models import small_model

NAMED = "some/policy"  # a folder that is written as a repository on a hub is: the user is told which is used
NOTE = f"note: policy.path={NAMED}: this folder is used"
COMMANDS = {
    "train": ("train", "data.train=[{source: no.jsonl}]"),
    "dry train": ("train", "--dry-run", "data.val=[{source: no.jsonl}]"),
    "a reward": ("train", "--dry-run", "rewards.mix.text={nosuch: 1.0}"),
    "sft": ("sft", "--recipe", "tiny_sft", "data.train=[{source: no.jsonl}]"),
    "eval": ("eval", "data.val=[{source: no.jsonl}]"),
    "dry eval": ("eval", "--dry-run", "evaluation.layout=geneval"),
    "generate": ("generate", "a circle", "--task", "draw", "--out", "no/folder/drawing.jpg/x.gif"),
    "a file": ("generate", "--prompts", "no.jsonl", "--out", "answers.jsonl"),
    "plan": ("plan", "gpu=nosuch"),
}


@pytest.mark.parametrize("words", COMMANDS.values(), ids=COMMANDS)
def test_a_mistake_is_one_line_alone(words: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    shutil.copytree(find_policy("tiny"), NAMED)
    done = CliRunner().invoke(app, [*words, f"policy.path={NAMED}", f"output_dir={tmp_path}/runs"])
    assert done.exit_code == 2, done.output
    assert len(done.stderr.splitlines()) == 1 and done.stderr.startswith("error: "), done.stderr
    assert not done.stdout


def test_notes_come_where_there_is_no_mistake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    shutil.copytree(find_policy("tiny"), NAMED)
    done = CliRunner().invoke(app, ["plan", f"policy.path={NAMED}"])
    assert done.exit_code == 0 and done.stderr.startswith(NOTE) and len(done.stderr.splitlines()) == 1, done.output


@pytest.mark.parametrize("error", [ConfigError("a mistake"), TrainingError("cannot go on")])
def test_notes_of_a_command_that_fails_are_dropped(error: Exception, capsys: pytest.CaptureFixture[str]) -> None:
    def body() -> int:
        console.note("one")
        raise error

    with pytest.raises(typer.Exit):
        console.run(body)
    assert capsys.readouterr().err == f"error: {error}\n"
    console.note("later")  # no command runs
    assert capsys.readouterr().err == "note: later\n"


def test_notes_wait_for_the_checks_and_then_no_more(capsys: pytest.CaptureFixture[str]) -> None:
    said = []

    def body() -> int:
        console.note("one")
        said.append(capsys.readouterr().err)
        console.checked()
        said.append(capsys.readouterr().err)
        console.note("two")
        said.append(capsys.readouterr().err)
        raise ConfigError("too late to be alone")

    with pytest.raises(typer.Exit):
        console.run(body)
    assert said == ["", "note: one\n", "note: two\n"]
    assert capsys.readouterr().err == "error: too late to be alone\n"


def test_notes_come_at_the_end_at_the_latest(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(typer.Exit):
        console.run(lambda: (console.note("one"), console.OK)[1])
    assert capsys.readouterr().err == "note: one\n"


@pytest.mark.parametrize("trains", [True, False])
def test_a_learning_rate_is_noted_where_something_is_trained(trains: bool, tmp_path: Path) -> None:
    folder = small_model("LLaDA-8B-Instruct", tmp_path / "policy")
    _, notes = load("tiny", [f"policy.path={folder}", "learner.lr=0.01", "policy.device=cpu"], trains)
    assert any("published runs of family llada" in note for note in notes) == trains
