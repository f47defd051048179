"""Rows as other tools write them, kind by kind: what is taken, and the one line for what cannot be."""

from __future__ import annotations

import base64
import datetime
import io
import json
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from PIL import Image

from rewards import load_reward
from rl.config import SourceConfig
from rl.data.rows import load_image, load_rows
from rl.errors import DataError
from rl.types import Prompt, RewardItem, Task
from tests.rl.data.formats import prompt, write


def encoded(color: str = "red") -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (8, 8), color).save(buffer, "PNG")
    return buffer.getvalue()


PNG, TEXT64 = encoded(), base64.b64encode(encoded()).decode()
ASK = {"question": "Which?", "answer": "red"}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "a.png").write_bytes(PNG)
    (tmp_path / "b.png").write_bytes(encoded("blue"))
    return tmp_path


def raw(folder: Path, text: str | bytes, name: str = "rows.jsonl") -> list[Prompt]:
    (folder / name).write_bytes(text if isinstance(text, bytes) else text.encode("utf-8", "surrogatepass"))
    return load_rows(SourceConfig(source=str(folder / name)))


def refused(folder: Path, text: str | bytes, name: str = "rows.jsonl") -> str:
    with pytest.raises(DataError) as caught:
        raw(folder, text, name)
    line = str(caught.value).removeprefix(str(folder / name))
    assert "\n" not in line and len(line) < 600
    line.encode("utf-8")
    return line


def turn(content: Any, role: str = "user", **beside: Any) -> dict[str, Any]:
    return {"role": role, "content": content, **beside}


# Pictures are taken wherever they stand, or refused in one line; a row with one never becomes a text task in silence.

PICTURES: list[dict[str, Any]] = [
    {"images": ["a.png"]}, {"images": [{"path": "a.png", "bytes": None}]},
    {"messages": [turn([{"type": "image", "image": "a.png"}, "Which?"])]},
    {"imgs": ["a.png"]}, {"Image": "a.png"}, {"IMAGE": "a.png"}, {"image_0": "a.png"}, {"image1": "a.png"},
    {"screenshot": "a.png"},
    {"file_name": "a.png"}, {"pics": ["a.png"]}, {"image_paths": ["a.png"]}, {"picture_url": "a.png"},
    {"photo_1": {"path": "a.png"}},
    {"multi_modal_data": {"image": ["a.png"]}}, {"multi_modal_data": {"images": [{"path": "a.png"}]}},
    {"extra_info": {"image": "a.png"}},
    {"extra_info": {"img": TEXT64}}, {"messages": [turn("<image>Which?", images=["a.png"])]},
    {"messages": [turn("Which?", image="a.png")]},
    {"messages": [turn("Which?", images=[{"path": "a.png"}])]}, {"prompt": json.dumps([turn("Which?", image="a.png")])},
    {"image": {"url": "a.png"}}, {"image1": "a.png", "image2": None},
    {"image": "a.png", "multi_modal_data": {"image": ["b.png"]}},
]  # fmt: skip


@pytest.mark.parametrize("kind", ["jsonl", "parquet"])
@pytest.mark.parametrize("row", PICTURES, ids=lambda row: str(row)[:60])
def test_a_picture_is_taken_wherever_it_stands(folder: Path, kind: str, row: dict[str, Any]) -> None:
    if kind == "parquet" and "'type': 'image'" in str(row):
        pytest.skip("a text beside a part is no column of one type")
    asked = {"answer": "red"} if {"messages", "prompt"} & set(row) else ASK
    found = prompt(folder, kind, {**asked, **row})
    assert found.task is Task.UNDERSTAND and found.messages[-1].content == "Which?"
    assert found.image is not None
    if isinstance(found.image, str):
        assert Path(found.image).name == "a.png"
    else:
        assert (load_image(found.image, 4) == (255, 0, 0)).all()


BYTES: list[dict[str, Any]] = [
    {"images": [{"bytes": PNG, "path": "a.png"}]}, {"images": [PNG]}, {"pic": PNG}, {"preview": [PNG]}, {"scan": PNG},
    {"Image": {"bytes": PNG}},
    {"multi_modal_data": {"image": [{"bytes": PNG, "path": None}]}}, {"image_1": {"bytes": PNG, "path": None}},
    {"raw": [None, PNG]},
    {"image": {"bytes": PNG, "path": "gone.png"}}, {"extra_info": {"image": PNG}}, {"decoded_image": {"bytes": PNG, "path": "x"}},
]  # fmt: skip


