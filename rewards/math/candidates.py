r"""Finding every candidate answer in a text, with its kind of mark and its position; joining those that belong together.

Strings only: nothing is evaluated. ``rewards.math.decide`` says which candidate is the answer.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from rewards.math.labels import (
    AND,
    DIRECT,
    ENGLISH,
    FOREIGN,
    FOREIGN_NOT,
    HEADING,
    HEDGE,
    NOT_CONTENT,
    OR,
    RESTATED,
    SUBORDINATE,
)
from rewards.math.notation import MAX_ANSWER, braced
from rewards.math.prose import FORMULA, Read, formula_text, read_statement, read_value, same_values, sentence_end

_MOST = 64  # candidates of one kind: the last ones
_PROSE = 8_000  # characters at the end that are read as sentences

_BOX = re.compile(r"\\(?:boxed|fbox|bbox|framebox)\s{0,3}(?:\\?\{|([0-9A-Za-z.]{1,20})(?![A-Za-z]))")
_TAG = re.compile(
    r"<((?:final_?)?(?:answer|result)|final|ans)>(.*?)(?:</\1>|$)|\[((?:final[_ ]?)?answer)\](.*?)(?:\[/\3\]|$)"
    r"|\\begin\{((?:final)?answer)\}(.*?)(?:\\end\{\5\}|$)",
    re.IGNORECASE | re.DOTALL,
)
_HASH = re.compile(r"####[ \t]*([^\n#]{1,2000})")
_HEADING_WORDS = re.compile(
    r"^\W*(?:step|part|case|solution|final|answer|conclusion|verif|check|calculation|summary)[a-z]*\b|:\W*$",
    re.IGNORECASE,
)
_NOT = re.compile(
    r"(?<![A-Za-z])(?:not|n't|rather than|instead of|≠)(?: be| equal to| simply| just)?[\s$*(]*$", re.IGNORECASE
)
_DELIMITERS = re.compile(
    r"\$+|\\[()\[\],;:! ]|\\(?:quad|qquad|text|mathrm|left|right)(?![A-Za-z])|[{}*_\s~]+|\.(?=\s*$)"
)
_NAME = re.compile(
    r"(?:^|(?<=[,; ]))(?:(?:then|finally)\s+)?"
    r"((?:[A-Za-z]|[A-Za-z]_?[0-9A-Za-z])(?:\([a-z]\))?|\([A-Za-z](?:,[A-Za-z])+\)) ?= ?\(?$"
)
_NAMED_BEFORE = re.compile(  # So Alice is the answer
    r"(?:^|[.!?:,\n]\s*|(?<![A-Za-z])(?:so|thus|hence|therefore|that)\s+)"
    r"(?!(?:so|thus|hence|therefore|this|that|it|which|what|here|there|he|she|they|one|and|but)\s)([A-Za-z][A-Za-z'-]{1,24})\s$",
    re.IGNORECASE,
)
_JOINTS = frozenset(
    ("", ",", ";", "and", "or", ",and", ",or", ";and", ";or", "&", "/", "|", "and/or", "ormaybe", "orperhaps", "orpossibly",
     ",ormaybe", "andalso", "(or", "y", "o", "et", "ou", "und", "oder", "и", "или", "和", "或", "や", "と", "または", "및",
     "또는", "aswellas", *f"{AND}|{OR}".replace(" ", "").split("|"))
)  # fmt: skip
_VALUE = (
    r"(?:\*\*[^*\n]{1,60}\*\*|\$[^$\n]{1,120}\$|\([^()\n]{1,40}\)(?=\W)|\\?\$?[-+]?[0-9](?:[.,](?=[0-9])|[^\s,;.!?)*_]){0,40}"
    r"|\(?(?-i:[A-J])\)?(?![A-Za-z]))"
)
_LETTER = re.compile(r"[^\W\d_]|≠")
_NEGATED = re.compile(
    rf"(?<![A-Za-z])(?:if|suppose|assum(?:e|ing)|imagine|whether)(?: that)? (?:the|our|my) (?:final "
    rf"|correct )?answer (?:is|was|were|be) {_VALUE}"
    rf"|(?<![A-Za-z])between\s+{_VALUE}\s+and\s+{_VALUE},"
    rf"|(?<![A-Za-z])neither\s+{_VALUE}\s+n?or\s+{_VALUE}|(?:n'est pas|ne sont pas|no es|no son|não é|non è|nicht|(?<!\w)не|não"
    rf"|is niet|är inte|er ikke|nie jest|není|nu este|bukan|不是|並非|并非|不等于|≠)\s*{_VALUE}"
    rf"|{_VALUE}(?=\s?(?:ではな|じゃな|[이가] 아니|değil|नहीं))|"
    rf"\([^()\n]{{0,12}}(?<![A-Za-z])not {_VALUE}[^()\n]{{0,20}}\)|(?<![A-Za-z])(?:not|cannot be|can not be"
    rf"|rather than|instead of|never|no longer|nor|≠|\w{{2,6}}n't|(?:rul(?:e[ds]?|ing) out|exclud|reject|discard|eliminat|"
    rf"dismiss)(?:e[ds]?|s|ed|ing)?"
    r"|(?<!solution )(?<!solutions )(?:except(?: for)?|other than|apart from)|(?:differs?|different) from|unlike|unequal to)"
    rf"\s+(?:equal to |be |the |=\s*|[a-z]\s*=\s*)?{_VALUE}"
    rf"|(?<![0-9A-Za-z.,]){_VALUE}(?:\s[a-z]{{1,12}})?"
    r"(?=\s+(?:is|was|are)(?:\s+(?:also |clearly |simply |just |far |much |way )?(?:not|never|(?:the |an? )?(?:wrong|incorrect)"
    r"|incorrect|impossible|invalid|extraneous|false|ruled out|excluded|rejected|unreasonable|absurd"
    r"|an? (?:upper |lower |rough )?(?:bound|estimate|candidate|starting value)|(?:just |only "
    r"|merely )?a (?:wild |rough )?guess|out of the question"
    r"|too (?:large|small|big|little|high|low|many|few|long|short|much))|n't)(?![A-Za-z])"
    r"|\s+(?:fails?|(?:does not|doesn't|will not|won't|cannot|can't) (?:work|fit|hold|be (?:right|correct|it)))(?![A-Za-z]))",
    re.IGNORECASE,
)


@dataclass(frozen=True, slots=True)
class Candidate:
    """mark: ``boxed``, ``tag``, ``hash``, ``phrase``, ``weak`` (the solution is), ``word`` (an answer in words).
    text: its content. start, end: where it stands."""

    mark: str
    text: str
    start: int
    end: int


def boxes(text: str) -> list[Candidate]:
    r"""Whole ``\boxed{}``; joined ones are one candidate. One that was never closed is passed over."""
    found: list[Candidate] = []
    for match in list(_BOX.finditer(text))[-_MOST:]:
        brace = match.end() - 1
        content = match.group(1) if match.group(1) is not None else braced(text, brace)
        if content is None or _NOT.search(text, max(0, match.start() - 24), match.start()):
            continue
        end = match.end() if match.group(1) is not None else brace + len(content) + 2
        if found and found[-1].start < match.start() < found[-1].end:
            found.pop()  # a box within a box
        found.append(Candidate("boxed", content, match.start(), end))
    return _joined(text, found)


def tags(text: str) -> list[Candidate]:
    matches = list(_TAG.finditer(text))[-_MOST:]
    found = [
        Candidate("tag", (m.group(2) or m.group(4) or m.group(6) or "").strip(), m.start(), m.end()) for m in matches
    ]
    return _joined(text, found)


def hashes(text: str) -> list[Candidate]:
    """GSM8K's ``#### 5``; a heading of the fourth level is none."""
    matches = list(_HASH.finditer(text))[-_MOST:]
    found = [
        Candidate("hash", m.group(1).strip(), m.start(), m.end())
        for m in matches
        if not _HEADING_WORDS.search(m.group(1).strip("* "))
    ]
    return _joined(text, found)


