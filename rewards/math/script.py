r"""One script: full-width and other digits, punctuation of other languages, invisible characters, special tokens, strikes."""

from __future__ import annotations

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
        "\u2009": " ", "﹣": "-", "‐": "-", "‑": "-", "∶": ":", "⁄": "/", "∕": "/", "✓": " ", "✔": " ", "✅": " ",
    }
)  # fmt: skip
_TABLE = {**_WIDE, **_INVISIBLE, **_BIDI, **_MARKS}
_OTHER_DIGIT = re.compile(r"(?![0-9])\d|[\U0001d400-\U0001d7cd]")
_TOKENS = re.compile(
    r"<\|[A-Za-z0-9_ ]{1,30}\|>|</?s>|<(?:eos|bos|pad|unk|end_of_turn|start_of_turn)>|\[/?INST\]|<｜[^｜<>]{1,40}｜>"
)
_HTML = re.compile(r"</?(?:b|i|em|strong|u|p|span|div|li|ul|ol|code|pre|center)>|<br ?/?>")
_STRUCK = re.compile(
    r"~~[^~\n]{1,300}~~|<(del|strike)>.{0,300}?</\1>|\\(?:cancel|bcancel|xcancel|sout|st)\s*\{[^{}]{0,200}\}", re.DOTALL
)


def one_script(text: str) -> str:
    """Example: ``答案：４２。`` is ``答案:42. ``. Superscripts stay: they are no digits."""
    if not text.isascii():
        text = _TOKENS.sub(" ", text).translate(_TABLE)
        text = _OTHER_DIGIT.sub(lambda match: unicodedata.normalize("NFKC", _digit(match.group())), text)
    return _HTML.sub(" ", _TOKENS.sub(" ", text)) if "<" in text or "[" in text else text


def without_strikes(text: str) -> str:
    r"""What was struck out (``~~41~~``, ``\cancel{41}``) was taken back."""
    return _STRUCK.sub(" ", text) if "~~" in text or "<" in text or "\\" in text else text


def _digit(char: str) -> str:
    return str(unicodedata.decimal(char)) if char.isdecimal() else char