@pytest.mark.parametrize("row", BYTES, ids=lambda row: str(row)[:30])
def test_encoded_pictures_are_taken_from_any_column(folder: Path, row: dict[str, Any]) -> None:
    found = prompt(folder, "parquet", {**ASK, **row})
    assert isinstance(found.image, bytes) and (load_image(found.image, 4) == (255, 0, 0)).all()
    assert found.task is Task.UNDERSTAND


TWO: list[dict[str, Any]] = [
    {"images": ["a.png", "b.png"]}, {"image1": "a.png", "image2": "b.png"}, {"image": "a.png", "images": ["b.png"]},
    {"imgs": ["a.png", "b.png"]},
    {"multi_modal_data": {"image": ["a.png", "b.png"]}}, {"messages": [turn("Which?", images=["a.png", "b.png"])]},
    {"messages": [turn("Which?", image="a.png")], "image": "b.png"}, {"extra_info": {"image_1": "a.png", "image_2": "b.png"}},
]  # fmt: skip


@pytest.mark.parametrize("row", TWO, ids=str)
def test_two_pictures_are_one_line(folder: Path, row: dict[str, Any]) -> None:
    with pytest.raises(DataError, match=r"row 1: 2 pictures \(.*\); a prompt has one"):
        prompt(folder, "jsonl", {**({"answer": "red"} if "messages" in row else ASK), **row})


NO_PICTURES: list[dict[str, Any]] = [
    {"imgs": "none"}, {"file_name": "a.txt"}, {"screenshot": 5}, {"Image": "see page 3"}, {"extra_info": {"image": "no"}},
    {"image_size": "a.png"},
    {"imagery": "a.png"}, {"image_id": 7}, {"extra_info": {"path": "a.png"}}, {"multi_modal_data": {}}, {"note": "a.png"},
    {"picnic": "a.png"},
]  # fmt: skip


@pytest.mark.parametrize("row", NO_PICTURES, ids=str)
def test_columns_that_only_resemble_pictures_stay_columns(folder: Path, row: dict[str, Any]) -> None:
    found = prompt(folder, "jsonl", {**ASK, **row})
    assert (found.task, found.image) == (Task.TEXT, None) and row.items() <= found.metadata.items()


@pytest.mark.parametrize(
    ("row", "told"),
    [
        ({"question": "<image>Which?"}, "the row has none; add a column image"),
        ({"question": "<video>Which?"}, "a place for <video>, which no policy"),
        ({"question": "Which?<audio>"}, "a place for <audio>"),
        ({"messages": [turn([{"type": "video", "video": "a.mp4"}])]}, "'video'; allowed"),
        ({"messages": [turn([{"type": "image"}, {"type": "text", "text": "?"}])]}, "the row has none"),
        ({"Image": "gone.png"}, "no such image file"),
        ({"multi_modal_data": {"image": "gone.png"}}, "column multi_modal_data.image"),
        ({"image": " https://a.b/c.png"}, "is an address"),
        ({"image": "oss://x/y.png"}, "is an address"), ({"photo_url": "https://a.b/c.png"}, "is an address"),
        ({"image": 0}, "got int: 0"),
        ({"image": "data:image/png;base64," + "A" * 800_000}, "its first bytes are of another kind"),
        ({"image": "A" * 800_000}, "(800,000 char"),
    ],
)  # fmt: skip
def test_a_picture_that_cannot_be_taken_is_one_line(folder: Path, row: dict[str, Any], told: str) -> None:
    line = refused(folder, json.dumps({**({"answer": "red"} if "messages" in row else ASK), **row}) + "\n")
    assert told in line and "0x" not in line and len(line) < 300


# No row that stops a run in its middle is loaded.

HALF = "smile \ud83d"
LONE: list[dict[str, Any]] = [
    {"question": HALF}, {"answer": "\udc00"}, {"id": HALF}, {"prompt": [turn("?", role=HALF)]},
    {"prompt": [turn("?", name=HALF)]}, {"a": [[HALF]]},
    {HALF: 1}, {"a": {HALF: 1}}, {"question": "\udc00\ud83d"}, {"caption": HALF, "task": "draw"}, {"image": HALF},
    {"answer": [HALF]}, {"rewards": HALF},
    {"text": HALF}, {"task": HALF}, {"question": json.dumps([turn(HALF)])},
    {"prompt": json.dumps({"messages": [turn("?", role=HALF)]})},
    {"prompt": json.dumps(turn(HALF))}, {"scene": HALF}, {"extra_info": {"x": HALF}}, {"solution": HALF},
    {"prompt": [turn([HALF])]},
]  # fmt: skip


