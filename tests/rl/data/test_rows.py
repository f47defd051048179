"""Rows from files, the checks on them, and the stream."""

from __future__ import annotations

import io
import json
import pickle
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from rl.config import SourceConfig
from rl.data.overlap import check_disjoint
from rl.data.rows import load_image, load_rows, target_image
from rl.data.stream import PromptStream
from rl.errors import ConfigError, DataError
from rl.types import Message, Prompt, Task

QUESTION = {"question": "What is 3 + 4?", "answer": "7"}
SUDOKU = {  # the first row of the published test set, in verl's layout, with its instructions shortened
    "data_source": "sudoku",
    "prompt": [{"role": "user", "content": "Please solve the following 4x4 Sudoku puzzle: 3102200002100320"}],
    "reward_model": {"ground_truth": "3142243142131324", "style": "rule"},
    "extra_info": {"index": 0, "puzzle": "3102200002100320", "split": "test"},
}


def png(color: tuple[int, int, int] = (255, 0, 0), size: tuple[int, int] = (8, 8)) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", size, color).save(buffer, "PNG")
    return buffer.getvalue()


def jsonl(folder: Path, *rows: Any, name: str = "rows.jsonl") -> str:
    path = folder / name
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return str(path)


def rows_of(path: str | Path, **settings: Any) -> list[Prompt]:
    return load_rows(SourceConfig(source=str(path), **settings))


def refusal(path: str | Path, **settings: Any) -> str:
    with pytest.raises(DataError) as error:
        rows_of(path, **settings)
    message = str(error.value)
    assert "\n" not in message and str(path) in message
    return message


def test_jsonl_row(tmp_path: Path) -> None:
    path = jsonl(
        tmp_path, {**QUESTION, "level": 3}, {"id": 9, "prompt": "Say hi.", "reference": "hi", "rewards": ["a"]}
    )
    first, second = rows_of(path)
    assert first.messages == (Message("user", "What is 3 + 4?"),) and first.task is Task.TEXT
    assert (first.reference, first.solution, first.source) == ("7", None, "rows")
    assert first.metadata == {"level": 3, "answer": "7"}
    assert (second.id, second.rewards, second.reference) == ("9", ("a",), "hi")


def test_chat_turns_and_parts(tmp_path: Path) -> None:
    parts = [{"type": "image"}, {"type": "text", "text": "Count."}]
    turns = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": parts}]
    (tmp_path / "a.png").write_bytes(png())
    (prompt,) = rows_of(jsonl(tmp_path, {"messages": turns, "reference": 4, "image": "a.png"}))
    assert prompt.messages == (Message("system", "Be brief."), Message("user", "Count."))
    assert prompt.reference == "4"


def test_gsm8k_answer_is_split(tmp_path: Path) -> None:
    (prompt,) = rows_of(jsonl(tmp_path, {"question": "?", "answer": "3 + 4 = 7.\n#### 7"}))
    assert (prompt.reference, prompt.solution) == ("7", "<think>3 + 4 = 7.</think>7")


@pytest.mark.parametrize(
    ("columns", "reference", "solution"),
    [
        ({"solution": "12"}, "12", "12"),
        ({"solution": "<think>5+7=12</think>12"}, "12", "<think>5+7=12</think>12"),
        ({"solution": "<think>5+7=12</think>12", "answer": "12"}, "12", "<think>5+7=12</think>12"),
        ({"reference": 0}, "0", None),
    ],
)
def test_reference_and_solution(tmp_path: Path, columns: dict[str, Any], reference: str, solution: str | None) -> None:
    (prompt,) = rows_of(jsonl(tmp_path, {"question": "5 + 7?", **columns}))
    assert (prompt.reference, prompt.solution) == (reference, solution)


@pytest.mark.parametrize("template", ["sudoku {puzzle}", "sudoku {extra_info.puzzle}"])
def test_verl_parquet_with_a_template(tmp_path: Path, template: str) -> None:
    path = tmp_path / "test.parquet"
    pq.write_table(pa.Table.from_pylist([SUDOKU]), path)
    (plain,) = rows_of(path)
    assert plain.messages[0].content.startswith("Please solve") and plain.source == "sudoku"
    (prompt,) = rows_of(path, args={"template": template, "name": "published"})
    assert prompt.messages == (Message("user", "sudoku 3102200002100320"),)
    assert (prompt.reference, prompt.source, prompt.id) == ("3142243142131324", "published", "published/test/0")
    assert prompt.metadata["extra_info"]["split"] == "test"


