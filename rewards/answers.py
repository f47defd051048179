r"""Finding the answer in a completion, and bringing its notation to one form. Strings only: nothing is evaluated.

In order: the last ``\boxed{}``, the last ``#### N``, the last ``<answer>``, what follows ``</think>`` (or the whole text)
where that is an answer by itself, "the answer is ...", the last formula between dollar signs, the last number.
"""

from __future__ import annotations

import re

from rewards.text import split_response

MAX_ANSWER = 2_000  # characters; nothing longer is an answer
_TAIL = 100_000  # characters of a completion that are searched
_LAST_RESORT_TAIL = 2_000

_PHRASE = re.compile(r"answer\s*(?:is|:|=)\s*:?\s*([^\n]{1,300})", re.IGNORECASE)
_FORMULA = re.compile(r"(?<!\\)\$\$?([^$\n]{1,300})(?<!\\)\$")
_NUMBER = re.compile(
    r"(?:(?<![\w)}\]])-)?(?<![0-9.])"  # a minus after an operand is a subtraction
    r"(?:\\[dt]?frac\{-?[0-9]{1,100}\}\{[0-9]{1,100}\}"
    r"|(?:[0-9]{1,3}(?:,[0-9]{3}){1,30}(?![0-9])|[0-9]{1,100})(?:\.[0-9]{1,100})?(?:/[0-9]{1,100})?)(?:\\?%)?"
)
_WORD = re.compile(r"(?<![\\A-Za-z])[A-Za-z]{2,}")
_TEXT_COMMAND = re.compile(r"\\(?:text|textbf|textit|textrm|mbox|mathrm|mathbf|operatorname)\s*\{([^{}]*)\}")

_SYMBOLS = str.maketrans(
    {
        "−": "-", "–": "-", "×": r"\times ", "÷": r"\div ", "·": r"\cdot ", "π": r"\pi ", "∞": r"\infty ",
        "°": r"^\circ ", "≤": r"\le ", "≥": r"\ge ", "√": r"\sqrt ", "²": "^2", "³": "^3", "\u00a0": " ",
        "\u202f": " ", "\u2009": " ",
    }
)  # fmt: skip
_SPACING = re.compile(r"\\(?:left|right|bigl?|bigr|Bigl?|Bigr|displaystyle|!|,|;|:|quad|qquad|limits)(?![A-Za-z])|~")
_REWRITES = tuple(
    (re.compile(pattern), replacement)
    for pattern, replacement in (
        (r"\\[dtc]frac(?![A-Za-z])", r"\\frac"),
        (r"\\times(?![A-Za-z])", r"\\cdot"),
        (r"\\(?:leq|leqslant)(?![A-Za-z])", r"\\le"),
        (r"\\(?:geq|geqslant)(?![A-Za-z])", r"\\ge"),
        (r"\\(?:lbrace)(?![A-Za-z])", r"\\{"),
        (r"\\(?:rbrace)(?![A-Za-z])", r"\\}"),
        (r"\\mathrm\s*\{\s*([A-Za-z])\s*\}", r"\1"),
        (r"\{,\}", ","),
        (r"(?<!\\)\\(?=\s)", ""),  # a backslash and a space is a space
        (r"\^\s*\{?\s*\\(?:circ|degree)\s*\}?|\\degree(?![A-Za-z])", r"\\text{ degree}"),
        (r"\\%", "%"),
        (r"\\frac\s*([0-9])\s*([0-9])(?![0-9])", r"\\frac{\1}{\2}"),
        (r"\\frac\s*([0-9])\s*\{", r"\\frac{\1}{"),
        (r"\\sqrt\s*([0-9A-Za-z])", r"\\sqrt{\1}"),
        (r"\s+", " "),
        (r"(?<![0-9A-Za-z,]) | (?![0-9A-Za-z\\])", ""),  # spaces that part nothing; "1 1/2" and "1, 2" keep theirs
        (r"(\\[A-Za-z]+) (?![A-Za-z])", r"\1"),
    )
)


def extract_answer(completion: str) -> str | None:
    """The answer as written, or None where the completion gives none."""
    region = split_response(completion).answer
    if not region:
        return None
    region = region[-_TAIL:]
    for find in (_boxed, _hashed, _tagged):
        answer = find(region)
        if answer is not None:
            return answer.strip() or None
    if "\n" not in region and len(region) <= MAX_ANSWER and len(_WORD.findall(region)) < 3:
        return region
    for pattern in (_PHRASE, _FORMULA):
        matches = pattern.findall(region[-_LAST_RESORT_TAIL * 10 :])
        if matches:
            answer = matches[-1].strip()
            formula = _FORMULA.search(answer)
            return formula.group(1).strip() if formula and pattern is _PHRASE else answer
    numbers = [match.group() for match in _NUMBER.finditer(region[-_LAST_RESORT_TAIL:])]
    return numbers[-1] if numbers else region


def extract_reference(reference: str) -> str:
    """A reference is its own answer, or a worked solution that marks it as GSM8K and MATH do."""
    for find in (_boxed, _hashed):
        answer = find(reference)
        if answer is not None:
            return answer.strip()
    return reference.strip()


def canonical(answer: str) -> str:
    r"""One notation: ``\dfrac12`` is ``\frac{1}{2}``, spacing and delimiters are gone, a final full stop too."""
    text = answer.strip().translate(_SYMBOLS)
    text = _strip_delimiters(text)
    text = _SPACING.sub(" ", text) if not re.search(r"[0-9]\\[,!][0-9]", text) else _join_thousands(text)
    for pattern, replacement in _REWRITES:
        text = pattern.sub(replacement, text)
    return text.strip().rstrip(".,;").strip()


def plain_words(text: str) -> str:
    r"""Words without markup, in lower case: ``\text{Even}`` is ``even``."""
    return " ".join(_TEXT_COMMAND.sub(r" \1 ", text).replace("$", "").lower().split()).rstrip(".")


def _join_thousands(text: str) -> str:
    return _SPACING.sub(" ", re.sub(r"(?<=[0-9]),?\\[,!](?=[0-9]{3})", "", text))


def _strip_delimiters(text: str) -> str:
    for opening, closing in (("$$", "$$"), ("$", "$"), (r"\(", r"\)"), (r"\[", r"\]")):
        inner = text[len(opening) : -len(closing)]
        if text.startswith(opening) and text.endswith(closing) and inner and opening not in inner:
            return inner.strip()
    if text.endswith(".") and text[:-1].rstrip().endswith(("$", r"\)", r"\]")):
        return _strip_delimiters(text[:-1].rstrip())
    return text


def _boxed(text: str) -> str | None:
    r"""Content of the last whole ``\boxed{}`` or ``\fbox{}``; one that was never closed is passed over."""
    end = len(text)
    for _ in range(16):
        start = max(text.rfind(r"\boxed", 0, end), text.rfind(r"\fbox", 0, end))
        if start < 0:
            return None
        content = _braced(text, text.find("{", start, start + 16))
        if content is not None:
            return content
        end = start
    return None


def _braced(text: str, start: int) -> str | None:
    if start < 0:
        return None
    depth = 0
    for position in range(start, min(len(text), start + MAX_ANSWER)):
        char = text[position]
        if char in "{}" and text[position - 1] != "\\":
            depth += 1 if char == "{" else -1
            if depth == 0:
                return text[start + 1 : position]
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
