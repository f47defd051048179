r"""Reading a value where a sentence gives it: ``12 apples because ...`` begins with ``12 apples``. Nothing is evaluated."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import NamedTuple

from rewards.math.labels import AND, CHINESE, COPULA, HEDGE, OR, RESTATED
from rewards.math.notation import braced, canonical
from rewards.math.quantities import parse_number, same_number

_LONGEST = 400  # characters of one value

FORMULA = re.compile(
    r"(?<!\\)\$\$([^$]{1,600}?)\$\$|\\\[(.{1,600}?)\\\]"  # displayed, with lines of its own
    r"|(?<!\\)\$((?:\\\$|[^$\n]){1,300}?)(?<!\\)\$(?![0-9])|\\\(([^\n]{1,300}?)\\\)"  # \$ within is a sum of money
    r"|\\begin\{(align\*?|equation\*?|gather\*?|aligned)\}(.{1,600}?)\\end\{\5\}",
    re.DOTALL,
)
_FUNCTIONS = (
    r"(?:arc)?(?:sin|cos|tan|cot|sec|csc)h?|a(?:sin|cos|tan)|log(?:2|10)?|ln|lg|sqrt|cbrt|exp|abs|pi|oo|inf(?:inity)?|gcd|lcm|binom(?:ial)?|delta|omega|"
    r"max|min|mod|floor|ceil|theta|alpha|beta|gamma|phi|lambda|infty"
)
# what belongs to a value though it has letters, or where a value ends
_SCAN = re.compile(
    r"(?P<whole>\\(?:text\w*|mathrm|mbox|mathbf|operatorname|textbf|mathit)\s*\{[^{}]{0,80}\}|\\(?:begin|end)\{[a-z]+\}"
    rf"|\\[A-Za-z]+|(?<![A-Za-z])(?:{_FUNCTIONS})(?![A-Za-z])|(?<=[0-9])(?:st|nd|rd|th)(?![A-Za-z])"
    r"|(?<=[0-9]) to (?=[0-9])|\.[0-9]{1,30}(?:\.\.\.|…)|(?<=[0-9\s])[ap]\.?m\.?(?![A-Za-z])|(?<![A-Za-z])[eE](?=[-+]?[0-9]))"
    r"|(?P<end>\s\[[0-9]{1,2}\](?=[.\s]*(?:$|\n))|(?<!\\)[.!?]+(?=[\s\"')*\]_]|$)|\n|\*\*(?!\(?-?[0-9A-Za-z(])|[;,](?=\s*$)|[,;:]\s*(?=[A-Za-z]{2}|[^\x00-\x7f−–±√π∞½¼¾⅐-⅞])|,\s+(?=[A-Z](?:[\s,]|$))"
    r"|(?<![A-Za-z])\s*[(\[](?=\s*[A-Za-z]{2})|[\"`<>]{1,3}(?=\s*$)|\"|`|</|\s[-–—]+\s(?=[A-Za-z]{2})|'(?=[^\W\d_]{2})"
    r"|(?<![\\A-Za-z])[A-Za-z](?=[\u00c0-\u024f])|(?<![\\A-Za-z])[A-Za-z]{2,}|(?<=\s)[aI](?=\s[A-Za-z]{2})|(?:(?![a-zA-Zα-ωΑ-Ωµμ°√π∞∪∩∈∅ℝ≤≥≠±×÷·−⋅∙⟨⟩′’‘Ω⁰¹²³⁴⁵⁶⁷⁸⁹⁻₀-₉½¼¾⅓⅔⅐-⅞ℂℤℕℚ])[^\W\d_]|[\u2600-\u27bf\U0001f300-\U0001faff])|\(\$|\$)",
)
_STARTS = re.compile(
    r"[-+−–±√.]?\s?\\?[$€£¥₹]?\s?(?:[0-9]|\.[0-9]|[\\({\[|√π∞½¼¾⅓⅔]|(?i:pi|sqrt|infinity|e)(?![A-Za-z]))"
    r"|(?:[Ee]xp|[Aa]bs|cbrt|log(?:2|10)?|ln|lg|(?:arc|a)?(?:sin|cos|tan)h?|sec|csc|cot|floor|ceil(?:ing)?|binom(?:ial)?|gcd|lcm|max|min)\s?[(]"
    r"|(?:alpha|beta|gamma|delta|theta|lambda|phi|omega|pi)\s?[-+*/^=](?=\s?[0-9A-Za-z(])|[A-Za-z](?:_?[0-9₀-₉]|_\{[0-9]\})?\s?(?:[-+*/^=<>≤≥(|∈]|\\(?:in|leq?|geq?|neq?|approx)(?![A-Za-z]))|\][-0-9]"
)
_CHOICE = re.compile(
    r"(?:\(([A-Z])\)|\[([A-Z])\]|([A-Z]))(?=$|[.):,;!?*\]\"'<\n]|\s+(?:and|or|because|since|as|is|which|with|for|[-–—(])|\s*$|[^\x00-\x7f])"
)
_NAMED = re.compile(r"(?:[A-Za-z]{1,2}|\\[a-z]{2,8}|f\([a-z]\))(?:_\{?\w{1,4}\}?)?\s*=\s*$")
_AND = re.compile(
    rf"[*_ \t\"']*(?:[,;、]\s*)?(?:(?:{AND}|{OR}|\&|/)(?![^\W\d_])|{CHINESE}"
    r"|[,;](?=\s*(?:[-+−$\\({\d*]|(?-i:[A-J])(?![A-Za-z]))))"
    r"(?:\s*(?:also|maybe|perhaps|possibly|even))?[*_\s\"']*",
    re.IGNORECASE,
)
_FILLER = re.compile(
    r"(?:[\s:*_\"'`=>→—{}]|\.{2,}|–(?![0-9.$\\])|-(?=\s+[^\s0-9.$\\])|(?:(?<=\n)|(?<=\n )|(?<=\n  )|(?<=\n   ))-(?=\s)"
    r"|the (?=[0-9]{1,6}(?:st|nd|rd|th)[*$]{0,3}(?:[.,;!)\n]|$))|(?:therefore|thus|then|simply|just"
    r"|hence|exactly|precisely|equal to|approximately|about|roughly|around|"
    r"indeed|clearly|obviously|probably|(?:most )?likely|presumably|again|still|now|given by|found to be|either"
    r"|both|only|entweder|soit|либо|that|it is|it's|option|choice|letter|answer|number|"
    r"value|the (?:number|value|answer|option|choice|letter)|going to be"
    r"|definitely|certainly|finally|actually|also|alors|donc|also|folglich|"
    r"por tanto|entonces|quindi|dunque|portanto|≈|\\approx|\\therefore|\\implies|\\Rightarrow)(?![A-Za-z]))+,?\s*",
    re.IGNORECASE,
)
_COMPARED = re.compile(
    r"\s*(?:%|percent|times|[a-z]{1,12})?\s*(?:more|less|fewer|greater|larger|smaller|higher|lower|older"
    r"|younger|as (?:much|many)) (?:than|as)\b|\s+times (?:the|as|some\w*|that|what|its?|his|her|their)\b"
    r"|\s*(?:%|percent|[a-z]{1,12})?\s+(?:or|and) (?:more|less|fewer|greater|larger|smaller|higher|lower|over|under"
    r"|above|below|up|older|younger)\b"
    r"|\s*(?:[a-z]{1,12}\s)?(?:plus|minus|times|divided by|multiplied by|added to|subtracted from)\s+[-$0-9]",
    re.IGNORECASE,
)
_REASON = re.compile(r"[,;]?\s(?:because|since|as)\s", re.IGNORECASE)
_BUT = re.compile(
    r"[,;]?\s+but\b[^.\n]{0,60}?(?<![A-Za-z])(?:it is|it's|it should be|the [a-z]{1,12} (?:one|answer|value) is)\s+",
    re.IGNORECASE,
)
_SO = re.compile(r",\s+(?:so|hence|thus)\s+(?=[-$\\(]{0,2}[0-9])", re.IGNORECASE)
_MONTH = (
    "(?:Jan(?:uary)?|Feb(?:ruary)?|Mar(?:ch)?|Apr(?:il)?|May|June?|July?|Aug(?:ust)?|Sept?(?:ember)?|Oct(?:ober)?"
    "|Nov(?:ember)?|Dec(?:ember)?)"
)
_DAY = "[0-9]{1,2}(?:st|nd|rd|th)?"
_DATE = re.compile(rf"(?:{_MONTH}\.? {_DAY}|{_DAY} (?:of )?{_MONTH})(?:,? [0-9]{{4}})?(?![0-9A-Za-z])")
_CASE = re.compile(
    r"\s+(?:for|if|when|in case)\s[^.\n]{1,40}?(?:[,;]|\s(?:and|or|but))\s+(?:(?:and|or|but|it is|otherwise)\s+)*",
    re.IGNORECASE,
)
_ASKED = re.compile(r"\s*\?\s+(?=[-$\\(]{0,2}[0-9])")
_INSTEAD = re.compile(
    r"[\s,;]*(?:[a-z]{2,20}\s+){0,2}(?:but(?: rather| instead)?|rather|instead)\s+(?:it(?: i|')s )?", re.IGNORECASE
)
_VERB = r"(?:ha(?:s|ve|d)|gets?|got|needs?|costs?|takes?|pays?|paid|spends?|spent|earns?|makes?|sells?|sold|gives?|wins?|won)"
_COPULA = re.compile(rf"(?<![A-Za-z\\])(?:{COPULA}|{_VERB})(?![A-Za-z])[\s:*_]*(?:{_FILLER.pattern})?", re.IGNORECASE)
_LINK = re.compile(rf"[ \t*_]*(?:{COPULA}|gives|yields|makes)(?![A-Za-z])[\s:*_]*", re.IGNORECASE)
_STOP_UNIT = frozenset(
    "is are was were be been because since as so which that where when while if then and or but not in on at to for from "
    "with without by of the a an this these those it its he she they we i you his her their our total altogether left "
    "remaining more less than fewer greater now also after before until per each every would will can could should must has "
    "have had does do did oder und ou et или и либо o y e plus minus times divided multiplied "
    "i'm therefore thus hence respectively instead only".split()
) | frozenset(re.split(r"[| )]", f"{AND}|{OR}"))
_REALS = re.compile(
    r"(?:all|any) real(?: number)?s?(?:,?\s+except(?:\s+for)?\s+[^.\n]{1,40})?(?![A-Za-z])", re.IGNORECASE
)
_MONEY = re.compile(r"\s?[0-9.]")  # behind its dollar
_SIGN_WORD = re.compile(r"(?:negative|minus)\s+(?=[0-9$\\])", re.IGNORECASE)
_SIGN = re.compile(r"[<>≤≥]|\\[lg]eq?(?![A-Za-z])")
_ALIGNED = re.compile(r"\\(?:begin|end)\{(?:aligned|align\*?|split|gathered|eqnarray\*?)\}")
_UNIT_WORD = re.compile(
    r"[ \t]*((?:[A-Za-z][A-Za-z.]*(?:/[A-Za-z]+)*(?:\^\{?[0-9]\}?|[²³])?)|[^\W\d_A-Za-z]{0,0})(?![^\W\d_]|')"
)
_SENTENCE_END = re.compile(r"[.!?]+(?=\s|$|[\"'*)])|\n")


class Read(NamedTuple):
    """text: the value as written. end: where it ends."""

    text: str
    end: int


def read_value(text: str, at: int) -> Read | None:
    """The value that begins at a position, with those that are joined to it; None where none begins there."""
    found = _one_value(text, at)
    if found is None:
        return None
    values, end, alternatives = [found.text], found.end, False
    for _ in range(16):
        joint, following = _following(text, end)
        if following is None:
            break
        values.append(following.text)
        end = following.end
        alternatives |= joint is not None and "or" in joint.group().lower() and bool(_SIGN.search(following.text))
    if same_values(values):
        return Read(values[0], end)
    return Read((r" \text{ or } " if alternatives else ", ").join(values), end)


def _following(text: str, end: int) -> tuple[re.Match[str] | None, Read | None]:
    """What joins the next value to the one that ended, and that value."""
    for joint in (_AND.match(text, end), _hedged(text, end), _ASKED.match(text, end)):
        following = _one_value(text, joint.end()) if joint is not None else None
        if following is not None:
            return joint, following
    return None, None


def same_values(values: Sequence[str]) -> bool:
    """``1/2 or 0.5`` says one value twice; ``5, 5`` in one box is a list, and is not asked about here."""
    if len(set(values)) == 1:
        return True
    numbers = [parse_number(canonical(value)) if len(value) < 60 else None for value in values[:4]]
    first = numbers[0]
    return (
        len(values) < 5
        and first is not None
        and all(number is not None and same_number(number, first) for number in numbers)
    )


def _hedged(text: str, end: int) -> re.Match[str] | None:
    """``5. Or maybe 6`` offers both; ``5, or equivalently 10/2`` and ``5. Or 10/2 in lowest terms`` say it again."""
    match = HEDGE.match(text, end)
    if match is None or RESTATED.search(text, match.end(), min(len(text), match.end() + 60)):
        return None
    return match


def _one_value(text: str, at: int) -> Read | None:
    while at < len(text) and text[at] in " \t*_\"'`":
        at += 1
    formula = FORMULA.match(text, at)
    if formula is not None:
        return Read(formula_text(formula), _unit_end(text, formula.end()))
    box = re.compile(r"\\[bf]?box(?:ed)?\s*(?=\{)").match(text, at)
    if box is not None:
        content = braced(text, box.end())
        return None if content is None else Read(content, box.end() + len(content) + 2)
    date = _DATE.match(text, at)
    if date is not None:
        return Read(date.group(), date.end())
    choice = _CHOICE.match(text, at)
    if choice is not None and choice.group() not in "I":
        return Read(choice.group(), choice.end())
    everything = _REALS.match(text, at)
    if everything is not None:
        return Read(everything.group(), everything.end())
    word = re.compile(
        r"(?:(?:negative|minus)\s)?(?:" + _NUMBER_WORD + r")(?:[- ](?:" + _NUMBER_WORD + r"))*(?![A-Za-z])", re.I
    ).match(text, at)
    if word is not None:
        return Read(word.group(), word.end())
    sign = _SIGN_WORD.match(text, at)
    if sign is not None:
        found = _run(text, sign.end())
        return None if found is None else Read("-" + found.text, found.end)
    return _run(text, at) if _STARTS.match(text, at) else None


_NUMBER_WORD = (
    "zero|one|two|three|four|five|six|seven|eight|nine|ten|eleven|twelve|thirteen|fourteen|fifteen|sixteen|seventeen|eighteen|nineteen|"
    "twenty|thirty|forty|fifty|sixty|seventy|eighty|ninety"
)


def _run(text: str, at: int) -> Read | None:
    """Mathematics without delimiters, up to the first word that is no unit."""
    limit, end, position = min(len(text), at + _LONGEST), None, at
    while end is None:
        match = _SCAN.search(text, position, limit)
        if match is None:
            end = limit
        elif match.group("end") is not None and not (
            match.group() == "$" and match.start() <= at + 2 and _MONEY.match(text, match.end())
        ):
            end = match.start()
        else:
            position = match.end()
    run = text[at:end].rstrip(" \t,;:=*_-+~'\"(")
    run = run[: _balanced(run)].rstrip(" ,;:=*")
    if not re.search(r"[0-9]|\\[a-z]|[A-Za-z]|[∞π∅√]", run):
        return None
    stop = at + len(run)
    unit = _unit_end(text, stop) if re.search(r"[0-9}]$|[0-9]\s*%?$|π$|pi$", run) else stop
    return Read(text[at:unit].rstrip(), max(unit, stop))


def _balanced(run: str) -> int:
    """How much of it has its brackets in pairs; an interval may mix them, and ``]0,1[`` turns them."""
    if run.startswith("]") or run.endswith("["):
        return len(run)
    opened: list[int] = []
    for position, char in enumerate(run):
        if char in "([{":
            opened.append(position)
        elif char in ")]}":
            if not opened:
                return position
            opened.pop()
    return opened[0] if opened else len(run)


def _unit_end(text: str, at: int) -> int:
    """Where up to three words of a unit behind a number end."""
    end = at
    for count in range(3):
        match = _UNIT_WORD.match(text, end)
        if match is None or not match.group(1) or match.group(1).lower().rstrip(".") in _STOP_UNIT:
            if count and match is not None and match.group(1).lower() == "per":
                end = match.end()
                continue
            break
        end = match.end()
        if match.group(1).endswith(".") and not re.match(r"\s[a-z]", text[end : end + 2]):
            break
    return at + len(text[at:end].rstrip(". ")) if end > at else at


def formula_text(match: re.Match[str]) -> str:
    groups = [*match.groups()[:4], match.group(6)]
    content = next((part for part in groups if part is not None), "").strip().rstrip(".,;")
    inner = braced(content, 6) if content.startswith(r"\boxed{") else None
    if inner is not None and len(inner) + 8 == len(content):
        return inner
    if match.group(5) is not None or "&" in content:
        content = _ALIGNED.sub("", content).strip().removesuffix(r"\\")
        return (
            content.split(r"\\")[-1].replace("&", "") if "matrix" not in content and "array" not in content else content
        )
    return content


def read_statement(text: str, at: int) -> Read | None:
    """The value of a sentence that begins behind its label: ``x = 5``, ``that x equals 12``, ``3*4 = 12``, ``The sum is 9``."""
    filler = _FILLER.match(text, at)
    begin = filler.end() if filler is not None else at
    instead = _INSTEAD.match(text, begin)
    begin = instead.end() if instead is not None else begin
    found = read_value(text, begin)
    if found is not None and _COMPARED.match(text, found.end):
        found = None  # 5 more than that
    if found is not None:
        return _of_cases(text, _corrected(text, _linked(text, found)))
    end = sentence_end(text, begin)
    reason = _REASON.search(text, begin, end)
    end = reason.start() if reason is not None else end
    for copula in reversed(list(_COPULA.finditer(text, begin, end))):
        found = read_value(text, copula.end())
        if found is not None and found.end <= end + 1:
            return found
    return None


def _corrected(text: str, found: Read) -> Read:
    """``My answer was 41, but it is 42``."""
    but = _BUT.match(text, found.end)
    following = read_value(text, but.end()) if but is not None else None
    so = _SO.match(text, found.end) if but is None else None
    reached = read_value(text, so.end()) if so is not None else None
    if reached is not None and re.match(r"[$*\s]*(?:[.!]|$)", text[reached.end :]):
        return reached  # 3*4, so 12
    return following or found


def _of_cases(text: str, found: Read) -> Read:
    """``41 for x > 0 and 42 for x < 0`` is neither."""
    case = _CASE.match(text, found.end)
    other = read_value(text, case.end()) if case is not None else None
    if other is None or not re.match(r"\s+(?:for|if|when|otherwise)(?![A-Za-z])", text[other.end : other.end + 12]):
        return found
    return Read(f"{found.text}, {other.text}", other.end)


def _linked(text: str, found: Read) -> Read:
    """``$k$ is 27``, ``3*4 = 12``, ``x equals 5``: what stands behind the last of them."""
    for _ in range(0 if re.fullmatch(r"\(?[A-Z]\)?", found.text) and text[found.end : found.end + 1] == ":" else 8):
        link = _LINK.match(text, found.end)
        following = read_value(text, link.end()) if link is not None else None
        if following is None:
            return found
        found = following
    return found


def sentence_end(text: str, at: int) -> int:
    """Formulas may hold full stops and lines of their own."""
    position = at
    while True:
        match = _SENTENCE_END.search(text, position)
        if match is None:
            return len(text)
        formula = next(
            (f for f in FORMULA.finditer(text, at, min(len(text), at + 2_000)) if f.start() < match.start() < f.end()),
            None,
        )
        if formula is None:
            return match.start()
        position = formula.end()
