"""One picture, wherever a row has it, or one line that names the row."""

from __future__ import annotations

import base64
import io
import json
import urllib.parse
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from rl.data.rows import load_image
from rl.errors import DataError
from rl.types import Message, Task
from tests.rl.data.formats import ARROW, FORMATS, prompt, prompts, write


def encoded(kind: str = "PNG", color: tuple[int, int, int] = (255, 0, 0)) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (8, 8), color).save(buffer, kind)
    return buffer.getvalue()


PNG, BLUE = encoded(), encoded(color=(0, 0, 255))
TEXT64 = base64.b64encode(PNG).decode()
DATA_URL = f"data:image/png;base64,{TEXT64}"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "saved").mkdir()  # a data set's folder, beside whose Arrow files its pictures lie
    for name, content in (("a.png", PNG), ("b.png", BLUE), ("saved/a.png", PNG)):
        (tmp_path / name).write_bytes(content)
    return tmp_path


def user(*parts: Any) -> dict[str, Any]:
    return {"messages": [{"role": "user", "content": list(parts)}]}


ASK = {"type": "text", "text": "Which color?"}
IN_TEXT: list[dict[str, Any]] = [  # rows that hold red, in forms that all formats can write
    {"image": "a.png"}, {"images": ["a.png"]}, {"images": "a.png"}, {"image": ["a.png"]}, {"image": {"path": "a.png"}},
    {"image": {"bytes": None, "path": "a.png"}}, {"images": [{"path": "a.png"}]}, {"images": [{"bytes": None, "path": "a.png"}]},
    {"image": "a.png", "images": ["a.png"]}, {"image": None, "images": ["a.png"]}, {"image": "", "images": ["a.png", None]},
    {"image": DATA_URL}, {"images": [DATA_URL]}, {"image": TEXT64}, {"image": {"bytes": TEXT64}},
    {"image": base64.urlsafe_b64encode(PNG).decode()}, {"image": "DATA:image/PNG;charset=x;BASE64," + TEXT64},
    {"image": "data:image/png," + urllib.parse.quote(PNG)}, {"image": base64.encodebytes(PNG).decode()},
    {"image_path": "a.png"}, {"img": "a.png"}, {"picture": {"path": "a.png", "bytes": None}}, {"image_url": DATA_URL},
    {"photo": {"path": "a.png", "bytes": None}}, {"anything": {"bytes": None, "path": "a.png"}},
    {"anything": [{"bytes": None, "path": "a.png"}]}, {"image": {"url": DATA_URL}}, {"decoded_image": {"path": "a.png"}},
    user({"type": "image", "image": "a.png"}, ASK), user(ASK, {"type": "image", "image": {"path": "a.png"}}),
    user({"type": "image_url", "image_url": {"url": DATA_URL}}, ASK), user({"type": "image_url", "image_url": DATA_URL}, ASK),
    user({"type": "image", "path": "a.png"}, ASK), user({"type": "image", "url": "a.png"}, ASK),
    user({"type": "image", "base64": TEXT64}, ASK), user({"type": "image", "source": {"data": TEXT64}}, ASK),
    user({"type": "input_image", "image_url": DATA_URL}, {"type": "input_text", "text": "Which color?"}),
    {**user({"type": "image"}, ASK), "image": "a.png"}, {**user({"type": "image", "image": "a.png"}, ASK), "images": ["a.png"]},
    {**user({"type": "image", "text": None}, {"type": "text", "text": "Which color?"}), "images": ["a.png"]},
]  # fmt: skip


@pytest.mark.parametrize("kind", FORMATS)
@pytest.mark.parametrize("row", IN_TEXT, ids=lambda row: str(row)[:60])
def test_one_picture_is_taken_wherever_it_is(folder: Path, kind: str, row: dict[str, Any]) -> None:
    asked = {} if "messages" in row else {"question": "Which color?"}
    found = prompt(folder, kind, {**row, **asked, "answer": "red"})
    if isinstance(found.image, str):
        assert Path(found.image).name == "a.png"
    else:
        assert found.image is not None and (load_image(found.image, 8) == (255, 0, 0)).all()
    assert found.task is Task.UNDERSTAND and found.messages == (Message("user", "Which color?"),)
    assert "images" not in found.metadata and "a.png" not in str(found.metadata) and TEXT64 not in str(found.metadata)


