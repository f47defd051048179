"""What to do about what a user's function or file raised, in one line."""

from __future__ import annotations

import os
import re
import sys
import traceback
from pathlib import Path

from rl.errors import one_line

_OF_A_TEXT = re.compile(
    r"string indices must be integers|string index out of range|'?str'? object'? (has no attribute|is not a mapping)"
    r"|after \*\* must be a mapping, not str|dictionary update sequence|can only concatenate (str|list) \(not \"(list|str)\"\)"
    r"|for \|=?: .*'str'"
)
_CHAT = re.compile(r"\b(content|role)\b|apply_chat_template")
_PACKAGE = re.compile(r"\bunigrpo_custom_[0-9]+(\.|\b)")
_NO_NAME = re.compile(r"cannot import name '(\w+)' from ''")
_TEXTS = (
    "prompts, completions and solution_str are texts here, not lists of messages: write completion for "
    "completion[0]['content']"
)


def said(error: BaseException) -> str:
    """``one_line`` without our names of a user's modules; also of an exception that cannot say what it is."""
    try:
        return _PACKAGE.sub("", one_line(error))
    except KeyboardInterrupt:
        raise
    except BaseException:  # its own text may even raise SystemExit
        return type(error).__name__


def where(error: BaseException, path: str) -> str:
    """``my.py:4: return 1 / 0: `` for the innermost line of the user's file, or of one beside it; else nothing."""
    own = Path(os.path.abspath(path))
    folders = {own.parent, own.resolve().parent}
    for frame in reversed(traceback.extract_tb(error.__traceback__)):
        if frame.filename == str(own):
            return f"{path}:{frame.lineno}: {frame.line}: "
        if Path(frame.filename).parent in folders:
            return f"{Path(path).parent / Path(frame.filename).name}:{frame.lineno}: {frame.line}: "
    return ""


def remedy(error: BaseException, path: str) -> str:
    """A remedy for errors whose own text does not give one, beginning with ``; ``; else nothing."""
    text = said(error)
    if isinstance(error, ModuleNotFoundError):
        return _of_a_module(_PACKAGE.sub("", str(error.name or "")), path)
    if lost := _NO_NAME.search(text):
        return f"; put {lost[1]}.py beside {path}"
    if isinstance(error, ImportError) and "relative import" in text:
        return f"; a relative import may not leave the folder of {path} unless its folders have an __init__.py"
    if _OF_A_TEXT.search(text) and _CHAT.search(where(error, path) + _source(path)):
        return f"; {_TEXTS}"
    return ""


def _of_a_module(name: str, path: str) -> str:
    """name: the module that was not found, with its packages."""
    top, _, inner = name.partition(".")
    if not top or top in sys.modules:
        return ""
    folder = Path(path).parent
    if inner and ((folder / f"{top}.py").is_file() or (folder / top).is_dir()):
        return f"; put {Path(top, *inner.split('.'))}.py beside {path}"
    return f"; put {top}.py beside {path}, or install {top} wherever rewards run"


def _source(path: str) -> str:
    try:
        return Path(path).read_bytes().decode("utf-8", errors="replace")
    except OSError:
        return ""
