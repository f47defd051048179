"""Started by ``rewards.code``: gives up what it can, then becomes the program. Standard library alone.

python -I -S code_child.py FOLDER MEMORY_BYTES SECONDS      runs FOLDER/program.py
python -I -S code_child.py --probe                          exit code 0 where namespaces can be made
"""

import importlib.util
import math
import os
import resource
import signal
import sys

_MAX_FILE, _MAX_FILES, _MAX_PROCESSES = 1 << 20, 64, 64


def limit(memory: int, seconds: float) -> None:
    for what, value in (
        (resource.RLIMIT_AS, memory),
        (resource.RLIMIT_CPU, math.ceil(seconds)),
        (resource.RLIMIT_FSIZE, _MAX_FILE),
        (resource.RLIMIT_NOFILE, _MAX_FILES),
        (resource.RLIMIT_CORE, 0),
        (resource.RLIMIT_NPROC, _MAX_PROCESSES),
    ):
        hard = resource.getrlimit(what)[1]
        wanted = value if hard == resource.RLIM_INFINITY else min(value, hard)
        resource.setrlimit(what, (wanted, wanted))


def load_seal():
    """``rewards.sandbox.seal`` by its path: with -I there is no package to import it from."""
    spec = importlib.util.spec_from_file_location("seal", os.path.join(os.path.dirname(__file__), "seal.py"))
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def main() -> int:
    seal = load_seal()
    if sys.argv[1] == "--probe":
        return 0 if seal.leave_network(processes=True) else 1
    folder, memory, seconds = sys.argv[1], int(sys.argv[2]), float(sys.argv[3])
    seal.leave_network(processes=True)
    pid = os.fork()  # in a new process tree the first child is its root: where it ends, all do
    if pid == 0:
        os.chdir(folder)
        seal.die_with_parent()
        limit(memory, seconds)
        seal.seal(write_to=folder, execute=True)
        signal.setitimer(signal.ITIMER_REAL, seconds)  # survives exec; the wall deadline of a program that waits
        os.execv(sys.executable, [sys.executable, "-I", "-B", "program.py"])
    code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    return code if code >= 0 else 128 - code


if __name__ == "__main__":
    sys.exit(main())
