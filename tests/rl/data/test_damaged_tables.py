"""Damaged tables: one line, whichever of Arrow's errors it is."""

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from rl.data.files import read_rows
from rl.errors import DataError


@pytest.mark.parametrize("damage", [b"\x80", b"\xff", b"\xc3", b"\xed"])
def test_a_column_name_that_is_no_utf_8(tmp_path: Path, damage: bytes) -> None:
    path = tmp_path / "rows.parquet"
    pq.write_table(pa.table({"question": ["1 + 1"], "answer": ["2"]}), path)
    content = path.read_bytes()
    place = content.rindex(b"question")  # in the footer: what Arrow's own columns are named by
    places = [at for at in range(len(content)) if content[at : at + 8] == b"question"]
    assert place in places and len(places) > 1
    refused = 0
    for at in places:
        path.write_bytes(content[:at] + damage + content[at + 1 :])
        try:
            list(read_rows(path))
        except DataError as error:
            refused += 1
            assert "\n" not in str(error) and str(path) in str(error)
    assert refused
