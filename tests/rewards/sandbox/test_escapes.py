"""More than ninety ways out, tried by a program, a verifier's worker and a user's function; and by none of them, as a control."""

import json
import os
import socket
import stat
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from rewards.sandbox.kernel import offers
from rewards.sandbox.parent import Isolated
from rl.types import ScoreStatus
from tests.rewards.sandbox import ways_out

SECRET = "UNIGRPO-CANARY-7f3a"
# What a user's function may do: it is the user's code. It reads files, runs programs, uses the network.
_OF_FUNCTIONS = {
    *(f"read: {name}" for name in ways_out.READS),
    "program: a shell",
    "program: ls",
    "socket: TCP",
    "socket: UDP",
    "socket: netlink",
    "socket: listen",
    "kernel: memory without an owner",
    "kernel: System V memory",
    "process: all processes",
    "socket: a larger buffer",
    "kernel: watch files",
    "kernel: all signals that may wait",
}
_OF_PROGRAMS = {"write: the shared /tmp"}  # which is its own folder, as the check from outside shows  # fmt: skip
WHOLE = pytest.mark.skipif(
    bool(offers.missing(offers.found())), reason=f"this kernel offers less: {offers.line(offers.found())}"
)


@pytest.fixture
def scene(tmp_path, monkeypatch):
    """Things to reach, and a check that nothing came to them."""
    monkeypatch.setenv("UNIGRPO_CANARY", SECRET)
    with tempfile.TemporaryDirectory(prefix="canary-") as name:
        folder = Path(name)
        canary, spare = folder / "canary", folder / "spare"
        for file in (canary, spare):
            file.write_text(SECRET)
            file.chmod(0o600)
        os.utime(canary, (1e9, 1e9))
        victim = subprocess.Popen(["/bin/sleep", "60"], start_new_session=True)
        path, hidden = socket.socket(socket.AF_UNIX), socket.socket(socket.AF_UNIX)
        path.bind(str(folder / "socket"))
        hidden.bind("\0unigrpo-" + folder.name)
        datagrams, unnamed = (socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) for _ in range(2))
        datagrams.bind(str(folder / "datagrams"))
        unnamed.bind(f"\0unigrpo-{folder.name}-datagrams")
        tcp, udp = socket.create_server(("127.0.0.1", 0)), socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        udp.bind(tcp.getsockname())
        for each in (path, hidden):
            each.listen()
        for each in (path, hidden, tcp, udp, datagrams, unnamed):
            each.settimeout(0.0)
        words = {
            "canary": str(canary), "spare": str(spare), "victim": victim.pid, "driver": os.getpid(),
            "socket": str(folder / "socket"), "abstract": "unigrpo-" + folder.name, "port": tcp.getsockname()[1],
            "datagrams": str(folder / "datagrams"),
            "project": str(Path(__file__).resolve()), "name": "/" + folder.name + "-made", "inside": True,
        }  # fmt: skip
        local = [path, hidden, datagrams, unnamed]
        try:
            yield words, lambda network=False: _untouched(folder, victim, local if network else [*local, tcp, udp])
        finally:
            victim.kill()
            victim.wait()
            for each in (path, hidden, tcp, udp, datagrams, unnamed):
                each.close()


def _untouched(folder, victim, listeners):
    canary = folder / "canary"
    state = canary.stat()
    assert sorted(each.name for each in folder.iterdir()) == ["canary", "datagrams", "socket", "spare"]
    assert canary.read_text() == SECRET and stat.S_IMODE(state.st_mode) == 0o600 and state.st_mtime == 1e9
    assert not os.listxattr(canary) and victim.poll() is None
    for listener in listeners:
        with pytest.raises(BlockingIOError):
            listener.recv(1) if listener.type == socket.SOCK_DGRAM else listener.accept()
    made = folder.name + "-made"
    assert not [place for place in ("/tmp", "/dev/shm", os.path.dirname(os.__file__)) if made in os.listdir(place)]


def program_says(scene, less=()):
    source = Path(ways_out.__file__).read_text()
    child = Isolated("rewards.sandbox.program:run", 1024, 1, rules="program", less=less)
    try:
        outcome = child.call({"program": source, "input": json.dumps(scene)}, 20.0, grace_s=20.0)
    finally:
        child.close()
    assert outcome.status is ScoreStatus.OK and outcome.value["end"] == "ok", outcome
    return {name: found for name, found in json.loads(outcome.value["output"]).items() if found is not None}


@WHOLE
def test_a_program_finds_no_way_out(scene):
    words, untouched = scene
    assert len(ways_out.ALL) >= 40 and not program_says(words).keys() - _OF_PROGRAMS
    untouched()


@WHOLE
@pytest.mark.parametrize("rules", ["sealed", "network"])
def test_a_worker_finds_no_way_out(scene, rules):
    words, untouched = scene
    child = Isolated("tests.rewards.sandbox.ways_out:run", 2048, rules=rules)
    try:
        outcome = child.call(words, 60.0)
    finally:
        child.close()
    assert outcome.status is ScoreStatus.OK, outcome
    found = {name: each for name, each in outcome.value.items() if each is not None}
    assert not {name: each for name, each in found.items() if rules == "sealed" or name not in _OF_FUNCTIONS}
    assert SECRET not in str(outcome.value.get("process: environment"))
    untouched(network=rules == "network")


def test_most_ways_lead_out_where_there_is_no_sandbox(scene):
    words, _ = scene
    words |= {"inside": False, "skip": ["kernel: user namespace", "kernel: network namespace", "kernel: chroot"]}
    done = subprocess.run(
        [sys.executable, ways_out.__file__], input=json.dumps(words), capture_output=True, text=True, check=True
    )
    out = {name for name, found in json.loads(done.stdout).items() if found is not None}
    for name in ("/tmp", "/dev/shm", os.path.dirname(os.__file__)):
        made = name + words["name"]
        if os.path.isdir(made):
            os.rmdir(made)
        elif os.path.exists(made):
            os.unlink(made)
    wanted = {
        "read: open",
        "process: command line",
        "process: continue it",
        "write: chmod",
        "write: utime",
        "socket: Unix",
        "socket: from a pair to a path",
        "kernel: slow its supervisor down",
    }
    assert wanted <= out and len(out) >= 40, sorted(set(ways_out.ALL) - out)
