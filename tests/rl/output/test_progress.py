"""A count on stderr, which says nothing where there is nothing to wait for."""

from __future__ import annotations

import io

import pytest

from rl.output.progress import Progress


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def counted(stream: io.StringIO, times: list[float], total: int | None = None) -> str:
    clock = iter([0.0, *times])
    with Progress("reading rows.jsonl", total=total, stream=stream, clock=lambda: next(clock)) as count:
        for place in range(len(times)):
            count(1000 * place)
    return stream.getvalue()


@pytest.mark.parametrize("stream", [io.StringIO(), Terminal()])
def test_what_is_quick_says_nothing(stream: io.StringIO) -> None:
    assert counted(stream, [0.1, 0.5, 1.9]) == ""


def test_a_log_gets_a_line_every_ten_seconds() -> None:
    lines = counted(io.StringIO(), [1.0, 3.0, 5.0, 12.9, 13.1, 14.0, 24.0], total=9000).splitlines()
    assert lines == [f"reading rows.jsonl: {count} of 9,000 rows" for count in ("1,000", "4,000", "6,000")]


def test_a_terminal_has_one_line_that_is_cleared() -> None:
    text = counted(Terminal(), [3.0, 3.1, 3.6])
    assert text.count("\r") == 4 and "\n" not in text and text.endswith(" \r")
    assert "reading rows.jsonl: 2,000 rows" in text


def test_the_name_of_a_file_cannot_move_the_cursor() -> None:
    stream, clock = io.StringIO(), iter([0.0, 3.0])
    with Progress("reading \x1b[2J", stream=stream, clock=lambda: next(clock)) as count:
        count(1)
    assert "\x1b" not in stream.getvalue()
