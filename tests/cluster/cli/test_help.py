"""The terminal as a part of the manual: each command's help has an example that exists, and what is piped is plain."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

from cluster.cli.app import EXAMPLES, app
from cluster.cli.config import Row, _print
from rl.output.tables import PlainTable, Screen
from tests import words


def leaves(command: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    children = getattr(command, "commands", None)
    if children is None:
        yield path.strip(), command
    for name, child in (children or {}).items():
        yield from leaves(child, f"{path}{name} ")


COMMANDS = dict(leaves(typer.main.get_command(app)))


def test_every_command_has_an_example() -> None:
    assert sorted(COMMANDS) == sorted(EXAMPLES)


@pytest.mark.parametrize("path", COMMANDS)
def test_its_help_ends_with_an_example_that_exists(
    path: str, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", "80")  # of the process in which ``bench`` runs, too
    result = CliRunner().invoke(app, [*path.split(), "--help"], env={"COLUMNS": "80", "TERM": "dumb"})
    printed = result.stdout + capfd.readouterr().out
    assert result.exit_code == 0
    assert max(map(len, printed.splitlines())) <= 80
    shown = " ".join(printed.split())
    assert f"Example: {EXAMPLES[path]}" in shown
    assert EXAMPLES[path].startswith(f"unigrpo {path}")
    assert not list(words.mistakes(next(words.simple_commands(EXAMPLES[path]))))
    takes_settings = any(each.metavar == "KEY=VALUE..." for each in COMMANDS[path].params)
    if takes_settings and path not in ("config", "rewards check", "data show"):  # their words are no settings alone
        assert "`unigrpo config` shows all of them" in shown


def table() -> PlainTable:
    made = PlainTable("name", "value", title="of a run", caption="that is all")
    made.columns[1].justify = "right"
    made.add_row("learner.algorithm.normalizer_length", "7")
    made.add_row("日本", "1" * 120)
    return made


def test_a_table_in_a_pipe_is_lines_and_columns() -> None:
    stream = io.StringIO()
    Screen(file=stream, width=80).print(table())
    assert stream.getvalue().splitlines() == [
        "of a run",
        f"name{' ' * 31}  {' ' * 115}value",
        f"learner.algorithm.normalizer_length  {' ' * 119}7",
        f"日本{' ' * 31}  {'1' * 120}",
        "that is all",
    ]


def test_a_table_on_a_terminal_has_its_box_and_fits() -> None:
    stream = io.StringIO()
    Screen(file=stream, width=80, force_terminal=True).print(table())
    assert "│" in stream.getvalue()


def test_a_sentence_in_a_pipe_is_one_line() -> None:
    stream = io.StringIO()
    Screen(file=stream, width=20).print("one sentence that is longer than the screen is wide")
    assert stream.getvalue().count("\n") == 1


def test_settings_on_a_narrow_terminal_keep_their_names_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    stream = io.StringIO()
    monkeypatch.setattr("cluster.cli.config.Screen", lambda: Screen(file=stream, width=80, force_terminal=True))
    name = "rollout.text.confidence_threshold_of_all_tokens"
    _print([Row(name, 0.5, "default", "", "what it means, " * 12)])
    shown = stream.getvalue().splitlines()
    assert shown[0].startswith(f"{name}: 0.5  [default]") and len(shown) > 2
    assert all(len(line) <= 80 for line in shown) and all(line.startswith("    ") for line in shown[1:])


@pytest.mark.parametrize("arguments", [("recipes",), ("data", "list"), ("rewards", "list"), ("config", "steps")])
def test_a_list_as_json(arguments: tuple[str, ...]) -> None:
    result = CliRunner().invoke(app, [*arguments, "--json"])
    assert result.exit_code == 0 and json.loads(result.stdout)


def test_rewards_as_json_have_their_settings() -> None:
    rewards = json.loads(CliRunner().invoke(app, ["rewards", "list", "--json"]).stdout)
    (length,) = [each for each in rewards if each["name"] == "length"]
    assert {"longest", "buffer"} <= {each["name"] for each in length["settings"]} and length["what"]


def test_where_a_run_is_as_json(tmp_path: Path) -> None:
    from cluster.run.status import ActorStatus, Status, write_status

    actors = (ActorStatus("rollout worker 0", "idle", 1.5),)
    write_status(tmp_path, Status(0.0, 1, "here", "sampling", 3, 9, "waits for nobody", {"calls": 2}, actors))
    result = CliRunner().invoke(app, ["status", str(tmp_path), "--json"])
    found = json.loads(result.stdout)
    assert (found["phase"], found["step"], found["queues"]) == ("sampling", 3, {"calls": 2})
    assert found["actors"][0]["name"] == "rollout worker 0" and found["driver"]
