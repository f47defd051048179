"""Damaged tables: one line, whichever of Arrow's errors it is."""

import struct
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


PLACES = {  # of the second end, or of a word of a dictionary, as the file has them: 32 bits each
    "texts": ({"question": ["hello world", "xx"]}, (0, 11, 13)),
    "lists": ({"question": ["a", "b"], "n": [[1, 2, 3], [4]]}, (0, 3, 4)),
    "bytes": ({"question": ["a", "b"], "b": [b"12345", b"678901"]}, (0, 5, 11)),
    "words": ({"question": pa.array(["a", "b", "c"]).dictionary_encode()}, (0, 1, 2)),
}


@pytest.mark.parametrize("kind", PLACES)
@pytest.mark.parametrize("place", [-1, 14, 100, 4096, 10**6, 2**31 - 1])
def test_a_place_outside_of_an_arrow_file(tmp_path: Path, kind: str, place: int) -> None:
    """Arrow itself believes it: what lies there in memory would be a row, or the process would end."""
    columns, places = PLACES[kind]
    table = pa.table(columns)
    with pa.OSFile(str(tmp_path / "a.arrow"), "wb") as out, pa.ipc.new_stream(out, table.schema) as stream:
        stream.write_table(table)
    (tmp_path / "state.json").write_text('{"_data_files": [{"filename": "a.arrow"}]}')
    assert len(list(read_rows(tmp_path))) == table.num_rows
    sound, damaged = struct.pack("<iii", *places), struct.pack("<iii", *places[:2], place)
    content = (tmp_path / "a.arrow").read_bytes()
    assert sound in content
    (tmp_path / "a.arrow").write_bytes(content.replace(sound, damaged))
    with pytest.raises(DataError, match=r"a\.arrow: not a readable Arrow file: ") as caught:
        list(read_rows(tmp_path))
    assert "\n" not in str(caught.value)


def test_splits_have_no_splits(tmp_path: Path) -> None:
    folder = tmp_path
    for _ in range(3):
        (folder / "dataset_dict.json").write_text('{"splits": ["train"]}')
        folder = folder / "train"
        folder.mkdir()
    with pytest.raises(DataError, match=r"train: neither state\.json"):
        list(read_rows(tmp_path))
