"""Which system calls a sandboxed process may make: a seccomp filter of ours, in 8-byte instructions of classic BPF.

It refuses what a program has no business with, so that a mistake of the kernel's there is out of reach: other processes'
memory, keys, io_uring, BPF, mounts, new namespaces, sockets beyond those allowed. A refused call fails with an errno, so
that Python raises OSError. Calls that are newer than this table fail as on an older kernel. Standard library alone.
https://docs.kernel.org/userspace-api/seccomp_filter.html
"""

from __future__ import annotations

import ctypes
import errno
import platform
import struct
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from rewards.sandbox.kernel.syscalls import libc, no_new_privileges

AF_UNIX, AF_INET, AF_INET6, AF_NETLINK = 1, 2, 10, 16
_SET_SECCOMP, _FILTER = 22, 2
_LOAD, _EQUAL, _GREATER, _AT_LEAST, _ANY_BIT, _MASK, _RETURN = 0x20, 0x15, 0x25, 0x35, 0x45, 0x54, 0x06
_ALLOW, _ERRNO, _KILL = 0x7FFF0000, 0x00050000, 0x80000000
_NUMBER, _ARCHITECTURE, _ARGUMENTS = 0, 4, 16  # places in struct seccomp_data; arguments are 8 bytes, little-endian
_MACHINES = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}
_X32, _NEWEST = 0x40000000, 469
_THREAD, _NEW_NAMESPACES = 0x00010000, 0x7E020000
_TYPING = (0x5412, 0x541C)  # TIOCSTI, TIOCLINUX: input into a terminal
_LEASES = (1024, 1026)  # F_SETLEASE, F_NOTIFY: they hold up, or watch, whoever opens a file outside
_CORE = 4  # RLIMIT_CORE
_KINDS, _CONNECTED = 0xF, (1, 5)  # SOCK_STREAM, SOCK_SEQPACKET: a pair of datagram sockets can send to any other path
_SOCKET_LEVEL, _BUFFERS = 1, (7, 32)  # SO_SNDBUF, SO_SNDBUFFORCE: memory that is no process's
_ROUTES = 0  # NETLINK_ROUTE: what resolving a name asks for; the others tell of the machine

# name -> number on x86_64, and on aarch64 where it differs; 0: none there
_ALWAYS = {
    "ptrace": (101, 117), "process_vm_readv": (310, 270), "process_vm_writev": (311, 271), "kcmp": (312, 272),
    "pidfd_getfd": (438,), "process_madvise": (440,), "process_mrelease": (448,),
    "add_key": (248, 217), "request_key": (249, 218), "keyctl": (250, 219),
    "io_uring_setup": (425,), "io_uring_enter": (426,), "io_uring_register": (427,),
    "bpf": (321, 280), "perf_event_open": (298, 241), "userfaultfd": (323, 282),
    "mount": (165, 40), "umount2": (166, 39), "pivot_root": (155, 41), "chroot": (161, 51), "setns": (308, 268),
    "unshare": (272, 97), "open_tree": (428,), "move_mount": (429,), "fsopen": (430,), "fsconfig": (431,),
    "fsmount": (432,), "fspick": (433,), "mount_setattr": (442,), "open_tree_attr": (467,),
    "name_to_handle_at": (303, 264), "open_by_handle_at": (304, 265), "quotactl": (179, 60), "quotactl_fd": (443,),
    "swapon": (167, 224), "swapoff": (168, 225), "reboot": (169, 142), "syslog": (103, 116), "acct": (163, 89),
    "settimeofday": (164, 170), "clock_settime": (227, 112), "clock_adjtime": (305, 266), "adjtimex": (159, 171),
    "personality": (135, 92), "kexec_load": (246, 104), "kexec_file_load": (320, 294), "init_module": (175, 105),
    "finit_module": (313, 273), "delete_module": (176, 106), "iopl": (172, 0), "ioperm": (173, 0),
    "modify_ldt": (154, 0), "vhangup": (153, 58), "sethostname": (170, 161), "setdomainname": (171, 162),
    "fanotify_init": (300, 262), "lookup_dcookie": (212, 18), "uselib": (134, 0), "move_pages": (279, 239),
    "migrate_pages": (256, 238), "vmsplice": (278, 75), "statmount": (457,), "listmount": (458,),
}  # fmt: skip
_MEMORY = {  # that no limit on a process counts, and watches, of which a user has few in all namespaces together
    "memfd_create": (319, 279), "memfd_secret": (447,), "shmget": (29, 194), "shmat": (30, 196), "msgget": (68, 186),
    "semget": (64, 190), "mq_open": (240, 180), "inotify_init": (253, 0), "inotify_init1": (294, 26),
}  # fmt: skip
_MODES = {  # Landlock does not cover these; read-only mounts do
    "chmod": (90, 0), "fchmod": (91, 52), "fchmodat": (268, 53), "fchmodat2": (452,), "chown": (92, 0),
    "fchown": (93, 55), "lchown": (94, 0), "fchownat": (260, 54), "utime": (132, 0), "utimes": (235, 0),
    "utimensat": (280, 88), "futimesat": (261, 0), "setxattr": (188, 5), "lsetxattr": (189, 6), "fsetxattr": (190, 7),
    "removexattr": (197, 14), "lremovexattr": (198, 15), "fremovexattr": (199, 16), "setxattrat": (463,),
    "removexattrat": (466,), "file_setattr": (469,),
}  # fmt: skip
_PROGRAMS = {"execve": (59, 221), "execveat": (322, 281), "fork": (57, 0), "vfork": (58, 0)}
_SOCKET, _SOCKETPAIR, _CLONE, _CLONE3 = (41, 198), (53, 199), (56, 220), (435,)
_IOCTL, _PRLIMIT, _SETRLIMIT, _FCNTL = (16, 29), (302, 261), (160, 164), (72, 25)
# a process's own alone: one that slowed its supervisor down would outlive its deadline
_SCHEDULING = {
    "sched_setparam": ((142, 118), 0),
    "sched_setscheduler": ((144, 119), 0),
    "sched_setattr": ((314, 274), 0),
}
_SET_PRIORITY, _SET_OPTION = (141, 140), (54, 208)

