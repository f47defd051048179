"""Secrets: a type that prints as stars, tokens that are checked when they are read, and text without either.

Standard library only: a submitted job imports this before it knows that anything else is installed.
"""

from __future__ import annotations

import base64
import html
import json
import os
import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote, quote_plus

HIDDEN = "***"
DEEPEST = 100  # levels of JSON that a server of ours or of others has use for
SHORTEST = 4  # a shorter value would be read off the words that it is cut out of
SHORTEST_UNNAMED = 8  # for a variable that nobody named as a secret
_SECRET_NAME = r"api[_-]?key|access[_-]?key|secret[_-]?key|private[_-]?key|passw(?:or)?d|passphrase|secret|credentials?"
_TOKEN_NAME = r"(?:access|auth|bearer|api|hf|refresh|id|session)[_-]?token"
# As a variable, which ends in what it is: MY_TOKEN and not MY_TOKEN_PATH.
_VARIABLE = re.compile(rf"(?:^|_)(?:{_SECRET_NAME}|token|key)$", re.IGNORECASE)
# As a setting: `token` alone may be a word of a vocabulary.
_SETTING = re.compile(rf"(?:^|[_.-])(?:{_SECRET_NAME}|{_TOKEN_NAME})$", re.IGNORECASE)
_LOGIN = re.compile(r"(?<=://)[^\s/?#@:]*:(?!\d+(?:[/?#'\"]|$))")


def _without_password(found: re.Match[str]) -> str:
    """A word up to its last @, without the login that it holds. One expression for both would look to the word's end from
    each :// in it, which a server may send a million of."""
    login = _LOGIN.search(found[0])
    return found[0] if login is None else f"{found[0][: login.start()]}{HIDDEN}@"


_PATTERNS = (
    # Bearer TOKEN, wherever it stands; any scheme behind the header's name
    (re.compile(r"(?i)\b(bearer(?:\s+|%20|\+))[^\s'\"<>\\]+"), rf"\1{HIDDEN}"),
    (re.compile(r"(?i)(authorization['\"]?\s*[:=]\s*b?['\"]?(?:basic|token|digest)\s+)[^\s'\"<>\\]+"), rf"\1{HIDDEN}"),
    # the login of a URL, also with a / in its password
    (re.compile(r"(?<=://)[^\s/?#]*@"), f"{HIDDEN}@"),
    (re.compile(r"(?<!\S)\S*@"), _without_password),
    # a value behind a name that says what it is
    (re.compile(rf"(?i)((?:{_SECRET_NAME}|{_TOKEN_NAME})=['\"]?)[^\s'\"&,;}}\])]+"), rf"\1{HIDDEN}"),
    (re.compile(rf"(?i)((?:{_SECRET_NAME}|{_TOKEN_NAME})['\"]\s*:\s*['\"])[^'\"]+"), rf"\1{HIDDEN}"),
    (re.compile(r"(?i)([?&](?:token|key|sig|signature)=)[^\s'\"&]+"), rf"\1{HIDDEN}"),
)

_known: dict[str, None] = {}  # in all their spellings


class Secret:
    """A value that prints as stars and pickles whole. Its process never shows it: see ``redact``.

    Example: ``f"{Secret('sk-1234')}"`` is ``***``; ``Secret('sk-1234').reveal()`` is the value.
    """

    __slots__ = ("_value",)

    def __init__(self, value: str) -> None:
        self._value = value
        know(value)

    def reveal(self) -> str:
        return self._value

    def __str__(self) -> str:
        return HIDDEN

    def __repr__(self) -> str:
        return f"Secret({HIDDEN})"

    def __format__(self, spec: str) -> str:
        return HIDDEN

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and other._value == self._value

    def __hash__(self) -> int:
        return hash(self._value)

    def __reduce__(self) -> tuple[type[Secret], tuple[str]]:
        return Secret, (self._value,)  # so that the process which gets it knows it too


class SecretError(ValueError):
    """A value that cannot be used as a secret. The text names its variable and never has the value."""


