r"""Statements that end as models end them, by the thousand, with labels that follow from how they were made.

    python -m benchmarks.parity.math_templates [--share NAME] [--each 30] [--failures] [--out FILE]

A kind is one way to end an answer. It gets a right value at the place of the answer (label 1), and a wrong one there with
the right one elsewhere in the text (label 0). Kinds of hedges give two values and are never right. A fixed third of the
kinds, by a hash of their names, is held out: it was not looked at while the parsers were written.
"""

from __future__ import annotations

import argparse
import json
import random
import time
import zlib
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from benchmarks.parity import math_endings
from benchmarks.parity.math_kinds import KINDS
from benchmarks.parity.math_values import value_for

HELD_OUT_OF = 3
_SHARES = ("work", "held-out", "later", "third", "fourth")


def share_of(kind: str) -> str:
    for name in ("later", "third", "fourth"):
        if kind.startswith(f"{name}: "):
            return name
    return "held-out" if zlib.crc32(kind.encode()) % HELD_OUT_OF == 0 else "work"


def statements(each: int, share: str = "all", seed: int = 0) -> Iterator[dict[str, Any]]:
    """``each`` right and ``each`` wrong statements of every kind in the share."""
    for kind in KINDS.values():
        if share not in ("all", share_of(kind.name)):
            continue
        chance = random.Random(f"{seed} {kind.name}")
        for _ in range(each):
            value = value_for(kind.of, chance)
            for right in (True, False):
                text = kind.write(value if right else value.swapped(), chance)
                label = right and not kind.never
                yield {"kind": kind.name, "completion": text, "reference": value.reference, "equal": label}

    for name in math_endings.SHARES:
        if share in ("all", name):
            yield from _endings(name, each, seed)


def _endings(share: str, each: int, seed: int) -> Iterator[dict[str, Any]]:
    """At most ``each`` right and ``each`` wrong rows of every kind of a set that makes its own rows."""
    of_kind: dict[tuple[str, bool], list[tuple[str, str]]] = {}
    for kind, (completion, reference, equal) in math_endings.rows(share, seed):
        of_kind.setdefault((kind, equal), []).append((completion, reference))
    for (kind, equal), made in of_kind.items():
        for completion, reference in random.Random(f"{seed} {kind}").sample(made, min(each, len(made))):
            yield {"kind": f"{share}: {kind}", "completion": completion, "reference": reference, "equal": equal}


def judged(rows: list[dict[str, Any]], judge: Any) -> list[dict[str, Any]]:
    return [row for row in rows if judge(row["completion"], row["reference"]) is not row["equal"]]


def ours(completion: str, reference: str) -> bool:
    from rewards.math.verify import verify_math

    return verify_math(completion, reference, deadline_s=10.0).value == 1.0


def theirs(completion: str, reference: str) -> bool:
    from math_verify import parse, verify

    gold = parse(f"${reference}$", parsing_timeout=5)
    return bool(verify(gold, parse(completion, parsing_timeout=5), timeout_seconds=5))


def report(name: str, rows: list[dict[str, Any]], wrong: list[dict[str, Any]], seconds: float) -> None:
    accepted = sum(not row["equal"] for row in wrong)
    unequal = sum(not row["equal"] for row in rows)
    print(
        f"{name}: {1 - len(wrong) / len(rows):.2%} right of {len(rows)}; right answers missed "
        f"{len(wrong) - accepted} of {len(rows) - unequal}; wrong answers accepted {accepted} of {unequal} "
        f"({accepted / unequal:.2%}); {seconds:.0f} s"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--share", choices=(*_SHARES, *math_endings.SHARES, "all"), default="work")
    parser.add_argument("--each", type=int, default=30)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--peer", action="store_true", help="math-verify beside it")
    parser.add_argument("--failures", action="store_true")
    parser.add_argument("--out", type=Path, help="write the statements instead of judging them")
    arguments = parser.parse_args()
    rows = list(statements(arguments.each, arguments.share, arguments.seed))
    if arguments.out is not None:
        arguments.out.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
        return
    judges = {"verify_math": ours, **({"math-verify": theirs} if arguments.peer else {})}
    for name, judge in judges.items():
        began = time.monotonic()
        wrong = judged(rows, judge)
        report(name, rows, wrong, time.monotonic() - began)
        if name == "verify_math":
            for kind, count in Counter(row["kind"] for row in wrong).most_common():
                print(f"  {kind}: {count} of {2 * arguments.each}")
            if arguments.failures:
                for row in wrong:
                    print(json.dumps(row, ensure_ascii=False))


if __name__ == "__main__":
    main()
