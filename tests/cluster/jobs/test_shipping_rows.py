"""Rows and their images are sent: they load in another folder while nothing is left where they were."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml

from rl.config import SourceConfig
from rl.data.presets import load_preset
from rl.data.rows import load_rows
from rl.errors import DataError
from tests.cluster.jobs.sending import sends
from tests.cluster.jobs.shipments import level, moved, picture
from tests.wide import wide


def _rows(kind: str, rows: list[dict[str, Any]], folder: str = ".") -> str:
    """Rows in a file or folder of a kind; its name."""
    import datasets

    Path(folder).mkdir(exist_ok=True)
    if kind == "jsonl":
        Path(folder, "seen.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8-sig")
        return f"{folder}/seen.jsonl"
    if kind == "parquet":
        pq.write_table(pa.Table.from_pylist(rows), f"{folder}/seen.parquet")
        return f"{folder}/seen.parquet"
    data = datasets.Dataset.from_list(rows)
    (datasets.DatasetDict({"train": data}) if kind == "splits" else data).save_to_disk(f"{folder}/seen")
    return f"{folder}/seen"


IMAGES: Mapping[str, Callable[[str], Any]] = {
    "text": lambda path: path,
    "path": lambda path: {"path": path},
    "bytes and path": lambda path: {"bytes": None, "path": path},
}


@pytest.mark.parametrize("shape", IMAGES)
@pytest.mark.parametrize("kind", ["jsonl", "parquet", "folder", "splits"])
def test_images_that_rows_name(home: Path, monkeypatch: pytest.MonkeyPatch, shape: str, kind: str) -> None:
    base = Path("data/seen" if kind in ("folder", "splits") else "data")  # what names are relative to
    names = {
        "1.png": 1, "./2.png": 2, "a/3.png": 3, "../above/4.png": 4, "a/../5.png": 5, f"{home}/art/6.png": 6,
        "to/../7.png": 7, "../../outside/8.png": 8, "../above/../data/a/9.png": 9, "bl ank \u00e4.png": 10,
    }  # fmt: skip
    rows = [
        {"id": str(number), "prompt": f"{number}?", "answer": "red", "image": IMAGES[shape](name)}
        for name, number in names.items()
    ]
    source = _rows(kind, rows, "data")
    for folder in (base / "a", base / "../above", "outside", "far/away"):
        Path(folder).mkdir(parents=True, exist_ok=True)
    (base / "to").symlink_to(home / "far/away")  # the system goes from there to its parent
    if kind in ("folder", "splits"):
        Path("data/data").symlink_to(home / "data")
    for name, number in names.items():
        picture(base / name, number)
    assert Path("far/7.png").is_file()
    allowed = {"image_root": str(home.parent)}
    config = moved(sends({"data.train": [SourceConfig(source, args=allowed)]}), home, monkeypatch)
    prompts = load_rows(config.data.train[0])
    assert [(int(prompt.id), prompt.reference, level(prompt.image)) for prompt in prompts] == [
        (number, "red", number) for number in names.values()
    ]


@pytest.mark.parametrize("kind", ["jsonl", "parquet", "folder"])
def test_every_image_of_a_row_is_sent(home: Path, monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
    """In lists, in ``images``, in parts of chat turns; encoded ones stay as they are."""
    pixels = picture("encoded.png", 9)
    Path("encoded.png").unlink()
    turns = [{"role": "user", "content": [{"type": "image", "image": "art/4.png"}, {"type": "text", "image": None}]}]
    row = {
        "prompt": "what?", "answer": "red",
        "image": {"bytes": pixels if kind != "jsonl" else None, "path": "art/none.png" if kind != "jsonl" else "art/0.png"},
        "images": [{"path": "art/1.png"}, {"path": f"{home}/art/2.png"}],
        "messages": turns,
    }  # fmt: skip
    for number in range(5):
        picture(f"art/{number}.png", number)
    source = _rows(kind, [row])
    if kind == "folder":
        Path("art").rename("seen/art")
        Path("art").symlink_to("seen/art")
    config = moved(sends({"data.train": [SourceConfig(source)]}), home, monkeypatch)
    from rl.data.files import read_rows

    path = Path(config.data.train[0].source)
    ((_, there),) = read_rows(path)
    base = path if path.is_dir() else path.parent
    for number, name in (
        (1, there["images"][0]["path"]), (2, there["images"][1]["path"]),
        (4, there["messages"][0]["content"][0]["image"]),
    ):  # fmt: skip
        assert not Path(name).is_absolute() and level(str(base / name)) == number
    assert there["image"]["bytes"] == (pixels if kind != "jsonl" else None) and there["answer"] == "red"


def test_images_in_other_columns_and_chats(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever becomes of them there: what is named by an absolute path is named by a relative one."""
    here = f"{home}/art/1.png"
    picture(here, 1)
    parts = [
        {"type": "image_url", "image_url": {"url": here}}, {"type": "image", "source": {"path": here}},
        {"type": "text", "text": here},
    ]  # fmt: skip
    turns = [
        {"role": "user", "content": parts},
        {"role": "user", "content": parts[0]},
        {"role": "user", "content": here},
    ]
    row = {
        "answer": "1", "prompt": json.dumps(turns), "messages": turns, "image_path": here, "pictures": [here, here],
        "thumbnail": {"bytes": None, "path": here}, "more": [{"bytes": None, "path": here}], "note": here,
        "other": {"path": here}, "img": "none.png", "question": '[{"content": ',
    }  # fmt: skip
    Path("train.jsonl").write_text(json.dumps(row) + "\n[]\nnot JSON\n")
    config = moved(sends({"data.train": [SourceConfig("train.jsonl", limit=1)]}), home, monkeypatch)
    first, *others = Path(config.data.train[0].source).read_text().splitlines()
    there = json.loads(json.dumps(row).replace(here, "art/1.png"))
    stay = {"note": here, "other": {"path": here}}
    parts[2] = {"type": "text", "text": here}
    there |= stay
    for messages in (there["messages"], chat := json.loads(there["prompt"])):
        messages[0]["content"][2]["text"], messages[2]["content"] = here, here
    assert json.loads(first) == there | {"prompt": json.dumps(chat)} and others == ["[]", "not JSON"]