def test_saved_data_set_with_images(tmp_path: Path) -> None:
    import datasets

    features = datasets.Features(
        {"image": datasets.Image(), "question": datasets.Value("string"), "answer": datasets.Value("string")}
    )
    row = {"image": {"bytes": png(), "path": None}, "question": "Which color?", "answer": "red"}
    data = datasets.Dataset.from_list([row], features=features)
    data.save_to_disk(tmp_path / "one")
    datasets.DatasetDict({"train": data, "test": data}).save_to_disk(tmp_path / "two")
    for path, split in (("one", "train"), ("two", "train"), ("two", "val")):
        (prompt,) = rows_of(tmp_path / path, split=split)
        assert prompt.task is Task.UNDERSTAND and prompt.reference == "red"
        assert prompt.image == png()
    datasets.DatasetDict({"extra": data}).save_to_disk(tmp_path / "three")
    assert "split=val" in refusal(tmp_path / "three", split="val")


def test_draw_rows(tmp_path: Path) -> None:
    (tmp_path / "cat.png").write_bytes(png())
    scene = {"category": "colors", "objects": [{"shape": "circle", "color": "red"}]}
    path = jsonl(
        tmp_path,
        {"caption": "a cat", "image": "cat.png"},
        {"caption": "a red circle", "scene": scene},
        {"caption": "x"},
    )
    cat, circle, bare = rows_of(path, task="draw")
    assert cat.reference == "a cat" and cat.image is None
    pictures = [target_image(prompt, 0, 48) for prompt in (cat, circle, bare)]
    assert pictures[0] is not None and (pictures[0] == (255, 0, 0)).all()
    assert pictures[1] is not None and (pictures[1] == (220, 30, 30)).all(-1).sum() > 90
    assert pictures[2] is None
    assert "unknown shape 'dog'" in refusal(
        jsonl(tmp_path, {"caption": "x", "scene": {"category": "colors", "objects": [{"shape": "dog"}]}}), task="draw"
    )


def test_images_lie_beside_the_file(tmp_path: Path) -> None:
    (tmp_path / "pictures").mkdir()
    (tmp_path / "pictures" / "a.png").write_bytes(png())
    (prompt,) = rows_of(jsonl(tmp_path, {**QUESTION, "image": "pictures/a.png"}))
    assert prompt.image == str(tmp_path / "pictures" / "a.png") and prompt.task is Task.UNDERSTAND


def test_limit(tmp_path: Path) -> None:
    path = jsonl(tmp_path, *[QUESTION] * 5)
    assert len(rows_of(path, limit=2)) == 2
    assert len(rows_of("chain_sum", limit=3)) == 3


@pytest.mark.parametrize(
    ("row", "words"),
    [
        ({"question": "2 + 2?"}, "row 2: no reference for task text"),
        ({"question": "2 + 2?", "answer": "  "}, "row 2: no reference"),
        ({**QUESTION, "task": "sing"}, "row 2: unknown task 'sing'; allowed: text"),
        ({**QUESTION, "task": "understand"}, "row 2: task understand without an image"),
        ({**QUESTION, "image": "gone.png"}, "row 2: column image: "),
        ({**QUESTION, "image": "broken.png"}, "row 2: column image: "),
        ({**QUESTION, "image": "text.png"}, "row 2: column image: "),
        ({**QUESTION, "image": "moving.gif"}, "row 2: column image: "),
        ({**QUESTION, "image": 7}, "row 2: column image: expected a path"),
        ({**QUESTION, "id": "first"}, "row 2: id 'first' is that of row 1 too"),
        ({"answer": "7"}, "row 2: no message"),
        ({"messages": 5, "answer": "7"}, "row 2: column messages: expected"),
        ({"prompt": "  ", "answer": "7"}, "row 2: column prompt: its text is empty"),
        ({**QUESTION, "rewards": 3}, "row 2: column rewards"),
        (["not", "an", "object"], "line 2: expected a JSON object"),
    ],
)
def test_bad_rows_are_named(tmp_path: Path, row: Any, words: str) -> None:
    (tmp_path / "broken.png").write_bytes(png(size=(64, 64))[:-30])
    (tmp_path / "text.png").write_text("not an image")
    Image.new("RGB", (4, 4)).save(tmp_path / "moving.gif")
    assert words in refusal(jsonl(tmp_path, {**QUESTION, "id": "first"}, row))


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("a.jsonl", b"", "empty"),
        ("a.jsonl", b"\n\n", "empty"),
        ("a.jsonl", b'{"question": "x", "answer": "y"}\n{"question": \n', "line 2: not JSON"),
        ("a.jsonl", b"\xff\xfe\x00", "UTF-8"),
        ("a.jsonl", b"[" * 100_000, "not JSON"),
        ("a.parquet", b"PAR1 but not really", "not a readable Parquet file"),
        ("a.parquet", b"", "not a readable Parquet file"),
        ("a.csv", b"question,answer\n", "unknown kind of file '.csv'"),
    ],
)
def test_bad_files_are_named(tmp_path: Path, name: str, content: bytes, words: str) -> None:
    (tmp_path / name).write_bytes(content)
    assert words in refusal(tmp_path / name)


