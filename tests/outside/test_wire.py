"""A fourth wire, weights through a file, made from nothing but the manual: one file and one line."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.outside.package import code_of, make_package, run_with


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wire")
    make_package(folder, "wire_on_disk", code_of("Add a wire"), {"unigrpo.wires": "on_disk = wire_on_disk:WIRE"})
    return folder


def weights_after(folder: Path, name: str, wire: str, *accident: str) -> str:
    """Digest of the final weights of a run over Ray."""
    settings = ("steps=3", "save_freq=1", "learner.engine=torch", "cluster.rollout_workers=2")
    command = ("-m", "tests.faults.child", str(folder / "home"), name, *(accident or ("0", "", "")), *settings)
    done = run_with(folder, *command, f"cluster.weight_sync={wire}")
    return json.loads(done.stdout.splitlines()[-1])["digest"]


@pytest.mark.long
def test_it_gives_the_bits_of_the_others_with_a_worker_killed(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files = folder / "weights"
    files.mkdir()
    monkeypatch.setenv("ON_DISK", str(files))
    expected = weights_after(folder, "expected", "object_store")
    assert weights_after(folder, "outside", "on_disk", "2", "rollout worker 0", "SIGKILL") == expected
    assert sorted(path.stem for path in files.iterdir()) == ["0", "1", "2", "3"]


def test_a_wire_that_does_not_exist_is_named_with_those_that_do(folder: Path) -> None:
    code = """
from cluster.weights.base import check_wire
from rl.config import load_config
try:
    check_wire(load_config("tiny", ["cluster.weight_sync=on_disc"]))
except ValueError as error:
    print(error)
"""
    said = run_with(folder, "-c", code).stdout.strip()
    assert said == (
        "cluster.weight_sync='on_disc': allowed: object_store, collective, ipc, on_disk; did you mean 'on_disk'?"
    )