@pytest.mark.parametrize("kind", ARROW)
@pytest.mark.parametrize("picture", [PNG, encoded("JPEG"), encoded("WEBP")], ids=["png", "jpeg", "webp"])
@pytest.mark.parametrize(
    "place",
    [
        lambda it: {"image": it}, lambda it: {"images": [it]}, lambda it: {"image": {"bytes": it, "path": "x.png"}},
        lambda it: {"images": [{"bytes": it, "path": None}]}, lambda it: {"scan": {"bytes": it, "path": None}},
        lambda it: {"img": it}, lambda it: {"pictures": [it]}, lambda it: user({"type": "image", "image": it, "text": None}),
        lambda it: user({"type": "image", "image": {"bytes": it, "path": None}, "text": None}),
    ],
    ids=range(9),
)  # fmt: skip
def test_encoded_bytes_are_taken(folder: Path, kind: str, picture: bytes, place: Any) -> None:
    row = place(picture)
    if "messages" in row:
        row["messages"][0]["content"].append({"type": "text", "image": None, "text": "Which color?"})
    else:
        row["question"] = "Which color?"
    found = prompt(folder, kind, {**row, "answer": "red"})
    assert isinstance(found.image, bytes) and found.image == picture
    pixels = load_image(found.image, 8)
    assert (pixels[..., 0] > 240).all() and pixels[..., 1:].max() < 10
    assert found.messages == (Message("user", "Which color?"),) and picture not in found.metadata.values()


@pytest.mark.parametrize("kind", ["jsonl", "parquet"])
@pytest.mark.parametrize(
    "row",
    [
        {"images": ["a.png", "b.png"]}, {"image": "a.png", "images": ["b.png"]}, {"image": ["a.png", "b.png"]},
        {"images": [{"path": "a.png"}, {"path": "b.png"}]}, {"image": "a.png", "img": "b.png"},
        {"image": "a.png", "scan": {"bytes": None, "path": "b.png"}}, {"images": [DATA_URL, "b.png"]},
        {"scan": {"bytes": None, "path": "a.png"}, "drawing": {"bytes": None, "path": "b.png"}},
        user({"type": "image", "image": "a.png"}, {"type": "image", "image": "b.png"}, ASK),
        {**user({"type": "image", "image": "a.png"}, ASK), "images": ["b.png"]},
        {"messages": [{"role": "user", "content": [{"type": "image", "image": "a.png"}, ASK]},
                      {"role": "assistant", "content": [{"type": "text", "text": "red"}]},
                      {"role": "user", "content": [{"type": "image", "image": "b.png"}, ASK]}]},
    ],
    ids=lambda row: str(row)[:60],
)  # fmt: skip
def test_two_pictures_are_one_line(folder: Path, kind: str, row: dict[str, Any]) -> None:
    asked = {} if "messages" in row else {"question": "Which color?"}
    path = write(folder, kind, [{**row, **asked, "answer": "red"}])
    with pytest.raises(DataError, match=rf"{path}: row 1: 2 pictures \(.*\); a prompt has one"):
        prompts(path)


