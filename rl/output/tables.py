"""Rich's console and table for text of others: what is a string is shown as it is, and nothing in it is markup."""

from __future__ import annotations

from typing import Any

from rich.console import Console, RenderableType
from rich.table import Table

from rl.output.printable import plain

LONGEST_CELL = 2_000  # characters


class Screen(Console):
    """A console that takes strings as text: no markup, no emoji, no colours of its own choice, no escape sequences."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**{"markup": False, "emoji": False, "highlight": False, **options})

    def print(self, *objects: Any, **options: Any) -> None:
        super().print(*(_text(each) for each in objects), **options)


class PlainTable(Table):
    """A table whose strings are text: cells, headers, title and caption. A ``rich.text.Text`` is taken as it is."""

    def __init__(self, *headers: Any, title: Any = None, caption: Any = None, **options: Any) -> None:
        super().__init__(title=_cell(title), caption=_cell(caption), **options)
        for header in headers:
            self.add_column(header)

    def add_column(self, header: RenderableType = "", *arguments: Any, **options: Any) -> None:
        super().add_column(_text(header), *arguments, **options)

    def add_row(self, *cells: RenderableType | None, **options: Any) -> None:
        super().add_row(*(_cell(cell) for cell in cells), **options)


def _text(value: Any) -> Any:
    return plain(value, lines=True, limit=None) if isinstance(value, str) else value


def _cell(value: Any) -> Any:
    return plain(value, limit=LONGEST_CELL) if isinstance(value, str) else value
