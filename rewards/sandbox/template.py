"""The other side of ``rewards.sandbox.parent``: a template process that forks workers, and the worker's loop.

Run as ``python -m rewards.sandbox.template FD MODULE:FUNCTION MEMORY_BYTES RULES [LESS,...]``. The template imports the
function once, has one thread and never runs it on anything from outside; a worker is a fork of it under a supervisor
(``rewards.sandbox.supervisor``), so it starts in milliseconds, and serves one socket until that closes. Where the module has
a function ``warm_up``, the template calls that: what it learns, every worker knows from the start. LESS: what a test takes
away of what the kernel offers.
"""

from __future__ import annotations

import contextlib
import gc
import importlib
import json
import math
import os
import resource
import signal
import socket
import stat
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from rewards.sandbox import supervisor
from rewards.sandbox.frames import MAX_FRAME, receive_frame, send_frame
from rewards.sandbox.kernel import offers, room, syscalls
from rewards.sandbox.seal import seal
from rewards.sandbox.supervisor import Plan, Tree

_PATIENCE_S = 1.0
LONGEST = 2_000  # characters of what a file that cannot be loaded says: the way out stands at its end
_OURS = Path(__file__).parents[1]  # the package ``rewards``; ``rl`` is beside it


def run_template(control: socket.socket, target: str, plan: Plan) -> None:
    """Serve ``spawn`` (with the worker's socket attached), ``drop``, and ``gone`` for one that ended itself.

    Ends, with all workers, when the parent does.
    """
    module, _, name = target.partition(":")
    function = getattr(importlib.import_module(module), name)
    getattr(sys.modules[module], "warm_up", lambda: None)()
    gc.freeze()  # so that a collection in a worker does not copy the template's memory
    workers: set[int] = set()
    send_frame(control, {"ready": True, "missing": offers.missing(plan.offer) if plan.rules != "open" else []})
    try:
        while True:
            data, descriptors, _, _ = socket.recv_fds(control, 64, 1)
            if not data:
                return
            order, _, number = data.decode().partition(" ")
            if order == "spawn":
                pid = _spawn(control, socket.socket(fileno=descriptors[0]), function, plan)
                workers.add(pid)
                send_frame(control, {"pid": pid})
            else:
                known = int(number) in workers
                workers.discard(int(number))
                patience_s = _PATIENCE_S if order == "gone" else 0.0
                send_frame(control, {"code": supervisor.end(int(number), patience_s) if known else 0})
    finally:
        for pid in workers:
            supervisor.end(pid)


def plan_of(rules: str, memory: int, less: Sequence[str] = ()) -> Plan:
    """What holds here for these rules. Forks, to try: call it while the process is small."""
    offer = offers.probe().without(*less)
    packages = [] if rules == "program" else [str(_OURS), str(_OURS.parent / "rl")]
    shown = room.readable(packages)
    plan = Plan(rules, memory, offer, room.layout(shown), tuple(shown))
    as_nobody = plan.in_room and rules == "program" and os.geteuid() == 0 and _open_to_all()
    return Plan(rules, memory, offer, plan.layout, plan.readable, offers.NOBODY if as_nobody else None)


def _open_to_all() -> bool:
    """Whether another user may read this Python, once the folders above it are in a room."""
    files = (os.path.realpath(sys.executable), os.__file__, os.path.dirname(os.__file__))
    return all(os.stat(path).st_mode & stat.S_IROTH for path in files)


def _spawn(control: socket.socket, channel: socket.socket, function: Callable[..., Any], plan: Plan) -> int:
    def first(tree: Tree) -> int:
        with open(os.devnull, "wb") as nowhere:
            os.dup2(nowhere.fileno(), 2)  # the template's is a pipe that nobody reads any more
        control.close()
        if plan.rules == "program":
            return _serve_programs(channel, function, tree)
        worker = os.fork()
        if worker == 0:
            _work(channel, function, tree)
        channel.close()
        status, why = tree.wait(worker, counted=plan.rules == "network")
        if status is None:
            return supervisor.TOO_MUCH_MEMORY if why == "memory" else supervisor.TOO_MANY_PROCESSES
        code = os.waitstatus_to_exitcode(status)
        return code if code >= 0 else 128 - code

    def ours() -> None:
        control.close()
        channel.close()

    pid = supervisor.start(plan, first, ours)
    channel.close()
    return pid


def _serve_programs(channel: socket.socket, function: Callable[..., Any], tree: Tree) -> int:
    """One program a tree: its answer is written here, by the supervisor, and what it left dies with this process."""
    request = receive_frame(channel)
    told = replace(tree, waits=lambda: send_frame(channel, {"call": request["call"], "waits": True}))
    value = function(request["payload"], request["deadline_s"], told)
    send_frame(channel, {"call": request["call"], "value": value})
    with contextlib.suppress(EOFError):
        receive_frame(channel)
    return 0


def _work(channel: socket.socket, function: Callable[[Any], Any], tree: Tree) -> None:
    """The worker: a child of the supervisor's, which serves until its socket closes."""
    code = 1
    try:
        signal.pthread_sigmask(signal.SIG_SETMASK, ())
        if tree.plan.rules == "open":
            _stay_open(tree.plan.memory)
        else:
            tempfile.tempdir = tree.home
            seal(tree)
            if tree.processes is not None:
                os.close(tree.processes)
        _serve(channel, function, limits_cpu=tree.plan.rules != "open")
        code = 0
    finally:
        os._exit(code)


def _stay_open(memory: int) -> None:
    """A limit on the address space, where it is not 0; where memory runs out, it is the first that the kernel ends."""
    syscalls.die_with_parent()
    if memory:
        resource.setrlimit(resource.RLIMIT_AS, (memory, memory))
    with contextlib.suppress(OSError), open("/proc/self/oom_score_adj", "w") as file:
        file.write("1000")


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
        send_frame(channel, {"call": request["call"], **_answer(function, request["payload"])})


def _answer(function: Callable[[Any], Any], payload: Any) -> dict[str, Any]:
    try:
        reply = {"value": function(payload)}
        if len(json.dumps(reply)) > MAX_FRAME:
            return {"crashed": "its result is too large"}
        return reply
    except MemoryError:
        return {"crashed": "out of memory"}
    except BaseException as error:
        return {"crashed": f"{type(error).__name__}: {str(error)[:LONGEST]}"}


if __name__ == "__main__":
    _descriptor, _target, _memory, _rules, *_less = sys.argv[1:]
    run_template(socket.socket(fileno=int(_descriptor)), _target, plan_of(_rules, int(_memory), _less))