@pytest.mark.parametrize(
    ("text", "left"),
    [
        ("<image>Which color?", "Which color?"), ("<image>\nWhich color?", "Which color?"), ("<image> Which?", "Which?"),
        ("Which color?<image>", "Which color?"), ("Which color?\n<image>", "Which color?"), ("Which? <image>\n", "Which?"),
        ("Look at <image> now.", "Look at now."), ("Look:\n<image>\nWhich?", "Look:\nWhich?"), ("a<image>b", "ab"),
        ("Which\n\n<image>", "Which"), ("  <image>  Which?", "Which?"), ("Is x <image>\nred?", "Is x\nred?"),
        ("No mark", "No mark"), ("<Image> and < image >", "<Image> and < image >"), ("a < b > c <image>", "a < b > c"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("column", ["question", "prompt", "messages"])
def test_the_mark_of_a_picture_leaves_the_text(folder: Path, column: str, text: str, left: str) -> None:
    asked = (
        [{"role": "system", "content": "Be brief."}, {"role": "user", "content": text}]
        if column == "messages"
        else text
    )
    found = prompt(folder, "jsonl", {column: asked, "answer": "red", "images": ["a.png"]})
    assert found.messages[-1] == Message("user", left)


def test_the_mark_leaves_a_template_and_a_caption(folder: Path) -> None:
    row = {"question": "<image>\nWhich?", "answer": "red", "image": "a.png"}
    found = prompt(folder, "jsonl", row, args={"template": "Look. {question}"})
    assert found.messages == (Message("user", "Look.\nWhich?"),)
    drawn = prompt(folder, "jsonl", {"caption": "<image>\nA red square.", "image": "a.png"}, task="draw")
    assert drawn.messages[-1].content == drawn.reference == "A red square." and drawn.image is None
    assert Path(drawn.metadata["target_image"]).name == "a.png"


@pytest.mark.parametrize("kind", ["jsonl", "json", "parquet"])
@pytest.mark.parametrize(
    "row",
    [
        {"question": "<image>Which color?"}, {"prompt": "Which color?\n<image>"}, {"question": "<image>?", "image": None},
        {"question": "<image>?", "images": []}, {"question": "<image>?", "image": ""}, {"question": "<image>?", "images": [None]},
        user({"type": "image"}, ASK), user({"type": "image", "image": None}, ASK), user({"type": "text", "text": "<image>?"}),
        {"messages": [{"role": "system", "content": "<image>"}, {"role": "user", "content": "Which?"}]},
        {"question": "<image>?", "task": "text"}, {"caption": "<image> a cat", "task": "draw"},
    ],
    ids=lambda row: str(row)[:60],
)  # fmt: skip
def test_a_mark_without_a_picture_is_one_line(folder: Path, kind: str, row: dict[str, Any]) -> None:
    path = write(folder, kind, [{"answer": "red", **row}])
    with pytest.raises(
        DataError, match=rf"{path}: row 1: the prompt has a place for a picture \(<image>\), but the row has none"
    ):
        prompts(path)


@pytest.mark.parametrize(
    "row",
    [
        {"question": "<image> or <image>?", "image": "a.png"}, {"question": "<image><image>", "images": ["a.png"]},
        {**user({"type": "image"}, {"type": "image"}, ASK), "images": ["a.png"]},
    ],
)  # fmt: skip
def test_two_marks_for_one_picture_are_one_line(folder: Path, row: dict[str, Any]) -> None:
    with pytest.raises(DataError, match="row 1: the prompt has 2 places for a picture"):
        prompt(folder, "jsonl", {**row, "answer": "red"})


def test_a_picture_alone_asks_nothing(folder: Path) -> None:
    with pytest.raises(DataError, match="row 1: the prompt is a picture without a text"):
        prompt(folder, "jsonl", {"question": "<image>", "image": "a.png", "answer": "red"})


HUGE = "data:image/png;base64," + "A" * 800_000
BAD: list[tuple[Any, str]] = [
    ("https://example.org/a.png", "is an address, and nothing is fetched; download it and write the path of the file"),
    ("http://example.org/a.png", "download it"), ("HTTPS://EXAMPLE.ORG/A", "download it"), ("s3://bucket/a.png", "download it"),
    ("gs://bucket/a.png", "download it"), ("hf://datasets/x/a.png", "download it"), ("ftp://example.org/a.png", "download it"),
    ("file:///tmp/a.png", "write its path"), ({"url": "https://example.org/a.png"}, "download it"),
    ({"bytes": None, "path": "https://example.org/a.png"}, "download it"), ("https://x.org/" + "a" * 10_000, "download it"),
    (HUGE, "not a readable PNG"), ("data:image/png;base64,@@@@", "not base64"), ("data:image/svg+xml,<svg/>", "not a readable"),
    ("data:image/png;base64," + TEXT64[:60], "not a readable PNG"), ("iVBORw0KGgo" + "A" * 500_000, "not a readable PNG"),
    ("x" * 500_000, "is no path"), ("x" * 3000, "is no path"), ("d/" + "x" * 256, "is no path"),
    ("a\0b.png", "is no path"), ("a\nb.png", "is no path"), ("gone.png", "no such image file"),
    (7, "expected a path or encoded bytes, got int: 7"), (True, "expected a path or encoded bytes"), (0.5, "expected a path"),
    ({"width": 3}, "expected a picture as"), ([[0, 1], [2, 3]], "expected a path or encoded bytes, got list"),
    ([1, 2, 3], "got list"), ({"bytes": {"a": 1}}, "expected a picture"), ({"bytes": [1, 2]}, "got list"),
    ({"bytes": "plain text", "path": None}, "no such image file"),
]  # fmt: skip


@pytest.mark.parametrize(("value", "words"), BAD, ids=lambda value: str(value)[:40])
@pytest.mark.parametrize("task", [None, "understand", "draw"])
def test_a_picture_that_is_none_is_one_short_line(folder: Path, value: Any, words: str, task: str | None) -> None:
    path = write(folder, "jsonl", [{"question": "?", "answer": "red", "image": value}])
    with pytest.raises(DataError) as error:
        prompts(path, task=task)
    text = str(error.value)
    assert text.startswith(f"{path}: row 1: column image: ") and words in text
    assert "\n" not in text and len(text) - len(str(path)) < 400


@pytest.mark.parametrize(
    "row", [{"images": ["gone.png"]}, {"images": [None, "gone.png"]}, user({"type": "image", "image": "gone.png"}, ASK)]
)
def test_the_place_of_a_bad_picture_is_named(folder: Path, row: dict[str, Any]) -> None:
    asked = {} if "messages" in row else {"question": "?"}
    with pytest.raises(DataError, match=r"row 1: column (images\[[01]\]|messages\[0\]\.content\[0\]): "):
        prompt(folder, "jsonl", {**row, **asked, "answer": "red"})


@pytest.mark.parametrize(
    "row",
    [
        {"image_url": "https://example.org/terms"}, {"picture": "none"}, {"img": "see page 3"}, {"photo": 5},
        {"image_path": ""}, {"path": "a.png"}, {"bytes": "x"}, {"meta": {"path": "a.png"}}, {"file": "a.png"},
        {"recording": {"bytes": None, "path": "a.mp3"}}, {"img": {}}, {"pictures": []},
    ],
)  # fmt: skip
def test_columns_that_are_no_pictures_stay_columns(folder: Path, row: dict[str, Any]) -> None:
    (name, value), *_ = row.items()
    if name == "image_url":
        with pytest.raises(DataError, match="column image_url: .*download it"):
            prompt(folder, "jsonl", {**row, "question": "?", "answer": "5"})
        row = {name: value}
        found = prompt(folder, "jsonl", {**row, "caption": "a cat"}, task="draw")
    else:
        found = prompt(folder, "jsonl", {**row, "question": "?", "answer": "5"})
    assert found.image is None and found.metadata[name] == value


@pytest.mark.parametrize(
    "row",
    [
        {"question": "<image>Which?", "image": "a.png"}, {"question": "<image>Which?", "images": ["a.png"]},
        user({"type": "image", "image": "a.png"}, ASK), {**user({"type": "image"}, ASK), "image": "a.png"},
    ],
)  # fmt: skip
@pytest.mark.parametrize("where", ["row", "source"])
def test_a_prompt_that_shows_a_picture_is_no_text_task(folder: Path, row: dict[str, Any], where: str) -> None:
    own, settings = ({"task": "text"}, {}) if where == "row" else ({}, {"task": "text"})
    with pytest.raises(DataError, match="row 1: the prompt shows a picture, but task text looks at none"):
        prompt(folder, "jsonl", {**row, **own, "answer": "red"}, **settings)


@pytest.mark.parametrize("content", [b"RIFF\0\0\0\0WAVEfmt ", b"ID3\x03", b"fLaC", b"OggS", b"%PDF-1.4", b"plain"])
def test_stored_sounds_are_no_pictures(folder: Path, content: bytes) -> None:
    found = prompt(folder, "parquet", {"question": "?", "answer": "5", "sound": {"bytes": content, "path": "a.wav"}})
    assert found.image is None and found.metadata["sound"]["bytes"] == content


@pytest.mark.parametrize(
    "content", [b"GIF89a", b"BM\0\0", b"II*\0", b"MM\0*", b"\0\0\0\x1cftypavif", b"\x89PNG broken"]
)
def test_stored_pictures_of_other_formats_are_one_line(folder: Path, content: bytes) -> None:
    with pytest.raises(DataError, match="row 1: column scan: .*not a readable PNG.*; or set task text"):
        prompt(folder, "parquet", {"question": "?", "answer": "5", "scan": {"bytes": content, "path": None}})


def test_a_picture_that_a_text_row_has_is_said(folder: Path) -> None:
    from rl.config import SourceConfig
    from rl.data.rows import load_rows

    path = write(folder, "jsonl", [{"question": "?", "answer": "5", "image": "a.png", "task": "text"}] * 3)
    notes: list[str] = []
    load_rows(SourceConfig(source=str(path)), notes=notes)
    assert notes == [
        f"{path}: 3 rows have a picture and task text, which looks at none; set task understand, or leave task out"
    ]


def test_json_lines_with_long_values_are_short_messages(tmp_path: Path) -> None:
    long = "A" * 800_000
    for row in (
        {"question": "?", "answer": "1", "task": long}, {"question": "?", "answer": "1", "rewards": [1, long]}, {long: 1},
        {"messages": [long], "answer": "1"}, {"messages": [{"content": {"a": long}}]}, {"messages": [{long: 1}]}, [long],
        {"question": "?", "answer": "1", "images": [long, "b"]}, {"messages": [{"content": [{"type": long}]}]},
    ):  # fmt: skip
        path = tmp_path / "rows.jsonl"
        path.write_text(json.dumps(row) + "\n")
        with pytest.raises(DataError) as error:
            prompts(path)
        assert len(str(error.value)) < 600 and "\n" not in str(error.value)
    path.write_text(
        json.dumps({"question": "?", "answer": "1", "id": long})
        + "\n"
        + json.dumps({"question": "!", "answer": "1", "id": long})
    )
    with pytest.raises(DataError) as error:
        prompts(path)
    assert len(str(error.value)) < 400


@pytest.mark.parametrize(
    "column", ["query_image", "image_base64", "jpg", "input_img_path", "front_camera_photo", "png"]
)
def test_a_picture_under_a_name_that_says_so_is_taken(column: str, folder: Path) -> None:
    value = TEXT64 if "base64" in column else "a.png"
    assert prompt(folder, "jsonl", {"question": "?", "answer": "red", column: value}).task is Task.UNDERSTAND


@pytest.mark.parametrize("column", ["target_image", "mask_image", "query_text", "jpgs", "answer_image"])
def test_a_picture_that_is_no_part_of_the_prompt_is_left(column: str, folder: Path) -> None:
    assert prompt(folder, "jsonl", {"question": "?", "answer": "red", column: "a.png"}).task is Task.TEXT
    two = {"question": "?", "answer": "red", "image": "a.png", "depth_image": "b.png"}
    assert prompt(folder, "jsonl", two).image is not None


@pytest.mark.parametrize(
    "media",
    [{"video": "a.mp4"}, {"videos": ["a.webm"]}, {"audio": {"bytes": None, "path": "a.flac"}}, {"sound": "x.WAV"}],
)
def test_a_video_or_a_sound_is_a_line(media: dict[str, Any], folder: Path) -> None:
    from rl.config import SourceConfig
    from rl.data.rows import load_rows

    path = write(
        folder,
        "jsonl",
        [{"question": "?", "answer": "5", **media}] * 2 + [{"question": "?", "answer": "6", "video": None}],
    )
    notes: list[str] = []
    load_rows(SourceConfig(source=str(path)), notes=notes)
    assert notes == [
        f"{path}: 2 rows have a video or a sound, which no policy here takes: it is left out of their prompts"
    ]
