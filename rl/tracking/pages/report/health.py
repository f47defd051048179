"""Health over time: each rule's states as a strip, from the run's metrics alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from rl.config import HealthConfig, load_config
from rl.errors import UniGRPOError
from rl.health.watch import Watch
from rl.tracking.pages.html import line
from rl.tracking.pages.report.charts import number
from rl.tracking.pages.report.folder import CONFIG_FILE, RunFolder

_WIDTH, _HEIGHT = 240, 14


@dataclass(frozen=True, slots=True)
class Strip:
    """One rule. states [(step, sick, value)], rising. where: the task or reward of the last reading."""

    rule: str
    states: Sequence[tuple[int, bool, float]]
    limit: float
    below: bool
    means: str
    do: str
    where: str

    @property
    def ever_sick(self) -> bool:
        return any(sick for _, sick, _ in self.states)


def strips(run: RunFolder) -> list[Strip]:
    """Of the rules that had something to read; those that were sick come first."""
    watch = Watch.of(_settings(run))
    states: dict[str, list[tuple[int, bool, float]]] = {}
    for point in run.points:
        for name in watch.log(point.step, point.metrics)[1]:
            state = watch.states.get(name)
            if state is not None and state.reading is not None:
                states.setdefault(name, []).append((point.step, state.sick, state.reading.value))
    found = []
    for name, some in states.items():
        if name in watch.rules:
            rule, reading = watch.rules[name], watch.states[name].reading
            where = reading.where if reading else ""
            found.append(Strip(name, some, watch.limits[name], rule.below, rule.means, rule.do, where))
    return sorted(found, key=lambda strip: (not strip.ever_sick, strip.rule))


def health(run: RunFolder) -> str:
    """A table of strips, then what each sick rule means and what helps. Empty where no rule had anything to read."""
    found = strips(run)
    if not found:
        return ""
    last = run.step
    rows = [
        f'<tr><th scope="row">{line(strip.rule)}</th><td>{_strip(strip, last)}</td><td class="number">{_value(strip)}</td>'
        f"<td>{_words(strip)}</td></tr>"
        for strip in found
    ]
    sick = [strip for strip in found if strip.ever_sick]
    means = "".join(
        f"<dt>{line(strip.rule)}</dt><dd>{line(strip.means)}. What helps: {line(strip.do)}.</dd>" for strip in sick
    )
    return (
        '<div class="scroll"><table class="health"><thead><tr><th>rule</th><th>steps</th><th class="number">last value</th>'
        f"<th>state</th></tr></thead><tbody>{''.join(rows)}</tbody></table></div>"
        + (f"<dl>{means}</dl>" if means else "")
    )


def _settings(run: RunFolder) -> HealthConfig:
    """The run's own limits; the defaults where its config is of another version."""
    try:
        return load_config(run.path / CONFIG_FILE).health
    except (UniGRPOError, OSError):
        return HealthConfig()


def _strip(strip: Strip, last: int) -> str:
    """From step 0 to the run's last: each reading up to the next; low and green is healthy, high and red is sick."""
    scale = _WIDTH / max(1, last)
    ends = [step for step, _, _ in strip.states[1:]] + [max(last, strip.states[-1][0] + 1)]
    bars = []
    for (step, sick, value), end in zip(strip.states, ends, strict=True):
        height = _HEIGHT if sick else _HEIGHT // 2
        bars.append(
            f'<rect class="{"sick" if sick else "well"}" x="{step * scale:.1f}" y="{_HEIGHT - height}" '
            f'width="{max(1.5, (end - step) * scale):.1f}" height="{height}"><title>step {step}: {number(value)}</title></rect>'
        )
    return (
        f'<svg class="strip" viewBox="0 0 {_WIDTH} {_HEIGHT}" preserveAspectRatio="none" role="img" '
        f'aria-label="{line(strip.rule)}"><rect class="unread" x="0" y="0" width="{_WIDTH}" height="{_HEIGHT}"/>'
        f"{''.join(bars)}</svg>"
    )


def _value(strip: Strip) -> str:
    side = "below" if strip.below else "above"
    where = f" ({line(strip.where, 80)})" if strip.where else ""
    return f'{number(strip.states[-1][2])}{where} <span class="soft">sick {side} {number(strip.limit)}</span>'


def _words(strip: Strip) -> str:
    if not strip.ever_sick:
        return '<span class="good">healthy</span>'
    first = next(step for step, sick, _ in strip.states if sick)
    now = '<b class="bad">sick at the end</b>' if strip.states[-1][1] else '<span class="good">healthy again</span>'
    return f"{now}, first sick at step {first}"
