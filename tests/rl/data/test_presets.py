"""Presets: every one reads its published layout, and says in one line what is wrong with a source."""

from __future__ import annotations

import io
import json
import re
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from rewards.registry import check_reward, member_of
from rl.config import SourceConfig
from rl.data.presets import load_preset, preset_names, preset_of, rows_path
from rl.data.rows import load_rows
from rl.errors import ConfigError, DataError
from rl.types import Prompt, Task
from tests.loopback_hub import point_at, point_datasets_at, serving
from tests.rl.data.published import ROWS, verl

ROOT = Path(__file__).parents[3]
SHARED = ROOT.parent / "shared" / "data"
DOCS = ROOT / "docs" / "data_published.md"
NEEDS_MODEL = ("clip", "imagereward", "hpsv2")  # their checkpoints are named by a recipe


def picture() -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (16, 12), (9, 90, 9)).save(buffer, "PNG")
    return buffer.getvalue()


def write(folder: Path, name: str, under: str | None = None) -> Path:
    """A preset's made-up rows in its published layout. under: as another preset's file."""
    rows, file = ROWS[name][1], ROWS[under or name][0]
    path = folder / file
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".parquet":
        image = {"bytes": picture(), "path": None}
        pq.write_table(pa.Table.from_pylist([{**row, "image": image} if "image" in row else row for row in rows]), path)
    elif path.suffix == ".json":
        path.write_text(json.dumps(rows))
    else:
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return folder


def rows_of(name: str, path: Path | None = None, **settings: Any) -> list[Prompt]:
    where = None if path is None else str(path)
    return load_rows(SourceConfig(source=name, path=where, **settings), frozenset())


def refusal(name: str, path: Path | None = None, **settings: Any) -> str:
    with pytest.raises((ConfigError, DataError)) as error:
        rows_of(name, path, **settings)
    assert "\n" not in str(error.value)
    return str(error.value)


@pytest.mark.parametrize("name", preset_names())
def test_every_preset_reads_its_published_layout(name: str, tmp_path: Path) -> None:
    preset, (file, rows, reference) = load_preset(name), ROWS[name]
    folder = write(tmp_path, name)
    first = rows_of(name, folder)[0]
    assert first.task is preset.task and first.source == name
    assert first.reference == reference or (reference is None and first.reference is None)
    assert first.messages and first.messages[-1].content.strip()
    for prompt in preset.prompts:
        assert rows_of(name, folder, args={"prompt": prompt})
    assert [row.id for row in rows_of(name, folder / file)] == [row.id for row in rows_of(name, folder)]
    assert len({row.id for row in rows_of(name, folder)}) == len(rows_of(name, folder)) <= len(rows)


@pytest.mark.parametrize("name", preset_names())
def test_every_presets_rewards_exist_and_fit_its_task(name: str) -> None:
    preset = load_preset(name)
    assert preset.rewards and any(weight > 0 for weight in preset.rewards.values())
    for reward in preset.rewards:
        member_of(reward)
        if reward not in NEEDS_MODEL:
            check_reward({"name": reward, **preset.settings.get(reward, {})})
    assert ("format" in preset.rewards) == (preset.task in (Task.TEXT, Task.UNDERSTAND))
    assert preset.licence and preset.paper.startswith("arXiv ")
    assert preset.hub is None or preset.hub.count("/") == 1


def test_the_docs_table_is_made_of_the_presets() -> None:
    table = re.search(r"\| preset \|.*?\n\n", DOCS.read_text(), re.DOTALL)
    assert table is not None
    found = [[cell.strip() for cell in line.strip("|").split("|")] for line in table[0].strip().splitlines()[2:]]
    wanted = []
    for name in preset_names():
        preset = load_preset(name)
        mix = ", ".join(f"{reward} {weight:g}" for reward, weight in preset.rewards.items())
        where = preset.hub or f"`{preset.get}`"
        wanted.append([f"`{name}`", where, ", ".join(preset.parts), ", ".join(preset.prompts), mix, preset.licence])
    assert found == wanted, "\n".join("| " + " | ".join(row) + " |" for row in wanted)


def test_the_row_keeps_its_own_columns_beside_ours(tmp_path: Path) -> None:
    row = rows_of("countdown", write(tmp_path, "countdown"))[0]
    assert row.metadata["numbers"] == "[2, 3, 4]" and row.metadata["target"] == "5"
    assert row.metadata["extra_info"]["numbers"] == "[2, 3, 4]"
    assert "value 5" in row.messages[0].content and "[2, 3, 4]" in row.messages[0].content
    own = rows_of("countdown", tmp_path, args={"prompt": "published"})[0]
    assert own.messages[0].content == "Reach 5 with 2, 3 and 4."
    plain = rows_of("countdown", tmp_path, args={"template": "{target} of {numbers}"})[0]
    assert plain.messages[0].content == "5 of [2, 3, 4]"


