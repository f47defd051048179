"""Answers that are formulas, read by our own grammar: nothing that stands in an answer is evaluated as Python.

A formula is ASCII: numbers, names, ``+ - * / **``, brackets, and calls of the few functions below. It has no quotes, no
underscore, no dot behind a name, no square bracket, and no call that would work the question out (``Integral``, ``expand``).
Length, size and exponents are capped.
"""

from __future__ import annotations

import ast
import math
import re
from collections.abc import Collection
from fractions import Fraction
from typing import Any

from rewards.math.arithmetic import evaluate

FUNCTIONS = frozenset(
    "sin cos tan cot sec csc asin acos atan acot asec acsc sinh cosh tanh coth asinh acosh atanh exp log ln sqrt Abs abs".split()
)
CONSTANTS = frozenset(("E", "pi"))
_MAX_LENGTH, _MAX_NODES, _MAX_DEPTH = 2_000, 600, 40
_MAX_DIGITS, _MAX_POWER, _MAX_POWER_BITS = 40, 64, 4_000
_CHARACTERS = re.compile(r"[0-9A-Za-z+\-*/(). \t]*")
_ATTRIBUTE = re.compile(r"[A-Za-z)]\s*\.|\.\s*[A-Za-z]")
_IMPLICIT = re.compile(r"[0-9)]\s*\(")
_ARITHMETIC = re.compile(r"[0-9+\-*/() \t]*")
_BINARY = (ast.Add, ast.Sub, ast.Mult, ast.Div, ast.Pow)
_MAX_BITS = 100_000


def whole_numbers(text: str) -> tuple[list[int], Fraction] | None:
    """The numbers in an expression of whole numbers with ``+ - * /`` and brackets, and its exact value; None for any other.

    Example: ``whole_numbers("6*(4 - 1)/2")`` is ``([6, 4, 1, 2], 9)``.
    """
    if not _ARITHMETIC.fullmatch(text) or _IMPLICIT.search(text):
        return None
    try:
        return [int(run) for run in re.findall(r"[0-9]+", text)], evaluate(text)
    except (ValueError, ArithmeticError):
        return None


def parsed(text: str, names: Collection[str], functions: Collection[str] = FUNCTIONS) -> ast.expr:
    """The tree of a formula with these names. Raises ValueError where it is none."""
    text = text.strip()
    if len(text) > _MAX_LENGTH or not _CHARACTERS.fullmatch(text) or _ATTRIBUTE.search(text):
        raise ValueError("not a formula: its characters")
    if any(len(run) > _MAX_DIGITS for run in re.findall(r"[0-9]+", text)):
        raise ValueError("not a formula: a number of many digits")
    try:
        tree = ast.parse(text, mode="eval").body
    except (SyntaxError, RecursionError, MemoryError) as error:
        raise ValueError("not a formula") from error
    _check(tree, frozenset(names) | CONSTANTS, frozenset(functions))
    return tree


def is_formula(text: str, names: Collection[str], functions: Collection[str] = FUNCTIONS) -> bool:
    try:
        return bool(parsed(text, names, functions))
    except ValueError:
        return False


def is_expanded(text: str, names: Collection[str]) -> bool:
    """Whether a formula is a sum of monomials, each with one coefficient at most, and each name once: worked out."""
    try:
        open_nodes = [parsed(text, names, ())]
    except ValueError:
        return False
    while open_nodes:
        node = open_nodes.pop()
        if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add | ast.Sub):
            open_nodes += [node.left, node.right]
        elif isinstance(node, ast.UnaryOp):
            open_nodes.append(node.operand)
        elif not _is_monomial(node):
            return False
    return True


def formula(text: str, names: Collection[str]) -> Any:
    """sympy's expression of a formula. Raises ValueError where it is none."""
    import sympy

    tree = parsed(text, names)
    known = {name: sympy.Symbol(name) for name in names} | {"E": sympy.E, "pi": sympy.pi}
    return _built(tree, known)


def literal(text: str) -> Any:
    """What ``eval`` may mean to a verifier: a literal, or whole numbers with bit operators. Raises ValueError."""
    try:
        tree = ast.parse(text.strip(), mode="eval").body
        try:
            return ast.literal_eval(tree)
        except ValueError:
            return _integer(tree)
    except (SyntaxError, RecursionError, MemoryError, TypeError, ArithmeticError) as error:
        raise ValueError("not a literal") from error


