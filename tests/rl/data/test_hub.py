"""Data sets by their name on a hub: which rows come, of which commit, and each way in which it fails, in one line."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from rl.config import SourceConfig, build_config
from rl.data.hub import rows
from rl.data.rows import load_rows
from rl.errors import ConfigError, DataError
from tests.loopback_hub import LoopbackHub, point_at, point_datasets_at, serving

NAME = "someone/gsm8k-like"
CONFIGS = b"""---
configs:
- config_name: main
  data_files:
  - {split: train, path: main/train-*}
  - {split: test, path: main/test-*}
- config_name: socratic
  data_files: [{split: train, path: socratic/*}]
---
"""


def gsm8k(count: int, start: int = 0) -> list[dict[str, Any]]:
    return [{"question": f"{i} + 1?", "answer": f"so\n#### {i + 1}"} for i in range(start, start + count)]


def parquet(values: Sequence[Mapping[str, Any]], schema: pa.Schema | None = None) -> bytes:
    buffer = io.BytesIO()
    pq.write_table(pa.Table.from_pylist([dict(row) for row in values], schema), buffer)
    return buffer.getvalue()


def jsonl(values: Sequence[Mapping[str, Any]]) -> bytes:
    return "".join(json.dumps(row) + "\n" for row in values).encode()


FILES = {
    "README.md": CONFIGS,
    "main/train-00000-of-00002.parquet": parquet(gsm8k(5)),
    "main/train-00001-of-00002.parquet": parquet(gsm8k(2, 5)),
    "main/test-00000-of-00001.parquet": parquet(gsm8k(3, 100)),
    "socratic/train-00000-of-00001.parquet": parquet(gsm8k(4, 200)),
}


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[LoopbackHub]:
    monkeypatch.chdir(tmp_path)
    with serving() as found:
        move(monkeypatch, found.url, tmp_path / "home")
        yield found


def move(
    monkeypatch: pytest.MonkeyPatch, url: str, home: Path, offline: bool = False, token: str | None = None
) -> None:
    point_at(monkeypatch, url, home, offline=offline, token=token)
    point_datasets_at(monkeypatch, url, home, offline=offline)


def line_of(name: str = NAME, *given: Any, **settings: Any) -> str:
    with pytest.raises(DataError) as caught:
        rows(name, *given, **settings)
    text = str(caught.value)
    assert "\n" not in text and name in text and len(text) < 600
    return text


def questions(found: Any) -> list[str]:
    return [row["question"] for _, row in found]


def test_rows_of_a_config_and_a_split(hub):
    sha = hub.add("datasets", NAME, FILES)
    train = rows(NAME, "main")
    assert questions(train) == [f"{i} + 1?" for i in range(7)] and len(train) == 7
    assert train.name.revision == sha and (train.config, train.split) == ("main", "train")
    assert next(iter(train))[0] == f"{NAME}@{sha[:12]} (main, train): row 1"
    for split in ("val", "test"):
        assert questions(rows(NAME, "main", split)) == ["100 + 1?", "101 + 1?", "102 + 1?"]
    assert questions(rows(NAME, "main", "train[2:4]")) == ["2 + 1?", "3 + 1?"]
    assert questions(rows(NAME, "socratic")) == [f"{i} + 1?" for i in range(200, 204)]


KINDS = {
    "jsonl": {"train.jsonl": jsonl(gsm8k(3)), "test.jsonl": jsonl(gsm8k(1))},
    "json": {"data/train.json": json.dumps(gsm8k(3)).encode()},
    "csv": {"train.csv": b"question,answer\n" + b"".join(f"{i} + 1?,{i + 1}\n".encode() for i in range(3))},
    "parquet in shards": {f"data/train-0000{i}-of-00003.parquet": parquet(gsm8k(1, i)) for i in range(3)},
}


@pytest.mark.parametrize("kind", KINDS)
def test_a_data_set_without_a_readme(hub, kind):
    hub.add("datasets", NAME, KINDS[kind])
    assert questions(rows(NAME)) == ["0 + 1?", "1 + 1?", "2 + 1?"]


def test_values_are_those_of_a_file(hub, tmp_path):
    schema = pa.schema({"question": pa.string(), "p": pa.float32(), "q": pa.float64(), "n": pa.list_(pa.int64())})
    values = [{"question": "?", "p": 0.1, "q": float("nan"), "n": [1, 2]}]
    hub.add("datasets", NAME, {"train.parquet": parquet(values, schema)})
    assert [row for _, row in rows(NAME)] == [{"question": "?", "p": 0.1, "q": None, "n": [1, 2]}]


def test_prompts_of_a_source(hub):
    sha = hub.add("datasets", NAME, FILES)
    prompts = load_rows(SourceConfig(NAME, config="main", split="test", limit=2))
    assert [prompt.reference for prompt in prompts] == ["101", "102"]
    assert [prompt.id for prompt in prompts] == ["gsm8k-like/main/test/0", "gsm8k-like/main/test/1"]
    assert prompts[0].source == "gsm8k-like" and prompts[0].solution == "<think>so</think>101"
    assert load_rows(SourceConfig(f"{NAME}@{sha}", config="main", split="test", limit=2)) == prompts


def test_a_row_that_cannot_be_used_is_named(hub):
    hub.add("datasets", NAME, {"train.jsonl": jsonl([*gsm8k(1), {"question": "?", "answer": None}])})
    with pytest.raises(DataError, match=rf"{NAME}@[0-9a-f]{{12}} \(default, train\): row 2: no reference"):
        load_rows(SourceConfig(NAME))


def picture() -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(np.full((8, 8, 3), 200, np.uint8)).save(buffer, "PNG")
    return buffer.getvalue()


def test_pictures_inside_and_beside_the_rows(hub):
    inside = [{"image": {"bytes": picture(), "path": "a.png"}, "question": "what?", "answer": "grey"}]
    hub.add("datasets", NAME, {"train.parquet": parquet(inside)})
    assert load_rows(SourceConfig(NAME))[0].image is not None
    listed = jsonl([{"file_name": "a.png", "question": "what?", "answer": "grey"}])
    hub.add("datasets", "someone/folder", {"train/a.png": picture(), "train/metadata.jsonl": listed})
    assert load_rows(SourceConfig("someone/folder"))[0].image is not None


def test_a_row_may_not_name_a_picture_of_this_machine(hub, tmp_path):
    (tmp_path / "private.png").write_bytes(picture())
    named = [{"image": str(tmp_path / "private.png"), "question": "what?", "answer": "grey"}]
    hub.add("datasets", NAME, {"train.jsonl": jsonl(named)})
    with pytest.raises(DataError, match="outside the folder of the rows"):
        load_rows(SourceConfig(NAME))


def test_revisions(hub):
    first = hub.add("datasets", NAME, {"train.jsonl": jsonl(gsm8k(1))}, "v1")
    hub.add("datasets", NAME, {"train.jsonl": jsonl(gsm8k(2))})
    assert len(rows(NAME)) == 2
    assert len(rows(NAME, revision="v1")) == len(rows(f"{NAME}@v1")) == len(rows(f"{NAME}@{first}")) == 1


def test_prepared_rows_are_there_without_a_network_and_of_the_commit_asked_for(hub, tmp_path, monkeypatch):
    first = hub.add("datasets", NAME, FILES, "v1")
    second = hub.add("datasets", NAME, {**FILES, "socratic/train-00000-of-00001.parquet": parquet(gsm8k(9))})
    for revision in ("main", "v1"):
        rows(NAME, "main", revision=revision)
    rows(NAME, "socratic")
    move(monkeypatch, "http://127.0.0.1:9", tmp_path / "home", offline=True)
    assert rows(NAME, "main").name.revision == second
    assert rows(NAME, "main", "val", "v1").name.revision == rows(f"{NAME}@{first}", "main").name.revision == first
    assert "has several configs" in line_of(NAME)
    assert "no config 'mian'" in line_of(NAME, "mian")
    assert len(rows(f"{NAME}@{first}")) == 7  # of that commit one config is there
    assert f"hf download {NAME} --repo-type dataset --revision {'0' * 40}" in line_of(f"{NAME}@{'0' * 40}")


def test_a_downloaded_copy_is_enough_without_a_network(hub, tmp_path, monkeypatch):
    from huggingface_hub import snapshot_download

    hub.add("datasets", NAME, FILES)
    snapshot_download(NAME, repo_type="dataset")
    for offline in (True, False):
        move(monkeypatch, "http://127.0.0.1:9", tmp_path / "home", offline=offline)
        assert questions(rows(NAME, "socratic")) == [f"{i} + 1?" for i in range(200, 204)]
        assert "one of ['main', 'socratic']" in line_of(NAME)


def test_no_network(hub, tmp_path, monkeypatch):
    move(monkeypatch, "http://127.0.0.1:9", tmp_path / "home")
    text = line_of("openai/gsm8k", "main")
    assert "`hf download openai/gsm8k --repo-type dataset`" in text and "127.0.0.1:9 cannot be reached" in text
    move(monkeypatch, "http://127.0.0.1:9", tmp_path / "home", offline=True)
    assert "HF_HUB_OFFLINE is set" in line_of("openai/gsm8k", "main")


def test_configs_splits_and_revisions_that_are_not_there(hub):
    hub.add("datasets", NAME, FILES)
    assert "has several configs; give config=NAME, one of ['main', 'socratic']" in line_of(NAME)
    assert "no config 'mian'; give config=NAME, one of ['main', 'socratic']" in line_of(NAME, "mian")
    assert "no split 'tset'; it has: train, test" in line_of(NAME, "main", "tset")
    assert "no split 'val'; it has: train" in line_of(NAME, "socratic", "val")
    assert "expected a split's name" in line_of(NAME, "main", "train[")
    assert "no revision 'v9'" in line_of(NAME, "main", revision="v9")
    assert "no revision" in line_of(f"{NAME}@{'0' * 40}", "main")


def test_one_that_is_not_there_is_gated_or_is_private(hub, tmp_path, monkeypatch):
    assert "no such dataset on http://127.0.0.1" in line_of("someone/nowhere")
    hub.add("datasets", "someone/gated", FILES, gated=True)
    hub.add("datasets", "someone/private", FILES, private=True)
    assert "set HF_TOKEN" in line_of("someone/gated", "main")
    assert "no token is set" in line_of("someone/private", "main")
    move(monkeypatch, hub.url, tmp_path / "home", token="hf_of_somebody_else")
    assert "has no access" in line_of("someone/gated", "main")
    move(monkeypatch, hub.url, tmp_path / "home", token=hub.token)
    assert len(rows("someone/gated", "main")) == len(rows("someone/private", "main")) == 7


HOSTILE = {
    "a script": ({"gsm8k-like.py": b"raise SystemExit('code ran')", "train.jsonl": jsonl(gsm8k(1))}, "scripts"),
    "a pickle": ({"train.pkl": b"\x80\x04."}, "no files of rows"),
    "no rows": ({"README.md": b"# nothing"}, "no files of rows"),
    "another kind": ({"train.h5": b"hdf"}, "files of kind hdf5"),
    "text that is no JSON": ({"train.jsonl": b"not json\n"}, "JSON"),
    "a broken table": ({"train.parquet": b"PAR1 and no more"}, "Parquet magic bytes"),
}  # fmt: skip


@pytest.mark.parametrize("kind", HOSTILE)
def test_a_repository_that_is_no_data_set_is_one_line(hub, kind):
    files, said = HOSTILE[kind]
    hub.add("datasets", NAME, files)
    assert said in line_of(NAME)


@pytest.mark.parametrize(
    "place", ["this machine", "this machine, from the cache", "the net", "another repository", "above it", "nothing"]
)
def test_a_readme_that_names_files_elsewhere_is_refused(hub, tmp_path, place):
    (tmp_path / "private.txt").write_text("a secret row")
    hub.add("datasets", "someone/other", {"private.txt": b"a secret row"})
    named = {
        "this machine": f"{tmp_path}/private.txt",
        "this machine, from the cache": f"{tmp_path}/home/hub/../../private.txt",
        "the net": f"{hub.url}/datasets/someone/other/resolve/main/private.txt",
        "another repository": "hf://datasets/someone/other/private.txt",
        "above it": "../other/private.txt",
        "nothing": "rows.txt",
    }
    readme = f"---\nconfigs: [{{config_name: a, data_files: '{named[place]}'}}]\n---\n".encode()
    hub.add("datasets", NAME, {"README.md": readme, "a.txt": b"x"})
    assert "its README names" in line_of(NAME)


def test_a_disk_that_is_full(hub, monkeypatch):
    import datasets.builder

    hub.add("datasets", NAME, {"train.jsonl": jsonl(gsm8k(1))})
    monkeypatch.setattr(datasets.builder, "has_sufficient_disk_space", lambda *_, **settings: False)
    readme = b"---\ndataset_info: {dataset_size: 1000, download_size: 1000}\n---\n"
    hub.add("datasets", NAME, {"train.jsonl": jsonl(gsm8k(1)), "README.md": readme})
    assert "is full" in line_of(NAME)


@pytest.mark.parametrize(
    "name", ["gsm8k_", "a/b/c", "https://huggingface.co/datasets/openai/gsm8k", "a b/c", "a/b.jsonl", "a/b@.."]
)
def test_a_name_that_is_none(hub, name):
    assert "a name on a hub is ORG/NAME" in line_of(name)
    assert not hub.requests


def test_a_folder_goes_before_a_name(hub, tmp_path):
    hub.add("datasets", NAME, FILES)
    (tmp_path / NAME).mkdir(parents=True)
    with pytest.raises(DataError, match="neither state.json nor dataset_dict.json"):
        load_rows(SourceConfig(NAME))
    assert not hub.requests


def test_settings_of_a_hub_are_not_for_files(tmp_path):
    (tmp_path / "a.jsonl").write_bytes(jsonl(gsm8k(1)))
    file = SourceConfig(str(tmp_path / "a.jsonl"))
    for source in (replace(file, config="main"), replace(file, revision="main")):
        with pytest.raises(ConfigError, match="of a data set on a hub alone"):
            load_rows(source)
    with pytest.raises(ConfigError, match="a file is taken whole"):
        load_rows(SourceConfig(str(tmp_path / "a.jsonl"), split="test"))
    with pytest.raises(ConfigError, match="allowed for sudoku4x4: train, val"):
        build_config([("test", {"data": {"train": [{"source": "sudoku4x4", "split": "test"}]}})])


def test_rows_stay_on_disk(hub):
    """100,000 rows are a table that is mapped: opening them again costs no memory for their texts."""
    hub.add("datasets", NAME, {"train.parquet": parquet([{"question": "x" * 1000 + str(i)} for i in range(20_000)])})
    rows(NAME)
    before = pa.total_allocated_bytes()
    found = rows(NAME)
    assert pa.total_allocated_bytes() - before < 1_000_000 and found.table.nbytes > 20_000_000
    assert sum(1 for _ in found) == 20_000
