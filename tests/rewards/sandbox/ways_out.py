"""Ways out of a sandbox: each is a function that returns something where it succeeds. Runs inside, and outside as a control.

``c`` says what there is to reach. Standard library alone, and one file: it also travels as the text of a program.
"""

# ruff: noqa: SIM115

import contextlib
import ctypes
import fcntl
import os
import platform
import resource
import signal
import socket
import struct
import subprocess
import sys
import tempfile

LIBC = ctypes.CDLL(None, use_errno=True)
X86 = platform.machine() == "x86_64"


def call(number, *arguments):
    """A system call by its number on x86_64."""
    if not X86:
        raise OSError("other numbers")
    LIBC.syscall.restype = ctypes.c_long
    done = LIBC.syscall(*(ctypes.c_long(a) if isinstance(a, int) else a for a in (number, *arguments)))
    if done < 0:
        raise OSError(ctypes.get_errno(), "refused")
    return done


def connect(family, kind, address):
    with socket.socket(family, kind) as ours:
        ours.settimeout(1.0)
        ours.connect(address)
        return ours.send(b"out")


def proc(name, pid):
    with open(f"/proc/{pid}/{name}", "rb") as file:
        return file.read(4096)


READS = {
    "open": lambda c: open(c["canary"]).read(),
    "stat": lambda c: os.stat(c["canary"]),
    "access": lambda c: os.access(c["canary"], os.F_OK),
    "list its folder": lambda c: os.listdir(os.path.dirname(c["canary"])),
    "list the root": lambda c: set(os.listdir("/")) & {"root", "home", "proc", "boot"},
    "path handle": lambda c: os.fstat(os.open(c["canary"], os.O_PATH)),
    "by a folder's handle": lambda c: os.open(
        os.path.basename(c["canary"]), os.O_RDONLY, dir_fd=os.open(os.path.dirname(c["canary"]), os.O_PATH)
    ),
    "dots from here": lambda c: open("../" * 40 + c["canary"].lstrip("/")).read(),
    "sendfile": lambda c: os.sendfile(1, os.open(c["canary"], os.O_RDONLY), 0, 0) + 1,
    "accounts": lambda c: open("/etc/passwd").read(),
    "this project": lambda c: open(c["project"]).read(),
    "devices": lambda c: os.listdir("/dev/shm") is not None,
    "kernel settings": lambda c: open("/proc/sys/kernel/hostname").read() or os.listdir("/sys"),
}
PROCESSES = {
    "command line": lambda c: proc("cmdline", c["victim"]),
    "environment": lambda c: proc("environ", c["driver"]),
    "memory map": lambda c: proc("maps", c["driver"]),
    "its open files": lambda c: os.listdir(f"/proc/{c['driver']}/fd"),
    "its root": lambda c: open(f"/proc/{c['driver']}/root{c['canary']}").read(),
    "the first one's root": lambda c: open(f"/proc/1/root{c['canary']}").read(),
    "its working folder": lambda c: os.listdir(f"/proc/{c['driver']}/cwd"),
    "all processes": lambda c: len([name for name in os.listdir("/proc") if name.isdigit()]) > 8,
    "ask for its life": lambda c: os.kill(c["driver"], 0) is None,
    "continue it": lambda c: os.kill(c["victim"], signal.SIGCONT) is None,
    "its group": lambda c: os.killpg(c["victim"], 0) is None,
    "by a handle": lambda c: signal.pidfd_send_signal(os.pidfd_open(c["victim"]), 0) is None,
    "by its thread": lambda c: call(234, c["victim"], c["victim"], 0) == 0,
    "seize it": lambda c: call(0x65, 0x4206, c["victim"], 0, 0) == 0 and call(0x65, 17, c["victim"], 0, 0) is not None,
    "read its memory": lambda c: call(310, c["driver"], None, 0, None, 0, 0) == 0,
    "its limits": lambda c: resource.prlimit(c["victim"], resource.RLIMIT_NOFILE),
    "its niceness": lambda c: os.getpriority(os.PRIO_PROCESS, c["victim"]) is not None,
    "its processors": lambda c: os.sched_getaffinity(c["victim"]),
    "the supervisor": lambda c: c["inside"] and proc("environ", 1),
    "the supervisor's limits": lambda c: c["inside"] and resource.prlimit(1, resource.RLIMIT_CPU),
    "the environment": lambda c: os.environ.get("UNIGRPO_CANARY"),
}
WRITES = {
    "write": lambda c: open(c["canary"], "w"),
    "append": lambda c: open(c["canary"], "a").write("x"),
    "truncate": lambda c: os.truncate(c["canary"], 1) is None,
    "remove": lambda c: os.unlink(c["spare"]) is None,
    "rename": lambda c: (
        os.rename(c["canary"], c["canary"] + "2") is None and os.rename(c["canary"] + "2", c["canary"]) is None
    ),
    "a file beside it": lambda c: os.open(c["canary"] + "3", os.O_CREAT),
    "a folder beside it": lambda c: os.mkdir(c["canary"] + "4") is None,
    "a link beside it": lambda c: os.symlink("/", c["canary"] + "5") is None,
    "a hard link beside it": lambda c: os.link(c["canary"], c["canary"] + "6") is None,
    "a pipe beside it": lambda c: os.mkfifo(c["canary"] + "7") is None,
    "chmod": lambda c: os.chmod(c["canary"], 0o666) is None,
    "chmod by a path handle": lambda c: os.chmod(f"/proc/self/fd/{os.open(c['canary'], os.O_PATH)}", 0o666) is None,
    "chown": lambda c: os.chown(c["canary"], os.getuid(), os.getgid()) is None,
    "utime": lambda c: os.utime(c["canary"], (1, 1)) is None,
    "extended attribute": lambda c: os.setxattr(c["canary"], "user.x", b"x") is None,
    "chmod Python": lambda c: os.chmod(os.__file__, os.stat(os.__file__).st_mode) is None,
    "touch Python": lambda c: (
        os.utime(os.__file__, (os.stat(os.__file__).st_atime, os.stat(os.__file__).st_mtime)) is None
    ),
    "write to Python": lambda c: open(os.__file__, "r+"),
    "a module beside Python's": lambda c: os.mkdir(os.path.dirname(os.__file__) + c["name"]) is None,
    "shared memory": lambda c: os.open("/dev/shm" + c["name"], os.O_CREAT | os.O_RDWR),
    "the shared /tmp": lambda c: os.mkdir("/tmp" + c["name"]) is None,
}
SOCKETS = {
    "TCP": lambda c: connect(socket.AF_INET, socket.SOCK_STREAM, ("127.0.0.1", c["port"])),
    "UDP": lambda c: connect(socket.AF_INET, socket.SOCK_DGRAM, ("127.0.0.1", c["port"])),
    "Unix": lambda c: connect(socket.AF_UNIX, socket.SOCK_STREAM, c["socket"]),
    "abstract": lambda c: connect(socket.AF_UNIX, socket.SOCK_STREAM, "\0" + c["abstract"]),
    "listen": lambda c: socket.create_server(("127.0.0.1", 0)).listen() is None,
    "listen on a path": lambda c: socket.socket(socket.AF_UNIX).bind(c["canary"] + "8") is None,
    "raw": lambda c: socket.socket(socket.AF_INET, socket.SOCK_RAW, 1).fileno(),
    "netlink": lambda c: socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 0).fileno(),
    "packet": lambda c: socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0).fileno(),
    "kernel ciphers": lambda c: socket.socket(socket.AF_ALG, socket.SOCK_SEQPACKET, 0).fileno(),
    "the host of a machine": lambda c: socket.socket(socket.AF_VSOCK, socket.SOCK_STREAM).fileno(),
    "a pair for the network": lambda c: call(53, socket.AF_INET, 1, 0, (ctypes.c_int * 2)()) == 0,
    "handed-down sockets": lambda c: _inherited(),
    "from a pair to a path": lambda c: _from_a_pair(c["datagrams"]),
    "from a pair to an abstract name": lambda c: _from_a_pair("\0" + c["abstract"] + "-datagrams"),
    "the machine's events": lambda c: socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 15).fileno(),
    "a larger buffer": lambda c: _buffer(),
}
KERNEL = {
    "user namespace": lambda c: call(272, 0x10000000) == 0,
    "network namespace": lambda c: call(272, 0x40000000) == 0,
    "clone into a namespace": lambda c: _clone(0x10000000 | signal.SIGCHLD),
    "clone3": lambda c: _clone3(),
    "mount": lambda c: call(165, b"none", b"/mnt", b"tmpfs", 0, None) == 0,
    "a new kind of mount": lambda c: call(430, b"tmpfs", 0),
    "open a tree": lambda c: call(428, -100, b"/", 1),
    "chroot": lambda c: os.chroot(tempfile.gettempdir()) is None,
    "key": lambda c: call(248, b"user", b"unigrpo", b"x", 1, -3),
    "keyring": lambda c: call(250, 0, -3, 1),
    "io_uring": lambda c: call(425, 1, (ctypes.c_char * 120)()),
    "BPF": lambda c: call(321, 0, struct.pack("IIIIIIIIII", 2, 4, 4, 1, 0, 0, 0, 0, 0, 0), 40),
    "performance counters": lambda c: call(298, struct.pack("II", 1, 128) + bytes(120), 0, -1, -1, 0),
    "page faults": lambda c: call(323, 1),
    "file handle": lambda c: call(303, -100, b"/", struct.pack("Ii", 64, 0) + bytes(64), (ctypes.c_int * 1)(), 0) == 0,
    "kernel log": lambda c: call(103, 10, None, 0),
    "system clock": lambda c: call(159, bytes(208)) is not None,
    "personality": lambda c: call(135, 0xFFFFFFFF) is not None,
    "memory without an owner": lambda c: os.memfd_create("x"),
    "System V memory": lambda c: call(29, 0, 4096, 0o1600) >= 0,
    "a call of another ABI": lambda c: call(0x40000000 + 39),
    "a terminal's input": lambda c: fcntl.ioctl(0, 0x5412, b"x") is not None or True,
    "all capabilities": lambda c: int(_status("CapEff"), 16),
    "new privileges": lambda c: LIBC.prctl(39, 0, 0, 0, 0) == 0,
    "become root": lambda c: c["inside"] and (os.getuid() != 0 and os.setuid(0) is None),
    "raise a limit": lambda c: resource.setrlimit(resource.RLIMIT_FSIZE, (-1, -1)) is None,
    "hand a core file to the machine": lambda c: _cores(),
    "watch files": lambda c: _checked(LIBC.inotify_init1(0)),
    "hold up who writes to Python": lambda c: fcntl.fcntl(os.open(os.__file__, os.O_RDONLY), 1024, 0) == 0,
    "hear of new files": lambda c: fcntl.fcntl(os.open(os.path.dirname(os.__file__), os.O_RDONLY), 1026, 0) == 0,
    "pages that outlive their memory": lambda c: call(278, os.pipe()[1], 0, 0, 0) == 0,
    "the machine's mounts": lambda c: call(458, struct.pack("IIQQQ", 24, 0, 2**64 - 1, 0, 0), bytes(4096), 64, 0),
    "all signals that may wait": lambda c: _timers() > 1000,
    "slow its supervisor down": lambda c: (
        os.sched_setscheduler(1 if c["inside"] else c["victim"], 5, os.sched_param(0)) is None
    ),
    "its supervisor's priority": lambda c: os.setpriority(0, 1 if c["inside"] else c["victim"], 19) is None,
}
PROGRAMS = {
    "a shell": lambda c: (
        subprocess.run(["/bin/sh", "-c", f"cat {c['canary']}"], capture_output=True, check=True).stdout
    ),
    "ls": lambda c: subprocess.run(["/usr/bin/env"], capture_output=True, check=True).stdout,
    "a file of its own": lambda c: _own_program(c),
}
ALL = {
    f"{kind}: {name}": way
    for kind, ways in (
        ("read", READS), ("process", PROCESSES), ("write", WRITES), ("socket", SOCKETS), ("kernel", KERNEL),
        ("program", PROGRAMS),
    )
    for name, way in ways.items()
}  # fmt: skip


