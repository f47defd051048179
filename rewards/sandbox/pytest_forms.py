"""What data sets' tests use of pytest, for a sandbox without it: raises, approx, fixtures, parametrize; and a module's tests.

The examiner runs this text as the module ``pytest``. Standard library alone.
"""

from __future__ import annotations

import contextlib
import inspect
import itertools
import math
import re
import types
import unittest
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any


class Skipped(Exception):
    pass


class raises:  # noqa: N801  (pytest's name)
    """``with pytest.raises(ValueError, match="negative") as info``; also ``pytest.raises(ValueError, function, ...)``."""

    expected: Any
    match: str | None
    value: Any
    type: Any

    def __new__(cls, expected: Any, *called: Any, match: str | None = None, **keywords: Any) -> Any:
        self = object.__new__(cls)
        self.expected, self.match, self.value, self.type = expected, match, None, None
        if not called:
            return self
        with self:
            called[0](*called[1:], **keywords)
        return self

    def __enter__(self) -> raises:
        return self

    def __exit__(self, kind: Any, error: Any, trace: object) -> bool:
        if kind is None:
            raise AssertionError(f"did not raise {self.expected}")
        if not issubclass(kind, self.expected):
            return False
        self.type, self.value = kind, error
        if self.match is not None and not re.search(self.match, str(error)):
            raise AssertionError(f"{error} does not match {self.match!r}")
        return True


class approx:  # noqa: N801  (pytest's name)
    """A number, or numbers in a list, tuple or dict, that others are equal to within a tolerance."""

    def __init__(self, expected: Any, rel: float | None = None, abs: float | None = None) -> None:
        self.expected, self.rel, self.abs = expected, rel, abs

    def __eq__(self, other: object) -> bool:
        return self._same(self.expected, other)

    def __hash__(self) -> int:
        return 0

    def _same(self, mine: Any, theirs: Any) -> bool:
        if isinstance(mine, Mapping) and isinstance(theirs, Mapping):
            return mine.keys() == theirs.keys() and all(self._same(mine[key], theirs[key]) for key in mine)
        if isinstance(mine, list | tuple) and isinstance(theirs, list | tuple):
            return len(mine) == len(theirs) and all(map(self._same, mine, theirs))
        if isinstance(mine, int | float) and isinstance(theirs, int | float):
            least = 1e-12 if self.abs is None else self.abs
            share = 0.0 if self.rel is None and self.abs is not None else 1e-6 if self.rel is None else self.rel
            return mine == theirs or math.isclose(mine, theirs, rel_tol=0, abs_tol=max(least, share * math.fabs(mine)))
        return mine == theirs


def param(*values: Any, **_: Any) -> tuple[Any, ...]:
    return values


def fixture(function: Any = None, **_: Any) -> Any:
    if function is None:
        return fixture
    function.is_fixture = True
    return function


def skip(reason: str = "", **_: Any) -> None:
    raise Skipped(reason)


def fail(reason: str = "", **_: Any) -> None:
    raise AssertionError(reason)


class _Mark:
    def __getattr__(self, name: str) -> Any:
        def mark(*given: Any, **_: Any) -> Any:
            return (
                given[0] if given and callable(given[0]) and not isinstance(given[0], approx) else lambda found: found
            )

        return mark

    def parametrize(self, names: Any, values: Iterable[Any], **_: Any) -> Any:
        known = [name.strip() for name in names.split(",")] if isinstance(names, str) else list(names)
        rows = [dict(zip(known, value if len(known) > 1 else _alone(value), strict=True)) for value in values]

        def mark(function: Any) -> Any:
            function.rows = [{**one, **two} for one, two in itertools.product(rows, getattr(function, "rows", [{}]))]
            return function

        return mark


mark = _Mark()


def _alone(value: Any) -> tuple[Any, ...]:
    return value if isinstance(value, tuple) and len(value) == 1 else (value,)


def tests(space: Mapping[str, Any]) -> list[tuple[str, Callable[[], Any]]]:
    """The tests of a module: functions ``test*``, and those of classes ``Test*`` and of unittest's."""
    found: list[tuple[str, Callable[[], Any]]] = []
    for name, value in list(space.items()):
        if isinstance(value, types.FunctionType) and name.startswith("test") and not hasattr(value, "is_fixture"):
            found += _rows_of(name, value, space, value)
        elif isinstance(value, type) and issubclass(value, unittest.TestCase) and value is not unittest.TestCase:
            names = unittest.TestLoader().getTestCaseNames(value)
            found += [(f"{name}.{each}", lambda kind=value, each=each: _unit(kind(each), each)) for each in names]
        elif isinstance(value, type) and name.startswith("Test") and value.__module__ == space["__name__"]:
            for each, function in list(vars(value).items()):
                if isinstance(function, types.FunctionType) and each.startswith("test"):
                    found += _rows_of(f"{name}.{each}", function, space, _Method(value, each))
    return found


class _Method:
    """A test of a class, on an object of its own."""

    def __init__(self, kind: type, name: str) -> None:
        self.kind, self.name = kind, name

    def __call__(self, **given: Any) -> Any:
        made = self.kind()
        for setup in ("setup_method", "setUp"):
            if hasattr(made, setup):
                method = getattr(made, setup)
                method(*[None] * len(inspect.signature(method).parameters))
        return getattr(made, self.name)(**given)


def _unit(case: unittest.TestCase, name: str) -> None:
    case.setUp()
    try:
        getattr(case, name)()
    finally:
        case.tearDown()


def _rows_of(name: str, function: Any, space: Mapping[str, Any], called: Any) -> list[tuple[str, Callable[[], Any]]]:
    return [(name, lambda row=row: _run(function, called, row, space)) for row in getattr(function, "rows", [{}])]


def _run(function: Any, called: Any, row: Mapping[str, Any], space: Mapping[str, Any]) -> None:
    with contextlib.ExitStack() as after:
        given = {**row}
        for name in inspect.signature(function).parameters:
            if name not in given and name != "self":
                given[name] = _fixture_value(name, space, after)
        with contextlib.suppress(Skipped):
            called(**given)


def _fixture_value(name: str, space: Mapping[str, Any], after: contextlib.ExitStack) -> Any:
    function = space.get(name)
    if not hasattr(function, "is_fixture"):
        raise NameError(f"no fixture {name}")
    assert callable(function)
    given = {each: _fixture_value(each, space, after) for each in inspect.signature(function).parameters}
    value = function(**given)
    if not isinstance(value, Iterator) or not inspect.isgeneratorfunction(function):
        return value
    after.callback(lambda: next(value, None))
    return next(value)
