r"""Bringing the notation of mathematical answers to one form. Strings only: nothing is evaluated."""

from __future__ import annotations

import re
import unicodedata

from rewards.math.functions import tex_functions

MAX_ANSWER = 2_000  # characters; nothing longer is an answer

_TEXT_COMMAND = re.compile(
    r"\\(?:text(?:bf|it|rm|normal|sf|tt)?|mbox|hbox|mathrm|mathbf|mathsf|mathit|operatorname)\s*\{([^{}]*)\}"
)
_SYMBOLS = str.maketrans(
    {
        "−": "-", "–": "-", "×": r"\times ", "÷": r"\div ", "·": r"\cdot ", "⋅": r"\cdot ", "∙": r"\cdot ", "π": r"\pi ",
        "∞": r"\infty ", "°": r"^\circ ", "º": r"^\circ ", "≤": r"\le ", "≥": r"\ge ", "≠": r"\ne ", "±": r"\pm ",
        "∪": r"\cup ", "∩": r"\cap ", "∈": r"\in ", "∅": r"\emptyset ", "ℝ": r"\mathbb{R}", "≈": r"\approx ", "≡": r"\equiv ",
        "Ω": r"\Omega ", "\u2126": r"\Omega ",
        "θ": r"\theta ", "α": r"\alpha ", "β": r"\beta ", "φ": r"\phi ", "λ": r"\lambda ", "⟨": r"\langle ",
        "⟩": r"\rangle ", "′": "'", "’": "'", "‘": "'", "\u00a0": " ", "\u202f": " ", "\u2009": " ", "\u2062": "",
    }
)  # fmt: skip
_RAISED = re.compile("[⁰¹²³⁴⁵⁶⁷⁸⁹⁻]+(?=.|$)")
_LOWERED = re.compile("[₀₁₂₃₄₅₆₇₈₉]+")
_VULGAR = re.compile("[¼½¾⅐⅑⅒⅓⅔⅕⅖⅗⅘⅙⅚⅛⅜⅝⅞]")
_ROOT = re.compile(r"√\s*(\(|[0-9]+|[A-Za-z]|\\pi)?")
_SPACING = re.compile(
    r"\\(?:left|right) ?\.(?![0-9])|\\(?:left|right|[bB]igg?[lr]?|displaystyle|textstyle|limits"
    r"|[vh]?phantom\{[^{}]*\}|rule\{[^{}]*\}\{[^{}]*\}|blacksquare|qedsymbol|qed|quad|qquad|tiny|small|normalsize|large|Large|LARGE"
    r"|huge|Huge|scriptstyle|nolimits|checkmark|hspace\{[^{}]*\}|mathstrut|strut)(?![A-Za-z])|\\[!,;:>]|~"
)
_REWRITES = tuple(
    (re.compile(pattern), replacement)
    for pattern, replacement in (
        (r"\\(?:[dtc]|nice|s|x)frac(?![A-Za-z])", r"\\frac"),
        (r" ?\\colon(?![A-Za-z]) ?|(?<=[0-9])\{:\}(?=[0-9])", ":"),
        (r"(?<=[)\]]) ?[uU] ?(?=[(\[])", r"\\cup "),
        (r"\\log ?_ ?\{? ?e ?\}?(?![A-Za-z])", r"\\ln "),
        (r"^(?:it )?(?:diverges|tends|goes) to (?=\\infty|(?:positive |negative )?infinity)", ""),
        (  # km h^{-1} is km/h
            r"(?<=[0-9}] )?\\(?:text|mathrm|textrm) ?\{ ?([A-Za-z]{1,4})(?: |\\cdot ?|\\ )+([A-Za-z]{1,3}) ?\^ ?\{-1\} ?\}$",
            r"\\text{ \1/\2}",
        ),
        (r"(^|[-+*/=(,<>]|\\(?:times|cdot|ast)(?![A-Za-z])) ?\{ ?([-+]?[0-9.]*) ?\}", r"\1\2"),  # -{7}, \times {10}^{3}
        (r"^([^{}\\]{1,40}?) ?\\over(?![A-Za-z]) ?([^{}\\]{1,40})$", r"\\frac{\1}{\2}"),
        (r"\{([^{}]{1,40}?) ?\\over(?![A-Za-z]) ?([^{}]{1,40}?)\}", r"\\frac{\1}{\2}"),
        (
            r"(?<=[0-9]) ?\^ ?\{? ?(?:\\(?:text|mathrm|textrm) ?\{ ?)?(?:st"
            r"|nd|rd|th) ?\}{0,2}$|(?<=[0-9])\\text ?\{ ?(?:st|nd|rd|th) ?\}$",
            "",
        ),
        (r"^(\\text ?\{ ?)?([0-9]+)(?:st|nd|rd|th)( ?\})?$", r"\2"),
        (
            r"(?<=[0-9.)}]) ?(?:\\times|\\cdot|\\ast|\*|[xX]|\\,) ?10 ?(?:\^|\*\*) ?([-+]?[0-9]{1,5})(?![0-9])",
            r"\\times 10^{\1}",
        ),
        (
            r"(?<=[0-9.)}]) ?(?:\\times|\\cdot|\\ast|\*|[xX]) ?10 ?(?:\^|\*\*) ?[{(] ?([-+]?[0-9]{1,5}) ?[)}]",
            r"\\times 10^{\1}",
        ),
        (r"\\ast(?![A-Za-z])", "*"),
        (r"(?<=[0-9.}])(?: |\\ )*\\Omega(?![A-Za-z])", r"\\text{ ohm}"),
        (r"(?<=[0-9.} ])\\(?:text|mathrm) ?\{ ?([kMGm])? ?\\Omega ?\}", r"\\text{ \1ohm}"),
        (
            r"(?<=[0-9.}]) ?\^ ?(?:\{ ?\\circ ?\}|\\circ) ?(?:\\(?:text|mathrm|textrm) ?\{ ?)?([CFK])(?: ?\})?$",
            r"\\text{ degree \1}",
        ),
        (r"\\[dt]binom(?![A-Za-z])", r"\\binom"),
        (r"\{\s*([0-9a-z]{1,9}) ?\\choose ?([0-9a-z]{1,9})\s*\}", r"\\binom{\1}{\2}"),
        (r"(?:\{\})?_\{?([0-9]{1,9})\}? ?C_\{?([0-9]{1,9})\}?", r"\\binom{\1}{\2}"),
        (r"\\sqrt\[([357])\]\{-([0-9.]+)\}", r"-\\sqrt[\1]{\2}"),  # the real root
        (r"\\(?:text|mathrm|mbox) ?\{ ?(\\?\$|[€£¥₹₩₽]) ?\}", r"\1"),
        (r"^(?: ?\\\\)+ ?(?=[^a-z])| ?\\\\ ?$|\\text ?\{ ?\((?:final|exact|approx)[^{}]{0,20}\) ?\}$", ""),
        (r"\\text ?\{[.,;!]? ?\}$|^\\?#(?= ?[0-9])", ""),
        (r"^([A-Za-z]) ?\\equiv ?(-?[0-9]+)$", r"\1=\2"),
        (r"^\[{1,2}([-+]?[0-9]+(?:\.[0-9]+)?(?:/[0-9]+)?)\]{1,2}$", r"\1"),
        (r"^(?:\\text\{ ?)?(?:about|approximately|approx\.?|roughly|around) ?\}? ?(?=[-0-9$\\])|^= ?", ""),
        (r"^\\text\{[A-Za-z ]{1,40}(?: is| are|:) ?\} ?", ""),  # \text{The answer is } 5
        (r"^\\text\{[A-Za-z ]{2,40}\} ?= ?", ""),  # \text{Area} = 5
        (r"^(?:\\text\{ ?)?(?:negative|minus) (?=[0-9a-z\\$])", "-"),
        (r"^[A-Z]?[a-z]{3,20}(?: [a-z]{3,20}){0,2} ?= ?(?=[-0-9$\\])", ""),  # Area = 5
        (r",? ?\\text ?\{,? ?(?:for (?:all|any|some|every|each)|where)(?![A-Za-z]).*$", ""),
        (r"^\\text ?\{ ?(?i:therefore|thus|so|hence|then|and),? ?\}", ""),
        (r"(?<![A-Za-z0-9\\_{])([a-z])([0-9])(?= ?=)", r"\1_\2"),
        (r"\\(?:text)?color *\{[A-Za-z]{1,20}\}", ""),
        (r"\\times(?![A-Za-z])", r"\\cdot"),
        (r"\\(?:leq|leqslant)(?![A-Za-z])", r"\\le"),
        (r"\\(?:geq|geqslant)(?![A-Za-z])", r"\\ge"),
        (r"\\neq(?![A-Za-z])", r"\\ne"),
        (r"<=", r"\\le "),
        (r">=", r"\\ge "),
        (r"!=", r"\\ne "),
        (r"\\lt(?![A-Za-z])", "<"),
        (r"\\gt(?![A-Za-z])", ">"),
        (r"\\lbrace(?![A-Za-z])", r"\\{"),
        (r"\\rbrace(?![A-Za-z])", r"\\}"),
        (r"\\langle(?![A-Za-z])", "("),
        (r"\\rangle(?![A-Za-z])", ")"),
        (r"\\l?vert(?![A-Za-z])|\\rvert(?![A-Za-z])|\\mid(?![A-Za-z])", "|"),
        (r"\\(?:text|mathrm)\s*\{\s*(e|i|d)\s*\}", r"\1"),
        (r"\\mathrm\s*\{\s*([A-Za-z])\s*\}", r"\1"),
        (r"\\(?:mathbf|boldsymbol|bm|mathit|mathsf|textbf|underline)\s*\{([^{}]*)\}", r"\1"),
        (r"\\(?:text(?:bf|it|rm|normal|sf|tt|sc)?|mbox|mathrm)\s*\{\s*(-?[0-9][^{}]*)\}", r"\1"),  # a number in text
        (r"\\(?:bf|rm|it)(?![A-Za-z])", ""),
        (r"\{,\}", ","),
        (r"(?<!\\)\\(?=\s)", ""),  # a backslash and a space is a space
        (
            r"\^\s*(?:\{\s*\\(?:circ|degree)\s*\}|\\(?:circ|degree)(?![A-Za-z]))|\\degree(?![A-Za-z])",
            r"\\text{ degree}",
        ),
        (r"\\%", "%"),
        (r"\\(?:varnothing|O)(?![A-Za-z])|\\\{\s*\\\}", r"\\emptyset"),
        (r"\\(?:dots|ldots|cdots)(?![A-Za-z])", "..."),
        (r"\*\*", "^"),
        (r"\s+", " "),
    )
)
_SPACES = tuple(
    (re.compile(pattern), replacement)
    for pattern, replacement in (
        (r"(?<![0-9A-Za-z,]) | (?![0-9A-Za-z\\])", ""),  # spaces that part nothing; "1 1/2" and "1, 2" keep theirs
        (r"(\\[A-Za-z]+) (?![A-Za-z])", r"\1"),
        (r"(?<=[0-9]) (?=\\(?:sqrt|pi|frac|cdot))", " "),
    )
)
_INNER = re.compile(r"(?<!\\)\$((?:\\\$|[^$])+)(?<!\\)\$")  # a formula within words: $12$ dollars
_EMPHASIS = re.compile(r"^(\*\*|__|\*|`)(.+)\1$", re.DOTALL)
_REPEATING = re.compile(r"([0-9]*)\.([0-9]*)(?:\\(?:overline|bar|dot)\s*\{([0-9]+)\}|\\dot\s*([0-9]))")
_DOTTED = re.compile(
    r"(?<![0-9.])([0-9]*)\.([0-9]*?)(?:\(([0-9]{1,20})\)(?![0-9(])|(?:([0-9])\4{2,}|([0-9]{2,6})\5{1,})(?:\.\.\.|…|\\(?:l|c)?dots(?![A-Za-z])))"
)
_FRENCH = re.compile(r"([\[\]])([^\[\](){}]{1,60}[,;][^\[\](){}]{1,60})([\[\]])")
_ROW_NAME = r"(?:[A-Za-z]|\\[a-z]{2,8})(?:_\{?[0-9A-Za-z]\}?)?"
_SYSTEM = re.compile(
    r"^(?:\\left)? ?(?:\\\{)? ?\\begin ?\{(cases|aligned|alignedat|align\*?|gathered|split|array)\}(?:\{[^{}]{0,20}\})?(.{1,400})"
    r"\\end ?\{\1\} ?(?:\\right ?\.?)?$",
    re.DOTALL,
)
_ROW = re.compile(rf"\s*{_ROW_NAME}\s*=[^=]{{1,80}}", re.DOTALL)
_QUADS = re.compile(r"(?<=[0-9)\]])\s*[;,]?\s*\\q?quad(?![A-Za-z])\s*(?=[-+]?[0-9]|\(-?[0-9]|[A-Za-z] ?=)")
_GROUPED = re.compile(r"(?<![0-9A-Za-z.,])[0-9]{1,3}(?:([_'])[0-9]{3})(?:\1[0-9]{3}){0,9}(?![0-9A-Za-z'_])")
_QUOTED = re.compile(r"""^(["'“”`])([^"'“”`]{1,200})["'“”`]$""")
_SINGLE = re.compile(r"([\^_])\{([0-9A-Za-z])\}")