def _checked(result):
    if result < 0:
        raise OSError(ctypes.get_errno(), "refused")
    return result


def _from_a_pair(address):
    """A datagram socket of a pair can also send elsewhere."""
    pair = (ctypes.c_int * 2)()
    _checked(LIBC.socketpair(1, 2, 0, pair))
    with socket.socket(fileno=pair[0]) as one, socket.socket(fileno=pair[1]):
        return one.sendto(b"out", address)


def _buffer():
    one, other = socket.socketpair()
    with one, other:
        before = one.getsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF)
        one.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, before // 4)
        return one.getsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF) != before or None


def _cores():
    """At a limit of 0 the kernel runs the machine's handler all the same."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, resource.getrlimit(resource.RLIMIT_CORE)[1]))
    return resource.getrlimit(resource.RLIMIT_CORE)[0] == 0 or None


def _timers():
    """How many it may have of what a user has a number of in all."""
    event, timer = struct.pack("QII48x", 0, signal.SIGUSR1, 0), ctypes.c_int()
    for count in range(1100):
        try:
            call(222, 1, event, ctypes.byref(timer))
        except OSError:
            return count
    return count


def _inherited():
    """Sockets that this process was handed down, but for a worker's own channel."""
    found = []
    for number in range(3, 256):
        with contextlib.suppress(OSError):
            if socket.socket(fileno=os.dup(number)).getsockname() is not None:
                found.append(number)
    return found[1:]


