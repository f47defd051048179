"""Sentences of a Markdown page, without code, tables, headings and links' addresses: for the tests of how the manual reads."""

from __future__ import annotations

import re

_FENCED = re.compile(r"^ *(```|~~~).*?^ *\1[^\n]*$", re.M | re.S)
_ITEM = re.compile(r"(?:[-*+]|\d+\.) +")
_END = re.compile(r"(?<=[.!?])[\"')*_`\]]*\s+(?=[\"'(*_`\[]*[A-Z0-9`])")
_WORD = re.compile(r"[\w'’/.%-]*\w[\w'’/.%-]*")


def sentences(markdown: str) -> list[str]:
    """In order. The end of a list's item or a paragraph ends a sentence, too."""
    kept: list[str] = []
    for line in _FENCED.sub("\n\n", markdown).splitlines():
        bare = line.strip()
        indented = line.startswith("    ") and (not kept or not kept[-1])  # a block of code
        if indented or bare.startswith(("#", "|", "![", "<!--")):
            kept.append("")
        elif _ITEM.match(bare):
            kept += ["", _ITEM.sub("", bare, count=1)]
        else:
            kept.append(bare)
    found: list[str] = []
    for paragraph in re.split(r"\n\s*\n", "\n".join(kept)):
        plain = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", " ".join(paragraph.split()))
        found += [part for part in _END.split(re.sub(r"`[^`]*`", "CODE", plain)) if words(part)]
    return found


def words(sentence: str) -> int:
    return len(_WORD.findall(sentence))