def test_rows_of_another_length_are_counted(tmp_path: Path) -> None:
    notes: list[str] = []
    folder = write(tmp_path, "countdown")
    load_rows(SourceConfig("countdown", path=str(folder)), frozenset(), notes)
    assert len(notes) == 1 and "1 rows were left out: numbers has not 3 items" in notes[0]
    assert len(rows_of("countdown", folder, args={"lengths": {}})) == 2
    assert "lengths='x'" in refusal("countdown", folder, args={"lengths": "x"})
    assert "no rows are left" in refusal("countdown", folder, args={"lengths": {"numbers": 9}})


def test_a_hubs_columns_are_read_like_a_copys(tmp_path: Path) -> None:
    file = tmp_path / "rows.jsonl"
    file.write_text(json.dumps({"nums": [2, 3, 4], "target": 5}) + "\n")
    row = rows_of("countdown", file)[0]
    assert row.reference == "5" and row.metadata["numbers"] == [2, 3, 4] and "[2, 3, 4]" in row.messages[0].content


def test_the_published_sudokus_have_the_generators_name(tmp_path: Path) -> None:
    assert preset_of(SourceConfig("sudoku4x4")) is None
    assert rows_of("sudoku4x4", args={"size": 3})[0].metadata["blanks"] > 0
    assert rows_of("sudoku4x4", write(tmp_path, "sudoku4x4"))[0].id == "sudoku4x4/train/0"
    assert rows_path(SourceConfig("sudoku4x4")) is None
    assert rows_path(SourceConfig("sudoku4x4", path="a")) == Path("a")


def test_splits_of_a_folder(tmp_path: Path) -> None:
    for split, answer in (("train", "1"), ("test", "2")):
        (tmp_path / f"{split}.jsonl").write_text(json.dumps({"question": split, "answer": answer}) + "\n")
    assert [row.reference for row in rows_of("gsm8k", tmp_path)] == ["1"]
    assert [row.reference for row in rows_of("gsm8k", tmp_path, split="val")] == ["2"]
    assert "split='tset'; allowed: train, val" in refusal("gsm8k", tmp_path, split="tset")
    (tmp_path / "test.jsonl").write_text(json.dumps({"problem": "1 + 1", "answer": "3"}) + "\n")
    assert rows_of("math500", tmp_path)[0].reference == "3"  # it has one split


def test_a_saved_data_set_in_place_of_files(tmp_path: Path) -> None:
    datasets = pytest.importorskip("datasets")
    made = datasets.Dataset.from_list([{"question": "3 + 4?", "answer": "#### 7"}])
    datasets.DatasetDict({"train": made, "test": made}).save_to_disk(tmp_path / "saved")
    assert [row.reference for row in rows_of("gsm8k", tmp_path / "saved")] == ["7"]
    assert rows_of("gsm8k", tmp_path / "saved", split="val")[0].reference == "7"


OWN = """
base: gsm8k
about: mine
splits:
  train: {files: [mine.jsonl]}
columns: {question: ask, reference: [say, "more.1.say"]}
prompts: {plain: "{question}"}
"""


def test_a_preset_of_ones_own(tmp_path: Path) -> None:
    (tmp_path / "own.yaml").write_text(OWN)
    rows = [{"ask": "3 + 4?", "say": 7}, {"ask": "1 + 1?", "more": [{}, {"say": "2"}]}]
    (tmp_path / "mine.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    found = rows_of(str(tmp_path / "own.yaml"), tmp_path)
    assert [row.reference for row in found] == ["7", "2"] and found[0].source == "own"
    assert found[0].messages[0].content == "3 + 4?"


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ("lisence: MIT", "unknown key 'lisence'; allowed: .*did you mean 'licence'"),
        ("task: txt", "task='txt'; allowed: text, understand"),
        ("splits: {test: {}}", "splits.test; allowed: train, val"),
        ("splits: {train: {file: x}}", "splits.train.file; allowed: config, split, files"),
        ("prompts: {}", "has no prompts"),
        ("rewards: {correctness: much}", "could not convert"),
        ("lengths: [numbers]", "docs/data_published.md shows a whole preset"),
        ("splits: 3", "docs/data_published.md shows a whole preset"),
        ("base: nothing", "unknown; allowed: clevr, "),
        ("a: [", "not YAML"),
        ("base: {own}", "base leads back"),
    ],
)
def test_mistakes_in_a_preset_are_one_line(change: str, said: str, tmp_path: Path) -> None:
    file = tmp_path / "own.yaml"
    key = change.partition(":")[0]
    lines = [line for line in OWN.splitlines() if not line.startswith(f"{key}:")] if key != "splits" else [
        line for line in OWN.splitlines() if "splits" not in line and "mine.jsonl" not in line
    ]  # fmt: skip
    file.write_text("\n".join([*lines, change.replace("{own}", str(file))]))
    assert re.search(said, refusal(str(file)))


