r"""How often ``verify_math`` and math-verify agree with the labels of ``tests/rewards/data/math_pairs.jsonl``.

    python -m benchmarks.parity.math_accuracy [--pairs FILE] [--differences]

Every answer is given as ``$\boxed{...}$`` to both; math-verify is used as its documentation says, gold first. Equality of
values is asked for (``worked_out=False``), as math-verify does.
"""

from __future__ import annotations

import argparse
import json
import time
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rewards.math.verify import verify_math

PAIRS = Path(__file__).parents[2] / "tests" / "rewards" / "data" / "math_pairs.jsonl"


def ours(row: Mapping[str, Any]) -> bool:
    return verify_math(rf"$\boxed{{{row['answer']}}}$", row["reference"], deadline_s=5.0, worked_out=False).value == 1.0


def theirs(row: Mapping[str, Any]) -> bool:
    from math_verify import parse, verify

    gold = parse(f"${row['reference']}$", parsing_timeout=5)
    return bool(verify(gold, parse(rf"$\boxed{{{row['answer']}}}$", parsing_timeout=5), timeout_seconds=5))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pairs", type=Path, default=PAIRS)
    parser.add_argument("--differences", action="store_true", help="list every pair that either of the two gets wrong")
    arguments = parser.parse_args()
    rows = [json.loads(line) for line in arguments.pairs.read_text(encoding="utf-8").splitlines()]
    wrong: dict[str, list[dict[str, Any]]] = {}
    for name, judge in (("verify_math", ours), ("math-verify", theirs)):
        began = time.monotonic()
        wrong[name] = [row for row in rows if judge(row) is not row["equal"]]
        kinds = Counter(row["equal"] for row in wrong[name])
        print(
            f"{name}: {1 - len(wrong[name]) / len(rows):.4f} right of {len(rows)}; {kinds[True]} equal pairs missed, "
            f"{kinds[False]} unequal pairs accepted; {time.monotonic() - began:.1f} s"
        )
    _table(rows, wrong)
    if arguments.differences:
        for name, found in wrong.items():
            for row in found:
                print(name, "|", row["kind"], "|", row["answer"], "|", row["reference"], "|", row["equal"])


def _table(rows: list[dict[str, Any]], wrong: Mapping[str, list[dict[str, Any]]]) -> None:
    counts = {name: Counter(row["kind"] for row in found) for name, found in wrong.items()}
    of_kind = Counter(row["kind"] for row in rows)
    print("\n| pairs | equal? | of | verify_math wrong | math-verify wrong |\n|---|---|---|---|---|")
    for kind in dict.fromkeys(row["kind"] for row in rows):
        ours_wrong, theirs_wrong = (counts[name][kind] for name in ("verify_math", "math-verify"))
        if ours_wrong or theirs_wrong:
            equal = next(row["equal"] for row in rows if row["kind"] == kind)
            print(f"| {kind} | {'yes' if equal else 'no'} | {of_kind[kind]} | {ours_wrong} | {theirs_wrong} |")


if __name__ == "__main__":
    main()
