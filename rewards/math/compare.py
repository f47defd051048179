r"""Exact comparison of answers: numbers, rational arithmetic, words, choices, lists, tuples, intervals, sets, matrices.

Every verdict is certain, or the question goes to an oracle (a computer algebra system in a child process) about single
expressions. Text is read by our own capped parsers, so a hostile answer costs microseconds.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from itertools import pairwise

from rewards.math.composite import (
    JOINT,
    MAX_ITEMS,
    Collection,
    as_interval,
    assigned_tuple,
    parse_collection,
    split,
    unit_vectors,
)
from rewards.math.echo import is_echo
from rewards.math.notation import canonical, squeezed
from rewards.math.quantities import (
    EXACT,
    Number,
    Rules,
    in_base_form,
    is_literal,
    parse_number,
    same_number,
    strip_marks,
)
from rewards.math.typed import are_choices, is_words, same_choice, same_clock, same_date, same_ratio, same_words

__all__ = ["compare", "is_literal", "parse_number"]

Oracle = Callable[[str, str], bool]

_NAME = (
    r"(?:[A-Za-z]{1,3}|\\[A-Za-z]+|\\angle ?[A-Z]{1,3})(?:_(?:\{[A-Za-z0-9]+\}|[A-Za-z0-9]+))?"
    r"'?(?:\^\{-1\})?(?:\([A-Za-z0-9]{1,3}(?:,[A-Za-z0-9]{1,3})*\))?"
)
_ASSIGNMENT = re.compile(rf"^({_NAME}) ?(?:=|\\in(?![A-Za-z])) ?(.*)$", re.DOTALL)
_TUPLE_ASSIGNMENT = re.compile(r"^\(([A-Za-z](?:,[A-Za-z])+)\) ?= ?(\(.*\))$", re.DOTALL)
_TUPLE_NAME = re.compile(r"\(([A-Za-z](?:,[A-Za-z])+)\) ?= ?(?=\()")
_TURNED = re.compile(r"^([^=A-Za-z]{1,60}) ?= ?([A-Za-z](?:_\{?[A-Za-z0-9]+\}?)?)$")  # 5 = x
_MODULUS = re.compile(
    r"^(?:[A-Za-z] ?\\equiv ?)|(?: |\\ )*(?:\\pmod ?(?:\{[^{}]{1,20}\}|[0-9])|\((?:\\mod|\\bmod|mod) ?[^()]{1,20}\))$"
)
_WITH_POINT = re.compile(r"[-+]?[0-9]{1,30}\.[0-9]{1,30}$")
_WITH_COMMA = re.compile(r"^([-+]?[0-9]{1,30}),([0-9]{1,2}|[0-9]{4,30})(?![0-9.,])(?!.*,)")
_GROUPED_ABROAD = re.compile(r"^[-+]?[0-9]{1,3}(?:\.[0-9]{3})+(?=,[0-9]{2}(?![0-9.,]))")
_GROUPS_ABROAD = re.compile(r"-?(?:[0-9]{1,3}(?:\.[0-9]{3}){2,10}|[0-9]{1,2}(?:,[0-9]{2}){1,8},[0-9]{3})")
_SENTENCE = re.compile(r"(?<![\\A-Za-z])[A-Za-z]{2,}.*[^A-Za-z\s]|(?:[A-Za-z]{2,}\s+){3}")  # not a name before an =
_TRIGONOMETRY = re.compile(r"\\(?:sin|cos|tan|sec|csc|cot)(?![A-Za-z])")
_LABELLED = re.compile(r"^(?:\\(?:text|mathrm|mbox) ?\{)?\([A-J]\)[:.]?\}?\s*(?=[-\\0-9.])(.+)$", re.DOTALL)  # (E) 12
_DEGREES = re.compile(r"([0-9.]+|\{[0-9.]+\})\\text\{ ?degree\}")


def compare(answer: str, reference: str, oracle: Oracle, rules: Rules = EXACT) -> bool:
    """Whether two canonical texts mean the same; ``oracle`` is asked about single expressions not decidable here."""
    if answer == reference or squeezed(answer) == squeezed(reference):
        return True
    chosen = same_choice(answer, reference) if are_choices(reference) else None
    if chosen is not None:
        return chosen
    if not holds(answer):
        return False
    if (labelled := _LABELLED.match(answer)) is not None and parse_number(reference) is not None:
        return compare(labelled.group(1).strip(), reference, oracle, rules)
    answer, reference = _align(answer, reference)
    if answer == reference:
        return True
    approximate = _approximate(answer, reference, oracle, rules)
    if approximate is not None:
        return approximate
    left, right = _collection(answer), _collection(reference)
    if _is_one(left) != _is_one(right):  # {5} is 5, and {(1, 2)} is (1, 2)
        return compare(_unwrapped(left, answer), _unwrapped(right, reference), oracle, rules)
    if left is not None and right is not None:
        return _same_items(left, right, oracle, rules) or _ask_whole(left, right, answer, reference, oracle)
    if left is not None or right is not None:
        # one value is never a list of several; unions, matrices and the like are no collections here
        other = answer if left is None else reference
        return not _is_single(other) and "..." not in answer and oracle(answer, reference)
    if _name_different_numbers(answer, reference):
        return False
    verdict = compare_single(answer, reference, rules)
    return _ask(answer, reference, oracle) if verdict is None else verdict


def _name_different_numbers(answer: str, reference: str) -> bool:
    """``AB = 4`` beside ``CD = 4``."""
    sides = [_ASSIGNMENT.match(text) for text in (answer, reference)]
    names = [side.group(1) for side in sides if side and parse_number(side.group(2)) is not None]
    return len(names) == 2 and names[0] != names[1] and "(" not in "".join(names)


def compare_single(answer: str, reference: str, rules: Rules = EXACT) -> bool | None:
    """By type: clock time, number, choice, ratio, words; None where none applies."""
    verdict = same_clock(answer, reference)
    if verdict is not None:
        return verdict
    for same in (same_ratio, same_date):
        verdict = same(answer, reference)
        if verdict is not None:
            return verdict
    if rules.worked_out and is_echo(answer, reference):
        return False
    left, right = parse_number(answer), parse_number(reference)
    if (left is None and _is_other_base(answer, right)) or (right is None and _is_other_base(reference, left)):
        return False
    if left is not None and right is not None:
        if "base" in left.unit + right.unit:
            return _same_in_base(answer, left, right)
        return same_number(left, right, rules)
    for same in (same_choice, same_words):
        verdict = same(answer, reference)
        if verdict is not None:
            return verdict
    return None


def _ask(answer: str, reference: str, oracle: Oracle) -> bool:
    r"""``x = a`` was aligned before; units come off where both are the same or one has none; angles become radians."""
    (left, left_percent, left_unit), (right, right_percent, right_unit) = strip_marks(answer), strip_marks(reference)
    if (left_unit or right_unit) and left_percent == right_percent and left and right:
        if left_unit and right_unit and left_unit != right_unit:
            return False
        if not (_TRIGONOMETRY.search(answer) or _TRIGONOMETRY.search(reference)):
            if parse_number(left) is not None and parse_number(right) is not None:
                return compare(left, right, oracle)
            return oracle(left, right)
    if "=" in answer and "=" not in reference and parse_number(reference) is None and answer.count("=") == 1:
        return oracle(answer, reference) or oracle(canonical(answer.split("=")[1]), reference)
    return oracle(_radians(answer), _radians(reference))


def _radians(text: str) -> str:
    return _DEGREES.sub(r"(\\frac{\1\\pi}{180})", text) if _TRIGONOMETRY.search(text) else text


def _approximate(answer: str, reference: str, oracle: Oracle, rules: Rules) -> bool | None:
    r"""``2/3 \approx 0.67`` offers both; either may be meant by a reference, only the first by an answer (``x \approx 5``
    has one)."""
    if r"\approx" not in answer + reference:
        return None
    wanted = [canonical(part) for part in reference.split(r"\approx")]
    parts = answer.split(r"\approx")
    given = canonical(parts[1] if len(parts) == 2 and re.fullmatch(r"[A-Za-z]", parts[0].strip()) else parts[0])
    return any(compare(given, part, oracle, rules) for part in wanted[:2] if part)


def holds(text: str) -> bool:
    """Whether an equation between written numbers is true: ``2+2=4``, ``22/7=3.14``; anything else is not judged."""
    if "=" not in text or len(text) > 200:
        return True
    numbers = [parse_number(part) for part in map(canonical, text.split("="))]
    known = [number for number in numbers if number is not None and "base" not in number.unit]
    return all(_nearly(left, right) for left, right in pairwise(known))


def _nearly(left: Number, right: Number) -> bool:
    """Equal, or one is the other's rounding to two digits or more; units and percent signs are not looked at."""
    if left.value == right.value or left.unit != right.unit or left.percent != right.percent:
        return True
    return any(
        side.places and side.digits > 1 and abs(side.value - other.value) * 10**side.places <= 1
        for side, other in ((left, right), (right, left))
    )


