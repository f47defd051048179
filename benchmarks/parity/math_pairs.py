r"""Make the labelled pairs of answers in ``tests/rewards/data/math_pairs.jsonl``: equal and unequal ones, each of a kind.

    python -m benchmarks.parity.math_pairs --math train.parquet --out tests/rewards/data/math_pairs.jsonl

The references are final answers of the MATH training set (hendrycks/math, MIT), read from a parquet file in verl's
layout. A partner comes from the reference by a rule whose label is certain: a rewriting that keeps the meaning (another
notation, an equivalent fraction, terms in another order), or one that changes it (a digit, a sign, a bracket, an item).
No computer algebra system is involved, so the labels do not depend on what they judge.
"""

from __future__ import annotations

import argparse
import json
import random
import re
from collections import Counter
from collections.abc import Callable, Iterator
from fractions import Fraction
from pathlib import Path

PER_RULE = 22

Rule = tuple[str, bool, str, Callable[[re.Match[str], random.Random], str | None]]
FRAC = r"(-?)\\[dt]?frac\{(\d{1,4})\}\{(\d{1,4})\}"


def _other(text: str, chance: random.Random) -> str:
    """One run of digits changed."""
    run = chance.choice(list(re.finditer(r"\d+", text)))
    return text[: run.start()] + str(int(run.group()) + chance.choice((1, 2, 10))) + text[run.end() :]


def _terminates(top: int, bottom: int) -> str | None:
    value = Fraction(top, bottom)
    rest = value.denominator
    for prime in (2, 5):
        while rest % prime == 0:
            rest //= prime
    return format(float(value), ".10f").rstrip("0") if rest == 1 and value.denominator <= 1000 else None


def _mixed(sign: str, top: int, bottom: int) -> str | None:
    whole, rest = divmod(top, bottom)
    return rf"{sign}{whole}\frac{{{rest}}}{{{bottom}}}" if whole and rest else None


def _swap(first: str, second: str) -> str | None:
    return None if first.strip() == second.strip() else f"({second.strip()},{first.strip()})"


def _terms(text: str) -> list[str] | None:
    """Signed terms of a sum without brackets."""
    text = re.sub(r"(?<=[^\s+{(,=-])\s*-\s*", " -", text.replace("+", " +")).strip()
    terms = re.sub(r"([+-])\s+", r"\1", text).split()
    return terms if len(terms) > 1 and all(re.match(r"^[+-]?[0-9A-Za-z]", term) for term in terms) else None


def _reordered(text: str) -> str | None:
    terms = _terms(text)
    if terms is None:
        return None
    return "".join(term if term[0] in "+-" else f"+{term}" for term in reversed(terms)).lstrip("+")


def _flip_term(text: str) -> str | None:
    terms = _terms(text)
    if terms is None:
        return None
    return "".join([*terms[:-1], ("-" if terms[-1][0] == "+" else "+") + terms[-1].lstrip("+-")])


def _turned(text: str, template: str) -> str | None:
    parts = [part.strip() for part in text.split(",")]
    return template.format(", ".join(reversed(parts))) if len(set(parts)) == len(parts) else None


def _inequality(match: re.Match[str]) -> str | None:
    opening, low, high, closing = (group.strip() for group in match.groups())
    left, right = ("<" if opening == "(" else r"\le"), ("<" if closing == ")" else r"\le")
    if r"\infty" in low:
        return None if r"\infty" in high else f"x {right} {high}"
    if r"\infty" in high:
        return f"x > {low}" if opening == "(" else rf"x \ge {low}"
    return f"{low} {left} x {right} {high}"


def _flip_bracket(match: re.Match[str]) -> str | None:
    opening, low, high, closing = match.groups()
    if r"\infty" not in high:
        return f"{opening}{low},{high}{']' if closing == ')' else ')'}"
    return f"{'[' if opening == '(' else '('}{low},{high}{closing}" if r"\infty" not in low else None


