"""Policies by their name on a hub: what is downloaded, what never is, and each way in which it fails, in one line."""

from __future__ import annotations

import json
import shutil
import time
from collections import namedtuple
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from policies import load_policy
from policies.files.checkpoints import check_policy, save_policy
from policies.files.folders import find_policy, name_of
from policies.files.parts import INDEX, Part
from rl.errors import PolicyError
from tests.loopback_hub import Files, LoopbackHub, folder_files, point_at, serving
from tests.policies.originals import write_folder

NAME = "someone/small-llada"
UNWANTED = {
    "modeling_llada.py": b"raise SystemExit('code ran')",
    "configuration_llada.py": b"raise SystemExit('code ran')",
    "pytorch_model.bin": b"\x80\x04.",
    "optimizer.pt": b"\x80\x04.",
    "README.md": b"# small",
    "onnx/model.onnx": b"onnx",
    "fp16/model.safetensors": b"not these weights",
    "original/params.json": b"{}",
    ".gitattributes": b"",
}


@pytest.fixture(scope="module")
def released(tmp_path_factory: pytest.TempPathFactory) -> Files:
    return folder_files(write_folder("llada", tmp_path_factory.mktemp("released") / "llada"))


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[LoopbackHub]:
    monkeypatch.chdir(tmp_path)
    with serving() as found:
        point_at(monkeypatch, found.url, tmp_path / "home")
        yield found


def in_shards(files: Files, folder: Path) -> Files:
    """The same policy in several files with an index."""
    here = folder / "one"
    for name, content in files.items():
        (here / name).parent.mkdir(parents=True, exist_ok=True)
        (here / name).write_bytes(content)
    save_policy(load_policy(here), folder / "many", max_shard_bytes=100_000)
    return folder_files(folder / "many")


def line_of(name: str, part: Part = Part.ALL) -> str:
    with pytest.raises(PolicyError) as caught:
        find_policy(name, part)
    text = str(caught.value)
    assert "\n" not in text and name in text and len(text) < 600
    return text


def names_in(folder: Path) -> set[str]:
    return set(folder_files(folder))


def test_the_files_of_a_policy_come_and_no_others(hub, released):
    sha = hub.add("models", NAME, {**released, **UNWANTED})
    folder = check_policy(NAME)
    assert names_in(folder) == set(released)
    assert folder.name == sha and name_of(folder) == NAME
    assert not [request for request in hub.requests for unwanted in UNWANTED if request.endswith(f"/{unwanted}")]


def test_it_is_the_policy_of_the_folder(hub, released, tmp_path):
    hub.add("models", NAME, {**released, **UNWANTED})
    policy = load_policy(NAME)
    for file, content in released.items():
        (tmp_path / "here").mkdir(exist_ok=True)
        (tmp_path / "here" / file).write_bytes(content)
    here, ids = load_policy(tmp_path / "here"), torch.arange(1, 9)[None]
    assert policy.name == NAME
    assert torch.equal(policy.logits(ids), here.logits(ids))
    policy.save(tmp_path / "saved")
    assert load_policy(tmp_path / "saved").logits(ids).equal(here.logits(ids))


def test_shards_are_those_that_the_index_names(hub, released, tmp_path):
    many = in_shards(released, tmp_path)
    hub.add("models", NAME, {**many, "model.safetensors": released["model.safetensors"], "extra.safetensors": b"x"})
    folder = check_policy(NAME)
    assert names_in(folder) == set(many) and len([name for name in many if name.endswith(".safetensors")]) > 1


@pytest.mark.parametrize("shards", [False, True])
def test_sizes_and_checks_need_no_weights(hub, released, tmp_path, shards):
    hub.add("models", NAME, in_shards(released, tmp_path) if shards else released)
    sizes = find_policy(NAME, Part.SIZES)
    assert names_in(sizes) <= {"config.json", "generation_config.json", INDEX}
    assert "tokenizer.json" in names_in(check_policy(NAME, Part.CHECKS))
    assert not hub.sent(".safetensors")
    assert check_policy(NAME) == sizes and hub.sent(".safetensors")


