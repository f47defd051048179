"""Files beside a user's Python file that it opens by its own place: ``Path(__file__).parent / "words.txt"``."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

_MOST_PARTS = 32  # texts of one expression that are looked at


def named_files(tree: ast.Module, folder: Path) -> list[Path]:
    """Files and folders by their place relative to ``folder``, in which the file lies: those that an expression with ``__file__``
    names, or one with a variable that was made of it. Names that are worked out in another way are not found."""
    found: dict[Path, None] = {}
    for expression in _outermost(tree, _made_of_file(tree)):
        texts = [text for _, _, text in sorted(_places(expression))]
        found |= dict.fromkeys(_existing(texts[:_MOST_PARTS], folder))
    return [path for path in found if not any(path != other and path.is_relative_to(other) for other in found)]


def _outermost(node: ast.AST, made: set[str]) -> Iterator[ast.AST]:
    """Expressions that use one of the names, but for those within another one."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.BinOp | ast.Call | ast.JoinedStr) and _uses(child, made):
            yield child
        else:
            yield from _outermost(child, made)


def _made_of_file(tree: ast.Module) -> set[str]:
    """``__file__``, and names that are assigned from an expression with it, in any number of steps."""
    made, size = {"__file__"}, 0
    while len(made) > size:
        size = len(made)
        for node in ast.walk(tree):
            if isinstance(node, ast.Assign) and _uses(node.value, made):
                made |= {each.id for target in node.targets for each in ast.walk(target) if isinstance(each, ast.Name)}
    return made


def _uses(node: ast.AST, names: set[str]) -> bool:
    return any(isinstance(each, ast.Name) and each.id in names for each in ast.walk(node))


def _places(node: ast.AST) -> Iterator[tuple[int, int, str]]:
    """(line, column, text) of the texts in an expression."""
    for each in ast.walk(node):
        if isinstance(each, ast.Constant) and isinstance(each.value, str):
            yield each.lineno, each.col_offset, each.value


def _existing(texts: list[str], folder: Path) -> Iterator[Path]:
    """The longest runs of texts that, joined, name something below the folder, or beside it by ``..``."""
    start = 0
    while start < len(texts):
        for stop in range(len(texts), start, -1):
            path = Path(*(text.strip("/") for text in texts[start:stop]))
            if _is_there(path, folder):
                yield path
                start = stop
                break
        else:
            start += 1


def _is_there(path: Path, folder: Path) -> bool:
    if path.name in ("", ".", ".."):
        return False
    try:
        return (folder / path).is_file() or (folder / path).is_dir()
    except (OSError, ValueError):  # no name of a file
        return False
