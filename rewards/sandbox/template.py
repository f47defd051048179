"""The other side of ``rewards.sandbox.parent``: a template process that forks workers, and the worker's loop.

Run as ``python -m rewards.sandbox.template FD MODULE:FUNCTION MEMORY_BYTES sealed|network|open``. The template imports the
function once, has one thread and never runs it on anything from outside; a worker is a fork of it, so it starts in
milliseconds, and serves one socket until that closes. With ``network``, where users' own functions run, there is also a
folder for temporary files, gone with the template: torch, for one, is not imported without. Where the module has a
function ``warm_up``, the template calls that: what it learns, every worker knows from the start.
Frames on a worker's socket are a 4-byte big-endian length and JSON.
"""

from __future__ import annotations

import contextlib
import gc
import importlib
import json
import math
import os
import resource
import shutil
import signal
import socket
import struct
import sys
import tempfile
from collections.abc import Callable
from typing import Any

from rewards.sandbox.seal import die_with_parent, leave_network, seal

MAX_FRAME = 64 << 20  # a batch of pictures
_MAX_FILE = 256 << 20  # bytes of one temporary file


def send_frame(channel: socket.socket, message: Any) -> None:
    data = json.dumps(message).encode()
    channel.sendall(struct.pack(">I", len(data)) + data)


def receive_frame(channel: socket.socket) -> Any:
    """Raises EOFError where the other side has closed, ValueError where the frame is too long or no JSON."""
    (length,) = struct.unpack(">I", _receive(channel, 4))
    if length > MAX_FRAME:
        raise ValueError(f"frame of {length} bytes")
    return json.loads(_receive(channel, length))


def _receive(channel: socket.socket, length: int) -> bytes:
    parts = bytearray()
    while len(parts) < length:
        part = channel.recv(min(length - len(parts), 1 << 16))
        if not part:
            raise EOFError
        parts += part
    return bytes(parts)


def run_template(control: socket.socket, target: str, memory: int, rules: str) -> None:
    """Serve ``spawn`` (with the worker's socket attached) and ``drop``; end, with all workers, when the parent does."""
    module, _, name = target.partition(":")
    function = getattr(importlib.import_module(module), name)
    getattr(sys.modules[module], "warm_up", lambda: None)()
    folder = tempfile.tempdir = tempfile.mkdtemp(prefix="unigrpo-") if rules == "network" else None
    gc.freeze()  # so that a collection in a worker does not copy the template's memory
    workers: set[int] = set()
    send_frame(control, {"ready": True})
    try:
        while True:
            data, descriptors, _, _ = socket.recv_fds(control, 64, 1)
            if not data:
                return
            order, _, number = data.decode().partition(" ")
            if order == "spawn":
                pid = _spawn(control, descriptors[0], function, memory, rules)
                workers.add(pid)
                send_frame(control, {"pid": pid})
            else:
                known = int(number) in workers
                workers.discard(int(number))
                send_frame(control, {"code": _end(int(number)) if known else 0})
    finally:
        for pid in workers:
            _end(pid)
        if folder is not None:
            shutil.rmtree(folder, ignore_errors=True)


def _spawn(control: socket.socket, descriptor: int, function: Callable[[Any], Any], memory: int, rules: str) -> int:
    pid = os.fork()
    if pid:
        os.close(descriptor)
        return pid
    code = 1
    try:
        control.close()
        with open(os.devnull, "wb") as nowhere:
            os.dup2(nowhere.fileno(), 2)  # the template's is a pipe that nobody reads any more
        _restrict(memory, rules)
        _serve(socket.socket(fileno=descriptor), function, limits_cpu=rules != "open")
        code = 0
    finally:
        os._exit(code)


def _end(pid: int) -> int:
    """Kill, collect, and return the exit code as subprocess writes it (negative: the signal)."""
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)
    with contextlib.suppress(ChildProcessError):
        return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    return 0


def _restrict(memory: int, rules: str) -> None:
    """Address space, no files, no programs, no network, no core dumps; and die with the template.

    ``network`` leaves programs, the network, and files in the template's temporary folder; ``open`` leaves everything but
    the address space, where that is not 0. Where memory runs out, an open worker is the first that the kernel ends.

    What a kernel without Landlock or user namespaces cannot hold is not held: see ``rewards.sandbox.seal``.
    """
    die_with_parent()
    if memory:
        resource.setrlimit(resource.RLIMIT_AS, (memory, memory))
    if rules == "open":
        with contextlib.suppress(OSError), open("/proc/self/oom_score_adj", "w") as file:
            file.write("1000")
        return
    network = rules == "network"
    file_size = _MAX_FILE if network else 0
    resource.setrlimit(resource.RLIMIT_FSIZE, (file_size, file_size))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    if not network:
        leave_network()
    seal(write_to=tempfile.tempdir if network else None, execute=network)


def _serve(channel: socket.socket, function: Callable[[Any], Any], *, limits_cpu: bool) -> None:
    while True:
        try:
            request = receive_frame(channel)
        except EOFError:
            return
        # a wall deadline is the parent's to keep; this one holds even where the parent is gone
        if limits_cpu:
            used = resource.getrusage(resource.RUSAGE_SELF)
            limit = math.ceil(used.ru_utime + used.ru_stime + request["deadline_s"]) + 1
            resource.setrlimit(resource.RLIMIT_CPU, (limit, resource.getrlimit(resource.RLIMIT_CPU)[1]))
        send_frame(channel, _answer(function, request["payload"]))


def _answer(function: Callable[[Any], Any], payload: Any) -> dict[str, Any]:
    try:
        reply = {"value": function(payload)}
        if len(json.dumps(reply)) > MAX_FRAME:
            return {"crashed": "its result is too large"}
        return reply
    except MemoryError:
        return {"crashed": "out of memory"}
    except BaseException as error:
        return {"crashed": f"{type(error).__name__}: {str(error)[:200]}"}


if __name__ == "__main__":
    run_template(socket.socket(fileno=int(sys.argv[1])), sys.argv[2], int(sys.argv[3]), sys.argv[4])
