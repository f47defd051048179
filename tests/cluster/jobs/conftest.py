"""A user's folder."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.cluster.recipe import write_recipe


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A user's folder with a recipe, in which the user is."""
    folder = tmp_path / "home"
    folder.mkdir()
    monkeypatch.chdir(folder)
    write_recipe(folder)
    return folder