PLACES: Mapping[str, Callable[[str], dict[str, Any]]] = {
    "beside a turn": lambda path: {"messages": [{"role": "user", "content": "Which?", "images": [path]}]},
    "beside a turn, alone": lambda path: {"messages": [{"role": "user", "content": "Which?", "image": path}]},
    "beside a turn in a text": lambda path: {"prompt": json.dumps([{"role": "user", "content": "?",
    "images": [{"path": path}]}])},
    "in a chat in a mapping": lambda path: {"prompt": json.dumps({"messages": [{"role": "user",
    "content": [{"type": "image", "image": path}, "?"]}]})},
    "multi_modal_data": lambda path: {"question": "?", "multi_modal_data": {"image": [path]}},
    "multi_modal_data, stored": lambda path: {"question": "?", "multi_modal_data": {"images": [{"bytes": None, "path": path}]}},
    "extra_info": lambda path: {"question": "?", "extra_info": {"image": path, "level": 3}},
    "Image": lambda path: {"question": "?", "Image": path}, "imgs": lambda path: {"question": "?", "imgs": [path]},
    "image_0": lambda path: {"question": "?", "image_0": path}, "file_name": lambda path: {"question": "?", "file_name": path},
    "screenshot": lambda path: {"question": "?", "screenshot": {"path": path}},
}  # fmt: skip


@pytest.mark.parametrize("place", wide(PLACES, 2))
@pytest.mark.parametrize("kind", ["jsonl", "parquet"])
def test_an_image_is_sent_from_every_place_that_is_read(
    home: Path, monkeypatch: pytest.MonkeyPatch, kind: str, place: str
) -> None:
    name = f"{home}/art/1.png"
    picture(name, 1)
    source = _rows(kind, [{**PLACES[place](name), "answer": "red"}])
    config = moved(sends({"data.train": [SourceConfig(source)]}), home, monkeypatch)
    (prompt,) = load_rows(config.data.train[0])
    assert level(prompt.image) == 1


@pytest.mark.parametrize("wrapped", ["{}", '{{"version": 1, "data": {}}}', '{{"rows": {}}}'])
def test_rows_in_one_json_file(tmp_path: Path, wrapped: str) -> None:
    from cluster.jobs.rows import write_renamed

    (tmp_path / "rows.json").write_text(wrapped.format('[{"image": "/a/1.png"},\n {"prompt": "/a/1.png"}]'))
    write_renamed(tmp_path / "rows.json", tmp_path / "there.json", {"/a/1.png": "1.png"})
    assert json.loads((tmp_path / "there.json").read_text()) == json.loads(
        wrapped.format('[{"image": "1.png"}, {"prompt": "/a/1.png"}]')
    )


def test_rows_that_name_other_images_are_else_the_same(home: Path) -> None:
    """Types, other columns and other lines stay to the byte; what a column is called or says is not looked at elsewhere."""
    picture("1.png", 5)
    line = '{"prompt": "a",  "answer": 1.10, "note": "1.png"}\n'
    Path("train.jsonl").write_text(
        line + "\n" + json.dumps({"prompt": "\U0001f600 \u00e4", "image": f"{home}/1.png"}) + "\n"
    )
    schema = pa.schema(
        [("prompt", pa.large_string()), ("image", pa.large_string()), ("n", pa.float32())], {"made": "here"}
    )
    pq.write_table(pa.Table.from_pylist([{"prompt": "a", "image": f"{home}/1.png", "n": 0.1}], schema), "t.parquet")
    Path("train.jsonl").chmod(0o444)
    shipment = sends({"data.val": [SourceConfig("t.parquet")]})
    work = home.parent / "work"
    work.mkdir()
    shipment.write(work)
    train, val = (work / part[0].source for part in (shipment.config.data.train, shipment.config.data.val))
    first, second, third = train.read_text().splitlines(keepends=True)
    assert (first, second) == (line, "\n") and json.loads(third) == {"prompt": "\U0001f600 \u00e4", "image": "1.png"}
    table = pq.read_table(val)
    assert table.schema.equals(schema, check_metadata=True) and table.column("image").to_pylist() == ["1.png"]
    assert Path("train.jsonl").read_text().splitlines()[2].endswith(f'{home}/1.png"}}')


