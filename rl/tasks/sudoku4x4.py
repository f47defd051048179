"""Text: 4x4 sudoku, the task of d1 (arXiv 2504.12216) and of later papers on RL for diffusion language models.

A puzzle is 16 digits, row by row, with 0 for a blank; it has exactly one solution. Its hash decides on which side of
the split it lies. Puzzles that differ by a relabelling of digits, a turn or a mirror image count as different: such
relatives of a held-out puzzle do occur in training, as they do in the published data.

``sudoku4x4_test.txt`` lists the 500 puzzles of the published test set (the one that DARE distributes), which this
generator never makes: one line a puzzle, the first 16 hex digits of the SHA-256 of its 16 ASCII digits, sorted. To make
it again from that set's Parquet file::

    sorted(sha256(row["extra_info"]["puzzle"].encode()).hexdigest()[:16] for row in rows)
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cache
from hashlib import sha256
from importlib import resources
from itertools import permutations, product

import numpy as np

from rl.errors import ConfigError
from rl.tasks.splits import require_int, split_of, too_few
from rl.types import Message, Prompt, Task

MAX_BLANKS = 12  # with fewer than 4 givens no 4x4 puzzle has one solution
_CHUNK = 4096
_DRY_CHUNKS = 8  # give up after this many chunks without one new puzzle


def generate(split: str, *, size: int = 2000, seed: int = 0, blanks: Sequence[int] = (6, 9)) -> list[Prompt]:
    """Different puzzles with ``blanks = (lowest, highest)`` blanks, each number about equally often.

    Published puzzles have 9 blanks (training) and 8 (test). Raises ConfigError on a bad argument, DataError where there
    are fewer than ``size`` such puzzles.
    """
    require_int("sudoku4x4", "size", size, 1)
    require_int("sudoku4x4", "seed", seed, 0)
    low, high = _checked(blanks)
    rng = np.random.default_rng(seed)
    found: dict[str, Prompt] = {}
    dry = 0
    while len(found) < size and dry < _DRY_CHUNKS:
        before = len(found)
        for puzzle, answer in _candidates(rng, low, high):
            if len(found) == size:
                break
            if puzzle not in found and split_of(puzzle) == split and not is_published_test(puzzle):
                found[puzzle] = _prompt(puzzle, answer)
        dry = 0 if len(found) > before else dry + 1
    if len(found) < size:
        raise too_few("sudoku4x4", len(found), size, "ask for fewer, or widen blanks")
    return list(found.values())


def naked_singles(puzzle: str) -> str:
    """The grid after every blank with one possible digit is filled, all at once and one time; 0 where still unknown."""
    grid = np.array([int(digit) for digit in puzzle])
    return "".join(str(digit or _only_candidate(grid, cell)) for cell, digit in enumerate(grid))


@cache
def all_grids() -> np.ndarray:
    """The 288 filled grids, int8 [288, 16], in lexical order."""
    rows = list(permutations((1, 2, 3, 4)))
    bands = [top + low for top, low in product(rows, repeat=2) if not (set(top[:2]) & set(low[:2]))]
    grids = [upper + lower for upper, lower in product(bands, repeat=2) if _has_whole_columns(upper + lower)]
    return np.array(grids, dtype=np.int8)


def is_published_test(puzzle: str) -> bool:
    """Whether this is one of the 500 puzzles of the published test set."""
    return sha256(puzzle.encode()).hexdigest()[:16] in _published_test()


@cache
def _published_test() -> frozenset[str]:
    return frozenset((resources.files("rl.tasks") / "sudoku4x4_test.txt").read_text().split())


def _checked(blanks: Sequence[int]) -> tuple[int, int]:
    try:
        low, high = (int(value) for value in blanks)
    except (TypeError, ValueError):
        low, high = 0, 0
    if not 1 <= low <= high <= MAX_BLANKS:
        raise ConfigError(
            f"data source sudoku4x4: blanks={blanks!r}; allowed: [lowest, highest], each 1 to {MAX_BLANKS}, e.g. [6, 9]"
        )
    return low, high


def _candidates(rng: np.random.Generator, low: int, high: int) -> Iterator[tuple[str, str]]:
    """A chunk of random puzzles that have one solution, each with it."""
    grids = all_grids()
    answers = grids[rng.integers(len(grids), size=_CHUNK)]
    counts = rng.integers(low, high + 1, size=_CHUNK)
    rank = rng.random((_CHUNK, 16)).argsort(axis=1).argsort(axis=1)
    puzzles = np.where(rank < counts[:, None], 0, answers).astype(np.int8)
    agreeing = _one_hot(puzzles) @ _one_hot(grids).T  # [puzzles, grids]: how many givens a grid agrees with
    fits = agreeing == 16 - counts[:, None]
    for index in np.flatnonzero(fits.sum(axis=1) == 1):
        yield "".join(map(str, puzzles[index])), "".join(map(str, answers[index]))


def _one_hot(digits: np.ndarray) -> np.ndarray:
    """int8 [N, 16], blanks 0 -> float32 [N, 64], blanks all 0."""
    return (digits[:, :, None] == np.arange(1, 5)).reshape(len(digits), -1).astype(np.float32)


def _has_whole_columns(cells: tuple[int, ...]) -> bool:
    return all(len(set(cells[column::4])) == 4 for column in range(4))


@cache
def _peers(cell: int) -> np.ndarray:
    """The other cells of a cell's row, column and box."""
    row, column = divmod(cell, 4)
    near = [
        other
        for other in range(16)
        if other != cell
        and (other // 4 == row or other % 4 == column or (other // 8 == row // 2 and other % 4 // 2 == column // 2))
    ]
    return np.array(near)


def _only_candidate(grid: np.ndarray, cell: int) -> int:
    left = {1, 2, 3, 4} - set(grid[_peers(cell)].tolist())
    return left.pop() if len(left) == 1 else 0


def _prompt(puzzle: str, answer: str) -> Prompt:
    return Prompt(
        id=f"sudoku4x4/{puzzle}",
        task=Task.TEXT,
        messages=(Message("user", f"sudoku {puzzle}"),),
        reference=answer,
        solution=f"<think>{naked_singles(puzzle)}</think>{answer}",
        source="sudoku4x4",
        metadata={"puzzle": puzzle, "blanks": puzzle.count("0")},
    )