def _is_monomial(node: ast.expr) -> bool:
    factors, seen = [node], []
    while factors:
        factor = factors.pop()
        if isinstance(factor, ast.BinOp) and isinstance(factor.op, ast.Mult):
            factors += [factor.left, factor.right]
        elif isinstance(factor, ast.UnaryOp):
            factors.append(factor.operand)
        elif isinstance(factor, ast.BinOp) and isinstance(factor.op, ast.Pow):
            if not (isinstance(factor.left, ast.Name) and isinstance(factor.right, ast.Constant)):
                return False
            seen.append(factor.left.id)
        elif isinstance(factor, ast.Name | ast.Constant):
            seen.append(factor.id if isinstance(factor, ast.Name) else "")
        else:
            return False
    return len(seen) == len(set(seen))


def _check(tree: ast.expr, names: frozenset[str], functions: frozenset[str]) -> None:
    """Raises ValueError for a node, a name or a size that no formula has."""
    open_nodes, count = [(tree, 1)], 0
    while open_nodes:
        node, depth = open_nodes.pop()
        count += 1
        if count > _MAX_NODES or depth > _MAX_DEPTH:
            raise ValueError("not a formula: too large")
        open_nodes += [(part, depth + 1) for part in _parts(node, names, functions)]


def _parts(node: ast.expr, names: frozenset[str], functions: frozenset[str]) -> list[ast.expr]:
    """The formulas that a node is made of. Raises ValueError for a node or a name that no formula has."""
    match node:
        case ast.BinOp() if isinstance(node.op, _BINARY):
            return [node.left, node.right]
        case ast.UnaryOp() if isinstance(node.op, ast.UAdd | ast.USub):
            return [node.operand]
        case ast.Call(func=ast.Name(id=name), args=[argument], keywords=[]) if name in functions and name not in names:
            return [argument]
        case ast.Name() if node.id in names:
            return []
        case ast.Constant(value=float() as value) if math.isfinite(value):
            return []
        case ast.Constant(value=int() as value) if not isinstance(value, bool) and value < 10**_MAX_DIGITS:
            return []
    raise ValueError(f"not a formula: {type(node).__name__}")


def _built(node: ast.expr, names: dict[str, Any]) -> Any:
    import sympy

    if isinstance(node, ast.Constant):
        return sympy.Integer(node.value) if isinstance(node.value, int) else sympy.Float(node.value)
    if isinstance(node, ast.Name):
        return names[node.id]
    if isinstance(node, ast.UnaryOp):
        inner = _built(node.operand, names)
        return -inner if isinstance(node.op, ast.USub) else inner
    if isinstance(node, ast.Call):
        assert isinstance(node.func, ast.Name)
        name = {"ln": "log", "abs": "Abs"}.get(node.func.id, node.func.id)
        return getattr(sympy, name)(_built(node.args[0], names))
    assert isinstance(node, ast.BinOp)
    left, right = _built(node.left, names), _built(node.right, names)
    if isinstance(node.op, ast.Pow):
        digits = max(int(left.p).bit_length(), int(left.q).bit_length()) if left.is_Rational else 1
        if right.is_number and not abs(right) * digits <= (_MAX_POWER if digits == 1 else _MAX_POWER_BITS):
            raise ValueError("not a formula: a large power")
        return left**right
    return {ast.Add: lambda: left + right, ast.Sub: lambda: left - right, ast.Mult: lambda: left * right}.get(
        type(node.op), lambda: left / right
    )()


def _integer(node: ast.AST) -> int:
    """Raises ValueError for anything but whole numbers and their operators, and for what grows too large."""
    if isinstance(node, ast.Constant) and type(node.value) is int:
        return node.value
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub | ast.UAdd | ast.Invert):
        inner = _integer(node.operand)
        return {ast.USub: -inner, ast.UAdd: inner, ast.Invert: ~inner}[type(node.op)]
    if not isinstance(node, ast.BinOp):
        raise ValueError(f"not a whole number: {type(node).__name__}")
    left, right = _integer(node.left), _integer(node.right)
    if isinstance(node.op, ast.LShift) and not 0 <= right <= _MAX_BITS:
        raise ValueError("not a whole number: a large shift")
    operators = {
        ast.Add: int.__add__, ast.Sub: int.__sub__, ast.Mult: int.__mul__, ast.FloorDiv: int.__floordiv__,
        ast.Mod: int.__mod__, ast.LShift: int.__lshift__, ast.RShift: int.__rshift__, ast.BitAnd: int.__and__,
        ast.BitOr: int.__or__, ast.BitXor: int.__xor__,
    }  # fmt: skip
    if type(node.op) not in operators or max(left.bit_length(), right.bit_length()) > _MAX_BITS:
        raise ValueError("not a whole number: too large, or another operator")
    return int(operators[type(node.op)](left, right))
