"""The run in front of a person: one live table in a terminal, one plain line a step anywhere else.

The plain lines are in the run's log in any case.
"""

from __future__ import annotations

import logging
import math
import re
import time
from collections.abc import Callable, Mapping, Sequence

from rich import box
from rich.console import Console, RenderableType
from rich.console import Group as Stacked
from rich.live import Live

from rl.output.printable import plain, said
from rl.output.tables import PlainTable, Screen
from rl.types import Group, Task

# Title, metric, digits; a column is shown once its metric was logged, that of images once there was one.
_COLUMNS = (
    *((f"{task} reward", f"rewards/{task}/mean", 3) for task in Task),
    *((f"{task} loss", f"sft/loss/{task}", 3) for task in Task),
    ("KL", "actor/kl_loss", 4),
    ("clip", "actor/pg_clipfrac", 3),
    ("tokens/s", "perf/throughput", 0),
    ("images/s", "perf/images_per_s", 2),
)
_IMAGES = "perf/images_per_s"
_log = logging.getLogger(__name__)
_MEMORY = 20  # steps that the pace is averaged over
_ROWS = 8  # steps shown at once
_EXPOSED = 0.1  # the share of a step from which on its wait for rewards is worth a word
_TOTAL = re.compile(r"timing_s/rewards/[^/]+/total")


