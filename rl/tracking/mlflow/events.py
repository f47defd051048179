"""What is written to MLflow, one event at a time, in a form that a file can hold until the store takes it."""

from __future__ import annotations

import base64
import dataclasses
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class Metrics:
    """Numbers of one step. time_ms: since 1970."""

    step: int
    time_ms: int
    values: Mapping[str, float]


@dataclass(frozen=True, slots=True)
class Machine:
    """What one node did at one moment: ``system/{node}/...``."""

    time_ms: int
    values: Mapping[str, float]


@dataclass(frozen=True, slots=True)
class Table:
    """Rows with the same columns. A cell ``{"picture": KEY}`` shows ``pictures[KEY]``, a PNG.

    follows: the rows join those of earlier evaluations, in one table over time
    """

    step: int
    name: str
    rows: Sequence[Mapping[str, Any]]
    pictures: Mapping[str, bytes] = field(default_factory=dict)
    follows: bool = False


@dataclass(frozen=True, slots=True)
class Sheet:
    """Drawings of one step as one PNG."""

    step: int
    name: str
    png: bytes


@dataclass(frozen=True, slots=True)
class Trace:
    """One group of rollouts (``rl.tracking.mlflow.traces``), without the ids that its run gives it."""

    step: int
    name: str
    prompt_id: str
    body: Mapping[str, Any]
    pictures: Mapping[str, bytes] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Tags:
    """Tags of the run."""

    values: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Text:
    """A small text artifact."""

    path: str
    text: str


@dataclass(frozen=True, slots=True)
class Files:
    """Files of the run folder that are artifacts as they are when they are written."""

    paths: Sequence[str]


@dataclass(frozen=True, slots=True)
class Page:
    """A page that lies in the run's folder, as an artifact in ``folder``; a later one of its name replaces it.

    file: within the run's folder, which may have moved by the time it is written
    """

    file: str
    folder: str


@dataclass(frozen=True, slots=True)
class Close:
    """The run's end: FINISHED, FAILED or KILLED."""

    status: str


Event = Metrics | Machine | Table | Sheet | Trace | Tags | Text | Files | Page | Close
KINDS: dict[str, type[Event]] = {
    kind.__name__.lower(): kind for kind in (Metrics, Machine, Table, Sheet, Trace, Tags, Text, Files, Page, Close)
}


def kind_of(event: Event) -> str:
    return type(event).__name__.lower()


def to_text(event: Event) -> str:
    """JSON; pictures as base64."""
    content = {field.name: getattr(event, field.name) for field in dataclasses.fields(event)}
    for name, value in content.items():
        if isinstance(value, bytes):
            content[name] = base64.b64encode(value).decode()
        elif name == "pictures":
            content[name] = {key: base64.b64encode(png).decode() for key, png in value.items()}
        elif isinstance(value, Mapping):
            content[name] = dict(value)
    return json.dumps({"kind": kind_of(event), **content})


def from_text(text: str) -> Event:
    """The event again. Raises ValueError, KeyError or TypeError for another text."""
    content = json.loads(text)
    kind = KINDS[content.pop("kind")]
    if "png" in content:
        content["png"] = base64.b64decode(content["png"])
    if "pictures" in content:
        content["pictures"] = {key: base64.b64decode(png) for key, png in content["pictures"].items()}
    return kind(**content)