def test_mistakes_in_a_source_are_one_line(tmp_path: Path) -> None:
    assert "did you mean 'gsm8k'?" in refusal("gsm8")
    assert "no such file: mine.yaml" in refusal("mine.yaml")
    assert "path='x': only a preset has one" in refusal("scenes", Path("x"))
    assert "no such file or folder" in refusal("gsm8k", tmp_path / "gone")
    assert "no file of split train in it" in refusal("gsm8k", tmp_path)
    assert "hf download openai/gsm8k --repo-type dataset" in refusal("gsm8k", tmp_path)
    assert "git clone --depth 1 https://github.com/djghosh13/geneval FOLDER" in refusal("geneval")
    folder = write(tmp_path, "gsm8k")
    assert "prompt='thin'; allowed: think, reasoning, published; did you mean 'think'?" in refusal(
        "gsm8k", folder, args={"prompt": "thin"}
    )
    assert "unknown argument 'tempalte'" in refusal("gsm8k", folder, args={"tempalte": ""})
    assert "template=5: expected a text" in refusal("gsm8k", folder, args={"template": 5})
    assert "revision=main: of the hub's rows" in refusal("gsm8k", folder, revision="main")
    assert "no column 'questions'" in refusal("gsm8k", folder, args={"template": "{questions}"})


CARD = b"""---
configs:
- config_name: main
  data_files:
  - {split: train, path: main/train.jsonl}
  - {split: test, path: main/test.jsonl}
---
"""


def test_rows_come_from_the_hub_by_the_presets_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("datasets")
    rows = [{"question": "3 + 4?", "answer": f"3 + 4 = 7\n#### {answer}"} for answer in (7, 8)]
    files = {
        f"main/{split}.jsonl": json.dumps(row).encode() for split, row in zip(("train", "test"), rows, strict=True)
    }
    with serving() as hub:
        point_at(monkeypatch, hub.url, tmp_path)
        point_datasets_at(monkeypatch, hub.url, tmp_path)
        hub.add("datasets", "openai/gsm8k", {"README.md": CARD, **files})
        assert [(row.id, row.reference) for row in rows_of("gsm8k")] == [("gsm8k/train/0", "7")]
        assert [row.reference for row in rows_of("gsm8k", split="val")] == ["8"]
        assert "or set path: FOLDER to a copy" in refusal("gsm8k", config="other")
        assert "its val rows are on no hub" in refusal("countdown", split="val")


@pytest.mark.skipif(not SHARED.is_dir(), reason="needs ../shared/data")
@pytest.mark.parametrize(
    ("name", "folder", "split", "count"),
    [
        ("gsm8k", "gsm8k", "val", 1319),
        ("math500", "math", "val", 500),
        ("countdown", "countdown", "val", 256),
        ("sudoku4x4", "sudoku4x4", "val", 500),
        ("geneval", "geneval", "val", 553),
    ],
)
def test_published_files_are_read_whole(name: str, folder: str, split: str, count: int) -> None:
    rows = rows_of(name, SHARED / folder, split=split)
    assert len(rows) == count
    assert all(row.task is not Task.TEXT or row.reference for row in rows)


@pytest.mark.skipif(not SHARED.is_dir(), reason="needs ../shared/data")
@pytest.mark.parametrize("name", ["gsm8k", "math", "countdown", "sudoku4x4", "imagereward-prompts"])
def test_published_training_rows_are_read(name: str) -> None:
    folder = SHARED / {"imagereward-prompts": "image_prompts"}.get(name, name)
    rows = rows_of(name, folder, limit=100)
    assert len(rows) == 100 and all(row.messages[0].content for row in rows)


def test_rows_without_an_answer_are_left_out_and_counted(tmp_path: Path) -> None:
    rows = [verl("math", "?", None), verl("math", "1 + 1?", "2"), verl("math", "?", " ")]
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "train.parquet")
    notes: list[str] = []
    found = load_rows(SourceConfig("math", path=str(tmp_path)), notes=notes)
    assert [row.reference for row in found] == ["2"] and "2 rows were left out: they have no reference" in notes[0]