def _grouped_abroad(answer: str, reference: str) -> str:
    """Beside one decimal, ``3,5`` is 3.5; beside one whole number, ``1.234.567`` and ``12,34,567`` have grouped digits."""
    if _WITH_POINT.match(strip_marks(reference)[0]):
        return _WITH_COMMA.sub(r"\1.\2", _GROUPED_ABROAD.sub(lambda found: found.group().replace(".", ""), answer))
    if re.fullmatch(r"-?[0-9]{6,40}", reference) and _GROUPS_ABROAD.fullmatch(answer):
        return re.sub("[.,]", "", answer)
    return answer


def _align(answer: str, reference: str) -> tuple[str, str]:
    """``x = 5`` beside ``5`` is 5; ``3 + 4 = 7`` beside ``7`` is 7; two different variables stay different."""
    answer = _grouped_abroad(answer, reference)
    if reference[:1] == "(" or "matrix" in reference:
        answer = unit_vectors(answer) or answer
    if "mod" in answer and "mod" not in reference:
        answer = _MODULUS.sub("", answer)  # 3 (mod 7) beside 3
    answer, reference = _TURNED.sub(r"\2=\1", answer), _TURNED.sub(r"\2=\1", reference)
    answer, reference = _align_tuples(_one_name(answer), _one_name(reference))
    answer, reference = _align_intervals(answer, reference)
    if any("," in _grouped_out(JOINT.sub(", ", text)) for text in (answer, reference)):
        answer, reference = _align_lists(answer, reference)
    left, right = _ASSIGNMENT.match(answer), _ASSIGNMENT.match(reference)
    if any(side and re.search(r",[^=]*=", side.group(2)) for side in (left, right)):
        return answer, reference  # a list of them: each item has its own name
    if left and right:
        return (left.group(2), right.group(2)) if left.group(1) == right.group(1) else (answer, reference)
    if left and "=" not in reference:
        return canonical(left.group(2).rsplit("=", 1)[-1]), reference
    if right and "=" not in answer:
        return answer, canonical(right.group(2).rsplit("=", 1)[-1])
    before, _, last = answer.rpartition("=")
    whole = before.count("{") == before.count("}")  # not the = of \sum_{k=1}^{4}
    if (
        before
        and whole
        and "=" not in reference
        and parse_number(reference) is not None
        and not _SENTENCE.search(before)
    ):
        first = canonical(before.split("=", 1)[0])
        turned = is_literal(first) and not is_literal(canonical(last)) and parse_number(canonical(last)) is not None
        return (first if turned else canonical(last)), reference  # 56 = 7*8
    return answer, reference


