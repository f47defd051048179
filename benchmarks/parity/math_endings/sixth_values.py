"""A sixth set of endings: values and notations, each right and wrong."""

from __future__ import annotations

import random

from benchmarks.parity.math_endings.base import Maker, Rows, fill, lines, numbers


def choices_abroad_and_lower_case(chance: random.Random) -> Rows:
    for template in lines(r"""
正确答案是@c
选@c
应选(@c)
所以选项@c正确。
答案为@c。
La respuesta correcta es la @c.
Die richtige Antwort ist @c.
La bonne réponse est @c.
Правильный ответ: @c
La risposta corretta è @c.
A alternativa correta é @c.
정답은 @c입니다.
答えは@cです。
Prawidłowa odpowiedź: @c
The answer is (@l).
The answer is @l).
Answer: (@l)
\boxed{(@l)}
The correct option is (@l).
\boxed{\text{(@l)}}
A is too small and B too large; the answer is @c.
Options: A) 3 B) 5 C) 7 D) 9 E) 11⏎⏎The answer is @c.
A. 3⏎B. 5⏎C. 7⏎D. 9⏎E. 11⏎⏎Answer: @c
(A) 3 (B) 5 (C) 7 (D) 9 (E) 11⏎So \boxed{\text{(@c)}}.
The first option fails. Therefore the answer is **@c**.
This corresponds to option @c.
This matches choice (@c).
Thus the answer is $\textbf{(@c)}\ 12$.
Thus the answer is $\boxed{\textbf{(@c)}\ \frac{1}{2}}$.
So the correct answer is @c. \frac{1}{2}
"""):
        c, d = chance.sample("ABCDE", 2)
        yield fill(template, c=c, l=c.lower()), c, True
        yield fill(template, c=c, l=c.lower()), d, False


def yes_no_and_words(chance: random.Random) -> Rows:
    for template in lines(r"""
@y, it is.
@y.
The answer is @y.
**@y**
@y, because 5 divides 10.
Therefore, the answer is @y.
\boxed{\text{@y}}
<answer>@y</answer>
Answer: @y, since both sides agree.
#### @y
So the answer is **@y**.
Final answer: @y
"""):
        for said, reference in [
            ("Yes", "yes"),
            ("No", "no"),
            ("True", "true"),
            ("False", "false"),
            ("yes", "Yes"),
            ("no", "No"),
        ]:
            yield fill(template, y=said), reference, True
            yield (
                fill(template, y=said),
                {"yes": "no", "no": "yes", "true": "false", "false": "true"}[reference.lower()],
                False,
            )
    for template in lines(r"""
The winner is @t.
So @t is the answer.
Therefore, @t finished first. The answer is @t.
\boxed{\text{@t}}
The correct answer is: **@t**
Answer: \text{@t}
It must be @t.
"""):
        for one, other in [("Alice", "Bob"), ("Monday", "Sunday"), ("green", "blue"), ("rhombus", "kite")]:
            yield fill(template, t=one), one, True
            yield fill(template, t=one), other, False


