"""``unigrpo report RUN [RUN...]``: one HTML page about a run, or about several beside each other."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cluster import console

if TYPE_CHECKING:
    from rl.config import Config

ONE, SEVERAL = "report.html", "comparison.html"
MOST_RUNS = 64

_log = logging.getLogger(__name__)


def register(app: typer.Typer) -> None:
    app.command("report")(report)


def report(
    runs: Annotated[list[Path], typer.Argument(metavar="RUN", help="Runs' folders, or their names in runs/.")],
    out: Annotated[
        Path | None,
        typer.Option(help="The file to write; default: report.html in the run, comparison.html above several runs."),
    ] = None,
    mlflow: Annotated[
        bool | None,
        typer.Option(
            help="Log it to the runs' pages in MLflow; default: where their store is in the folder above them, and no server."
        ),
    ] = None,
) -> None:
    """Write one self-contained page: curves, health, seconds, faults, samples before and after, settings that differ.

    Runs that share their config apart from the seed are one curve with the spread of its seeds.
    """

    def body() -> int:
        from rl.tracking.pages.report.page import write_report

        folders = _folders(runs)
        page = _place(out, folders)
        write_report(folders, page, _recipe)
        console.show(page)
        if mlflow is not False:
            _link(folders, page, elsewhere=mlflow is True)
        return console.OK

    console.run(body)


def closing_report(config: Config) -> list[Path]:
    """The report of a run that has ended, in its folder. What fails here is said in the log, and fails no run."""
    try:
        from rl.tracking.pages.report.page import write_report

        return [write_report([config.run_dir], config.run_dir / ONE, _recipe)]
    except Exception as error:
        _log.warning("no report of this run: %r; unigrpo report %s makes one", error, config.run_dir)
        return []


def _folders(runs: Sequence[Path]) -> list[Path]:
    """Raises ConfigError."""
    from rl.errors import ConfigError

    if len(runs) > MOST_RUNS:
        raise ConfigError(f"{len(runs)} runs: allowed: 1 to {MOST_RUNS} in one report; leave some out")
    folders = [run if run.is_dir() or not (Path("runs") / run).is_dir() else Path("runs") / run for run in runs]
    return list({folder.resolve(): folder for folder in folders}.values())


def _place(out: Path | None, folders: Sequence[Path]) -> Path:
    """Raises ConfigError where the page cannot be written."""
    from cluster.run.writable import file_problem
    from rl.errors import ConfigError

    if out is not None and out.suffix.lower() not in (".html", ".htm"):
        raise ConfigError(f"--out {out}: allowed: a name that ends in .html")
    page = out or (folders[0] / ONE if len(folders) == 1 else folders[0].absolute().parent / SEVERAL)
    if (out is not None or page.parent.is_dir()) and (problem := file_problem(page)):
        raise ConfigError(f"--out {page}: cannot be written: {problem}; give another file: --out FILE.html")
    return page


def _recipe(name: str) -> Config:
    from cluster.plan.family import with_family

    return with_family(name, [])[0]


def _link(folders: Sequence[Path], page: Path, *, elsewhere: bool) -> None:
    """The page as an artifact of each run that is in MLflow. A store that does not take it is a line."""
    from rl.tracking.mlflow.link import link

    for folder in folders:
        if said := link(folder, page, "report" if len(folders) == 1 else "comparison", elsewhere):
            console.say(said)
