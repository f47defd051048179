"""Python imports this at its start where this folder is in PYTHONPATH: each process of a run writes down its own peaks.

Bytes of the device by torch's allocator, and of the host by Linux, twice a second, in ``PID.json`` of the folder that
UNIGRPO_BENCH_MEMORY names.
"""

import contextlib
import json
import os
import sys
import threading
import time

FOLDER = os.environ.get("UNIGRPO_BENCH_MEMORY")
EVERY_S = 0.5


def host_bytes() -> int:
    """The highest resident memory of this process."""
    with open("/proc/self/status") as file:
        peaks = [line.split()[1] for line in file if line.startswith("VmHWM:")]
    return 1024 * int(peaks[0]) if peaks else 0


def device_bytes() -> "int | None":
    """The most that torch's allocator has handed out; None where this process has not used a GPU."""
    torch = sys.modules.get("torch")
    cuda = getattr(torch, "cuda", None)
    if cuda is None or not hasattr(cuda, "is_initialized") or not cuda.is_initialized():
        return None
    return int(cuda.max_memory_allocated())


def write_on(folder: str) -> None:
    file = os.path.join(folder, f"{os.getpid()}.json")
    while True:
        with contextlib.suppress(Exception):  # the run goes on, whatever happens here
            found = {"host": host_bytes(), "device": device_bytes()}
            with open(f"{file}.tmp", "w") as beside:
                json.dump(found, beside)
            os.replace(f"{file}.tmp", file)
        time.sleep(EVERY_S)


if FOLDER:
    threading.Thread(target=write_on, args=(FOLDER,), daemon=True, name="peaks").start()
