"""What a job takes along is what the recipe names and what it says it is: no file that a row, or a link, leads to."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from cluster.jobs.shipping import Shipment
from rl.config import SourceConfig
from rl.data.rows import load_rows
from rl.errors import DataError, RewardError
from tests.cluster.jobs.sending import sends
from tests.cluster.recipe import write_recipe
from tests.toys import toy_folder

CANARY = "canary-4711"


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    folder = tmp_path / "work"
    folder.mkdir()
    write_recipe(folder)
    (tmp_path / "home").mkdir()
    (tmp_path / "home" / "id_canary").write_text(CANARY)
    Image.new("RGB", (4, 4)).save(tmp_path / "home" / "photo.png")
    monkeypatch.chdir(folder)
    yield folder


def rows(**columns: Any) -> None:
    Path("train.jsonl").write_text(json.dumps({"prompt": "?", "answer": "1", **columns}) + "\n")


def written(shipment: Shipment, folder: Path) -> set[str]:
    """Names of all files of a job's folder, of which none has the secret."""
    folder.mkdir()
    shipment.write(folder)
    files = [path for path in folder.rglob("*") if path.is_file()]
    for file in files:
        assert CANARY.encode() not in file.read_bytes(), file
    return {file.name for file in files}


@pytest.mark.parametrize(
    "name", ["../home/id_canary", "{home}/home/id_canary", "link", "inside.txt", "../home/photo.png"]
)
@pytest.mark.parametrize("column", ["image", "images"])
def test_a_row_names_no_file_of_the_machine(home: Path, name: str, column: str) -> None:
    Path("link").symlink_to("../home/id_canary")
    Path("inside.txt").write_text(CANARY)
    rows(**{column: name.format(home=home.parent)})
    with pytest.raises(DataError, match=r"data.train\[0\].source: train.jsonl: row 1: ") as caught:
        sends()
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("column", ["img", "photo", "image_path"])
def test_a_text_that_names_a_file_in_a_column_of_other_texts_stays_one(home: Path, column: str, tmp_path: Path) -> None:
    rows(**{column: "../home/id_canary"})
    assert "id_canary" not in written(sends(), tmp_path / "job")


def test_turns_name_no_file_either(home: Path, tmp_path: Path) -> None:
    turns = [{"role": "user", "content": [{"type": "text", "text": "?", "source": "../home/id_canary"}]}]
    rows(messages=turns)
    assert "id_canary" not in written(sends(), tmp_path / "job")


def test_what_the_recipe_allows_is_sent_and_found(home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rows(image="../home/photo.png")
    shipment = sends({"data.train": [SourceConfig("train.jsonl", args={"image_root": "../home"})]})
    assert "photo.png" in written(shipment, tmp_path / "job")
    (tmp_path / "home").rename(tmp_path / "gone")
    monkeypatch.chdir(tmp_path / "job")
    assert load_rows(shipment.config.data.train[0])[0].image is not None


def test_a_row_names_no_code_that_the_recipe_does_not(home: Path) -> None:
    Path("evil.py").write_text("def f(prompts, completions): return [1.0]\n")
    rows(rewards=["evil.py:f"])
    with pytest.raises(RewardError, match=r"'evil.py:f' is a file of code that the recipe does not name"):
        sends()
    assert any(place.endswith("evil.py") for place in sends({"rewards.settings": {"evil.py:f": {}}}).files)


def test_links_out_of_a_policy_or_data_set_are_not_sent(home: Path, tmp_path: Path) -> None:
    import shutil

    import datasets

    shutil.copytree(toy_folder(), "policy")
    datasets.Dataset.from_list([{"prompt": "?", "answer": "1"}]).save_to_disk("set")
    for folder in ("policy", "set"):
        Path(folder, "notes.json").symlink_to("../../home/id_canary")
        Path(folder, "far").symlink_to("../../home")
        os.mkfifo(Path(folder, "pipe"))
    shipment = sends({"policy.path": "policy", "data.train": [SourceConfig("set")]})
    names = written(shipment, tmp_path / "job")
    assert {"config.json", "tokenizer.json", "state.json"} <= names
    assert not {"notes.json", "id_canary", "pipe"} & names
