"""Many rows: what is done to each of them before the first step, and what is not."""

from __future__ import annotations

import gc
import io
import json
import tracemalloc
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image
from typer.testing import CliRunner

from cluster.cli.app import app
from cluster.run import inputs, preflight
from rl import pixels
from rl.config import load_config
from rl.data.rows import load_rows
from rl.errors import DataError
from tests.cluster.recipe import write_recipe


def jpeg() -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (60, 60, 3), dtype=np.uint8)).save(buffer, "JPEG")
    return buffer.getvalue()


def rows_file(folder: Path, pictures: list[bytes]) -> str:
    table = pa.table(
        {"image": pa.array(pictures, pa.binary()), "question": ["?"] * len(pictures), "answer": ["1"] * len(pictures)}
    )
    pq.write_table(table, folder / "rows.parquet")
    return str(folder / "rows.parquet")


def recipe_of(folder: Path, source: str, **args: object) -> Path:
    path = write_recipe(folder)
    recipe = json.loads(path.read_text())
    recipe["data"]["train"] = [{"source": source, "args": args}]
    for section in ("rollout", "evaluation"):
        recipe[section]["understand"] = recipe[section]["text"]
    recipe["rewards"]["mix"]["understand"] = {"custom": 1.0}
    path.write_text(json.dumps(recipe))
    return path


def test_the_checks_before_a_run_decode_the_sample_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    decoded: list[object] = []
    upright = pixels._upright
    monkeypatch.setattr(pixels, "_upright", lambda image: (decoded.append(image), upright(image))[1])
    monkeypatch.chdir(tmp_path)
    config = load_config(str(recipe_of(tmp_path, rows_file(tmp_path, [jpeg()] * 400))))
    checked = preflight.check(config, needs_train=True, needs_val=False)
    assert len(checked.train[0]) == 400 and len(decoded) == 256 + len(range(256, 400, 4))
    assert gc.isenabled()


def test_the_collector_is_back_after_a_mistake() -> None:
    with pytest.raises(DataError), inputs.uncollected():
        raise DataError("x")
    assert gc.isenabled()


def test_a_row_of_text_takes_little_more_memory_than_its_text(tmp_path: Path) -> None:
    path, count = tmp_path / "rows.jsonl", 2000
    path.write_text("".join(json.dumps({"question": "a" * 250, "answer": f"b #### {n}"}) + "\n" for n in range(count)))
    from rl.config import SourceConfig

    tracemalloc.start()
    try:
        rows = load_rows(SourceConfig(source=str(path)))
        size = tracemalloc.get_traced_memory()[0]
    finally:
        tracemalloc.stop()
    assert len(rows) == count and size / count < 2500  # 200,000 such rows: 0.5 GB


def test_each_row_and_each_prompt_is_counted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[tuple[str, int]] = []

    class Counted(inputs.Progress):
        def __call__(self, done: int) -> None:
            told.append((self._what.split()[0], done))

    monkeypatch.setattr(inputs, "Progress", Counted)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "rows.jsonl").write_text('{"question": "?", "answer": "1"}\n' * 600)
    config = load_config(str(recipe_of(tmp_path, "rows.jsonl")))
    preflight.check(config, needs_train=True, needs_val=False)
    assert told == [("reading", 0), ("reading", 256), ("reading", 512), ("measuring", 0)]


def test_a_picture_that_is_damaged_inside_ends_the_run_in_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = jpeg()
    damaged = whole[:2] + bytes(len(whole) - 4) + whole[-2:]
    recipe = recipe_of(tmp_path, rows_file(tmp_path, [damaged]), check_images=False)
    monkeypatch.chdir(tmp_path)
    given = ["steps=1", "cluster.mode=inline", "val_before_train=false", "val_after_train=false"]
    result = CliRunner().invoke(app, ["train", "--recipe", str(recipe), *given])
    assert result.exit_code == 2, result.output
    lines = [line for line in result.stderr.splitlines() if line.startswith("error:")]
    assert len(lines) == 1 and f"prompt {tmp_path.name}/rows/0: image bytes: not a readable" in lines[0]
    assert "Traceback" not in result.output
