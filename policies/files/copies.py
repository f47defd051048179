"""Copies of a policy's folder. What a link there shows of the machine outside is not copied: the folder may be a stranger's,
and its copy may be published."""

from __future__ import annotations

import os
import shutil
from collections.abc import Collection
from pathlib import Path

from policies.files.chat_template import FOLDER as TEMPLATES
from policies.files.parts import INDEX
from policies.files.strict_json import lies_inside

IMAGE_TOKENIZER = "image_tokenizer"
# Beside the weights: what load_policy reads, and the model's own code, which others need to load what we save.
COMPANIONS = (".json", ".jinja", ".txt", ".model", ".py")
WEIGHTS = ".safetensors"


def copy_companions(source: Path, target: Path) -> None:
    """All that a policy has beside its weights and their index."""
    for file in source.iterdir():
        if file.suffix in COMPANIONS and file.name != INDEX:
            _copy(file, target / file.name, source)
    _copy_below(source / TEMPLATES, target / TEMPLATES, source)
    _copy_below(source / IMAGE_TOKENIZER, target / IMAGE_TOKENIZER, source / IMAGE_TOKENIZER)


def copy_policy(source: Path, target: Path, left_out: Collection[str] = ()) -> None:
    """The whole folder, weights also where they are links to another place. left_out: names of files and folders."""
    target.mkdir(parents=True, exist_ok=True)
    _copy_below(source, target, source, left_out)
    _copy_below(source / IMAGE_TOKENIZER, target / IMAGE_TOKENIZER, source / IMAGE_TOKENIZER, left_out)


def _copy_below(source: Path, target: Path, root: Path, left_out: Collection[str] = ()) -> None:
    """Files at any depth; links to folders are not followed. root: which may be a link, and out of which none may lead."""
    for folder, inner, names in os.walk(source):
        inner[:] = [name for name in inner if name not in left_out]
        for name in set(names) - set(left_out):
            file = Path(folder, name)
            _copy(file, target / file.relative_to(source), root)


def _copy(file: Path, target: Path, root: Path) -> None:
    """A regular file alone. Weights are read as numbers wherever they lie, and so they are copied."""
    if os.path.isfile(file) and (lies_inside(file, root) or file.suffix == WEIGHTS):
        target.parent.mkdir(parents=True, exist_ok=True)
        target.unlink(missing_ok=True)  # another place may have it as a hard link, and keeps what it has
        shutil.copyfile(file, target)
