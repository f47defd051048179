"""In the child of ``rewards.gym``: calls reasoning-gym's verifier of one entry.

No answer is evaluated here: before the first one, ``eval``, ``exec`` and sympy's parser are replaced in all of
reasoning-gym's modules, by readers of literals and of formulas (``rewards.sandbox.expressions``).
"""

from __future__ import annotations

import math
import sys
from collections.abc import Mapping
from typing import Any

import reasoning_gym
import sympy
from reasoning_gym.factory import DATASETS
from sympy.parsing import sympy_parser

from rewards.sandbox.expressions import formula, literal
from rewards.sandbox.gym_rules import FRESH, REFUSED, admits, confirms, own_answer

_NONSENSE = ("\u00a7 no answer \u00a7", "nan")
_MAX_KNOWN = 512
_verifiers: dict[str, Any] = {}
_known: dict[tuple[str, ...], str] = {}  # rows that were looked at: a group has one row for all of its answers
_THEIR_PARSER = sympy_parser.parse_expr


def grade(payload: Mapping[str, Any]) -> dict[str, Any]:
    """``{"mark": 0..1}``, or ``{"refused": why}`` where the verifier of this row is none to rely on.

    A verifier that raises on an answer, or gives what is no mark, was given no answer of its form: 0.
    """
    entry = dict(payload["entry"])
    name, answer = entry.pop("dataset"), payload["answer"]
    why = REFUSED.get(name) or ("" if name in DATASETS else f"reasoning-gym has no data set {name!r}")
    why = why or _refused(name, entry)
    if why:
        return {"refused": why if repr(name) in why else f"data set {name!r}: {why}"}
    if not admits(name, answer, entry):
        return {"mark": 0.0}
    mark = _mark(name, answer, entry)
    if not 0.0 <= mark <= 1.0 or (mark == 1.0 and not confirms(name, answer, entry)):
        return {"mark": 0.0}
    return {"mark": mark}


def disarm() -> None:
    """Replace ``eval``, ``exec`` and sympy's parser in every module of reasoning-gym that is loaded, and in sympy."""
    for module in [module for name, module in sys.modules.items() if name.partition(".")[0] == "reasoning_gym"]:
        names = vars(module)
        names.update({key: _parse for key, value in names.items() if value is _THEIR_PARSER})
        names.update({"eval": _eval, "exec": _no_code})
    # ``sympify`` of a text comes here too
    for module, name, ours in (
        (sympy, "parse_expr", _parse),
        (sympy_parser, "parse_expr", _parse),
        (sympy_parser, "eval_expr", _no_code),
    ):
        setattr(module, name, ours)


def _eval(text: Any, *_: Any) -> Any:
    return literal(text)


def _parse(text: str, local_dict: Mapping[str, Any] | None = None, **_: Any) -> Any:
    names = local_dict or {word: None for word in "abcdefghijklmnopqrstuvwxyzABCDFGHIJKLMNOPQRSTUVWXYZ"}
    return formula(text, tuple(names))


def _no_code(*_: Any, **__: Any) -> Any:
    raise ValueError("a verifier runs no code")


def _refused(name: str, entry: Mapping[str, Any]) -> str:
    """Why no answer of this row is graded; empty where it is."""
    key = (name, str(entry["question"]), str(entry["answer"]))
    if key not in _known:
        if len(_known) >= _MAX_KNOWN:
            _known.clear()
        _known[key] = _examined(name, entry)
    return _known[key]


def _examined(name: str, entry: Mapping[str, Any]) -> str:
    own = own_answer(entry)
    if own is not None and not admits(name, own, entry):
        return "this row's own answer has not the form that its question asks for"
    if own is not None and name not in FRESH and not _mark(name, own, entry) >= 1.0:
        return "its verifier does not take this row's own answer"
    marks = {text: _mark(name, text, entry) for text in _NONSENSE if text != own}
    if any(mark >= 1.0 and confirms(name, text, entry) for text, mark in marks.items()):
        return "its verifier gives full marks to nonsense for this row"
    if own is None and math.isnan(marks[_NONSENSE[0]]):
        return "its verifier needs a reference, which this row has not"
    return ""


def _mark(name: str, answer: str, entry: Mapping[str, Any]) -> float:
    """NaN where the verifier raises. JSON has no tuples, which some verifiers compare with: both forms are tried."""
    if name not in _verifiers:
        _verifiers[name] = reasoning_gym.get_score_answer_fn(name)
        disarm()
    if not admits(name, answer, entry):
        return 0.0
    marks = []
    for metadata in (entry["metadata"], _tuples(entry["metadata"])):
        try:
            marks.append(float(_verifiers[name](answer=answer, entry={**entry, "metadata": metadata})))
        except Exception:  # whatever a third-party verifier makes of a model's text
            continue
        if marks[-1] == 1.0:
            break
    return max((mark for mark in marks if mark == mark), default=math.nan)


def _tuples(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _tuples(item) for key, item in value.items()}
    return tuple(_tuples(item) for item in value) if isinstance(value, list) else value


disarm()
