"""A folder of another preset is refused in one line, whatever its files are called; so are presets' bases found."""

from __future__ import annotations

import json
from itertools import permutations
from pathlib import Path
from typing import Any

import pytest

from rl.data.presets import load_preset, preset_names
from rl.data.presets.preset import preset_files, whole_preset
from tests.rl.data.published import ROWS
from tests.rl.data.test_presets import SHARED, refusal, rows_of, write

TWINS = {"clevr", "geoqa"}  # the same columns


@pytest.mark.parametrize("name", preset_names())
def test_every_preset_says_the_columns_of_its_rows(name: str) -> None:
    assert load_preset(name).layouts


@pytest.mark.parametrize("name", preset_names())
def test_rows_of_every_other_preset_are_refused(name: str, tmp_path: Path) -> None:
    for other in preset_names():
        told = all(isinstance(row, dict) for row in ROWS[other][1]) or ROWS[name][0].endswith(".json")
        if other == name or {name, other} == TWINS or not told:
            continue
        said = refusal(name, write(tmp_path / other, other, under=name))
        named = " or ".join(sorted(TWINS)) if other in TWINS else other
        assert f"use source: {named}," in said or "expected a JSON object" in said, (other, said)


FILES: dict[str, Any] = {
    "gsm8k": {"question": "1 + 1?", "answer": "#### 2"},
    "math": {"problem": "1 + 1?", "level": "Level 1", "type": "Algebra", "solution": "\\boxed{2}"},
    "math500": {
        "problem": "1 + 1?", "solution": "\\boxed{2}", "answer": "2", "subject": "Algebra", "level": 1, "unique_id": "a",
    },
}  # fmt: skip


@pytest.mark.parametrize("name, other", [*permutations(FILES, 2)])
def test_a_file_of_the_same_name(name: str, other: str, tmp_path: Path) -> None:
    """All three have a test.jsonl; the file itself is refused as the folder is."""
    (tmp_path / "test.jsonl").write_text(json.dumps(FILES[other]) + "\n")
    for path in (tmp_path, tmp_path / "test.jsonl"):
        said = refusal(name, path, split="val")
        assert f"data preset {name}: its columns " in said and f"use source: {other}," in said
        assert f"({load_preset(name).download})" in said
    (tmp_path / "test.jsonl").write_text(json.dumps(FILES[name]) + "\n")
    assert len(rows_of(name, tmp_path, split="val")) == 1


def test_the_card_of_a_saved_data_set_tells(tmp_path: Path) -> None:
    """Where columns cannot: CLEVR's and GeoQA's are the same."""
    datasets = pytest.importorskip("datasets")
    folder = tmp_path / "saved"
    made = datasets.Dataset.from_list([{"problem": "How many?", "solution": "3", "image": "no.png"}])
    datasets.DatasetDict({"train": made}).save_to_disk(folder)
    card = folder / "train" / "dataset_info.json"
    came = {"download_checksums": {"hf://datasets/leonardPKU/GEOQA_R1V_Train_8K@1a2b/data/train.parquet": {}}}
    card.write_text(json.dumps(json.loads(card.read_text()) | came))
    assert "came from leonardPKU/GEOQA_R1V_Train_8K; use source: geoqa," in refusal("clevr", folder)
    assert "no.png" in refusal("geoqa", folder)  # the next check


def test_columns_of_nobody(tmp_path: Path) -> None:
    """A folder must have published rows; a single file may be the user's own."""
    (tmp_path / "train.jsonl").write_text(json.dumps({"question": "1 + 1?", "reference": "2"}) + "\n")
    assert "has columns 'question', 'reference'; its published rows have question, answer or" in refusal(
        "gsm8k", tmp_path
    )
    assert rows_of("gsm8k", tmp_path / "train.jsonl")[0].reference == "2"
    unknown = {
        "data_source": "mine",
        "prompt": [{"role": "user", "content": "?"}],
        "reward_model": {"ground_truth": "2"},
    }
    (tmp_path / "train.jsonl").write_text(json.dumps(unknown) + "\n")
    assert rows_of("math", tmp_path)[0].reference == "2"  # verl's columns are everyone's


@pytest.mark.skipif(not SHARED.is_dir(), reason="no published files here")
def test_published_folders_are_not_taken_for_another() -> None:
    folders = {"gsm8k": "gsm8k", "math": "math", "math500": "math", "countdown": "countdown", "sudoku4x4": "sudoku4x4"}
    for name, preset in ((name, load_preset(name)) for name in folders):
        for folder in sorted({*folders.values()} - {folders[name]}):
            path, split = SHARED / folder, next(iter(preset.parts))
            assert folder in refusal(name, path, split=split), (name, folder)


def test_a_base_lies_beside_the_file_that_names_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a" / "b").mkdir(parents=True)
    (tmp_path / "a" / "top.yaml").write_text("base: b/middle.yaml\nabout: the top\n")
    (tmp_path / "a" / "b" / "middle.yaml").write_text("base: ../bottom.yml\nlicence: mine\n")
    (tmp_path / "a" / "bottom.yml").write_text("base: gsm8k\npaper: none\nprompts: {plain: '{question}'}\n")
    monkeypatch.chdir(tmp_path)
    preset = load_preset("a/top.yaml")
    assert (preset.about, preset.licence, preset.paper, preset.hub) == ("the top", "mine", "none", "openai/gsm8k")
    assert [file.name for file in preset_files("a/top.yaml")] == ["top.yaml", "middle.yaml", "bottom.yml"]
    (tmp_path / "one.yaml").write_text(whole_preset("a/top.yaml"))
    alone = load_preset("one.yaml")
    assert (alone.about, alone.prompts, alone.layouts) == (preset.about, preset.prompts, preset.layouts)
    assert preset_files("one.yaml") == [Path("one.yaml")]


def test_other_columns_are_other_rows(tmp_path: Path) -> None:
    (tmp_path / "own.yaml").write_text("base: gsm8k\ncolumns: {question: ask}\n")
    assert load_preset("gsm8k").layouts and not load_preset(str(tmp_path / "own.yaml")).layouts


def test_presets_whose_rows_nobody_saw_say_so() -> None:
    unseen = {name for name in preset_names() if load_preset(name).unseen}
    assert unseen == {"clevr", "geoqa", "hpsv2", "knights-and-knaves", "kodcode"}