def test_empty_parquet_and_strange_folders(tmp_path: Path) -> None:
    pq.write_table(pa.table({"question": pa.array([], pa.string())}), tmp_path / "a.parquet")
    assert "empty" in refusal(tmp_path / "a.parquet")
    assert "state.json" in refusal(tmp_path)
    assert "no such file" in refusal(tmp_path / "gone.jsonl")
    (tmp_path / "state.json").write_text('{"_data_files": [{"filename": "../../etc/passwd"}]}')
    assert "outside the folder" in refusal(tmp_path)
    (tmp_path / "state.json").write_text('{"_data_files": [{"filename": "a.parquet"}]}')
    assert "not a readable Arrow file" in refusal(tmp_path)


def test_unknown_sources_and_arguments(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no such preset, generator or path; allowed: clevr, .*sudoku4x4"):
        rows_of("sudoku9x9")
    for template in (5, True, ["{question}"], {"text": "{question}"}):
        with pytest.raises(ConfigError, match="template=.*: expected a text"):
            rows_of(jsonl(tmp_path, QUESTION), args={"template": template})
    with pytest.raises(ConfigError, match="unknown argument 'tempalte'; allowed: name, template"):
        rows_of(jsonl(tmp_path, QUESTION), args={"tempalte": "x"})
    assert "no column 'puzle'; it has: question, answer" in refusal(
        jsonl(tmp_path, QUESTION), args={"template": "sudoku {puzle}"}
    )


def test_rows_without_reference_may_pass_where_nothing_compares(tmp_path: Path) -> None:
    path = jsonl(tmp_path, {"question": "Write a poem."})
    assert load_rows(SourceConfig(source=path), reference_tasks=())[0].reference is None
    assert rows_of(jsonl(tmp_path, {"question": "Write a poem.", "rewards": ["length"]}))[0].rewards == ("length",)
    assert "no reference" in refusal(jsonl(tmp_path, {"question": "?", "rewards": ["correctness"]}))


def test_errors_pickle(tmp_path: Path) -> None:
    with pytest.raises(DataError) as error:
        rows_of(tmp_path / "gone.jsonl")
    assert str(pickle.loads(pickle.dumps(error.value))) == str(error.value)


def test_image_is_upright_square_and_rgb(tmp_path: Path) -> None:
    picture = Image.new("RGB", (20, 10), (0, 0, 255))
    picture.paste((255, 0, 0), (0, 0, 10, 10))  # left half red: turned by EXIF 6 (rotate 90 clockwise) it is the top
    exif = Image.Exif()
    exif[0x0112] = 6
    picture.save(tmp_path / "turned.png", exif=exif)
    image = load_image(tmp_path / "turned.png", 10)
    assert image.shape == (10, 10, 3) and image.dtype == np.uint8
    assert (image[0] == (255, 0, 0)).all() and (image[-1] == (0, 0, 255)).all()


@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
def test_huge_image_is_refused_by_its_header(tmp_path: Path) -> None:
    header = bytearray(png())
    header[16:24] = (12_000).to_bytes(4, "big") + (9_000).to_bytes(4, "big")
    header[29:33] = zlib.crc32(bytes(header[12:29])).to_bytes(4, "big")
    (tmp_path / "bomb.png").write_bytes(header)
    with pytest.raises(DataError, match="12000 x 9000 pixels"):
        load_image(tmp_path / "bomb.png", 8)


@settings(deadline=None, max_examples=60)
@given(st.data())
def test_corrupt_images_raise_one_error_or_load(data: st.DataObject) -> None:
    content = bytearray(png(size=(16, 16)))
    for _ in range(data.draw(st.integers(1, 4))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    try:
        assert load_image(bytes(content), 16).shape == (16, 16, 3)
    except DataError as error:
        assert "\n" not in str(error)


def test_a_header_cut_short_is_one_line() -> None:
    content = bytearray(png(size=(16, 16)))
    content[11] = 0  # the length of its first chunk; Pillow raises a ValueError
    with pytest.raises(DataError, match="not a readable PNG, JPEG, WEBP image: Truncated IHDR chunk"):
        load_image(bytes(content), 16)


def prompt(name: str, content: str = "", image: Any = None) -> Prompt:
    return Prompt(name, Task.TEXT, (Message("user", content or name),), image=image)


def test_disjoint(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(png())
    (tmp_path / "copy.png").write_bytes(png())
    (tmp_path / "b.png").write_bytes(png((0, 0, 255)))
    paths = {name: str(tmp_path / f"{name}.png") for name in ("a", "b", "copy")}
    train = [prompt("1"), prompt("2", "color?", paths["a"]), prompt("3", "color?", np.zeros((2, 2, 3), np.uint8))]
    check_disjoint(train, [prompt("4"), prompt("5", "color?", paths["b"]), prompt("6", "shape?", paths["a"])])
    with pytest.raises(DataError, match="prompt id '1' is in data.train too"):
        check_disjoint(train, [prompt("1", "other")])
    for image in (paths["copy"], np.zeros((2, 2, 3), np.uint8)):
        with pytest.raises(DataError, match="prompt '7' has the same content as '[23]'"):
            check_disjoint(train, [prompt("7", "color?", image)])


def test_a_file_used_twice_is_caught(tmp_path: Path) -> None:
    path = jsonl(tmp_path, QUESTION)
    with pytest.raises(DataError, match="data.train"):
        check_disjoint(rows_of(path), rows_of(path, split="val"))
    with pytest.raises(DataError, match="same content"):
        check_disjoint(rows_of(path), rows_of(path, args={"name": "other"}))


def stream(weights: list[float], sizes: list[int], seed: int = 0) -> PromptStream:
    sources = [SourceConfig(source=str(index), weight=weight) for index, weight in enumerate(weights)]
    rows = [[prompt(f"{source}/{row}") for row in range(size)] for source, size in enumerate(sizes)]
    return PromptStream(sources, seed, rows)


def names(prompts: list[Prompt]) -> list[str]:
    return [prompt.id for prompt in prompts]


mixes = st.lists(st.tuples(st.floats(0.01, 10), st.integers(1, 12)), min_size=1, max_size=5)


@given(mixes, st.lists(st.integers(1, 20), min_size=1, max_size=20), st.integers(0, 2**62))
def test_every_source_keeps_its_share(mix: list[tuple[float, int]], batches: list[int], seed: int) -> None:
    weights = [weight for weight, _ in mix]
    prompts = stream(weights, [size for _, size in mix], seed)
    seen = [0] * len(mix)
    for total, n in zip(np.cumsum(batches), batches, strict=True):
        batch = prompts.next(n)
        assert len(batch) == n
        for name in names(batch):
            seen[int(name.split("/")[0])] += 1
        for count, weight in zip(seen, weights, strict=True):
            assert abs(count - total * weight / sum(weights)) < len(mix)


def test_equal_shares_in_every_batch() -> None:
    prompts = stream([1, 1, 2], [50, 50, 50])
    for _ in range(10):
        assert [name.split("/")[0] for name in names(prompts.next(8))] == ["0", "0", "1", "1", "2", "2", "2", "2"]


def test_epochs_hold_every_row_once_in_a_new_order() -> None:
    prompts = stream([1.0], [30])
    epochs = [names(prompts.next(30)) for _ in range(3)]
    assert all(sorted(epoch) == sorted(epochs[0]) for epoch in epochs) and len(set(epochs[0])) == 30
    assert len({tuple(epoch) for epoch in epochs}) == 3
    assert names(stream([1.0], [30], seed=1).next(30)) != epochs[0]


@given(mixes, st.integers(0, 30), st.integers(1, 9))
def test_stream_resumes_from_plain_json(mix: list[tuple[float, int]], steps: int, n: int) -> None:
    weights, sizes = [weight for weight, _ in mix], [size for _, size in mix]
    whole = stream(weights, sizes)
    for _ in range(steps):
        whole.next(n)
    resumed = stream(weights, sizes)
    resumed.restore(json.loads(json.dumps(whole.state())))
    for _ in range(5):
        assert names(resumed.next(n)) == names(whole.next(n))


def test_a_foreign_position_is_refused() -> None:
    state = stream([1, 1], [3, 4]).state()
    for other in (stream([1, 1], [3, 5]), stream([1, 1], [3, 4], seed=1), stream([1], [3])):
        with pytest.raises(DataError, match="saved position"):
            other.restore(state)
    with pytest.raises(DataError, match="drawn"):
        stream([1, 1], [3, 4]).restore({**state, "drawn": [1]})


def test_stream_needs_rows() -> None:
    with pytest.raises(DataError, match="no sources"):
        PromptStream([], 0)
    with pytest.raises(DataError, match="none of them empty"):
        stream([1.0], [0])
    assert len(PromptStream([SourceConfig(source="scenes")], 0).next(5)) == 5