def canonical(answer: str) -> str:
    r"""One notation: ``\dfrac12`` is ``\frac{1}{2}``, spacing and delimiters are gone, a final full stop too."""
    text = _symbols(_without_emphasis(answer.strip()))
    text = _INNER.sub(r"\1", strip_delimiters(text))
    text = _GROUPED.sub(lambda match: match.group().replace(match.group(1), ""), text)
    if "\\" in text:
        text = _QUADS.sub(", ", _in_one_line(text))
    text = _SPACING.sub(" ", text) if not re.search(r"[0-9]\\[,!:][0-9]|,\\!", text) else _join_thousands(text)
    text = _REPEATING.sub(_write_repeating, _DOTTED.sub(_write_dotted, text))
    if text[:1] == "]" or text[-1:] == "[":
        text = _FRENCH.sub(_write_interval, text)
    text = tex_functions(_unquoted(text))
    for pattern, replacement in _REWRITES:
        text = pattern.sub(replacement, text)
    text = _brace_arguments(text)
    for pattern, replacement in _SPACES:
        text = pattern.sub(replacement, text)
    text = text.strip()
    text = text if text.endswith("...") else text.rstrip(".,;").strip()
    return _strip_outer_braces(text.removeprefix(r"\approx").strip())


def plain_words(text: str) -> str:
    r"""Words without markup, in lower case: ``\text{Even}`` is ``even``."""
    return " ".join(_TEXT_COMMAND.sub(r" \1 ", text).replace("$", "").lower().split()).rstrip(".")


