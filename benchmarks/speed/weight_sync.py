"""Weights from one process to another on this machine: buckets over gloo, Ray's object store, and a plain socket copy.

    python -m benchmarks.speed.weight_sync --numbers 100 --repeats 3 --out runs/weight-sync.json

    python -m benchmarks.speed.weight_sync --hosts         # two network namespaces and a link between them; needs root

The sides take turns, so that a busy machine slows all of them alike. A plain socket copy is the yardstick: bytes through
loopback TCP into memory that is there already, and nothing else.
"""

from __future__ import annotations

import argparse
import contextlib
import ctypes
import json
import multiprocessing as mp
import os
import resource
import socket
import statistics
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

TENSOR = 1_048_576  # numbers of one tensor: a 1,024 x 1,024 matrix


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--numbers", type=float, default=100.0, help="millions of parameters, float32")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--hosts", action="store_true", help="each process in a network namespace of its own")
    parser.add_argument("--out", type=Path, default=Path("runs/weight-sync.json"))
    options = parser.parse_args()
    options.out.parent.mkdir(parents=True, exist_ok=True)
    tensors = max(1, round(options.numbers * 1e6 / TENSOR))
    sides: dict[str, Callable[[int], tuple[float, float]]] = {
        "plain socket": _socket,
        "gloo buckets": lambda count: _gloo(count, with_digest=False),
        "gloo buckets, with digest": lambda count: _gloo(count, with_digest=True),
        "object store": _object_store,
    }
    found: dict[str, list[tuple[float, float]]] = {name: [] for name in sides}
    with two_hosts() if options.hosts else contextlib.nullcontext():
        for _ in range(options.repeats):
            for name, side in sides.items():
                found[name].append(side(tensors))
    mib = tensors * TENSOR * 4 / 2**20
    report = {
        name: {
            "wall_s": statistics.median(wall for wall, _ in runs),
            "cpu_s": statistics.median(cpu for _, cpu in runs),
            "best_mib_per_s": mib / min(wall for wall, _ in runs),
        }
        for name, runs in found.items()
    }
    for row in report.values():
        row["of_plain_socket"] = row["best_mib_per_s"] / report["plain socket"]["best_mib_per_s"]
        row["cpu_of_plain_socket"] = report["plain socket"]["cpu_s"] / row["cpu_s"]
    options.out.write_text(json.dumps({"mib": mib, **report}, indent=1))
    print(json.dumps({"mib": mib, **report}, indent=1))


@dataclass(frozen=True, slots=True)
class Place:
    """Where one of two processes is, and the other. netns: its network namespace, None: this machine's own."""

    netns: str | None
    address: str
    other: str
    port: int

    def enter(self) -> None:
        if self.netns is None:
            return
        with Path("/run/netns", self.netns).open() as file:
            if ctypes.CDLL(None, use_errno=True).setns(file.fileno(), 0):
                raise OSError(ctypes.get_errno(), f"setns {self.netns}")


_hosts: list[tuple[str | None, str]] = [(None, "127.0.0.1"), (None, "127.0.0.1")]  # of receiver and sender


@contextlib.contextmanager
def two_hosts() -> Iterator[None]:
    """Two network namespaces with a pair of virtual Ethernet devices between them, gone at the end."""
    names, addresses = [f"unigrpo{os.getpid()}{side}" for side in "ab"], ["10.213.7.1", "10.213.7.2"]
    try:
        for name in names:
            _ip("netns", "add", name)
        _ip("link", "add", "va", "netns", names[0], "type", "veth", "peer", "name", "vb", "netns", names[1])
        for name, address, device in zip(names, addresses, ("va", "vb"), strict=True):
            _ip("-n", name, "addr", "add", f"{address}/24", "dev", device)
            for each in (device, "lo"):
                _ip("-n", name, "link", "set", each, "up")
        _hosts[:] = zip(names, addresses, strict=True)
        yield
    finally:
        for name in names:
            subprocess.run(["ip", "netns", "del", name], check=False, capture_output=True)


def _ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True)


def _pair(receiver: Callable[..., Any], sender: Callable[..., Any], count: int, *extra: Any) -> tuple[float, float]:
    """Wall seconds from when both are ready until the receiver has everything, and CPU-seconds of both meanwhile."""
    context = mp.get_context("spawn")
    barrier, answers = context.Barrier(2), context.SimpleQueue()
    port = _free_port()
    (here, address), (there, other) = _hosts
    places = [Place(here, address, other, port), Place(there, other, address, port)]
    both = [
        context.Process(target=side, args=(barrier, answers, place, count, *extra))
        for side, place in zip((receiver, sender), places, strict=True)
    ]
    for process in both:
        process.start()
    results = [answers.get() for _ in both]
    for process in both:
        process.join()
    return max(wall for wall, _ in results), sum(cpu for _, cpu in results)


