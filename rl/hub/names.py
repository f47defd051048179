"""Names of repositories on a hub: ``org/name``, or ``org/name@revision``. Standard library only."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path

_PART = r"[A-Za-z0-9_](?:[\w.-]*[A-Za-z0-9_])?"
_NAME = re.compile(rf"({_PART}/{_PART})(?:@(.+))?", re.ASCII)
_REVISION = re.compile(r"[\w.+/-]+", re.ASCII)
_COMMIT = re.compile("[0-9a-f]{40}")
_LONGEST = 96  # characters of a name, on every hub that speaks this protocol
# What a path ends in: with one of these, a text that names nothing here is a file that is missing, and no repository.
_FILES = frozenset(
    ".arrow .bin .ckpt .csv .gz .json .jsonl .npz .parquet .pt .pth .py .safetensors .tsv .txt .yaml .zip".split()
)

HOW = "a name on a hub is ORG/NAME or ORG/NAME@REVISION, e.g. GSAI-ML/LLaDA-8B-Instruct"


@dataclass(frozen=True, slots=True)
class HubName:
    """A repository, and which state of it. Example: ``HubName("openai/gsm8k", "main")``, or with None for what is newest.

    revision   a branch, a tag or a commit
    """

    name: str
    revision: str | None = None

    def __str__(self) -> str:
        return self.name if self.revision is None else f"{self.name}@{self.revision}"

    @property
    def short(self) -> str:
        """For screens: a commit's first twelve digits."""
        return f"{self.name}@{self.revision[:12]}" if self.pinned and self.revision else str(self)

    @property
    def pinned(self) -> bool:
        """Whether the revision is a commit, which stays what it is."""
        return self.revision is not None and _COMMIT.fullmatch(self.revision) is not None


def hub_name(text: str, revision: str | None = None) -> HubName | None:
    """What a setting names on a hub; None for a path: of something that is here, absolute, or with the ending of a file.

    revision: given apart from the text; it goes before the one behind ``@``.
    """
    if os.path.exists(text) or Path(text).suffix.lower() in _FILES:
        return None
    found = _NAME.fullmatch(text)
    if found is None or problem(text, revision):
        return None
    return HubName(found[1], revision or found[2])


def is_written_as_name(text: str) -> bool:
    """Whether a path could be a name by its looks, as ``org/name`` is; whether anything is there is not asked."""
    return not problem(text) and Path(text).suffix.lower() not in _FILES


def problem(text: str, revision: str | None = None) -> str:
    """Why a text is no name on a hub; the empty text where it is one."""
    if "://" in text:
        return "an address, not a name"
    found = _NAME.fullmatch(text)
    if found is None:
        return "not ORG/NAME of letters, digits, - _ and ."
    name, behind = found.groups()
    if len(name) > _LONGEST or "--" in name or ".." in name or name.endswith(".git"):
        return f"a name has at most {_LONGEST} characters, no -- and no .., and does not end in .git"
    given = revision or behind
    if given is not None and (not _REVISION.fullmatch(given) or ".." in given or given.startswith(("/", "-"))):
        return f"revision {given[:80]!r} is no branch, tag or commit"
    return ""