def _one_name(text: str) -> str:
    """``(x,y)=(1,2) or (x,y)=(2,1)`` without the name that each of them has."""
    names = _TUPLE_NAME.findall(text)
    return _TUPLE_NAME.sub("", text) if len(names) > 1 and len(set(names)) == 1 else text


def _align_tuples(answer: str, reference: str) -> tuple[str, str]:
    left, right = _TUPLE_ASSIGNMENT.match(answer), _TUPLE_ASSIGNMENT.match(reference)
    if left and not (right and right.group(1) != left.group(1)):
        answer = left.group(2)
    if right and not (left and left.group(1) != right.group(1)):
        reference = right.group(2)
    if reference.startswith("(") and reference.endswith(")"):
        answer = assigned_tuple(answer) or answer
    elif answer.startswith("(") and answer.endswith(")"):
        reference = assigned_tuple(reference) or reference
    return answer, reference


def _align_intervals(answer: str, reference: str) -> tuple[str, str]:
    """Inequalities become intervals; those of two different variables do not."""
    left, right = as_interval(answer), as_interval(reference)
    if left is None and right is None:
        return answer, reference
    if left and right and left[0] and right[0] and left[0] != right[0]:
        return answer, reference
    return canonical(left[1] if left else answer), canonical(right[1] if right else reference)


