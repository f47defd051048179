"""Ways to write an answer, by kind: each row has the right verdict, of the function and of the reward alike.

``math_listed.jsonl`` was in view while the parsers were written, ``math_members.jsonl`` was first read when they were done.
"""

import json
from pathlib import Path

import pytest

from rewards import verify_math
from rewards.registry import load_reward
from tests.rewards.makers import text_item

DATA = Path(__file__).parents[1] / "data"
ROWS = [
    json.loads(line)
    for name in ("listed", "members")
    for line in (DATA / f"math_{name}.jsonl").read_text(encoding="utf-8").splitlines()
]
KINDS = (
    "clock times",
    "long numbers",
    "words and letters",
    "sentences",
    "several marks",
    "the question again",
    "function names",
    "powers of ten",
    "notations",
    "other scripts",
    "choices, equations, units",
    "capitals",
    "JSON references",
    "references with a thought",
)


@pytest.mark.parametrize("kind", KINDS)
def test_every_member_of_a_kind(kind):
    rows = [row for row in ROWS if row["kind"] == kind]
    assert len(rows) >= 20 and {row["equal"] for row in rows} == {True, False}
    reward = load_reward({"name": "correctness", "deadline_s": 20.0})
    wrong = []
    for row in rows:
        (scored,) = reward.score([text_item(row["completion"], row["reference"])])
        verified = verify_math(row["completion"], row["reference"], deadline_s=20.0)
        if (verified.value, scored.value) != (float(row["equal"]),) * 2:
            wrong.append((row, verified, scored))
    assert not wrong


def test_no_kind_is_left_out():
    assert {row["kind"] for row in ROWS} == set(KINDS)
