"""``unigrpo submit``: a recipe as a Ray job, followed to its end and started again where it is lost.

Ray never retries a job. A job here is lost when its head forgot it, or its process was killed: then the same files are
submitted again, and the run goes on from its last checkpoint, since its folder is the same.
"""

from __future__ import annotations

import dataclasses
import secrets
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from cluster import console
from cluster.actors.process import LISTED
from cluster.jobs.needs import COMMANDS
from cluster.jobs.requirements import packages
from cluster.jobs.server import KILLED, HeadLostError, Job, JobServer
from cluster.jobs.shipping import Shipment, Shipping, collect, secrets_of, stage
from cluster.plan.family import family_notes, with_family
from cluster.weights.base import check_wire
from rl.config import Config
from rl.errors import ConfigError, DeadlineError
from rl.output.secrets import without_login

T = TypeVar("T")
PYTHON = "$(command -v python || command -v python3)"  # in the head's shell; `cluster.jobs.entry` goes on from there
RETRY_S = 2.0  # between looks for a head that is gone


@dataclass(frozen=True, slots=True)
class Options:
    """command: train, sft or eval. env: names of variables whose values the job gets, and no log or metadata does.

    resubmits     how often a lost job is started again
    head_wait_s   how long a head that went away is waited for
    dry           nothing is sent; what would be is printed
    """

    command: str = "train"
    wait: bool = True
    env: tuple[str, ...] = ()
    requirements: Path | None = None
    shipping: Shipping = Shipping()
    resubmits: int = 3
    head_wait_s: float = 600.0
    dry: bool = False


def submit(address: str, recipe: str, overrides: Sequence[str], options: Options) -> int:
    """The job's exit code, or 0 at once without ``wait``. Every mistake that can be found here is found before anything is
    sent. Raises ConfigError, DataError, DeadlineError."""
    shipment = prepare(recipe, overrides, options)
    values, pip = secrets_of(options.env), packages(options.requirements)
    if options.dry:
        console.say(contents(shipment, options))
        return console.OK
    server = JobServer(address)
    with tempfile.TemporaryDirectory(prefix="unigrpo-submit-") as folder:
        code = stage(shipment, values, Path(folder))
        runtime_env: dict[str, Any] = {
            **pip,
            "working_dir": f"{folder}/work",
            "py_modules": [str(package) for package in code],
        }
        if options.env:
            runtime_env["env_vars"] = {LISTED: ",".join(options.env)}

        def start(server: JobServer) -> str:
            job_id = f"{shipment.config.name}-{secrets.token_hex(4)}"
            metadata = {"unigrpo": options.command, "run": shipment.config.name}
            where = {"UNIGRPO_JOB_ID": job_id, "UNIGRPO_DASHBOARD": without_login(f"{server.address}/#/jobs/{job_id}")}
            sent = {
                **runtime_env,
                "env_vars": {**runtime_env.get("env_vars", {}), **where},
            }  # for the run's page in MLflow
            server.submit(job_id, f"{PYTHON} -m cluster.jobs.entry {options.command}", sent, metadata)
            return job_id

        job_id = start(server)
        console.checked()
        console.say(welcome(shipment.config, server.address, job_id))
        if not options.wait:
            console.say(f"follow    unigrpo jobs logs {job_id} --follow --address {server.address}")
            return console.OK
        return Supervisor(server, start, options).run(job_id)


def prepare(recipe: str, overrides: Sequence[str], options: Options) -> Shipment:
    """The recipe as the cluster gets it: attached to the cluster that runs the job. Raises ConfigError."""
    if options.command not in COMMANDS:
        raise ConfigError(f"--command {options.command}: allowed: {', '.join(COMMANDS)}")
    config, layers = with_family(recipe, overrides)
    check_wire(config)
    if config.cluster.address is not None:
        raise ConfigError(
            f"cluster.address={config.cluster.address}: a submitted job attaches to its own cluster; leave it out"
        )
    attached = dataclasses.replace(config, cluster=dataclasses.replace(config.cluster, address="auto"))
    if options.command == "eval" and not any(text.strip().startswith("name=") for text in overrides):
        attached = dataclasses.replace(attached, name=f"{config.name}-eval")
    shipment = collect(attached, options.shipping)
    for note in (*family_notes(config, layers), *shipment.notes):
        console.note(note)
    return shipment


def contents(shipment: Shipment, options: Options) -> str:
    """What would be sent, one line a file or folder."""
    sent = [f"sends     {source} as {place}" for place, source in sorted(shipment.files.items())] or [
        "sends     no files"
    ]
    passed = [f"passes    the environment's {name}" for name in options.env]
    return "\n".join(
        (
            f"job       unigrpo {options.command}, run {shipment.config.name}",
            *sent,
            *passed,
            f"run       {shipment.config.run_dir} (on the cluster)",
            f"MLflow    {mlflow_link(shipment.config)}",
            "Every check passed. Nothing was sent.",
        )
    )