def _measured(barrier: Any, answers: Any, work: Callable[[], None]) -> None:
    barrier.wait()
    began, cpu = time.perf_counter(), _cpu()
    work()
    answers.put((time.perf_counter() - began, _cpu() - cpu))


def _cpu() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def _socket(count: int) -> tuple[float, float]:
    return _pair(_socket_receiver, _socket_sender, count)


def _socket_receiver(barrier: Any, answers: Any, place: Place, count: int) -> None:
    place.enter()
    target = np.ones(count * TENSOR, np.float32).data.cast("B")
    with socket.create_server((place.address, place.port)) as server:
        connection, _ = server.accept()

        def work() -> None:
            at = 0
            while at < len(target):
                at += connection.recv_into(target[at:])

        with connection:
            _measured(barrier, answers, work)


def _socket_sender(barrier: Any, answers: Any, place: Place, count: int) -> None:
    place.enter()
    source = np.ones(count * TENSOR, np.float32).data.cast("B")
    with _connect(place.other, place.port) as connection:
        _measured(barrier, answers, lambda: connection.sendall(source))


def _gloo(count: int, *, with_digest: bool) -> tuple[float, float]:
    return _pair(_gloo_receiver, _gloo_sender, count, with_digest)


def _gloo_receiver(barrier: Any, answers: Any, place: Place, count: int, with_digest: bool) -> None:
    place.enter()
    import torch

    from cluster.weights.buckets import Intake, receive

    group, slots = _gloo_group(place, 1, count)
    intake = Intake({slot.name: torch.ones(slot.shape) for slot in slots}, slots, with_digest=with_digest)

    def work() -> None:
        receive(group, slots, intake)
        intake.digest()

    _measured(barrier, answers, work)


def _gloo_sender(barrier: Any, answers: Any, place: Place, count: int, with_digest: bool) -> None:
    place.enter()
    import torch

    from cluster.weights.buckets import send

    group, slots = _gloo_group(place, 0, count)
    tensors = [torch.ones(slot.shape) for slot in slots]
    _measured(barrier, answers, lambda: send(group, tensors, slots))


def _gloo_group(place: Place, rank: int, count: int) -> tuple[Any, Any]:
    import torch.distributed as dist

    from cluster.weights.buckets import Slot, process_group

    host = place.other if rank else place.address
    torch_store = dist.TCPStore(host, place.port, 2, is_master=rank == 0)  # pyright: ignore[reportPrivateImportUsage]
    return process_group(torch_store, rank, 2, 120.0, place.address), [
        Slot(f"layer.{i:04}", (1024, 1024)) for i in range(count)
    ]


def _object_store(count: int) -> tuple[float, float]:
    """As ``cluster.workers.on_ray`` does it: one put by the driver, a read-only view in the worker, copied tensor by tensor."""
    import ray

    own = not ray.is_initialized()
    if own:
        size = count * TENSOR * 4 * 3
        ray.init(address="local", num_cpus=1, include_dashboard=False, log_to_driver=False, object_store_memory=size)
    try:
        receiver = ray.remote(num_cpus=1)(_StoreReceiver).remote(count)
        ray.get(receiver.ready.remote())
        weights = {f"layer.{i:04}": np.ones((1024, 1024), np.float32) for i in range(count)}
        began, cpu = time.perf_counter(), _cpu()
        used: Any = ray.get(receiver.load.remote(ray.put(weights)))
        return time.perf_counter() - began, _cpu() - cpu + used
    finally:
        if own:
            ray.shutdown()


class _StoreReceiver:
    def __init__(self, count: int) -> None:
        self._targets = [np.ones((1024, 1024), np.float32) for _ in range(count)]

    def ready(self) -> None: ...

    def load(self, weights: dict[str, np.ndarray]) -> float:
        cpu = _cpu()
        for target, array in zip(self._targets, weights.values(), strict=True):
            np.copyto(target, array)
        return _cpu() - cpu


def _connect(host: str, port: int) -> socket.socket:
    ends = time.monotonic() + 60
    while True:
        try:
            return socket.create_connection((host, port))
        except ConnectionRefusedError:
            if time.monotonic() > ends:
                raise
            time.sleep(0.05)


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return server.getsockname()[1]


if __name__ == "__main__":
    main()
