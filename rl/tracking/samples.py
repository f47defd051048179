"""What people look at: a few texts and drawings out of many rollouts, always the same prompts first."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from rl.output.printable import escaped_in_json
from rl.output.secrets import redact
from rl.types import Group, Prompt, Rollout, Score

MAX_TEXTS = 32
MAX_DRAWINGS = 12


@dataclass(frozen=True, slots=True)
class Drawing:
    """One drawn sample. Example: ``Drawing("scenes/val/3", "a red circle", pixels, score=1.0, parts={"clip": 0.3})``.

    pixels  uint8 [H, W, 3], as the image tokenizer decoded it
    score   None where scoring failed
    parts   each reward's own value, where it is a number
    """

    prompt_id: str
    caption: str
    pixels: np.ndarray
    score: float | None = None
    parts: Mapping[str, float] = field(default_factory=dict)


def drawings(groups: Sequence[Group], limit: int = MAX_DRAWINGS) -> list[Drawing]:
    """The first rollout of each draw prompt, in the order of the prompts."""
    found = [
        Drawing(prompt.id, caption_of(prompt), rollout.image, _value(score), _finite(score))
        for prompt, rollout, score in _first_rollouts(groups)
        if rollout.image is not None
    ]
    return found[:limit]


def text_rows(groups: Sequence[Group], limit: int = MAX_TEXTS) -> list[dict[str, Any]]:
    """The first rollout of each prompt that is answered in words, as table rows; sources take turns."""
    by_source: dict[str, list[dict[str, Any]]] = {}
    for prompt, rollout, score in _first_rollouts(groups):
        if rollout.image is None:
            by_source.setdefault(prompt.source, []).append(_text_row(prompt, rollout, score))
    longest = max(map(len, by_source.values()), default=0)
    turns = (rows[turn] for turn in range(longest) for rows in by_source.values() if turn < len(rows))
    return list(turns)[:limit]


def caption_of(prompt: Prompt) -> str:
    """What was asked, in the words of the last user message."""
    asked = [message.content for message in prompt.messages if message.role == "user"]
    return asked[-1] if asked else (prompt.reference or prompt.id)


def save_samples(folder: Path, groups: Sequence[Group]) -> None:
    """Write ``texts.jsonl``, ``drawings.jsonl`` and one PNG a drawing; files that would be empty are left out."""
    folder.mkdir(parents=True, exist_ok=True)
    _write_lines(folder / "texts.jsonl", text_rows(groups))
    rows = []
    for index, drawing in enumerate(drawings(groups)):
        name = f"{index:02d}.png"
        Image.fromarray(np.ascontiguousarray(drawing.pixels)).save(folder / name)
        rows.append(
            {
                "file": name,
                "prompt_id": drawing.prompt_id,
                "caption": drawing.caption,
                "score": drawing.score,
                "parts": drawing.parts,
            }
        )
    _write_lines(folder / "drawings.jsonl", rows)


def load_drawings(folder: Path) -> list[Drawing]:
    """What ``save_samples`` wrote; empty where it wrote none."""
    listing = folder / "drawings.jsonl"
    if not listing.is_file():
        return []
    rows = [json.loads(line) for line in listing.read_text("utf-8").splitlines()]
    return [
        Drawing(row["prompt_id"], row["caption"], _pixels(folder / row["file"]), row["score"], row["parts"])
        for row in rows
    ]


def _first_rollouts(groups: Sequence[Group]) -> Iterator[tuple[Prompt, Rollout, Score]]:
    for group in groups:
        if group.rollouts and group.scores:
            yield group.prompt, group.rollouts[0], group.scores[0]


def _text_row(prompt: Prompt, rollout: Rollout, score: Score) -> dict[str, Any]:
    return {
        "prompt_id": prompt.id,
        "task": str(prompt.task),
        "source": prompt.source,
        "prompt": caption_of(prompt),
        "response": rollout.text,
        "reference": prompt.reference,
        "score": _value(score),
        "status": str(score.status),
        "parts": json.dumps(_finite(score)),
        "detail": redact(score.detail),
    }


def _value(score: Score) -> float | None:
    return float(score.value) if score.usable else None


def _finite(score: Score) -> dict[str, float]:
    return {name: float(value) for name, value in score.parts.items() if math.isfinite(value)}


def _pixels(path: Path) -> np.ndarray:
    with Image.open(path) as picture:
        return np.asarray(picture.convert("RGB"))


def _write_lines(path: Path, rows: Sequence[dict[str, Any]]) -> None:
    if rows:
        lines = "".join(escaped_in_json(json.dumps(row, ensure_ascii=False)) + "\n" for row in rows)
        path.write_text(lines, "utf-8")
