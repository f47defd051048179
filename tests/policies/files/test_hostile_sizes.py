"""Small files of a stranger's that ask for much work: each is read once, whatever it names."""

from __future__ import annotations

import json
import os
import struct
from pathlib import Path

import pytest
import torch

from policies.files import shards
from policies.files.checkpoints import check_policy
from policies.files.shards import Shard
from policies.files.strict_json import parse_json
from policies.network.transformer import TransformerConfig
from tests.policies.files.hostile import edit, refused, tiny

MANY = 200_000  # where each took a look at all of them, hours


def whole(file: Path) -> tuple[dict, bytes]:
    content = file.read_bytes()
    end = 8 + struct.unpack("<Q", content[:8])[0]
    return json.loads(content[8:end]), content[end:]


def write(file: Path, header: dict, body: bytes) -> None:
    text = json.dumps(header).encode()
    file.write_bytes(struct.pack("<Q", len(text)) + text + body)


@pytest.mark.parametrize("twice", [0, MANY // 2, MANY - 1])
def test_a_name_that_stands_twice_among_many(twice: int) -> None:
    names = [*range(MANY), twice]
    text = "{" + ",".join(f'"n{number}":0' for number in names) + "}"
    with pytest.raises(ValueError, match=f"'n{twice}' stands twice in one object"):
        parse_json(text.encode())


@pytest.mark.parametrize("is_sound", [True, False])
def test_a_file_with_many_buffers_is_opened_a_few_times(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, is_sound: bool
) -> None:
    from policies.files.checkpoints import own_sizes

    folder = tiny(tmp_path)
    sizes: TransformerConfig = own_sizes(folder)
    rotated = sizes.rotary_dim or sizes.head_size
    rates = 1.0 / sizes.rope_theta ** (torch.arange(0, rotated, 2, dtype=torch.float32) / rotated)
    data = rates.numpy().tobytes()
    header, body = whole(folder / "model.safetensors")
    count = 300
    for number in range(count):
        begin = len(body) + number * len(data)
        entry = {"dtype": "F32", "shape": [len(rates)], "data_offsets": [begin, begin + len(data)]}
        header[f"layer{number}.rotary_emb.inv_freq"] = entry
    last = data if is_sound else bytes(len(data))
    write(folder / "model.safetensors", header, body + data * (count - 1) + last)
    opened = []

    class Counted(Shard):
        def __init__(self, file: Path) -> None:
            opened.append(file)
            super().__init__(file)

    monkeypatch.setattr(shards, "Shard", Counted)
    if is_sound:
        check_policy(folder)
    else:
        refused(lambda: check_policy(folder), f"layer{count - 1}.rotary_emb.inv_freq", "other numbers than rope_theta")
    assert len(opened) < 10


@pytest.mark.parametrize("make", [os.symlink, os.link])
def test_an_index_with_two_names_of_one_file(tmp_path: Path, make) -> None:
    folder = tiny(tmp_path)
    (folder / "model.safetensors").rename(folder / "a.safetensors")
    for name in ("b.safetensors", "c.safetensors"):
        make(folder / "a.safetensors", folder / name)
    names = {"x": "a.safetensors", "y": "b.safetensors", "z": "c.safetensors"}
    edit(folder, "model.safetensors.index.json", weight_map=names)
    refused(lambda: check_policy(folder), "model.safetensors.index.json", "two of its names are one file")