def welcome(config: Config, address: str, job_id: str) -> str:
    """What was submitted, and where to look."""
    return "\n".join(
        (
            f"job       {job_id}",
            f"dashboard {address}/#/jobs/{job_id}",
            f"MLflow    {mlflow_link(config)}",
            f"run       {config.run_dir} (on the cluster)",
        )
    )


def mlflow_link(config: Config) -> str:
    """The tracking server, or the store in the output folder."""
    if not config.tracking.mlflow:
        return "off (tracking.mlflow=false)"
    if config.tracking.uri is None:
        return f"{config.output_dir}/mlflow.db (on the cluster; tracking.uri=http://... for a server)"
    return without_login(config.tracking.uri)


class Supervisor:
    """Follows a job, and starts it again where it is lost, within a budget."""

    def __init__(self, server: JobServer, start: Callable[[JobServer], str], options: Options) -> None:
        self._server, self._start, self._options = server, start, options
        self._left = options.resubmits
        self._left_behind = ""

    def run(self, job_id: str) -> int:
        """The exit code of the job, or of Ctrl-C, which leaves the job alone and says what is left behind."""
        self._waits(job_id)
        try:
            return self._run(job_id)
        except KeyboardInterrupt:
            console.say(f"\n{self._left_behind}")
            return console.INTERRUPTED

    def _run(self, job_id: str) -> int:
        written = _Resumed(write_log)
        while True:
            try:
                job = self._server.follow(job_id, written)
            except HeadLostError as error:
                self._waits(job_id, "if the head comes back, ")
                self._wait_for_head(error)
                written.again()
                if (job := self._insist(partial(JobServer.job, job_id=job_id))).running:
                    self._waits(job_id)
                    continue
            if not (job.lost and self._left):
                return self._end(job)
            self._left -= 1
            console.say(f"warning: job {job_id} was lost ({why(job)}); submitted again, {self._left} times left")
            look = f"unigrpo jobs list --address {self._server.address}"
            self._left_behind = f"job {job_id} was lost, and may have been submitted again: look with {look}"
            job_id, written = self._insist(self._start), _Resumed(write_log)
            self._waits(job_id)
            console.say(f"job       {job_id}")

    def _waits(self, job_id: str, condition: str = "") -> None:
        """What Ctrl-C leaves behind from here on."""
        stop = f"unigrpo jobs stop {job_id} --address {self._server.address}"
        self._left_behind = f"{condition}the job goes on; end it with: {stop}"

    def _insist(self, ask: Callable[[JobServer], T]) -> T:
        """Ask a head that may go away again meanwhile."""
        while True:
            try:
                return ask(self._server)
            except HeadLostError as error:
                self._wait_for_head(error)

    def _wait_for_head(self, lost: HeadLostError) -> None:
        console.say(f"warning: {lost}; waiting for the head")
        ends = time.monotonic() + self._options.head_wait_s
        while True:
            try:
                self._server = self._server.again()
                return
            except (DeadlineError, HeadLostError, ConfigError) as error:  # a head that starts answers nonsense at first
                if time.monotonic() > ends:
                    waited = f"the head did not come back within {self._options.head_wait_s:g} s"
                    raise DeadlineError(f"{waited}: {error}") from error
            time.sleep(RETRY_S)

    def _end(self, job: Job) -> int:
        if job.status == "SUCCEEDED":
            return console.OK
        if job.status == "STOPPED":
            console.say(f"job {job.id} was stopped")
            return console.INTERRUPTED
        if job.exit_code is None or job.lost:
            spent = f"; lost {self._options.resubmits + 1} times" if job.lost and self._options.resubmits else ""
            console.say(f"error: job {job.id} did not end by itself: {why(job)}{spent}")
            return console.CRASHED
        return job.exit_code  # it has said why itself


def why(job: Job) -> str:
    if job.exit_code in KILLED:
        return f"its process was ended by {KILLED[job.exit_code]}"
    return (job.message or job.error or job.status)[:300]


class _Resumed:
    """A writer that leaves out what it has written, when the log starts over after a lost connection."""

    def __init__(self, write: Callable[[str], object]) -> None:
        self._write, self._seen, self._skip = write, 0, 0

    def __call__(self, text: str) -> None:
        skipped = min(self._skip, len(text))
        self._skip -= skipped
        self._seen += len(text) - skipped
        if text[skipped:]:
            self._write(text[skipped:])

    def again(self) -> None:
        self._skip = self._seen


def write_log(text: str) -> None:
    """A piece of a job's log. A bar of progress that is drawn over itself is lines, one below the other."""
    console.show(text.replace("\r\n", "\n").replace("\r", "\n"), end="")
