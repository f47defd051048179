"""Checks of the machine that need no GPU and no server: the pairs of GPU and driver, the token, and how checks follow."""

from __future__ import annotations

from pathlib import Path

import pytest

from cluster.doctor import services
from cluster.doctor.case import Machine
from cluster.doctor.check import Check, Result, State, examine, ok, red
from cluster.doctor.gpu import judge
from rl.config import build_config
from rl.errors import ConfigError

PAIRS = [  # driver, CUDA of torch, whether torch finds the GPU, and what is said
    ("570.86.15", "12.8", True, None),
    ("525.60.13", "12.1", True, None),
    ("580.65.06", "13.0", True, None),
    ("470.57.02", "12.4", False, "too old for torch's CUDA 12.4, which needs 525.60"),
    ("550.54.14", "13.0", False, "too old for torch's CUDA 13.0, which needs 580.65"),
    ("450.51.05", "11.8", False, "needs 450.80"),
    ("570.86.15", None, False, "built for CPUs"),
    ("570.86.15", "12.8", False, "torch finds no GPU"),
    ("570.86.15", "14.0", True, None),  # newer than this table: torch's own word counts
]


@pytest.mark.parametrize(("driver", "cuda", "usable", "said"), PAIRS)
def test_pairs_of_driver_and_cuda(driver: str, cuda: str | None, usable: bool, said: str | None) -> None:
    result = judge(driver, "NVIDIA H100", cuda, usable)
    assert (result.state is State.OK) == (said is None)
    assert said is None or (said in result.found and result.remedy)


TOKENS = [  # environment, address, and what is said
    ({}, None, None),
    ({"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": "a" * 64}, "head:6379", None),
    ({"RAY_AUTH_MODE": "token"}, "head:6379", "no token"),
    ({"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN_PATH": "/no/such/file"}, "head:6379", "no such file"),
    ({}, "head:6379", "no token is sent"),
]


@pytest.mark.parametrize(("environment", "address", "said"), TOKENS)
def test_a_cluster_is_asked_for_its_token(
    environment: dict[str, str], address: str | None, said: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("RAY_AUTH_MODE", "RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    result = services.token(Machine(build_config([("test", {"cluster": {"address": address}})])))
    assert (result.state is State.OK) == (said is None), result
    assert said is None or said in result.found


def test_a_store_is_written_to_and_what_was_written_is_gone(tmp_path: Path) -> None:
    mlflow = pytest.importorskip("mlflow")
    uri = f"sqlite:///{tmp_path / 'mlflow.db'}"
    machine = Machine(build_config([("test", {"output_dir": str(tmp_path), "tracking": {"uri": uri}})]))
    result = services.mlflow(machine)
    assert result.state is State.OK and "logged and deleted" in result.found
    client = mlflow.MlflowClient(tracking_uri=uri)
    experiment = client.get_experiment_by_name("unigrpo")
    assert experiment is not None and not client.search_runs([experiment.experiment_id])
    (tmp_path / "other.db").write_text("no database")
    broken = {"uri": f"sqlite:///{tmp_path / 'other.db'}"}
    with pytest.raises(ConfigError, match="no SQLite database"):
        services.mlflow(Machine(build_config([("test", {"tracking": broken})])))


class PanicError(BaseException):
    """As a library in Rust raises."""


@pytest.mark.parametrize(
    ("error", "found", "remedy"),
    [
        (ConfigError("steps=0: must be above 0; give steps=1"), "steps=0: must be above 0", "give steps=1"),
        (ConfigError("steps=0"), "steps=0", "ask"),
        (ValueError("two\nlines"), "ValueError: two", "ask"),
        (PanicError("index out of range"), "PanicError: index out of range", "ask"),
        (SystemExit(3), "SystemExit: 3", "ask"),
        (MemoryError(), "ran out of memory", "machine with more memory"),
    ],
)
def test_whatever_a_check_raises_is_a_line(error: BaseException, found: str, remedy: str) -> None:
    def fails(case: None) -> Result:
        raise error

    checks: list[Check[None]] = [
        Check("first", lambda case: ok("here")),
        Check("second", fails, needs=("first",), remedy="ask"),
        Check("third", lambda case: ok("never"), needs=("second",)),
        Check("fourth", lambda case: ok("never"), needs=("third",)),
        Check("fifth", lambda case: red("so", "do"), needs=("first",)),
    ]
    begun: list[str] = []
    results = list(examine(checks, None, begun.append))
    assert [result.state for result in results] == ["ok", "red", "skipped", "skipped", "red"]
    assert results[1].found == found and remedy in results[1].remedy
    assert results[3].found == "needs second, which is red"  # what is to blame, not what stands before
    assert begun == ["first", "second", "fifth"]


def test_ctrl_c_ends_all_checks() -> None:
    def interrupted(case: None) -> Result:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        list(examine([Check("only", interrupted)], None))