def test_revisions(hub, released):
    first = hub.add("models", NAME, released, "v1")
    second = hub.add("models", NAME, {**released, "generation_config.json": b"{}"})
    assert find_policy(NAME).name == second
    assert find_policy(f"{NAME}@v1").name == find_policy(f"{NAME}@{first}").name == first


def test_what_is_whole_asks_nothing_of_the_network(hub, released):
    sha = hub.add("models", NAME, released)
    find_policy(f"{NAME}@{sha}")
    asked = len(hub.requests)
    find_policy(f"{NAME}@{sha}")
    assert len(hub.requests) == asked


def test_a_filled_cache_serves_without_a_network(hub, released, tmp_path, monkeypatch):
    sha = hub.add("models", NAME, released)
    load_policy(NAME)
    point_at(monkeypatch, "http://127.0.0.1:9", tmp_path / "home", offline=True)
    assert check_policy(NAME).name == sha and check_policy(f"{NAME}@{sha}").name == sha


def test_a_cache_of_another_tool_serves_too(hub, released, tmp_path, monkeypatch):
    """Files one by one, as transformers fetches them: the client keeps no list of the repository then."""
    from huggingface_hub import hf_hub_download

    hub.add("models", NAME, released)
    for file in released:
        hf_hub_download(NAME, file)
    point_at(monkeypatch, "http://127.0.0.1:9", tmp_path / "home", offline=True)
    check_policy(NAME)


def test_half_a_cache_says_what_to_fetch(hub, released, tmp_path, monkeypatch):
    sha = hub.add("models", NAME, released)
    find_policy(NAME, Part.CHECKS)
    point_at(monkeypatch, "http://127.0.0.1:9", tmp_path / "home", offline=True)
    text = line_of(NAME)
    assert f"hf download {NAME}" in text and "HF_HUB_OFFLINE is set" in text and "HF_HOME" in text
    line_of(f"{NAME}@{sha}")


