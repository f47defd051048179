r"""One script: full-width and other digits, punctuation of other languages, invisible characters, special tokens, strikes; and
without what only decorates: HTML, colours and lines in TeX, GSM8K's calculator marks."""

from __future__ import annotations

import html
import re
import unicodedata

_INVISIBLE = dict.fromkeys(
    map(ord, "\u200b\u200c\u200d\u200e\u200f\u2060\u2061\u2063\u2064\ufeff\u00ad\ufe0e\ufe0f\u20e3")
)
_BIDI = dict.fromkeys((*range(0x202A, 0x202F), *range(0x2066, 0x206A)))
_WIDE = {0xFF01 + place: 0x21 + place for place in range(94)}
_MARKS = str.maketrans(
    {
        "。": ". ", "｡": ". ", "、": ", ", "，": ", ", "।": ". ", "॥": ". ", "؟": "?", "،": ", ", "؛": "; ", "٫": ".",
        "٬": ",", "٪": "%", "＄": r"\$", "【": "[", "】": "]", "「": '"', "」": '"', "『": '"', "』": '"', "“": '"',
        "”": '"', "„": '"', "«": '"', "»": '"', "〜": "~", "−": "-", "\u3000": " ", "\u00a0": " ", "\u202f": " ",
        "\u2009": " ", "﹣": "-", "‐": "-", "‑": "-", "∶": ":", "∕": "/", "✓": " ", "✔": " ", "✅": " ",
    }
)  # fmt: skip
_TABLE = {**_WIDE, **_INVISIBLE, **_BIDI, **_MARKS}
_OTHER_DIGIT = re.compile(r"(?![0-9])\d|[\U0001d400-\U0001d7cd]")
_TOKENS = re.compile(
    r"<\|[A-Za-z0-9_ ]{1,30}\|>|</?s>|<(?:eos|bos|pad|unk|end_of_turn|start_of_turn)>|\[/?INST\]|<｜[^｜<>]{1,40}｜>"
)
_HTML = re.compile(
    r"</?(?:b|i|em|strong|u|p|span|div|li|ul|ol|code|pre|center|ins|mark|font|h[1-6]|small|big|td|tr|th|table|tbody|solution|response|output)"
    r"(?:\s[^<>]{0,120})?>|<br ?/?>"
)
_ENTITY = re.compile(r"&(?:[a-z]{2,8}|#[0-9]{2,5});")
_POWER = re.compile(r"<sup>([^<>]{1,20})</sup>")
_CALCULATED = re.compile(r"<<[^<>\n]{1,80}=[^<>\n]{0,40}>>")
_GUILLEMETS = re.compile(r"<<\s*([-+]?[0-9][0-9.,/]*)\s*>>")  # 42 in marks of its own
_DECORATED = re.compile(
    r"\\(?:underline|uline|(?:text|f)?color(?:box)?\s*\{[^{}]{0,30}\}(?:\s*\{[^{}]{0,30}\}(?=\s*\{))?|bm|pmb|boldsymbol|mathbf|smash)\s*\{((?:[^{}]|\{[^{}]{0,80}\}){0,200})\}"
)
_EMPTY = re.compile(r"(?<=[0-9])\{\}")
_END_MARK = re.compile(
    r"\$?\s*\\(?:blacksquare|qed|Box|square)(?![A-Za-z])\s*\$?(?=[\s.]*(?:\n|$))|[∎■□](?=[\s.]*(?:\n|$))"
)
_FRACTION = re.compile("([⁰¹²³⁴-⁹]{1,9})[⁄/]([₀-₉]{1,9})")
_OVER = re.compile(r"(?<![0-9.])([0-9]{1,6}) over ([0-9]{1,6})(?![0-9]|\.[0-9])")
ONES = (
    "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen "
    "seventeen eighteen nineteen"
).split()
TENS = "twenty thirty forty fifty sixty seventy eighty ninety".split()
_SMALL = {word: value for value, word in enumerate(ONES)} | {word: 10 * value for value, word in enumerate(TENS, 2)}
_PLUS_MINUS = re.compile(r"(?<=[0-9$)}]) (?:plus or minus|give or take|plus/minus) (?=[0-9$\\(])")
_TWICE = re.compile(r"(?<![0-9.,)])([0-9]{1,12}) \(\1\)")  # 100 (one hundred)
_SCALE = {"hundred": 100, "thousand": 1_000, "million": 1_000_000}
_WORDS = re.compile(
    rf"(?<![A-Za-z-])(?:{'|'.join(_SMALL)})(?:[ -](?:and )?(?:{'|'.join([*_SMALL, *_SCALE])}))+(?![A-Za-z-])",
    re.IGNORECASE,
)
_HALF_OF_DAY = re.compile(
    r"(?<![0-9:])([0-9]{1,2}(?::[0-9]{2})?)(?: o'clock)?,? in the (morning|afternoon|evening)(?![A-Za-z])",
    re.IGNORECASE,
)
_STRUCK = re.compile(
    r"~~[^~\n]{1,300}~~|<(del|strike|s)>.{0,300}?</\1>|\\(?:cancel|bcancel|xcancel|sout|st)\s*\{[^{}]{0,200}\}",
    re.DOTALL,
)


