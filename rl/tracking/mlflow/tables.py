"""Sample tables: the score first, a column a reward, what it was worth, and pictures where the row has any."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from rl.tracking.contact_sheet import sheet
from rl.tracking.mlflow import events, shown
from rl.tracking.mlflow.events import Sheet
from rl.tracking.samples import MAX_TEXTS, drawings
from rl.types import Group

FOLLOWED = 12  # held-out prompts of each table whose answers are followed over time
TEXTS, LOOKS, DRAWN = "texts", "pictures", "drawn"
_SIDE = 96
_SHEET_COLUMNS = 6


def sample_tables(
    step: int, name: str, groups: Sequence[Group], worth: Mapping[int, Sequence[float]]
) -> Iterator[events.Table]:
    """The first rollout of each prompt, sources in turn: answers in words, and answers about a picture beside that picture.
    MLflow takes a column of pictures only where every row has one. Of held-out prompts, what follows them as well.

    worth: by the index of a group, the advantages of its members
    """
    kinds: dict[str, list[int]] = {}
    pictures: dict[str, bytes] = {}
    for index in _in_turns(groups):
        if groups[index].rollouts and groups[index].scores:
            kind = _kind(groups[index], pictures)
            kinds.setdefault(kind, []).append(index)
    for kind, chosen in kinds.items():
        parts = list(dict.fromkeys(part for index in chosen[:MAX_TEXTS] for part in groups[index].scores[0].parts))
        rows = [_row(groups[index], worth.get(index), parts, kind, pictures) for index in chosen[:MAX_TEXTS]]
        shown_ = {key: pictures[key] for row in rows for key in _keys(row)}
        if kind != DRAWN:
            yield events.Table(step, f"{name}_{kind}", rows, shown_)
        if name == "val":
            yield events.Table(step, kind, [_followed(step, row) for row in rows[:FOLLOWED]], shown_, follows=True)


def drawing_sheet(step: int, name: str, groups: Sequence[Group]) -> Sheet | None:
    """All drawings with captions and scores in one picture; None where nothing was drawn."""
    drawn = drawings(groups)
    return Sheet(step, name, shown.encoded(sheet(drawn, _SHEET_COLUMNS))) if drawn else None


def _in_turns(groups: Sequence[Group]) -> list[int]:
    by_source: dict[str, list[int]] = {}
    for index, group in enumerate(groups):
        by_source.setdefault(group.prompt.source, []).append(index)
    longest = max(map(len, by_source.values()), default=0)
    return [rows[turn] for turn in range(longest) for rows in by_source.values() if turn < len(rows)]


def _kind(group: Group, pictures: dict[str, bytes]) -> str:
    """Which table the group's row is in; its picture is kept under the prompt's id."""
    image = group.rollouts[0].image
    png = shown.prompt_png(group.prompt, _SIDE) if image is None else shown.png(image, _SIDE)
    if png is None:
        return TEXTS
    pictures[group.prompt.id] = png
    return LOOKS if image is None else DRAWN


def _row(
    group: Group, advantages: Sequence[float] | None, parts: Sequence[str], kind: str, pictures: Mapping[str, bytes]
) -> dict[str, Any]:
    prompt, rollout, score = group.prompt, group.rollouts[0], group.scores[0]
    advantage = None if advantages is None else shown.number(float(advantages[0]))
    return {
        "score": shown.value_of(score),
        "advantage": advantage,
        **{shown.line(part, 100): shown.number(score.parts[part]) if part in score.parts else None for part in parts},
        **({} if kind == TEXTS else {"picture": shown.picture_cell(prompt.id)}),
        "prompt": shown.asked(prompt),
        "response": shown.text(rollout.text),
        "reference": None if prompt.reference is None else shown.text(prompt.reference, 2000),
        "status": str(score.status),
        "member": f"{rollout.index + 1} of {len(group.rollouts)}",
        "task": str(prompt.task),
        "source": shown.line(prompt.source, 200),
        "prompt_id": shown.line(prompt.id, 200),
        "detail": shown.line(score.detail),
    }


def _followed(step: int, row: Mapping[str, Any]) -> dict[str, Any]:
    """The same columns at every evaluation: MLflow adds rows by column."""
    kept = ("score", "picture", "response", "prompt", "reference", "status", "source")
    return {"prompt_id": row["prompt_id"], "step": step, **{name: row[name] for name in kept if name in row}}


def _keys(row: Mapping[str, Any]) -> Iterator[str]:
    return (value["picture"] for value in row.values() if isinstance(value, Mapping))
