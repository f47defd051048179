"""A fifth set of endings: notations of numbers, intervals and expressions, each right and wrong."""

from __future__ import annotations

import random

from benchmarks.parity.math_endings.base import Maker, Rows, fill, numbers


def inequalities(chance: random.Random) -> Rows:
    for _ in range(8):
        a = chance.randint(-20, 40)
        right = [
            f"\\boxed{{x > {a}}}",
            f"\\boxed{{{a} < x}}",
            f"\\boxed{{({a}, \\infty)}}",
            f"\\boxed{{x \\in ({a}, +\\infty)}}",
            f"The answer is x > {a}.",
            f"\\boxed{{x \\gt {a}}}",
            f"\\boxed{{-2x < {-2 * a}}}",
        ]
        wrong = [
            f"\\boxed{{x \\ge {a}}}",
            f"\\boxed{{x < {a}}}",
            f"\\boxed{{[{a}, \\infty)}}",
            f"\\boxed{{(-\\infty, {a})}}",
            f"The answer is x > {a + 1}.",
            f"\\boxed{{{a}}}",
        ]
        for text in right:
            yield text, f"x > {a}", True
        for text in wrong:
            yield text, f"x > {a}", False
        b = a + chance.randint(2, 9)
        yield f"\\boxed{{{a} \\le t \\le {b}}}", f"t \\in [{a},{b}]", True
        yield f"\\boxed{{{a} < t \\le {b}}}", f"({a},{b}]", True
        yield f"\\boxed{{{b} \\geq t > {a}}}", f"({a},{b}]", True
        yield f"\\boxed{{{a} \\le t < {b}}}", f"t \\in [{a},{b}]", False


def intervals(chance: random.Random) -> Rows:
    for _ in range(10):
        a = chance.randint(-20, 20)
        b = a + chance.randint(2, 9)
        yield f"\\boxed{{({a},{b})}}", f"({a},{b})", True
        yield f"\\boxed{{]{a},{b}[}}", f"({a},{b})", True
        yield f"\\boxed{{\\left[{a}, {b}\\right)}}", f"[{a},{b})", True
        yield f"\\boxed{{[{a}, {b}[}}", f"[{a},{b})", True
        yield f"The answer is $[{a}, {b}]$.", f"[{a},{b}]", True
        yield f"\\boxed{{[{a},{b}]}}", f"[{a},{b})", False
        yield f"\\boxed{{]{a},{b}[}}", f"[{a},{b}]", False
        yield f"\\boxed{{(-\\infty, {a}) \\cup ({b}, \\infty)}}", f"(-\\infty,{a})\\cup({b},\\infty)", True
        yield f"\\boxed{{({b}, \\infty) \\cup (-\\infty, {a})}}", f"(-\\infty,{a})\\cup({b},\\infty)", True
        yield f"\\boxed{{x < {a} \\text{{ or }} x > {b}}}", f"(-\\infty,{a})\\cup({b},\\infty)", True
        yield f"\\boxed{{(-\\infty, {a}] \\cup ({b}, \\infty)}}", f"(-\\infty,{a})\\cup({b},\\infty)", False
        yield f"\\boxed{{({a},{b})}}", f"(-\\infty,{a})\\cup({b},\\infty)", False
        yield f"\\boxed{{({a / 2},{b / 2 + 0.5})}}", f"(\\frac{{{a}}}{{2}}, \\frac{{{b + 1}}}{{2}})", True


