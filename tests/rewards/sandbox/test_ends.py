"""A program in the sandbox ends as Python ends: the same output, the same exit."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.rewards.sandbox.test_program import ran

ENDS = {
    "registered": "import atexit\natexit.register(print, 'last')\natexit.register(print, 'first')\nprint('run')",
    "registered and failing": "import atexit\natexit.register(lambda: 1 / 0)\natexit.register(print, 'first')",
    "an object's end": "class A:\n    def __del__(self): print('gone')\na = A()\nprint('run')",
    "a circle's end": "class A:\n    def __del__(self): print('gone', NAME)\nNAME = 'x'\na = A()\na.me = a",
    "an object's end that fails": "class A:\n    def __del__(self): 1 / 0\na = A()\nprint('run')",
    "a thread": (
        "import threading, time\ndef f():\n    time.sleep(0.2)\n    print('thread')\nthreading.Thread(target=f).start()\n"
        "print('main')"
    ),
    "a pool": "from concurrent.futures import ThreadPoolExecutor\np = ThreadPoolExecutor(2)\np.submit(print, 'job')",
    "a daemon": "import threading, time\nthreading.Thread(target=time.sleep, args=(60,), daemon=True).start()\nprint('main')",
    "a finalizer": "import weakref\nclass A: pass\na = A()\nweakref.finalize(a, print, 'final')\nprint('run')",
    "an own stream": "import os\nout = os.fdopen(1, 'w', closefd=False)\nout.write('unflushed')",
    "a stream in place of the first": "import sys, io\nsys.stdout = io.TextIOWrapper(open(1, 'wb', closefd=False))\nprint('x')",
    "a stream that keeps all": "import sys, io\nsys.stdout = io.StringIO()\nprint('unseen')",
    "no stream": "import sys\nprint('x')\nsys.stdout = None",
    "a closed stream": "import sys\nprint('x')\nsys.stdout.close()",
    "a stream that cannot be flushed": (
        "import sys\nclass S:\n    closed = False\n    def write(self, t): pass\n    def flush(self): 1 / 0\nsys.stdout = S()"
    ),
    "C's own buffer": "import ctypes\nctypes.CDLL(None).printf(b'from C')",
    "a generator's end": "def g():\n    try:\n        yield\n    finally:\n        print('closed')\nx = g()\nnext(x)",
    "exit with a number": "raise SystemExit(7)",
    "exit with a text": "import sys\nsys.exit('why')",
    "exit in a thread": "import threading, sys\nt = threading.Thread(target=sys.exit)\nt.start()\nt.join()\nprint('main')",
    "an error": "print('x')\nraise ValueError('no')",
    "an error at the very end": "import sys\nsys.excepthook = lambda *a: print('hooked', a[0].__name__)\n1 / 0",
    "a kept traceback": "import sys\nclass A:\n    def __del__(self): print('gone')\ndef f():\n    a = A()\n    1 / 0\nf()",
    "at once": "import os\nprint('lost')\nos._exit(0)",
    "a task that was not awaited": "import asyncio\nasync def f(): print('x')\nc = f()\nprint('run')",
}  # fmt: skip


def of_python(program: str, folder: Path) -> tuple[bool, str]:
    (folder / "program.py").write_text(program)
    command = [sys.executable, "-I", "-B", "program.py"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, stdin=subprocess.DEVNULL, timeout=60)
    return done.returncode == 0, done.stdout


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere it is a Python of its own")
@pytest.mark.parametrize("kind", ENDS)
def test_it_ends_as_python_does(kind: str, tmp_path: Path) -> None:
    value = ran(ENDS[kind])
    assert (value["end"] == "ok", value["output"]) == of_python(ENDS[kind], tmp_path), value
