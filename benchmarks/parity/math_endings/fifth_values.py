"""A fifth set of endings: values of many types, each right and wrong."""

from __future__ import annotations

import random

from benchmarks.parity.math_endings.base import Maker, Rows, fill, lines, numbers, thought

_UNITS = [
    ("cm", "\\text{ cm}"),
    ("meters", "\\text{ m}"),
    ("kg", "\\,\\mathrm{kg}"),
    ("dollars", "\\text{ dollars}"),
    ("square units", "\\text{ square units}"),
    ("miles per hour", "\\text{ mph}"),
    ("cm^2", "\\text{ cm}^2"),
    ("m/s", "\\ \\mathrm{m/s}"),
    ("hours", "\\text{ hours}"),
    ("°", "^\\circ"),
    ("degrees", "^{\\circ}"),
    ("%", "\\%"),
    ("percent", "\\,\\%"),
    ("apples", "\\text{ apples}"),
    ("years old", "\\text{ years}"),
    ("°C", "^\\circ C"),
    ("Ω", "\\ \\Omega"),
    ("€", "\\text{ €}"),
    ("cubic feet", "\\text{ ft}^3"),
    ("J", "\\text{ J}"),
    ("students", "\\text{ students}"),
    ("units", "\\text{ units}"),
]


def lists(chance: random.Random) -> Rows:
    templates = [
        "The solutions are \\boxed{@a} and \\boxed{@b}.",
        "\\boxed{@a} and \\boxed{@b}",
        "$\\boxed{@a}$, $\\boxed{@b}$",
        "\\boxed{@a, @b}",
        "\\boxed{@b, @a}",
        "\\boxed{x = @a, x = @b}",
        "\\boxed{x=@a \\text{ or } x=@b}",
        "The two roots are @a and @b",
        "So the roots are $x=@a$ and $x=@b$.",
        "The answers are @a and @b.",
        "The solutions are x = @a and x = @b.",
        "\\boxed{\\{@a, @b\\}}",
        "\\boxed{@a \\text{ and } @b}",
        "\\boxed{x \\in \\{@a, @b\\}}",
        "\\boxed{x_1 = @a, x_2 = @b}",
        "$x = @b$ or $x = @a$",
        "Answer: @a, @b",
        "The answer is @a and @b.",
        "\\boxed{@a; @b}",
        "\\boxed{@a\\quad@b}",
        "\\boxed{@a\\text{, }@b}",
        "\\boxed{x=@a \\lor x=@b}",
        "x = @a, @b",
        "The answer is x = @a or x = @b.",
        "The answer is {@a, @b}.",
        "\\boxed{@a} , \\boxed{@b}",
    ]
    for template in templates:
        a, b, c = numbers(chance, 3)
        text = thought(chance, (a, b, c)) + fill(template, a=a, b=b)
        yield text, f"{a}, {b}", True
        yield text, f"{a},{c}", False
        yield text, f"{a},{b},{c}", False


def named_values_and_pairs(chance: random.Random) -> Rows:
    templates = [
        "x=\\boxed{@a}, y=\\boxed{@b}",
        "$(x,y)=(\\boxed{@a},\\boxed{@b})$",
        "$x=\\boxed{@a}$ and $y=\\boxed{@b}$",
        "\\boxed{(@a, @b)}",
        "\\boxed{x=@a, y=@b}",
        "\\boxed{(x,y)=(@a,@b)}",
        "x = @a, y = @b",
        "The answer is (@a, @b).",
        "The answer is x = @a and y = @b.",
        "\\boxed{x=@a,\\;y=@b}",
        "\\boxed{x=@a\\text{ and }y=@b}",
        "Answer: $(@a,@b)$",
        "<answer>(@a, @b)</answer>",
        "\\boxed{\\left(@a, @b\\right)}",
        "\\boxed{(@a,\\ @b)}",
        "\\boxed{x = @a \\\\ y = @b}",
        "\\boxed{\\begin{cases} x = @a \\\\ y = @b \\end{cases}}",
        "\\boxed{y = @b, x = @a}",
        "the point is $(@a, @b)$",
        "x＝@a，y＝@b",
    ]
    for template in templates:
        a, b = numbers(chance, 2, -9, 60)
        text = thought(chance, (a, b)) + fill(template, a=a, b=b)
        yield text, f"({a},{b})", True
        yield text, f"({b},{a})", False
        yield text, f"({a},{b + 1})", False
    for _ in range(8):
        a, b, c, d = numbers(chance, 4, 1, 30)
        for text in [f"$\\boxed{{({a}, {b})}}$ and $\\boxed{{({c}, {d})}}$", f"\\boxed{{({c},{d}), ({a},{b})}}"]:
            yield text, f"({a},{b}),({c},{d})", True
            yield text, f"({a},{d}),({c},{b})", False
            yield text, f"({a},{b})", False


