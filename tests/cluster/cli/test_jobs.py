"""Help of submit, jobs and manifest, as a terminal of 80 columns shows it."""

from __future__ import annotations

import pytest
from typer.testing import CliRunner

from cluster.cli.app import app

COMMANDS = (
    "submit",
    "jobs",
    "jobs list",
    "jobs status",
    "jobs stop",
    "jobs logs",
    "manifest kuberay",
    "manifest slurm",
)


@pytest.mark.parametrize("command", COMMANDS)
def test_help_fits_80_columns(command: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("COLUMNS", "TERMINAL_WIDTH"):
        monkeypatch.setenv(name, "80")
    monkeypatch.setenv("RAY_API_SERVER_ADDRESS", "http://me:hush-7391@head:8265")
    done = CliRunner().invoke(app, [*command.split(), "--help"])
    assert done.exit_code == 0
    assert max(map(len, done.stdout.splitlines())) <= 80
    assert "\u2026" not in done.stdout  # a word that is cut
    assert "hush" not in done.stdout