class LiveTable:
    """Step, reward (or loss) per task, KL, clip fraction, tokens/s, images/s, time left; a tracker that keeps nothing.

    steps   how many steps the run has in all
    clock   seconds that never go back; tests hand in their own
    """

    def __init__(
        self, steps: int, *, console: Console | None = None, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._steps = steps
        self._console = console or Screen()
        self._clock = clock
        self._phase = "starting"
        # Tuples, replaced and never changed: the terminal is redrawn from another thread.
        self._rows: tuple[tuple[int, Mapping[str, float]], ...] = ()
        self._columns: tuple[tuple[str, str, int], ...] = ()
        self._times: tuple[tuple[int, float], ...] = ()
        self._live: Live | None = None
        self._told: set[str] = set()
        self._waited: tuple[str, ...] = ()
        self._closed = False

    def phase(self, text: str) -> None:
        """What the run is doing now; it stands under the table, or on a line of its own the first time."""
        self._phase = text
        if text not in self._told:
            self._told.add(text)
            self._tell(f"{text} ...", always=False)
        self._refresh()

    def log(self, step: int, metrics: Mapping[str, float]) -> None:
        validation = {name: value for name, value in metrics.items() if name.startswith("val/")}
        if validation:
            self._tell(f"step {step}/{self._steps}  held out: {scores_line(validation)}", always=True)
        if any(name.startswith(("actor/", "critic/")) for name in metrics):
            self._training_step(step, dict(metrics))
        self._refresh()

    def samples(self, step: int, groups: Sequence[Group], name: str) -> None:
        """Texts and pictures go where they can be looked at."""

    def rollouts(self, step: int, groups: Sequence[Group]) -> None: ...

    def tag(self, name: str, value: str) -> None:
        """Whoever sets a tag says it in a ``note`` as well."""

    def note(self, text: str) -> None:
        """A line for the log and the person in front of the run, above the table."""
        self._tell(text, always=True)

    def close(self, status: str) -> None:
        self._phase, self._closed = status.lower(), True
        if self._live is not None:
            self._live.stop()
            self._live = None

    def seconds_left(self) -> float | None:
        """At the pace of the last steps; None before there are two."""
        times = self._times
        if len(times) < 2:
            return None
        (first, started), (last, ended) = times[0], times[-1]
        return max(0.0, (self._steps - last) * (ended - started) / max(1, last - first))

    def _training_step(self, step: int, metrics: dict[str, float]) -> None:
        self._times = (*self._times, (step, self._clock()))[-_MEMORY - 1 :]
        self._rows = (*self._rows, (step, metrics))[-_ROWS:]
        new = {name for name, value in metrics.items() if value or name != _IMAGES}
        self._columns = tuple(column for column in _COLUMNS if column in self._columns or column[1] in new)
        self._waited = waited_for(metrics)
        cells = self._cells(step, metrics, self._columns) | {"left": duration(self.seconds_left())}
        self._tell("  ".join([*(f"{name} {cell}" for name, cell in cells.items()), *self._waited]), always=False)

    def _cells(
        self, step: int, metrics: Mapping[str, float], columns: Sequence[tuple[str, str, int]]
    ) -> dict[str, str]:
        cells = {title: number(metrics.get(name), digits) for title, name, digits in columns}
        return {"step": f"{step}/{self._steps}", **cells}

    def _tell(self, text: str, *, always: bool) -> None:
        """Into the log, and on the screen: always, or only where no table shows it."""
        _log.info("%s", text)
        if always or not self._console.is_terminal:
            self._console.print(said(text), markup=False, highlight=False, soft_wrap=True)

    def _refresh(self) -> None:
        if self._closed or not self._console.is_terminal:
            return
        if self._live is None:
            self._live = Live(console=self._console, refresh_per_second=4, get_renderable=self._render)
            self._live.start()

    def _render(self) -> RenderableType:
        """The last steps, over what the run does now; the latter alone while there are no steps."""
        rows, left = self._rows, self.seconds_left()
        caption = plain("   ".join([self._phase, f"time left {duration(left)}", *self._waited]))
        if not rows:
            return plain(self._phase if self._closed else f"{self._phase} ...")
        columns = self._fitting(rows)
        table = PlainTable(box=box.SIMPLE_HEAD, padding=0, pad_edge=False)
        for title in self._cells(0, {}, columns):
            table.add_column(title.replace(" ", "\n"), justify="right", no_wrap=True)
        for step, metrics in rows:
            table.add_row(*self._cells(step, metrics, columns).values())
        return Stacked(table, caption)

    def _fitting(self, rows: Sequence[tuple[int, Mapping[str, float]]]) -> tuple[tuple[str, str, int], ...]:
        """As many columns as the terminal has room for whole; the last ones go first. A title takes a line a word."""
        columns = self._columns
        while columns:
            cells = [self._cells(step, metrics, columns) for step, metrics in rows]
            widths = [max(*(len(row[title]) for row in cells), *map(len, title.split())) for title in cells[0]]
            if sum(widths) + len(widths) + 1 <= self._console.width:
                break
            columns = columns[:-1]
        return columns


def waited_for(metrics: Mapping[str, float]) -> tuple[str, ...]:
    """Whom the last step waited for, where that took a tenth of it. Example: ``waited 4.2 s of 9.0 for reward judge``."""
    waited, step = metrics.get("perf/exposed_reward_s", 0.0), metrics.get("timing_s/step", math.inf)
    if waited < _EXPOSED * step:
        return ()
    spent = {name.split("/")[2]: value for name, value in metrics.items() if _TOTAL.fullmatch(name)}
    who = f"reward {max(spent, key=spent.__getitem__)}" if spent else "rewards"
    return (f"waited {waited:.1f} s of {step:.1f} for {who}",)


def scores_line(metrics: Mapping[str, float]) -> str:
    """Example: ``text 0.412  understand 0.550  draw 0.305``, with how many scores failed, if any did."""
    parts = []
    for task in map(str, Task):
        if (score := metrics.get(f"val/{task}/score")) is not None:
            parts.append(f"{task} {number(score)}")
        if failed := metrics.get(f"val/{task}/failed", 0):
            parts.append(f"{task} failed {failed:.0f}")
    return "  ".join(parts) or "no scores"


def number(value: float | None, digits: int = 3) -> str:
    """Example: ``0.250``; ``-`` where there is none."""
    return "-" if value is None else f"{value:,.{digits}f}"


def duration(seconds: float | None) -> str:
    """Example: ``1:02:03``, ``4:05``; ``-`` while it is not known."""
    if seconds is None:
        return "-"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"
