"""What is known of a wire before anything starts, and a wire that an installed package brings."""

from __future__ import annotations

from pathlib import Path

import pytest

from cluster.weights.base import WIRES, check_wire, open_wire
from rl.config import build_config
from rl.errors import ConfigError


@pytest.mark.parametrize(
    ("cluster", "others", "message"),
    [
        ({"weight_sync": "ipx"}, {}, "cluster.weight_sync='ipx': allowed: object_store, .*did you mean 'ipc'"),
        ({"weight_sync": "ipc"}, {"max_staleness": 2}, "max_staleness=2 with cluster.weight_sync=ipc: .*object_store"),
        (
            {"weight_sync": "ipc", "take_turns": True},
            {},
            "take_turns=true with cluster.weight_sync=ipc: .*object_store",
        ),
        ({"weight_sync": "collective", "take_turns": True}, {}, "take_turns=true with cluster.weight_sync=collective"),
        (
            {"weight_sync": "ipc", "placement": "disaggregated"},
            {"policy": {"device": "cuda"}},
            "weight_sync=ipc with cluster.placement=disaggregated: .*placement=colocated",
        ),
    ],
)
def test_what_a_wire_cannot_do_is_one_line(cluster: dict, others: dict, message: str) -> None:
    with pytest.raises(ConfigError, match=message) as caught:
        check_wire(build_config([("test", {"cluster": cluster, **others})]))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", [*WIRES])
def test_a_wire_knows_its_name_and_fits_an_ordinary_run(name: str) -> None:
    assert open_wire(name).name == name
    check_wire(build_config([("test", {"cluster": {"weight_sync": name}})]))


def test_nothing_outside_this_folder_names_a_wire() -> None:
    """Their names are in the config's default and its description, and in no code."""
    root = Path(__file__).parents[3]
    files = [path for folder in ("rl", "cluster") for path in (root / folder).rglob("*.py")]
    allowed = {root / "rl" / "config" / "cluster.py", *(root / "cluster" / "weights").iterdir()}
    named = {
        (str(path.relative_to(root)), name)
        for path in files
        if path not in allowed
        for name in WIRES
        if f'"{name}"' in path.read_text() or f"={name}" in path.read_text()
    }
    assert not named