def solution_families_and_functions(chance: random.Random) -> Rows:
    for _ in range(5):
        a, b = chance.sample([2, 3, 4, 5, 6, 7], 2)
        same = [
            (f"f(x) = {a}x + {b}", f"{a}x+{b}"),
            (f"y = {a}x + {b}", f"y={b}+{a}x"),
            (f"x = \\frac{{\\pi}}{{{a}}} + k\\pi", f"x=\\frac{{\\pi}}{{{a}}}+\\pi k"),
            (f"{a}x^2y", f"{a}yx^2"),
            (f"{a}ab", f"{a}ba"),
            (f"{a}^{{{b}x}}", f"{a}^{{{b}x}}"),
            (f"\\frac{{{a}}}{{x-{b}}}", f"-\\frac{{{a}}}{{{b}-x}}"),
            (f"\\frac{{{a}x}}{{{b}}}", f"\\frac{{{a}}}{{{b}}}x"),
            (f"{a}\\ln x", f"{a}\\ln(x)"),
            (f"{a}\\cos(x)", f"{a}\\cos x"),
            (f"\\frac{{{a}\\sqrt{{3}}}}{{3}}", f"\\frac{{{a}}}{{\\sqrt{{3}}}}"),
            (f"x^{{{a}/11}}", f"\\sqrt[11]{{x^{a}}}"),
            (f"(x+{a})^2+{b}", f"{b}+(x+{a})^2"),
            (f"{a}+{b}i", f"{b}i+{a}"),
            (f"|{a}x|", f"{a}|x|"),
            (f"{a}\\sin(2x)", f"{2 * a}\\sin x\\cos x"),
        ]
        for one, other in same:
            yield f"\\boxed{{{one}}}", other, True
            yield f"The answer is ${one}$.", other, True
        differ = [
            (f"f(x) = {a}x + {b}", f"{b}x+{a}"),
            (f"x = \\frac{{\\pi}}{{{a}}} + 2k\\pi", f"x=\\frac{{\\pi}}{{{a}}}+\\pi k"),
            (f"{a}x^2y", f"{a}xy^2"),
            (f"{a}^{{{b}x}}", f"{a}^{{{b + 1}x}}"),
            (f"\\frac{{{a}}}{{x-{b}}}", f"\\frac{{{a}}}{{{b}-x}}"),
            (f"{a}\\cos(x)", f"{a}\\sin(x)"),
            (f"\\frac{{{a}\\sqrt{{3}}}}{{3}}", f"\\frac{{{a}\\sqrt{{3}}}}{{2}}"),
            (f"x^{{{a}/{b}}}", f"x^{{{b}/{a}}}"),
            (f"{a}+{b}i", f"{a}-{b}i"),
            (f"{a}\\sin(2x)", f"{a}\\sin x\\cos x"),
            (f"\\sqrt{{{a}x}}", f"{a}\\sqrt{{x}}"),
        ]
        for one, other in differ:
            yield f"\\boxed{{{one}}}", other, False
            yield f"The answer is ${one}$.", other, False


def decimals_and_percents(chance: random.Random) -> Rows:
    for _ in range(8):
        n, d = chance.randint(2, 90), chance.randint(1, 9)
        for text in [f"{n}.{d}0", f"{n}.{d}", f"0{n}.{d}", f"{n}.{d}00", f"${n}.{d}$", f"+{n}.{d}", f"\\${n}.{d}0"]:
            yield f"\\boxed{{{text}}}", f"{n}.{d}", True
            yield f"The answer is {text}.", f"{n}.{d}", True
        for text in [f"{n}.0{d}", f"{n}{d}", f"-{n}.{d}", f"{n}.{d}1", f"{n}"]:
            yield f"\\boxed{{{text}}}", f"{n}.{d}", False
        for text in [
            f"{n}%",
            f"{n} percent",
            f"{n}\\%",
            f"{n} per cent",
            f"{n}.0%",
            f"{n} \\%",
            f"{n}\\text{{ percent}}",
        ]:
            yield f"\\boxed{{{text}}}", f"{n}\\%", True
            yield f"The answer is {text}.", f"{n}\\%", True
        yield f"\\boxed{{{n + 1}\\%}}", f"{n}\\%", False
        yield f"\\boxed{{{n}0\\%}}", f"{n}\\%", False


def negative_fractions(chance: random.Random) -> Rows:
    for _ in range(6):
        a, b = chance.choice([(1, 2), (3, 4), (2, 5), (7, 8), (5, 2), (9, 4)])
        for text in [
            f"-\\frac{{{a}}}{{{b}}}",
            f"\\frac{{-{a}}}{{{b}}}",
            f"\\frac{{{a}}}{{-{b}}}",
            f"-{a}/{b}",
            f"-{a / b}",
            f"−{a}/{b}",
            f"\\left(-\\frac{{{a}}}{{{b}}}\\right)",
            f"- \\frac{{{a}}}{{{b}}}",
            f"-\\dfrac{a}{b}",
            f"\\frac{{{-a}}}{b}",
            f"-({a}/{b})",
            f"(-{a})/{b}",
            f"-\\frac{{{2 * a}}}{{{2 * b}}}",
        ]:
            yield f"\\boxed{{{text}}}", f"-\\frac{{{a}}}{{{b}}}", True
            yield f"\\boxed{{{text}}}", f"\\frac{{{a}}}{{{b}}}", False
            yield f"The answer is ${text}$.", f"-\\frac{{{a}}}{{{b}}}", True
        yield f"The answer is -{a}/{b}.", f"-\\frac{{{a}}}{{{b}}}", True
        yield f"The answer is –{a}/{b}.", f"\\frac{{{a}}}{{{b}}}", False


