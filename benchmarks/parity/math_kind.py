r"""One kind of statement for ``math_templates``: its templates, and how a value and steps are put into them.

``{a}`` is the answer in prose, ``{t}`` in TeX, ``{d}`` and ``{e}`` the other value in prose and in TeX, ``{s}`` steps with
other numbers (and the other value), ``{p}`` and ``{q}`` two numbers whose sum is the answer where it is a whole number.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass

from benchmarks.parity.math_values import NAMES, Value

_STEPS = (
    "We start with {p} and add {q}, which gives {sum}.",
    "First, {p} + {q} = {sum}.",
    "There are {p} boxes with {q} items each.",
    "Let $x = {p}$ and $y = {q}$; then $x + y = {sum}$.",
    "**Step 1:** compute {p} × {q} = {product}.",
    "Note that {d} is too large, so we go on.",
    "1. Take {p}.\n2. Subtract {q}.\n",
    "The intermediate value is ${e}$.",
    "Substituting, we find \\[ {p} \\cdot {q} = {product}. \\]",
)
_WIDE = str.maketrans("0123456789-=,.()", "０１２３４５６７８９－＝，．（）")


@dataclass(frozen=True, slots=True)
class Kind:
    name: str
    templates: tuple[str, ...]
    of: str = "any"
    never: bool = False  # a hedge: no single value is its answer
    steps: bool = True
    change: Callable[[str], str] = str

    def write(self, value: Value, chance: random.Random) -> str:
        plain, tex = self.change(value.plain), self.change(value.tex)
        fields = {"a": plain, "t": tex, "d": value.other, "e": value.other_tex, "s": _steps(value, chance)}
        if "|" in plain:
            fields["a1"], fields["a2"] = plain.split("|")
            fields["s"] = _steps(Value("", "", "", "17", "17"), chance)
        fields["n"] = chance.choice(NAMES)
        if value.plain.isdigit():  # a sum that is the value at the answer's place
            fields["p"] = str(chance.randrange(1, int(value.plain) + 1))
            fields["q"] = str(int(value.plain) - int(fields["p"]))
        text = chance.choice(self.templates)
        if self.steps and "{s}" not in text and chance.random() < 0.8:
            text = "{s}\n" + text
        return _filled(text, fields)


def _steps(value: Value, chance: random.Random) -> str:
    p, q = chance.sample(range(2, 40), 2)
    numbers = {"p": str(p), "q": str(q), "sum": str(p + q), "product": str(p * q)}
    other = {"d": value.other, "e": value.other_tex}
    other = {key: text for key, text in other.items() if "|" not in text} or {"d": "17", "e": "17"}
    chosen = chance.sample(_STEPS, chance.randrange(1, 4))
    return " ".join(_filled(step, {**numbers, **other}) for step in chosen)


def _filled(text: str, fields: dict[str, str]) -> str:
    """``str.format`` would read TeX's braces."""
    for name, value in fields.items():
        text = text.replace("{" + name + "}", value)
    return text


def full_width(text: str) -> str:
    return text.translate(_WIDE)
