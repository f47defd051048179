r"""Values for ``math_templates``: a reference, how it is written in prose and in TeX, and a wrong one of the same type."""

from __future__ import annotations

import random
from dataclasses import dataclass, replace

LETTERS = "ABCDE"
UNITS = ("cm", "kg", "hours", "apples", "meters", "miles")
NAMES = ("apples", "students", "marbles", "tickets", "books")


@dataclass(frozen=True, slots=True)
class Value:
    """``plain`` and ``tex`` are written at the place of the answer, ``other`` and ``other_tex`` elsewhere in the text."""

    reference: str
    plain: str
    tex: str
    other: str
    other_tex: str

    def swapped(self) -> Value:
        """The wrong value at the answer's place; the right one elsewhere."""
        return replace(self, plain=self.other, tex=self.other_tex, other=self.plain, other_tex=self.tex)


def value_for(of: str, chance: random.Random) -> Value:
    """``of``: ``any``, or the name of one type."""
    return MAKERS[chance.choice(WEIGHTED) if of == "any" else of](chance)


def _integer(chance: random.Random) -> Value:
    first, second = _two(chance)
    return Value(str(first), str(first), str(first), str(second), str(second))


def _large(chance: random.Random) -> Value:
    first, second = chance.sample(range(1_000, 9_999_999), 2)
    return Value(str(first), f"{first:,}", f"{first:,}".replace(",", "{,}"), f"{second:,}", str(second))


def _negative(chance: random.Random) -> Value:
    first, second = _two(chance)
    return Value(f"-{first}", f"-{first}", f"-{first}", f"-{second}", f"-{second}")


def _decimal(chance: random.Random) -> Value:
    first, second = (f"{number // 100}.{number % 100:02d}" for number in chance.sample(range(101, 9_999), 2))
    return Value(first, first, first, second, second)


def _fraction(chance: random.Random) -> Value:
    bottom = chance.choice((7, 11, 13, 17))
    first, second = chance.sample(range(1, bottom), 2)
    return Value(
        rf"\frac{{{first}}}{{{bottom}}}",
        f"{first}/{bottom}",
        rf"\dfrac{{{first}}}{{{bottom}}}",
        f"{second}/{bottom}",
        rf"\frac{{{second}}}{{{bottom}}}",
    )


def _percent(chance: random.Random) -> Value:
    first, second = chance.sample(range(2, 99), 2)
    return Value(rf"{first}\%", f"{first}%", rf"{first}\%", f"{second}%", rf"{second}\%")


def _money(chance: random.Random) -> Value:
    first, second = chance.sample(range(2, 500), 2)
    return Value(str(first), f"${first}", rf"\${first}", f"${second}", rf"\${second}")


def _measure(chance: random.Random) -> Value:
    first, second = _two(chance)
    unit = chance.choice(UNITS)
    return Value(
        rf"{first}\text{{ {unit}}}",
        f"{first} {unit}",
        rf"{first} \text{{ {unit}}}",
        f"{second} {unit}",
        rf"{second}\ \mathrm{{{unit}}}",
    )


def _pair(chance: random.Random) -> Value:
    a, b, c, d = chance.sample(range(-20, 60), 4)
    return Value(f"({a},{b})", f"({a}, {b})", rf"\left({a}, {b}\right)", f"({c}, {d})", f"({c},{d})")


def _root(chance: random.Random) -> Value:
    first, second = chance.sample(range(2, 20), 2)
    base = chance.choice((2, 3, 5, 7))
    return Value(
        rf"{first}\sqrt{{{base}}}",
        f"{first}√{base}",
        rf"{first} \sqrt{base}",
        f"{second}√{base}",
        rf"{second}\sqrt{{{base}}}",
    )


def _choice(chance: random.Random) -> Value:
    first, second = chance.sample(LETTERS, 2)
    return Value(first, f"({first})", rf"\text{{({first})}}", f"({second})", rf"\text{{({second})}}")


def _roots(chance: random.Random) -> Value:
    """Two values, of which the wrong list has one."""
    first, second, third = chance.sample(range(-30, 90), 3)
    return Value(
        f"{first}, {second}", f"{first}|{second}", f"{first}|{second}", f"{first}|{third}", f"{third}|{second}"
    )


def _ordered(chance: random.Random) -> Value:
    first, second, third = chance.sample(range(-30, 90), 3)
    return Value(
        f"({first}, {second})", f"{first}|{second}", f"{first}|{second}", f"{first}|{third}", f"{third}|{second}"
    )


def _word(chance: random.Random) -> Value:
    first, second = chance.sample(("Monday", "Tuesday", "Sunday", "red", "blue", "Alice", "Paris", "hyperbola"), 2)
    return Value(first, first, rf"\text{{{first}}}", second, rf"\text{{{second}}}")


def _yes(chance: random.Random) -> Value:
    first, second = chance.sample(("yes", "no"), 2)
    return Value(first, first.capitalize(), rf"\text{{{first}}}", second.capitalize(), rf"\text{{{second}}}")


def _clock(chance: random.Random) -> Value:
    first, second = (f"{chance.randrange(1, 12)}:{chance.randrange(0, 60):02d}" for _ in range(2))
    return (
        Value(first, first, rf"\text{{{first}}}", second, rf"\text{{{second}}}") if first != second else _clock(chance)
    )


def _power_of_ten(chance: random.Random) -> Value:
    first, second = chance.sample(range(2, 10), 2)
    power = chance.randrange(3, 12)
    return Value(
        rf"{first}.5\times10^{{{power}}}",
        f"{first}.5 x 10^{power}",
        rf"{first}.5 \times 10^{{{power}}}",
        f"{second}.5 x 10^{power}",
        rf"{second}.5 \times 10^{{{power}}}",
    )


def _two(chance: random.Random) -> tuple[int, int]:
    first, second = chance.sample(range(2, chance.choice((12, 60, 999))), 2)
    return first, second


MAKERS = {
    "integer": _integer, "large": _large, "negative": _negative, "decimal": _decimal, "fraction": _fraction,
    "percent": _percent, "money": _money, "measure": _measure, "pair": _pair, "root": _root, "choice": _choice,
    "roots": _roots, "ordered": _ordered, "word": _word, "yes": _yes, "clock": _clock, "power": _power_of_ten,
}  # fmt: skip
WEIGHTED = ["integer"] * 5 + ["large", "negative", "decimal", "fraction", "percent", "money", "measure", "pair", "root"]
