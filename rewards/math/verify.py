r"""Is this mathematical answer right? Exact comparison first; a computer algebra system only behind a gate, in a child.

The completion is parsed by our own code (``rewards.math.decide``, ``rewards.math.compare``), which decides numbers, rational
arithmetic, words, choices, lists, tuples and sets without evaluating text. What remains, say ``\sqrt{8}`` beside
``2\sqrt{2}``, goes to math-verify inside a killable child process with a deadline and a memory limit
(``rewards.sandbox.parent``), unless it is longer, deeper or larger than an answer is: then it is wrong.
"""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Sequence
from dataclasses import replace

from rewards.base import failed
from rewards.math.compare import Oracle, compare
from rewards.math.decide import extract_answer
from rewards.math.notation import MAX_ANSWER, canonical
from rewards.math.quantities import EXACT, Rules, parse_number
from rewards.math.references import alternatives, extract_reference
from rewards.math.typed import is_words
from rewards.sandbox.parent import Isolated
from rl.types import Score, ScoreStatus

MAX_SYMBOLIC = 300  # characters of an expression that the child is asked about
_MAX_NESTING = 12
_MAX_DIGITS = 40  # in one run, and
_MAX_EXPONENT_DIGITS = 4
_MAX_ASKED = 24  # questions to the child in one comparison
_RESERVE_S = 0.05  # of a deadline: to kill and replace the child, so that the caller too waits no longer

_COMMAND = re.compile(r"\\(?:begin|end)\{[a-z]+\}|\\[A-Za-z]+")
_MATHS = re.compile(r"[0-9]|\\[A-Za-z]|(?<![A-Za-z])[A-Za-z]{1,2}(?![A-Za-z])")
_BIG_FACTORIAL = re.compile(
    r"[0-9]{4,}\s*\)?\s*!|!\s*!|\)\s*!\s*\)?\s*!"
    r"|\^[^!()]{0,24}\)\s*!"  # (10^9)!
    r"|binom\s*\{[^}]*(?:[0-9]{6,}|[0-9]\s*\^)"  # as large as the factorials that it is made of
)

_child: Isolated | None = None
_verdicts: dict[tuple[str, str], bool] = {}  # a group gives the same answer again and again
_MAX_VERDICTS = 65_536
_child_lock = threading.Lock()


class _Failed(Exception):
    """The child came to no verdict."""

    def __init__(self, status: ScoreStatus, detail: str) -> None:
        super().__init__(detail)
        self.status, self.detail = status, detail


def verify_math(completion: str, reference: str, deadline_s: float = 1.0, worked_out: bool = True) -> Score:
    r"""1.0 where the completion's answer equals the reference, else 0.0; works from any thread.

    completion   a whole response or a bare answer: see ``rewards.math.decide`` for how its answer is found
    reference    the right answer, or a worked solution with ``\boxed{}`` or ``#### N``; a JSON list of texts names several
    deadline_s   seconds for the symbolic comparison, where there is one
    worked_out   whether ``3*4`` is refused where the reference is ``12``: see ``rewards.math.echo``

    The status is ``ok``; ``wrong_format`` with 0.0 where the completion gives no answer; ``timeout`` or ``crashed``
    with NaN where the child process came to no verdict; ``invalid`` with NaN where a JSON reference holds no answer.
    """
    return score_answer(completion, reference, deadline_s, EXACT if worked_out else replace(EXACT, worked_out=False))


def score_answer(
    completion: str, reference: str, deadline_s: float, rules: Rules = EXACT, sources: Sequence[str] = ()
) -> Score:
    """``verify_math`` under the caller's rules.

    rules: how numbers are compared. sources: which of ``rewards.math.decide.SOURCES`` count; all where empty.
    """
    begin = time.monotonic()
    try:
        wanted = [extract_reference(text) for text in alternatives(reference)]
    except ValueError as error:
        return Score(float("nan"), ScoreStatus.INVALID, seconds=time.monotonic() - begin, detail=str(error))
    answer = extract_answer(completion, sources, _type(wanted[0]))
    if answer is None:
        return Score(0.0, ScoreStatus.WRONG_FORMAT, seconds=time.monotonic() - begin, detail="no answer found")
    oracle = _Oracle(begin + max(deadline_s / 2, deadline_s - _RESERVE_S))
    try:
        value = float(any(_is_right(answer, right, oracle, rules) for right in wanted))
    except _Failed as error:
        return failed(error.status, error.detail, time.monotonic() - begin)
    return Score(value, seconds=time.monotonic() - begin)