def squeezed(text: str) -> str:
    """Without the braces and spaces that change nothing: ``x^{2} - 1`` is ``x^2-1``."""
    text = _SINGLE.sub(r"\1\2", text)
    return re.sub(r"(?<![0-9A-Za-z,]) | (?![0-9A-Za-z])", "", text)


def strip_delimiters(text: str) -> str:
    r"""Without the dollar signs, ``\( \)`` or ``\[ \]`` around all of it."""
    for opening, closing in (("$$", "$$"), ("$", "$"), (r"\(", r"\)"), (r"\[", r"\]")):
        inner = text[len(opening) : -len(closing)]
        if text.startswith(opening) and text.endswith(closing) and inner and opening not in inner.replace(r"\$", ""):
            return inner.strip()
    if text.endswith(".") and text[:-1].rstrip().endswith(("$", r"\)", r"\]")):
        return strip_delimiters(text[:-1].rstrip())
    return text


def braced(text: str, start: int) -> str | None:
    """What is between the brace at ``start`` and its partner; None where there is none."""
    if start < 0 or text[start : start + 1] != "{":
        return None
    depth = 0
    for position in range(start, min(len(text), start + MAX_ANSWER)):
        char = text[position]
        if char in "{}" and text[position - 1] != "\\":
            depth += 1 if char == "{" else -1
            if depth == 0:
                return text[start + 1 : position]
    return None