@pytest.mark.parametrize("row", LONE, ids=lambda row: json.dumps(row)[:50])
@pytest.mark.parametrize("name", ["rows.jsonl", "rows.json"])
def test_half_of_a_character_is_found_while_loading(folder: Path, row: dict[str, Any], name: str) -> None:
    whole = {**({} if "prompt" in row else {"question": "?"}), "answer": "1", **row}
    line = refused(folder, json.dumps(whole) + "\n" if name.endswith("l") else json.dumps([whole]), name)
    assert line.startswith((": line 1: column ", ": row 1: column ")) and "is half of a surrogate pair" in line


@pytest.mark.parametrize("text", ["\ud83d\ude00", "\\ud83d", "a\x00b", "\u202e", "\x1b[31m", "x\u2028y", "\ufffe"])
def test_whole_characters_of_every_kind_are_taken(folder: Path, text: str) -> None:
    (found,) = raw(folder, json.dumps({"question": text, "answer": "1"}) + "\n")
    assert found.messages[0].content == text.encode("utf-16", "surrogatepass").decode("utf-16")


# Numbers in single and half precision are those that were written; what is missing is no reference.


@pytest.mark.parametrize("precision", ["float32", "float16"])
def test_a_short_number_is_the_one_that_was_written(folder: Path, precision: str) -> None:
    texts = (
        "0.1 0.2 0.3 1.1 3.14 99.9 0.001 0.05 0.7 1.25 100.1 -0.1 -3.7 0.15 4.35 0.0001 8.2 0.9 1e-5 2.5 0.6".split()
    )
    make = np.float16 if precision == "float16" else float
    schema = pa.schema({"question": pa.string(), "answer": getattr(pa, precision)()})
    path = write(folder, "parquet", [{"question": text, "answer": make(text)} for text in texts], schema)
    found = load_rows(SourceConfig(source=str(path)))
    scores = load_reward("correctness").score(
        [RewardItem(row, f"<think>x</think>{row.messages[0].content}") for row in found]
    )
    assert [text for text, score in zip(texts, scores, strict=True) if score.value != 1.0] == []


MISSING = """NaN null [NaN] [NaN,null] {"v":NaN} [[NaN]] "" "\\n" "\\u00a0" "\\u3000" "\\u200b" "\\ufeff" [] {} [""] [[]]
"\\u2060\\u200b" [{}] {"a":[]} {"a":null} ["\\u200b"] "<think></think>" "####" "<think>x</think>" "<answer></answer>\"""".split()
PRESENT = """0 0.0 false "0" "-" "NaN" "null" "None" "N/A" [0] [false] {"a":0} "\\u0000" "." "nan" """.split()


@pytest.mark.parametrize("text", MISSING)
@pytest.mark.parametrize("column", ["answer", "reference", "ground_truth", "solution"])
def test_what_is_missing_is_no_reference(folder: Path, text: str, column: str) -> None:
    line = f'{{"question": "?", "{column}": {text}}}\n'
    if column == "solution" and "<" in text:
        return  # a worked answer may be a thought alone
    assert "row 1: no reference for task text" in refused(folder, line)


@pytest.mark.parametrize("text", PRESENT)
def test_what_is_there_is_a_reference(folder: Path, text: str) -> None:
    (found,) = raw(folder, f'{{"question": "?", "answer": {text}}}\n')
    assert found.reference is not None