Instruction = tuple[int, int, int, int]  # code, jump if true, jump if false, operand


@dataclass(frozen=True, slots=True)
class Calls:
    """What a filter lets through beyond files and arithmetic.

    sockets    address families that ``socket`` may have
    programs   other programs and child processes
    modes      chmod, chown, utime and extended attributes: where mounts are read-only
    memory     memory that belongs to no process: memfd, System V; watches of files
    """

    sockets: tuple[int, ...] = ()
    programs: bool = False
    modes: bool = False
    memory: bool = False


def supported() -> bool:
    return sys.platform == "linux" and platform.machine() in _MACHINES


def restrict(calls: Calls) -> None:
    """Install the filter in this process and all its children, for good. Raises OSError."""
    code = b"".join(struct.pack("HBBI", *each) for each in assemble(calls, platform.machine()))
    buffer = ctypes.create_string_buffer(code, len(code))
    program = struct.pack("HxxxxxxQ", len(code) // 8, ctypes.addressof(buffer))
    no_new_privileges()
    if libc().prctl(ctypes.c_int(_SET_SECCOMP), ctypes.c_ulong(_FILTER), program, ctypes.c_ulong(0), ctypes.c_ulong(0)):
        raise OSError(ctypes.get_errno(), "no seccomp filter")


def assemble(calls: Calls, machine: str) -> list[Instruction]:
    def number(of: Sequence[int]) -> int:
        return of[0] if machine == "x86_64" else of[-1]

    refused = dict(_ALWAYS)
    for group, allowed in ((_MEMORY, calls.memory), (_MODES, calls.modes), (_PROGRAMS, calls.programs)):
        refused |= {} if allowed else group
    code: list[Instruction] = [
        (_LOAD, 0, 0, _ARCHITECTURE), (_EQUAL, 1, 0, _MACHINES[machine]), (_RETURN, 0, 0, _KILL),
        (_LOAD, 0, 0, _NUMBER),
        (_AT_LEAST, 0, 1, _X32), (_RETURN, 0, 0, _ERRNO | errno.EPERM),
        (_GREATER, 0, 1, _NEWEST), (_RETURN, 0, 0, _ERRNO | errno.ENOSYS),
    ]  # fmt: skip
    for of in refused.values():
        if number(of):
            code += _when(number(of), [(_RETURN, 0, 0, _ERRNO | errno.EPERM)])
    code += _when(number(_SOCKET), _families(calls.sockets))
    code += _when(number(_SOCKETPAIR), _pairs())
    if not calls.sockets:
        code += _when(number(_SET_OPTION), _usual_buffers())
    code += _when(number(_CLONE3), [(_RETURN, 0, 0, _ERRNO | errno.ENOSYS)])  # its flags are behind a pointer
    code += _when(number(_CLONE), _clone(calls.programs))
    code += _when(number(_IOCTL), _none_of(1, _TYPING))
    code += _when(number(_FCNTL), _none_of(1, _LEASES))
    code += _when(number(_PRLIMIT), _own_limits())
    code += _when(number(_SETRLIMIT), _none_of(0, (_CORE,), 0))
    for of, index in _SCHEDULING.values():
        code += _when(number(of), _only(index, (0,), errno.EPERM))
    code += _when(number(_SET_PRIORITY), _only(1, (0,), errno.EPERM))
    return [*code, (_RETURN, 0, 0, _ALLOW)]


def _when(number: int, block: list[Instruction]) -> list[Instruction]:
    """The block, which returns, for one system call."""
    return [(_EQUAL, 0, len(block), number), *block]


def _argument(index: int) -> Instruction:
    return (_LOAD, 0, 0, _ARGUMENTS + 8 * index)


def _only(index: int, values: Iterable[int], error: int) -> list[Instruction]:
    allowed = [each for value in values for each in ((_EQUAL, 0, 1, value), (_RETURN, 0, 0, _ALLOW))]
    return [_argument(index), *allowed, (_RETURN, 0, 0, _ERRNO | error)]


def _families(allowed: Iterable[int]) -> list[Instruction]:
    """Of netlink one protocol alone."""
    plain = [each for family in allowed if family != AF_NETLINK for each in _equal(family)]
    routes = [(_EQUAL, 0, 3, AF_NETLINK), _argument(2), *_equal(_ROUTES)] if AF_NETLINK in allowed else []
    return [_argument(0), *plain, *routes, (_RETURN, 0, 0, _ERRNO | errno.ENETUNREACH)]


def _pairs() -> list[Instruction]:
    kinds = [each for kind in _CONNECTED for each in _equal(kind)]
    refused = (_RETURN, 0, 0, _ERRNO | errno.EPERM)
    return [_argument(0), (_EQUAL, 1, 0, AF_UNIX), refused, _argument(1), (_MASK, 0, 0, _KINDS), *kinds, refused]


def _usual_buffers() -> list[Instruction]:
    """A new size is taken without effect, so that what a socket may hold is known."""
    sizes = [each for size in _BUFFERS for each in ((_EQUAL, 0, 1, size), (_RETURN, 0, 0, _ERRNO))]
    allow = (_RETURN, 0, 0, _ALLOW)
    return [_argument(1), (_EQUAL, 1, 0, _SOCKET_LEVEL), allow, _argument(2), *sizes, allow]


def _own_limits() -> list[Instruction]:
    """Of itself alone. A new limit on core files is taken without effect: at 0 the kernel would run its handler of them."""
    asked = [_argument(2), (_EQUAL, 0, 3, 0), _high(2), (_EQUAL, 0, 1, 0), (_RETURN, 0, 0, _ALLOW)]
    core = [_argument(1), (_EQUAL, 1, 0, _CORE), (_RETURN, 0, 0, _ALLOW), *asked, (_RETURN, 0, 0, _ERRNO)]
    return [_argument(0), (_EQUAL, 1, 0, 0), (_RETURN, 0, 0, _ERRNO | errno.EPERM), *core]


def _equal(value: int) -> list[Instruction]:
    return [(_EQUAL, 0, 1, value), (_RETURN, 0, 0, _ALLOW)]


def _high(index: int) -> Instruction:
    return (_LOAD, 0, 0, _ARGUMENTS + 8 * index + 4)


def _none_of(index: int, values: Iterable[int], error: int = errno.EPERM) -> list[Instruction]:
    refused = [each for value in values for each in ((_EQUAL, 0, 1, value), (_RETURN, 0, 0, _ERRNO | error))]
    return [_argument(index), *refused, (_RETURN, 0, 0, _ALLOW)]


def _clone(processes: bool) -> list[Instruction]:
    """No new namespaces; without ``processes``, threads alone."""
    only_threads = [] if processes else [(_ANY_BIT, 1, 0, _THREAD), (_RETURN, 0, 0, _ERRNO | errno.EPERM)]
    return [
        _argument(0),
        (_ANY_BIT, 0, 1, _NEW_NAMESPACES),
        (_RETURN, 0, 0, _ERRNO | errno.EPERM),
        *only_threads,
        (_RETURN, 0, 0, _ALLOW),
    ]
