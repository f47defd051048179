"""Files of a user's folder, and the folder of the job that they are sent to."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from cluster.jobs.shipping import Shipment
from rl.config import Config, load_config
from rl.pixels import load_pixels


def moved(shipment: Shipment, home: Path, monkeypatch: pytest.MonkeyPatch) -> Config:
    """The job's config, in the job's folder; the user's is renamed away."""
    work = home.parent / "elsewhere" / "job"
    work.mkdir(parents=True)
    shipment.write(work)
    home.rename(home.parent / "gone")
    monkeypatch.chdir(work)
    return load_config("job.yaml")


def put(*files: Path | str) -> None:
    """Each with its own name as content."""
    for file in map(Path, files):
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(file.name)


def picture(path: Path | str, level: int) -> bytes:
    """A grey image in a file."""
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    data = io.BytesIO()
    Image.new("RGB", (4, 4), (level, level, level)).save(data, "PNG")
    Path(path).write_bytes(data.getvalue())
    return data.getvalue()


def level(image: Any) -> int:
    """Of an image as a prompt has it: a path, or as its file has it."""
    return int(load_pixels(image, 1)[0, 0, 0])