def _symbols(text: str) -> str:
    if text.isascii():
        return text
    text = _RAISED.sub(lambda m: "^{" + unicodedata.normalize("NFKC", m.group()).replace("−", "-") + "}", text)
    if text.startswith("^"):
        return text  # an exponent of nothing
    text = _LOWERED.sub(lambda m: "_{" + unicodedata.normalize("NFKC", m.group()) + "}", text)
    text = _VULGAR.sub(_write_vulgar, text)
    text = _ROOT.sub(lambda m: "\\sqrt(" if m.group(1) == "(" else f"\\sqrt{{{m.group(1) or ''}}}", text)
    return text.translate(_SYMBOLS)


def _write_vulgar(match: re.Match[str]) -> str:
    top, _, bottom = unicodedata.normalize("NFKC", match.group()).partition("\u2044")
    return rf"\frac{{{top}}}{{{bottom}}}"


def _write_repeating(match: re.Match[str]) -> str:
    r"""``0.1\overline{6}`` is 15/90."""
    whole, fixed, cycle = match.group(1), match.group(2), match.group(3) or match.group(4)
    if len(whole + fixed + cycle) > 60:
        return match.group()
    top = int(whole + fixed + cycle) - int((whole + fixed) or "0")
    return rf"\frac{{{top}}}{{{'9' * len(cycle) + '0' * len(fixed)}}}"


