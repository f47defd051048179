"""The command line of ``unigrpo submit``, ``unigrpo jobs`` and ``unigrpo manifest``."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Annotated

import typer

from cluster import console

Address = Annotated[
    str,
    typer.Option(
        metavar="URL",
        envvar="RAY_API_SERVER_ADDRESS",
        show_envvar=False,
        help="URL of the Ray head's job server. $RAY_API_SERVER_ADDRESS sets it too.",
    ),
]
JobId = Annotated[str, typer.Argument(metavar="JOB", show_default=False, help="Job name, as submit prints it.")]
HERE = "http://127.0.0.1:8265"

jobs = typer.Typer(help="List, follow and stop jobs on a Ray cluster.", no_args_is_help=True)
Settings = Annotated[
    list[str] | None, typer.Argument(metavar="KEY=VALUE...", help="Settings that override the recipe's.")
]
RecipeName = Annotated[str, typer.Option(metavar="RECIPE", help="Name of a shipped recipe, or path of a .yaml file.")]
Command = Annotated[str, typer.Option(metavar="NAME", help="What to run: train, sft or eval.")]
Shared = Annotated[
    list[Path] | None,
    typer.Option(
        metavar="FOLDER",
        help="Folder that exists at the same path on every node; not uploaded. Repeat for more.",
    ),
]


def submit(
    overrides: Settings = None,
    recipe: RecipeName = "tiny",
    address: Address = HERE,
    command: Command = "train",
    wait: Annotated[
        bool, typer.Option("--wait/--no-wait", help="Follow the log and exit with the job's exit code.")
    ] = True,
    env: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME",
            help="Environment variable to pass to the job. Its value appears in no log. Repeat for more.",
        ),
    ] = None,
    requirements: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Packages to install for this job, in pip's format.")
    ] = None,
    shared: Shared = None,
    max_mib: Annotated[
        float, typer.Option(metavar="MIB", min=0.1, help="Upload limit for your files, in MiB.")
    ] = 100.0,
    resubmits: Annotated[
        int, typer.Option(metavar="N", min=0, help="How many times to resubmit a job that is lost.")
    ] = 3,
    head_wait: Annotated[
        float, typer.Option(metavar="SECONDS", min=0, help="How long to wait for a Ray head that went away.")
    ] = 600.0,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print what would be sent, and end.")] = False,
) -> None:
    """Run a recipe as a job on a Ray cluster.

    Uploads the code and the files that the recipe names, then follows the log.
    A job that is lost is resubmitted and resumes from its last checkpoint.
    """

    def body() -> int:
        from cluster.jobs.shipping import Shipping
        from cluster.jobs.submit import Options
        from cluster.jobs.submit import submit as run

        shipping = Shipping(tuple(shared or ()), max_mib)
        options = Options(command, wait, tuple(env or ()), requirements, shipping, resubmits, head_wait, dry_run)
        return run(address, recipe, overrides or [], options)

    console.run(body)


AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]


@jobs.command("list")
def jobs_list(address: Address = HERE, as_json: AsJson = False) -> None:
    """List the jobs, newest first."""

    def body() -> int:
        from datetime import datetime

        from cluster.jobs.server import JobServer

        found = JobServer(address).jobs()
        if as_json:
            console.show(json.dumps([dataclasses.asdict(job) for job in found], indent=2))
            return console.OK
        for job in found:
            began = datetime.fromtimestamp((job.began_ms or 0) / 1000).strftime("%F %T")
            console.show(f"{job.id}  {job.status:9}  {began}")
        return console.OK

    console.run(body)


@jobs.command("status")
def jobs_status(job: JobId, address: Address = HERE, as_json: AsJson = False) -> None:
    """Print the status of one job.

    Exit code: 0 if the job runs or has succeeded, else the job's own.
    """

    def body() -> int:
        from cluster.jobs.server import JobServer

        found = JobServer(address).job(job)
        text = f"{found.id}  {found.status}  {found.message}"
        console.show(json.dumps(dataclasses.asdict(found), indent=2) if as_json else text)
        if found.running or found.status == "SUCCEEDED":
            return console.OK
        return found.exit_code if found.exit_code and found.exit_code > 0 else console.CRASHED

    console.run(body)


@jobs.command("stop")
def jobs_stop(job: JobId, address: Address = HERE) -> None:
    """Stop a job. To continue its run later, submit the same recipe again."""

    def body() -> int:
        from cluster.jobs.server import JobServer

        stopped = JobServer(address).stop(job)
        console.show(f"{job}  {'is being stopped' if stopped else 'was not running'}")
        return console.OK

    console.run(body)


@jobs.command("logs")
def jobs_logs(
    job: JobId,
    address: Address = HERE,
    follow: Annotated[bool, typer.Option("--follow", help="Keep printing until the job ends.")] = False,
) -> None:
    """Print a job's log. With --follow, exit with the job's exit code."""

    def body() -> int:
        from cluster.jobs.server import JobServer
        from cluster.jobs.submit import Options, Supervisor, write_log

        server = JobServer(address)
        if not follow:
            write_log(server.logs(job))
            return console.OK
        return Supervisor(server, lambda _: job, Options(resubmits=0)).run(job)

    console.run(body)


manifest = typer.Typer(help="Print a recipe as a job for KubeRay or Slurm.", no_args_is_help=True)
Gpus = Annotated[int, typer.Option(metavar="N", min=0, help="GPUs of one node.")]
Cpus = Annotated[int, typer.Option(metavar="N", min=1, help="CPUs of one node.")]
Memory = Annotated[int, typer.Option(metavar="GIB", min=1, help="Memory of one node, in GiB.")]


@manifest.command("kuberay", epilog="KEY=VALUE changes one setting of the recipe; `unigrpo config` shows all of them.")
def manifest_kuberay(
    image: Annotated[str, typer.Option(metavar="IMAGE", help="Container image with unigrpo and its packages.")],
    claim: Annotated[str, typer.Option(metavar="NAME:/PATH", help="Volume claim that all pods mount, for output_dir.")],
    overrides: Settings = None,
    recipe: RecipeName = "tiny",
    command: Command = "train",
    secret: Annotated[
        list[str] | None, typer.Option(metavar="NAME", help="Secret whose keys become environment variables.")
    ] = None,
    shared: Shared = None,
    gpus_per_node: Gpus = 8,
    cpus_per_node: Cpus = 16,
    memory_gib: Memory = 64,
) -> None:
    """Print a RayJob and its files as YAML, for kubectl apply -f -"""

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


@manifest.command("slurm", epilog="KEY=VALUE changes one setting of the recipe; `unigrpo config` shows all of them.")
def manifest_slurm(
    overrides: Settings = None,
    recipe: RecipeName = "tiny",
    command: Command = "train",
    gpus_per_node: Gpus = 8,
    cpus_per_node: Cpus = 16,
    memory_gib: Memory = 64,
) -> None:
    """Print a batch script for sbatch. It starts Ray on its nodes."""

    def body() -> int:
        from cluster.jobs.machines import Machines
        from cluster.jobs.shipping import Shipping
        from cluster.jobs.slurm import slurm
        from cluster.jobs.submit import Options, prepare

        shipment = prepare(recipe, overrides or [], Options(command, shipping=Shipping((Path("/"),))))
        typer.echo(slurm(shipment, command, Machines(gpus_per_node, cpus_per_node, memory_gib)), nl=False)
        return console.OK

    console.run(body)
