"""The manual's pages and their blocks of code, for the tests that follow them.

A block of commands is marked with a comment of its own line before it: ``<!-- not run: the reason -->``.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parent.parent
PAGES = (
    *(ROOT / name for name in ("README.md", "CONTRIBUTING.md", "SECURITY.md", "CHANGELOG.md")),
    *sorted((ROOT / "docs").rglob("*.md")),
)
TUTORIALS = tuple(page for page in PAGES if page.parent.name == "tutorials")
_BLOCK = re.compile(
    r"(?:^ *<!-- not run: (?P<reason>[^\n]*?) -->\n)?"
    r"^(?P<indent> *)```(?P<kind>\w*)(?: title=\"(?P<title>[^\"]+)\")?[^\n]*\n(?P<body>.*?)^(?P=indent)```$",
    re.M | re.S,
)


@dataclass(frozen=True)
class Block:
    """kind: the word behind the fence. title: the file that it is. reason: why it is not run; None where it is."""

    page: Path
    line: int
    kind: str
    title: str | None
    reason: str | None
    body: str

    def __str__(self) -> str:
        return f"{named(self.page)}:{self.line}"


def named(page: Path) -> str:
    return page.relative_to(ROOT).as_posix()


def blocks(page: Path) -> list[Block]:
    """The fenced blocks of a page, in order."""
    text = page.read_text("utf-8")
    return [
        Block(
            page,
            text.count("\n", 0, found.start("indent")) + 1,
            found["kind"],
            found["title"],
            found["reason"],
            re.sub(rf"^{found['indent']}", "", found["body"], flags=re.M),
        )
        for found in _BLOCK.finditer(text)
    ]


def indented(page: Path) -> Iterator[str]:
    """Lines that Markdown takes for a block of code without a fence: nobody says what such a block is."""
    bare = _BLOCK.sub("\n", page.read_text("utf-8"))
    lines = bare.splitlines()
    in_list = False
    for before, line in zip(["", *lines], lines, strict=False):
        if re.match(r"(?:[-*+]|\d+\.) ", line):
            in_list = True
        elif line and not line.startswith(" "):
            in_list = False
        if line.startswith("    ") and not before.strip() and not in_list:
            yield line