def units_spelled_differently(chance: random.Random) -> Rows:
    rows = [
        ("square centimeters", "\\text{ cm}^2", "\\text{ cm}"),
        ("km/h", "\\text{ km/h}", "\\text{ m/s}"),
        ("cubic meters", "\\text{ m}^3", "\\text{ m}^2"),
        ("m^3", "\\text{ cubic meters}", "\\text{ meters}"),
        ("miles per hour", "\\text{ mph}", "\\text{ km/h}"),
        ("feet", "\\text{ ft}", "\\text{ in}"),
        ("ft", "\\text{ feet}", "\\text{ inches}"),
        ("seconds", "\\text{ s}", "\\text{ min}"),
        ("hrs", "\\text{ hours}", "\\text{ minutes}"),
        ("grams", "\\text{ g}", "\\text{ kg}"),
        ("L", "\\text{ liters}", "\\text{ mL}"),
        ("sq. ft", "\\text{ square feet}", "\\text{ feet}"),
    ]
    for unit, same, other in rows:
        for template in ["The answer is @n @u.", "Answer: @n @u", "\\boxed{@n\\text{ @u}}"]:
            n = chance.randint(11, 99)
            yield fill(template, n=n, u=unit), f"{n}{same}", True
            yield fill(template, n=n, u=unit), f"{n}{other}", False
            yield fill(template, n=n, u=unit), f"{n + 1}{same}", False


def congruences_and_approximations(chance: random.Random) -> Rows:
    for _ in range(6):
        n, w = numbers(chance, 2)
        yield f"\\boxed{{{n} \\pmod{{{n + 7}}}}}", str(n), True
        yield f"\\boxed{{x \\equiv {n} \\pmod{{{n + 7}}}}}", f"x \\equiv {n} \\pmod{{{n + 7}}}", True
        yield f"\\boxed{{x \\equiv {n} \\pmod{{{n + 7}}}}}", f"x \\equiv {w} \\pmod{{{n + 7}}}", False
        yield f"\\boxed{{\\frac{{{2 * n + 1}}}{{2}} = {n}.5}}", f"{n}.5", True
        yield f"\\boxed{{\\frac{{{3 * n + 1}}}{{3}} \\approx {n}.33}}", f"\\frac{{{3 * n + 1}}}{{3}}", True
        yield f"\\boxed{{{n} \\approx {w}}}", str(w), False
        yield f"\\boxed{{\\approx {n}}}", str(n), True
        yield f"The answer is approximately {n}.", str(n), True
        yield f"The answer is about {n}.", str(n), True
        yield f"The answer is roughly {n}.", str(n + 1), False


def inequalities_in_sentences(chance: random.Random) -> Rows:
    for _ in range(5):
        a = chance.randint(-9, 30)
        b = a + chance.randint(2, 9)
        for text in [
            f"The answer is x ≥ {a}.",
            f"The solution is $x \\ge {a}$.",
            f"So $x \\geq {a}$.",
            f"Answer: [{a}, ∞)",
            f"The solution set is $[{a}, \\infty)$.",
            f"Thus {a} ≤ x.",
            f"\\boxed{{x \\geqslant {a}}}",
            f"\\boxed{{\\{{x \\mid x \\ge {a}\\}}}}",
            f"\\boxed{{\\{{x : x \\ge {a}\\}}}}",
        ]:
            yield text, f"[{a},\\infty)", True
            yield text, f"({a},\\infty)", False
        for text in [
            f"The answer is {a} < x < {b}.",
            f"So ${a} < x < {b}$.",
            f"The solution set is $({a}, {b})$.",
            f"Answer: ({a}, {b})",
            f"\\boxed{{x \\in ({a}, {b})}}",
            f"\\boxed{{{b} > x > {a}}}",
            f"\\boxed{{x > {a} \\text{{ and }} x < {b}}}",
            f"The answer is x ∈ ({a}, {b}).",
        ]:
            yield text, f"({a},{b})", True
            yield text, f"[{a},{b}]", False
            yield text, f"({a},{b + 1})", False


