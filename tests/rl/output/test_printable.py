"""Text of others in every place that shows it: nothing in it reaches the terminal as a command, or Rich as markup."""

from __future__ import annotations

import ast
import io
import json
import logging
import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cluster import console
from cluster.cli.status import show
from cluster.run.status import ActorStatus, Status, write_status
from rl.errors import DataError
from rl.output.printable import LogFormatter, escaped_in_json, plain, printable, said
from rl.output.tables import PlainTable, Screen
from rl.tracking import report
from rl.tracking.contact_sheet import sheet
from rl.tracking.failures import FailureNotes
from rl.tracking.live_table import LiveTable
from rl.tracking.samples import Drawing, save_samples
from rl.types import Group, Score, ScoreStatus
from tests.rl.examples import text_group

HOSTILE = [
    "[/x]/1", "[link=http://evil]a[/link]", "[red]b", ":smile:", "\\[x]", "\x1b]0;title\x07", "\x1b[2J\x1b[H",
    "\x9b31mx", "\x90q\x9c",
    "a\rb\x08\x08", "\u202egpj.exe", "\u2066a\u2069", "\u200f\u061c", "\ud800", "\U000e0041\ufeff", "x\u2028y\u0085z",
    "line\n2026-01-01 00:00:00,000 ERROR rl.loop: forged", "y" * 200_000,
]  # fmt: skip
OBEYED = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff\U000e0000-\U000e007f]"
)


@pytest.fixture(autouse=True)
def plain_reports():
    """What pytest keeps of the log for its report is text too: its workers cannot send half a character."""
    kept = [(handler, handler.formatter) for handler in logging.getLogger().handlers]
    for handler, _ in kept:
        handler.setFormatter(LogFormatter("%(message)s"))
    yield
    for handler, formatter in kept:
        handler.setFormatter(formatter)


def group_of(text: str, failed: bool = False) -> Group:
    status = ScoreStatus.CRASHED if failed else ScoreStatus.OK
    return text_group(text, Score(float("nan") if failed else 1.0, status, detail=text), source=text, text=text)


def is_plain(text: str) -> bool:
    return OBEYED.search(text) is None


@given(st.text())
def test_what_is_shown_is_visible_and_stays_so(text: str) -> None:
    shown = printable(text)
    assert is_plain(shown) and "\n" not in shown and "\t" not in shown and printable(shown) == shown
    assert json.loads(escaped_in_json(json.dumps(text, ensure_ascii=False))) == text
    assert is_plain(escaped_in_json(json.dumps(text, ensure_ascii=False)))


def test_letters_of_all_scripts_and_joined_pictures_stay() -> None:
    text = "größe 日本語 العربية हिन्दी שלום \U0001f468\u200d\U0001f469\u200d\U0001f467 1\u20442"
    assert printable(text) == text
    assert printable("a\tb\nc", lines=True) == "a\tb\nc" and printable("abc", limit=2) == "ab... (1 more characters)"


@pytest.mark.parametrize("text", HOSTILE)
def test_messages_on_both_streams(text: str, capsys: pytest.CaptureFixture[str]) -> None:
    import typer

    def fails() -> int:
        raise DataError(f"row {text}: bad")

    def crashes() -> int:
        raise KeyError(text)

    console.say(text)
    console.show(text)
    for body in (fails, crashes):
        with pytest.raises(typer.Exit):
            console.run(body)
    shown = capsys.readouterr()
    assert is_plain(shown.out) and is_plain(shown.err) and len(shown.err) < 150_000


@pytest.mark.parametrize("text", HOSTILE)
def test_the_log_has_a_line_for_each_record_and_no_other(text: str) -> None:
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    handler.setFormatter(LogFormatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    try:
        raise ValueError(text)
    except ValueError as error:
        record = logging.LogRecord(
            "rl.x", logging.ERROR, "f", 1, "row %s", (text,), (ValueError, error, error.__traceback__)
        )
    handler.emit(record)
    lines = stream.getvalue().rstrip("\n").split("\n")
    assert is_plain(stream.getvalue()) and all(line.startswith("    ") for line in lines[1:])
    assert record.getMessage() == f"row {text}"


@pytest.mark.parametrize("text", HOSTILE)
def test_the_status_of_a_run(text: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    actor = ActorStatus(text, f"scoring {text}", 3.0, pid=1, host=text, beat_age_s=0.1)
    write_status(tmp_path, Status(0.0, 1, text, text, 1, 2, f"waits for {text}", {text: 3}, (actor,)))
    assert show(tmp_path) == 0
    shown = capsys.readouterr().out
    assert is_plain(shown) and "waits for" in shown and len(shown) < 20_000
    if text.isascii() and "[" in text and len(text) < 40:
        assert said(text) in shown.replace("\n", "")


@pytest.mark.parametrize("text", HOSTILE)
def test_tables_and_the_live_view(text: str) -> None:
    stream = io.StringIO()
    screen = Screen(file=stream, width=400)
    table = PlainTable(text, title=text, caption=text)
    table.add_row(text)
    table.add_column(text)
    screen.print(table, text)
    summary = {
        "tasks": {"text": {"before": 0.1, "after": 0.2}},
        "parts": {f"text/{text}": {"before": 1.0, "after": 1.0}},
    }
    summary |= {"sources": {text: {"before": 0.1, "after": None}}, "scored_by": {"text": [text, "b"]}, "trained_on": {}}
    screen.print(report.results_table(summary))
    live = LiveTable(3, console=screen)
    live.phase(text)
    live.log(
        1,
        {
            "actor/kl_loss": 0.1,
            f"timing_s/rewards/{text}/total": 9.0,
            "perf/exposed_reward_s": 9.0,
            "timing_s/step": 9.0,
        },
    )
    live.close("FINISHED")
    assert is_plain(stream.getvalue())
    if text == "[/x]/1":
        assert stream.getvalue().count(text) >= 5
    assert plain(text).spans == []


@pytest.mark.parametrize("text", HOSTILE)
def test_samples_on_the_disk_and_as_pictures(text: str, tmp_path: Path) -> None:
    import numpy as np

    group = group_of(text)
    save_samples(tmp_path, [group])
    written = (tmp_path / "texts.jsonl").read_bytes().decode("utf-8", "surrogatepass")
    assert is_plain(written) and json.loads(written)["response"] == text
    sheet([Drawing(text, text, np.zeros((8, 8, 3), np.uint8), None, {})])


@pytest.mark.parametrize("text", HOSTILE)
def test_reasons_of_failures(text: str, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    console.log_to(tmp_path)
    FailureNotes().tell([group_of(text, failed=True)])
    for handler in list(logging.getLogger().handlers):
        if getattr(handler, "of_unigrpo", False):
            logging.getLogger().removeHandler(handler)
            handler.close()
    log = (tmp_path / console.LOG_FILE).read_text()
    assert is_plain(log) and is_plain(capsys.readouterr().err)
    assert "rewards: crashed at row " in log


def test_no_other_place_makes_a_console_or_a_table() -> None:
    """Rich's own ones read markup in every string that they are given."""
    root = Path(__file__).parents[3]
    files = [file for package in ("rl", "rewards", "policies", "cluster") for file in (root / package).rglob("*.py")]
    made = {
        str(file.relative_to(root))
        for file in files
        for node in ast.walk(ast.parse(file.read_text()))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in ("Console", "Table")
    }
    assert len(files) > 100 and made == set()