def _align_lists(answer: str, reference: str) -> tuple[str, str]:
    """``x = 1, 2`` and ``x = 1, x = 2`` beside ``1, 2``."""
    parts = [split(JOINT.sub(", ", text)) or [text] for text in (answer, reference)]
    names = {re.split(r"[_(]", m.group(1))[0] for side in parts for part in side if (m := _ASSIGNMENT.match(part))}
    if len(names) != 1:
        return answer, reference
    given, wanted = (
        ", ".join(m.group(2) if (m := _ASSIGNMENT.match(part)) else part for part in side) for side in parts
    )
    return given, wanted


def _collection(text: str) -> Collection | None:
    found = parse_collection(text)
    return None if found is not None and found.kind == "list" and _is_grouped(text) else found


def _unwrapped(found: Collection | None, text: str) -> str:
    """The only item of a list of one; anything else as it is."""
    return found.items[0] if found is not None and _is_one(found) else text


def _is_one(found: Collection | None) -> bool:
    return found is not None and found.kind == "list" and len(found.items) == 1 and found.items[0] != r"\emptyset"


def _same_items(left: Collection, right: Collection, oracle: Oracle, rules: Rules) -> bool:
    if _kind(left, right) != _kind(right, left) or len(left.items) != len(right.items) or len(left.items) > MAX_ITEMS:
        return False
    if left.kind not in ("list", "union"):
        return all(compare(a, b, oracle, rules) for a, b in zip(left.items, right.items, strict=True))
    unmatched = list(right.items)
    rest = _take_matches(left.items, unmatched, lambda first, second: False, rules)  # certain pairs need no oracle
    return not _take_matches(rest, unmatched, oracle, rules)


def _kind(of: Collection, beside: Collection) -> str:
    """A column beside a tuple is a vector, as the tuple is."""
    return "()" if of.kind == f"matrix {len(of.items)}x1" and beside.kind == "()" else of.kind


def _ask_whole(left: Collection, right: Collection, answer: str, reference: str, oracle: Oracle) -> bool:
    """Unions may be cut in other places; everything else was decided part by part."""
    return "union" in (left.kind, right.kind) and oracle(answer, reference)


def _take_matches(items: Sequence[str], others: list[str], oracle: Oracle, rules: Rules) -> list[str]:
    """The items that equal none of the others; every other that was matched is taken out."""
    left_over = []
    for item in items:
        match = next((other for other in others if compare(item, other, oracle, rules)), None)
        if match is None:
            left_over.append(item)
        else:
            others.remove(match)
    return left_over


def _same_in_base(answer: str, left: Number, right: Number) -> bool:
    """The same value, each in a base; or, without a base, the same digits."""
    if left.unit and right.unit:
        return left.value == right.value
    return not left.unit and answer == _digits_of(right)


def _is_other_base(text: str, number: Number | None) -> bool:
    """``52_3`` beside ``52_8``: digits that its base does not have, so no number and no formula either."""
    return number is not None and "base" in number.unit and in_base_form(text)


def _digits_of(number: Number) -> str:
    value, base, digits = abs(int(number.value)), int(number.unit.split()[1]), ""
    while value:
        value, digit = divmod(value, base)
        digits = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ"[digit] + digits
    return ("-" if number.value < 0 else "") + (digits or "0")


def _is_single(text: str) -> bool:
    return parse_number(text) is not None or is_words(text)


def _is_grouped(text: str) -> bool:
    """``1,234 apples``: its commas group the digits of one number."""
    text = JOINT.sub(", ", text)
    return "," in text and "," not in strip_marks(text)[0]


def _grouped_out(text: str) -> str:
    return re.sub(r"(?<=[0-9]),(?=[0-9]{3}(?![0-9]))", "", text)
