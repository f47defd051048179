"""The report: one HTML file that needs nothing from anywhere else."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from pathlib import Path

from rl.checkpoints.files import write_whole
from rl.config import load_config
from rl.tracking.pages.html import line, page
from rl.tracking.pages.report import curves
from rl.tracking.pages.report.charts import COLOURS, number
from rl.tracking.pages.report.folder import Family, RunFolder, families, read_run
from rl.tracking.pages.report.health import health
from rl.tracking.pages.report.samples import samples
from rl.tracking.pages.report.seconds import bar, duration, faults_table
from rl.tracking.pages.report.settings import RecipeOf, settings_table
from rl.types import Task

TEMPLATE = "report/report.html"
FILE = "report.html"
_BANDS = "Band: from the lowest to the highest seed, or one run's 95% interval."


def write_report(paths: Sequence[Path], out: Path, recipe_of: RecipeOf = load_config) -> Path:
    """Raises ConfigError where a folder is no run."""
    return write_whole(out, report([read_run(path) for path in paths], recipe_of))


def report(runs: Sequence[RunFolder], recipe_of: RecipeOf = load_config) -> str:
    """HTML about these runs. Runs that share their config apart from the seed are one curve with a band."""
    grouped = families(runs)
    sections = [
        _section("Held-out scores", _drawn(grouped, curves.held_out), _BANDS),
        _section("Rewards of training", _drawn(grouped, curves.rewards), _smooth(grouped)),
        _section("Samples before and after", _each(grouped, lambda one: samples(one.runs[0]), first=True)),
        _section("Health over time", _each_run(grouped, health)),
        _section("The policy on the way", _drawn(grouped, curves.policy), _smooth(grouped)),
        _section("Where the seconds went", _each_run(grouped, bar) + _drawn(grouped, curves.speed)),
        _section("Faults survived", _each_run(grouped, faults_table)),
        _section("Config against the recipe", _each(grouped, lambda one: settings_table(one.runs, recipe_of))),
    ]
    names = ", ".join(run.name for run in runs)
    body = [f"<h1>{line(names, 300)}</h1>", _overview(grouped), *sections]
    return page(TEMPLATE, TITLE=f"Report: {line(names, 100)}", BODY="\n".join(body))


def _overview(grouped: Sequence[Family]) -> str:
    tasks = [str(task) for task in Task if any(_ends(run, task) for one in grouped for run in one.runs)]
    rows = "".join(_run_row(run, one.colour, tasks) for one in grouped for run in one.runs)
    heads = "".join(f'<th class="number">{task}</th>' for task in tasks)
    note = "Held-out scores: the first evaluation, then the last." if tasks else ""
    return (
        '<div class="scroll"><table><thead><tr><th>run</th><th class="number">seed</th><th class="number">steps</th>'
        "<th>state</th>"
        f'{heads}<th>first number</th><th class="number">took</th></tr></thead><tbody>{rows}</tbody></table></div>'
        f'<p class="soft">{note}</p>'
    )


def _run_row(run: RunFolder, colour: int, tasks: Sequence[str]) -> str:
    asked = run.settings.get("sft.steps" if run.command == "sft" else "steps")
    steps = f"{run.step}" if run.command == "eval" else f"{run.step} of {line(asked, 20)}"
    state = "finished" if run.summary is not None else "not finished"
    began = min(point.time for point in run.points)
    return (
        f'<tr><th scope="row">{_key(colour)}{line(run.name, 120)} <span class="soft">{line(run.command, 20)}</span></th>'
        f'<td class="number">{line(run.seed, 20)}</td><td class="number">{steps}</td><td>{state}</td>'
        f"{''.join(_scores(run, task) for task in tasks)}<td>{_clock(began)}</td>"
        f'<td class="number">{duration(run.points[-1].time - began)}</td></tr>'
    )


def _scores(run: RunFolder, task: str) -> str:
    ends = _ends(run, task)
    if not ends:
        return '<td class="number">-</td>'
    if len(ends) == 1:
        return f'<td class="number">{number(ends[0])}</td>'
    kind = "good" if ends[1] > ends[0] else "bad" if ends[1] < ends[0] else ""
    return f'<td class="number">{number(ends[0])} \u2192 <b class="{kind}">{number(ends[1])}</b></td>'


def _ends(run: RunFolder, task: str) -> list[float]:
    values = [each for point in run.points if (each := point.metrics.get(f"val/{task}/score")) is not None]
    return values[:1] + values[-1:] if len(values) > 1 else values


def _section(title: str, content: str, note: str = "") -> str:
    """Empty where there is nothing in it."""
    said = f'<p class="soft">{note}</p>' if note else ""
    return f"<section><h2>{title}</h2>{said}{content}</section>" if content else ""


def _drawn(grouped: Sequence[Family], curves_of: Callable[[Sequence[Family]], list[str]]) -> str:
    """Figures in a grid, under what their colours mean where there are several."""
    found = "".join(curves_of(grouped))
    keys = "".join(f"<span>{_key(one.colour)}{line(one.label, 200)}</span>" for one in grouped)
    legend = f'<p class="legend">{keys}</p>' if len(grouped) > 1 else ""
    return f'{legend}<div class="grid">{found}</div>' if found else ""


def _each(grouped: Sequence[Family], content: Callable[[Family], str], *, first: bool = False) -> str:
    found = []
    for one in grouped:
        if inside := content(one):
            label = one.runs[0].name if first else one.label
            found.append(_titled(label, one.colour, inside, len(grouped) > 1 or len(one.runs) > 1))
    return "".join(found)


def _each_run(grouped: Sequence[Family], content: Callable[[RunFolder], str]) -> str:
    several = sum(len(one.runs) for one in grouped) > 1
    found = [(run, one.colour, content(run)) for one in grouped for run in one.runs]
    return "".join(_titled(run.name, colour, inside, several) for run, colour, inside in found if inside)


def _titled(label: str, colour: int, content: str, several: bool) -> str:
    return f"<h3>{_key(colour)}{line(label, 200)}</h3>{content}" if several else content


def _key(colour: int) -> str:
    return f'<svg class="key" viewBox="0 0 10 10"><rect class="fill c{colour % COLOURS}" width="10" height="10"/></svg>'


def _smooth(grouped: Sequence[Family]) -> str:
    return (
        "Curves of more than 30 steps are means of the last 9."
        if any(r.step > 30 for f in grouped for r in f.runs)
        else ""
    )


def _clock(seconds: float) -> str:
    try:
        return time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime(seconds))
    except (ValueError, OverflowError, OSError):
        return "-"
