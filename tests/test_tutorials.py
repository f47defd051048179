"""Each tutorial, followed to the letter: its files are written, its commands run in order, in an empty folder."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PAGES = sorted((ROOT / "docs" / "tutorials").glob("*.md"))
_BLOCK = re.compile(r"^```(?P<kind>\w+)(?: title=\"(?P<title>[^\"]+)\")?\n(?P<body>.*?)^```$", re.M | re.S)


def blocks(page: Path) -> list[tuple[str, str | None, str]]:
    """(kind, file's name, text), in order."""
    return [(found["kind"], found["title"], found["body"]) for found in _BLOCK.finditer(page.read_text("utf-8"))]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_a_block_is_a_file_or_commands(page: Path) -> None:
    found = blocks(page)
    assert any(kind == "sh" for kind, _, _ in found)
    assert all((kind == "sh") == (title is None) for kind, title, _ in found)


@pytest.mark.long
@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_it_can_be_followed(page: Path, tmp_path: Path) -> None:
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    for kind, title, body in blocks(page):
        if kind == "sh":
            run = subprocess.run(
                ["bash", "-euc", body],
                cwd=tmp_path,
                env={**os.environ, "PATH": path},
                capture_output=True,
                text=True,
                timeout=600,
            )
            assert run.returncode == 0, f"{body}\n{run.stdout[-1500:]}\n{run.stderr[-1500:]}"
        else:
            assert title is not None
            (tmp_path / title).write_text(body)
