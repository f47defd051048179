r"""The references of GSM8K and MATH500 as answers: in a box, in a sentence, after ``####``; and each against another row's.

    python -m benchmarks.parity.math_published --gsm8k test.jsonl --math500 math500.parquet

Reads the published files (openai/grade-school-math; MATH500 in verl's layout). A reference against a shuffled one should be
accepted only where both are equal: those are listed, since a person has to look at them.
"""

from __future__ import annotations

import argparse
import json
import random
import time
from pathlib import Path

import pandas as pd

from rewards.math.verify import verify_math

WAYS = {
    "boxed": r"<think>I work it out.</think>So we get $\boxed{{{}}}$.",
    "sentence": "<think>I work it out.</think>The answer is {}.",
    "formula": "<think>I work it out.</think>The answer is ${}$.",
    "hashes": "I work it out.\n#### {}",
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--gsm8k", type=Path, required=True)
    parser.add_argument("--math500", type=Path, required=True)
    given = parser.parse_args()
    sets = {"gsm8k": gsm8k(given.gsm8k), "math500": math500(given.math500)}
    for name, references in sets.items():
        for way, text in WAYS.items():
            began = time.process_time()
            missed = [each for each in references if verify_math(text.format(each), each, 5.0).value != 1.0]
            seconds = time.process_time() - began
            share = 100 * (1 - len(missed) / len(references))
            print(
                f"{name:8} {way:9} {share:6.2f}% of {len(references)} right, {60 * len(references) / seconds:,.0f} a minute"
            )
            for each in missed:
                print(f"    missed: {each!r}")
        shuffled = random.Random(0).sample(references, len(references))
        pairs = [(own, other) for own, other in zip(references, shuffled, strict=True) if own != other]
        accepted = [pair for pair in pairs if verify_math(WAYS["boxed"].format(pair[1]), pair[0], 5.0).value == 1.0]
        print(f"{name:8} shuffled: {len(accepted)} of {len(pairs)} accepted: {accepted}")


def gsm8k(file: Path) -> list[str]:
    return [json.loads(line)["answer"].rpartition("####")[2].strip() for line in file.read_text("utf-8").splitlines()]


def math500(file: Path) -> list[str]:
    return [row["ground_truth"] for row in pd.read_parquet(file)["reward_model"]]


if __name__ == "__main__":
    main()