def _transposed(body: str) -> str | None:
    rows = [[cell.strip() for cell in row.split("&")] for row in body.split(r"\\")]
    turned = [list(column) for column in zip(*rows, strict=False)]
    inner = r"\\".join("&".join(row) for row in turned)
    return None if turned == rows else rf"\begin{{pmatrix}}{inner}\end{{pmatrix}}"


PAIR = r"(?:\\left)?\(([^,()]+),([^,()]+?)(?:\\right)?\)"
INTERVAL = r"([\[(])([^,()\[\]]+),([^,()\[\]]+)([\])])"
IN_X = r"((?:\(-\\infty|\[[^,()\[\]]+),[^,()\[\]]+[\])])"
MATRIX = r"\s*\\begin\{pmatrix\}(.*)\\end\{pmatrix\}\s*"
POLY = r"[-+0-9a-z^{} ]*[a-z]\^?[-+0-9a-z^{} ]*[+-][-+0-9a-z^{} ]*"
LIST = r"(?!\d{1,3}(?:,\d{3})+$)(-?\d+(?:, ?-?\d+){1,4})"  # 31,250 is one number
DEGREES, PERCENT, MONEY = r"([\d.]+?)\^\{?\\circ\}?\.?", r"([\d.]+) ?\\%", r"\\\$ ?([\d.]+)"
ROOT, CHOICE, WORD = r"(\d{1,2}) ?\\sqrt\{(\d{1,3})\}", r"(?:\\text\{)?\(?([A-E])\)?\}?", r"\\text\{([A-Za-z]{3,})\}"
MEASURE = r"\\(?:text|mbox)\{ ?(?:cm|inches|feet|miles|days|hours)\}"
UNIT = r"\\(?:text|mbox)\{ ?[a-z. ]+\}"

