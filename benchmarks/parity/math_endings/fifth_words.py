"""A fifth set of endings: choices, words, and what is said twice, each right and wrong."""

from __future__ import annotations

import random
from math import comb, factorial, gcd

from benchmarks.parity.math_endings.base import Maker, Rows, fill

_WORDS = {
    2: "two",
    3: "three",
    5: "five",
    7: "seven",
    12: "twelve",
    15: "fifteen",
    20: "twenty",
    21: "twenty-one",
    42: "forty-two",
    60: "sixty",
    100: "one hundred",
    350: "three hundred fifty",
}


def choices(chance: random.Random) -> Rows:
    shapes = [
        "The answer is (@c).",
        "The answer is @c.",
        "Answer: @c",
        "\\boxed{@c}",
        "\\boxed{\\text{@c}}",
        "\\boxed{(@c)}",
        "\\boxed{\\textbf{(@c)}}",
        "The correct option is @c.",
        "The correct choice is (@c).",
        "Option @c",
        "Option (@c) is correct.",
        "**@c**",
        "(@c)",
        "@c",
        "@c.",
        "@c)",
        "The answer is @c: 42.",
        "Answer: @c. 17",
        "Answer: @c) 17 apples",
        "\\boxed{\\textbf{(@c) } 24}",
        "\\boxed{\\text{(@c) } 24}",
        "Therefore, the answer is **(@c) 12**.",
        "答案：@c",
        "答案是@c。",
        "故选@c。",
        "故选：@c",
        "<answer>@c</answer>",
        "<answer>(@c)</answer>",
        "Answer: **@c**",
        "Final answer: @c",
        "The answer is option @c.",
        "So, @c is the correct answer.",
        "I choose @c.",
        "Hence, choice @c.",
        "Correct answer: @c",
        "The best answer is @c",
        "\\boxed{\\mathrm{@c}}",
        "Ответ: @c",
        "정답: @c",
        "The answer is \\textbf{(@c)}.",
        "The correct answer is @c because the others fail.",
        "#### @c",
        "[[@c]]",
        '{"answer": "@c"}',
    ]
    for shape in shapes:
        c, d = chance.sample("ABCDE", 2)
        yield fill(shape, c=c), c, True
        yield fill(shape, c=c), d, False


def several_choices(chance: random.Random) -> Rows:
    hedged = [
        "\\boxed{\\text{(@c) and (@d)}}",
        "\\boxed{(@c) or (@d)}",
        "(@c) or (@d)",
        "(@c)(@d)",
        "@c. @d.",
        "The answer is @c or @d.",
        "Answer: @c, @d",
        "Answer: \\boxed{@c}, \\boxed{@d}",
        "\\boxed{@c} or \\boxed{@d}",
        "The answer is @c/@d.",
        "\\boxed{@c@d}",
        "Answer: @c and @d",
        "\\boxed{@c, @d}",
        "Either @c or @d.",
        "(@c) and (@d)",
        "<answer>@c or @d</answer>",
        "\\boxed{\\text{@c or @d}}",
        "答案：@c或@d",
        "Answer: @c or maybe @d",
        "The answer is (@c) or (@d).",
    ]
    for shape in hedged:
        c, d = sorted(chance.sample("ABCDE", 2))
        yield fill(shape, c=c, d=d), c, False
        yield fill(shape, c=c, d=d), d, False
    several = [
        "\\boxed{@c, @d}",
        "\\boxed{@c @d}",
        "\\boxed{@c@d}",
        "The answer is @c and @d.",
        "Answer: @c, @d",
        "\\boxed{\\text{@c, @d}}",
        "\\boxed{@c} and \\boxed{@d}",
        "Answer: @c,@d",
        "Answer: @c & @d",
        "\\boxed{(@c), (@d)}",
        "Answer: @c@d",
        "答案：@c、@d",
    ]
    for shape in several:
        c, d, e = sorted(chance.sample("ABCDE", 3))
        yield fill(shape, c=c, d=d), f"{c},{d}", True
        yield fill(shape, c=d, d=c), f"{c},{d}", True
        yield fill(shape, c=c, d=d), f"{c},{e}", False
        yield fill(shape, c=c, d=d), f"{c},{d},{e}", False


