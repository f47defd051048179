r"""Finding the answer in a completion. Strings only: nothing is evaluated.

In order (``SOURCES``): the last ``\boxed{}``, the last ``#### N``, the last ``<answer>``, what follows ``</think>`` (or the
whole text) where that is an answer by itself, "the answer is ...", the last formula between dollar signs, the last number.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence

from rewards.math.notation import MAX_ANSWER, braced, strip_delimiters
from rewards.response import split_response

_TAIL = 100_000  # characters of a completion that are searched
_LAST_RESORT_TAIL = 2_000

_PHRASE = re.compile(
    r"(?:answer|solution|result|option|choice|statement)\**\s*(?:is|:|=|equals)\**\s*(?:therefore|thus|simply|just|equal to)?"
    r"\s*:?\s*\**\s*([^\n]{1,300})",
    re.IGNORECASE,
)
_LEAD = re.compile(
    r"^[\s*]*(?:(?:so|thus|hence|therefore|then|we (?:get|have|find)(?: that)?|(?:i|we) (?:think|believe)(?: that)?|it(?: i|')s)"
    r"\b[,:]?\s+)+",
    re.IGNORECASE,
)
_LABEL = re.compile(
    r"^[\s*]*(?:the\s+)?(?:final\s+|correct\s+|right\s+)?"
    r"(?:[A-Za-z][A-Za-z ]{1,30}:\s+(?=[-\d$\\(\[])|(?:answer|ans)\b\**\s*(?:is|:|=)?"
    r"|(?:option|choice)\b\**\s*(?:is|:|=)?(?=\W*[A-Z]\b))[\s*:]*",
    re.IGNORECASE,
)
_FORMULA = re.compile(
    r"(?<!\\)\$\$([^$]{1,300}?)\$\$|\\\[(.{1,300}?)\\\]"  # displayed, with lines of its own
    r"|(?<!\\)\$((?:\\\$|[^$\n]){1,300}?)(?<!\\)\$|\\\(([^\n]{1,300}?)\\\)",  # \$ within is a sum of money
    re.DOTALL,
)
_SENTENCE_END = re.compile(
    r"\.(?:\s|$)|\s\((?=[a-z])|[,;]?\s(?:because|since|which|where|so|as|when|for|in total|altogether|(?:and |but )?not)\b",
    re.IGNORECASE,
)
_NUMBER = re.compile(
    r"(?:(?<![\w)}\]])-)?(?<![0-9.])"  # a minus after an operand is a subtraction
    r"(?:\\[dt]?frac\{-?[0-9]{1,100}\}\{[0-9]{1,100}\}"
    r"|(?:[0-9]{1,3}(?:,[0-9]{3}){1,30}(?![0-9])|[0-9]{1,100})(?:\.[0-9]{1,100})?(?:/[0-9]{1,100})?)(?:\\?%)?"
)
_WORD = re.compile(r"(?<![\\A-Za-z])[A-Za-z]{2,}")
_NO_WORDS = re.compile(r"\\text\s*\{[^{}]*\}|\\(?:begin|end)\{[a-z]+\}(?:\{[^{}]*\})?")
_ROW_END = re.compile(r"(\\\\(?:\[[^\[\]\n]{1,9}\])?)[ \t]*\n[ \t]*")  # of a matrix: its rows go on one line


def extract_answer(completion: str, sources: Sequence[str] = ()) -> str | None:
    """The answer as written, or None where the completion gives none. ``sources``: which of ``SOURCES``, in order."""
    region = split_response(completion).answer
    if not region:
        return None
    region = _ROW_END.sub(r"\1 ", region[-_TAIL:])
    for source in sources or tuple(SOURCES):
        found = SOURCES[source](region)
        if found is not None:
            return _unlabelled(found.strip()) or None
    return None if sources else region


def extract_reference(reference: str) -> str:
    """A reference is its own answer, or a worked solution that marks it as GSM8K and MATH do."""
    for find in (_boxed, _hashed):
        answer = find(reference)
        if answer is not None:
            return answer.strip()
    return reference.strip()


def _boxed(text: str) -> str | None:
    r"""Content of the last whole ``\boxed{}`` or ``\fbox{}``; one that was never closed is passed over."""
    end = len(text)
    for _ in range(16):
        start = max(text.rfind(r"\boxed", 0, end), text.rfind(r"\fbox", 0, end))
        if start < 0:
            return None
        content = braced(text, text.find("{", start, start + 16))
        if content is not None:
            return content
        bare = re.match(r"\\[bf]o?x?(?:ed)? ([0-9A-Za-z.]{1,20})", text[start : start + 32])  # TeX takes the next token
        if bare is not None:
            return bare.group(1)
        end = start
    return None


def _hashed(text: str) -> str | None:
    start = text.rfind("####")
    return text[start + 4 :].strip().split("\n", 1)[0] if start >= 0 else None


def _tagged(text: str) -> str | None:
    end = text.rfind("</answer>")
    start = text.rfind("<answer>", 0, end if end >= 0 else len(text))
    if start < 0:
        return None
    return text[start + len("<answer>") : end if end >= 0 else len(text)]


def _bare(text: str) -> str | None:
    """All of a text that is short enough to be an answer by itself."""
    if "\n" in text or len(text) > MAX_ANSWER:
        return None
    text = _LEAD.sub("", text, count=1)
    short = _LABEL.sub("", text, count=1)
    if short != text:
        return _to_sentence_end(short)
    return text if len(_WORD.findall(_NO_WORDS.sub("", text))) < 3 else None


def _phrase(text: str) -> str | None:
    text = text[-_LAST_RESORT_TAIL * 10 :]
    matches = list(_PHRASE.finditer(text))
    if not matches:
        return None
    answer = matches[-1].group(1).strip()
    formula = _FORMULA.match(text, matches[-1].start(1)) or _FORMULA.search(answer)  # it may have lines of its own
    if formula is not None:
        return next(part for part in formula.groups() if part is not None)
    return _to_sentence_end(answer)


def _to_sentence_end(text: str) -> str:
    end = _SENTENCE_END.search(text)
    return text[: end.start()] if end is not None and end.start() else text


def _formula(text: str) -> str | None:
    matches = [next(filter(None, m.groups()), "") for m in _FORMULA.finditer(text[-_LAST_RESORT_TAIL * 10 :])]
    return matches[-1] if matches else None


def _last_number(text: str) -> str | None:
    numbers = [match.group() for match in _NUMBER.finditer(text[-_LAST_RESORT_TAIL:])]
    return numbers[-1] if numbers else None


def _unlabelled(text: str) -> str:
    """``Answer: 5`` is 5, and ``**5**`` too, wherever it was found."""
    if len(text) > MAX_ANSWER:
        return text
    short = _LABEL.sub("", text, count=1).strip().rstrip("*. ")
    return strip_delimiters(short.lstrip("*").strip()) if short else text


# how an answer is marked, in order of trust: a setting of the correctness reward says which count
SOURCES: Mapping[str, Callable[[str], str | None]] = {
    "boxed": _boxed,
    "hash": _hashed,
    "tag": _tagged,
    "bare": _bare,
    "phrase": _phrase,
    "formula": _formula,
    "last_number": _last_number,
}
