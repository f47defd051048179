"""4x4 sudoku, judged by its rules and not by one listed solution: some published puzzles have several."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Any, TypeGuard

from rewards.base import absent
from rewards.response import final_answer
from rl.types import RewardItem, Score

_LINES = (
    *(tuple(range(4 * row, 4 * row + 4)) for row in range(4)),
    *(tuple(range(column, 16, 4)) for column in range(4)),
    *(tuple(4 * (top + r) + left + c for r in (0, 1) for c in (0, 1)) for top in (0, 2) for left in (0, 2)),
)


class SudokuReward:
    """1.0 for a grid that keeps the clues and has 1 to 4 once in every row, column and box; else 0.0.

    ``parts["cells"]`` is the share of the blanks filled as in the reference: what d1 (arXiv 2504.12216), wd1 and SPG
    report as accuracy. Rows whose metadata has no ``puzzle`` (16 digits, 0 for a blank) have no such reward.
    """

    name = "sudoku"
    largest = 1.0

    def score(self, items: Sequence[RewardItem]) -> list[Score]:
        return [_judged(item, by_cells=False) for item in items]


class SudokuCellsReward:
    """The share of the blanks filled as in the reference: d1's reward for sudoku (arXiv 2504.12216).

    It tells a nearly right grid from a wild one, which right-or-wrong cannot. Rows without a puzzle have no such reward.
    """

    name = "sudoku_cells"
    largest = 1.0

    def score(self, items: Sequence[RewardItem]) -> list[Score]:
        return [_judged(item, by_cells=True) for item in items]


def _judged(item: RewardItem, *, by_cells: bool) -> Score:
    began = time.perf_counter()
    puzzle = _puzzle(item)
    if puzzle is None:
        return absent()
    answer = "".join((final_answer(item.text) or "").split())
    cells = filled_cells(puzzle, item.prompt.reference or "", answer)
    value, parts = (cells, {}) if by_cells else (float(solves(puzzle, answer)), {"cells": cells})
    return Score(value, parts=parts, seconds=time.perf_counter() - began)


def _puzzle(item: RewardItem) -> str | None:
    metadata = item.prompt.metadata
    extra = metadata.get("extra_info")  # verl's column
    puzzle = metadata.get("puzzle") or (extra.get("puzzle") if isinstance(extra, Mapping) else None)
    return puzzle if _is_grid(puzzle, "01234") else None


def solves(puzzle: str, answer: str) -> bool:
    """Whether the answer keeps the puzzle's clues and obeys the rules."""
    if not _is_grid(answer, "1234"):
        return False
    keeps = all(clue in ("0", digit) for clue, digit in zip(puzzle, answer, strict=True))
    return keeps and all(len({answer[cell] for cell in line}) == 4 for line in _LINES)


def filled_cells(puzzle: str, solution: str, answer: str) -> float:
    """Share of the puzzle's blanks in which the answer has the solution's digit; a missing digit is a wrong one."""
    blanks = [cell for cell, clue in enumerate(puzzle) if clue == "0"]
    right = sum(answer[cell : cell + 1] == solution[cell : cell + 1] != "" for cell in blanks)
    return right / len(blanks) if blanks else 1.0


def _is_grid(text: Any, digits: str) -> TypeGuard[str]:
    return isinstance(text, str) and len(text) == 16 and set(text) <= set(digits)