def _type(reference: str) -> str:
    """What an unmarked sentence is read for."""
    if re.fullmatch(r"(?:\\text\{)?\(?[A-J]\)?\}?\.?|\(?[A-J]\)?(?:\s?(?:,|and)\s?\(?[A-J]\)?){1,8}", reference):
        return "choice"
    if reference.strip().lower() in ("yes", "no", "true", "false"):
        return "yes"
    return "word" if is_words(canonical(reference[:200])) and parse_number(canonical(reference[:200])) is None else ""


def _is_right(answer: str, right: str, oracle: Oracle, rules: Rules) -> bool:
    if len(answer) > MAX_ANSWER or len(right) > MAX_ANSWER:
        return answer == right
    return compare(canonical(answer), canonical(right), oracle, rules)


class _Oracle:
    """Asks the child whether two expressions are equal; all questions of one comparison share its deadline."""

    def __init__(self, deadline: float) -> None:
        self.deadline, self.asked = deadline, 0

    def __call__(self, answer: str, reference: str) -> bool:
        if not (is_comparable(answer) and is_comparable(reference)) or self.asked >= _MAX_ASKED:
            return False
        if answer.count("'") != reference.count("'") or "..." in answer + reference:
            return False  # math-verify sees neither: x' is x to it, and 72, ... is 72
        if self.asked == 0:
            waiting = time.monotonic()
            child = _start_child()
            self.deadline += time.monotonic() - waiting  # starting it, once a process, is not the answer's time
        else:
            child = _start_child()
        self.asked += 1
        known = _verdicts.get((answer, reference))
        if known is not None:
            return known
        outcome = child.call({"answer": answer, "reference": reference}, max(0.01, self.deadline - time.monotonic()))
        if outcome.status is not ScoreStatus.OK:
            raise _Failed(outcome.status, f"symbolic comparison: {outcome.detail}")
        if len(_verdicts) >= _MAX_VERDICTS:
            _verdicts.clear()
        _verdicts[answer, reference] = bool(outcome.value)
        return bool(outcome.value)


def is_comparable(text: str) -> bool:
    """The gate: whether a canonical text looks like mathematics that is worth a computer algebra system's time."""
    if not 0 < len(text) <= MAX_SYMBOLIC or not text.isascii() or not text.isprintable() or not _MATHS.search(text):
        return False
    if any(len(run) > _MAX_DIGITS for run in re.findall(r"[0-9]+", text)) or _BIG_FACTORIAL.search(text):
        return False
    words = re.findall(r"[A-Za-z]{4,}", _COMMAND.sub(" ", text))
    return not words and _nesting(text) <= _MAX_NESTING and not _is_tower(text)


def _nesting(text: str) -> int:
    depth = deepest = 0
    for char in text:
        if char in "([{":
            depth += 1
            deepest = max(deepest, depth)
        elif char in ")]}":
            depth -= 1
    return deepest


def _is_tower(text: str) -> bool:
    """An exponent within an exponent, or one of more digits than any answer has."""
    ends: list[int] = []  # bracket depths at which the exponents that we are inside end
    depth = 0
    for position, char in enumerate(text):
        if char == "^":
            if ends or re.match(rf"\^\s*[({{]?\s*-?[0-9]{{{_MAX_EXPONENT_DIGITS + 1},}}", text[position:]):
                return True
            if text[position + 1 : position + 2] in ("{", "("):
                ends.append(depth)
            elif re.match(r"\^\s*(?:[0-9]+|[A-Za-z])\s*\^", text[position:]):
                return True
        elif char in "({[":
            depth += 1
        elif char in ")}]":
            depth -= 1
            if ends and ends[-1] == depth:
                ends.pop()
    return False


def _start_child() -> Isolated:
    global _child
    with _child_lock:
        if _child is None:
            child = Isolated("rewards.math.symbolic:equal")
            child.warm()
            _child = child
        return _child
