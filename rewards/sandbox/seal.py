"""What a process gives up for good before a model's text reaches it: capabilities, files, signals, system calls, limits.

Where the kernel lacks one, that one is not given up: ``rewards.sandbox.kernel.offers`` says so. Standard library alone.
"""

from __future__ import annotations

import os
import resource
import sys

from rewards.sandbox.kernel import landlock, seccomp, syscalls
from rewards.sandbox.kernel.seccomp import AF_INET, AF_INET6, AF_NETLINK
from rewards.sandbox.supervisor import MOST_PROCESSES, Tree

_FILE_BYTES = {"program": 1 << 20, "sealed": 0, "network": 256 << 20}
_PROGRAM_FILES = 64
_BEYOND = (
    3  # both supervisors, which count where they are of the same user; and one more, so that who has too many is seen
)
_CORE_BYTES = 1  # none is written, and none goes to a handler of the machine's, which 0 would not prevent
_SIGNALS = 256  # that wait: timers take them from the user's, in all namespaces together


def seal(tree: Tree) -> None:
    """For this process and all that it starts. Raises OSError where the kernel refuses what it offered."""
    plan, rules = tree.plan, tree.plan.rules
    _limit(tree)
    if plan.user is not None:
        os.setgroups([])
        os.setresgid(plan.user, plan.user, plan.user)
        os.setresuid(plan.user, plan.user, plan.user)
    syscalls.drop_capabilities()
    syscalls.no_new_privileges()
    syscalls.die_with_parent()
    if plan.offer.landlock:
        landlock.restrict(
            readable=None if rules == "network" else plan.readable,
            writable=[tree.home] if tree.home is not None and rules != "sealed" else [],
            execute=rules != "sealed",
            network=rules == "network",
            devices=rules == "network",
        )
    if plan.offer.seccomp:
        seccomp.restrict(
            seccomp.Calls(
                sockets=(AF_INET, AF_INET6, AF_NETLINK) if rules == "network" else (),
                programs=rules != "sealed",
                modes=plan.isolated and plan.offer.room and rules != "sealed",
                memory=rules == "network",
            )
        )


def _limit(tree: Tree) -> None:
    """Soft and hard: what is lowered here stays so."""
    plan = tree.plan
    limits = {resource.RLIMIT_FSIZE: _FILE_BYTES[plan.rules], resource.RLIMIT_CORE: _CORE_BYTES}
    if plan.memory:
        limits[resource.RLIMIT_AS] = plan.memory
    if plan.rules == "program":
        limits[resource.RLIMIT_NOFILE] = _PROGRAM_FILES
    if plan.rules == "program" or (plan.rules == "network" and plan.isolated):
        limits[resource.RLIMIT_NPROC] = MOST_PROCESSES[plan.rules] + _BEYOND
    if plan.rules != "network" and sys.platform == "linux":
        limits |= {resource.RLIMIT_SIGPENDING: _SIGNALS, resource.RLIMIT_MEMLOCK: 0}
    for what, value in limits.items():
        hard = resource.getrlimit(what)[1]
        wanted = value if hard == resource.RLIM_INFINITY else min(value, hard)
        resource.setrlimit(what, (wanted, wanted))
