"""The same held-out prompts before and after: the texts and drawings that a run kept."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from rl.checkpoints.files import read_inside
from rl.errors import DataError
from rl.pixels import open_image
from rl.tracking.metrics_file import SAMPLES_FOLDER, is_number
from rl.tracking.pages import answers
from rl.tracking.pages.html import embedded, is_embedded, line, text
from rl.tracking.pages.report.folder import RunFolder

MOST_TEXTS, MOST_DRAWINGS = 10, 12
_SIDE = 192
_LONGEST = 1200  # characters of an answer

Row = Mapping[str, Any]


def samples(run: RunFolder) -> str:
    """A table of texts and a grid of drawings, from the run's first evaluation and its last; empty where it kept none."""
    folders = _evaluations(run.path)
    if not folders:
        return ""
    first, last = min(folders), max(folders)
    steps = [first] if first == last else [first, last]
    found = [_texts([_rows(folders[step] / "texts.jsonl") for step in steps], steps, _looked_at(run.path, last))]
    found.append(_drawings([folders[step] for step in steps], steps))
    return "".join(found)


def _evaluations(path: Path) -> dict[int, Path]:
    found = {each.name.rpartition("-")[2]: each for each in (path / SAMPLES_FOLDER).glob("val-*") if each.is_dir()}
    return {int(step): each for step, each in found.items() if step.isdecimal()}


def _looked_at(path: Path, step: int) -> dict[str, str]:
    """Prompt's id -> the picture that it shows, of those that the pages of the run kept."""
    file = answers.steps_of(path).get(step)
    kept = None if file is None else answers.read(file)
    rows = [] if kept is None else [row for some in kept.sets.values() for row in some if isinstance(row, dict)]
    return {str(row.get("id")): row["asked"] for row in rows if is_embedded(row.get("asked"))}


def _texts(sides: list[list[Row]], steps: list[int], looked_at: Mapping[str, str]) -> str:
    """Prompts of the last evaluation, sources in turn as the file has them; those whose verdict changed first."""
    by_id = [{str(row.get("prompt_id")): row for row in rows} for rows in sides]
    rows = sorted(sides[-1], key=lambda row: not _changed([each.get(str(row.get("prompt_id"))) for each in by_id]))
    lines = []
    for row in rows[:MOST_TEXTS]:
        said = [each.get(str(row.get("prompt_id"))) for each in by_id]
        cells = "".join(_answer(answer, before) for answer, before in zip(said, [None, *said], strict=False))
        reference = row.get("reference")
        wanted = f'<div class="soft">reference: {text(reference, _LONGEST)}</div>' if reference else ""
        picture = looked_at.get(str(row.get("prompt_id")))
        shown = f'<img class="looked" src="{picture}" alt="the picture that the prompt shows">' if picture else ""
        lines.append(f'<tr><th scope="row">{_said(row.get("prompt"))}{shown}{wanted}</th>{cells}</tr>')
    if not lines:
        return ""
    heads = "".join(f"<th>{when(step)}</th>" for step in steps)
    return (
        f'<div class="scroll"><table class="samples"><thead><tr><th>prompt</th>{heads}</tr></thead><tbody>{"".join(lines)}'
        "</tbody></table></div>"
    )


def _answer(row: Row | None, before: Row | None) -> str:
    if row is None:
        return "<td></td>"
    return f'<td><div class="said">{text(row.get("response") or "", _LONGEST)}</div>{_score(row, before)}</td>'


def _drawings(folders: list[Path], steps: list[int]) -> str:
    sides = [{str(row.get("prompt_id")): row for row in _rows(each / "drawings.jsonl")} for each in folders]
    cards = []
    for key, row in list(sides[-1].items())[:MOST_DRAWINGS]:
        rows = [side.get(key) for side in sides]
        pictures = [
            f"<figure>{_picture(folder, answer)}<figcaption>{when(step)} {_score(answer, before)}</figcaption></figure>"
            for folder, step, answer, before in zip(folders, steps, rows, [None, *rows], strict=False)
            if answer is not None
        ]
        caption = line(row.get("caption") or "", 300)
        cards.append(f'<div class="card"><p>{caption}</p><div class="pair">{"".join(pictures)}</div></div>')
    return f'<div class="cards">{"".join(cards)}</div>' if cards else ""


def _picture(folder: Path, row: Row) -> str:
    name = row.get("file")
    if not isinstance(name, str) or Path(name).name != name:
        return ""
    try:
        drawn = open_image(read_inside(folder / name, folder.parents[1]))
        return f'<img src="{embedded(drawn, _SIDE)}" alt="drawn">'
    except (DataError, OSError, ValueError):
        return '<p class="soft">the picture cannot be read</p>'


def _score(row: Row, before: Row | None) -> str:
    value, earlier = (_number(each) for each in (row, before))
    if value is None:
        return '<span class="soft">not scored</span>'
    mark = ""
    if earlier is not None and value != earlier:
        kind, sign = ("good", "\u25b2") if value > earlier else ("bad", "\u25bc")
        mark = f' <b class="{kind}">{sign}</b>'
    return f'<span class="score">score <b>{value:.3g}</b>{mark}</span>'


def _changed(rows: list[Row | None]) -> bool:
    values = {_number(row) for row in rows if row is not None}
    return len(values) > 1


def _number(row: Row | None) -> float | None:
    value = None if row is None else row.get("score")
    return float(value) if is_number(value) else None


def _said(words: object) -> str:
    return f'<div class="asked">{text(words or "", _LONGEST)}</div>'


def when(step: int) -> str:
    return "before training" if step == 0 else f"step {step}"


def _rows(file: Path) -> list[Row]:
    return list(_read(file))


def _read(file: Path) -> Iterator[Row]:
    """Of a file in a folder of samples. What cannot be read is passed over."""
    try:
        lines = read_inside(file, file.parents[2]).decode("utf-8", errors="replace").splitlines()
    except OSError:
        return
    for each in lines:
        try:
            row = json.loads(each)
        except (ValueError, RecursionError):
            continue
        if isinstance(row, dict):
            yield row
