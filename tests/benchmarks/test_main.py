"""``python -m benchmarks``: mistakes end in one line before a measurement that takes minutes begins."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner

from benchmarks.__main__ import app

RUN = CliRunner()


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["learner", "--out", "none/out.json"], "error: --out none/out.json: no such folder: none; make it first"),
        (["estimators", "--passes", "7"], "error: --passes 7: must be a multiple of 6"),
        (["estimators", "--plot", "none/plot.png"], "error: --plot none/plot.png: no such folder: none"),
        (["rollout", "--case", "texts"], "error: --case texts: allowed: text, image, cached, block"),
    ],
)
def test_a_mistake_is_one_line(
    arguments: list[str], expected: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    result = RUN.invoke(app, arguments)
    assert result.exit_code == 2 and result.stderr.startswith(expected) and len(result.stderr.splitlines()) == 1


@pytest.mark.long
def test_a_measurement_writes_its_json(tmp_path: Path) -> None:
    out = tmp_path / "forward.json"
    result = RUN.invoke(app, ["forward", "--out", str(out), "--repeats", "1", "--vocabulary", "2048"])
    assert result.exit_code == 0 and str(out) in result.stdout and out.stat().st_size > 100
