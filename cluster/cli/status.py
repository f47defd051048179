"""``unigrpo status RUN``: where a run is, whom it waits for, and on request where a stuck process stands."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Annotated

import typer

from cluster import console

Run = Annotated[Path, typer.Argument(help="A run's folder, or its name in runs/.")]

LONGEST = 400  # characters of what one actor does
MOST_ACTORS = 1000  # that are shown


def register(app: typer.Typer) -> None:
    app.command("status")(status)


def status(
    run: Run,
    stacks: Annotated[
        str | None, typer.Option(help="An actor's name, or driver: print where its threads stand.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Where a run is: its actors, their queues, and the one that is waited for."""

    def body() -> int:
        folder = run if run.is_dir() else Path("runs") / run
        if stacks is not None:
            return show_stacks(folder, stacks)
        return show_json(folder) if as_json else show(folder)

    console.run(body)


def show(run_dir: Path) -> int:
    from cluster.run.status import driver_state, read_status
    from rl.output.printable import printable
    from rl.output.tables import PlainTable, Screen

    found = read_status(run_dir)
    table = PlainTable(box=None, pad_edge=False)
    for column in ("actor", "doing", "s", "weights", "last beat s", "process"):
        table.add_column(column, justify="right" if column in ("s", "weights", "last beat s") else "left")
    for actor in found.actors[:MOST_ACTORS]:
        version = "" if actor.version is None else str(actor.version)
        beat = "none" if actor.beat_age_s is None else f"{actor.beat_age_s:.1f}"
        where = "" if actor.pid is None else f"{actor.pid} on {actor.host}"
        cells = (actor.name, actor.doing, f"{actor.seconds:.0f}", version, beat, where)
        table.add_row(*(printable(cell, limit=LONGEST) for cell in cells))
    screen = Screen(soft_wrap=True)
    driver = driver_state(found)
    line = f"{found.phase}, step {found.step} of {found.steps}; driver {found.pid} on {found.host}: {driver}"
    screen.print(printable(line, limit=LONGEST))
    if found.actors:
        screen.print(table)
    if len(found.actors) > MOST_ACTORS:
        screen.print(f"and {len(found.actors) - MOST_ACTORS:,} more actors")
    if found.queues:
        queues = ", ".join(f"{count} {name}" for name, count in found.queues.items())
        screen.print(printable(f"waiting: {queues}", limit=LONGEST))
    screen.print(printable(found.sentence if found.actors else "no actors", limit=2 * LONGEST))
    return console.OK


def show_json(run_dir: Path) -> int:
    from cluster.run.status import driver_state, read_status

    found = read_status(run_dir)
    console.show(json.dumps({**dataclasses.asdict(found), "driver": driver_state(found)}, indent=2))
    return console.OK


def show_stacks(run_dir: Path, name: str) -> int:
    from cluster.run.status import DRIVER, ActorStatus, dump_stacks, read_status
    from rl.errors import ConfigError

    found = read_status(run_dir)
    driver = ActorStatus(DRIVER, found.phase, 0.0, pid=found.pid, host=found.host)
    actors = {actor.name: dataclasses.replace(actor) for actor in (*found.actors, driver)}
    if name not in actors:
        raise ConfigError(f"--stacks {name!r}: no such actor; allowed: {', '.join(list(actors)[:100])}")
    console.show(dump_stacks(run_dir, actors[name]))
    return console.OK
