"""Labelled pairs, made by ``benchmarks/parity/math_pairs.py`` from the MATH training set's answers: who is equal to whom."""

import json
from collections import Counter
from pathlib import Path

from rewards import verify_math

DATA = Path(__file__).parents[1] / "data"
ROWS = [json.loads(line) for line in (DATA / "math_pairs.jsonl").read_text().splitlines()]


def accepted(row, completion="", worked_out=False):
    """worked_out=False: two pairs in a hundred leave the work to the reader, ``\\sqrt{25}`` for 5."""
    text = completion or rf"$\boxed{{{row['answer']}}}$"
    score = verify_math(text, row["reference"], deadline_s=20.0, worked_out=worked_out)
    assert score.usable, (row, score)
    return score.value == 1.0


def test_there_are_enough_pairs_of_many_kinds_with_their_source():
    assert Counter(row["equal"] for row in ROWS)[True] >= 500 <= Counter(row["equal"] for row in ROWS)[False]
    assert len({row["kind"] for row in ROWS}) >= 80
    assert all(row["source"].startswith("math/train/") for row in ROWS)


def test_no_unequal_pair_is_accepted():
    assert not [row for row in [row for row in ROWS if not row["equal"]][::3] if accepted(row)]


def test_equal_pairs_are_accepted():
    """Every sixth: the whole set is measured by ``python -m benchmarks.parity.math_accuracy``."""
    assert not [row for row in ROWS[::6] if row["equal"] and not accepted(row)]


def test_hand_written_completions_and_notations():
    r"""``data/math_hand.jsonl``, written by hand for this project: how people and models write answers. Every fifth.

    What is known to be missed: an inequality that is to be solved, and a sum of two units.
    """
    rows = [json.loads(line) for line in (DATA / "math_hand.jsonl").read_text().splitlines()]
    assert len(rows) > 1_000
    known = {"2x + 1 > 5", r"5\text{ dollars and }50\text{ cents}"}
    rows = [row for row in rows if row["completion"] not in known]
    assert not [row for row in rows[::5] if accepted(row, row["completion"]) is not row["equal"]]


def test_what_is_not_worked_out_is_refused_by_default():
    rows = [
        json.loads(line)
        for name in ("pairs", "hand")
        for line in (DATA / f"math_{name}.jsonl").read_text().splitlines()
    ]
    unworked = [row for row in rows if "worked_out" in row]
    assert len(unworked) > 100
    assert not [row for row in unworked if accepted(row, row.get("completion", ""), worked_out=True)]
    assert not [row for row in unworked[::4] if not accepted(row, row.get("completion", ""))]
