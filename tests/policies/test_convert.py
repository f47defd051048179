"""Pickled weights of a stranger: tensors are read, all else is refused in our words, and nothing else is written."""

from __future__ import annotations

import io
import json
import os
import pickle
import struct
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from policies.convert import BIN_INDEX, convert_folder
from tests.policies.files.hostile import refused

BIN = "pytorch_model.bin"


class Calls:
    """What a pickle can say: call this when you read me."""

    def __init__(self, function: Callable[..., Any], *arguments: object) -> None:
        self.function, self.arguments = function, arguments

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[object, ...]]:
        return self.function, self.arguments


def saved(state: object, older: bool = False) -> bytes:
    out = io.BytesIO()
    torch.save(state, out, _use_new_zipfile_serialization=not older)
    return out.getvalue()


def packed(state: object, size: int) -> bytes:
    """An archive whose numbers are compressed, ``size`` bytes of zero."""
    out = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(saved(state))) as source, zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as target:
        for name in source.namelist():
            target.writestr(name, bytes(size) if name.endswith("data/0") else source.read(name))
    return out.getvalue()


def call(canary: Path) -> Calls:
    return Calls(os.system, f"touch {canary}")


@pytest.mark.parametrize("make", [
    lambda c: saved({"a": call(c)}), lambda c: saved({"a": call(c)}, older=True), lambda c: pickle.dumps(call(c)),
    lambda c: pickle.dumps(call(c), 0), lambda c: saved({"a": Calls(eval, f"open({str(c)!r}, 'w')")}),
    lambda c: f"cos\nsystem\n(S'touch {c}'\ntR.".encode(), lambda c: saved({"a": Calls(torch.load, str(c))}),
])  # fmt: skip
def test_a_pickle_that_calls_is_refused_and_not_run(tmp_path: Path, make: Callable[[Path], bytes]) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / BIN).write_bytes(make(tmp_path / "canary"))
    said = refused(lambda: convert_folder(tmp_path / "in"), BIN, "more than tensors, so it is not read")
    assert "weights_only" not in said and "succeed" not in said
    assert not (tmp_path / "canary").exists() and os.listdir(tmp_path / "in") == [BIN]


GARBAGE: dict[str, bytes] = {
    "nothing": b"", "one byte": b"\x80", "a stop": b".", "a text": b"hello world\n" * 9, "a memo": b"\x80\x02h\x05.",
    "a pickle's head": b"\x80\x02garbage", "a length without its text": b"\x80\x02X\xff\xff\xff\xff",
    "a length of terabytes": b"\x80\x05\x96" + struct.pack("<Q", 1 << 40) + b".",
    "a deep list": b"\x80\x02" + b"]" * 30_000 + b".",
    "an archive's head": b"PK\x03\x04" + bytes(100), "a tar's mark": bytes(257) + b"ustar" + bytes(600),
    "half an archive": saved({"a": torch.zeros(1000)})[:-300],
    "half of the older kind": saved({"a": torch.zeros(1000)}, True)[:-300],
}  # fmt: skip
TENSORS: dict[str, bytes] = {
    "repeats itself": saved({"a": torch.zeros(1).expand(10**6, 10**6)}),
    "repeats itself, the older kind": saved({"a": torch.zeros(1).expand(10**6, 10**6)}, True),
    "repeats itself over gaps": saved({"a": torch.zeros(8).as_strided((10**6, 8), (0, 1))}),
    "is large in the older kind": saved({"a": torch.zeros(10)}, True).replace(struct.pack("<q", 10), struct.pack("<q", 10**12)),
    "are many of the same memory": (lambda one: saved({f"a{index}": one for index in range(3000)}))(torch.zeros(200_000)),
    "has no numbers": saved({"a": torch.zeros(10**6, 10**6, device="meta")}),
    "is sparse": saved({"a": torch.zeros(4, 4).to_sparse()}),
    "is packed": packed({"a": torch.zeros(10)}, 100 << 20),
    "has a number for a name": saved({3: torch.zeros(3)}),
    "has a name of two lines": saved({"a\nb": torch.zeros(3)}),
    "is a list's": saved([torch.zeros(3)]), "is a mapping's": saved({"a": {"b": torch.zeros(3)}}), "is a text": saved({"a": "b"}),
}  # fmt: skip


@pytest.mark.parametrize("kind", [*GARBAGE, *TENSORS])
def test_garbage_and_tensors_that_are_no_weights(tmp_path: Path, kind: str) -> None:
    (tmp_path / BIN).write_bytes({**GARBAGE, **TENSORS}[kind])
    said = refused(lambda: convert_folder(tmp_path), BIN)
    assert "weights_only" not in said and os.listdir(tmp_path) == [BIN]


def test_tensors_are_read_tied_and_turned_ones_too(tmp_path: Path) -> None:
    whole = torch.arange(12.0).view(3, 4)
    state = {
        "a": whole,
        "tied": whole,
        "turned": whole.t(),
        "row": whole[1],
        "p": torch.nn.Parameter(whole),
        "n": torch.tensor(3),
    }
    for older in (False, True):
        (tmp_path / BIN).write_bytes(saved(state, older))
        (file,) = convert_folder(tmp_path)
        found = load_file(file)
        assert found.keys() == state.keys() and all(torch.equal(found[key], state[key]) for key in state)


@pytest.mark.parametrize("index", [
    {"weight_map": {"a": "../x.bin"}}, {"weight_map": {"a": "other.bin"}}, {"weight_map": {"a": "/etc/passwd"}}, [],
    {"weight_map": 3},
    {"weight_map": {"a": ["x"]}}, {"weight_map": {}}, {"a": 1}, "[" * 1000,
])  # fmt: skip
def test_an_index_that_names_other_files(tmp_path: Path, index: Any) -> None:
    (tmp_path / BIN).write_bytes(saved({"a": torch.zeros(3)}))
    (tmp_path / BIN_INDEX).write_text(index if isinstance(index, str) else json.dumps(index))
    refused(lambda: convert_folder(tmp_path), BIN_INDEX)
    assert sorted(os.listdir(tmp_path)) == [BIN, BIN_INDEX]


def test_nothing_is_written_through_a_link(tmp_path: Path) -> None:
    mine = tmp_path / "mine"
    mine.write_text("mine")
    folder = tmp_path / "in"
    folder.mkdir()
    (folder / BIN).write_bytes(saved({"a": torch.ones(3)}))
    (folder / BIN_INDEX).write_text(json.dumps({"weight_map": {"a": BIN}}))
    for name in ("pytorch_model.safetensors", "model.safetensors.index.json"):
        (folder / name).symlink_to(mine)
    convert_folder(folder)
    assert mine.read_text() == "mine" and torch.equal(
        load_file(folder / "pytorch_model.safetensors")["a"], torch.ones(3)
    )
    assert json.loads((folder / "model.safetensors.index.json").read_text())["weight_map"] == {
        "a": "pytorch_model.safetensors"
    }
    assert len(os.listdir(folder)) == 4


def test_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / BIN)
    refused(lambda: convert_folder(tmp_path), "not a regular file")


def test_the_command_ends_with_one_line_and_two(tmp_path: Path) -> None:
    (tmp_path / BIN).write_bytes(pickle.dumps(call(tmp_path / "canary")))
    done = subprocess.run(
        [sys.executable, "-m", "policies.convert", str(tmp_path)], capture_output=True, text=True, timeout=120
    )
    assert (
        done.returncode == 2 and done.stderr.count("\n") == 1 and not done.stdout and not (tmp_path / "canary").exists()
    )
