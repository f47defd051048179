"""Runs a data set's test code against a program that lives in another process. A script of its own, inside the sandbox.

The request comes as JSON on the standard input: ``{"program", "names", "setup", "source", "cases", "examinee", "forms"}``.
``names`` of the program are known to the tests. Without ``cases``, each of pytest's tests in ``source`` is one. The verdict,
``{"passed", "total", "detail"}``, goes to descriptor 3, which the program's process does not have. It is written anew after
each case. The tests and what they expect are in this process alone. A value of the program's is compared here, as data of
Python's own classes, so that no class of the program's has a say in whether it is right.
"""

from __future__ import annotations

import ast
import builtins
import json
import os
import subprocess
import sys
import types
from collections.abc import Callable, Iterator
from decimal import Decimal
from fractions import Fraction
from typing import Any

VERDICT = 3
_CONTAINERS = {"list": list, "tuple": tuple, "set": set, "frozenset": frozenset}


class Lost(BaseException):
    """The program's process ended."""


class Program:
    """A program in a process of its own."""

    def __init__(self, request: dict[str, Any]) -> None:
        with open("examinee.py", "w", encoding="utf-8") as file:
            file.write(request["examinee"])
        command = [sys.executable, "-I", "-B", "examinee.py"]
        pipe: Any = subprocess.PIPE
        self.process = subprocess.Popen(command, stdin=pipe, stdout=pipe, encoding="utf-8")
        self.given: list[Any] = []  # functions of the tests'
        self.errors: dict[str, type[BaseException]] = {}
        self.send({"program": request["program"]})
        self.names = self.receive([])

    def ask(self, op: str, *arguments: Any, **more: Any) -> Any:
        self.send({"op": op, "args": [self.encoded(each) for each in arguments], **more})
        return self.receive(list(arguments))

    def send(self, message: dict[str, Any]) -> None:
        assert self.process.stdin is not None
        try:
            self.process.stdin.write(json.dumps(message) + "\n")
            self.process.stdin.flush()
        except OSError as error:
            raise Lost from error

    def receive(self, arguments: list[Any]) -> Any:
        assert self.process.stdout is not None
        while line := self.process.stdout.readline():
            reply = json.loads(line)
            if "call" in reply:
                self.call_back(reply)
                continue
            if "error" in reply:
                raise self.error_class(reply["error"])(reply["text"])
            for mine, theirs in zip(arguments, reply.get("args", []), strict=False):
                _update(mine, self.decoded(theirs))
            return self.decoded(reply["value"])
        raise Lost("its process ended")

    def call_back(self, reply: dict[str, Any]) -> None:
        try:
            value = self.given[reply["call"]](*[self.decoded(each) for each in reply["args"]])
            self.send({"returned": self.encoded(value)})
        except Exception as error:
            self.send({"raised": f"{type(error).__name__}: {error}"})

    def error_class(self, names: list[str]) -> type[BaseException]:
        """The class of this process that stands for one of the program's."""
        name = str(names[0])
        found = getattr(builtins, name, None)
        if isinstance(found, type) and issubclass(found, Exception):
            return found
        if name not in self.errors:
            known = (getattr(builtins, str(each), None) for each in names[1:])
            base = next((each for each in known if isinstance(each, type) and issubclass(each, Exception)), Exception)
            self.errors[name] = type(name, (base,), {})
        return self.errors[name]

    def encoded(self, value: Any) -> Any:
        if value is None or isinstance(value, bool | int | float | str):
            return value
        if isinstance(value, Remote):
            return ["kept", object.__getattribute__(value, "_number")]
        for tag, kind in _CONTAINERS.items():
            if isinstance(value, kind):
                return [tag, [self.encoded(each) for each in value]]
        if isinstance(value, dict):
            return ["dict", [[self.encoded(key), self.encoded(each)] for key, each in value.items()]]
        if isinstance(value, bytes | bytearray):
            return ["bytes", bytes(value).decode("latin-1")]
        if isinstance(value, complex):
            return ["complex", [value.real, value.imag]]
        if isinstance(value, Decimal | Fraction):
            return [type(value).__name__, str(value)]
        name = getattr(value, "__name__", None)
        if isinstance(name, str) and getattr(builtins, name, None) is value:
            return ["built-in", name]
        if callable(value):
            self.given.append(value)
            return ["call", len(self.given) - 1]
        return self.encoded(list(value))  # an iterator of the tests'

    def decoded(self, value: Any) -> Any:
        if not isinstance(value, list):
            return value
        tag, inner = value
        if tag == "kept":
            return self.error_class(inner[1]) if inner[1] else Remote(self, int(inner[0]))
        if tag == "dict":
            return {self.decoded(key): self.decoded(each) for key, each in inner}
        if tag in _CONTAINERS:
            return _CONTAINERS[tag](self.decoded(each) for each in inner)
        if tag == "bytes":
            return inner.encode("latin-1")
        return complex(*inner) if tag == "complex" else {"Decimal": Decimal, "Fraction": Fraction}[tag](inner)


