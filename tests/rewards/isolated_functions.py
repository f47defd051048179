"""What the tests run inside the child process."""

import itertools
import os
import signal

_calls = itertools.count(1)


def misbehave(payload):
    do = payload["do"]
    if do == "echo":
        return payload["value"]
    if do == "count":
        return next(_calls)
    if do == "environment":
        return dict(os.environ)
    if do in ("loop", "ignore_signals"):
        if do == "ignore_signals":
            for number in (signal.SIGTERM, signal.SIGINT, signal.SIGALRM, signal.SIGXCPU):
                signal.signal(number, signal.SIG_IGN)
        while True:
            pass
    if do == "speak":
        return speak(payload)
    if do == "fork":
        return fork(payload["times"])
    if do == "raise":
        raise ValueError("as asked")
    if do == "exit":
        os._exit(3)
    if do == "allocate":
        return len(bytearray(4 << 30))
    if do == "recurse":
        return misbehave(payload)
    if do == "write":
        with open(payload["path"], "w") as file:
            file.write("x" * 10)
        return True
    raise AssertionError(do)


def try_to_leave(payload):
    """What each way out of the worker says."""
    import socket
    import subprocess
    from pathlib import Path

    ways = {
        "file": lambda: Path(payload["file"]).touch(),
        "program": lambda: subprocess.run(["/bin/true"], check=True),
        "network": lambda: socket.create_connection(("127.0.0.1", 9), timeout=1.0),
    }
    said = {}
    for name, way in ways.items():
        try:
            way()
            said[name] = "done"
        except ConnectionRefusedError:
            said[name] = "reached"
        except Exception as error:
            said[name] = type(error).__name__
    return said


def speak(payload):
    """Write to the worker's own socket, as an answer that took over its process would."""
    import socket
    import stat
    import time

    sockets = [number for number in range(3, 256) if _is(stat.S_ISSOCK, number)]
    with socket.socket(fileno=os.dup(sockets[-1])) as channel:
        channel.sendall(bytes.fromhex(payload.get("lead", "")))
        for _ in range(payload["times"]):
            channel.sendall(bytes.fromhex(payload["hex"]))
            time.sleep(payload["every"])
    return payload["value"]


def fork(times):
    """How many child processes it made."""
    made = 0
    for _ in range(times):
        try:
            if os.fork() == 0:
                signal.pause()
            made += 1
        except OSError:
            continue
    return made


def _is(kind, number):
    try:
        return kind(os.fstat(number).st_mode)
    except OSError:
        return False
