"""What a submitted job runs on the cluster: ``python -m cluster.jobs.entry COMMAND``, in the folder that came with it.

It imports the standard library alone until it knows that the rest is there: a package that the cluster lacks is one line.
"""

from __future__ import annotations

import importlib.util
import os
import sys
from collections.abc import Mapping
from pathlib import Path

from cluster.actors.process import take_secrets
from cluster.jobs.needs import COMMANDS, CONFIG_FILE, MODULES

REFUSED = 2
MOVED = "UNIGRPO_IN_RAYS_PYTHON"
ANCESTORS = 6  # a shell or two lie between this process and Ray's


def main(command: str) -> None:
    go_to_rays_python(command)
    problem = why_not(command)
    if problem:
        print(f"error: {problem}", file=sys.stderr, flush=True)
        raise SystemExit(REFUSED)
    take_secrets(Path.cwd())
    from cluster import console
    from cluster.cli import runs

    work = {"train": runs.train, "sft": runs.sft, "eval": runs.evaluate}[command]
    import typer

    try:
        console.run(lambda: work(CONFIG_FILE, ()))
    except typer.Exit as done:  # outside a command of Typer's, nobody turns it into an exit code
        raise SystemExit(done.exit_code) from None


def why_not(command: str, modules: Mapping[str, str] = MODULES) -> str | None:
    """Why this job cannot run here, in one line, or None."""
    if command not in COMMANDS:
        return f"job: unknown command {command!r}; allowed: {', '.join(COMMANDS)}"
    if sys.version_info < (3, 11):  # noqa: UP036 - the cluster's Python is whatever it is
        return f"the cluster's Python is {sys.version.split()[0]}, at least 3.11 is needed: start Ray from a newer one"
    missing = sorted(package for package, module in modules.items() if importlib.util.find_spec(module) is None)
    if missing:
        return (
            f"the cluster's Python ({sys.executable}) lacks {', '.join(missing)}: install unigrpo's dependencies on "
            "every node, or submit with --requirements FILE"
        )
    return None


def go_to_rays_python(command: str) -> None:
    """Ray starts a job with whatever ``python`` is first on the PATH of the shell that started the head. Where that is not the
    one that Ray itself runs in, this process becomes that one.

    The runtime environment's ``py_executable`` does not do this: Ray starts workers with it, but a job's driver through a
    shell that does not look at it. Tried with Ray 2.60, whose head ran from a virtual environment that was not activated.
    """
    if importlib.util.find_spec("ray") is not None or os.environ.get(MOVED):
        return
    python = rays_python(os.getppid())
    if python is not None:
        os.environ[MOVED] = "1"
        os.execv(python, [python, "-m", "cluster.jobs.entry", command])


def rays_python(pid: int) -> str | None:
    """The Python of the first process, from this one upwards, that has Ray's library loaded; None where none is found."""
    for _ in range(ANCESTORS):
        try:
            maps = Path(f"/proc/{pid}/maps").read_text()
            pid = int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
        except (OSError, ValueError):
            return None
        for line in maps.splitlines():
            place = Path(line.partition("/")[1] + line.partition("/")[2])
            if place.name.startswith("_raylet") and place.parent.name == "ray":
                prefix = place.parents[4]  # PREFIX/lib/python3.X/site-packages/ray/_raylet.so
                found = [prefix / "bin" / name for name in ("python", "python3") if (prefix / "bin" / name).is_file()]
                return str(found[0]) if found else None
    return None


if __name__ == "__main__":
    main(sys.argv[1] if len(sys.argv) > 1 else "")
