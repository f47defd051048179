"""The reference page and ``unigrpo rewards list`` say what the settings classes say."""

from pathlib import Path

from typer.testing import CliRunner

from cluster.cli.app import app
from rewards.reference import page
from rewards.registry import BUILT_IN

PAGE = Path(__file__).parents[2] / "docs" / "rewards_reference.md"


def test_the_page_is_what_the_command_prints():
    assert PAGE.read_text() == page(), "run: python -m rewards.reference > docs/rewards_reference.md"


def test_the_list_has_every_name_and_verbose_every_setting():
    names = CliRunner().invoke(app, ["rewards", "list"]).output.split()
    assert set(BUILT_IN) <= set(names) and names == sorted(names)
    said = CliRunner().invoke(app, ["rewards", "list", "--verbose"]).output
    assert "  batch_size (a whole number above 0; default 64): pictures at a time\n" in said
    assert "  longest (a whole number; required): " in said
