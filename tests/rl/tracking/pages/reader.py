"""A page as a browser would read it: its elements, its addresses, its words, and the data of its script."""

from __future__ import annotations

import json
from html.parser import HTMLParser
from typing import Any

_ADDRESSES = ("src", "href", "action", "data", "poster", "srcset", "formaction", "background", "xlink:href")


class Seen(HTMLParser):
    """tags: every element's name with its attributes. words: all text outside of scripts and styles."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.words, self.scripts = "", [""]
        self._inside = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        self._inside = tag if tag in ("script", "style") else ""
        if tag == "script":
            self.scripts.append("")

    def handle_endtag(self, tag: str) -> None:
        self._inside = "" if tag == self._inside else self._inside

    def handle_data(self, data: str) -> None:
        if self._inside == "script":
            self.scripts[-1] += data
        elif not self._inside:
            self.words += data

    def data(self) -> dict[str, Any]:
        return json.loads(self.scripts[1])

    def count(self, tag: str) -> int:
        return sum(name == tag for name, _ in self.tags)


def safe(text: str) -> Seen:
    """The page, once it is sure that it asks for nothing outside of itself, runs no script but its own and obeys no text."""
    seen = Seen(text)
    addresses = [value for _, attrs in seen.tags for name, value in attrs.items() if name in _ADDRESSES]
    assert all(address is not None and address.startswith("data:image/") for address in addresses), addresses
    handlers = [name for _, attrs in seen.tags for name in attrs if name.startswith("on") or name == "style"]
    assert not handlers
    assert not {"iframe", "object", "embed", "link", "base", "form"} & {name for name, _ in seen.tags}
    policy = next(attrs["content"] or "" for name, attrs in seen.tags if attrs.get("http-equiv"))
    assert "default-src 'none'" in policy and "unsafe" not in policy and "http" not in policy
    assert len([attrs for name, attrs in seen.tags if name == "meta" and attrs.get("http-equiv")]) == 1
    assert not any(character in text for character in "\x1b\x07\u202e\u2028\u200b\ud800")
    return seen