TYPED: list[tuple[pa.DataType, Any, str]] = [
    (pa.binary(), b"5", "5"), (pa.large_binary(), b"5", "5"), (pa.binary(3), b"abc", "abc"), (pa.binary(), " é ".encode(), "é"),
    (pa.list_(pa.binary()), [b"5", b"five"], '["5", "five"]'), (pa.struct({"v": pa.binary()}), {"v": b"5"}, '{"v": "5"}'),
    (pa.decimal128(4, 2), Decimal("3.50"), "3.50"), (pa.decimal128(6, 4), Decimal("0.0001"), "0.0001"),
    (pa.decimal128(9, 0), Decimal(5), "5"),
    (pa.decimal256(50, 3), Decimal("1.500"), "1.500"), (pa.date32(), datetime.date(2024, 5, 1), "2024-05-01"),
    (pa.date64(), datetime.date(2024, 5, 1), "2024-05-01"), (pa.date32(), datetime.date(1, 1, 1), "0001-01-01"),
    (pa.timestamp("s"), datetime.datetime(2024, 5, 1, 12), "2024-05-01 12:00:00"),
    (pa.time32("s"), datetime.time(1, 2, 3), "01:02:03"),
    (pa.timestamp("us", tz="UTC"), datetime.datetime(2024, 5, 1, tzinfo=datetime.UTC), "2024-05-01 00:00:00+00:00"),
    (pa.duration("s"), datetime.timedelta(days=1), "1 day, 0:00:00"), (pa.binary_view(), b"5", "5"), (pa.string_view(), "5", "5"),
    (pa.dictionary(pa.int8(), pa.binary()), b"5", "5"), (pa.json_(), '{"a": 1}', '{"a": 1}'), (pa.bool_(), False, "false"),
    (pa.int8(), 5, "5"),
    (pa.list_view(pa.float32()), [0.1], "[0.1]"), (pa.dictionary(pa.int8(), pa.float32()), 0.1, "0.1"),
    (pa.uint64(), 2**64 - 1, str(2**64 - 1)),
]  # fmt: skip


@pytest.mark.parametrize(("kind", "value", "text"), TYPED, ids=lambda value: str(value)[:30])
def test_a_columns_value_is_the_text_that_a_person_writes(
    folder: Path, kind: pa.DataType, value: Any, text: str
) -> None:
    schema = pa.schema({"question": pa.string(), "answer": kind})
    assert prompt(folder, "parquet", {"question": "?", "answer": value}, schema).reference == text


WORKED: list[tuple[str, str]] = [
    ("<think>work</think>5", "5"), ("<think>\nwork\n</think>\n\n5", "5"), ("<think>a</think>5<think>b</think>6", "6"),
    ("</think>5", "5"), ("<thinking>a</thinking>5", "5"), ("<reasoning>a\nb</reasoning>\n5", "5"), ("<Thought>a</Thought>5", "5"),
    ("<scratchpad>9</scratchpad><answer>5</answer>", "5"),
    ("<think>x</think><answer>5</answer>", "5"), ("<answer>5</answer>", "5"), ("<think>x</think>\\boxed{5}", "\\boxed{5}"),
    ("x #### 5", "5"),
    ("<think>x #### 9</think>5", "5"), ("x####5", "5"), ("#### 5\n", "5"), ("<think>x</think>#### 5", "5"),
    ("x #### 1,000", "1,000"),
    ("<answer>\\boxed{5}</answer>", "\\boxed{5}"), ("<think>x</think> 5 ", "5"), ("<think>a<think>b</think>5", "5"),
    ("<think>1</think>-5", "-5"),
    ("<think>x</think>(B)", "(B)"), ("<think>x</think>\n<answer>\n5\n</answer>", "5"), ("5", "5"), ("a < b", "a < b"),
]  # fmt: skip


@pytest.mark.parametrize(("given", "reference"), WORKED)
def test_an_answer_with_a_thought_is_what_follows_it_in_every_column(folder: Path, given: str, reference: str) -> None:
    for row in (
        {"answer": given},
        {"reference": given},
        {"solution": given},
        {"reward_model": {"ground_truth": given}},
    ):
        found = prompt(folder, "jsonl", {"question": "?", **row})
        assert found.reference == reference, row
        (score,) = load_reward("correctness").score([RewardItem(found, f"<think>y</think>{reference}")])
        assert score.value == 1.0, row


# The assistant's last turn is no part of the prompt; turns as JSON are turns. docs/data.md: "Chat turns".

