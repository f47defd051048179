"""What a run leaves for people: a before/after table, curves and drawings as PNG, summary.json, the MLflow command."""

from __future__ import annotations

import dataclasses
import io
import json
import logging
import shlex
import shutil
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console

from rl.checkpoints.files import read_inside, write_whole
from rl.config import Config
from rl.output.printable import said
from rl.output.secrets import redact
from rl.output.tables import PlainTable, Screen
from rl.tracking.contact_sheet import side_by_side
from rl.tracking.intervals import BOOTSTRAP, NORMAL, WILSON, Interval
from rl.tracking.metrics_file import SAMPLES_FOLDER, Point, curve, read_metrics
from rl.tracking.mlflow_address import store_uri
from rl.tracking.samples import load_drawings
from rl.types import Task

SUMMARY_FILE, CURVES_FILE, DRAWINGS_FILE = "summary.json", "curves.png", "drawings.png"
_TITLE = "Held-out sets: scores in percent, other rewards on their own scale"
_COUNTS = ("n", "failed", "score_ci95")
_METHODS = {
    WILSON: "Wilson's, for scores of 0 and 1",
    NORMAL: "normal, prompts being independent of each other",
    BOOTSTRAP: "bootstrap over prompts, for pass@k and maj@k",
}

_log = logging.getLogger(__name__)


def finish(
    console: Console, config: Config, summary: Mapping[str, Any], rows: Path | None = None, notes: Sequence[str] = ()
) -> list[Path]:
    """Write summary.json and the pictures into the run folder; print what came of the run, also into its log. Returns the
    files.

    rows: the file with every row of an evaluation. notes: lines to print before the files
    """
    run_dir = config.run_dir
    write_summary(run_dir, summary)
    points = read_metrics(run_dir)
    files = [run_dir / SUMMARY_FILE, rows, plot_curves(points, run_dir / CURVES_FILE), montage(run_dir)]
    if summary["tasks"]:
        table = evaluation_table(summary) if "intervals" in summary else results_table(summary)
        console.print(table)
        _log.info("%s", _as_text(table))
    failed = summary.get("failed", {})
    lines = [f"{task}: {count} held-out scores failed; they are in no mean" for task, count in failed.items()]
    lines += [*notes, *(str(file) for file in files if file is not None)]
    if config.tracking.mlflow:
        lines.append(mlflow_command(run_dir, config.tracking.uri))
    for index, line in enumerate(lines):
        style = "yellow" if index < len(failed) else None
        console.print(said(line), style=style, soft_wrap=True, highlight=False, markup=False)
        _log.info("%s", line)
    return [file for file in files if file is not None]


def _as_text(table: PlainTable) -> str:
    wide = Screen(file=io.StringIO(), width=120)
    with wide.capture() as shown:
        wide.print(table)
    return f"results:\n{shown.get().rstrip()}"


def summarise(
    config: Config,
    before: Mapping[str, float],
    after: Mapping[str, float],
    *,
    seconds: float,
    steps: int,
    weights_digest: str,
    sure: Mapping[str, Interval] | None = None,
) -> dict[str, Any]:
    """The content of summary.json.

    tasks           {task: {before, after}}: mean held-out score; None where that evaluation was switched off or had
                    no usable score
    sources, parts  the same per source, and per reward under ``{task}/{reward}``
    failed          {task: held-out scores that failed, of all evaluations together}, where there were any
    weights_digest  SHA-256 over the final weights
    intervals       of one evaluation (``sure``): {name of a metric: {n, low, high, method}}, 95%
    """
    tasks, sources, parts = _names(before.keys() | after.keys())
    sides = (before, after) if sure is None else (after,)  # one evaluation is both
    counts = {task: sum(int(side.get(f"val/{task}/failed", 0)) for side in sides) for task in tasks}
    return {
        "tasks": {task: _pair(f"val/{task}/score", before, after) for task in tasks},
        "sources": {source: _pair(f"val/{source}/score", before, after) for source in sources},
        "parts": {part: _pair(f"val/{part}", before, after) for part in parts},
        "failed": {task: count for task, count in counts.items() if count},
        **({} if sure is None else {"intervals": {name: dataclasses.asdict(one) for name, one in sure.items()}}),
        "seconds": round(seconds, 1),
        "steps": steps,
        "weights_digest": weights_digest,
        "seed": config.seed,
        "schedule": config.learner.algorithm.schedule,
        "scored_by": {
            task: sorted(k for k, weight in mix.items() if weight) for task, mix in config.evaluation.mix.items()
        },
        "trained_on": {
            task: sorted(k for k, weight in mix.items() if weight) for task, mix in config.rewards.mix.items()
        },
    }


