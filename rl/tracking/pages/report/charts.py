"""Curves as SVG in the page: a line, a band around it, axes with round numbers. Colours are classes of the page's style."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from rl.tracking.pages.html import line

WIDTH, HEIGHT = 360, 210  # of the drawing; the page scales it
COLOURS = 8
_LEFT, _RIGHT, _TOP, _BOTTOM = 46, 10, 10, 24
_TICKS = 4
_MARKED = 30  # points up to which each has a mark with its number


@dataclass(frozen=True, slots=True)
class Series:
    """values [n] at steps [n], rising. low, high [n]: a band, or empty. colour: a number of the page's. faint: thin."""

    label: str
    colour: int
    steps: Sequence[int]
    values: Sequence[float]
    low: Sequence[float] = ()
    high: Sequence[float] = ()
    faint: bool = False


def chart(title: str, series: Sequence[Series]) -> str:
    """A figure; empty where there is nothing to draw."""
    series = [each for each in series if each.steps]
    if not series:
        return ""
    x = _Axis([step for each in series for step in each.steps], _LEFT, WIDTH - _RIGHT)
    heights = [value for each in series for some in (each.values, each.low, each.high) for value in some]
    y = _Axis(heights, HEIGHT - _BOTTOM, _TOP)
    parts = [_grid(x, y), *(_band(each, x, y) for each in series), *(_curve(each, x, y) for each in series)]
    return (
        f'<figure><figcaption>{line(title, 120)}</figcaption><svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" '
        f'aria-label="{line(title, 120)}">{"".join(parts)}</svg></figure>'
    )


def number(value: float) -> str:
    """Short: ``0.25``, ``12``, ``1.2e-05``."""
    return f"{value:.3g}"


class _Axis:
    """Round numbers around some values, and where they are between two ends of the drawing."""

    def __init__(self, values: Sequence[float], start: float, stop: float) -> None:
        low, high = min(values), max(values)
        if high - low <= 1e-9 * max(abs(low), abs(high), 1e-300):
            room = abs(low) * 0.1 or 1.0
            low, high = low - room, high + room
        self._step = _round_up((high - low) / _TICKS)
        self._low = math.floor(low / self._step + 1e-9) * self._step
        self._high = math.ceil(high / self._step - 1e-9) * self._step
        self._start, self._stop = start, stop

    def __call__(self, value: float) -> float:
        share = (value - self._low) / (self._high - self._low)
        return round(self._start + share * (self._stop - self._start), 1)

    def ticks(self) -> list[float]:
        count = round((self._high - self._low) / self._step)
        return [self._low + index * self._step for index in range(count + 1)]


def _round_up(value: float) -> float:
    """The next of 1, 2, 2.5, 5, 10 times a power of ten."""
    power = 10.0 ** math.floor(math.log10(value))
    return next(factor * power for factor in (1, 2, 2.5, 5, 10) if factor * power >= value * (1 - 1e-9))


def _grid(x: _Axis, y: _Axis) -> str:
    parts = [
        f'<line x1="{_LEFT}" x2="{WIDTH - _RIGHT}" y1="{y(tick)}" y2="{y(tick)}"/>'
        f'<text class="tick" x="{_LEFT - 6}" y="{y(tick) + 4}" text-anchor="end">{_tick(tick, y)}</text>'
        for tick in y.ticks()
    ]
    whole = [tick for tick in x.ticks() if float(tick).is_integer()]
    parts += [
        f'<text class="tick" x="{x(tick)}" y="{HEIGHT - 6}" text-anchor="middle">{tick:.0f}</text>' for tick in whole
    ]
    return "".join(parts)


def _tick(value: float, axis: _Axis) -> str:
    return "0" if abs(value) < 1e-9 * max(map(abs, axis.ticks())) else number(value)


def _band(series: Series, x: _Axis, y: _Axis) -> str:
    if not series.low:
        return ""
    above = [(step, value) for step, value in zip(series.steps, series.high, strict=True)]
    below = [(step, value) for step, value in zip(series.steps, series.low, strict=True)]
    return f'<polygon class="band c{series.colour % COLOURS}" points="{_places([*above, *reversed(below)], x, y)}"/>'


def _curve(series: Series, x: _Axis, y: _Axis) -> str:
    colour, points = f"c{series.colour % COLOURS}", list(zip(series.steps, series.values, strict=True))
    faint = " faint" if series.faint else ""
    drawn = f'<polyline class="curve {colour}{faint}" points="{_places(points, x, y)}"/>' if len(points) > 1 else ""
    if series.faint or len(points) > _MARKED:
        return drawn
    marks = (
        f'<circle class="mark {colour}" cx="{x(step)}" cy="{y(value)}" r="3"><title>{line(series.label, 80)}, step {step}: '
        f"{number(value)}</title></circle>"
        for step, value in points
    )
    return drawn + "".join(marks)


def _places(points: Sequence[tuple[float, float]], x: _Axis, y: _Axis) -> str:
    return " ".join(f"{x(step)},{y(value)}" for step, value in points)
