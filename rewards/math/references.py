r"""What a reference says: its final answer, and the values of a JSON list or object that came as text."""

from __future__ import annotations

import json
import re
from typing import Any

from rewards.math.candidates import boxes, hashes
from rewards.math.script import one_script
from rewards.response import split_response

_KEYS = ("answer", "value", "ground_truth", "target", "solution", "label")
_LONGEST = 100_000


def extract_reference(reference: str) -> str:
    """A reference is its own answer, or a worked solution that marks it as GSM8K and MATH do; a thought is left out."""
    if "</think>" in reference:
        reference = split_response(reference).answer or reference
    reference = one_script(reference)
    for find in (boxes, hashes):
        found = find(reference)
        if found:
            return found[-1].text.strip()
    return reference.strip()


def alternatives(reference: str) -> list[str]:
    """The right answers that a reference names: any of them counts. Most name one.

    ``["5", "five"]`` names two, and so does ``[5, "five"]``. ``{"value": "5"}`` and ``"5"`` name one. A list of numbers,
    ``[1, 2]``, is one answer of two parts, and is also an interval: both readings count. Raises ValueError where JSON
    holds no answer.
    """
    text = reference.strip()
    if text[:1] not in ("[", "{", '"') or len(text) > _LONGEST:
        return [reference]
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return [reference]
    return _alternatives(value, text)


def _alternatives(value: Any, text: str) -> list[str]:
    if isinstance(value, dict):
        key = next((key for key in _KEYS if key in value), next(iter(value)) if len(value) == 1 else None)
        if key is None:
            keys = ", ".join(map(repr, list(value)[:6])) or "no key"
            raise ValueError(f"the reference is an object with {keys}; one of {', '.join(_KEYS)} is read")
        return _alternatives(value[key], _text(value[key]))
    if not isinstance(value, list):
        return [_text(value)]
    if not value:
        raise ValueError("the reference is an empty list: no answer to compare with")
    if _has_gap(value):
        raise ValueError(
            "the reference is a list with a gap (null or NaN in it): write each of its parts, or leave the row out"
        )
    if any(isinstance(item, (dict, list)) for item in value):
        return _of_nested(value, text)
    if any(isinstance(item, str) for item in value):
        return [_text(item) for item in value if item is not None and str(item).strip()] or [text]
    return [text, ", ".join(map(_text, value))] if ", " in text or len(value) == 1 or len(value) > 2 else [text]


def _of_nested(value: list[Any], text: str) -> list[str]:
    """A matrix or pairs as they stand; of objects, the answers of each; of a list in a list of one, what that one names."""
    if len(value) == 1 and not _is_numeric(value):
        return _alternatives(value[0], _text(value[0]))
    if all(isinstance(item, dict) for item in value):
        return [answer for item in value for answer in _alternatives(item, _text(item))]
    if not _is_numeric(value):
        raise ValueError(
            'the reference is a list of lists with texts in it; several right answers are one list: ["5", "five"]'
        )
    return [text]


def _has_gap(value: list[Any]) -> bool:
    """Whether a part of one answer is missing, however deep. Of several right answers, which are texts, one may be."""
    if any(isinstance(item, str) for item in value):
        return False
    return None in value or any(_has_gap(item) for item in value if isinstance(item, list))


def _is_numeric(value: Any) -> bool:
    """Whether numbers alone stand in a list, however deep."""
    return all(map(_is_numeric, value)) if isinstance(value, list) else isinstance(value, int | float)


def _text(value: Any) -> str:
    if isinstance(value, str):
        return value
    return re.sub(r"\s+", " ", json.dumps(value, ensure_ascii=False))