class Remote:
    """A function, class or object of the program's. It has no arithmetic and no order: only data is computed with."""

    def __init__(self, program: Program, number: int) -> None:
        object.__setattr__(self, "_program", program)
        object.__setattr__(self, "_number", number)

    def __call__(self, *arguments: Any, **keywords: Any) -> Any:
        program = object.__getattribute__(self, "_program")
        told = {key: program.encoded(each) for key, each in keywords.items()}
        return program.ask("call", *arguments, keywords=told, target=object.__getattribute__(self, "_number"))

    def __getattr__(self, name: str) -> Any:
        return _ask(self, "getattr", name)

    def __setattr__(self, name: str, value: Any) -> None:
        _ask(self, "setattr", name, value)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Remote) and (self is other or _ask(self, "eq", other) is True)

    def __hash__(self) -> int:
        return object.__hash__(self)

    def __iter__(self) -> Iterator[Any]:
        return _items(_ask(self, "iter"))

    def __next__(self) -> Any:
        return _ask(self, "next")

    def __len__(self) -> int:
        return _ask(self, "len")

    def __bool__(self) -> bool:
        return _ask(self, "bool") is True

    def __contains__(self, item: Any) -> bool:
        return _ask(self, "contains", item) is True

    def __getitem__(self, key: Any) -> Any:
        return _ask(self, "getitem", key)

    def __setitem__(self, key: Any, value: Any) -> None:
        _ask(self, "setitem", key, value)

    def __delitem__(self, key: Any) -> None:
        _ask(self, "delitem", key)

    def __enter__(self) -> Any:
        return _ask(self, "enter")

    def __exit__(self, *error: object) -> None:
        _ask(self, "exit")

    def __str__(self) -> str:
        return _ask(self, "str")

    def __repr__(self) -> str:
        return _ask(self, "repr")


def _ask(remote: Remote, op: str, *arguments: Any) -> Any:
    return object.__getattribute__(remote, "_program").ask(op, remote, *arguments)


def _items(iterator: Remote) -> Iterator[Any]:
    while True:
        try:
            yield _ask(iterator, "next")
        except StopIteration:
            return


def _update(mine: Any, theirs: Any) -> None:
    """The program changed an argument in place."""
    if type(mine) is not type(theirs) or mine == theirs:
        return
    if isinstance(mine, list):
        mine[:] = theirs
    elif isinstance(mine, dict | set):
        mine.clear()
        mine.update(theirs)


def examine(request: dict[str, Any]) -> None:
    verdict: dict[str, Any] = {"passed": 0, "total": max(1, len(request["cases"])), "detail": ""}
    _write(verdict)
    try:
        program = Program(request)
        space: dict[str, Any] = {"__name__": "tests"}
        for name in request["names"]:
            if name in program.names:
                space[name] = program.ask("name", name=name)
        _install(program, request["forms"], _taken(request["setup"] + "\n" + request["source"]))
        for part in (request["setup"], request["source"]):
            exec(compile(part, "tests.py", "exec"), space)
        cases = _cases(request, space)
    except BaseException as error:
        _write({**verdict, "detail": _said(error)})
        return
    verdict["total"] = len(cases) or 1
    for name, case in cases:
        try:
            case()
            verdict["passed"] += 1
        except BaseException as error:
            verdict["detail"] = verdict["detail"] or f"{name}: {_said(error)}"
            if isinstance(error, Lost):
                break
        _write(verdict)
    _write(verdict if cases else {**verdict, "detail": "the row's test code has no test"})


def _cases(request: dict[str, Any], space: dict[str, Any]) -> list[tuple[str, Callable[[], Any]]]:
    if request["cases"]:
        codes = [compile(case, "tests.py", "exec") for case in request["cases"]]
        return [
            (case[:80], lambda code=code: exec(code, space)) for case, code in zip(request["cases"], codes, strict=True)
        ]
    return sys.modules["pytest"].tests(space)


def _taken(source: str) -> set[str]:
    """Names that the tests' own code means something by: Python's, and those that it imports or defines itself."""
    names = set(dir(builtins))
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import | ast.ImportFrom) and getattr(node, "module", "") != "solution":
            names |= {(each.asname or each.name).partition(".")[0] for each in node.names}
        elif isinstance(node, ast.FunctionDef | ast.ClassDef):
            names.add(node.name)
    return names


def _install(program: Program, forms: str, taken: set[str]) -> None:
    """Modules that test code imports: the program as ``solution``, and pytest's forms.

    taken: what ``from solution import *`` does not bring, or a program's ``abs`` would compare its own answers.
    """
    pytest = types.ModuleType("pytest")
    exec(compile(forms, "pytest.py", "exec"), pytest.__dict__)
    sys.modules["pytest"] = pytest
    solution = types.ModuleType("solution")
    solution.__dict__["__getattr__"] = lambda name: _named(program, name)
    solution.__dict__["__all__"] = [name for name in program.names if name not in taken]
    sys.modules["solution"] = solution


def _named(program: Program, name: str) -> Any:
    if name not in program.names:
        raise AttributeError(f"the program has no {name}")
    return program.ask("name", name=name)


def _said(error: BaseException) -> str:
    text = str(error).strip().splitlines()
    return f"{type(error).__name__}{': ' + text[0][:150] if text else ''}"


def _write(verdict: dict[str, Any]) -> None:
    data = json.dumps(verdict).encode()
    os.pwrite(VERDICT, data, 0)
    os.ftruncate(VERDICT, len(data))


def main() -> None:
    sys.set_int_max_str_digits(0)
    examine(json.loads(sys.stdin.read()))


if __name__ == "__main__":
    main()