def echoes_in_every_place(chance: random.Random) -> Rows:
    for _ in range(2):
        a, b = chance.sample(range(3, 10), 2)
        for echo, value in [
            (f"{a}*{b}", a * b),
            (f"{a} × {b}", a * b),
            (f"{a} + {b}", a + b),
            (f"{a}^{{{b}}}", a**b),
            (f"\\sqrt{{{a * a}}}", a),
            (f"{a}!", {3: 6, 4: 24, 5: 120, 6: 720, 7: 5040, 8: 40320, 9: 362880}[a]),
            (f"{a}({b})", a * b),
        ]:
            for template in [
                "\\boxed{@e}",
                "The answer is $@e$.",
                "Answer: @e",
                "<answer>@e</answer>",
                "#### @e",
                "\\boxed{x = @e}",
                "\\boxed{@e\\text{ cm}}",
            ]:
                yield template.replace("@e", echo), str(value), False
            yield f"\\boxed{{({echo}, 2)}}", f"({value},2)", False
            yield f"\\boxed{{{echo}, 1000}}", f"{value},1000", False
            yield f"\\boxed{{{echo} = {value}}}", str(value), True
            yield f"\\boxed{{{echo}}}", echo, True
            yield f"\\boxed{{x > {echo}}}", f"x>{value}", False


def lists_and_hedges_of_formulas(chance: random.Random) -> Rows:
    for _ in range(4):
        a, b, p = chance.sample([2, 3, 5, 7, 11, 13], 3)
        one, two = f"\\frac{{{a}}}{{{p}}}", f"\\sqrt{{{b}}}"
        for text in [
            f"\\boxed{{{one}}} or \\boxed{{{two}}}",
            f"\\boxed{{{one} \\text{{ or }} {two}}}",
            f"The answer is ${one}$ or ${two}$.",
            f"$\\boxed{{{one}}}$, $\\boxed{{{two}}}$",
            f"The answer is either ${one}$ or ${two}$.",
            f"\\boxed{{{one}}}, or maybe \\boxed{{{two}}}",
        ]:
            yield text, one, False
            yield text, two, False
            yield text, f"{one}, {two}", True
            yield text, f"{two}, {one}", True
        yield f"\\boxed{{\\left\\{{{one}, {two}\\right\\}}}}", f"{two}, {one}", True
        yield f"\\boxed{{x = {one} \\text{{ or }} x = {two}}}", f"{one}, {two}", True
        yield f"\\boxed{{({one}, {two})}}", f"\\left({one},{two}\\right)", True
        yield f"\\boxed{{({two}, {one})}}", f"\\left({one},{two}\\right)", False
        yield f"The solutions are ${one}$ and ${two}$.", f"{one}, {two}", True
        yield f"The solutions are $x={one}$ and $x={two}$.", f"{one},{two}", True
        yield f"The solutions are ${one}$ and ${two}$.", f"{one}", False


KINDS: dict[str, Maker] = {
    "choices abroad and lower case": choices_abroad_and_lower_case,
    "yes no and words": yes_no_and_words,
    "solution families and functions": solution_families_and_functions,
    "decimals and percents": decimals_and_percents,
    "negative fractions": negative_fractions,
    "units spelled differently": units_spelled_differently,
    "congruences and approximations": congruences_and_approximations,
    "inequalities in sentences": inequalities_in_sentences,
    "echoes in every place": echoes_in_every_place,
    "lists and hedges of formulas": lists_and_hedges_of_formulas,
}