TURNS: list[Any] = [
    [turn("2+3?"), turn("5", "assistant")], [turn("2+3?"), turn("5", "ASSISTANT")], [turn("2+3?"), turn("5", " assistant ")],
    [turn("2+3?"), turn("5", "bot")], [turn("2+3?"), turn("5", "ai")], [turn("2+3?"), turn("5", "gpt")],
    [turn("2+3?"), turn("5", "Chatbot")],
    [turn("2+3?"), turn("hm", "assistant"), turn("5", "assistant")],
    [turn("2+3?"), turn([{"type": "text", "text": "5"}], "assistant")],
    [turn("2+3?"), turn("<think>x</think>5", "assistant")], [turn("2+3?"), turn("5", "assistant", reasoning_content="w")],
    json.dumps([turn("2+3?"), turn("5", "assistant")]), json.dumps({"messages": [turn("2+3?"), turn("5", "assistant")]}),
    json.dumps([{"name": "x", **turn("2+3?")}, turn("5", "assistant")]),
    json.dumps([{"id": 1, **turn("2+3?")}, turn("5", "model")]),
    "\n [ " + json.dumps(turn("2+3?")) + ", " + json.dumps(turn("5", "gpt")) + "]",
    json.dumps({"conversations": [turn("2+3?"), turn("5", "ai")]}),
    json.dumps([{"weight": 0, **turn("2+3?")}, {"weight": 1, **turn("5", "assistant")}], indent=2),
    json.dumps([{"content": "2+3?", "role": "user"}, {"content": "5", "role": "assistant"}]),
    [turn("2+3?"), turn(5, "assistant")],
]  # fmt: skip


@pytest.mark.parametrize("turns", TURNS, ids=lambda turns: str(turns)[:60])
@pytest.mark.parametrize("column", ["messages", "prompt"])
def test_an_answer_in_the_chat_is_taken_off(folder: Path, turns: Any, column: str) -> None:
    notes: list[str] = []
    path = write(folder, "jsonl", [{column: turns}])
    (found,) = load_rows(SourceConfig(source=str(path)), notes=notes)
    assert [message.content for message in found.messages] == ["2+3?"] and found.reference == "5"
    assert len(notes) == 1 and "end with the assistant's turn" in notes[0]


@pytest.mark.parametrize(
    "text",
    ['{"messages": 5}', '{"messages": ["x"]}', '[["user", "?"]]',
    '[{"name": 1}]',
     '{"role_of": "x"}', "[1] and [2]", '{"a": {"role": "user", "content": "x"}}', "{}", "[{}]",
     '[{"name": "role", "content": "x"}]'],
)  # fmt: skip
def test_other_json_is_a_text(folder: Path, text: str) -> None:
    assert prompt(folder, "jsonl", {"question": text, "answer": "5"}).messages[0].content == text


# Messages have one place, are short, and say what to do.

LINES: list[tuple[str | bytes, str]] = [
    ('{"question": "x",\n"answer": 1}\n',
    "line 1: not JSON: Expecting property name enclosed in double quotes at column 19; a line must hold"),
    ('{\n"a": 1\n}\n',
    "line 1: not JSON: Expecting property name enclosed in double quotes at column 3; a line must hold a whole object"),
    ("[\n{}\n]\n", "a line must hold a whole object"), ('{"a": 1},\n', "line 1: not JSON: Extra data at column 9"),
    ("{'a': 1}\n", "at column 2"),
    ('{"a": x}\n', "at column 7"), ('{"a": 01}\n', "at column 8"),
    ("a,b\n1,2\n", "line 1: not JSON: Expecting value at column 1"), ("\n\n", ": empty"),
    ('"x"\n', "line 1: expected a JSON object, got str: 'x'"), ('{"question":"x","answer":1}\n\n{bad\n', "line 3: not JSON"),
    ("<html>\n", "at column 1"),
    ('{"a": "x\ty"}\n', "line 1: not JSON: Invalid control character at column 9"),
    ('{"question":"' + "A" * 800_000, "line 1: not JSON"),
    ("[" + "A" * 800_000 + "]\n", "line 1: not JSON"), ('{"' + "A" * 800_000 + '": 1}\n', "row 1: no message"),
    ('{"a":' * 2000, "line 1: not JSON"),
    ('{"a": ' + "9" * 5000 + "}\n", "line 1: not JSON: Exceeds"), ('{"a": "x"\n', "a line must hold a whole object"),
    (b'{"question": "ok"}\n{"question": "\xff"}\n', "not readable as UTF-8 text: 0xff at byte 15 of line 2; save it as UTF-8"),
    (b'\xff\xfe{\x00"\x00', "0xff at byte 1 of line 1"), (b'{"a": "caf\xe9"}\n', "0xe9 at byte 11 of line 1"),
]  # fmt: skip


@pytest.mark.parametrize(("text", "told"), LINES, ids=range(len(LINES)))
def test_a_line_that_is_none_has_one_place(folder: Path, text: str | bytes, told: str) -> None:
    line = refused(folder, text)
    assert told in line and line.count("line ") - line.count("a line ") <= 1 and "at at" not in line
