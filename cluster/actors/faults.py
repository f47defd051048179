"""Injected faults, for tests: at this step, in this worker. A run has no plan unless a test hands it one."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from dataclasses import dataclass

DRIVER = "driver"
KILL, FREEZE = "SIGKILL", "SIGSTOP"
Kind = str | Callable[[], None]


@dataclass(frozen=True, slots=True)
class Fault:
    """kind: the name of a signal, or a function that the driver calls at that moment."""

    step: int
    worker: str
    kind: Kind


class FaultPlan:
    """``FaultPlan().at(2, "rollout worker 1", KILL)``: while step 2 is being made, once that worker got work in it.

    step counts as the loop does: 1 is the first. left: what has not happened yet.
    """

    def __init__(self) -> None:
        self.left: list[Fault] = []
        self.step = 0

    def at(self, step: int, worker: str, kind: Kind) -> FaultPlan:
        self.left.append(Fault(step, worker, kind))
        return self

    def inject(self, worker: str, pid: int | None) -> None:
        """Inject what is due, now that this worker was given work. pid: its process; None where it is not known yet."""
        for fault in [fault for fault in self.left if fault.step == self.step]:
            target = os.getpid() if fault.worker == DRIVER else pid
            if fault.worker not in (worker, DRIVER) or target is None:
                continue
            self.left.remove(fault)
            if callable(fault.kind):
                fault.kind()
            else:
                os.kill(target, signal.Signals[fault.kind])
