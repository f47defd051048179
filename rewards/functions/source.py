"""The text of a user's file, read as Python reads it: bytes, with its mark, its coding line and its line ends."""

from __future__ import annotations

import ast
import os
from collections.abc import Iterator, Sequence
from pathlib import Path

from rl.errors import RewardError, one_line
from rl.registry import close_to

_MOST = 12  # functions that a message names
_DYNAMIC = ("globals", "locals", "vars", "exec", "setattr")  # with these a file binds names that its text does not show


def parse(path: str) -> ast.Module:
    """Raises RewardError, in one line."""
    file = Path(path)
    if not os.path.isfile(file):  # False also for a name that is too long to ask about
        raise RewardError(f"no such file: {path}")
    try:
        return ast.parse(file.read_bytes(), filename=path)
    except (SyntaxError, ValueError, OSError, RecursionError, MemoryError) as error:
        line = getattr(error, "lineno", None)
        raise RewardError(f"{path}{f':{line}' if line else ''}: {one_line(error)}") from error


def check_function(path: str, name: str) -> None:
    """Whether the file parses and binds such a name, without running it. Raises RewardError."""
    tree = parse(path)
    names = {name for node in tree.body for name in _bound(node)} | _declared_global(tree)
    if name not in names and "*" not in names and not _is_dynamic(tree):
        raise RewardError(missing(path, name, functions(tree)))


def functions(tree: ast.Module) -> list[str]:
    """Names of the functions at the top level; those that begin with an underscore only where there are no others."""
    found = [name for node in tree.body for name in _function_names(node)]
    return [name for name in found if not name.startswith("_")] or found


def missing(path: str, name: str, found: Sequence[str]) -> str:
    """The line for a file without the function that was asked for."""
    if not found:
        return f"{path} has no function {name!r} and no other at its top level; add def {name}(completions, **columns)"
    close = close_to(name, found)
    shown = ", ".join(found[:_MOST]) + (", ..." if len(found) > _MOST else "")
    choice = found[0] if len(found) == 1 else "ONE_OF_THESE"
    it_has = f"{close} It has" if close else "; it has"
    return f"{path} has no function {name!r}{it_has} {shown}: set custom_reward_function.name={choice}"


def imports_relatively(tree: ast.Module) -> bool:
    return any(isinstance(node, ast.ImportFrom) and node.level > 0 for node in ast.walk(tree))


def _function_names(node: ast.stmt) -> list[str]:
    """``def f``, and ``f = lambda ...``."""
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
        return [node.name]
    if isinstance(node, ast.Assign) and isinstance(node.value, ast.Lambda):
        return [target.id for target in node.targets if isinstance(target, ast.Name)]
    return []


def _bound(node: ast.AST) -> Iterator[str]:
    """What a statement of a module binds; ``*`` where it imports everything from elsewhere."""
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
        yield node.name
        return
    if isinstance(node, ast.Lambda):
        return
    if isinstance(node, ast.Import | ast.ImportFrom):
        yield from (alias.asname or alias.name.split(".")[0] for alias in node.names)
    elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
        yield node.id
    elif isinstance(node, ast.MatchAs | ast.MatchStar | ast.ExceptHandler) and node.name:
        yield node.name
    for child in ast.iter_child_nodes(node):
        yield from _bound(child)


def _declared_global(tree: ast.Module) -> set[str]:
    return {name for node in ast.walk(tree) if isinstance(node, ast.Global) for name in node.names}


def _is_dynamic(tree: ast.Module) -> bool:
    for node in ast.walk(tree):
        if isinstance(node, ast.Name) and node.id in _DYNAMIC:
            return True
        if isinstance(node, ast.FunctionDef) and node.name == "__getattr__":
            return True
    return False