# (kind, equal?, what a reference must look like, its partner)
RULES: list[Rule] = [
    ("integer as decimal", True, r"(-?\d{1,6})", lambda m, c: f"{m[1]}.0"),
    ("integer as fraction", True, r"(-?\d{1,6})", lambda m, c: rf"\frac{{{3 * int(m[1])}}}{{3}}"),
    ("integer assigned", True, r"(-?\d{1,6})", lambda m, c: f"x = {m[1]}"),
    ("integer in text", True, r"(-?\d{1,6})", lambda m, c: rf"\text{{{m[1]}}}"),
    ("integer with a unit", True, r"(\d{1,6})", lambda m, c: m[1] + c.choice((r"\text{ cm}", r"\text{ apples}"))),
    ("thousands", True, r"(\d{4,9})", lambda m, c: f"{int(m[1]):,}"),
    ("thousands in TeX", True, r"(\d{4,9})", lambda m, c: f"{int(m[1]):,}".replace(",", "{,}")),
    ("thousands, thin", True, r"([0-9,\\!]*\\!\d{3})", lambda m, c: re.sub(r"[^0-9]", "", m[1])),
    ("scientific", True, r"([1-9])(0{2,9})", lambda m, c: rf"{m[1]} \times 10^{{{len(m[2])}}}"),
    ("root of a square", True, r"([1-9]\d?)", lambda m, c: rf"\sqrt{{{int(m[1]) ** 2}}}"),
    ("sum to work out", True, r"(\d{1,4})", lambda m, c: rf"{m[1]} + 7 - 7"),
    ("another integer", False, r"(-?\d{1,6})", lambda m, c: _other(m[1], c)),
    ("negated", False, r"([1-9]\d*)", lambda m, c: f"-{m[1]}"),
    ("ten times", False, r"([1-9]\d*)", lambda m, c: f"{m[1]}0"),
    ("list that ends with it", False, r"([3-9]|[1-9]\d)", lambda m, c: rf"1, 2, \ldots, {m[1]}"),
    ("repeated", False, r"([1-9]\d?)", lambda m, c: f"{m[1]}, {m[1]}, {m[1]}"),
    ("plus or minus", False, r"([1-9]\d?)", lambda m, c: rf"\pm {m[1]}"),
    ("with a variable", False, r"([2-9]\d?)", lambda m, c: f"{m[1]}x"),
    ("digits apart", False, r"([1-9])(\d{2})", lambda m, c: f"{m[1]} {m[2]}"),
    ("a word", False, r"([1-9]\d?)", lambda m, c: c.choice((r"\text{none}", r"\text{even}", r"\text{no solution}"))),
    ("slash", True, FRAC, lambda m, c: f"{m[1]}{m[2]}/{m[3]}"),
    ("dfrac", True, FRAC, lambda m, c: rf"{m[1]}\dfrac{{{m[2]}}}{{{m[3]}}}"),
    ("not in lowest terms", True, FRAC, lambda m, c: rf"{m[1]}\frac{{{int(m[2]) * 6}}}{{{int(m[3]) * 6}}}"),
    ("mixed number", True, FRAC, lambda m, c: _mixed(m[1], int(m[2]), int(m[3]))),
    ("decimal", True, FRAC, lambda m, c: (d := _terminates(int(m[2]), int(m[3]))) and m[1] + d),
    ("bare arguments", True, r"\\[dt]?frac\{(\d)\}\{(\d)\}", lambda m, c: rf"\frac{m[1]}{m[2]}"),
    ("sign below", True, r"-\\[dt]?frac\{(\d+)\}\{(\d+)\}", lambda m, c: rf"\frac{{{m[1]}}}{{-{m[2]}}}"),
    ("decimal as fraction", True, r"(\d{1,4})\.(\d{1,4})", lambda m, c: rf"\frac{{{m[1]}{m[2]}}}{{{10 ** len(m[2])}}}"),
    ("trailing zero", True, r"(\d{0,4}\.\d{1,4})", lambda m, c: f"{m[1]}0"),
    ("upside down", False, FRAC, lambda m, c: None if m[2] == m[3] else rf"{m[1]}\frac{{{m[3]}}}{{{m[2]}}}"),
    ("another fraction", False, FRAC, lambda m, c: rf"{m[1]}\frac{{{int(m[2]) + 1}}}{{{m[3]}}}"),
    ("two places", False, r"\\[dt]?frac\{(\d+)\}\{(3|7|9|11|13)\}", lambda m, c: f"{int(m[1]) / int(m[2]):.2f}"),
    ("point moved", False, r"(\d{1,3})\.(\d)(\d{1,3})", lambda m, c: f"{m[1]}{m[2]}.{m[3]}"),
    ("whole part lost", False, r"(\d+)\\frac\{(\d+)\}\{(\d+)\}", lambda m, c: rf"\frac{{{m[2]}}}{{{m[3]}}}"),
    ("into the root", True, ROOT, lambda m, c: rf"\sqrt{{{int(m[1]) ** 2 * int(m[2])}}}"),
    ("root first", True, ROOT, lambda m, c: rf"\sqrt{{{m[2]}}}\cdot {m[1]}"),
    ("root without braces", True, r"(\d{1,2}) ?\\sqrt\{(\d)\}", lambda m, c: rf"{m[1]}\sqrt{m[2]}"),
    ("root as a power", True, r"\\sqrt\{(\d{1,4})\}", lambda m, c: rf"{m[1]}^{{1/2}}"),
    ("root below", True, r"\\frac\{\\sqrt\{(\d)\}\}\{\1\}", lambda m, c: rf"\frac{{1}}{{\sqrt{{{m[1]}}}}}"),
    ("another root", False, r"(\d{0,2}) ?\\sqrt\{(\d{1,3})\}", lambda m, c: rf"{m[1]}\sqrt{{{int(m[2]) + 1}}}"),
    ("root lost", False, ROOT, lambda m, c: m[1]),
    ("pi first", True, r"(\d{1,4}) ?\\pi", lambda m, c: rf"\pi \cdot {m[1]}"),
    ("pi beside", True, r"\\frac\{(\d+) ?\\pi\}\{(\d+)\}", lambda m, c: rf"\frac{{{m[1]}}}{{{m[2]}}}\pi"),
    ("pi as a letter", True, r"(\d{1,4}) ?\\pi", lambda m, c: f"{m[1]}π"),
    ("pi lost", False, r"(\d{1,4}) ?\\pi", lambda m, c: m[1]),
    ("pi to two places", False, r"(\d{1,2}) ?\\pi", lambda m, c: f"{int(m[1]) * 3.14:.2f}"),
    ("degree sign dropped", True, DEGREES, lambda m, c: m[1]),
    ("degrees in words", True, DEGREES, lambda m, c: rf"{m[1]}\text{{ degrees}}"),
    ("other degrees", False, r"(\d+)\^\{?\\circ\}?\.?", lambda m, c: rf"{int(m[1]) + 10}^\circ"),
    ("percent dropped", True, PERCENT, lambda m, c: m[1]),
    ("percent worked out", True, PERCENT, lambda m, c: f"{float(m[1]) / 100:.8f}".rstrip("0")),
    ("other percent", False, r"(\d+)(?:\.\d+)? ?\\%", lambda m, c: rf"{int(m[1]) + 1}\%"),
    ("ten times the percent", False, r"(\d+) ?\\%", lambda m, c: rf"{m[1]}0\%"),
    ("money in words", True, MONEY, lambda m, c: rf"{m[1]}\text{{ dollars}}"),
    ("money without a sign", True, MONEY, lambda m, c: m[1]),
    ("other money", False, r"\\\$ ?(\d+)[\d.]*", lambda m, c: rf"\${int(m[1]) + 1}"),
    ("unit dropped", True, rf"([\d.]+) ?{UNIT}(?:\^2)?\.?", lambda m, c: m[1]),
    ("other number, same unit", False, rf"(\d+)( ?{UNIT})\.?", lambda m, c: f"{int(m[1]) + 1}{m[2]}"),
    ("other unit", False, rf"([\d.]+) ?{MEASURE}", lambda m, c: rf"{m[1]}\text{{ kg}}"),
    ("base in braces", True, r"(\d+)_(\d)", lambda m, c: rf"{m[1]}_{{{m[2]}}}"),
    ("other base", False, r"(\d{2,})_\{?([2-8])\}?", lambda m, c: f"{m[1]}_{int(m[2]) + 1}"),
    ("tuple spaced", True, PAIR, lambda m, c: rf"\left( {m[1]}, {m[2]} \right)"),
    ("tuple named", True, r"\((-?\d+),\s*(-?\d+)\)", lambda m, c: f"(x, y) = ({m[1]}, {m[2]})"),
    ("tuple swapped", False, PAIR, lambda m, c: _swap(m[1], m[2])),
    ("tuple longer", False, PAIR, lambda m, c: f"({m[1]},{m[2]},0)"),
    ("tuple, other digit", False, r"(\(-?\d+,\s*-?\d+\))", lambda m, c: _other(m[1], c)),
    ("list turned", True, LIST, lambda m, c: _turned(m[1], "{}")),
    ("list as a set", True, LIST, lambda m, c: _turned(m[1], r"\{{{}\}}")),
    ("list with and", True, r"(?!\d{1,3},\d{3}$)(-?\d+), ?(-?\d+)", lambda m, c: rf"{m[1]} \text{{ and }} {m[2]}"),
    ("list of roots", True, r"(?!\d{1,3},\d{3}$)(-?\d+), ?(-?\d+)", lambda m, c: rf"x = {m[2]} \text{{ or }} x = {m[1]}"),
    ("list shorter", False, LIST, lambda m, c: m[1].rsplit(",", 1)[0]),
    ("list longer", False, LIST, lambda m, c: f"{m[1]}, 1000"),
    ("list, other digit", False, LIST, lambda m, c: _other(m[1], c)),
    ("interval as inequality", True, r"(\[)([^,()\[\]]+),([^,()\[\]]+)(\]|\))", lambda m, c: _inequality(m)),
    ("ray as inequality", True, r"(\()(-\\infty),([^,()\[\]]+)(\]|\))", lambda m, c: _inequality(m)),
    ("in an interval", True, IN_X, lambda m, c: f"x \\in {m[1]}"),
    ("bracket flipped", False, INTERVAL, lambda m, c: _flip_bracket(m)),
    ("union turned", True, r"([^\\]*(?:\\infty)?[^\\]*)\\cup([^\\]*(?:\\infty)?[^\\]*)", lambda m, c: rf"{m[2]} \cup {m[1]}"),
    ("part of a union", False, r"(.*) ?\\cup ?(.*)", lambda m, c: m[1]),
    ("bmatrix", True, MATRIX, lambda m, c: rf"\begin{{bmatrix}}{m[1]}\end{{bmatrix}}"),
    ("matrix packed", True, MATRIX, lambda m, c: r"\begin{pmatrix}" + m[1].replace(" ", "") + r"\end{pmatrix}"),
    ("transposed", False, MATRIX, lambda m, c: _transposed(m[1])),
    ("matrix, other digit", False, rf"({MATRIX})", lambda m, c: _other(m[1], c)),
    ("terms turned", True, rf"({POLY})", lambda m, c: _reordered(m[1])),
    ("a product with one", True, rf"({POLY})", lambda m, c: f"1\\cdot({m[1]})"),
    ("last sign flipped", False, rf"({POLY})", lambda m, c: _flip_term(m[1])),
    ("one more", False, rf"({POLY})", lambda m, c: f"{m[1]} + 1"),
    ("sides swapped", True, r"([^=]*[a-z][^=]*) = ([^=]*)", lambda m, c: f"{m[2]} = {m[1]}"),
    ("equation, one more", False, r"([^=]*[a-z][^=]*) = ([^=]*)", lambda m, c: f"{m[1]} = {m[2]} + 1"),
    ("complex turned", True, r"(-?\d+) ?([+-]) ?(\d+)i", lambda m, c: f"{m[2]}{m[3]}i + {m[1]}".lstrip("+")),
    ("conjugated", False, r"(-?\d+) ?([+-]) ?(\d*)i", lambda m, c: f"{m[1]} {'-' if m[2] == '+' else '+'} {m[3]}i"),
    ("word without markup", True, WORD, lambda m, c: m[1]),
    ("word in lower case", True, WORD, lambda m, c: rf"\text{{{m[1].lower()}}}"),
    ("another word", False, WORD, lambda m, c: r"\text{purple}"),
    ("choice in brackets", True, CHOICE, lambda m, c: f"({m[1]})"),
    ("choice with its text", True, CHOICE, lambda m, c: rf"\textbf{{({m[1]})}}\ 12"),
    ("another choice", False, CHOICE, lambda m, c: chr(ord(m[1]) + 1)),
]  # fmt: skip


