"""A seventh set of endings: ways to write values of fifteen types, and values near them."""

from __future__ import annotations

import random

from benchmarks.parity.math_endings.base import Maker, Rows

_SHAPES = ("\\boxed{@t}", "The answer is $@t$.", "Answer: $@t$", "So $x$ is found.\n\n$$\\boxed{@t}$$\n\nDone.")
_TYPES: list[tuple[str, list[str], list[str]]] = [
    (
        r"\frac{3}{7}",
        [
            "3/7",
            r"\frac37",
            r"{3}/{7}",
            r"\frac{3}{7}\text{ of the cake}",
            r"\dfrac{3}{7}.",
            r"\frac {3} {7}",
            r"\frac{6}{14}",
            r"\cfrac{3}{7}",
        ],
        [r"\frac{7}{3}", "3.7", "37", r"\frac{3}{8}", "0.43"],
    ),
    (
        r"2\sqrt{3}",
        [
            r"\sqrt{3}\times2",
            "2 \\sqrt 3",
            "2√3",
            r"2\cdot\sqrt{3}",
            r"2\,\sqrt{3}",
            "2sqrt(3)",
            r"2\sqrt{3}\text{ units}",
            "2*3^{1/2}",
        ],
        [r"3\sqrt{2}", r"\sqrt{6}", "2.3", r"2+\sqrt{3}", r"\frac{2}{\sqrt3}"],
    ),
    (
        r"\frac{\pi}{4}",
        ["π/4", r"\pi/4", r"\frac{1}{4}\pi", r"0.25\pi", r"\frac\pi4", r"\tfrac{\pi}{4}\text{ radians}", "pi/4"],
        [r"\frac{\pi}{2}", r"4\pi", r"\frac{4}{\pi}", r"\frac{1}{4}"],
    ),
    (
        "-7",
        ["−7", "-7.0", "- 7", "(-7)", r"\text{-7}", "x=-7", r"-7\text{ degrees}", "-\\frac{7}{1}"],
        ["7", "-77", "0.7", r"-\frac{1}{7}"],
    ),
    (
        "3x+5",
        ["5+3x", "3x + 5", "3*x+5", "y=3x+5", r"3\cdot x+5", "(3x+5)", r"\left(3x+5\right)", "f(x)=3x+5"],
        ["3x-5", "5x+3", "3x", "8x", "3y+5x"],
    ),
    (
        r"(2,\infty)",
        [
            "x>2",
            r"x \in (2,\infty)",
            r"(2,+\infty)",
            r"\left(2,\infty\right)",
            "(2, ∞)",
            "]2,∞[",
            r"\{x\mid x>2\}",
            "2<x",
        ],
        [r"[2,\infty)", "x<2", r"(-\infty,2)", "(2,3)", "2"],
    ),
    (
        "1,2,3",
        [
            "1, 2, 3",
            "3,2,1",
            r"\{1,2,3\}",
            "1,2, and 3",
            r"1, 2 \text{ and } 3",
            "x=1,2,3",
            "x=1, x=2, x=3",
            r"x\in\{1,2,3\}",
        ],
        ["1,2", "1,2,3,4", "123", "1,2,2", "6"],
    ),
    (
        r"x^2+2x+1",
        ["(x+1)^2", "x^2 + 2x + 1", "1+2x+x^2", r"x^{2}+2x+1", "x*x+2*x+1", "x²+2x+1"],
        ["x^2-2x+1", "(x+1)^3", "x^2+2x", "x^2+x+1"],
    ),
    (
        "12.5",
        ["12.50", "25/2", r"\frac{25}{2}", r"12\frac{1}{2}", "12 1/2", "\\$12.50", "12.5\\text{ cm}"],
        ["12", "125", "1.25", "12.05"],
    ),
    (
        "10:30",
        ["10:30 am", "10:30 AM", r"10\!:\!30", r"10{:}30", "10:30 a.m.", r"10:30\text{ AM}"],
        ["10:03", "11:30", "1:3", "20:60"],
    ),
    (
        r"\text{Friday}",
        ["Friday", "friday", r"\textbf{Friday}", r"\text{on Friday}", r"\mathrm{Friday}", "FRIDAY"],
        ["Monday", "Fri 3", r"\text{Sunday}"],
    ),
    ("1:4", ["1 : 4", "2:8", r"1\text{ to }4", r"\frac14", "1/4", "0.25"], ["4:1", "1:5", "14", "1.4"]),
    ("5+12i", ["12i+5", r"5+12\cdot i", "5 + 12i", "z=5+12i", "5+12 i"], ["5-12i", "12+5i", "17i", "5+12"]),
    ("60\\%", ["60%", "60", "60 \\%", "0.6", r"60\text{ percent}", "60 percent"], ["6%", "40%", "0.06", "160"]),
    (
        "4096",
        ["4,096", "4{,}096", "4 096", "4096.0", r"4\,096", "4.096\\times10^3"],
        ["4,906", "496", r"2^{12}", r"8^4", r"64\cdot64"],
    ),
]


def answers_of_types(chance: random.Random) -> Rows:
    for reference, right, wrong in _TYPES:
        for shape in _SHAPES:
            yield from ((shape.replace("@t", text), reference, text in right) for text in [*right, *wrong])


KINDS: dict[str, Maker] = {"answers of types": answers_of_types}