def phrases(text: str) -> list[Candidate]:
    """Sentences, headings and labels that announce the answer, in the order of the text."""
    shift = max(0, len(text) - _PROSE)
    prose = without_negations(text[shift:])
    found = sorted([*_english(prose), *_headings(prose), *_foreign(prose)], key=lambda candidate: candidate.start)
    return [Candidate(c.mark, c.text, c.start + shift, c.end + shift) for c in found]


def without_negations(text: str) -> str:
    """``not 5`` and ``5 is wrong`` state no 5. Positions stay."""
    if _LETTER.search(text) is None:
        return text  # 100,000 digits deny nothing
    return _NEGATED.sub(lambda match: " " * len(match.group()), text)


def _english(text: str) -> Iterator[Candidate]:
    for match in list(ENGLISH.finditer(text))[-_MOST:]:
        if re.search(
            r"(?<![A-Za-z])if (?:the |our |my )?(?:final |correct )?$",
            text[max(0, match.start() - 24) : match.start()],
            re.IGNORECASE,
        ):
            continue
        value = read_statement(text, match.end())
        mark = "phrase" if match.group("strong") else "weak"
        heading = re.match(r"[ \t*_:]*\n", text[match.end() : match.end() + 12]) is not None
        if mark == "weak" and (heading or _goes_on(text, match.group("weak"), value)):
            continue
        if value is not None:
            yield Candidate(mark, value.text, match.start(), value.end)
            continue
        words = _words(text, match.end())
        if (
            words is not None
            and mark == "phrase"
            and not SUBORDINATE.search(text[max(0, match.start() - 100) : match.start()])
        ):
            yield Candidate("word", words.text, match.start(), words.end)
    reverse = re.compile(
        r"(?:is|are) (?:thus |therefore |indeed )?(?:the|our|my) (?:final |correct |right |required )*"
        r"(?:answer|choice|option)(?![A-Za-z])|is (?:the )?(?:correct|right)(?! (?:angle|hand|side|of|triangle))(?![A-Za-z])"
    )
    for match in list(reverse.finditer(text))[-8:]:
        before = _value_before(text, match.start())
        if before is not None:
            yield Candidate("phrase", before.text, match.start(), match.end())
        elif (named := _NAMED_BEFORE.search(text, max(0, match.start() - 60), match.start())) is not None:
            yield Candidate("word", named.group(1), match.start(), match.end())


