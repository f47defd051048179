"""Rich's console and table for text of others: what is a string is shown as it is, and nothing in it is markup."""

from __future__ import annotations

from itertools import zip_longest
from typing import Any

from rich.cells import cell_len
from rich.console import Console, RenderableType
from rich.table import Column, Table
from rich.text import Text

from rl.output.printable import plain

LONGEST_CELL = 2_000  # characters


class Screen(Console):
    """A console that takes strings as text: no markup, no emoji, no colours of its own choice, no escape sequences."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**{"markup": False, "emoji": False, "highlight": False, **options})

    def print(self, *objects: Any, **options: Any) -> None:
        """On a terminal as Rich does. Into a file or a pipe: no boxes, and no line is broken, so that ``grep`` works."""
        if not self.is_terminal:
            options = {"soft_wrap": True, **options}
            objects = tuple(each.as_text() if isinstance(each, PlainTable) else each for each in objects)
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

    def as_text(self) -> Any:
        """Title, headers and rows as lines with two blanks or more between columns; the table itself where a cell is no text."""
        columns = [[column.header, *column.cells] for column in self.columns]
        if not all(isinstance(cell, str | Text) for column in columns for cell in column):
            return self
        texts = [[" ".join(str(cell).splitlines()) for cell in column] for column in columns]
        lines = []
        # A column that came after a row has no cell in it: Rich's own table leaves it empty as well.
        for index, row in enumerate(zip_longest(*texts, fillvalue="")):
            cells = [_padded(*each) for each in zip(row, texts, self.columns, strict=True)]
            if index or (self.show_header and any(row)):
                lines.append("  ".join(cells).rstrip())
        return "\n".join(str(part) for part in (self.title, *lines, self.caption) if part is not None)


def _padded(cell: str, column: list[str], style: Column) -> str:
    blanks = " " * (max(map(cell_len, column)) - cell_len(cell))
    return blanks + cell if style.justify == "right" else cell + blanks


def _text(value: Any) -> Any:
    return plain(value, lines=True, limit=None) if isinstance(value, str) else value


def _cell(value: Any) -> Any:
    return plain(value, limit=LONGEST_CELL) if isinstance(value, str) else value
