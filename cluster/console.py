"""How a command ends: its exit code, one line for the user, and everything else in the run folder's log."""

from __future__ import annotations

import logging
import signal
import sys
import threading
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

import typer
from typer.core import TyperCommand

from rl.errors import TrainingError, UniGRPOError
from rl.output.printable import LogFormatter, said
from rl.output.secrets import know_environment

OK, CRASHED, REFUSED, INTERRUPTED = 0, 1, 2, 130
LOG_FILE = "log"

_log = logging.getLogger(__name__)
_way_on: list[Callable[[], str]] = []  # what an interrupted command leaves to go on from
_held: list[str] | None = None  # notes of a command whose checks go on; None: no command runs, or they have passed


class Once(TyperCommand):
    """A command of whose options each may be given once, but for lists: of two recipes the first would go unread in silence."""

    def parse_args(self, ctx: typer.Context, args: list[str]) -> list[str]:  # pyright: ignore[reportIncompatibleMethodOverride]
        known = self.make_parser(ctx)
        known.ignore_unknown_options = True
        _, _, given = known.parse_args(args=list(args))
        seen: set[str] = set()
        for option in given:
            single = not (getattr(option, "multiple", False) or getattr(option, "is_flag", False) or option.nargs == -1)
            if option.param_type_name == "option" and single and str(option.name) in seen:
                ctx.fail(f"{option.opts[-1]} is given twice; allowed: once")
            seen.add(str(option.name))
        return super().parse_args(ctx, args)


def once(*apps: typer.Typer) -> None:
    """Their commands become ``Once``."""
    for app in apps:
        for command in app.registered_commands:
            command.cls = Once


def run(body: Callable[[], int]) -> None:
    """Run a command and leave with its exit code.

    An error of ours is one line on stderr and exit 2, or exit 1 where training cannot go on; Ctrl-C and SIGTERM are exit
    130; anything else is a bug: exit 1, and its traceback is in the log of the run, or on stderr where there is no run yet.
    Notes wait for ``checked`` or the end: a mistake is one line alone.
    """
    global _held
    _way_on.clear()
    _held = []
    know_environment()
    logging.getLogger().addHandler(logging.NullHandler())  # before there is a log, errors are told by us alone
    try:
        with _sigterm_as_ctrl_c():
            code = body()
        checked()
    except UniGRPOError as error:
        _log.error("%s", error, exc_info=True)
        say(f"error: {' '.join(str(error).split())}")
        code = CRASHED if isinstance(error, TrainingError) else REFUSED
    except (KeyboardInterrupt, SystemExit):
        told = "; ".join(["interrupted", *(say() for say in _way_on)])
        _log.info("%s", told)
        say(told)
        code = INTERRUPTED
    except Exception as error:
        code = CRASHED
        say(_crash_message(error))
    finally:
        _held = None
    raise typer.Exit(code)


def note(text: str) -> None:
    """What a user may want to know, on stderr: once the command's checks have passed, or at once where no command runs."""
    if _held is None:
        say(f"note: {text}")
    else:
        _held.append(text)


def checked() -> None:
    """Every check of the command has passed: notes that waited are said, and later ones wait no more."""
    global _held
    waiting, _held = _held or [], None
    for text in waiting:
        note(text)


def when_interrupted(say: Callable[[], str]) -> None:
    """What Ctrl-C is to say of how to go on, asked when it comes. Nothing is promised otherwise."""
    _way_on[:] = [say]


def log_to(run_dir: Path) -> Path:
    """Send our log, and warnings of everything else, to ``run_dir/log``; our warnings also go to stderr."""
    run_dir.mkdir(parents=True, exist_ok=True)
    root = logging.getLogger()
    for handler in [handler for handler in root.handlers if getattr(handler, "of_unigrpo", False)]:
        root.removeHandler(handler)
        handler.close()
    file = logging.FileHandler(run_dir / LOG_FILE, encoding="utf-8")
    file.setFormatter(LogFormatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    screen = _Stderr()
    screen.setLevel(logging.WARNING)
    screen.addFilter(lambda record: record.levelno < logging.ERROR and _is_ours(record))
    screen.setFormatter(LogFormatter("warning: %(message)s"))
    file.addFilter(lambda record: record.levelno >= logging.WARNING or _is_ours(record))
    for handler in (file, screen):
        handler.of_unigrpo = True  # pyright: ignore[reportAttributeAccessIssue]
        root.addHandler(handler)
    for package in ("rl", "rewards", "policies", "cluster"):
        logging.getLogger(package).setLevel(logging.INFO)
    return run_dir / LOG_FILE


class _Stderr(logging.StreamHandler):
    """Writes to the stderr of the moment: a live table puts another one in its place."""

    def emit(self, record: logging.LogRecord) -> None:
        self.stream = sys.stderr
        super().emit(record)


def _crash_message(error: Exception) -> str:
    summary = said(f"{type(error).__name__}: {' '.join(str(error).split())}", limit=300)
    for handler in logging.getLogger().handlers:
        if isinstance(handler, logging.FileHandler) and getattr(handler, "of_unigrpo", False):
            _log.error("%s", summary, exc_info=True)
            return f"crashed: {summary}; the traceback is in {handler.baseFilename}"
    return f"{traceback.format_exc()}crashed: {summary}"


def _is_ours(record: logging.LogRecord) -> bool:
    return record.name.partition(".")[0] in ("rl", "rewards", "policies", "cluster")


@contextmanager
def _sigterm_as_ctrl_c() -> Iterator[None]:
    if threading.current_thread() is not threading.main_thread():
        yield  # whoever runs us in a thread handles signals
        return
    before = signal.signal(signal.SIGTERM, _interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _interrupt(number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt


def say(text: str) -> None:
    """A message on stderr: no secrets, and nothing that a terminal would obey."""
    print(said(text, lines=True), file=sys.stderr, flush=True)


def show(text: object, *, end: str = "\n") -> None:
    """The same on stdout, for text of models, rows, servers and files."""
    print(said(text, lines=True, limit=None), end=end, flush=True)