def _clone(flags):
    pid = call(56, flags, 0, 0, 0, 0)
    if pid == 0:
        os._exit(0)
    os.waitpid(pid, 0)
    return True


def _clone3():
    pid = call(435, struct.pack("QQQQQQQQ", 0x10000000, 0, 0, 0, signal.SIGCHLD, 0, 0, 0), 64)
    if pid == 0:
        os._exit(0)
    os.waitpid(pid, 0)
    return True


def _status(name):
    with contextlib.suppress(OSError), open("/proc/self/status") as file:
        return next(line.split()[1] for line in file if line.startswith(name))
    header, data = struct.pack("Ii", 0x20080522, 0), (ctypes.c_uint32 * 6)()
    call(125, header, data)
    return hex(data[0])


def _own_program(c):
    path = os.path.join(os.path.dirname(c["canary"]), "program.sh")
    with open(path, "w") as file:
        file.write("#!/bin/sh\necho out\n")
    os.chmod(path, 0o755)
    return subprocess.run([path], capture_output=True, check=True).stdout


def run(c):
    """Each way's name with what it gave, as text; None where it failed."""
    said = {}
    for name, way in ALL.items():
        if name in c.get("skip", ()):
            continue
        try:
            found = way(c)
            said[name] = repr(found)[:80] if found else None
        except Exception:
            said[name] = None
    return said


if __name__ == "__main__":
    import json

    print(json.dumps(run(json.loads(sys.stdin.read()))))