def one_script(text: str) -> str:
    """Example: ``答案：４２。`` is ``答案:42. ``. Superscripts stay: they are no digits."""
    if not text.isascii():
        text = _TOKENS.sub(" ", text).translate(_TABLE)
        text = _OTHER_DIGIT.sub(lambda match: unicodedata.normalize("NFKC", _digit(match.group())), text)
    if "<" in text or "[" in text:
        text = _HTML.sub(" ", _POWER.sub(r"^{\1}", _GUILLEMETS.sub(r"\1", _CALCULATED.sub("", _TOKENS.sub(" ", text)))))
    if "&" in text:
        text = _ENTITY.sub(lambda match: html.unescape(match.group()).replace("\u00a0", " "), text)
    text = _undecorated(text)
    text = _EMPTY.sub("", text.replace("{-}", "-")) if "{" in text else text
    return _plain_numbers(text)


def _undecorated(text: str) -> str:
    if "\\" in text:
        for _ in range(3):
            text = _DECORATED.sub(r"\1", text)
        text = _END_MARK.sub(" ", text)
    return text


def _plain_numbers(text: str) -> str:
    """``⁶⁄₇``, ``6 over 7`` and ``one hundred and six`` in digits."""
    if not text.isascii():
        text = _FRACTION.sub(
            lambda found: "/".join(unicodedata.normalize("NFKC", part) for part in found.groups()), text
        )
        text = text.replace("⁄", "/")
    if " or " in text or " plus/" in text:
        text = _PLUS_MINUS.sub(r" \\pm ", text)
    if " in the " in text:
        text = _HALF_OF_DAY.sub(lambda m: f"{m.group(1)} {'AM' if m.group(2).lower() == 'morning' else 'PM'}", text)
    text = text.replace("!=", "≠") if "!=" in text else text
    if " over " in text:
        text = _OVER.sub(r"\1/\2", text)
    lower = text.lower()
    if "hundred" in lower or "thousand" in lower:
        text = _TWICE.sub(r"\1", _WORDS.sub(_in_digits, text))
    return text


def _in_digits(found: re.Match[str]) -> str:
    """A run of number words; left alone where it has no scale, or is not one number."""
    words = [word for word in re.split(r"[ -]+", found.group().lower()) if word != "and"]
    if not any(word in _SCALE for word in words):
        return found.group()
    total = current = 0
    for before, word in zip([None, *words], words, strict=False):
        if word == "hundred":
            current *= 100
        elif word in _SCALE:
            larger = total >= _SCALE[word]  # two million three thousand; not two thousand million
            total, current = (total + current * _SCALE[word] if larger else (total + current) * _SCALE[word]), 0
        elif before in _SMALL and not (_SMALL[before] >= 20 and _SMALL[word] < 10):
            return found.group()  # one two: two numbers
        else:
            current += _SMALL[word]
    return str(total + current)


def without_strikes(text: str) -> str:
    r"""What was struck out (``~~41~~``, ``\cancel{41}``) was taken back."""
    return _STRUCK.sub(" ", text) if "~~" in text or "<" in text or "\\" in text else text


def _digit(char: str) -> str:
    return str(unicodedata.decimal(char)) if char.isdecimal() else char
