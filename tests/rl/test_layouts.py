"""Folders of drawings: what each official scorer looks for is where it looks."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from rl.errors import ConfigError, DataError
from rl.layouts import LAYOUTS
from rl.layouts.base import tiled
from rl.types import Message, Prompt, Task

SHARED = Path(__file__).resolve().parents[2].parent / "shared" / "data"
COLOURS = ((255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 255))
PICTURES = [np.full((8, 8, 3), colour, np.uint8) for colour in COLOURS]


def drawn(name: str, caption: str = "a bench", source: str = "", metadata: Mapping[str, Any] | None = None) -> Prompt:
    return Prompt(name, Task.DRAW, (Message("user", caption),), source=source, metadata=metadata or {})


def write(name: str, folder: Path, prompts: list[Prompt], samples: int = 4) -> list[str]:
    layout = LAYOUTS[name](folder, prompts)
    assert not list(folder.iterdir()), "a layout that is only checked must touch nothing"
    for number, prompt in enumerate(prompts):
        layout.write(number, prompt, PICTURES[:samples])
    assert str(folder) in layout.scorer()
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


def colours(path: Path) -> list[tuple[int, int, int]]:
    """Of the middles of the tiles, row by row."""
    with Image.open(path) as picture:
        across, down = picture.width // 8, picture.height // 8
        return [picture.convert("RGB").getpixel((8 * x + 4, 8 * y + 4)) for y in range(down) for x in range(across)]  # pyright: ignore


def test_geneval_has_a_folder_a_prompt_with_its_line(tmp_path: Path) -> None:
    line = {"tag": "counting", "include": [{"class": "clock", "count": 2}], "exclude": [{"class": "clock", "count": 3}]}
    found = write("geneval", tmp_path, [drawn("0", "two clocks", metadata=line), drawn("1", metadata={**line, "x": 1})])
    assert found[:6] == [
        "00000/grid.png", "00000/metadata.jsonl", *(f"00000/samples/{n:04d}.png" for n in range(4)),
    ]  # fmt: skip
    assert len(found) == 12 and colours(tmp_path / "00000" / "grid.png") == list(COLOURS)
    assert json.loads((tmp_path / "00000" / "metadata.jsonl").read_text()) == {**line, "prompt": "two clocks"}
    assert "x" not in json.loads((tmp_path / "00001" / "metadata.jsonl").read_text())


@pytest.mark.skipif(not SHARED.is_dir(), reason="needs ../shared/data")
def test_every_published_line_of_geneval_comes_back(tmp_path: Path) -> None:
    published = (SHARED / "geneval" / "evaluation_metadata.jsonl").read_text("utf-8")
    lines = [json.loads(line) for line in published.splitlines()]
    prompts = [
        drawn(str(n), line["prompt"], metadata={key: value for key, value in line.items() if key != "prompt"})
        for n, line in enumerate(lines)
    ]
    layout = LAYOUTS["geneval"](tmp_path, prompts)
    for number in (0, 200, 552):
        layout.write(number, prompts[number], PICTURES[:1])
        assert json.loads((tmp_path / f"{number:05d}" / "metadata.jsonl").read_text()) == lines[number]


def test_dpg_has_one_tiled_picture_a_prompt(tmp_path: Path) -> None:
    assert write("dpg", tmp_path, [drawn("partiprompts17"), drawn("256")]) == ["256.png", "partiprompts17.png"]
    assert colours(tmp_path / "256.png") == list(COLOURS)
    layout = LAYOUTS["dpg"](tmp_path, [drawn("3")])
    layout.write(0, drawn("3"), PICTURES[:1])
    with Image.open(tmp_path / "3.png") as picture:
        assert picture.size == (8, 8)
    assert "--resolution 8 --pic-num 1" in layout.scorer()
    with pytest.raises(DataError, match="allowed: 1 to 4"):
        layout.write(0, drawn("3"), [*PICTURES, PICTURES[0]])


def test_t2i_compbench_numbers_go_on_over_all_prompts(tmp_path: Path) -> None:
    found = write("t2i-compbench", tmp_path, [drawn("a", "a red book"), drawn("b", "a cat, a dog")], samples=2)
    assert found == [
        "samples/a cat, a dog_000002.png", "samples/a cat, a dog_000003.png",
        "samples/a red book_000000.png", "samples/a red book_000001.png",
    ]  # fmt: skip


def test_hpsv2_counts_within_a_style(tmp_path: Path) -> None:
    prompts = [
        drawn("a", metadata={"style": "photo"}),
        drawn("b", source="anime"),
        drawn("c", metadata={"style": "photo"}),
    ]
    assert write("hpsv2", tmp_path, prompts) == ["anime/00000.jpg", "photo/00000.jpg", "photo/00001.jpg"]
    with Image.open(tmp_path / "photo" / "00001.jpg") as picture:
        red, green, _ = picture.convert("RGB").getpixel((4, 4))  # pyright: ignore
    assert red > 200 > 60 > green


@pytest.mark.parametrize(
    ("name", "prompt", "told"),
    [
        ("geneval", drawn("a"), "no columns tag and include"),
        ("dpg", drawn("scenes/val/3"), "cannot be a file's name"),
        ("dpg", drawn("3.txt"), "first dot"),
        ("t2i-compbench", drawn("a", "w/o shoes"), "cannot be a file's name"),
        ("t2i-compbench", drawn("a", "a snake_case"), "has a _"),
        ("t2i-compbench", drawn("a", "é" * 200), "at most 255 bytes"),
        ("hpsv2", drawn("a"), "no style; allowed: anime, concept-art"),
    ],
)
def test_a_prompt_without_a_place_is_one_line(tmp_path: Path, name: str, prompt: Prompt, told: str) -> None:
    with pytest.raises(DataError, match=told) as caught:
        LAYOUTS[name](tmp_path, [prompt])
    assert f"evaluation.layout={name}" in str(caught.value) and "\n" not in str(caught.value)


def test_tiles_of_an_incomplete_row_are_black() -> None:
    assert tiled(PICTURES[:3], 2)[8:, 8:].max() == 0 and tiled(PICTURES[:3], 2).shape == (16, 16, 3)


def test_an_unknown_layout_is_told_with_the_known() -> None:
    from rl.config import load_config

    with pytest.raises(ConfigError, match="evaluation.layout='genevl'.*geneval.*did you mean 'geneval'"):
        load_config("tiny", ["evaluation.layout=genevl"])
    assert load_config("tiny", ["evaluation.layout=dpg"]).evaluation.layout == "dpg"
