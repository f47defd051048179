r"""Which candidate is the answer: one pass over what ``rewards.math.candidates`` found, and these rules.

| what a text has | its answer |
|---|---|
| something struck out, ``~~41~~`` | is not there |
| a correction (``No, wait``, ``Actually``) with a statement behind it | is read from there on |
| ``\boxed{}``, ``<answer>``, ``#### 5`` | the last of them; a tag is read as a text of its own |
| a box, and "the answer is 6" behind it | 6: the later statement |
| marks joined by ``and``, ``or`` or a comma | one list; so a hedge is a list, and no single value |
| ``x = \boxed{3}, y = \boxed{4}`` | ``x=3, y=4`` |
| "the answer is", in thirty languages, a heading, "5 is the answer" | the last with a value; answer before solution, result |
| "not 5", "rather than 5", "5 is wrong" | states no 5 |
| "since the answer is positive" | no statement |
| a short text, or a short last line | all of it |
| anything else | the last sentence with a value: behind ``is``, in bold, its formulas, its last number |
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from rewards.math.candidates import Candidate, boxes, hashes, phrases, tags, without_negations
from rewards.math.closing import ATTEMPT, CHOSEN, PROSE, YES, closing
from rewards.math.labels import CORRECTION, CUT_OFF, GAVE_UP, REFERRED
from rewards.math.notation import MAX_ANSWER, canonical, plain_words, strip_delimiters
from rewards.math.prose import FORMULA, formula_text, read_statement, read_value
from rewards.math.quantities import parse_number
from rewards.math.script import one_script, without_strikes
from rewards.response import split_response

SOURCES = ("boxed", "hash", "tag", "bare", "phrase", "formula", "last_number")

_TAIL = 100_000  # characters of a completion that are searched
_CORRECTIONS = 12

_ROW_END = re.compile(r"(\\\\(?:\[[^\[\]\n]{1,9}\])?)[ \t]*\n[ \t]*")  # of a matrix: its rows go on one line
_ACCENTED = r"\u00c0-\u024f\u1e00-\u1eff"
_WORD = re.compile(
    rf"(?<![\\A-Za-z])[A-Za-z]{{2,}}(?![{_ACCENTED}])|(?<![^\W\d_])(?=[A-Za-z]*[{_ACCENTED}])[A-Za-z{_ACCENTED}]{{2,}}"
)
_COPULA_ABROAD = re.compile(
    r"(?<=[^\W\d_])\s(?:é|è|es|est|ist|jest|je|är|er|são|sont|sind|zijn|há)\s+(?=[-+$\\(*0-9])",
    re.IGNORECASE,
)
_NO_WORDS = re.compile(
    r"\\[A-Za-z]+\s*\{[^{}]*\}|\\[A-Za-z]+|(?<![A-Za-z])(?:and|or|sin|cos|tan|log|ln|sqrt|pi)(?![A-Za-z])"
)
_LEAD = re.compile(
    r"^[\s*,;:.]*(?:(?:so|thus|hence|therefore|then|we (?:get|have|find)(?: that)?|(?:i|we) (?:think|believe)(?: that)?"
    r"|portanto|logo|por (?:lo )?tanto|entonces|luego|quindi|dunque|pertanto|donc|ainsi|alors|also|somit|daher"
    r"|folglich|dus|więc|zatem"
    r"|tehát|jadi|vậy|deci|alltså|altså|yani|итак|следовательно|значит|отже"
    r"|it(?: i|'|)s)\b[,:]?\s+)+",
    re.IGNORECASE,
)
_LABEL = re.compile(
    r"^[\s*_>#-]*(?:the\s+)?(?:final\s+|correct\s+|right\s+)?"
    r"(?:[A-Za-z][A-Za-z ]{1,30}:\s+(?=[-\d$\\(\[*])|(?:answer|ans)\b\**\s*(?:is|:|=)?"
    r"|(?:option|choice)\b\**\s*(?:is|:|=)?(?=\W*[A-Z]\b))[\s:]*",
    re.IGNORECASE,
)
_AFTER_CORRECTION = re.compile(
    r"(?:[\s,:;.!—–*]|-(?![-0-9.\\$]))*(?:(?:it|that|this)(?:'s| is| was| should be| should have been"
r"| must be| equals)|(?:the )?(?:correct|right|actual|real|final)? ?(?:answer|value|result|one|number) (?:is|should be)"
    r"|should be|should read|i meant|i mean|make (?:it|that)|no)?[\s,:*]*",
    re.IGNORECASE,
)  # fmt: skip
_SAID = re.compile(
    r"[*_\s]*(?!(?:sin|cos|tan|sec|csc|cot|log|ln|exp|abs|sqrt|cbrt|floor|ceil|binom|rs|usd|eur|about|a(?:sin|cos|tan)))(?:[A-Za-z]{2,}(?:'[a-z]+)?|[A-Za-z]'[a-z]+|[A-Za-z](?=\s+(?:is|are|was|equals)\s))\s+(?![=<>+*/^(:-])",
    re.IGNORECASE,
)
_TWO_SENTENCES = re.compile(r"\n|[.!?]\s+(?=[A-Z][a-z]+\s)")
_END_TOKEN = re.compile(
    r"<\|(?:im_end|endoftext|eot_id|end|eos|end_of_text|end_of_turn|assistant_end)\|>|</s>|<(?:eos|end_of_turn)>|<｜end▁of▁sentence｜>|<\|im_start\|>\s*user"
)
_NEXT_QUESTION = re.compile(
    r"\n\s*[#*_]{0,4}\s*(?:question|problem|exercise|q|human|user|instruction)s?\s?[0-9]{0,4}[*_]{0,2}\s?:",
    re.IGNORECASE,
)
_TEXT = re.compile(r"\\(?:text\w*|mbox|mathrm)\s*\{([^{}]*)\}")
_OTHER_SCRIPT = re.compile(r"(?![µΩ])[\u0400-\u1fff\u2e80-\uffdc]{2,}|[\u3400-\u9fff](?=.)")
_ARTICLE = re.compile(r"A (?!and |or )[a-z]")
_QUANTITY = re.compile(  # 5\text{ J} is no sentence
    r"(?:(?!\\text)[^\n])*\\text\w*\s*\{(?![^{}]*(?<![A-Za-z])(?:is|are|was|or|and|answer)(?![A-Za-z]))[^{}]{1,30}\}(?:\^\{?[0-9]\}?)?\s*"
)
_DATA = re.compile(r"""\{\s*["'][A-Za-z_ ]{1,20}["']\s*:\s*["']?([^"'{}]{1,200}?)["']?\s*\}""")  # {"value": 5}
_PICTOGRAPHS = re.compile(r"[\s\u2600-\u27bf\U0001f300-\U0001faff]+$")
_CALCULATED = re.compile(r"[^=\n]{1,60}[0-9)} ] (?:is|makes|gives) [-$\\(]{0,2}[0-9]")  # 7 times 8 is 56
_TAG_QUESTION = re.compile(r",?\s(?:isn't it|right|correct|no|doesn't it|don't you think)\?\s*$", re.IGNORECASE)
_EXPLAINED = re.compile(
    r"\n\s*[*_#]*(?:here(?:'s| is) (?:why|how)|why|because|details|derivation|workings?|steps|explanation"
    r"|confidence|certainty|score|source|references?|reasoning|justification|notes?|proof|check|verification)s?[*_\s]*:",
    re.IGNORECASE,
)
_PLAIN_VALUE = re.compile(
    r"[*$\s]*(?:[A-Za-z](?:_?[0-9])?\s?=\s?)?(?:[-+]?\\?\$?[0-9][0-9.,/]*\s?\\?%?|\(?[A-J]\)?)[*$\s.]*"
)
_BULLET = re.compile(r"^\s*(?:[>•‣▪●◦\u2600-\u27bf\U0001f300-\U0001faff]+|#{1,6}(?=\s))\s*")
_ASIDE = re.compile(
    r"[\s,.!*_]*(?:(?:now|then|today|final answer|in total|in all|altogether|left|remaining|again|too|as well|exactly|overall)"
    r"(?![A-Za-z])[\s,.!*_]*)*"
    r"(?:\([A-Za-z][^()0-9]{1,60}\))?[\s,.!*_]*",
    re.IGNORECASE,
)
_ARROW = re.compile(r"^.*(?:→|⇒|⟹|➡|➜|[-=]+>|[,\s]i\.e\.,?)\s*(?=[-+−$\\*(0-9])", re.DOTALL)
# A value at the very beginning, and why: ``15, because 9 + 6 = 15``, ``15. This is 9 + 6.``
_REASONED = re.compile(
    r"[\s*$]*((?:[A-Za-z]\s?=\s?)?[-+−]?\\?[$€£]?(?:[0-9][0-9.,/]*(?<![.,])\s?\\?%?"
    r"|\([-0-9., ]{3,40}\)))[*$]*\s*(?:[,.;:]|\s?[–—-](?=\s))?\s*"
    r"(?:because|since|as|for|this is|that is|it is|this comes|(?:this|that|it) follows|we get)(?![A-Za-z])",
    re.IGNORECASE,
)


def extract_answer(completion: str, sources: Sequence[str] = (), wanted: str = "") -> str | None:
    """The answer as written, or None where the completion gives none.

    sources: which of ``SOURCES`` count; all where empty. wanted: ``word``, ``yes`` or ``choice`` where the reference is one.
    It only says what kind of thing an unmarked sentence is read for.
    """
    region = split_response(completion).answer
    if not region:
        return None
    text = _first_turn(without_strikes(_ROW_END.sub(r"\1 ", region[-_TAIL:])))
    if not text:
        return None
    found = _decide(text, frozenset(sources or SOURCES), wanted)
    if found is None:
        if sources or ATTEMPT.match(text):
            return None
        return (without_negations(text).strip() if len(text) <= MAX_ANSWER else text) or None
    return unlabelled(found.strip()) or None


def _first_turn(text: str) -> str:
    """What comes before an end token, or before a question that the model asks itself next."""
    end = _END_TOKEN.search(text)
    text = one_script(text[: end.start()] if end is not None and text[: end.start()].strip() else text).strip()
    for match in _NEXT_QUESTION.finditer(text):
        before = text[: match.start()]
        if boxes(before) or hashes(before) or tags(before) or any(c.mark == "phrase" for c in phrases(before)):
            return before.strip()
        break
    return text


def _decide(text: str, sources: frozenset[str], wanted: str) -> str | None:
    explicit = [
        c for name, find in (("boxed", boxes), ("tag", tags), ("hash", hashes)) if name in sources for c in find(text)
    ]
    stated = phrases(text) if "phrase" in sources else []
    explicit, stated, corrected = _corrected(text, explicit, stated)
    if corrected is not None and "phrase" in sources:
        return corrected
    strong = [c for c in stated if c.mark == "phrase"]
    if (
        not explicit
        and wanted != "word"
        and GAVE_UP.search(text, max([0, len(text) - 160, *(c.start for c in strong)]))
    ):
        return None
    if explicit:
        last = max(explicit, key=lambda candidate: (candidate.end, candidate.start))
        later = (
            [c for c in strong if c.start >= last.end and re.search(r"[0-9]", c.text)] if last.mark == "boxed" else []
        )
        if later:
            return later[-1].text
        if last.mark != "boxed":
            return _within(last.text, wanted)
        words = plain_words(last.text) if r"\text" in last.text and "eal numbers" not in last.text else ""
        said = phrases(words) or len(words.split()) > 2 and re.search("[0-9]", words)
        said = said and not _QUANTITY.fullmatch(last.text) and parse_number(canonical(last.text)) is None
        return _within(_TEXT.sub(r" \1 ", last.text).strip(), wanted) if said and len(words) < 300 else last.text
    if strong:
        return (
            None
            if re.fullmatch(r"\s*(?:[-+*/×÷·−]|\\(?:times|cdot|div))\s*", text[strong[-1].end :])
            else strong[-1].text
        )
    if CUT_OFF.search(text, max(0, len(text) - 60)):
        return None
    text = _TAG_QUESTION.sub(".", REFERRED.sub(lambda match: " " * len(match.group()), text))
    bare = (_lines(text[:MAX_ANSWER]) or _bare(text, wanted)) if "bare" in sources else None
    if bare is not None:
        return bare
    explained = _EXPLAINED.search(text)
    if explained is not None and explained.start() and (before := text[: explained.start()].strip()):
        return _decide(before, sources, wanted)
    weak = [c for c in stated if c.mark == "weak"] + [c for c in stated if c.mark == "word"]
    if weak:
        return max(weak, key=lambda candidate: candidate.start).text
    return _last_line(text, sources, wanted) or closing(text, sources, wanted)


def _corrected(
    text: str, explicit: list[Candidate], stated: list[Candidate]
) -> tuple[list[Candidate], list[Candidate], str | None]:
    """What remains behind the last correction that a statement follows; or the value that the correction itself gives."""
    everything = [*explicit, *(c for c in stated if c.mark == "phrase")]
    shift = max(0, len(text) - PROSE * 4)
    for match in list(CORRECTION.finditer(text, shift))[: -_CORRECTIONS - 1 : -1]:
        at = match.start()
        stated_before = any(c.end <= at + 1 for c in everything)
        if not (stated_before or re.search("[0-9]", text[max(0, at - 200) : at])) or any(
            c.start < at < c.end for c in explicit
        ):
            continue
        after = [c for c in everything if c.start >= at]
        if after and not stated_before:
            continue
        if after:
            return [c for c in explicit if c.start >= at], [c for c in stated if c.start >= at], None
        value = _stated_at(text, match.end(), stated_before)
        if value is not None:
            return [], [], value
    return explicit, stated, None


def _stated_at(text: str, at: int, stated_before: bool) -> str | None:
    """The value right behind a correction, where it is a statement by itself: ``it's 42.``, not ``3 times 4 is 12``."""
    lead = _AFTER_CORRECTION.match(text, at)
    value = read_value(text, lead.end() if lead is not None else at)
    if value is None or "=" in value.text or (not stated_before and re.search("[0-9]", text[value.end :])):
        return None
    rest = text[value.end : value.end + 40].lstrip("*_`\"')$ ")
    return value.text if not rest or rest[0] in ".,;!?\n(" else None


def _lines(text: str) -> str | None:
    """Values on lines of their own are a list."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    if len(lines) > 2 and lines[0].endswith(":") and not re.search("[0-9]", lines[0]):
        lines = lines[1:]  # Roots:
    if all(line.startswith(("- ", "* ")) for line in lines):
        lines = [line[2:] for line in lines]
    return ", ".join(lines) if 1 < len(lines) < 9 and all(_PLAIN_VALUE.fullmatch(line) for line in lines) else None


def _within(content: str, wanted: str) -> str:
    """The answer of a tag's or a hash's content: a box, a sentence, or all of it."""
    data = _DATA.fullmatch(content.strip())
    content = data.group(1) if data is not None else content
    listed = _lines(content) if len(content) < MAX_ANSWER else None
    if listed is not None:
        return listed
    if len(content) > MAX_ANSWER * 4:
        return content
    sentence = len(_WORD.findall(_NO_WORDS.sub("", content))) > 2
    without = {"tag", "hash"} if sentence else {"tag", "hash", "formula", "last_number"}
    return _decide(content, frozenset(SOURCES) - without, wanted) or content


def _bare(text: str, wanted: str) -> str | None:
    """All of a text that is short enough to be an answer by itself."""
    if wanted == "yes" and (said := YES.match(text)) is not None:
        return said.group(1)
    if not wanted and (reasoned := _REASONED.match(text)) is not None:
        return reasoned.group(1)
    if text.rstrip().endswith("?") and re.search("[0-9]", text):
        return None
    if len(text) > MAX_ANSWER:
        return None
    text = _BULLET.sub("", without_negations(text))
    if wanted == "choice" and _ARTICLE.match(text) and len(CHOSEN.findall(text)) == 1:
        return None  # A alternativa correta é D
    if wanted == "choice" and not re.match(
        r"\W*(?:text\w*\W*|option |choice )?(?!I[\s'])[A-Z](?![a-z])", text, re.IGNORECASE
    ):
        return None
    if _TWO_SENTENCES.search(text):
        return None
    formula = FORMULA.fullmatch(text.strip())
    if formula is not None:
        return formula_text(formula)
    text = text.replace("**", "") if text.count("**") % 2 == 0 else text
    text = _LEAD.sub("", _ARROW.sub("", text, count=1), count=1)
    short = _LABEL.sub("", text, count=1)
    abroad = _COPULA_ABROAD.search(text)
    if short != text or abroad is not None:
        value = read_statement(short, 0) if short != text else read_value(text, abroad.end() if abroad else 0)
        return value.text if value is not None else None
    if len(_WORD.findall(_NO_WORDS.sub("", text))) > 2 or (_SAID.match(text) and re.search("[0-9]", text)):
        return None
    if _CALCULATED.match(text):
        return None
    value = read_value(text, 0) if re.search(r"[0-9]", text) and not text.lstrip().startswith("\\") else None
    if value is not None and _ASIDE.fullmatch(text, value.end) and not re.match(r"!$|,\s*\.\.", text[value.end :]):
        return text[: value.end]
    prose = "$" in text.replace("\\$", "") and re.search(r"[A-Za-z]", FORMULA.sub("", text))
    return None if prose or (_OTHER_SCRIPT.search(text) and re.search("[0-9]", text)) else text


def _last_line(text: str, sources: frozenset[str], wanted: str) -> str | None:
    """The last line, where it is a value or a label with one: ``**42**``, ``- Total: 42``."""
    if "bare" not in sources:
        return None
    text = without_negations(text)
    shown = [f for f in FORMULA.finditer(text, max(0, len(text) - PROSE)) if not text[f.end() :].strip(" .*\n")]
    if shown and not wanted and "\n" in shown[-1].group():
        return formula_text(shown[-1])  # displayed, on lines of its own
    line = _BULLET.sub("", text.rstrip().rsplit("\n", 1)[-1].strip())
    if wanted == "yes" and (said := YES.match(line)) is not None:
        return said.group(1)
    if len(line) > 120 or _TWO_SENTENCES.search(line):
        return None
    if (cells := re.fullmatch(r"\|(.+)\|", line)) is not None and re.search(
        r"\|\s*\**(?:answer|result|total|value)s?", text, re.IGNORECASE
    ):
        line = cells.group(1).rsplit("|", 1)[-1].strip(" *")
    line = _ARROW.sub("", line, count=1).lstrip("=≈ ")
    label = _LABEL.sub("", line, count=1)
    if label != line:
        value = read_statement(label, 0)
        return value.text if value is not None else None
    line = _LEAD.sub("", line, count=1) if wanted else line
    words = _WORD.findall(_NO_WORDS.sub("", line))
    if wanted in ("word", "choice", "yes"):
        letter = re.fullmatch(r"\W*[A-J]\W*", line) is not None
        return line if letter or (wanted != "choice" and 0 < len(words) < 3) else None
    value = read_value(line, 0)
    return value.text if value is not None and len(words) < 3 and not line[value.end :].strip(" .*_`!\"')$") else None


def unlabelled(text: str) -> str:
    """``Answer: 5`` is 5, and ``**5**`` too, wherever it was found."""
    if len(text) > MAX_ANSWER:
        return text
    short = _PICTOGRAPHS.sub("", _LABEL.sub("", text, count=1)).strip()
    short = short if short.endswith("...") else short.rstrip("*_. ") or text.strip("*_. ")
    return strip_delimiters(re.sub(r"^(?:\*|__)+", "", short).strip()) if short else text