def pairs(answers: list[tuple[int, str]], chance: random.Random) -> Iterator[dict[str, object]]:
    """Up to ``PER_RULE`` pairs of every rule, over references drawn without regard to what any verifier says."""
    for kind, equal, pattern, partner in RULES:
        seen: set[str] = set()
        for index, reference in chance.sample(answers, len(answers)):
            match = re.fullmatch(pattern, reference) if reference not in seen else None
            answer = partner(match, chance) if match is not None else None
            if not answer or answer == reference:
                continue
            seen.add(reference)
            source = f"math/train/{index}"
            yield {"answer": answer, "reference": reference, "equal": equal, "kind": kind, "source": source}
            if len(seen) == PER_RULE:
                break


def main() -> None:
    import pyarrow.parquet as parquet

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--math", type=Path, required=True, help="MATH's training rows, verl's layout")
    parser.add_argument("--out", type=Path, required=True)
    arguments = parser.parse_args()
    rows = parquet.read_table(arguments.math, columns=["reward_model"]).to_pylist()
    answers = [(index, row["reward_model"]["ground_truth"]) for index, row in enumerate(rows)]
    made = list(pairs([(index, text) for index, text in answers if text], random.Random(0)))
    arguments.out.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in made), encoding="utf-8")
    counts = Counter(row["equal"] for row in made)
    print(f"{counts[True]} equal and {counts[False]} unequal pairs in {arguments.out}")


if __name__ == "__main__":
    main()