def scientific(chance: random.Random) -> Rows:
    for _ in range(6):
        m, e = chance.randint(11, 99) / 10, chance.choice([3, 4, 5, 6, 7, 8])
        value = str(round(m * 10**e))
        for shape in [
            "@m \\times 10^{@e}",
            "@m\\times10^{@e}",
            "@m \\cdot 10^{@e}",
            "@m*10^@e",
            "@m x 10^@e",
            "@me@e",
            "@mE+0@e",
            "@m × 10^@e",
            "@m*10**@e",
            "@m \\ast 10^@e",
            "@m \\times {10}^{@e}",
        ]:
            text = (
                fill(shape, m=m, e=e).replace(f"{m}{e}", f"{m}e{e}")
                if shape == "@me@e"
                else fill(shape.replace("@mE", "@m" + "E"), m=m, e=e)
            )
            yield f"\\boxed{{{text}}}", value, True
            yield f"The answer is {text}.", value + "0", False
            yield f"\\boxed{{{text}}}", fill("@m\\times10^{@e}", m=m, e=e), True
            yield f"\\boxed{{{text}}}", fill("@m\\times10^{@e}", m=m, e=e + 1), False
    for _ in range(6):
        m, e = chance.randint(2, 9), chance.choice([2, 3, 4, 5])
        yield f"The answer is $ {m} \\times 10^{{-{e}}} $.", f"0.{'0' * (e - 1)}{m}", True
        yield f"\\boxed{{{m}.5 \\times 10^{{{e}}} \\text{{ J}}}}", f"{m}5{'0' * (e - 1)}\\text{{ J}}", True
        yield f"\\boxed{{{m} \\times 10^{{-{e}}}}}", f"0.{'0' * e}{m}", False


def function_names(chance: random.Random) -> Rows:
    pairs = [
        ("exp(@a) - @b", "e^{@a}-@b"),
        ("abs(x-@a)", "|x-@a|"),
        ("atan(@a)", "\\arctan(@a)"),
        ("acos(x)", "\\arccos x"),
        ("log10(@a)", "\\log_{10} @a"),
        ("log2(@a)", "\\log_2 @a"),
        ("ln(@a)", "\\ln @a"),
        ("cbrt(@a)", "\\sqrt[3]{@a}"),
        ("sqrt(@a)", "\\sqrt{@a}"),
        ("sec(x)", "\\sec x"),
        ("sinh(x)+@a", "\\sinh(x)+@a"),
        ("floor(x)+@a", "\\lfloor x\\rfloor+@a"),
        ("ceil(x)-@a", "\\lceil x \\rceil-@a"),
        ("binomial(n,@a)", "\\binom{n}{@a}"),
        ("theta + @a", "\\theta+@a"),
        ("alpha + @a*beta", "\\alpha+@a\\beta"),
        ("sin(theta)", "\\sin\\theta"),
        ("pi/@a", "\\frac{\\pi}{@a}"),
        ("@a*pi", "@a\\pi"),
        ("sqrt(@a)/@b", "\\frac{\\sqrt{@a}}{@b}"),
        ("@b*sqrt(@a)", "@b\\sqrt{@a}"),
        ("x**@a", "x^{@a}"),
        ("x^@a", "x^{@a}"),
        ("(x+@a)/(x-@b)", "\\frac{x+@a}{x-@b}"),
        ("cos(x)^2", "\\cos^2 x"),
        ("√@a", "\\sqrt{@a}"),
        ("@bπ", "@b\\pi"),
        ("x² + @a", "x^2+@a"),
        ("-∞", "-\\infty"),
        ("asin(x)", "\\sin^{-1} x"),
        ("e^(@a*x)", "e^{@ax}"),
        ("exp(-x)", "e^{-x}"),
        ("1/(@a*x)", "\\frac{1}{@ax}"),
    ]
    for plain, tex in pairs:
        a, b = chance.sample([2, 3, 5, 7, 11, 13], 2)
        one, other = fill(plain, a=a, b=b), fill(tex, a=a, b=b)
        for shape in ["The answer is @t", "\\boxed{@t}", "Answer: @t"]:
            yield shape.replace("@t", one), other, True
        if other != fill(tex, a=a + 1, b=b + 1):
            yield f"\\boxed{{{one}}}", fill(tex, a=a + 1, b=b + 1), False


