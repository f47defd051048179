"""Held-out prompts must be new: which of them are training prompts, and how they are named or dropped."""

from __future__ import annotations

import hashlib
import unicodedata
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache

from rl.data.values import shown
from rl.errors import DataError
from rl.pixels import require_regular
from rl.types import Message, Prompt

_NAMED = 3


@dataclass(frozen=True, slots=True)
class Overlap:
    """A held-out prompt, and a training prompt with its id or its content."""

    held_out: str
    trained: str
    same_id: bool

    def __str__(self) -> str:
        if self.same_id:
            return f"prompt id {shown(self.held_out)} is in data.train too"
        return f"prompt {shown(self.held_out)} has the same content as {shown(self.trained)} in data.train"


def overlaps(train: Sequence[Prompt], val: Sequence[Prompt]) -> list[Overlap]:
    """The first training prompt that is a held-out prompt too, of each of those. Content is the messages and the image's
    bytes, wherever the image lies."""
    ids = {prompt.id for prompt in train}
    contents = _Contents(train)
    found = []
    for prompt in val:
        twin = None if prompt.id in ids else next(contents.twins(prompt), None)
        if prompt.id in ids or twin is not None:
            found.append(Overlap(prompt.id, prompt.id if twin is None else twin.id, twin is None))
    return found


def check_disjoint(train: Sequence[Prompt], val: Sequence[Prompt]) -> None:
    """Raises DataError that says how many held-out prompts are training prompts, and names the first few."""
    found = overlaps(train, val)
    if not found:
        return
    named = "; ".join(map(str, found[:_NAMED])) + ("; ..." if len(found) > _NAMED else "")
    hint = " (rows without a column id get theirs from folder, file and row: args.name tells two files apart)"
    raise DataError(
        f"data.val: {len(found):,} of {len(val):,} held-out prompts are training prompts: {named}"
        f"{hint if found[0].same_id else ''}; held-out prompts must be new: set data.on_overlap=drop to leave them out of "
        "data.train, or change a source"
    )


def shared_with(val: Sequence[Prompt], train: Sequence[Prompt]) -> set[int]:
    """Which training prompts, by their place in ``train``, are held-out prompts too."""
    ids = {prompt.id for prompt in val}
    contents = _Contents(val)
    return {
        place
        for place, prompt in enumerate(train)
        if prompt.id in ids or next(contents.twins(prompt), None) is not None
    }


class _Contents:
    """Prompts by content. Images are read only where the messages are the same."""

    def __init__(self, prompts: Sequence[Prompt]) -> None:
        self._by_messages: dict[tuple[Message, ...], list[Prompt]] = defaultdict(list)
        for prompt in prompts:
            self._by_messages[_asked(prompt)].append(prompt)
        self._digests: dict[tuple[Message, ...], dict[str, Prompt]] = {}

    def twins(self, prompt: Prompt) -> Iterator[Prompt]:
        asked = _asked(prompt)
        if asked not in self._by_messages:
            return
        if asked not in self._digests:
            same = self._by_messages[asked]
            self._digests[asked] = {image_digest(twin): twin for twin in reversed(same)}
        twin = self._digests[asked].get(image_digest(prompt))
        if twin is not None:
            yield twin


def _asked(prompt: Prompt) -> tuple[Message, ...]:
    """A row of plain text has no messages: its text is its content."""
    turns = prompt.messages or (Message("", prompt.solution or ""),)
    return tuple(Message(turn.role, _plain(turn.content)) for turn in turns)


def _plain(text: str) -> str:
    """Without blanks at its ends, which say nothing, and in one spelling of letters with accents."""
    text = text.strip()
    return text if text.isascii() else unicodedata.normalize("NFC", text)


def image_digest(prompt: Prompt) -> str:
    """sha256 of the prompt's picture: of the file's bytes, encoded ones too, or of its pixels; empty where it has none."""
    if isinstance(prompt.image, str):
        return _file_digest(prompt.image)
    if prompt.image is None:
        return ""
    if isinstance(prompt.image, bytes):
        return hashlib.sha256(prompt.image).hexdigest()
    return hashlib.sha256(repr(prompt.image.shape).encode() + prompt.image.tobytes()).hexdigest()


@lru_cache(maxsize=100_000)
def _file_digest(path: str) -> str:
    require_regular(path)
    try:
        with open(path, "rb") as image:
            return hashlib.file_digest(image, "sha256").hexdigest()
    except OSError as error:
        raise DataError(f"{path}: not a readable image file: {error}") from error
