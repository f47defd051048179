from __future__ import annotations

import io
import logging

import pytest
from rich.console import Console

from rl.tracking.live_table import LiveTable, duration, number, waited_for
from tests.rl.examples import draw_group, score

STEP = {
    "critic/rewards/mean": 1.0,
    "rewards/text/mean": 1.25,
    "rewards/draw/mean": 0.0275,
    "actor/kl_loss": 0.0123,
    "actor/pg_clipfrac": 0.0625,
    "perf/throughput": 1234.6,
    "perf/images_per_s": 0.5,
}


def make(terminal: bool, steps: int = 10, width: int = 160) -> tuple[LiveTable, io.StringIO, list[float]]:
    stream, now = io.StringIO(), [0.0]
    console = Console(file=stream, force_terminal=terminal, width=width)
    return LiveTable(steps, console=console, clock=lambda: now[0]), stream, now


def test_without_a_terminal_there_is_one_plain_line_a_step():
    table, stream, now = make(terminal=False)
    table.phase("starting Ray")
    for step in (1, 2):
        now[0] += 30
        table.phase("training")
        table.log(step, STEP)
    table.samples(2, [draw_group("a", score(1.0))], "train")
    table.log(2, {"val/text/score": 0.5, "val/draw/score": 0.25, "val/draw/failed": 2.0})
    table.close("FINISHED")
    lines = stream.getvalue().splitlines()
    assert lines[:2] == ["starting Ray ...", "training ..."]
    assert lines[3] == (
        "step 2/10  text reward 1.250  draw reward 0.028  KL 0.0123  clip 0.062  tokens/s 1,235  images/s 0.50  "
        "left 4:00"
    )
    assert lines[4] == "step 2/10  held out: text 0.500  draw 0.250  draw failed 2"
    assert len(lines) == 5 and "\x1b" not in stream.getvalue()


def test_in_a_terminal_the_table_has_every_column_the_phase_and_the_time_left():
    table, stream, now = make(terminal=True)
    table.phase("training")
    for step in range(1, 5):
        now[0] += 60
        table.log(step, STEP)
    table.close("FINISHED")
    shown = stream.getvalue()
    for text in (
        "text",
        "draw",
        "reward",
        "KL",
        "clip",
        "tokens/s",
        "images/s",
        "4/10",
        "time left 6:00",
        "finished",
    ):
        assert text in shown


def drawn(width: int, metrics: dict[str, float] | None = None, steps: int = 1000) -> list[str]:
    """The lines that stand in a terminal of that width, after three steps, or before the first."""
    table, _, _ = make(terminal=False, steps=steps, width=width)
    table.phase("evaluating before training")
    for step in (steps - 2, steps - 1, steps) if metrics else ():
        table.log(step, metrics or {})
    paper = Console(record=True, file=io.StringIO(), width=width)
    paper.print(table._render())
    return paper.export_text().splitlines()


ALL_TASKS = {**STEP, "rewards/understand/mean": 0.5, "rewards/think_draw/mean": 0.5, "timing_s/step": 10.0}
ONE_TASK = {"critic/rewards/mean": 1.0, "rewards/text/mean": 1.25, "perf/throughput": 12345.6, "perf/images_per_s": 0.0}


@pytest.mark.parametrize("width", [30, 80, 120])
def test_before_the_first_step_one_line_says_what_the_run_does(width: int):
    assert drawn(width) == ["evaluating before training ..."]


def test_a_run_without_steps_ends_in_one_word():
    table, stream, _ = make(terminal=True)
    table.phase("evaluating 6 held-out prompts")
    table.close("FINISHED")
    assert "finished" in stream.getvalue() and "finished ..." not in stream.getvalue()


@pytest.mark.parametrize("width", [80, 100, 120, 200])
@pytest.mark.parametrize("metrics", [ALL_TASKS, STEP, ONE_TASK], ids=["four tasks", "two tasks", "one task"])
def test_nothing_is_cut_that_has_room(width: int, metrics: dict[str, float]):
    text = "\n".join(drawn(width, metrics))
    titles = "text draw KL clip tokens/s".split() if "actor/kl_loss" in metrics else "text tokens/s".split()
    for title in ["step", "reward", "1000/1000", "1.250", *titles, *(["understand"] if metrics is ALL_TASKS else [])]:
        assert title in text, text
    assert "\u2026" not in text and "..." not in text
    assert any(line.startswith("evaluating before training   time left") for line in text.splitlines())


