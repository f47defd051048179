"""Whatever a row holds, it becomes a prompt that travels, or one short line."""

from __future__ import annotations

import json
import math
import pickle
import tempfile
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from rl.data.chat import MESSAGE_COLUMNS
from rl.errors import DataError
from rl.tracking.samples import caption_of
from tests.rl.data.formats import prompts, write

COLUMNS = [
    *MESSAGE_COLUMNS, "text", "image", "images", "image_path", "img", "picture", "id", "task", "rewards", "source", "scene",
    "data_source", "reference", "answer", "solution", "ground_truth", "reward_model", "extra_info", "other", "template",
]  # fmt: skip
WORDS = [
    "?", "", " ", "5", "text", "draw", "understand", "a.png", "<image>", "<think>x</think>5", "#### 5", "[", "{", "[{", "NaN",
    '[{"role": "user", "content": "?"}]', "[{'role': 'user'}]", "data:image/png;base64,AA", "http://x", "iVBORw0KGgo", "null",
    "\0", "x\ny", "role", "content", "user", "assistant", "image", "correctness", "/", "..", "~", "a" * 300, "%s", "{x}",
    "😀", "\ud83d",
]  # fmt: skip
LEAVES = st.one_of(
    st.none(), st.booleans(), st.integers(-(10**20), 10**20), st.floats(), st.sampled_from(WORDS), st.text(max_size=8)
)
KEYS = st.sampled_from(
    [
        "role",
        "content",
        "type",
        "text",
        "image",
        "image_url",
        "url",
        "bytes",
        "path",
        "ground_truth",
        "value",
        "from",
        "x",
    ]
)
VALUES = st.recursive(
    LEAVES, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=3), max_leaves=8
)
ROWS = st.dictionaries(st.sampled_from(COLUMNS), VALUES, max_size=6)


def load(path: Path, task: str | None) -> None:
    try:
        found = prompts(path, task=task)
    except DataError as error:
        text = str(error)
        assert "\n" not in text.rstrip() and len(text) < 900 and str(path) in text
        text.encode("utf-8")
        return
    (prompt,) = found
    back = pickle.loads(pickle.dumps(prompt))
    assert (back.messages, back.metadata, back.ground_truth) == (prompt.messages, prompt.metadata, prompt.ground_truth)
    json.dumps([caption_of(prompt), prompt.reference, prompt.solution], ensure_ascii=False).encode("utf-8")
    assert not _has_nan(prompt.metadata) and prompt.reference != ""


def _has_nan(value: Any) -> bool:
    if isinstance(value, dict):
        return any(map(_has_nan, value.values()))
    if isinstance(value, list):
        return any(map(_has_nan, value))
    return isinstance(value, float) and math.isnan(value)


@pytest.mark.parametrize("kind", ["jsonl", "json"])
@settings(deadline=None, max_examples=150, suppress_health_check=[HealthCheck.too_slow])
@given(row=ROWS, asks=st.booleans(), task=st.sampled_from([None, "text", "understand", "draw"]))
def test_any_json_row(kind: str, row: dict[str, Any], asks: bool, task: str | None) -> None:
    with tempfile.TemporaryDirectory() as folder:
        load(write(Path(folder), kind, [{"question": "?", "answer": "5", **row} if asks else row]), task)


@settings(deadline=None, max_examples=150, suppress_health_check=[HealthCheck.too_slow])
@given(row=ROWS, raw=st.dictionaries(st.sampled_from(COLUMNS), st.binary(max_size=6), max_size=2), asks=st.booleans())
def test_any_parquet_row(row: dict[str, Any], raw: dict[str, bytes], asks: bool) -> None:
    whole = {"question": "?", "answer": "5", **row, **raw} if asks else {**row, **raw}
    with tempfile.TemporaryDirectory() as folder:
        try:
            path = write(Path(folder), "parquet", [whole])
        except (pa.ArrowException, UnicodeEncodeError, OverflowError):  # a column of two types, an empty struct, ...
            return
        load(path, None)
