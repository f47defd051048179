"""Holds a model's program, and answers calls of it. A script of its own: the examiner starts it by path, with ``-I``.

Requests and replies are JSON, one a line, on the descriptors that were 0 and 1. It never sees a test: only the arguments of
calls come here, and only values go back. What has no form as data stays here, and is named by a number.
"""

from __future__ import annotations

import builtins
import json
import operator
import os
import sys
from decimal import Decimal
from fractions import Fraction
from typing import Any

SPECIAL = {
    "len": len,
    "iter": iter,
    "next": next,
    "str": str,
    "repr": repr,
    "bool": bool,
    "eq": operator.eq,
    "contains": operator.contains,
    "getitem": operator.getitem,
    "setitem": operator.setitem,
    "delitem": operator.delitem,
    "getattr": getattr,
    "setattr": setattr,
    "enter": lambda value: value.__enter__(),
    "exit": lambda value: value.__exit__(None, None, None),
}
CONTAINERS: Any = (list, tuple, set, frozenset)


class Quiet:
    """In the place of the standard output: what a program prints is of no use here."""

    def write(self, text: str) -> int:
        return len(text)

    def flush(self) -> None:
        pass


class Examinee:
    def __init__(self, requests: Any, replies: Any) -> None:
        self.requests, self.replies = requests, replies
        self.kept: list[Any] = []
        self.names: dict[str, Any] = {"__name__": "solution", "__builtins__": builtins}

    def serve(self) -> None:
        program = json.loads(self.requests.readline())["program"]
        self.answer(lambda: self.run(program))
        while line := self.requests.readline():
            self.handle(json.loads(line))

    def run(self, program: str) -> list[str]:
        exec(compile(program, "solution.py", "exec"), self.names)
        return [name for name in self.names if not name.startswith("__")]

    def handle(self, request: dict[str, Any]) -> None:
        arguments = request.get("args", [])
        if request["op"] == "name":
            self.answer(lambda: self.names[request["name"]])
        elif request["op"] == "call":
            self.call(request)
        else:
            self.answer(lambda: SPECIAL[request["op"]](*[self.decoded(each) for each in arguments]))

    def call(self, request: dict[str, Any]) -> None:
        """With the arguments as they are afterwards: a function may change the lists that it is given."""
        arguments = [self.decoded(each) for each in request["args"]]
        keywords = {key: self.decoded(each) for key, each in request["keywords"].items()}
        self.answer(lambda: self.kept[request["target"]](*arguments, **keywords), arguments)

    def answer(self, work: Any, arguments: list[Any] | None = None) -> None:
        try:
            reply = {"value": self.encoded(work())}
            if arguments is not None and any(isinstance(each, list | dict | set) for each in arguments):
                reply["args"] = [self.encoded(each) for each in arguments]
        except BaseException as error:
            names = [kind.__name__ for kind in type(error).__mro__]
            reply = {"error": names, "text": str(error)[:500]}
        self.send(reply)

    def send(self, message: dict[str, Any]) -> None:
        self.replies.write(json.dumps(message) + "\n")
        self.replies.flush()

    def encoded(self, value: Any) -> Any:
        """Data as tagged JSON, in its own classes: what a class of the program's says of equality counts nowhere."""
        if value is None or isinstance(value, int | float | str):
            return value  # JSON writes a class derived from these as the plain value
        for kind in CONTAINERS:
            if isinstance(value, kind):
                return [kind.__name__, [self.encoded(each) for each in kind.__iter__(value)]]
        if isinstance(value, dict):
            return ["dict", [[self.encoded(key), self.encoded(each)] for key, each in dict.items(value)]]
        if isinstance(value, bytes | bytearray):
            return ["bytes", bytes(value).decode("latin-1")]
        if isinstance(value, complex):
            return ["complex", [value.real, value.imag]]
        if isinstance(value, Decimal | Fraction):
            return [type(value).__name__, str(value)]
        if type(value).__module__ == "numpy" and hasattr(value, "tolist"):
            return self.encoded(value.tolist())
        self.kept.append(value)
        names = [kind.__name__ for kind in value.__mro__] if _is_error(value) else []
        return ["kept", [len(self.kept) - 1, names]]

    def decoded(self, value: Any) -> Any:
        if not isinstance(value, list):
            return value
        tag, inner = value
        if tag == "kept":
            return self.kept[inner]
        if tag == "built-in":
            return getattr(builtins, inner)
        if tag == "call":
            return self.back(inner)
        if tag == "dict":
            return {self.decoded(key): self.decoded(each) for key, each in inner}
        if tag in ("list", "tuple", "set", "frozenset"):
            return getattr(builtins, tag)(self.decoded(each) for each in inner)
        if tag == "bytes":
            return inner.encode("latin-1")
        return complex(*inner) if tag == "complex" else {"Decimal": Decimal, "Fraction": Fraction}[tag](inner)

    def back(self, number: int) -> Any:
        """A function of the tests', called from the program."""

        def call(*arguments: Any) -> Any:
            self.send({"call": number, "args": [self.encoded(each) for each in arguments]})
            while line := self.requests.readline():
                request = json.loads(line)
                if "returned" in request:
                    return self.decoded(request["returned"])
                if "raised" in request:
                    raise RuntimeError(request["raised"])
                self.handle(request)
            raise SystemExit

        return call


def _is_error(value: Any) -> bool:
    return isinstance(value, type) and issubclass(value, BaseException)


def main() -> None:
    requests, replies = os.fdopen(os.dup(0), encoding="utf-8"), os.fdopen(os.dup(1), "w", encoding="utf-8")
    empty, end = os.pipe()
    os.close(end)
    os.dup2(empty, 0)
    os.dup2(2, 1)
    sys.stdout, sys.stdin = Quiet(), os.fdopen(0, closefd=False)  # pyright: ignore[reportAttributeAccessIssue]
    sys.set_int_max_str_digits(0)
    Examinee(requests, replies).serve()


if __name__ == "__main__":
    main()
