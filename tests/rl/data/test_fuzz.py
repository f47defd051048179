"""Files of rows and pictures whose bytes were changed: they are read, or refused in one line, within little memory."""

from __future__ import annotations

import io
import json
import tempfile
from collections.abc import Callable
from functools import cache
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from rl.config import SourceConfig
from rl.data.rows import load_rows
from rl.pixels import open_image
from tests.policies.files.hostile import answer

SHORT, LONG = 100, 3000
ROWS = [
    {"question": "1 + 1?", "answer": "2", "extra": {"a": [1, 2.5, None, True]}, "image": None},
    {
        "messages": [{"role": "user", "content": [{"type": "image", "image": "1.png"}, {"type": "text", "text": "?"}]}],
        "answer": "é",
    },
]


@cache
def folder() -> Path:
    return Path(tempfile.mkdtemp(prefix="unigrpo-fuzz-"))


@cache
def sound(kind: str) -> bytes:
    if kind in ("jsonl", "json"):
        lines = [json.dumps(row) for row in ROWS]
        return ("\n".join(lines) if kind == "jsonl" else f"[{', '.join(lines)}]").encode()
    out = io.BytesIO()
    if kind == "arrow":
        nested = pa.array([{"a": [1.5]}, None])
        coded = pa.array(["x", "y"]).dictionary_encode()
        table = pa.table(
            {"question": ["one?", "two?"], "answer": ["1", "2"], "n": [[1], [2, 3]], "s": nested, "d": coded}
        )
        with pa.ipc.new_stream(out, table.schema) as stream:
            stream.write_table(table)
    elif kind == "parquet":
        columns = {"question": ["?", "!"], "answer": ["1", "2"], "n": [[1], [2, 3]], "b": [b"x", None]}
        pq.write_table(pa.table(columns), out)
    else:
        image = Image.linear_gradient("L").resize((24, 16)).convert("P" if kind == "GIF" else "RGB")
        image.save(out, kind)
    return out.getvalue()


def changed(text: bytes, draw: Callable[..., int], cut: bool, places: list[int], news: list[bytes]) -> bytes:
    out = bytearray(text[: draw(st.integers(0, len(text)))] if cut else text)
    for place, new in zip(places, news, strict=False):
        at = place % (len(out) + 1)
        out[at : at + len(new)] = new
    return bytes(out)


def run(kind: str, examples: int) -> None:
    @settings(
        deadline=None,
        max_examples=examples,
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
        database=None,
    )
    @given(
        st.data(),
        st.booleans(),
        st.lists(st.integers(0, 1 << 16), max_size=4),
        st.lists(st.binary(min_size=1, max_size=4), max_size=4),
    )
    def tried(data: st.DataObject, cut: bool, places: list[int], news: list[bytes]) -> None:
        content = changed(sound(kind), data.draw, cut, places, news)
        if kind == "arrow":
            saved = folder() / "saved"
            saved.mkdir(exist_ok=True)
            (saved / "state.json").write_text('{"_data_files": [{"filename": "a.arrow"}]}')
            (saved / "a.arrow").write_bytes(content)
            answer(lambda: load_rows(SourceConfig(str(saved))))
        elif kind in ("jsonl", "json", "parquet"):
            file = folder() / f"rows.{kind}"
            file.write_bytes(content)
            answer(lambda: load_rows(SourceConfig(str(file))))
        else:
            answer(lambda: open_image(content))
            (folder() / "1.png").write_bytes(content)
            answer(lambda: open_image(folder() / "1.png"))

    tried()


KINDS = ("jsonl", "json", "parquet", "arrow", "PNG", "JPEG", "WEBP", "GIF")


@pytest.mark.parametrize("kind", KINDS)
def test_it_is_read_or_one_line(kind: str) -> None:
    run(kind, SHORT)


@pytest.mark.long
@pytest.mark.parametrize("kind", KINDS)
def test_thousands_are_read_or_one_line(kind: str) -> None:
    run(kind, LONG)
