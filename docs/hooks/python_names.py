"""The page of public Python names: signatures and first docstring lines, read from the source. Nothing is imported."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
# What a user imports; the second half is what somebody imports who adds a choice (docs/extending.md).
USE = (
    "policies",
    "rewards",
    "rl.config",
    "rl.data.hub",
    "rl.statistics",
    "rl.types",
    "rl.errors",
    "rl.protocols",
    "rl.losses",
)
EXTEND = (
    "rewards.base", "rewards.settings", "rl.registry", "rl.estimators.base", "rl.objectives.objective",
    "rl.objectives.normalizers", "rl.masking", "rl.layouts.base", "rl.health.rule", "policies.families.registry",
    "policies.samplers.remasking", "policies.samplers.schedules", "policies.samplers.states.base", "cluster.weights.base",
)  # fmt: skip


def python_page() -> str:
    lines = [
        "# Python", "",
        "Which names may I import, and what do they do? Names that are not here may change in any version. Shapes, units and "
        "errors are in the docstrings: `help(NAME)`.", "",
        "## To use", "",
    ]  # fmt: skip
    for module in USE:
        lines += _module(module)
    lines += ["## To extend", "", "[Add something](../extending.md) shows these in use.", ""]
    for module in EXTEND:
        lines += _module(module)
    return "\n".join(lines) + "\n"


def _module(module: str) -> Iterator[str]:
    yield from (f"### {module}", "", "| name | what it is |", "|---|---|")
    for name, signature, text in public_names(module):
        shown = f"{name}{signature}".replace("|", "\\|")
        yield f"| `{shown}` | {_plain(text)} |"
    yield ""


def _plain(text: str) -> str:
    return text.replace("``", "`").replace("|", "\\|").replace("<", "&lt;")


def public_names(module: str) -> list[tuple[str, str, str]]:
    """(name, signature, first sentence of its docstring or ""), in the module's order."""
    tree = _tree(module)
    wanted = _listed(tree)
    if wanted is None:
        found = [node for node in tree.body if isinstance(node, _DEFINITIONS) and not node.name.startswith("_")]
        return [(node.name, _signature(node), _first(node)) for node in found]
    rows = []
    for name in wanted:
        node = _definition(module, name)
        rows.append((name, _signature(node), _first(node)) if node is not None else (name, "", _comment(module, name)))
    return rows


_DEFINITIONS = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)


@cache
def _tree(module: str) -> ast.Module:
    return ast.parse(_file(module).read_text("utf-8"))


def _file(module: str) -> Path:
    path = ROOT / module.replace(".", "/")
    return path / "__init__.py" if path.is_dir() else path.with_suffix(".py")


def _listed(tree: ast.Module) -> list[str] | None:
    """``__all__``"""
    for node in tree.body:
        if isinstance(node, ast.Assign) and any(isinstance(t, ast.Name) and t.id == "__all__" for t in node.targets):
            return list(ast.literal_eval(node.value))
    return None


def _definition(module: str, name: str) -> ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef | None:
    """Where a name is made, through any number of ``from ... import``, also those for type checkers and inside functions."""
    tree = _tree(module)
    for node in tree.body:
        if isinstance(node, _DEFINITIONS) and node.name == name:
            return node
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module and not node.level:
            for alias in node.names:
                if (alias.asname or alias.name) == name and _file(node.module).is_file():
                    return _definition(node.module, alias.name)
    return None


def _comment(module: str, name: str) -> str:
    """Of a constant: the string literal or the comment that stands behind it. Constants have no docstring."""
    for node in _tree(module).body:
        if isinstance(node, ast.Assign | ast.AnnAssign) and name in ast.unparse(node).split("=")[0]:
            line = _file(module).read_text("utf-8").splitlines()[node.lineno - 1]
            return line.partition("# ")[2]
    return ""


def _signature(node: ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef) -> str:
    """``(a, b, *, c=1)``, without types; of a class, what its ``__init__`` or its fields take."""
    if not isinstance(node, ast.ClassDef):
        return f"({_arguments(node.args)})"
    for each in node.body:
        if isinstance(each, ast.FunctionDef) and each.name == "__init__":
            arguments = _arguments(each.args)
            return f"({arguments.removeprefix('self').removeprefix(', ')})"
    if not any("dataclass" in ast.unparse(each) for each in node.decorator_list):
        return ""
    fields = [each for each in node.body if isinstance(each, ast.AnnAssign) and isinstance(each.target, ast.Name)]
    shown = [ast.unparse(each.target) for each in fields]
    return f"({', '.join(shown[:6])}{', ...' if len(shown) > 6 else ''})"


def _arguments(arguments: ast.arguments) -> str:
    bare = ast.arguments(
        posonlyargs=[ast.arg(each.arg) for each in arguments.posonlyargs],
        args=[ast.arg(each.arg) for each in arguments.args],
        vararg=ast.arg(arguments.vararg.arg) if arguments.vararg else None,
        kwonlyargs=[ast.arg(each.arg) for each in arguments.kwonlyargs],
        kw_defaults=arguments.kw_defaults,
        kwarg=ast.arg(arguments.kwarg.arg) if arguments.kwarg else None,
        defaults=arguments.defaults,
    )
    return ast.unparse(bare)


def _first(node: ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef) -> str:
    """The docstring's first paragraph, cut behind its first sentence."""
    text = " ".join((ast.get_docstring(node) or "").partition("\n\n")[0].split())
    end = re.search(r"(?<!\be\.g)(?<!\bi\.e)(?<!\.)\.(?= )", text)
    return text[: end.end()] if end else text
