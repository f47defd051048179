"""The presets against published files: reference answers must get full marks, and another row's answer none.

    python -m benchmarks.parity.presets --data ../shared/data [--limit 1000] [gsm8k math ...]

``--data`` has a folder for each data set, in its published layout: gsm8k, math (also for math500), countdown, sudoku4x4. A
full mark is the sum of the weights of the preset's rewards. Rows without one are printed with the reason.
"""

from __future__ import annotations

import argparse
import itertools
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

from rewards import load_reward
from rewards.puzzles.countdown import problem, puzzle_of
from rl.config import SourceConfig
from rl.data.presets import Preset, load_preset
from rl.data.rows import load_rows
from rl.types import Prompt, RewardItem

FOLDERS = {"gsm8k": "gsm8k", "math": "math", "math500": "math", "countdown": "countdown", "sudoku4x4": "sudoku4x4"}
_SHOWN = 20


@dataclass(frozen=True, slots=True)
class Found:
    """rows: how many had an answer to try. missed: (id, why) of references without full marks. paid: of wrong answers with
    some credit for their answer."""

    rows: int
    missed: tuple[tuple[str, str], ...]
    paid: tuple[tuple[str, str], ...]


def check(name: str, folder: Path, split: str, limit: int | None = None) -> Found:
    """One split of one preset. Raises DataError where it is not there."""
    preset = load_preset(name)
    args = {"lengths": {}} if preset.lengths else {}
    prompts = load_rows(SourceConfig(name, path=str(folder), split=split, limit=limit, args=args), frozenset())
    answers = [answer_of(preset, prompt) for prompt in prompts]
    known = [(prompt, answer) for prompt, answer in zip(prompts, answers, strict=True) if answer is not None]
    right = [RewardItem(prompt, f"<think>so</think>{answer}") for prompt, answer in known]
    others = known[1:] + known[:1]
    wrong = [
        RewardItem(prompt, f"<think>so</think>{other}")
        for (prompt, answer), (_, other) in zip(known, others, strict=True)
        if other != answer and not _also_right(prompt, other)
    ]
    missed = [
        (item.prompt.id, f"{item.text[-60:]!r}: {why}")
        for item, share, why in scored(preset, right)
        if share < 1 - 1e-9
    ]
    missed += [
        (prompt.id, "no answer exists") for prompt, answer in zip(prompts, answers, strict=True) if answer is None
    ]
    paid = [
        (item.prompt.id, f"{item.text[-60:]!r} for {item.prompt.reference!r}")
        for item, share, _ in scored(preset, wrong, answer_alone=True)
        if share > 0
    ]
    return Found(len(prompts), tuple(missed), tuple(paid))


def scored(
    preset: Preset, items: Sequence[RewardItem], answer_alone: bool = False
) -> Iterator[tuple[RewardItem, float, str]]:
    """(item, share of full marks, why not). answer_alone: without ``format``, and sudoku by its rules, since a share of the
    cells of another puzzle's solution is right by chance."""
    mix = {name: weight for name, weight in preset.rewards.items() if weight > 0}
    if answer_alone:
        mix = {"sudoku": 1.0} if "sudoku_cells" in mix else {name: mix[name] for name in mix if name != "format"}
    total = sum(mix.values())
    scores = {name: load_reward({"name": name, **preset.settings.get(name, {})}).score(items) for name in mix}
    for place, item in enumerate(items):
        own = {name: scores[name][place] for name in mix}
        share = sum(mix[name] * score.value for name, score in own.items()) / total
        why = "; ".join(f"{name} {score.value:g} {score.detail}" for name, score in own.items() if score.value != 1)
        yield item, share, why


def answer_of(preset: Preset, prompt: Prompt) -> str | None:
    """A right answer as a response gives it; None: there is none."""
    if preset.name == "countdown":
        puzzle = puzzle_of(prompt)
        assert isinstance(puzzle, tuple)
        return reach(*puzzle)
    reference = prompt.reference or ""
    return f"\\boxed{{{reference}}}" if preset.name.startswith("math") else reference


def reach(numbers: Sequence[int], target: int) -> str | None:
    """An expression with the value ``target`` that uses each number once, by trying all; None: there is none."""
    return _combined([(Fraction(number), str(number)) for number in numbers], Fraction(target))


def _combined(parts: list[tuple[Fraction, str]], target: Fraction) -> str | None:
    """Two parts become one, in every way, until one is left."""
    if len(parts) == 1:
        return parts[0][1] if parts[0][0] == target else None
    for first, second in itertools.permutations(range(len(parts)), 2):
        rest = [part for place, part in enumerate(parts) if place not in (first, second)]
        (left, this), (right, that) = parts[first], parts[second]
        made = [(left - right, "-"), *([(left / right, "/")] if right else [])]
        if first < second:
            made += [(left + right, "+"), (left * right, "*")]
        for value, sign in made:
            found = _combined([*rest, (value, f"({this}{sign}{that})")], target)
            if found is not None:
                return found
    return None


def _also_right(prompt: Prompt, answer: str) -> bool:
    puzzle = puzzle_of(prompt) if "numbers" in prompt.metadata else None
    return isinstance(puzzle, tuple) and not problem(answer, *puzzle)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("presets", nargs="*", default=list(FOLDERS))
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--limit", type=int)
    options = parser.parse_args()
    for name in options.presets:
        for split in load_preset(name).parts:
            if name == "math" and split == "val":
                continue  # the published copy has MATH500 in its place
            began = time.perf_counter()
            found = check(name, options.data / FOLDERS[name], split, options.limit)
            full = found.rows - len(found.missed)
            print(
                f"{name} {split}: {full:,} of {found.rows:,} references in full ({full / found.rows:.2%}), "
                f"{len(found.paid)} wrong answers with credit, {time.perf_counter() - began:.0f} s",
                flush=True,
            )
            for kind, rows in (("missed", found.missed), ("paid", found.paid)):
                for identity, why in rows[:_SHOWN]:
                    print(f"  {kind} {identity}: {why}", flush=True)


if __name__ == "__main__":
    main()
