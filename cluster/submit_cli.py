"""The command line of ``unigrpo submit`` and ``unigrpo jobs``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from cluster import console

Address = Annotated[
    str,
    typer.Option(envvar="RAY_API_SERVER_ADDRESS", help="The head's job server, http://HOST:8265."),
]
JobId = Annotated[str, typer.Argument(metavar="JOB", help="The name that submit printed.")]
HERE = "http://127.0.0.1:8265"

jobs = typer.Typer(help="Jobs that were submitted to a cluster.", no_args_is_help=True)


def submit(
    overrides: Annotated[list[str] | None, typer.Argument(metavar="KEY=VALUE...", help="Settings that differ.")] = None,
    recipe: Annotated[str, typer.Option(help="A shipped recipe's name, or the path of a .yaml file.")] = "tiny",
    address: Address = HERE,
    command: Annotated[str, typer.Option(help="train, sft or eval.")] = "train",
    wait: Annotated[bool, typer.Option(help="Follow the log, and exit as the job does.")] = True,
    env: Annotated[
        list[str] | None, typer.Option(help="Name of a variable to hand to the job; its value stays out of logs.")
    ] = None,
    requirements: Annotated[
        Path | None, typer.Option(help="Packages to install for the job, as pip reads them.")
    ] = None,
    shared: Annotated[
        list[Path] | None,
        typer.Option(help="A folder that every node has at the same path: sent along is nothing of it."),
    ] = None,
    max_mib: Annotated[float, typer.Option(min=0.1, help="The most of your files that is sent along.")] = 100.0,
    resubmits: Annotated[int, typer.Option(min=0, help="How often a lost job is started again.")] = 3,
    head_wait: Annotated[float, typer.Option(min=0, help="Seconds to wait for a head that went away.")] = 600.0,
) -> None:
    """Run a recipe on a Ray cluster as a job: code and files are sent along, the log is followed, a lost job resumes."""

    def body() -> int:
        from cluster.job_files import Shipping
        from cluster.submit import Options
        from cluster.submit import submit as run

        shipping = Shipping(tuple(shared or ()), max_mib)
        options = Options(command, wait, tuple(env or ()), requirements, shipping, resubmits, head_wait)
        return run(address, recipe, overrides or [], options)

    console.run(body)


@jobs.command("list")
def jobs_list(address: Address = HERE) -> None:
    """Jobs of the cluster, the newest first."""

    def body() -> int:
        from datetime import datetime

        from cluster.jobs import JobServer

        for job in JobServer(address).jobs():
            began = datetime.fromtimestamp((job.began_ms or 0) / 1000).strftime("%F %T")
            typer.echo(f"{job.id}  {job.status:9}  {began}")
        return console.OK

    console.run(body)


@jobs.command("status")
def jobs_status(job: JobId, address: Address = HERE) -> None:
    """How one job does. Exit code: 0 while it runs and after success, else the job's own."""

    def body() -> int:
        from cluster.jobs import JobServer

        found = JobServer(address).job(job)
        typer.echo(f"{found.id}  {found.status}  {found.message}")
        if found.running or found.status == "SUCCEEDED":
            return console.OK
        return found.exit_code if found.exit_code and found.exit_code > 0 else console.CRASHED

    console.run(body)


@jobs.command("stop")
def jobs_stop(job: JobId, address: Address = HERE) -> None:
    """End a job. Its run can go on later: submit the same recipe again."""

    def body() -> int:
        from cluster.jobs import JobServer

        stopped = JobServer(address).stop(job)
        typer.echo(f"{job}  {'is being stopped' if stopped else 'was not running'}")
        return console.OK

    console.run(body)


@jobs.command("logs")
def jobs_logs(
    job: JobId, address: Address = HERE, follow: Annotated[bool, typer.Option(help="Until the job ends.")] = False
) -> None:
    """What a job has written; with --follow, the exit code is the job's."""

    def body() -> int:
        from cluster.jobs import JobServer
        from cluster.submit import Options, Supervisor

        server = JobServer(address)
        if not follow:
            typer.echo(server.logs(job), nl=False)
            return console.OK
        return Supervisor(server, lambda _: job, Options(resubmits=0)).run(job)

    console.run(body)
