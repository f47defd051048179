"""``unigrpo bench`` hands over to a checkout's measurements, and says so where there is none."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner

from cluster.cli import bench
from cluster.cli.app import app
from rl.errors import ConfigError


def test_a_checkout_answers(capfd: pytest.CaptureFixture[str]) -> None:
    assert CliRunner().invoke(app, ["bench", "rollout", "--help"]).exit_code == 0
    shown = capfd.readouterr().out
    assert "unigrpo bench rollout" in shown and "--vocabulary" in shown


def test_the_exit_code_is_the_measurements(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    out = str(tmp_path / "none" / "out.json")
    assert CliRunner().invoke(app, ["bench", "forward", "--out", out]).exit_code == 2
    assert f"error: --out {out}: no such folder" in capfd.readouterr().err


def test_an_installed_wheel_says_what_is_needed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(ConfigError, match="bench: the measurements are not in the wheel; clone the repository"):
        bench.run(["rollout"], str, checkout=tmp_path)
    assert bench.run(["rollout", "--help"], lambda: "usage", checkout=tmp_path) == 0
    assert capsys.readouterr().out == "usage\n"