def fractions_and_decimals(chance: random.Random) -> Rows:
    for _ in range(12):
        n, d = chance.choice([(3, 4), (5, 8), (7, 20), (9, 4), (7, 5), (11, 8), (13, 16), (21, 25)])
        value = n / d
        fraction = f"\\frac{{{n}}}{{{d}}}"
        for text in [
            f"\\boxed{{{n}/{d}}}",
            f"\\boxed{{\\dfrac{{{n}}}{{{d}}}}}",
            f"\\boxed{{{value}}}",
            f"The answer is {n}/{d}.",
            f"The answer is ${n}/{d}$.",
            f"\\boxed{{\\tfrac{{{n}}}{{{d}}}}}",
            f"\\boxed{{\\nicefrac{{{n}}}{{{d}}}}}",
            f"\\boxed{{{n} \\over {d}}}",
            f"\\boxed{{{n}\\,/\\,{d}}}",
            f"#### {n}/{d}",
            f"\\boxed{{\\frac{{{n}}}{{{d}}} = {value}}}",
        ]:
            yield text, fraction, True
        for text in [
            f"\\boxed{{{d}/{n}}}",
            f"\\boxed{{\\frac{{{n + 1}}}{{{d}}}}}",
            f"\\boxed{{-\\frac{{{n}}}{{{d}}}}}",
            f"\\boxed{{{n}}}",
            f"The answer is {n}/{d + 1}.",
        ]:
            yield text, fraction, False
    for _ in range(6):
        k, n, d = chance.randint(1, 9), 1, chance.choice([2, 4, 5])
        improper = f"\\frac{{{k * d + n}}}{{{d}}}"
        for text in [
            f"\\boxed{{{k}\\frac{{{n}}}{{{d}}}}}",
            f"\\boxed{{{k} \\frac{n}{d}}}",
            f"The answer is {k} {n}/{d}.",
            f"\\boxed{{{k + n / d}}}",
        ]:
            yield text, improper, True
        yield f"\\boxed{{{k}\\frac{{{n}}}{{{d}}}}}", f"\\frac{{{k * n}}}{{{d}}}" if k * n != k * d + n else "7", False
    for text, ref, right in [
        ("0.333", "\\frac13", False),
        ("0.333...", "\\frac{1}{3}", True),
        ("0.\\overline{3}", "\\frac{1}{3}", True),
        ("0.\\dot{3}", "\\frac13", True),
        ("0.(3)", "\\frac{1}{3}", True),
        ("0.\\overline{6}", "\\frac23", True),
        ("0.3", "\\frac13", False),
        ("0.\\overline{27}", "\\frac{3}{11}", True),
        ("0.\\bar{3}", "\\frac13", True),
        (".5", "\\frac12", True),
        ("5.0", "5", True),
        ("05", "5", True),
    ]:
        yield f"\\boxed{{{text}}}", ref, right


def polynomials(chance: random.Random) -> Rows:
    for _ in range(8):
        a, b, c = chance.randint(2, 9), chance.randint(2, 9), chance.randint(2, 20)
        ref = f"{a}x^2-{b}x+{c}"
        for text in [
            f"\\boxed{{{a}x^2 - {b}x + {c}}}",
            f"\\boxed{{{c} - {b}x + {a}x^2}}",
            f"\\boxed{{{a}x^{{2}}-{b}x+{c}}}",
            f"The answer is {a}x^2 - {b}x + {c}.",
            f"\\boxed{{f(x) = {a}x^2 - {b}x + {c}}}",
            f"\\boxed{{{a}*x**2 - {b}*x + {c}}}",
            f"\\boxed{{{a}x² − {b}x + {c}}}",
            f"\\boxed{{y={a}x^2-{b}x+{c}}}",
        ]:
            yield text, ref, True
        for text in [
            f"\\boxed{{{a}x^2 + {b}x + {c}}}",
            f"\\boxed{{{a}x^2 - {b}x}}",
            f"\\boxed{{{a}x^3 - {b}x + {c}}}",
            f"\\boxed{{{a}y^2 - {b}y + {c}}}",
            f"The answer is {b}x^2 - {a}x + {c + 1}.",
            f"\\boxed{{{c}}}",
        ]:
            yield text, ref, False
        yield f"\\boxed{{(x-{a})(x+{b})}}", f"(x+{b})(x-{a})", True
        yield f"\\boxed{{(x-{a})(x+{b})}}", f"(x+{a})(x-{b + 10})", False