def test_no_network(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    point_at(monkeypatch, "http://127.0.0.1:9", tmp_path / "home")
    text = line_of("GSAI-ML/LLaDA-8B-Instruct@v2")
    assert "`hf download GSAI-ML/LLaDA-8B-Instruct --revision v2`" in text and "127.0.0.1:9 cannot be reached" in text


@pytest.mark.parametrize("status", [429, 500, 503])
def test_a_hub_that_is_down(hub, released, status, monkeypatch):
    import huggingface_hub.utils._http as client

    monkeypatch.setattr(client, "time", SimpleNamespace(**{**vars(time), "sleep": lambda _: None}))
    hub.add("models", NAME, released)
    hub.down = status
    text = line_of(NAME)
    assert str(status) in text or "cannot be reached" in text


def without(files: Files, *names: str) -> Files:
    return {name: content for name, content in files.items() if name not in names}


REPOSITORIES: dict[str, tuple[Callable[[Files], Files], str]] = {
    "pickles alone": (lambda files: {**without(files, "model.safetensors"), **UNWANTED}, "only pickled weights"),
    "no weights": (lambda files: without(files, "model.safetensors"), "no model.safetensors and no model.safetensors.index"),
    "no config": (lambda files: without(files, "config.json"), "no config.json in it"),
    "nothing": (lambda files: {"README.md": b"soon"}, "no config.json in it"),
    "an index of what is not there": (
        lambda files: {**files, INDEX: json.dumps({"weight_map": {"a": "model-7.safetensors"}}).encode()},
        "names model-7.safetensors, which is not in the repository",
    ),
    "an index of pickles": (
        lambda files: {**files, **UNWANTED, INDEX: json.dumps({"weight_map": {"a": "pytorch_model.bin"}}).encode()},
        "names pytorch_model.bin",
    ),
    "an index that leads out": (
        lambda files: {**files, INDEX: json.dumps({"weight_map": {"a": "../../x.safetensors"}}).encode()},
        "names files outside its folder",
    ),
}  # fmt: skip


@pytest.mark.parametrize("kind", REPOSITORIES)
def test_a_repository_that_is_no_policy(hub, released, kind):
    change, said = REPOSITORIES[kind]
    hub.add("models", NAME, change(released))
    with pytest.raises(PolicyError) as caught:
        find_policy(NAME)
    assert said in str(caught.value) and "\n" not in str(caught.value)
    assert not [
        request for request in hub.requests if request.startswith("GET /someone") and request.endswith((".bin", ".py"))
    ]


def test_one_that_is_not_there(hub):
    assert "no such model on http://127.0.0.1" in line_of("someone/nowhere")


def test_a_revision_that_is_not_there(hub, released):
    hub.add("models", NAME, released)
    assert "no revision 'v9'" in line_of(f"{NAME}@v9")
    assert "no revision" in line_of(f"{NAME}@{'0' * 40}")


def test_a_gated_one(hub, released, tmp_path, monkeypatch):
    hub.add("models", NAME, released, gated=True)
    assert "set HF_TOKEN" in line_of(NAME)
    point_at(monkeypatch, hub.url, tmp_path / "home", token="hf_of_somebody_else")
    text = line_of(NAME)
    assert "has no access" in text and "hf_of_somebody_else" not in text
    point_at(monkeypatch, hub.url, tmp_path / "home", token=hub.token)
    check_policy(NAME)


def test_a_private_one_is_as_one_that_is_not_there(hub, released, tmp_path, monkeypatch):
    hub.add("models", NAME, released, private=True)
    assert "no token is set" in line_of(NAME)
    point_at(monkeypatch, hub.url, tmp_path / "home", token=hub.token)
    check_policy(NAME)


def test_a_token_in_a_file_is_a_secret(hub, released, tmp_path, monkeypatch):
    from rl.output.secrets import redact

    hub.add("models", NAME, released, private=True)
    (tmp_path / "home").mkdir(exist_ok=True)
    (tmp_path / "home" / "token").write_text(hub.token)
    check_policy(NAME)
    assert hub.token not in redact(f"sent {hub.token}")


def test_a_token_that_no_header_carries(hub, released, tmp_path, monkeypatch):
    hub.add("models", NAME, released)
    point_at(monkeypatch, hub.url, tmp_path / "home", token="hf_two\nlines_of_it")
    text = line_of(NAME)
    assert "line break" in text and "lines_of_it" not in text


def test_a_disk_that_is_too_small(hub, released, monkeypatch):
    hub.add("models", NAME, released)
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage(10, 9, 1))
    text = line_of(NAME)
    assert "are to be downloaded" in text and "HF_HOME" in text
    assert not hub.sent(".safetensors")


def test_a_disk_that_fills_up(hub, released, monkeypatch):
    import huggingface_hub

    def full(*args: object, **settings: object) -> str:
        raise OSError(28, "No space left on device")

    hub.add("models", NAME, released)
    find_policy(NAME, Part.CHECKS)
    monkeypatch.setattr(huggingface_hub, "snapshot_download", full)
    assert "is full" in line_of(NAME)


@pytest.mark.parametrize(
    "name",
    [
        "someone/a/b", "https://huggingface.co/GSAI-ML/LLaDA-8B-Instruct", "some one/x", "someone/x--y", "someone/x.git", "/a/b",
        "someone/" + "x" * 96, "someone/x@../../etc", "someone/x@", "-x/y", "../x", "./some/x", "~/x", "someone/weights.bin",
        "tinny",
    ],
)  # fmt: skip
def test_a_name_that_is_none(hub, name):
    assert "a name on a hub is ORG/NAME" in line_of(name)
    assert not hub.requests


def test_a_folder_goes_before_a_name(hub, released, tmp_path):
    hub.add("models", NAME, released)
    here = write_folder("llada", tmp_path / "someone" / "small-llada")
    assert find_policy(NAME).samefile(here) and not hub.requests


def test_downloading_is_said_with_its_size(hub, released, capfd):
    hub.add("models", NAME, released)
    find_policy(NAME)
    said = capfd.readouterr().err
    assert f"downloading {NAME}@" in said and " GB" in said
    find_policy(NAME)
    assert "downloading" not in capfd.readouterr().err
