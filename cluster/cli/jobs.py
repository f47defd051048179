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
        from cluster.jobs.shipping import Shipping
        from cluster.jobs.submit import Options
        from cluster.jobs.submit import submit as run

        shipping = Shipping(tuple(shared or ()), max_mib)
        options = Options(command, wait, tuple(env or ()), requirements, shipping, resubmits, head_wait)
        return run(address, recipe, overrides or [], options)

    console.run(body)


@jobs.command("list")
def jobs_list(address: Address = HERE) -> None:
    """Jobs of the cluster, the newest first."""

    def body() -> int:
        from datetime import datetime

        from cluster.jobs.server import JobServer

        for job in JobServer(address).jobs():
            began = datetime.fromtimestamp((job.began_ms or 0) / 1000).strftime("%F %T")
            typer.echo(f"{job.id}  {job.status:9}  {began}")
        return console.OK

    console.run(body)


@jobs.command("status")
def jobs_status(job: JobId, address: Address = HERE) -> None:
    """How one job does. Exit code: 0 while it runs and after success, else the job's own."""

    def body() -> int:
        from cluster.jobs.server import JobServer

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
        from cluster.jobs.server import JobServer

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
        from cluster.jobs.server import JobServer
        from cluster.jobs.submit import Options, Supervisor

        server = JobServer(address)
        if not follow:
            typer.echo(server.logs(job), nl=False)
            return console.OK
        return Supervisor(server, lambda _: job, Options(resubmits=0)).run(job)

    console.run(body)


manifest = typer.Typer(help="The same job for other schedulers, printed.", no_args_is_help=True)
Command = Annotated[str, typer.Option(help="train, sft or eval.")]
RecipeName = Annotated[str, typer.Option(help="A shipped recipe's name, or the path of a .yaml file.")]
Settings = Annotated[list[str] | None, typer.Argument(metavar="KEY=VALUE...", help="Settings that differ.")]
Shared = Annotated[list[Path] | None, typer.Option(help="A folder that every node has at the same path.")]
Gpus = Annotated[int, typer.Option(min=0, help="GPUs of one node.")]
Cpus = Annotated[int, typer.Option(min=1, help="CPUs of one node.")]
Memory = Annotated[int, typer.Option(min=1, help="GiB of memory of one node.")]


@manifest.command("kuberay")
def manifest_kuberay(
    image: Annotated[str, typer.Option(help="An image with unigrpo and its dependencies.")],
    claim: Annotated[str, typer.Option(metavar="NAME:/path", help="A volume claim of all pods, for output_dir.")],
    overrides: Settings = None,
    recipe: RecipeName = "tiny",
    command: Command = "train",
    secret: Annotated[list[str] | None, typer.Option(help="A Secret whose keys become variables.")] = None,
    shared: Shared = None,
    gpus_per_node: Gpus = 8,
    cpus_per_node: Cpus = 16,
    memory_gib: Memory = 64,
) -> None:
    """A KubeRay RayJob with its files: unigrpo manifest kuberay ... | kubectl apply -f -"""

    def body() -> int:
        from cluster.jobs.kuberay import KubeRay, kuberay
        from cluster.jobs.machines import Machines
        from cluster.jobs.shipping import Shipping
        from cluster.jobs.submit import Options, prepare

        mounted = (*(shared or ()), Path(claim.partition(":")[2] or "/"))
        shipment = prepare(recipe, overrides or [], Options(command, shipping=Shipping(mounted)))
        machines = Machines(gpus_per_node, cpus_per_node, memory_gib)
        typer.echo(kuberay(shipment, command, KubeRay(image, claim, tuple(secret or ())), machines), nl=False)
        return console.OK

    console.run(body)


@manifest.command("slurm")
def manifest_slurm(
    overrides: Settings = None,
    recipe: RecipeName = "tiny",
    command: Command = "train",
    gpus_per_node: Gpus = 8,
    cpus_per_node: Cpus = 16,
    memory_gib: Memory = 64,
) -> None:
    """A batch script that starts Ray on its nodes: unigrpo manifest slurm ... > job.sbatch && sbatch job.sbatch"""

    def body() -> int:
        from cluster.jobs.machines import Machines
        from cluster.jobs.shipping import Shipping
        from cluster.jobs.slurm import slurm
        from cluster.jobs.submit import Options, prepare

        shipment = prepare(recipe, overrides or [], Options(command, shipping=Shipping((Path("/"),))))
        typer.echo(slurm(shipment, command, Machines(gpus_per_node, cpus_per_node, memory_gib)), nl=False)
        return console.OK

    console.run(body)
