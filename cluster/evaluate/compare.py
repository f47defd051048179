"""Two evaluations of the same prompts: differences, how sure they are, and which prompts changed sides."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from cluster.run.writable import file_problem
from rl.errors import ConfigError, DataError
from rl.output.printable import printable
from rl.output.tables import PlainTable, Screen
from rl.statistics import mcnemar, paired_bootstrap
from rl.tracking.report import SUMMARY_FILE, read_summary
from rl.tracking.rows import ROWS_FILE

MCNEMAR, BOOTSTRAP = "McNemar, exact", "paired bootstrap"
# What two evaluations must share, so that their difference is the policies'.
SAME = ("device", "dtype", "versions", "commit", "sampling", "data")
_LONGEST = 60
_CAPTION = (
    "Scores in percent. The interval is a bootstrap over prompts. p: McNemar's exact test where it says how many prompts one "
    "side alone has right, else a paired bootstrap"
)


def compared(first: Path, second: Path) -> dict[str, Any]:
    """Paired by prompt id. Example of one task in ``tasks``::

        {"n": 200, "a": 0.41, "b": 0.52, "difference": 0.11, "low": 0.03, "high": 0.19, "p": 0.008, "test": "McNemar, exact",
         "only_a": 14, "only_b": 36, "right": true}

    A prompt's score is the mean of its usable samples. Where all scores of a task are 0 or 1, one a prompt, the p-value is
    McNemar's; else the bootstrap's. The interval is always the bootstrap's over prompts. Raises ConfigError where a folder holds
    no evaluation, DataError where they share no prompt.
    """
    summaries = [_summary(folder) for folder in (first, second)]
    sides = [_prompts(folder) for folder in (first, second)]
    shared = [name for name in sides[0] if name in sides[1]]
    if not shared:
        raise DataError(
            f"{first} and {second}: no prompt in common ({len(sides[0]):,} and {len(sides[1]):,}); compare evaluations of the "
            "same data"
        )
    scored = [name for name in shared if all(side[name]["scores"] for side in sides)]
    groups: dict[str, list[str]] = {}
    for name in scored:
        task = sides[0][name]["task"]
        for group in dict.fromkeys((task, sides[0][name]["source"] or task)):
            groups.setdefault(group, []).append(name)
    return {
        "a": str(first),
        "b": str(second),
        "prompts": {
            "a": len(sides[0]), "b": len(sides[1]), "shared": len(shared), "scored": len(scored),
            "asked_otherwise": sum(sides[0][name]["prompt"] != sides[1][name]["prompt"] for name in shared),
        },
        "differences": list(_differences(*summaries)),
        "tasks": {group: _test(sides, names) for group, names in groups.items()},
        "changed": list(_changed(sides, scored)),
    }  # fmt: skip


def warnings(found: Mapping[str, Any]) -> list[str]:
    """What makes a comparison less than one of two policies, a line each."""
    counts, lines = found["prompts"], []
    if counts["a"] != counts["shared"] or counts["b"] != counts["shared"]:
        lines.append(
            f"other prompts: A has {counts['a']:,}, B has {counts['b']:,}; the {counts['shared']:,} that both have are compared"
        )
    if counts["asked_otherwise"]:
        lines.append(f"{counts['asked_otherwise']:,} prompts have the same id and another text")
    if counts["scored"] != counts["shared"]:
        lines.append(
            f"{counts['shared'] - counts['scored']:,} prompts have no usable score on one side and are left out"
        )
    lines += [f"other {each['what']}: A has {each['a']}, B has {each['b']}" for each in found["differences"]]
    return lines


def show(found: Mapping[str, Any], most: int) -> None:
    """A table, and the prompts that changed sides. most: so many of them are printed."""
    screen = Screen(soft_wrap=True)
    for side in ("a", "b"):
        screen.print(f"{side.upper()}: {found[side]}")
    table = PlainTable(caption=_CAPTION, caption_justify="left")
    for name in ("", "n", "A", "B", "B - A", "95% interval", "p", "only A : B"):
        table.add_column(name, justify="right" if name else "left", overflow="fold")
    for task, one in found["tasks"].items():
        between = "-" if one["low"] is None else f"{_shown(one, 'low')} to {_shown(one, 'high')}"
        table.add_row(
            task, f"{one['n']:,}", _shown(one, "a"), _shown(one, "b"), f"{_scaled(one, 'difference'):+.1f}", between,
            "-" if one["p"] is None else f"{one['p']:.3g}", f"{one['only_a']} : {one['only_b']}" if one["right"] else "",
        )  # fmt: skip
    screen.print(table)
    for each in found["changed"][:most]:
        sides = "right in B alone" if each["b"] > each["a"] else "right in A alone"
        screen.print(printable(f"{sides}: {each['id']}: {each['prompt']}"), highlight=False, markup=False)
    if len(found["changed"]) > most:
        rest = len(found["changed"]) - most
        screen.print(f"and {rest:,} more that changed sides; --json has all of them", highlight=False)


def require_writable(out: Path) -> None:
    if problem := file_problem(out):
        raise ConfigError(f"--out {out}: cannot be written: {problem}; give another file")


def _shown(one: Mapping[str, Any], key: str) -> str:
    return f"{_scaled(one, key):.1f}"


def _scaled(one: Mapping[str, Any], key: str) -> float:
    return 100 * one[key]


def _summary(folder: Path) -> Mapping[str, Any]:
    summary = read_summary(folder)
    if summary is None or summary.get("command") != "eval" or not (folder / ROWS_FILE).is_file():
        what = "no folder" if not folder.is_dir() else "no finished evaluation"
        raise ConfigError(
            f"{folder}: {what}: it must have {SUMMARY_FILE} of the command eval and {ROWS_FILE}; give what `unigrpo eval` printed"
        )
    return summary


def _prompts(folder: Path) -> dict[str, dict[str, Any]]:
    """By id: task, source, prompt, and the usable scores of its samples."""
    found: dict[str, dict[str, Any]] = {}
    with (folder / ROWS_FILE).open(encoding="utf-8") as file:
        for number, line in enumerate(file, 1):
            try:
                row = json.loads(line)
                one = found.setdefault(
                    str(row["id"]),
                    {"task": row["task"], "source": row["source"], "prompt": row["prompt"], "scores": []},
                )
                if row["score"] is not None:
                    one["scores"].append(float(row["score"]))
            except (ValueError, KeyError, TypeError, AttributeError) as error:
                raise DataError(
                    f"{folder / ROWS_FILE}: line {number}: not a row of an evaluation ({type(error).__name__}); evaluate again"
                ) from error
    return found


def _test(sides: Sequence[Mapping[str, Any]], names: Sequence[str]) -> dict[str, Any]:
    a, b = ([math.fsum(side[name]["scores"]) / len(side[name]["scores"]) for name in names] for side in sides)
    one = {"n": len(names), "a": math.fsum(a) / len(a), "b": math.fsum(b) / len(b)}
    one["difference"] = one["b"] - one["a"]
    low, high, p = paired_bootstrap(a, b) if len(names) > 1 else (None, None, None)
    single = all(len(side[name]["scores"]) == 1 for side in sides for name in names)
    if single and all(value in (0.0, 1.0) for value in (*a, *b)):
        only_a, only_b = (sum(x > y for x, y in zip(*pair, strict=True)) for pair in ((a, b), (b, a)))
        test = {"p": mcnemar(only_a, only_b), "test": MCNEMAR, "only_a": only_a, "only_b": only_b, "right": True}
    else:
        test = {"p": p, "test": BOOTSTRAP if p is not None else None, "right": False}
    return {**one, "low": low, "high": high, **test}


def _changed(sides: Sequence[Mapping[str, Any]], names: Sequence[str]) -> Iterator[dict[str, Any]]:
    """Prompts that are right on one side alone: more than half of their samples have a score of 1."""
    for name in names:
        a, b = (_is_right(side[name]["scores"]) for side in sides)
        if a != b:
            text = " ".join(str(sides[0][name]["prompt"]).split())
            short = text if len(text) <= _LONGEST else f"{text[: _LONGEST - 3]}..."
            yield {"id": name, "task": sides[0][name]["task"], "a": float(a), "b": float(b), "prompt": short}


def _is_right(scores: Sequence[float]) -> bool:
    return 2 * sum(score >= 1.0 for score in scores) > len(scores)


def _differences(a: Mapping[str, Any], b: Mapping[str, Any]) -> Iterator[dict[str, str]]:
    """What of the summaries differs that should not, by the innermost key."""
    for part in SAME:
        flat = [dict(_flat(part, summary.get(part))) for summary in (a, b)]
        for key in dict.fromkeys((*flat[0], *flat[1])):
            values = [each.get(key) for each in flat]
            if values[0] != values[1]:
                yield {"what": key, "a": str(values[0])[:_LONGEST], "b": str(values[1])[:_LONGEST]}


def _flat(name: str, value: Any) -> Iterator[tuple[str, Any]]:
    if isinstance(value, Mapping):
        for key, inner in value.items():
            yield from _flat(f"{name}.{key}", inner)
    else:
        yield name, value