def radicals_and_constants(chance: random.Random) -> Rows:
    for _ in range(8):
        a, p = chance.randint(2, 9), chance.choice([2, 3, 5, 7, 11])
        for text in [
            f"{a}\\sqrt{{{p}}}",
            f"{a}\\sqrt{p}" if p < 10 else f"{a}\\sqrt{{{p}}}",
            f"\\sqrt{{{p}}}\\cdot {a}",
            f"{a}√{p}",
            f"{a}*sqrt({p})",
            f"{a} \\cdot {p}^{{1/2}}",
            f"{a}\\sqrt{{{p}}} \\text{{ cm}}",
        ]:
            yield f"\\boxed{{{text}}}", f"{a}\\sqrt{{{p}}}", True
        yield f"\\boxed{{{a}\\sqrt{{{p + 2}}}}}", f"{a}\\sqrt{{{p}}}", False
        yield f"\\boxed{{{a}+\\sqrt{{{p}}}}}", f"{a}\\sqrt{{{p}}}", False
        yield f"\\boxed{{{a}}}", f"{a}\\sqrt{{{p}}}", False
        yield f"\\boxed{{\\frac{{{a}\\pi}}{{{p}}}}}", f"\\frac{{{a}}}{{{p}}}\\pi", True
        yield f"\\boxed{{{a}π}}", f"{a}\\pi", True
        yield f"The answer is {a}π.", f"{a}\\pi", True
        yield f"\\boxed{{{a}}}", f"{a}\\pi", False
        yield f"\\boxed{{{a + p}+{p}i}}", f"{p}i+{a + p}", True
        yield f"\\boxed{{{a}-{p}i}}", f"{a}+{p}i", False
        yield f"\\boxed{{{a}e^{{{p}}}}}", f"{a}e^{{{p}}}", True
        yield f"\\boxed{{\\frac{{\\sqrt{{{p}}}}}{{{p}}}}}", f"\\frac{{1}}{{\\sqrt{{{p}}}}}", True
        yield f"\\boxed{{{a} \\pm \\sqrt{{{p}}}}}", f"{a}+\\sqrt{{{p}}}, {a}-\\sqrt{{{p}}}", True
        yield f"\\boxed{{{a} \\pm \\sqrt{{{p}}}}}", f"{a}+\\sqrt{{{p}}}", False
        yield f"\\boxed{{\\pm {a}}}", f"{a},-{a}", True
        yield f"\\boxed{{±{a}}}", f"{a}", False


