"""An image tokenizer by its name on a hub, beside a policy that has none; and each way in which that fails."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from PIL import Image
from typer.testing import CliRunner

from cluster.cli.app import app
from cluster.run.hub import attach_images, pinned, recorded
from policies import load_policy
from policies.files.folders import find_policy
from policies.files.image_tokenizers import attach
from policies.files.parts import Part
from rl.config import Config, PolicyConfig
from rl.errors import PolicyError
from tests.loopback_hub import LoopbackHub, folder_files, point_at, serving
from tests.toys import toy_folder

POLICY, CODES = "someone/small-mmada", "someone/codes"
BELOW = "image_tokenizer/"


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[LoopbackHub]:
    monkeypatch.chdir(tmp_path)
    files = folder_files(toy_folder())
    with serving() as found:
        point_at(monkeypatch, found.url, tmp_path / "home")
        found.add("models", POLICY, {name: data for name, data in files.items() if not name.startswith(BELOW)})
        codes = {name.removeprefix(BELOW): data for name, data in files.items() if name.startswith(BELOW)}
        found.add("models", CODES, codes | {"code.py": b"raise SystemExit('code ran')"})
        found.add("models", "someone/pickle", {"config.json": codes["config.json"], "pytorch_model.bin": b"\x80\x04."})
        found.add("models", "someone/two", codes | {"other.safetensors": b"x"})
        found.add("models", "someone/bare", {"config.json": b"{}"})
        found.add("models", "someone/whole", files)
        yield found


def drawn(*words: str) -> str:
    """What is said where it fails, else nothing."""
    words = ("generate", "a red circle", "--task", "draw", "--out", "drawing.png", *words, "evaluation.draw.steps=2")
    done = CliRunner().invoke(app, list(words))
    assert done.exit_code in (0, 2), done.output
    assert done.exit_code == 0 or len(done.stderr.splitlines()) == 1, done.stderr  # and no weights were downloaded
    return done.stderr if done.exit_code else ""


def test_a_policy_draws_with_an_image_tokenizer_of_the_hub(hub: LoopbackHub, tmp_path: Path) -> None:
    assert "for a policy on a hub give policy.image_tokenizer" in drawn(f"policy.path={POLICY}")
    assert drawn(f"policy.path={POLICY}", f"policy.image_tokenizer={CODES}") == ""
    with Image.open("drawing.png") as picture:
        assert picture.size == (32, 32)
    folder = find_policy(POLICY)
    assert not list(Path(folder / "image_tokenizer").glob("*.py"))
    load_policy(folder).save(tmp_path / "saved")
    assert load_policy(tmp_path / "saved").image_tokenizer is not None
    before = hub.sent("model.safetensors")
    assert drawn(f"policy.path={POLICY}", f"policy.image_tokenizer={CODES}") == ""
    assert hub.sent("model.safetensors") == before  # all is there


def test_a_run_keeps_its_commit(hub: LoopbackHub) -> None:
    config = Config(policy=PolicyConfig(path=POLICY, image_tokenizer=CODES))
    found = pinned(config, data=False)
    assert set(recorded(found)) == {"policy.path", "policy.image_tokenizer"}
    assert found.policy.image_tokenizer is not None and found.policy.image_tokenizer.startswith(f"{CODES}@")
    attach_images(found)
    assert (find_policy(found.policy.path, Part.CHECKS) / "image_tokenizer" / "config.json").is_file()
    assert load_policy(found.policy.path).image_tokenizer is not None


def test_a_folder_beside_a_policy_of_a_hub(hub: LoopbackHub) -> None:
    shutil.copytree(toy_folder() / "image_tokenizer", "codes")
    assert drawn(f"policy.path={POLICY}", "policy.image_tokenizer=codes") == ""
    assert drawn(f"policy.path={POLICY}", f"policy.image_tokenizer={CODES}") == ""  # another one takes its place


@pytest.mark.parametrize(
    ("policy", "codes", "said"),
    [
        (POLICY, "someone/pickle", "python -m policies.convert FOLDER` and policy.image_tokenizer=FOLDER"),
        (POLICY, "someone/two", "2 safetensors files; an image tokenizer has one"),
        (POLICY, "someone/bare", "0 safetensors files"),
        (POLICY, "someone/nobody", "no such model on"),
        (POLICY, f"{CODES}@v9", "no revision 'v9'"),
        (POLICY, "no/such/folder", "no such folder; allowed: a folder, or a name on a hub"),
        (POLICY, "empty", "no config.json in it"),
        ("someone/whole", CODES, "has an image_tokenizer of its own; leave this out"),
        ("here", CODES, "is a folder; put the image tokenizer there"),
    ],
)
def test_what_cannot_be_used_is_one_line(policy: str, codes: str, said: str, hub: LoopbackHub) -> None:
    Path("empty").mkdir()
    shutil.copytree(toy_folder(), "here")
    told = drawn(f"policy.path={policy}", f"policy.image_tokenizer={codes}")
    assert "policy.image_tokenizer=" in told and said in told, told


def test_a_filled_cache_needs_no_network(hub: LoopbackHub, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    asked = pinned(Config(policy=PolicyConfig(path=POLICY, image_tokenizer=CODES)), data=False)
    attach_images(asked, Part.ALL)
    point_at(monkeypatch, "http://127.0.0.1:9", tmp_path / "home", offline=True)
    attach_images(replace(asked))
    with pytest.raises(PolicyError, match="policy.image_tokenizer='someone/two'"):
        attach(find_policy(asked.policy.path), "someone/two")


def test_rows_that_a_command_does_not_read_are_not_looked_up(hub: LoopbackHub) -> None:
    """A recipe's training rows may be on a hub that this machine does not reach."""
    absent = "data.train=[{source: someone/absent}]"
    words = ["eval", "--dry-run", absent, "data.val=[{source: sudoku4x4, split: val, limit: 2}]"]
    assert CliRunner().invoke(app, words).exit_code == 0
    done = CliRunner().invoke(app, [*words, "evaluation.k_shots=1"])
    assert done.exit_code == 2 and "data source 'someone/absent'" in done.stderr, done.stderr