def write_summary(run_dir: Path, summary: Mapping[str, Any]) -> Path:
    """Whole or absent."""
    return write_whole(run_dir / SUMMARY_FILE, json.dumps(summary, indent=2, allow_nan=False) + "\n")


def read_summary(run_dir: Path) -> dict[str, Any] | None:
    """None where the run has not finished."""
    try:
        return json.loads(read_inside(run_dir / SUMMARY_FILE, run_dir))
    except (OSError, ValueError, RecursionError):
        return None


def results_table(summary: Mapping[str, Any]) -> PlainTable:
    """Held-out means: tasks in percent, then each other reward on its own scale, then sources in percent."""
    table = PlainTable(title=_TITLE, title_justify="left")
    for name in ("", "before", "after", "change"):
        table.add_column(name, justify="left" if not name else "right")
    scored_by, trained_on = summary.get("scored_by", {}), summary.get("trained_on", {})
    for task, pair in summary["tasks"].items():
        by = " + ".join(scored_by.get(task, ()))
        table.add_row(f"{task} ({by})" if by else task, *_cells(pair), style="bold")
    table.add_section()
    for name, pair in summary["parts"].items():
        task, part = name.split("/", 1)
        if scored_by.get(task) != [part]:
            table.add_row(
                f"{task}: {part}{', trained on' if part in trained_on.get(task, ()) else ''}", *_cells(pair, 1, 3)
            )
    table.add_section()
    for source, pair in summary["sources"].items():
        table.add_row(source, *_cells(pair))
    return table


def evaluation_table(summary: Mapping[str, Any]) -> PlainTable:
    """One evaluation: the mean, how many scores it is of, and its 95% interval. Scales as in ``results_table``."""
    intervals = summary["intervals"]
    several = [
        (f"{task}: {kind}@{k}", one)
        for kind in ("pass", "maj")
        for task, by_k in summary.get(f"{kind}_at_k", {}).items()
        for k, one in by_k.items()
    ]
    methods = {one["method"] for one in (*intervals.values(), *(one for _, one in several))}
    used = [_METHODS[name] for name in _METHODS if name in methods]
    caption = f"95% intervals: {'; '.join(used)}" if used else None
    table = PlainTable(title=_TITLE, title_justify="left", caption=caption, caption_justify="left")
    for name in ("", "score", "n", "95% interval"):
        table.add_column(name, justify="left" if not name else "right", no_wrap=bool(name))
    scored_by = summary.get("scored_by", {})

    def add(label: str, one: Any, value: float | None, scale: int, places: int, style: str = "") -> None:
        count = "" if one is None else str(one["n"])
        between = "-" if one is None else " to ".join(_cell(one[end], scale, places) for end in ("low", "high"))
        table.add_row(label, _cell(value, scale, places), count, between, style=style)

    for task, pair in summary["tasks"].items():
        by = " + ".join(scored_by.get(task, ()))
        add(f"{task} ({by})" if by else task, intervals.get(f"val/{task}/score"), pair["after"], 100, 1, "bold")
    for label, one in several:
        add(label, one, one["value"], 100, 1)
    table.add_section()
    for name, pair in summary["parts"].items():
        task, part = name.split("/", 1)
        if scored_by.get(task) != [part]:
            add(f"{task}: {part}", intervals.get(f"val/{name}"), pair["after"], 1, 3)
    table.add_section()
    for source, pair in summary["sources"].items():
        add(source, intervals.get(f"val/{source}/score"), pair["after"], 100, 1)
    return table


