"""Files of a policy that are there and cannot be read, and settings of an image tokenizer that are none: one line each."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from policies.files import strict_json
from policies.files.adapters import read_adapter
from policies.files.checkpoints import check_policy
from policies.files.folders import find_policy
from rl.errors import PolicyError

NO_NAME = "a" * 300  # longer than a file's name may be
FILES = ("config.json", "generation_config.json", "tokenizer_config.json", "model.safetensors.index.json")
DEEP = "[" * 200_000


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    copied = tmp_path / "policy"
    shutil.copytree(find_policy("tiny"), copied)
    return copied


def refuse(folder: Path, said: str) -> None:
    with pytest.raises(PolicyError, match=said) as caught:
        check_policy(folder)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", [*FILES, "chat_template.jinja", "image_tokenizer/config.json"])
def test_a_file_that_fails_when_it_is_read(folder: Path, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    if not (folder / name).exists():
        (folder / name).write_text("{}")
    opened = strict_json.open_regular
    # Of this file, every read is an input/output error.
    monkeypatch.setattr(
        strict_json, "open_regular", lambda file: opened(Path("/proc/self/mem") if file == folder / name else file)
    )
    refuse(folder, f"{name}: cannot be read: Input/output error")


def test_weights_that_fail_when_they_are_read(folder: Path) -> None:
    (folder / "model.safetensors").unlink()
    (folder / "model.safetensors").symlink_to("/proc/self/mem")
    refuse(folder, "model.safetensors: cannot be read: Input/output error")


@pytest.mark.parametrize("name", [*FILES, "image_tokenizer/config.json"])
def test_json_that_is_nested_too_deeply(folder: Path, name: str) -> None:
    (folder / name).write_text(DEEP)
    refuse(folder, name)


@pytest.mark.parametrize("content", [
    "", "{", "[]", "[1, 2]", '"lfq"', "3", "null", '{"model_type": null}', '{"model_type": ["lfq"]}', '{"model_type": 3}',
    '{"model_type": "lfq", "codes": 3}', '{"model_type": "lfq", "image_size": "48"}', '{"model_type": "lfq", "bits": null}',
    '{"model_type": "lfq", "image_size": [48]}', '{"model_type": "lfq", "width": "wide"}',
    '{"model_type": "lfq", "patch_size": 0}',
    '{"_class_name": "MAGVITv2", "image_size": "256"}', '{"_class_name": "MAGVITv2", "image_size": null}',
])  # fmt: skip
def test_settings_of_an_image_tokenizer(folder: Path, content: str) -> None:
    (folder / "image_tokenizer" / "config.json").write_text(content)
    refuse(folder, "config.json|image tokenizer")


@pytest.mark.parametrize("path", [NO_NAME, f"{NO_NAME}/x", "a/" * 3000, "a\0b", "a\0b/c"])
def test_a_path_that_no_folder_can_have(path: str) -> None:
    with pytest.raises(PolicyError, match="no such folder"):
        find_policy(path)
    with pytest.raises(PolicyError, match="not a PEFT adapter"):
        read_adapter(Path(path))
