"""Each tutorial, followed to the letter: its files are written, its commands run in order, in an empty folder."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import pytest

from rl.config import load_config
from rl.config.flat import flatten
from tests.manual import ROOT, TUTORIALS, Block, blocks

QUICK = ("real-8b",)  # with `make test`; the others with `make test-all`
HEAD = "http://127.0.0.1:8265"  # where a tutorial's Ray head listens


@pytest.mark.parametrize("page", TUTORIALS, ids=lambda page: page.stem)
def test_a_block_is_a_file_or_commands(page: Path) -> None:
    found = blocks(page)
    assert any(block.kind == "sh" and not block.reason for block in found)
    assert all((block.kind == "sh") == (block.title is None) for block in found)
    assert all(block.reason is None or len(block.reason.split()) > 2 for block in found)


@contextmanager
def surroundings(page: Path, folder: Path) -> Iterator[tuple[Mapping[str, str], str]]:
    """(environment, address of a Ray head). ``pip install`` writes into a folder beside the user's, and fetches nothing."""
    site = folder / "site"
    environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith("RAY_")},
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "PYTHONPATH": f"{site}{os.pathsep}{ROOT}",
        "OMP_NUM_THREADS": "1",
        "HF_HUB_OFFLINE": "1",
        "PIP_TARGET": str(site),
        "PIP_NO_BUILD_ISOLATION": "0",  # pip reads this as --no-build-isolation
        "PIP_NO_DEPS": "1",
        "PIP_NO_INDEX": "1",
    }
    if not any(HEAD in block.body for block in blocks(page)):
        yield environment, HEAD
        return
    from tests.cluster.jobs.real_head import a_cluster

    with a_cluster() as (address, token):
        yield {**environment, "RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": token}, address


@pytest.mark.parametrize(
    "page",
    [page if page.stem in QUICK else pytest.param(page, marks=pytest.mark.long) for page in TUTORIALS],
    ids=lambda page: page.stem,
)
@pytest.mark.timeout(1800)
def test_it_can_be_followed(page: Path, tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.mkdir()
    with surroundings(page, tmp_path) as (environment, head):
        for block in blocks(page):
            if block.title is not None:
                (home / block.title).parent.mkdir(parents=True, exist_ok=True)
                (home / block.title).write_text(block.body)
            elif not block.reason:
                follow(block, block.body.replace(HEAD, head), home, environment)


def follow(block: Block, commands: str, home: Path, environment: Mapping[str, str]) -> None:
    """Runs a block as somebody would who pastes it. Raises AssertionError where a line of it fails."""
    done = subprocess.run(
        ["bash", "-euc", commands], cwd=home, env=environment, capture_output=True, text=True, timeout=900
    )
    assert done.returncode == 0, f"{block}\n{block.body}\n{done.stdout[-1500:]}\n{done.stderr[-1500:]}"


def test_the_8b_recipe_has_the_values_of_its_page() -> None:
    """Every line of the table is the recipe's own."""
    page = next(page for page in TUTORIALS if page.stem == "real-8b")
    rows = re.findall(r"^\| `([\w.]+)` \| `([^`]+)` \|", page.read_text("utf-8"), re.M)
    from omegaconf import OmegaConf

    config = OmegaConf.to_container(OmegaConf.structured(load_config("llada-8b-gsm8k-lora")), enum_to_str=True)
    assert isinstance(config, dict)
    values = dict(flatten({str(key): value for key, value in config.items()}))
    assert len(rows) > 15
    assert [(name, json.dumps(values[name]).strip('"')) for name, _ in rows] == rows