def echoes(chance: random.Random) -> Rows:
    for _ in range(3):
        a, b = chance.sample([3, 4, 5, 6, 7, 8, 9, 11], 2)
        echoed = [
            (f"({a})({b})", a * b),
            (f"{a} \\cdot {b}", a * b),
            (f"{a} \\times {b}", a * b),
            (f"{a}+{b}", a + b),
            (f"{a}^{{{b}}}", a**b),
            (f"{a}!", factorial(a)),
            (f"\\binom{{{a + b}}}{{{a}}}", comb(a + b, a)),
            (f"\\gcd({6 * a},{6 * b})", gcd(6 * a, 6 * b)),
            (f"\\sqrt{{{a * a}}}", a),
            (f"\\log_2 {2**a}", a),
            (f"|{-a}|", a),
            (f"\\lfloor {a}.5 \\rfloor", a),
            (f"\\sum_{{k=1}}^{{{a}}} k", a * (a + 1) // 2),
            (f"\\begin{{vmatrix}}{a}&1\\\\1&{b}\\end{{vmatrix}}", a * b - 1),
            (f"\\int_0^{{{a}}} 2x\\,dx", a * a),
            (f"{a * b} \\bmod {a + 1}", (a * b) % (a + 1)),
            (f"\\max({a},{b})", max(a, b)),
            (f"{a * b}\\div{b}", a),
            (f"\\sqrt[3]{{{a**3}}}", a),
            (f"C({a + b},{a})", comb(a + b, a)),
            (f"\\operatorname{{lcm}}({a},{a * 2})", 2 * a),
            (f"\\ln e^{{{a}}}", a),
            (f"{a} \\cdot \\sin 90^\\circ", a),
        ]
        for echo, value in echoed:
            if echo != str(value):
                yield f"\\boxed{{{echo}}}", str(value), False
        plain = {f"{a}*{b}": a * b, f"{a}!": factorial(a), f"sqrt({a * a})": a, f"{a}**2": a * a}
        for echo, value in plain.items():
            yield f"\\boxed{{{echo}}}", str(value), False
        for same in [
            f"{a}!",
            f"\\binom{{{a + b}}}{{{a}}}",
            f"{a}^{{{b + 20}}}",
            f"{a + 30}^{{{b}}}",
            f"\\log_{{{a}}} {b * a + 1}",
            f"{a}\\cdot 13^{{{b}}}",
        ]:
            yield f"\\boxed{{{same}}}", same, True
        yield f"\\boxed{{{a} \\cdot {b} = {a * b}}}", str(a * b), True
        yield f"\\boxed{{{a} + {b} = {a + b + 1}}}", str(a + b + 1), False


def equations_with_false_steps(chance: random.Random) -> Rows:
    for _ in range(6):
        a, b, w = chance.sample(range(3, 40), 3)
        for text, ref in [
            (f"{a}={w}", w),
            (f"{a}={b}={w}", w),
            (f"{a}+{a}={2 * a + 1}", 2 * a + 1),
            (f"{a} \\ne {w}", w),
            (f"{a} < {w}", w),
        ]:
            yield f"\\boxed{{{text}}}", str(ref), False
        yield f"\\boxed{{{a}+{b}={a + b}}}", str(a + b), True
        yield f"The answer is {a}+{b}={a + b}.", str(a + b), True
        yield f"The answer is {a} + {b} = {a + b}.", str(a), False


def number_words(chance: random.Random) -> Rows:
    for n, word in _WORDS.items():
        other = chance.choice([k for k in _WORDS if k != n])
        for shape in ["\\boxed{@t}", "The answer is @t.", "Answer: @t", "\\boxed{\\text{@t}}", "The answer is **@t**."]:
            yield shape.replace("@t", word), str(n), True
            yield shape.replace("@t", word), str(other), False
        yield f"The answer is {n} ({word}).", str(n), True
        yield f"Answer: {word} ({n})", str(n), True
        yield f"\\boxed{{{n}}}", word, True
        yield f"\\boxed{{{other}}}", word, False


def plain_words(chance: random.Random) -> Rows:
    names = [
        "Tuesday",
        "Friday",
        "Paris",
        "red",
        "Alice",
        "odd",
        "even",
        "hexagon",
        "ellipse",
        "Evelyn",
        "north",
        "yes",
        "no",
        "True",
        "False",
        "xy",
        "AB",
        "LQSX",
        "parallelogram",
        "does not exist",
    ]
    for name in names:
        other = chance.choice(
            [k for k in names if k != name and not ({k, name} <= {"yes", "True"} or {k, name} <= {"no", "False"})]
        )
        for shape in [
            "\\boxed{@t}",
            "\\boxed{\\text{@t}}",
            "The answer is @t.",
            "Answer: @t",
            "**@t**",
            "<answer>@t</answer>",
            "\\boxed{\\textbf{@t}}",
            'The answer is "@t".',
            "Answer: **@t**.",
            "The final answer is $\\text{@t}$.",
        ]:
            yield shape.replace("@t", name), name, True
            yield shape.replace("@t", other), name, False
        yield f"\\boxed{{{name.upper() if len(name) > 3 and name != 'LQSX' else name}}}", name, True
        yield f"\\boxed{{\\text{{{name}}}}}", f"\\text{{{name}}}", True


def empty_sets_and_infinity(chance: random.Random) -> Rows:
    groups = [
        ["\\infty", "∞", "+\\infty", "infinity", "\\text{infinity}"],
        ["-\\infty", "-∞", "negative infinity"],
        ["\\emptyset", "∅", "\\varnothing", "\\{\\}", "\\text{no solution}", "no solutions"],
        ["\\text{undefined}", "undefined"],
        ["\\text{DNE}", "does not exist", "Does not exist", "\\text{does not exist}"],
        [
            "\\mathbb{R}",
            "ℝ",
            "(-\\infty,\\infty)",
            "all real numbers",
            "\\text{all real numbers}",
            "(-\\infty, +\\infty)",
        ],
    ]
    for at, group in enumerate(groups):
        for member in group:
            for shape in ["\\boxed{@t}", "The answer is @t."]:
                yield (
                    shape.replace("@t", f"${member}$" if "\\" in member and "box" not in shape else member),
                    group[0],
                    True,
                )
            yield f"\\boxed{{{member}}}", groups[(at + 3) % len(groups)][0], False
            yield f"\\boxed{{{member}}}", "0", False


KINDS: dict[str, Maker] = {
    "choices": choices,
    "several choices": several_choices,
    "echoes": echoes,
    "equations with false steps": equations_with_false_steps,
    "number words": number_words,
    "plain words": plain_words,
    "empty sets and infinity": empty_sets_and_infinity,
}
