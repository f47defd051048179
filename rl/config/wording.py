"""The words of a mistake in the settings: of a wrong value, and what OmegaConf says of a wrong type."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from rl.errors import ConfigError
from rl.registry import close_to

_KINDS = {
    "Float": "a number",
    "Integer": "a whole number",
    "Boolean": "true or false",
    "ListConfig": "list",
    "DictConfig": "mapping",
}
_MAPPING = "expected names with their values, e.g. {{name: 1.0}}, got a value of type {got}"
_WORDS = [
    (re.compile(r"^Value (?P<got>.*) of type '\w+' could not be converted to (?P<kind>\w+)"), "expected {kind}, got {got}"),
    (re.compile(r"^Value (?P<got>.*) is not a valid bool"), "expected true or false, got {got}"),
    (re.compile(r"^Cannot convert '?(?P<got>\w+)"), "expected one value, got a {got}"),
    (re.compile(r"^Cannot assign (?P<got>\w+) to Dict"), _MAPPING),
    (re.compile(r"\((?P<got>\w+)\) is incompatible with type hint 'typing.Dict"), _MAPPING),
    (re.compile(r"(?P<got>\w+) is not a subclass of \w+Config\b|(?P<other>\w+) is not a subclass of "),
     "expected settings, e.g. {{name: value}}, got one value"),
    (re.compile(r"is not Optional|^Incompatible value 'None'"), "null is not allowed"),
    (re.compile(r"^Key (?P<got>.*) \(\w+\) is incompatible with \(str\)"), "a name must be a text: write '{got}' in quotes"),
    (re.compile(r"is not a ListConfig"), "expected a list, e.g. [a, b]"),
]  # fmt: skip


def in_words(text: str) -> str:
    """Its first line as it is, where no pattern knows it."""
    for pattern, words in _WORDS:
        if found := pattern.search(text):
            return words.format(**{name: _KINDS.get(value, value) for name, value in found.groupdict().items()})
    return text


def require_choice(key: str, value: Any, allowed: Sequence[Any]) -> None:
    if value not in allowed:
        hint = close_to(str(value), [str(choice) for choice in allowed])
        raise ConfigError(f"{key}={value!r}: allowed: {', '.join(map(str, allowed))}{hint}")


def require(condition: bool, key: str, value: Any, allowed: str) -> None:
    if not condition:
        raise ConfigError(f"{key}={value}: must be {allowed}")