@pytest.mark.parametrize("width", range(20, 80, 7))
def test_in_a_narrow_terminal_the_last_columns_go_whole(width: int):
    lines = drawn(width, ALL_TASKS)
    words = {word for line in lines for word in line.split() if not line.startswith(("evaluating", "of "))}
    whole = {"step", "text", "understand", "draw", "think_draw", "reward", "KL", "clip", "tokens/s", "images/s"}
    numbers = {"998/1000", "999/1000", "1000/1000", "1.250", "0.500", "0.028", "0.0123", "0.062", "1,235", "0.50"}
    table = "\n".join(lines).split("evaluating")[0]
    assert set(table.replace("\u2500", " ").split()) <= whole | numbers, (table, words)
    assert all(len(line) <= width for line in lines)


def test_images_have_a_column_once_there_are_any():
    assert "images/s" not in "\n".join(drawn(120, ONE_TASK))
    assert "images/s" in "\n".join(drawn(120, {**ONE_TASK, "perf/images_per_s": 0.01}))
    table, stream, _ = make(terminal=False)
    table.log(1, {**STEP, "perf/images_per_s": 0.0})
    table.log(2, STEP)
    table.log(3, {**STEP, "perf/images_per_s": 0.0})
    assert ["images/s" in line for line in stream.getvalue().splitlines()] == [False, True, True]


@pytest.mark.parametrize("terminal", [False, True])
def test_the_log_has_what_the_screen_shows(terminal: bool, caplog: pytest.LogCaptureFixture):
    table, _, _ = make(terminal)
    with caplog.at_level(logging.INFO, logger="rl"):
        table.phase("starting Ray")
        table.phase("training")
        table.phase("training")
        table.log(1, STEP)
        table.log(1, {"val/text/score": 0.5})
        table.close("FINISHED")
    assert [record.getMessage() for record in caplog.records] == [
        "starting Ray ...",
        "training ...",
        "step 1/10  text reward 1.250  draw reward 0.028  KL 0.0123  clip 0.062  tokens/s 1,235  images/s 0.50  left -",
        "step 1/10  held out: text 0.500",
    ]


def test_time_left_follows_the_pace_of_the_last_steps():
    table, _, now = make(terminal=False, steps=100)
    assert table.seconds_left() is None
    for step in range(1, 61):
        now[0] += 10 if step <= 30 else 2  # it became faster
        table.log(step, STEP)
    assert table.seconds_left() == pytest.approx(40 * 2)


def test_a_step_without_a_task_has_a_gap_there():
    table, stream, _ = make(terminal=False)
    table.log(1, STEP)
    table.log(2, {"critic/rewards/mean": 0.5, "rewards/text/mean": 0.5})
    assert "text reward 0.500  draw reward -  KL -" in stream.getvalue().splitlines()[1]


def test_fine_tuning_shows_its_losses():
    table, stream, _ = make(terminal=False)
    table.log(1, {"actor/lr": 0.1, "sft/loss": 2.0, "sft/loss/text": 1.5})
    assert stream.getvalue().splitlines() == ["step 1/10  text loss 1.500  left -"]


def test_nothing_is_drawn_after_the_end():
    table, stream, _ = make(terminal=True)
    table.log(1, STEP)
    table.close("FINISHED")
    size = len(stream.getvalue())
    table.phase("saving")
    table.close("FAILED")
    assert len(stream.getvalue()) == size


@pytest.mark.parametrize(("seconds", "text"), [(None, "-"), (0.4, "0:00"), (65, "1:05"), (3723, "1:02:03")])
def test_durations(seconds: float | None, text: str):
    assert duration(seconds) == text


def test_a_step_says_which_reward_it_waited_for():
    slow = {"timing_s/rewards/clip/total": 2.0, "timing_s/rewards/judge/total": 30.0, "timing_s/rewards/judge/p50": 0.5}
    step = {**STEP, **slow, "timing_s/step": 10.0, "perf/exposed_reward_s": 4.0}
    assert waited_for(step) == ("waited 4.0 s of 10.0 for reward judge",)
    assert waited_for({**step, "perf/exposed_reward_s": 0.99}) == () and waited_for(STEP) == ()
    for terminal in (False, True):
        table, stream, _ = make(terminal)
        table.log(1, step)
        table.close("FINISHED")
        assert "waited 4.0 s of 10.0 for reward judge" in stream.getvalue()


def test_numbers():
    assert (number(None), number(1234.5, 0), number(0.12345)) == ("-", "1,234", "0.123")
