"""Text of others, as it may be shown: a model's, a row's, a server's, or a user's exception.

A terminal obeys what it is sent: a title, a colour, a line written over another, a direction of writing. So everything that
is not a visible character is shown as its escape sequence, and nothing is read as Rich's markup.
"""

from __future__ import annotations

import logging
import re
from typing import TYPE_CHECKING

from rl.output.secrets import redact

if TYPE_CHECKING:
    from rich.text import Text

LONGEST = 20_000  # characters of one line of the log, or of one message
# C0 and C1 controls; marks that turn the direction of writing, or that nobody sees; line separators; halves of surrogate
# pairs; tags. The joiners U+200C and U+200D stay: whole scripts and many pictures need them.
_UNSEEN = (
    "\x00-\x1f\x7f-\x9f\u00ad\u061c\u180e\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb\ud800-\udfff"
    "\U000e0000-\U000e007f"
)
_LINE, _LINES = re.compile(f"[{_UNSEEN}]"), re.compile(f"(?![\\n\\t])[{_UNSEEN}]")
_SHORT = {"\n": "\\n", "\r": "\\r", "\t": "\\t"}


def printable(text: object, *, lines: bool = False, limit: int | None = None) -> str:
    """The text with ``\\x1b`` for an escape character, ``\\u202e`` for a mark that turns the line around, and so on.

    lines: line ends and tabs stay. limit: what is longer is cut, and the rest counted.
    """
    whole = str(text)
    shown = (_LINES if lines else _LINE).sub(_escape, whole if limit is None else whole[:limit])
    rest = 0 if limit is None else len(whole) - limit
    return f"{shown}... ({rest} more characters)" if rest > 0 else shown


def said(text: object, *, lines: bool = False, limit: int | None = LONGEST) -> str:
    """``printable``, and without secrets: for messages, logs and tables."""
    return printable(redact(str(text)), lines=lines, limit=limit)


def plain(text: object, *, lines: bool = False, limit: int | None = LONGEST, style: str = "") -> Text:
    """``said``, for Rich: no markup, no links, no emoji."""
    from rich.text import Text

    return Text(said(text, lines=lines, limit=limit), style=style)


def escaped_in_json(line: str) -> str:
    """The same JSON, with ``\\u`` for what a terminal would obey: reading it gives the same value."""
    return _LINES.sub(_json_escape, line)


class LogFormatter(logging.Formatter):
    """Each record is one line and what belongs to it, set in: no message can pass for a line of its own."""

    def formatMessage(self, record: logging.LogRecord) -> str:
        message, record.message = record.message, _set_in(record.message)
        try:
            return super().formatMessage(record)
        finally:
            record.message = message

    def formatException(self, ei: object) -> str:
        return "    " + _set_in(super().formatException(ei))  # pyright: ignore[reportArgumentType]

    def formatStack(self, stack_info: str) -> str:
        return "    " + _set_in(stack_info)


def _set_in(text: str) -> str:
    return said(text, lines=True).replace("\n", "\n    ")


def _escape(found: re.Match[str]) -> str:
    character = found[0]
    if character in _SHORT:
        return _SHORT[character]
    code = ord(character)
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def _json_escape(found: re.Match[str]) -> str:
    units = found[0].encode("utf-16-be", "surrogatepass").hex()
    return "".join(f"\\u{units[at : at + 4]}" for at in range(0, len(units), 4))