def _goes_on(text: str, noun: str, value: Read | None) -> bool:
    """``The result is 5`` is a step where more numbers follow; a solution is checked with some."""
    return (
        not noun.lower().startswith("solution")
        and value is not None
        and re.search("[0-9]", text[value.end :]) is not None
    )


def _value_before(text: str, at: int) -> Read | None:
    """The value that ends right before a position: ``so 42 `` of ``so 42 is the answer``."""
    start = max(text.rfind(". ", 0, at), text.rfind("\n", 0, at), at - 200, -1) + 1
    best = None
    position = start
    while position < at:
        if position == 0 or not text[position - 1].isalnum() or text[position - 1] == " ":
            value = read_value(text, position)
            if value is not None and not text[value.end : at].strip(" *_)") and value.end <= at:
                best = value
                break
            if value is not None:
                position = max(position + 1, min(value.end, at))
                continue
        position += 1
    return best


def _headings(text: str) -> Iterator[Candidate]:
    for pattern in (HEADING, DIRECT):
        for match in list(pattern.finditer(text))[-8:]:
            value = read_statement(text, match.end())
            words = value or _words(text, match.end())
            if words is not None:
                yield Candidate("phrase" if value else "word", words.text, match.start(), words.end)


def _foreign(text: str) -> Iterator[Candidate]:
    for match in list(FOREIGN.finditer(text))[-_MOST:]:
        window = text[match.end() : match.end() + 60]
        stop = re.search(r"[.!?](?=\s)|\n(?=\s*\S)|[0-9]", window.lstrip("\n*:_ "))
        lead = len(window) - len(window.lstrip("\n*:_ "))
        limit = match.end() + lead + (stop.start() if stop is not None else 60)
        value = None
        for position in range(match.end(), min(limit, len(text) - 1) + 1):
            if text[position : position + 1].strip(" \n*_:=\"'") == "" or (
                text[position - 1].isascii() and text[position - 1].isalnum()
            ):
                continue
            value = read_value(text, position)
            if value is not None:
                break
        if value is not None and not FOREIGN_NOT.search(text, match.end(), position):
            linked = read_statement(text, position)
            yield Candidate("phrase", (linked or value).text, match.start(), (linked or value).end)
        elif value is None and re.match(r"[*_\s]*[:=→]", text[match.end() : match.end() + 8]):
            words = _words(text, match.end())
            if words is not None:
                yield Candidate("word", words.text, match.start(), words.end)


