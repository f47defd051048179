"""A row names images below its own folder, links resolved, and where the user allows; only regular files are opened."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from rl.config import SourceConfig
from rl.data.overlap import check_disjoint
from rl.data.rows import load_rows
from rl.errors import ConfigError, DataError
from rl.pixels import open_image
from rl.types import Message, Prompt, Task


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A folder of rows with one image, and another image and a secret beside the folder."""
    folder = tmp_path / "data"
    for place in (folder / "in", tmp_path / "far" / "deep", tmp_path / "data-too"):
        place.mkdir(parents=True)
        Image.new("RGB", (4, 4), "red").save(place / "1.png")
    (tmp_path / "secret").write_text("canary-4711")
    return folder


def load(folder: Path, image: Any, **args: Any) -> list[Prompt]:
    (folder / "rows.jsonl").write_text(json.dumps({"question": "?", "answer": "5", "image": image}) + "\n")
    return load_rows(SourceConfig(str(folder / "rows.jsonl"), args=args))


def refused(folder: Path, image: Any, said: str, **args: Any) -> str:
    with pytest.raises(DataError, match=said) as caught:
        load(folder, image, **args)
    assert "\n" not in str(caught.value) and "canary" not in str(caught.value)
    return str(caught.value)


FORMS = {
    "text": lambda name: name,
    "path": lambda name: {"path": name},
    "list": lambda name: [name],
    "url": lambda name: {"url": name},
}


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("checks", [True, False])
def test_a_name_that_leads_outside(data: Path, form: str, checks: bool) -> None:
    (data / "link.png").symlink_to(data.parent / "far" / "deep" / "1.png")
    (data / "folder").symlink_to(data.parent / "far")
    (data / "secret.png").symlink_to(data.parent / "secret")
    for name in ("../far/deep/1.png", str(data.parent / "far/deep/1.png"), "in/../../far/deep/1.png", "link.png", "../secret",
                 "folder/deep/1.png", "../data-too/1.png", "secret.png", "/etc/passwd", "/proc/self/environ", ".."):  # fmt: skip
        line = refused(data, FORMS[form](name), "outside the folder of the rows", check_images=checks)
        assert "args: {image_root: " in line


def test_what_is_allowed_by_name(data: Path) -> None:
    far = data.parent / "far"
    (data / "link.png").symlink_to(far / "deep" / "1.png")
    for name in ("../far/deep/1.png", str(far / "deep/1.png"), "link.png"):
        for root in (str(far), [str(data.parent / "data-too"), str(far / "deep")], "/"):
            assert load(data, name, image_root=root)[0].task is Task.UNDERSTAND
        refused(data, name, "outside the folder", image_root=str(data.parent / "data-too"))
    for name in ("in/1.png", "./in/1.png", "in/../in/1.png", str(data / "in/1.png")):
        assert load(data, name)[0].task is Task.UNDERSTAND
        assert load(data, name, image_root=str(far))[0].task is Task.UNDERSTAND


@pytest.mark.parametrize("root", [3, {}, [3], [""], "", "a\0b", True])
def test_a_folder_that_is_none(data: Path, root: object) -> None:
    with pytest.raises(ConfigError, match="args.image_root="):
        load(data, "in/1.png", image_root=root)


def test_what_the_message_says_is_the_way_out(data: Path) -> None:
    line = refused(data, "../far/deep/1.png", "outside")
    root = line.partition("{image_root: ")[2].partition("}")[0]
    assert load(data, "../far/deep/1.png", image_root=root)


def test_pipes_devices_and_folders_are_not_opened(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    os.mkfifo(data / "pipe.png")
    (data / "zero.png").symlink_to("/dev/zero")
    for name in ("pipe.png", "in"):
        refused(data, name, "not a regular file")
        with pytest.raises(DataError, match="not a regular file"):
            open_image(data / name)
    refused(data, "zero.png", "not a regular file", image_root="/dev")
    os.mkfifo(data / "rows2.jsonl")
    with pytest.raises(DataError, match="not a regular file"):
        load_rows(SourceConfig(str(data / "rows2.jsonl")))
    late = [
        Prompt(str(number), Task.UNDERSTAND, (Message("user", "?"),), image=str(data / "pipe.png")) for number in (1, 2)
    ]
    with pytest.raises(DataError, match="not a regular file"):
        check_disjoint(late[:1], late[1:])


def test_a_saved_data_set_stays_in_its_folder(tmp_path: Path) -> None:
    import datasets

    datasets.Dataset.from_list([{"question": "?", "answer": "5"}]).save_to_disk(str(tmp_path / "far"))
    folder = tmp_path / "set"
    folder.mkdir()
    (folder / "dataset_dict.json").write_text('{"splits": ["train"]}')
    (folder / "train").symlink_to(tmp_path / "far")
    with pytest.raises(DataError, match="a link that leads out of"):
        load_rows(SourceConfig(str(folder)))
    (folder / "dataset_dict.json").unlink()
    (folder / "state.json").write_text((tmp_path / "far" / "state.json").read_text())
    (name,) = (each.name for each in (tmp_path / "far").glob("*.arrow"))
    (folder / name).symlink_to(tmp_path / "far" / name)
    with pytest.raises(DataError, match="a link that leads out of"):
        load_rows(SourceConfig(str(folder)))
    (folder / name).unlink()
    os.mkfifo(folder / name)
    with pytest.raises(DataError, match="not a regular file"):
        load_rows(SourceConfig(str(folder)))


@pytest.mark.parametrize("depth", [51, 200, 900, 5000])
def test_rows_that_are_nested_too_deeply(tmp_path: Path, depth: int) -> None:
    for name, text in (("a.jsonl", '{"question": "?", "x": %s}'), ("b.json", '[{"question": "?", "x": %s}]')):
        (tmp_path / name).write_text(text % ("[" * depth + "]" * depth))
        with pytest.raises(DataError, match="not JSON: ") as caught:
            load_rows(SourceConfig(str(tmp_path / name)))
        assert "\n" not in str(caught.value)
