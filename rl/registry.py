"""Choices by name: estimators, objectives, schedules, rewards, families, wires and so on.

Each kind has one ``Registry``. The config's checks and their messages read it, so that a choice is one file and one line.
"""

from __future__ import annotations

import dataclasses
import difflib
import inspect
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from importlib import import_module
from importlib.metadata import EntryPoint, entry_points
from typing import Any, Generic, Protocol, TypeVar

from rl.errors import ConfigError, UniGRPOError, first_line, one_line

T = TypeVar("T")
_PART = "part"  # in a field's metadata: the kind of what it holds
_SHOWN = 120  # characters of an unknown name that a message quotes
_ALL: list[Registry[Any]] = []  # of this process, in the order in which they were made


class Kind(Protocol):
    """What members are, where no class says it."""

    def problem(self, found: object) -> str:
        """Why ``found`` is none, to stand behind its name; empty where it is one."""
        ...


@dataclass(frozen=True, slots=True)
class Takes:
    """Something to call with so many arguments by place. None: with any. Example: ``Takes(1).problem(math.floor)`` is ``""``.

    gives  ``module:class`` that has the methods of what it returns. A class is looked at: it must have them. A function
           returns whatever it returns
    """

    arguments: int | None = None
    gives: str = ""

    def problem(self, found: object) -> str:
        if not callable(found):
            return "cannot be called"
        problem = "" if self.arguments is None else _refuses(found, self.arguments)
        if not problem and self.gives and inspect.isclass(found):
            problem = _lacks(found, resolve(self.gives))
        return problem


@dataclass(frozen=True, slots=True)
class Extends:
    """A subclass of ``module:class`` that is whole, and is made without arguments."""

    base: str

    def problem(self, found: object) -> str:
        base = resolve(self.base)
        if not (inspect.isclass(found) and issubclass(found, base)):
            return f"is not a subclass of {base.__module__}.{base.__name__}"
        return _lacks(found, base) or _refuses(found, 0)


def part(kind: Kind) -> dict[str, Kind]:
    """``dataclasses.field(metadata=part(KIND))``: a field of a member is of a kind itself, or ``module:attribute`` of one.
    A default of None: there may be none."""
    return {_PART: kind}


def _refuses(found: Any, arguments: int) -> str:
    try:
        inspect.signature(found).bind(*[None] * arguments)
    except ValueError:  # some of C's functions do not say what they take
        return ""
    except TypeError:
        noun = "argument" if arguments == 1 else "arguments"
        return f"must take {arguments} {noun} by place; it takes {inspect.signature(found)}"
    return ""


def _lacks(found: type, base: type) -> str:
    """Which method of ``base`` a class lacks, or has with other arguments."""
    if hasattr(found, "__getattr__"):  # its methods are another's
        return ""
    for name, method in inspect.getmembers(base, inspect.isfunction):
        own = inspect.getattr_static(found, name, None)
        if name.startswith("_"):
            continue
        if own is None or getattr(own, "__isabstractmethod__", False):
            return f"has no method {name}({', '.join(inspect.signature(method).parameters)})"
        if inspect.isfunction(own):
            takes = inspect.signature(method).parameters.values()
            by_place = [
                each for each in takes if each.kind <= each.POSITIONAL_OR_KEYWORD and each.default is each.empty
            ]
            problem = _refuses(own, len(by_place))
            if problem:
                return f"has a method {name} that {problem}, with self"
    return ""


