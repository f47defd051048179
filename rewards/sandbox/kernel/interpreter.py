"""Runs a program as ``python -I -B FILE`` does, in a fork of a process that has Python already.

A new interpreter takes two thirds of what one short program costs: it finds and loads the same modules every time. What a
program could tell it by: more modules are loaded already, and texts hash alike in every run. Standard library alone.
"""

from __future__ import annotations

import atexit
import ctypes
import functools
import gc
import io
import json
import os
import subprocess
import sys
import threading
import types
from collections.abc import Iterable, Mapping
from typing import NoReturn

_START_S = 60.0
_FIRST_FREE, _MOST_FILES = 4, 1 << 20  # descriptors
_NOT_WRITTEN = 120  # Python's exit code where its last output was lost
_GONE = ("rewards", "rl", "tempfile")  # packages of this project, and what knows a folder that is not the program's


@functools.cache
def isolated_path() -> list[str]:
    """``sys.path`` of a Python that looks at no environment and at no folder of the user's."""
    command = [sys.executable, "-I", "-c", "import json, sys; print(json.dumps(sys.path))"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=_START_S, check=True)
    return json.loads(done.stdout)


def run(source: str, name: str, environment: Mapping[str, str], path: Iterable[str]) -> NoReturn:
    """Run the program and end this process as Python ends.

    name: of its file, in the current folder. Descriptors from 4 on are closed; 0 to 2 become the standard streams.
    """
    os.closerange(_FIRST_FREE, _MOST_FILES)
    _as_new(name, environment, path)
    code = 1
    try:
        exec(compile(source, name, "exec", dont_inherit=True), vars(sys.modules["__main__"]))
        code = 0
    except SystemExit as error:
        code = _exit_code(error)
    except BaseException as error:
        _tell(error)
    _end(code)


def _tell(error: BaseException) -> None:
    """Without the frame of this module."""
    inner = error.__traceback__
    sys.excepthook(type(error), error, inner.tb_next if inner is not None else None)


def _end(code: int) -> NoReturn:
    """As Python ends, but for the modules that it had already: taking them apart is most of what a short program costs.

    Waits for threads, calls what is registered, writes what is buffered, lets go of what the program made (``__del__``).
    """
    for finish in (threading._shutdown, atexit._run_exitfuncs):  # pyright: ignore[reportAttributeAccessIssue]
        try:
            finish()
        except BaseException as error:
            sys.excepthook(type(error), error, error.__traceback__)
    whole = _flushed()
    for name in ("stdin", "stdout", "stderr"):
        setattr(sys, name, getattr(sys, f"__{name}__", None))
    sys.modules.pop("__main__", None)
    gc.collect()
    whole = _flushed() and whole
    ctypes.pythonapi.exit(ctypes.c_int(code if whole else _NOT_WRITTEN))
    os._exit(code)


def _flushed() -> bool:
    """Whether all that was printed could be written."""
    whole = True
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name, None)
        try:
            if stream is not None and not stream.closed:
                stream.flush()
        except BaseException as error:
            whole = whole and name == "stderr"
            if not whole:
                sys.excepthook(type(error), error, None)
    return whole


def _as_new(name: str, environment: Mapping[str, str], path: Iterable[str]) -> None:
    """Nothing of ours but what is on the stack; the module ``__main__``, empty."""
    os.environ.clear()
    os.environ.update(environment)
    for module in [each for each in sys.modules if each.partition(".")[0] in _GONE]:
        del sys.modules[module]
    main = types.ModuleType("__main__")
    vars(main).update(__file__=os.path.abspath(name), __builtins__=sys.modules["builtins"], __annotations__={})
    sys.modules["__main__"] = main
    sys.path[:], sys.argv[:] = path, [name]
    sys.orig_argv[:] = [sys.executable, "-I", "-B", name]
    sys.dont_write_bytecode = True
    sys.setrecursionlimit(sys.getrecursionlimit() + _depth())
    errors = sys.stdout.errors
    sys.stdin = sys.__stdin__ = _stream(0, "r", errors)  # pyright: ignore
    sys.stdout = sys.__stdout__ = _stream(1, "w", errors)  # pyright: ignore
    sys.stderr = sys.__stderr__ = _stream(2, "w", "backslashreplace", at_once=True)  # pyright: ignore


def _stream(file: int, mode: str, errors: str | None, *, at_once: bool = False) -> io.TextIOWrapper:
    raw = io.FileIO(file, mode, closefd=False)
    buffered = io.BufferedReader(raw) if mode == "r" else io.BufferedWriter(raw)
    return io.TextIOWrapper(buffered, encoding="utf-8", errors=errors, line_buffering=at_once)


def _depth() -> int:
    """Frames below this one, which are not the program's."""
    frame, count = sys._getframe(), 0
    while frame is not None:
        frame, count = frame.f_back, count + 1
    return count


def _exit_code(error: SystemExit) -> int:
    if error.code is None or isinstance(error.code, int):
        return (error.code or 0) & 0xFF
    print(error.code, file=sys.stderr)
    return 1