def know(value: str) -> None:
    """From now on, ``redact`` takes this value out of every text, in each spelling that libraries give it."""
    for line in {value, value.strip(), *value.split("\n")}:
        if len(line.strip()) >= SHORTEST:
            _known.update(dict.fromkeys(form for form in _spellings(line) if len(form) >= SHORTEST))


def know_environment() -> None:
    """The same for the variables whose names say that they hold a secret."""
    for name, value in os.environ.items():
        if _VARIABLE.search(name) and len(value) >= SHORTEST_UNNAMED:
            know(value)


def redact(text: str) -> str:
    """The text with stars for each known secret, bearer token, URL's login, and value behind a name such as password."""
    longest_first = sorted(_known, key=len, reverse=True)
    for value in longest_first:
        if value in text:
            text = text.replace(value, HIDDEN)
    for value in longest_first:  # only then: one spelling may begin as another does
        if len(value) >= 2 * SHORTEST_UNNAMED and value[: len(value) // 2] in text:
            text = _without_start(text, value)
    for pattern, stars in _PATTERNS:
        text = pattern.sub(stars, text)
    return text


def _without_start(text: str, value: str) -> str:
    """A message that was cut may hold the start of a value: half of it is enough to be taken out."""
    for length in range(len(value) - 1, len(value) // 2 - 1, -1):
        text = text.replace(value[:length], HIDDEN)
    return text


def scrubbed(value: Any, levels: int = DEEPEST) -> Any:
    """What JSON holds, with ``redact`` in each of its texts. What is nested deeper than ``levels`` is a text that says so."""
    if not levels and isinstance(value, Mapping | list):
        return "nested too deep"
    if isinstance(value, str):
        return redact(value)
    if isinstance(value, Mapping):
        return {redact(key) if isinstance(key, str) else key: scrubbed(each, levels - 1) for key, each in value.items()}
    return [scrubbed(each, levels - 1) for each in value] if isinstance(value, list) else value


def read_token(name: str, where: str = "token_env") -> Secret | None:
    """The token in the environment variable ``name``, without blanks around it; None where it is not set or empty.

    where: the setting that names it. Raises SecretError for what no HTTP header can carry.
    """
    raw = os.environ.get(name, "")
    value = raw.strip()
    if not value:
        return None
    know(raw)
    told = f"{where}={name}: the value of the environment variable {name}"
    if any(character in "\r\n" for character in value):
        raise SecretError(f"{told} has a line break inside; set it to the token alone, on one line")
    if any(not (" " <= character <= "~" or "\xa0" <= character <= "\xff") for character in value):
        raise SecretError(f"{told} has a character that no HTTP header can carry; allowed: printable Latin-1")
    return Secret(value)


def without_login(url: str) -> str:
    """An address without what stands before its last ``@``. Example: ``http://host:1`` of ``http://me:pass@host:1``."""
    start, mark, rest = url.partition("://")
    scheme = start + mark if mark else ""
    return scheme + (rest if mark else url).rpartition("@")[2]


def names_secret(setting: str) -> bool:
    """Whether a setting's name says that its value is a secret. Example: ``reward_kwargs.api_key``; not ``api_key_env``."""
    return _SETTING.search(setting) is not None


def variable_names_secret(name: str) -> bool:
    """The same of an environment variable. Example: ``HF_TOKEN``; not ``HF_TOKEN_PATH``."""
    return _VARIABLE.search(name) is not None


def _spellings(value: str) -> set[str]:
    raw = value.encode("utf-8", "surrogateescape")
    quoted = {
        quote(value, safe="", errors="replace"),
        quote(value, errors="replace"),
        quote_plus(value, errors="replace"),
    }
    return {
        value,
        *quoted,
        *(re.sub("%[0-9A-F]{2}", lambda found: found[0].lower(), each) for each in quoted),
        json.dumps(value)[1:-1],
        json.dumps(value)[1:-1].replace("/", "\\/"),
        json.dumps(value, ensure_ascii=False)[1:-1],
        repr(value)[1:-1],
        repr(raw)[2:-1],
        html.escape(value),
        base64.b64encode(raw).decode().rstrip("="),
    }