def units(chance: random.Random) -> Rows:
    for plain, tex in _UNITS:
        for template in ["The answer is @n @p.", "\\boxed{@n@t}", "\\boxed{@n}@t", "Answer: $@n@t$"]:
            n, w = numbers(chance, 2)
            text = fill(template, n=n, p=plain, t=tex)
            yield text, str(n), True
            yield text, str(w), False
        n = chance.randint(11, 99)
        yield f"\\boxed{{{n}}}", f"{n}{tex}", True
        yield f"\\boxed{{{n + 1}}}", f"{n}{tex}", False


def unit_conversions(chance: random.Random) -> Rows:
    pairs = [
        ("km", "m", 1000),
        ("m", "cm", 100),
        ("kg", "g", 1000),
        ("cm", "mm", 10),
        ("hours", "minutes", 60),
        ("min", "s", 60),
    ]
    for big, small, factor in pairs:
        for _ in range(4):
            k = chance.randint(2, 9)
            yield f"\\boxed{{{k}\\text{{ {big}}}}}", f"{k * factor}\\text{{ {small}}}", True
            yield f"\\boxed{{{k}\\text{{ {big}}}}}", f"{k}\\text{{ {small}}}", False
            yield f"The answer is {k * factor} {small}.", f"{k}\\text{{ {small}}}", False
    for _ in range(6):
        k = chance.randint(2, 15)
        yield f"\\boxed{{{18 * k}\\ \\mathrm{{km/h}}}}", f"{5 * k}\\ \\mathrm{{m/s}}", True
        yield f"\\boxed{{{18 * k}\\ \\mathrm{{km/h}}}}", f"{18 * k}\\ \\mathrm{{m/s}}", False


def money(chance: random.Random) -> Rows:
    for _ in range(8):
        whole, cents = chance.randint(2, 900), chance.randint(11, 98)
        for shape in [
            "The answer is $@n.@c.",
            "\\boxed{\\$@n.@c}",
            "\\boxed{@n.@c\\text{ dollars}}",
            "Answer: \\$@n.@c",
            "It costs $@n.@c",
            "\\boxed{\\text{\\$}@n.@c}",
            "**$@n.@c**",
            "The total is USD @n.@c.",
        ]:
            text = fill(shape, n=whole, c=cents)
            yield text, f"{whole}.{cents}", True
            yield text, f"{whole}", False
            yield text, f"{whole}.{cents + 1}", False


def clock_times(chance: random.Random) -> Rows:
    for _ in range(14):
        hour, minute = chance.randint(1, 11), chance.choice([0, 15, 20, 30, 45])
        other = hour % 11 + 1
        time, later = f"{hour}:{minute:02d}", f"{other}:{minute:02d}"
        for shape in ["\\boxed{@t}", "The answer is @t.", "\\boxed{\\text{@t}}", "Answer: @t"]:
            yield fill(shape, t=time), time, True
            yield fill(shape, t=later), time, False
        yield f"\\boxed{{{hour + 12}:{minute:02d}}}", f"{time} PM", True
        yield f"\\boxed{{{time} \\text{{ p.m.}}}}", f"{hour + 12}:{minute:02d}", True
        yield f"\\boxed{{{time}\\text{{ a.m.}}}}", f"{time}\\text{{ p.m.}}", False
        yield f"The answer is {time} AM.", f"{hour + 12}:{minute:02d}", False
        yield f"The answer is {time} pm.", f"{time}\\text{{ PM}}", True