def plot_curves(points: Sequence[Point], path: Path) -> Path | None:
    """A column a task: training reward (or fine-tuning loss) above; held-out score and every other reward below.

    A reward that rises while the held-out score stands still is being hacked. The lower picture shows both.
    None where no task has a number.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    names = {name for point in points for name in point.metrics}
    tasks = [task for task in map(str, Task) if {*_training_curves(task), f"val/{task}/score"} & names]
    if not tasks:
        return None
    figure = Figure(figsize=(4.6 * len(tasks), 6.4), layout="constrained")
    axes = figure.subplots(2, len(tasks), squeeze=False)
    for column, task in enumerate(tasks):
        _plot_training(axes[0, column], points, task)
        _plot_held_out(axes[1, column], points, task, sorted(names))
    FigureCanvasAgg(figure).print_png(path)
    return path


def montage(run_dir: Path) -> Path | None:
    """The same held-out captions drawn before the first step and after the last; None where nothing was drawn."""
    evaluated = {int(folder.name[4:]): folder for folder in (run_dir / SAMPLES_FOLDER).glob("val-*")}
    drawn = {step: load_drawings(folder) for step, folder in sorted(evaluated.items())}
    steps = [step for step, found in drawn.items() if found]
    if not steps:
        return None
    shown = dict.fromkeys((steps[0], steps[-1]))
    titled = [("before training" if step == 0 else f"after {step} steps", drawn[step]) for step in shown]
    path = run_dir / DRAWINGS_FILE
    side_by_side(titled).save(path)
    return path


def mlflow_command(run_dir: Path, uri: str | None = None) -> str:
    """The shell command that opens MLflow on the run, or where its server is."""
    if uri and uri.lower().startswith(("http:", "https:", "databricks")):
        return f"MLflow: {redact(uri)}"
    program = "mlflow" if shutil.which("mlflow") else str(Path(sys.executable).with_name("mlflow"))
    return shlex.join([program, "ui", "--backend-store-uri", uri or store_uri(run_dir)])


def _names(metrics: Iterable[str]) -> tuple[list[str], list[str], list[str]]:
    """Tasks, sources and ``{task}/{reward}`` among names of held-out metrics."""
    known = [str(task) for task in Task]
    inner = sorted(name.removeprefix("val/") for name in metrics if name.startswith("val/"))
    scored = [name.removesuffix("/score") for name in inner if name.endswith("/score")]
    parts = [name for name in inner if name.split("/", 1)[0] in known and not _is_count_or_score(name)]
    tasks = [task for task in known if task in scored]
    return tasks, [name for name in scored if name.split("/", 1)[0] not in known], parts


def _is_count_or_score(name: str) -> bool:
    last = name.split("/", 1)[1]
    return last in (*_COUNTS, "score") or last.startswith("failed_")


def _pair(name: str, before: Mapping[str, float], after: Mapping[str, float]) -> dict[str, float | None]:
    return {"before": before.get(name), "after": after.get(name)}


def _cells(pair: Mapping[str, float | None], scale: int = 100, places: int = 1) -> tuple[str, str, str]:
    before, after = pair["before"], pair["after"]
    change = "-" if before is None or after is None else f"{scale * (after - before):+.{places}f}"
    return _cell(before, scale, places), _cell(after, scale, places), change


def _cell(value: float | None, scale: int, places: int) -> str:
    return "-" if value is None else f"{scale * value:.{places}f}"


def _plot_training(axes: Any, points: Sequence[Point], task: str) -> None:
    curves = {label: curve(list(points), name) for name, label in _training_curves(task).items()}
    label = next((label for label, (steps, _) in curves.items() if steps), "training reward")
    steps, values = curves[label]
    axes.set_title(f"{task}: {label}")
    axes.set_xlabel("step")
    axes.grid(alpha=0.3)
    axes.plot(steps, values, color="tab:blue", alpha=0.3, linewidth=1)
    axes.plot(steps, _smooth(values), color="tab:blue", linewidth=2)


def _training_curves(task: str) -> dict[str, str]:
    return {f"rewards/{task}/mean": "training reward", f"sft/loss/{task}": "training loss"}


def _plot_held_out(axes: Any, points: Sequence[Point], task: str, names: Sequence[str]) -> None:
    axes.set_title(f"{task}: held out")
    axes.set_xlabel("step")
    axes.set_ylabel("score")
    axes.grid(alpha=0.3)
    steps, values = curve(list(points), f"val/{task}/score")
    axes.plot(steps, values, color="tab:green", marker="o", label="score")
    others = [name for name in names if name.startswith(f"val/{task}/") and not _is_count_or_score(name[4:])]
    lines, beside = list(axes.get_lines()), 0
    for index, name in enumerate(others):
        part, label, colour = curve(list(points), name), name.rsplit("/", 1)[1], f"C{index + 3}"
        if part == (steps, values):
            lines[0].set_label(f"{lines[0].get_label()} = {label}")
            continue
        place = axes
        if not _are_shares(values) or not _are_shares(part[1]):
            place, beside = _axis_beside(axes, label, colour, beside), beside + 1
        lines += place.plot(*part, color=colour, marker=".", linestyle="--", label=label)
    axes.legend(handles=lines, loc="best", fontsize="small")


def _are_shares(values: Sequence[float]) -> bool:
    """From 0 to 1, so that they may stand on one axis: a reward of another unit would press all others flat."""
    return all(0 <= value <= 1 for value in values)


def _axis_beside(axes: Any, label: str, colour: str, others: int) -> Any:
    """An axis of its own for one reward, to the right of those that are there."""
    beside = axes.twinx()
    beside.spines["right"].set_position(("outward", 44 * others))
    beside.set_ylabel(f"{label}, before weighting", color=colour)
    beside.tick_params(axis="y", colors=colour)
    return beside


def _smooth(values: Sequence[float], window: int = 9) -> np.ndarray:
    """Mean over the last ``window`` values."""
    sums = np.concatenate([[0.0], np.cumsum(values)])
    ends = np.arange(1, len(values) + 1)
    starts = np.maximum(0, ends - window)
    return (sums[ends] - sums[starts]) / (ends - starts)