class Registry(Generic[T], Mapping[str, T]):
    """Members of one kind by name. A mapping: a member is imported when it is first asked for.

    kind      what a member is, as messages call it, e.g. ``estimator``
    built_in  name -> ``module:attribute``, or the member itself
    group     entry-point group under which an installed package brings its own, e.g. ``unigrpo.estimators``
    error     what an unknown name raises, a ``UniGRPOError``
    member    what every member is: an instance of a class, or of ``module:attribute`` where that is heavy to import; or
              of a ``Kind``; None: anything. Fields of a class that are made by ``part`` are looked at as well

    Example: ``Registry("rounding", {"floor": "math:floor"}, group="unigrpo.roundings")["floor"](2.5)``.
    """

    def __init__(
        self,
        kind: str,
        built_in: Mapping[str, str | T],
        *,
        group: str,
        error: type[UniGRPOError] = ConfigError,
        member: type | str | Kind | None = None,
    ) -> None:
        self.kind, self.group, self._error, self._member = kind, group, error, member
        self._targets: dict[str, str | T] = dict(built_in)
        self._found: dict[str, T] = {}
        self._points: dict[str, EntryPoint] | None = None
        _ALL.append(self)

    def register(self, name: str, member: str | T) -> None:
        """Add a member, or ``module:attribute`` of it, to this process. Raises the registry's error for a name that is taken,
        and for a member of another kind; what a text names is looked at when it is asked for.

        Ray's actors are other processes: what they need comes by an entry point.
        """
        if name in self and self._targets.get(name) != member:
            raise self._error(f"{self.kind} {name!r}: already registered; choose another name")
        if not isinstance(member, str):
            self._check(name, member, _shown(member))
        self._targets[name] = member

    def require(self, where: str, name: object, *also: str) -> None:
        """Raises the registry's error where no member has this name. where: the setting, e.g. ``learner.engine``. also: names
        that the setting takes beside the members'."""
        if name not in also and name not in self:  # a member may need every package's entry points
            allowed = [*also, *self]
            text = repr(name) if len(repr(name)) <= _SHOWN else repr(name)[:_SHOWN] + "..."  # it may be a stranger's
            raise self._error(f"{where}={text}: allowed: {', '.join(allowed)}{close_to(str(name)[:_SHOWN], allowed)}")

    def __getitem__(self, name: str) -> T:
        if name not in self._found:
            self.require(self.kind, name)
            self._found[name] = self._load(name)
        return self._found[name]

    def __iter__(self) -> Iterator[str]:
        """Built-in names in their order, then those of installed packages."""
        yield from self._targets
        yield from (name for name in self._entry_points() if name not in self._targets)

    def __len__(self) -> int:
        return len(list(iter(self)))

    def __contains__(self, name: object) -> bool:  # Mapping's own would import the member
        return isinstance(name, str) and (name in self._targets or name in self._entry_points())

    def _load(self, name: str) -> T:
        # no isinstance(..., EntryPoint): once the backport importlib_metadata is imported, the points are of its class
        point = self._point(name)
        target: Any = self._targets.get(name)
        text = target if point is None else point.value
        try:
            found: T = point.load() if point is not None else resolve(target)
        except UniGRPOError as error:
            if point is None:
                raise
            raise self._unimported(name, text, first_line(error), point) from error
        except (Exception, SystemExit) as error:  # a package's own code runs here
            raise self._unimported(name, text, one_line(error), point) from error
        self._check(name, found, text if isinstance(text, str) else _shown(text))
        return found

    def _unimported(self, name: str, text: object, reason: str, point: EntryPoint | None) -> UniGRPOError:
        way_out = (
            "" if point is None else f"; it is of the package {_owner(point)}: install that again, or uninstall it"
        )
        return self._error(f"{self.kind} {name!r}: {text} cannot be imported: {reason}{way_out}")

    def taken(self, points: Iterable[EntryPoint]) -> Iterator[str]:
        """A line for each entry point of this group that is not used, since its name stands for another member."""
        of = {name: ("unigrpo itself", target) for name, target in self._targets.items()}
        for point in points:
            first, target = of.setdefault(point.name, (_owner(point), point.value))
            if target != point.value:
                yield (
                    f"{self.kind} {point.name!r} of the package {_owner(point)} ({point.value}) is not used: {first} has one of "
                    "that name; give its entry point another name"
                )

    def whole(self, name: str) -> T:
        """The member, once what its parts name by ``module:attribute`` is imported and looked at as well: all that can be
        wrong with it before it is used. Raises the registry's error."""
        found = self[name]
        for field, kind, value in _parts(found):
            if isinstance(value, str):
                try:
                    target = resolve(value)
                except (Exception, SystemExit) as error:
                    raise self._unimported(name, f"{field}={value}", one_line(error), self._point(name)) from error
                self._refuse(name, f"{field}={value}", kind.problem(target))
        return found

    def _check(self, name: str, found: object, shown: str) -> None:
        """Raises the registry's error where a member, or a part of it that is no text, is of another kind."""
        wanted = resolve(self._member)
        if inspect.isclass(wanted):
            instance = isinstance(found, wanted)
            self._refuse(
                name, shown, "" if instance else f"is not an instance of {wanted.__module__}.{wanted.__name__}"
            )
        elif wanted is not None:
            self._refuse(name, shown, wanted.problem(found))
        for field, kind, value in _parts(found):
            if not isinstance(value, str):
                self._refuse(
                    name, f"{shown}: {field}={getattr(value, '__qualname__', _shown(value))}", kind.problem(value)
                )

    def _refuse(self, name: str, shown: str, problem: str) -> None:
        if problem:
            raise self._error(f"{self.kind} {name!r}: {shown} {problem}; docs/extending.md shows one")

    def _point(self, name: str) -> EntryPoint | None:
        return None if name in self._targets else self._entry_points()[name]

    def _entry_points(self) -> Mapping[str, EntryPoint]:
        if self._points is None:
            self._points = {}
            for point in entry_points(group=self.group):
                self._points.setdefault(point.name, point)
        return self._points


def taken_names() -> list[str]:
    """A line for each entry point of an installed package that is not used, since its name is taken. Reads all packages'."""
    points = entry_points()
    return [line for registry in _ALL for line in registry.taken(points.select(group=registry.group))]


def _parts(member: object) -> Iterator[tuple[str, Kind, Any]]:
    """Name, kind and value of each field that ``part`` made and that is given."""
    if dataclasses.is_dataclass(member) and not inspect.isclass(member):
        for field in dataclasses.fields(member):
            kind, value = field.metadata.get(_PART), getattr(member, field.name)
            if kind is not None and not (value is None and field.default is None):
                yield field.name, kind, value


def _owner(point: EntryPoint) -> str:
    return str(point.dist.name) if point.dist is not None else point.value.partition(":")[0]


def resolve(target: Any) -> Any:
    """What ``module:attribute`` names; anything but a text is returned as it is."""
    if not isinstance(target, str):
        return target
    module, _, attribute = target.partition(":")
    return getattr(import_module(module), attribute)


def _shown(member: object) -> str:
    return " ".join(repr(member).split())[:100]


def close_to(name: str, known: Iterable[str]) -> str:
    """``; did you mean 'NAME'?`` for a likely slip of the keyboard, else nothing."""
    close = difflib.get_close_matches(name, list(known), n=1, cutoff=0.5)
    return f"; did you mean {close[0]!r}?" if close else ""