@pytest.mark.parametrize("image", ["gone.png", {"path": "gone.png"}, ["gone.png"]])
def test_an_image_that_is_not_here(home: Path, image: Any) -> None:
    rows = [{"prompt": "?", "answer": "1"}, {"prompt": "!", "answer": "1", "images": image}]
    Path("train.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    with pytest.raises(
        DataError, match=r"^data.train\[0\].source: train.jsonl: row 2: image gone.png: no such file here"
    ):
        sends()
    assert sends({"data.train": [SourceConfig("train.jsonl", limit=1)]})  # it is not read, then
    assert sends(shared=(home,))


@pytest.mark.parametrize(
    "image",
    [
        "/far/away/1.png", "https://host/1.png", "data:image/png;base64,xyz", "", None, "x" * 9000, [[[0, 0, 0]]],
        "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg==",
    ],
)  # fmt: skip
def test_images_that_are_no_files_here(home: Path, image: Any) -> None:
    Path("train.jsonl").write_text(json.dumps({"prompt": "?", "answer": "1", "image": image}) + "\n")
    shipment = sends()
    assert not shipment.renamed and not [place for place in shipment.files if "png" in place]


def test_images_on_a_shared_disk_stay_there(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    picture("../disk/1.png", 3)
    Path("train.jsonl").write_text(json.dumps({"prompt": "?", "answer": "1", "image": "../disk/1.png"}) + "\n")
    shipment = sends(shared=(Path("../disk"),))
    assert not [place for place in shipment.files if place.endswith("disk/1.png")]
    config = moved(shipment, home, monkeypatch)
    assert load_rows(config.data.train[0])[0].image == str(home.parent / "disk" / "1.png")


def _preset(base: str, **parts: Any) -> str:
    return json.dumps({"base": base, **parts})


@pytest.mark.parametrize("base", ["base.yaml", "../above/base.yaml", "{home}/far/base.yml", "a/b/../c/base.yaml"])
def test_a_preset_goes_with_what_it_stands_on(base: str, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two files of the user's, and one of ours below them."""
    base = base.format(home=home)
    for folder in ("presets/a/b", "presets/a/c", "above", "far", "rows"):
        Path(folder).mkdir(parents=True)
    Path("presets/mine.yaml").write_text(_preset(base, prompts={"plain": "Q: {question}"}))
    Path("presets", base).write_text(_preset("gsm8k", columns={"question": "ask", "reference": "say"}))
    Path("rows/train.jsonl").write_text(json.dumps({"ask": "1 + 1?", "say": "2"}) + "\n")
    shipment = sends({"data.train": [SourceConfig("presets/mine.yaml", path="rows")]})
    config = moved(shipment, home, monkeypatch)
    (row,) = load_rows(config.data.train[0], frozenset())
    assert (row.messages[0].content, row.reference, row.source) == ("Q: 1 + 1?", "2", "mine")


def test_a_preset_on_a_disk_of_every_node_stays_there(home: Path) -> None:
    Path("disk/rows").mkdir(parents=True)
    Path("disk/mine.yaml").write_text(_preset("base.yaml"))
    Path("disk/base.yaml").write_text(_preset("gsm8k"))
    Path("disk/rows/train.jsonl").write_text(json.dumps({"question": "1 + 1?", "answer": "2"}) + "\n")
    train = {"data.train": [SourceConfig("disk/mine.yaml", path="disk/rows")]}
    shipment = sends(train, (home / "disk",))
    assert shipment.config.data.train[0].source == str(home / "disk/mine.yaml") and not shipment.written
    Path("disk/mine.yaml").write_text(_preset("../base.yaml"))
    Path("disk/base.yaml").rename("base.yaml")  # not there: both go, as one
    load_preset.cache_clear()
    shipment = sends(train, (home / "disk",))
    assert shipment.config.data.train[0].source == f"files{home}/disk/mine.yaml"
    assert yaml.safe_load(shipment.written[f"files{home}/disk/mine.yaml"])["hub"] == "openai/gsm8k"


NAMED = (
    "question_image file_name input_image_file jpg image_path png screenshot webp img jpeg photo_1 left_picture page_img Image "
    "decoded_image chart_image_path user_photo images map_screenshot picture_file old_page_image pic image_0"
).split()


@pytest.mark.parametrize("column", wide(NAMED, 4))
@pytest.mark.parametrize("kind", ["jsonl", "parquet"])
def test_whatever_column_a_row_may_have_its_image_in(
    home: Path, monkeypatch: pytest.MonkeyPatch, kind: str, column: str
) -> None:
    picture("art/1.png", 7)
    source = _rows(kind, [{"prompt": "?", "answer": "red", column: "art/1.png"}])
    config = moved(sends({"data.train": [SourceConfig(source)]}), home, monkeypatch)
    (found,) = load_rows(config.data.train[0])
    assert level(found.image) == 7