def thousands(chance: random.Random) -> Rows:
    for _ in range(6):
        head, mid, tail = chance.randint(1, 99), chance.randint(100, 999), chance.randint(100, 999)
        whole = f"{head}{mid}{tail}"
        for text in [
            "@h,@m,@t",
            "@h{,}@m{,}@t",
            "@h\\,@m\\,@t",
            "@h @m @t",
            "@h,\\!@m,\\!@t",
            "@h\\!,\\!@m\\!,\\!@t",
            "@h~@m~@t",
            "@h\\ @m\\ @t",
            "@h\u202f@m\u202f@t",
            "@h_@m_@t",
            "@h'@m'@t",
            "@h\u2009@m\u2009@t",
        ]:
            shown = fill(text, h=head, m=mid, t=tail)
            yield f"\\boxed{{{shown}}}", whole, True
            yield f"\\boxed{{{shown}}}", f"{head}{mid}{tail + 1}", False
        yield f"The answer is {head},{mid},{tail}.", whole, True
        yield f"The answer is ${head},{mid},{tail}.", whole, True
        yield f"#### {head},{mid}", f"{head}{mid}", True
        yield f"The answer is {head},{mid}", f"{mid}", False
    for digits in [12, 13, 15, 18, 20, 25]:
        big = str(chance.randint(10 ** (digits - 1), 10**digits - 1))
        for shape in ["\\boxed{@n}", "The answer is @n.", "#### @n"]:
            yield shape.replace("@n", big), big, True
            yield shape.replace("@n", big), big[:-1] + str((int(big[-1]) + 1) % 10), False


def signs(chance: random.Random) -> Rows:
    for text, sign in [
        ("-@n", -1),
        ("−@n", -1),
        ("–@n", -1),
        ("- @n", -1),
        ("－@n", -1),
        ("+@n", 1),
        ("{-}@n", -1),
        ("-{@n}", -1),
        ("(-@n)", -1),
        ("negative @n", -1),
        ("minus @n", -1),
        ("-@n.0", -1),
    ]:
        for shape in ["\\boxed{@t}", "The answer is @t.", "Answer: @t"]:
            n = chance.randint(2, 99)
            done = shape.replace("@t", fill(text, n=n))
            yield done, str(sign * n), True
            yield done, str(-sign * n), False


def full_width(chance: random.Random) -> Rows:
    wide = str.maketrans("0123456789=()-,.:", "０１２３４５６７８９＝（）－，．：")
    shapes = lines("""
\\boxed{@n}
答案：@n
答案是@n。
x＝@n
The answer is @n.
＃＃＃＃ @n
**@n**
答え：@n
<answer>@n</answer>
共@n人。
所以一共有@n个。
一共@n元。
""")
    for shape in shapes:
        for n in chance.sample(range(11, 999), 2):
            text = fill(shape, n=str(n).translate(wide))
            yield text, str(n), True
            yield text, str(n + 1), False
    for _ in range(5):
        a, b, c = numbers(chance, 3)
        yield f"\\boxed{{{a}、{b}、{c}}}", f"{a},{b},{c}", True
        yield f"\\boxed{{（{a}，{b}）}}", f"({a},{b})", True
        yield f"\\boxed{{－{a}}}", f"-{a}", True
        yield f"\\boxed{{－{a}}}", f"{a}", False
        yield f"\\boxed{{{a}\u200b}}", f"{a}", True
        yield f"\\boxed{{\ufeff{a}}}", f"{a}", True
        yield f"\\boxed{{{a}\u00a0}}", f"{a}", True
        yield f"\\boxed{{{a}．５}}", f"{a}.5", True
        yield f"\\boxed{{{a}％}}", f"{a}\\%", True


def bases_and_ordinals(chance: random.Random) -> Rows:
    for _ in range(6):
        n = chance.randint(9, 60)
        binary = f"{n:b}"
        yield f"\\boxed{{{binary}_2}}", f"{binary}_2", True
        yield f"\\boxed{{{binary}_{{2}}}}", f"{binary}_2", True
        yield f"\\boxed{{{binary}}}", f"{binary}_2", True
        yield f"\\boxed{{{binary}_3}}", f"{binary}_2", False
        yield f"\\boxed{{{binary}1_2}}", f"{binary}_2", False
        suffix = {1: "st", 2: "nd", 3: "rd"}.get(n % 10, "th") if n // 10 != 1 else "th"
        for text in [f"{n}{suffix}", f"{n}^{{{suffix}}}", f"{n}^\\text{{{suffix}}}", f"\\text{{{n}{suffix}}}"]:
            yield f"\\boxed{{{text}}}", str(n), True
            yield f"\\boxed{{{text}}}", str(n + 1), False
        yield f"The answer is the {n}{suffix}.", str(n), True


KINDS: dict[str, Maker] = {
    "lists": lists,
    "named values and pairs": named_values_and_pairs,
    "units": units,
    "unit conversions": unit_conversions,
    "money": money,
    "clock times": clock_times,
    "thousands": thousands,
    "signs": signs,
    "full width": full_width,
    "bases and ordinals": bases_and_ordinals,
}