def _write_dotted(match: re.Match[str]) -> str:
    """``0.333...`` and ``0.(3)`` repeat their last digits for ever."""
    return f"{match.group(1)}.{match.group(2)}\\overline{{{match.group(3) or match.group(4) or match.group(5)}}}"


def _write_interval(match: re.Match[str]) -> str:
    """``]0,1[`` is ``(0,1)``."""
    return ("(" if match.group(1) == "]" else "[") + match.group(2) + (")" if match.group(3) == "[" else "]")


def _unquoted(text: str) -> str:
    match = _QUOTED.match(text)
    return match.group(2) if match is not None else text


def _brace_arguments(text: str) -> str:
    r"""``\frac12`` and ``\sqrt2`` with their arguments in braces, as TeX reads them. One pass, left to right."""
    out: list[str] = []
    position = 0
    wanted = 0  # arguments that the last command still takes
    while position < len(text):
        command = re.match(r"\\(frac|binom|sqrt)(?![A-Za-z]) ?(\[[^\[\]]*\])? ?", text[position:])
        if command is not None:
            if wanted:  # an argument that is itself a command, as in \frac\sqrt2 3: leave it to the reader behind
                wanted = 0
            out.append("\\" + command.group(1) + (command.group(2) or ""))
            position += command.end()
            wanted = 1 if command.group(1) == "sqrt" else 2
            continue
        if not wanted:
            out.append(text[position])
            position += 1
            continue
        argument, position = _argument(text, position)
        out.append("{" + (_brace_arguments(argument) if "\\" in argument else argument) + "}")
        wanted -= 1
        while wanted and text[position : position + 1] == " ":
            position += 1
    return "".join(out)


def _argument(text: str, position: int) -> tuple[str, int]:
    inner = braced(text, position) if text[position] == "{" else None
    if inner is not None:
        return inner.strip(), position + len(inner) + 2
    command = re.match(r"\\[A-Za-z]+", text[position:])
    token = command.group() if command is not None else text[position]
    return token, position + len(token)


def _without_emphasis(text: str) -> str:
    match = _EMPHASIS.match(text) if len(text) <= MAX_ANSWER else None
    return match.group(2).strip() if match is not None and match.group(1) not in match.group(2) else text


def _strip_outer_braces(text: str) -> str:
    while text.startswith("{") and braced(text, 0) == text[1:-1]:
        text = text[1:-1].strip()
    return text


def _in_one_line(text: str) -> str:
    r"""A system whose rows are ``x = 1`` and ``y = 2`` is ``x = 1, y = 2``."""
    system = _SYSTEM.match(text)
    rows = (system.group(2).replace("&", "") if system is not None else text).strip().removesuffix("\\\\").split("\\\\")
    named = 1 < len(rows) < 9 and all(_ROW.fullmatch(row.strip(" ,;")) for row in rows)
    return ", ".join(row.strip(" ,;") for row in rows) if named else text


def _join_thousands(text: str) -> str:
    return _SPACING.sub(" ", re.sub(r"(?<=[0-9])(?:(?:\\!)?,?\\[,!:]|,\\! ?)(?=[0-9]{3})", "", text))