def _words(text: str, at: int) -> Read | None:
    """``Tuesday``, ``no solution``: an answer in words, up to the end of its sentence."""
    begin = re.compile(r"[\s:*_=\"'`]*(?:(?:therefore|thus|simply|clearly|definitely|that)\s+)?[\"'*_]*").match(
        text, at
    )
    start = begin.end() if begin is not None else at
    end = sentence_end(text, start)
    cut = re.compile(
        r"[,;]?\s(?:because|since|which|where|so|as|when|for|in total|and not|but not|(?<![Dd]oes )(?<!do )not)\b|,|;"
        r"|\s[(–—-]\s?|[*\"`<|]"
    ).search(text, start, end)
    content = text[start : cut.start() if cut is not None else end].strip(" *_\"'.:")
    if not content or len(content) > 80 or NOT_CONTENT.match(content):
        return None
    return Read(content, end)


def _joined(text: str, found: list[Candidate]) -> list[Candidate]:
    """Neighbours with no more between them than ``and``, ``or`` or a comma are one list, a hedge too."""
    groups: list[list[Candidate]] = []
    for candidate in found:
        if groups and _joins(text[groups[-1][-1].end : candidate.start]):
            groups[-1].append(candidate)
        else:
            groups.append([candidate])
    return [_one(text, group) for group in groups]


def _joins(gap: str) -> bool:
    if len(gap) > 80:
        return False
    bare = _DELIMITERS.sub(" ", gap).strip()
    bare = _NAME.sub("", bare).strip().lower().replace(" ", "")
    if bare in _JOINTS:
        return True
    if RESTATED.search(gap):
        return False
    if HEDGE.fullmatch(gap.strip(" $*") + " "):
        return True
    return bool(
        re.fullmatch(
            r"[^.\n]{0,20}[\s,](?:or|and)(?:\s+(?:maybe|perhaps|possibly))?[\s(]*",
            " " + _DELIMITERS.sub(" ", gap),
            re.IGNORECASE,
        )
    ) or bool(
        re.search(
            r"(?<![A-Za-z])(?:or (?:maybe|perhaps|possibly|else)|alternatively|(?:could|might|may) also be)(?![A-Za-z])",
            gap,
            re.IGNORECASE,
        )
    )


def _one(text: str, group: list[Candidate]) -> Candidate:
    first, last = group[0], group[-1]
    if len(group) == 1:
        return first
    contents = [candidate.text.strip() for candidate in group]
    if same_values(contents):
        return last
    names = []
    for before, candidate in zip([None, *group], group, strict=False):
        lead = text[max(0, candidate.start - 24) if before is None else before.end : candidate.start]
        name = _NAME.search(_DELIMITERS.sub(" ", lead).rstrip())
        names.append(name.group(1) if name is not None else "")
    opening, closing = text[: first.start].rstrip()[-1:], text[last.end :].lstrip()[:1]
    if opening + closing in ("()", "[]", "(]", "[)"):
        joined = opening + ", ".join(contents) + closing
    elif all(names) and len(set(names)) == len(names) and not any("=" in content for content in contents):
        joined = ", ".join(f"{name}={content}" for name, content in zip(names, contents, strict=True))
    else:
        joined = ", ".join(contents)
    return Candidate(first.mark, joined[: MAX_ANSWER + 1], first.start, last.end)


def formulas(text: str) -> list[Candidate]:
    found = [Candidate("formula", formula_text(m), m.start(), m.end()) for m in FORMULA.finditer(text)]
    return _joined(text, found[-_MOST:])
