"""Every setting is explained in its section's docstring, which is where ``unigrpo config`` reads it."""

from __future__ import annotations

import dataclasses

import pytest

from rl.config import Config, SourceConfig
from rl.config.load import free_mappings
from rl.config.meanings import _entries, meanings


def leaves(section: object, prefix: str = "") -> list[str]:
    found = []
    for field in dataclasses.fields(section):  # pyright: ignore[reportArgumentType]
        value, name = getattr(section, field.name), f"{prefix}{field.name}"
        found += leaves(value, f"{name}.") if dataclasses.is_dataclass(value) else [name]
    return found


def test_every_setting_has_a_meaning() -> None:
    told = meanings()
    settings = leaves(Config()) + [f"data.train[].{field.name}" for field in dataclasses.fields(SourceConfig)]
    assert len(settings) > 200
    assert not [name for name in settings if not told.get(name)]
    assert set(free_mappings()) <= set(told)


def test_no_meaning_is_of_a_setting_that_is_not_there() -> None:
    known = set(leaves(Config()))
    assert not {name for name in meanings() if "[]" not in name} - known


@dataclasses.dataclass
class Section:
    """Some settings. not_one  of them.

    first    what it means,
             on two lines with ``code``
    second, third  both
    other    is no setting
             and this goes nowhere
    fourth  last

    Free text.
    """

    first: int = 0
    second: int = 0
    third: int = 0
    fourth: int = 0


@pytest.mark.parametrize(
    ("name", "meaning"),
    [("first", "what it means, on two lines with code"), ("second", "both"), ("third", "both"), ("fourth", "last")],
)
def test_how_a_docstring_is_read(name: str, meaning: str) -> None:
    assert _entries(Section)[name] == meaning
    assert set(_entries(Section)) == {"first", "second", "third", "fourth"}
