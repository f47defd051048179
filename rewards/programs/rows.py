"""The tests of a row, as published data sets have them: MBPP's, HumanEval's, KodCode's, and our own.

| columns | whose | a test is |
|---|---|---|
| ``tests`` | ours | an input with its output, or a call with its value |
| ``test_list``; ``test_setup_code`` or ``test_imports``; ``code`` | MBPP (arXiv 2108.07732) | each assertion |
| ``entry_point``, ``test``, ``starter`` (its ``prompt``) | HumanEval (arXiv 2107.03374) | ``check(candidate)``, as a whole |
| ``test`` | KodCode (arXiv 2503.02951) | each of pytest's tests |
"""

from __future__ import annotations

import ast
import builtins
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Any

from rewards.sandbox.values import contains_nan
from rl.types import Prompt, RewardItem

MAX_TESTS = 64
_LONGEST = 200_000  # characters of test code


@dataclass(frozen=True, slots=True)
class Suite:
    """Test code that runs beside a program (``rewards.sandbox.examiner``).

    names   of the program that the tests know by themselves
    setup   code before the tests; source: of the tests; cases: statements, each a test; none: pytest's tests in ``source``
    before  code that goes before the program, and ``starter`` where the program only goes on from there
    entry   the function that the program must define; empty: any
    """

    names: tuple[str, ...] = ()
    setup: str = ""
    source: str = ""
    cases: tuple[str, ...] = ()
    before: str = ""
    starter: str = ""
    entry: str = ""

    def request(self, program: str) -> dict[str, str]:
        """What the sandbox runs for a program."""
        told = {"names": self.names, "setup": self.setup, "source": self.source, "cases": self.cases}
        return {
            "program": _script("examiner"),
            "input": json.dumps(
                {
                    **told,
                    "program": self.whole(program),
                    "examinee": _script("examinee"),
                    "forms": _script("pytest_forms"),
                }
            ),
        }

    def whole(self, program: str) -> str:
        """The program with what the row gives it: HumanEval's imports and helpers, or all of the prompt that it goes on from."""
        if not self.entry or re.search(rf"^\s*(?:async\s+)?def\s+{re.escape(self.entry)}\b", program, re.MULTILINE):
            return f"{self.before}\n{program}" if self.before else program
        return f"{self.starter}\n{program}"


Tests = list[Mapping[str, Any]] | Suite


def row_tests(item: RewardItem) -> Tests | str | None:
    """The row's tests, None where it has none, or what is wrong with them."""
    prompt, row = item.prompt, item.prompt.metadata
    extra = row.get("extra_info")
    tests = row.get("tests") or (extra.get("tests") if isinstance(extra, Mapping) else None)
    if tests is not None:
        return _own(tests)
    if row.get("test_list"):
        return _mbpp(row)
    if isinstance(row.get("test"), str) and row["test"].strip():
        if len(row["test"]) > _LONGEST:
            return f"test: {len(row['test']):,} characters; allowed: {_LONGEST:,}"
        return _human_eval(prompt, row) if row.get("entry_point") else Suite(source=row["test"])
    return None


def _own(tests: Any) -> list[Mapping[str, Any]] | str:
    if not isinstance(tests, Sequence) or isinstance(tests, str) or not 0 < len(tests) <= MAX_TESTS:
        return f"tests: expected a list of 1 to {MAX_TESTS}"
    for test in tests:
        of_stdout = isinstance(test, Mapping) and "output" in test
        of_function = isinstance(test, Mapping) and "expected" in test and str(test.get("function", "")).isidentifier()
        if not (of_stdout or of_function):
            return f"tests: {str(test)[:80]!r}; allowed: {{input, output}} or {{function, args, expected}}"
        if contains_nan(test.get("expected")):
            return f"tests: {str(test)[:80]!r} expects NaN, which equals nothing; write a function that says whether it is NaN"
    return list(tests)


def _mbpp(row: Mapping[str, Any]) -> Suite | str:
    cases = row["test_list"]
    if (
        not isinstance(cases, list)
        or not 0 < len(cases) <= MAX_TESTS
        or not all(isinstance(each, str) for each in cases)
    ):
        return f"test_list: expected a list of 1 to {MAX_TESTS} assertions"
    imports = row.get("test_imports") or []
    code = row.get("code") or ""
    setup = "\n".join(
        [*_imported(code), *(imports if isinstance(imports, list) else [imports]), row.get("test_setup_code") or ""]
    )
    names = _defined(code) or _called([setup, *cases])
    return Suite(names=names, setup=setup, cases=tuple(cases))


def _human_eval(prompt: Prompt, row: Mapping[str, Any]) -> Suite | str:
    entry = str(row["entry_point"])
    if not entry.isidentifier():
        return f"entry_point: {entry[:40]!r} is no name of a function"
    starter = row.get("starter") or (prompt.messages[-1].content if prompt.messages else "")
    found = re.search(rf"^(?:async\s+)?def\s+{re.escape(entry)}\b", starter, re.MULTILINE)
    before = starter[: found.start()] if found else ""
    return Suite(
        names=(entry, *_defined(before)),
        setup=f"candidate = {entry}",
        source=row["test"],
        cases=("check(candidate)",),
        before=before,
        starter=starter if found else "",
        entry=entry,
    )


def _defined(code: str) -> tuple[str, ...]:
    """Functions and classes at the top level of some code."""
    kinds = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
    return tuple(dict.fromkeys(node.name for node in _statements(code) if isinstance(node, kinds)))


def _imported(code: str) -> list[str]:
    """Import statements at the top level of the reference's code: some tests use its modules."""
    return [ast.unparse(node) for node in _statements(code) if isinstance(node, ast.Import | ast.ImportFrom)]


def _statements(code: str) -> list[ast.stmt]:
    """None where it is no Python."""
    try:
        return ast.parse(code).body
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return []


def _called(codes: Iterable[str]) -> tuple[str, ...]:
    """Names that some code reads and Python does not have."""
    nodes = (node for code in codes for statement in _statements(code) for node in ast.walk(statement))
    return tuple({node.id: None for node in nodes if isinstance(node, ast.Name) and not hasattr(builtins, node.id)})


@cache
def _script(name: str) -> str:
    return (resources.files("rewards.sandbox") / f"{name}.py").read_text(encoding="utf-8")
