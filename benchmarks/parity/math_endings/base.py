"""How templates become rows: completion, reference, and whether the two are equal."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator

Row = tuple[str, str, bool]
Rows = Iterator[Row]
Maker = Callable[[random.Random], Rows]

_THOUGHTS = (
    "We have @u + @v = @s, so this is settled.\n",
    "First, there are @u of them, and @v more come later.\n\n",
    "Let me think step by step. The first part gives $@u$ and the second $@v$. ",
    "Step 1: multiply @u by 2.\nStep 2: subtract @v.\n",
    "",
)


def fill(template: str, **values: object) -> str:
    """``str.format`` would read TeX's braces."""
    for name, value in values.items():
        template = template.replace("@" + name, str(value))
    return template


def lines(text: str) -> list[str]:
    """The templates of a block: one a line, ``⏎`` for a line break."""
    return [line.replace("⏎", "\n") for line in text.strip("\n").split("\n")]


def numbers(chance: random.Random, count: int, low: int = 11, high: int = 99) -> list[int]:
    return chance.sample(range(low, high), count)


def thought(chance: random.Random, avoid: tuple[int, ...]) -> str:
    """A step before the answer, with numbers that are none of its own."""
    u, v = chance.sample([number for number in range(101, 199) if number not in avoid], 2)
    return fill(chance.choice(_THOUGHTS), u=u, v=v, s=u + v)


def sentences(chance: random.Random, templates: str) -> Rows:
    """Each template once with its answer as the reference, and once with another number of the text, or one near it."""
    for template in lines(templates):
        n, w = numbers(chance, 2)
        text = thought(chance, (n, w)) + fill(template, n=n, w=w)
        yield text, str(n), True
        yield text, str(w if "@w" in template else n + chance.choice([-10, -1, 1, 10, 100])), False


def never(chance: random.Random, templates: str) -> Rows:
    """No number of the template is an answer."""
    for template in lines(templates):
        a, n = sorted(numbers(chance, 2))
        text = thought(chance, (a, n)) + fill(template, a=a, b=n, n=n)
        yield from ((text, str(wrong), False) for wrong in (a, n))


def sums(chance: random.Random, templates: str) -> Rows:
    """``@p + @q = @n``."""
    for template in lines(templates):
        n = chance.randint(40, 99)
        p = chance.randint(11, n - 11)
        text = fill(template, n=n, p=p, q=n - p)
        yield text, str(n), True
        yield text, str(p), False
