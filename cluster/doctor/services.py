"""What a run talks to: Ray, MLflow, and ports on this machine."""

from __future__ import annotations

import os
import socket
import time
import uuid
from contextlib import closing

from cluster.doctor.case import Machine
from cluster.doctor.check import Result, ok, red, skipped
from cluster.run.private_ray import LOOPBACK, MODE, TOKEN, TOKEN_FILE
from cluster.run.session import check_address, ray_running
from cluster.run.writable import folder_problem
from rl.errors import ConfigError, first_line
from rl.output.secrets import redact
from rl.tracking.mlflow_address import store_uri, with_password
from rl.tracking.mlflow_store import check_store, patient_for_seconds, within

RAY_S = 60.0  # for a trivial task on a Ray that has started
WRITE_S = 120.0  # for one run in MLflow, which may have to make its tables first
DASHBOARD = 8265  # Ray's own, which jobs are submitted to


def ports(machine: Machine) -> Result:
    """That this user may listen on loopback, and that the port of a judge's server is free."""
    judge = machine.config.judge
    wanted = [0] + ([judge.port] if judge.serve is not None and judge.port else [])
    for port in wanted:
        try:
            _listen(port)
        except OSError as error:
            what = f"judge.port={port}" if port else "no port"
            return red(
                f"{what}: {LOOPBACK} cannot be listened on: {error.strerror}",
                "give another judge.port" if port else "leave the sandbox or namespace that forbids it",
            )
    taken = f"; {DASHBOARD} is taken, as by a Ray head" if _answers(DASHBOARD) else ""
    return ok(f"{LOOPBACK} can be listened on{taken}")


def _listen(port: int) -> None:
    with closing(socket.socket()) as listening:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind((LOOPBACK, port))
        listening.listen(1)


def _answers(port: int) -> bool:
    with closing(socket.socket()) as asking:
        asking.settimeout(1.0)
        return asking.connect_ex((LOOPBACK, port)) == 0


def starts_ray(machine: Machine) -> Result:
    """Start the Ray of a run, or attach to ``cluster.address``, and let it do one task."""
    import ray

    config = machine.config
    check_address(config.cluster.address)
    began = time.perf_counter()
    with ray_running(config):
        started = time.perf_counter() - began

        @ray.remote(num_cpus=0)
        def double(number: int) -> int:
            return 2 * number

        answer = ray.get(double.remote(21), timeout=RAY_S)
        nodes = sum(1 for node in ray.nodes() if node["Alive"])
        devices = ray.cluster_resources().get("GPU", 0)
    where = "a Ray of its own" if config.cluster.address is None else config.cluster.address
    text = f"{where}: ready in {started:.1f} s, {nodes} nodes, {devices:g} GPUs"
    if answer != 42:
        return red(f"{text}, but a task gave {answer}", "restart the cluster")
    return ok(text, nodes=nodes, gpus=devices, start_s=round(started, 2))


def token(machine: Machine) -> Result:
    """Who can reach a Ray without a token runs what they like as its user."""
    address, mode = machine.config.cluster.address, os.environ.get(MODE, "")
    given = next((name for name in (TOKEN, TOKEN_FILE) if os.environ.get(name)), None)
    if mode == "token" and given is None and address is not None:
        return red(f"{MODE}=token, and no token", f"export {TOKEN} or {TOKEN_FILE}, the head's")
    if given == TOKEN_FILE and not os.path.isfile(os.environ[TOKEN_FILE]):
        return red(f"{TOKEN_FILE}={os.environ[TOKEN_FILE]}: no such file", "name the file with the head's token")
    if address is None:
        return ok("a run's own Ray gets a fresh token, and listens on loopback alone")
    if mode == "token":
        return ok(f"asked for, from {given}")
    return red(
        f"cluster.address={address}: no token is sent, so whoever reaches the head runs code there",
        f"start the head with {MODE}=token, and export {MODE}=token and {TOKEN} here",
    )


def mlflow(machine: Machine) -> Result:
    """Reachable, and writable: a run with one number is logged there, and deleted."""
    config = machine.config
    tracking = config.tracking
    if not tracking.mlflow:
        return skipped("tracking.mlflow=false")
    if tracking.uri is None:
        if problem := folder_problem(config.run_dir):
            return red(f"{config.run_dir}: cannot be written: {problem}", "give an output_dir that you may write to")
        return ok(f"a store in the run's folder, below {config.output_dir}; tracking.uri names a server")
    check_store(
        config.run_dir, tracking.uri, tracking.experiment, resumes=False, warn=lambda text: None,
        password_env=tracking.password_env,
    )  # fmt: skip
    where = with_password(tracking.uri or store_uri(config.run_dir), tracking.password_env)
    try:
        within(WRITE_S, lambda: _log_one(where, tracking.experiment))
    except RuntimeError as error:
        raise ConfigError(
            f"tracking.uri={redact(tracking.uri)!r}: answers, but takes no run: {first_line(error)}; ask its owner for the "
            "right to write, or set tracking.uri=null"
        ) from error
    return ok(f"{redact(tracking.uri)}: a run was logged and deleted in experiment {tracking.experiment}")


def _log_one(uri: str, name: str) -> None:
    patient_for_seconds()
    from mlflow import MlflowClient

    client = MlflowClient(tracking_uri=uri)
    found = client.get_experiment_by_name(name)
    experiment = client.create_experiment(name) if found is None else found.experiment_id
    run = client.create_run(experiment, run_name=f"unigrpo doctor {uuid.uuid4().hex[:6]}").info.run_id
    try:
        client.log_metric(run, "doctor", 1.0)
    finally:
        client.delete_run(run)
