"""Reference answers get full marks from the presets' rewards, and other rows' answers none."""

from pathlib import Path

import pytest

from benchmarks.parity.presets import FOLDERS, check, reach
from rewards.puzzles.countdown import problem
from tests.rl.data.published import verl

SHARED = Path(__file__).parents[3] / "shared" / "data"
# Right by value, as docs/math.md says: x = 5 for 5; 25 for 25 per cent, 120 degrees for 120, 21 for 21 dogs.
ALSO_RIGHT = {"math500/math500/22", *(f"math/train/{row}" for row in (3287, 5940, 6057, 6233, 6245, 6426))}
SPLITS = [
    ("gsm8k", "train"),
    ("gsm8k", "val"),
    ("math", "train"),
    ("math500", "val"),
    ("countdown", "train"),
    ("countdown", "val"),
    ("sudoku4x4", "train"),
    ("sudoku4x4", "val"),
]


def test_every_reachable_number_is_reached() -> None:
    for numbers, target in (([2, 3, 4], 5), ([8, 3, 8, 3], 24), ([1, 1, 7, 7], 1), ([44, 19, 35], 98)):
        found = reach(numbers, target)
        assert found is not None and problem(found, numbers, target) == ""
    assert reach([1, 1, 1], 100) is None


def test_a_row_that_its_reward_does_not_know_is_named(tmp_path: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    rows = [
        verl("sudoku", "?", "4321123434122143", puzzle="0321003004002100"),
        verl("sudoku", "?", "4321123434122134", puzzle="0321003004002100"),  # a column has a digit twice
    ]
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "train.parquet")
    found = check("sudoku4x4", tmp_path, "train")
    assert found.rows == 2 and [identity for identity, _ in found.paid] == ["sudoku4x4/train/1"]
    pq.write_table(pa.Table.from_pylist([verl("countdown", "?", "9", numbers="[1, 1, 1]")]), tmp_path / "train.parquet")
    assert check("countdown", tmp_path, "train").missed == (("countdown/train/0", "no answer exists"),)


@pytest.mark.skipif(not SHARED.is_dir(), reason="needs ../shared/data")
@pytest.mark.parametrize(("name", "split"), SPLITS)
def test_a_sample_of_the_published_files(name: str, split: str) -> None:
    found = check(name, SHARED / FOLDERS[name], split, limit=25)
    assert found.rows == 25 and found.missed == ()
    assert {identity for identity, _ in found.paid} <= ALSO_RIGHT


@pytest.mark.long
@pytest.mark.timeout(3600)
@pytest.mark.skipif(not SHARED.is_dir(), reason="needs ../shared/data")
@pytest.mark.parametrize(("name", "split"), SPLITS)
def test_the_whole_of_the_published_files(name: str, split: str) -> None:
    found = check(name, SHARED / FOLDERS[name], split)
    assert len(found.missed) <= 0.01 * found.rows, found.missed
    assert {identity for identity, _ in found.paid} <= ALSO_RIGHT, found.paid