def matrices_vectors_and_sets(chance: random.Random) -> Rows:
    for _ in range(6):
        a, b, c, d = numbers(chance, 4, 1, 30)
        ref = f"\\begin{{pmatrix}}{a}&{b}\\\\{c}&{d}\\end{{pmatrix}}"
        yield f"\\boxed{{\\begin{{bmatrix}} {a} & {b} \\\\ {c} & {d} \\end{{bmatrix}}}}", ref, True
        yield f"\\boxed{{[[{a},{b}],[{c},{d}]]}}", ref, True
        yield f"\\boxed{{\\begin{{pmatrix}} {a} & {c} \\\\ {b} & {d} \\end{{pmatrix}}}}", ref, False
        yield (
            f"\\boxed{{\\begin{{pmatrix}}{a}\\\\{b}\\end{{pmatrix}}}}",
            f"\\begin{{pmatrix}}{a}\\\\{b}\\end{{pmatrix}}",
            True,
        )
        yield f"\\boxed{{\\langle {a}, {b}, {c} \\rangle}}", f"\\langle {a},{b},{c} \\rangle", True
        yield f"\\boxed{{\\langle {a}, {c}, {b} \\rangle}}", f"\\langle {a},{b},{c} \\rangle", False
        yield f"\\boxed{{\\{{{c}, {a}, {b}\\}}}}", f"\\{{{a},{b},{c}\\}}", True
        yield f"\\boxed{{\\{{{c}, {a}\\}}}}", f"\\{{{a},{b},{c}\\}}", False
        yield f"\\boxed{{{a}:{b}}}", f"{a}:{b}", True
        yield f"\\boxed{{{2 * a + 60}:{2 * b + 60}}}", f"{a + 30}:{b + 30}", True
        yield f"\\boxed{{{b}:{a}}}", f"{a}:{b}", False
        yield f"\\boxed{{{a}:{b}:{c}}}", f"{a}:{b}:{c}", True
        yield f"\\boxed{{{a} \\text{{ to }} {b}}}", f"{a}:{b}", True


def expressions_same_value(chance: random.Random) -> Rows:
    """Equal forms that need algebra, no echo: both sides hold a letter or a root."""
    for _ in range(4):
        a, b = chance.sample([2, 3, 5, 7], 2)
        same = [
            (f"\\frac{{x}}{{{a}}}+{b}", f"\\frac{{x+{a * b}}}{{{a}}}"),
            (f"{a}(x+{b})", f"{a}x+{a * b}"),
            (f"x^{{-{a}}}", f"\\frac{{1}}{{x^{a}}}"),
            (f"\\frac{{\\sin10^\\circ}}{{{a}}}", f"\\frac{{1}}{{{a}}}\\sin10^\\circ"),
            (f"\\sqrt{{{a}}}+\\sqrt{{{b}}}", f"\\sqrt{{{b}}}+\\sqrt{{{a}}}"),
            (f"-\\frac{{{a}}}{{{b}}}x", f"\\frac{{-{a}x}}{{{b}}}"),
            (f"y = {a}x + {b}", f"y-{b}={a}x"),
            (f"{a}x+{b}y=7", f"{2 * a}x+{2 * b}y=14"),
            (f"x={a}y", f"y=\\frac{{x}}{{{a}}}"),
            (f"2^{{x+{a}}}", f"{2**a}\\cdot2^x"),
            (f"\\ln {a} + \\ln x", f"\\ln({a}x)"),
            (f"\\frac{{n(n+{a})}}{{2}}", f"\\frac{{n^2+{a}n}}{{2}}"),
        ]
        for one, other in same:
            yield f"\\boxed{{{one}}}", other, True
        differ = [
            (f"\\frac{{x}}{{{a}}}+{b}", f"\\frac{{x+{b}}}{{{a}}}"),
            (f"{a}(x+{b})", f"{a}x+{b}"),
            (f"x^{a}", f"x^{{{a + 1}}}"),
            (f"y = {a}x + {b}", f"y = {a}x - {b}"),
            (f"{a}x+{b}y=7", f"{a}x+{b}y=8"),
            (f"\\sin {a}x", f"{a}\\sin x"),
            (f"\\sqrt{{{a}+{b}x}}", f"\\sqrt{{{a}}}+\\sqrt{{{b}x}}"),
        ]
        for one, other in differ:
            yield f"\\boxed{{{one}}}", other, False


KINDS: dict[str, Maker] = {
    "inequalities": inequalities,
    "intervals": intervals,
    "scientific": scientific,
    "function names": function_names,
    "fractions and decimals": fractions_and_decimals,
    "polynomials": polynomials,
    "radicals and constants": radicals_and_constants,
    "matrices vectors and sets": matrices_vectors_and_sets,
    "expressions same value": expressions_same_value,
}
