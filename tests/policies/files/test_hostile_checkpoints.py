"""A checkpoint that wants time, memory, or a file of the machine's is one line."""

from __future__ import annotations

import json
import os
import socket
from pathlib import Path
from typing import Any

import pytest
import torch

from policies.families.registry import family_of
from policies.files.checkpoints import check_policy, load_policy, save_policy
from policies.files.shards import Shard
from policies.files.strict_json import MAX_BYTES, parse_json
from policies.images.load import load_image_tokenizer
from rl.errors import PolicyError
from tests.policies.files.hostile import answer, edit, refused, safetensors, tensor, tiny
from tests.policies.originals import CONFIGS

HUGE = (10**6, 10**12, 10**15, 10**30, 10**400)


ODD: tuple[Any, ...] = (0, -1, -64, True, 1.5, "8", [8], {}, None)


SIZES = ("n_layers", "d_model", "n_heads", "n_kv_heads", "vocab_size", "mlp_hidden_size", "max_sequence_length")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tiny(tmp_path)


def both(folder: Path, *parts: str) -> None:
    assert refused(lambda: check_policy(folder), *parts) == refused(lambda: load_policy(folder), *parts)


@pytest.mark.parametrize("name", [*SIZES, "codebook_size", "llm_vocab_size", "new_vocab_size"])
def test_a_size_is_asked_before_anything_of_that_size_is_made(folder: Path, name: str) -> None:
    for value in (10**9, 10**12, 10**15, 10**400, -4, 1.5, "8"):
        edit(folder, "config.json", **{name: value})
        both(folder, "config.json", name)


@pytest.mark.parametrize("value", [0, -1, 1e-300, 1e300, "1e4", [1], True])
def test_a_base_of_the_rotation(folder: Path, value: object) -> None:
    edit(folder, rope_theta=value)
    both(folder, "rope_theta")


@pytest.mark.parametrize(("changes", "said"), [
    ({"n_layers": 999}, "999 layers, but the weights are"), ({"n_layers": 9999}, "must be at most 1000"),
    ({"d_model": 1 << 24, "n_heads": 1}, "shape"), ({"vocab_size": 1 << 24}, "shape"),
    ({"d_model": 10**12}, "d_model"), ({"d_model": -64}, "d_model"), ({"n_heads": 0}, "n_heads"), ({"n_heads": -4}, "n_heads"),
    ({"max_sequence_length": 10**12}, "max_sequence_length"), ({"vocab_size": 10**15, "new_vocab_size": 10**15}, "vocab_size"),
    ({"mlp_hidden_size": 1 << 22}, "shape"), ({"model_type": ["mmada"]}, "model_type"),
    ({"model_type": "x" * 5000}, "model_type"),
])  # fmt: skip
def test_a_model_that_the_files_do_not_hold_takes_no_memory(folder: Path, changes: dict[str, Any], said: str) -> None:
    edit(folder, **changes)
    both(folder, said)


@pytest.mark.parametrize("name", ["llada", "dream", "sdar", "llada2", "mmada"])
def test_every_number_of_every_family_has_bounds(name: str) -> None:
    """No value of a setting gives a size that is not a whole number of a model's order, or another error."""
    config = CONFIGS[name]
    family = family_of(config["model_type"])
    for key in config:
        for value in (*HUGE, *ODD):
            try:
                sizes = family.sizes({**config, key: value})
            except PolicyError as error:
                assert "\n" not in str(error) and len(str(error)) < 600
                continue
            assert 1 <= sizes.d_model <= 1 << 24 and 1 <= sizes.n_layers <= 1000 and 1 <= sizes.n_heads <= 1 << 14
            assert (
                1 <= sizes.vocab_size <= 1 << 24 and 1 <= sizes.max_sequence_length <= 1 << 24 and sizes.rope_theta >= 1
            )
            assert 1 <= sizes.mlp_hidden_size <= 1 << 34


DEEP = 100_000


WRONG_JSON = {
    "nested lists": "[" * DEEP + "]" * DEEP,
    "nested objects": '{"a":' * DEEP + "1" + "}" * DEEP,
    "a little too deep": '{"a":' + "[" * 60 + "]" * 60 + "}",
    "cut nesting": "[" * DEEP,
    "not UTF-8": b'{"a": "\xff\xfe"}',
    "UTF-16": '{"a": 1}'.encode("utf-16"),
    "NaN": '{"rope_theta": NaN}',
    "Infinity": '{"rope_theta": Infinity}',
    "minus Infinity": '{"rope_theta": -Infinity}',
    "infinite as a float": '{"rope_theta": 1e999}',
    "a name twice": '{"d_model": 64, "d_model": 128}',
    "a name twice within": '{"a": [{"b": 1, "b": 1}]}',
    "too many digits": '{"a": ' + "9" * 5000 + "}",
    "nothing": "",
    "a null byte": "\0",
    "a text": '"config"',
    "two": "{} {}",
}


JSON_FILES = (
    "config.json", "generation_config.json", "tokenizer_config.json", "special_tokens_map.json", "model.safetensors.index.json",
    "image_tokenizer/config.json",
)  # fmt: skip


def as_bytes(kind: str) -> bytes:
    text = WRONG_JSON[kind]
    return text if isinstance(text, bytes) else text.encode()


@pytest.mark.parametrize("kind", [kind for kind in WRONG_JSON if kind != "a text"])
def test_json_that_is_none_or_not_meant(folder: Path, kind: str) -> None:
    with pytest.raises(ValueError) as caught:  # noqa: PT011 - any one line
        parse_json(as_bytes(kind))
    assert "\n" not in str(caught.value) and len(str(caught.value)) < 300
    (folder / "config.json").write_bytes(as_bytes(kind))
    both(folder, "config.json")


@pytest.mark.parametrize("name", JSON_FILES)
def test_every_file_of_json_is_read_so(folder: Path, name: str) -> None:
    for kind in ("nested lists", "not UTF-8", "NaN", "a name twice"):
        (folder / name).write_bytes(as_bytes(kind))
        refused(lambda: check_policy(folder), name)


def test_a_file_that_is_too_large_is_not_read(folder: Path) -> None:
    for name in ("config.json", "chat_template.jinja", "tokenizer.json"):
        size = (folder / name).stat().st_size
        os.truncate(folder / name, 1 << 40)  # without room on the disk
        both(folder, name, "too large")
        os.truncate(folder / name, size)


def test_numbers_and_depth_as_configurations_have_them() -> None:
    assert parse_json(b'{"a": [1, 2.5, -3e2, null, true, "x"], "b": {"c": [[]]}}')["a"][2] == -300.0
    assert parse_json(b"1000000000000000019884624838656") == 1000000000000000019884624838656
    with pytest.raises(ValueError, match="stands twice"):
        parse_json(b'{"a": 1, "a": 2}')


HEADERS: dict[str, tuple[Any, int]] = {
    "overlap": ({"a": tensor(0, 16), "b": tensor(8, 24)}, 24),
    "the same bytes": ({"a": tensor(0, 16), "b": tensor(0, 16)}, 16),
    "one inside another": ({"a": tensor(0, 24), "b": tensor(8, 16)}, 24),
    "a hole": ({"a": tensor(0, 8), "b": tensor(16, 24)}, 24),
    "a hole first": ({"a": tensor(8, 16)}, 16),
    "a tail": ({"a": tensor(0, 8)}, 16),
    "backwards": ({"a": {**tensor(0, 8), "data_offsets": [8, 0]}}, 8),
    "negative": ({"a": {**tensor(0, 8), "data_offsets": [-8, 0]}}, 8),
    "shape of Infinity": (b'{"a": {"dtype": "F32", "shape": [Infinity], "data_offsets": [0, 8]}}', 8),
    "shape of NaN": (b'{"a": {"dtype": "F32", "shape": [NaN], "data_offsets": [0, 8]}}', 8),
    "shape of 1e999": (b'{"a": {"dtype": "F32", "shape": [1e999], "data_offsets": [0, 8]}}', 8),
    "shape of floats": ({"a": tensor(0, 8, [2.0])}, 8),
    "shape of texts": ({"a": tensor(0, 8, ["2"])}, 8),
    "shape of truth": ({"a": tensor(0, 4, [True])}, 4),
    "negative sides": ({"a": tensor(0, 8, [-2, -1])}, 8),
    "a huge side": ({"a": tensor(0, 0, [10**30, 0])}, 0),
    "many sides": ({"a": tensor(0, 8, [1] * 50_000 + [2])}, 8),
    "huge offsets": ({"a": {**tensor(0, 8), "data_offsets": [0, 10**40]}}, 8),
    "three offsets": ({"a": {**tensor(0, 8), "data_offsets": [0, 4, 8]}}, 8),
    "another shape": ({"a": tensor(0, 8, [3])}, 8),
    "integers of another size": ({"a": tensor(0, 8, [2], "U8")}, 8),
    "no dtype": ({"a": {"shape": [2], "data_offsets": [0, 8]}}, 8),
    "a dtype with a line break": ({"a": tensor(0, 8, [2], "F\n32")}, 8),
    "a dtype that is a list": ({"a": tensor(0, 8, [2], ["F32"])}, 8),
    "an entry that is a list": ({"a": [1]}, 0),
    "a list": ([1], 0),
    "a name twice": (b'{"a": {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}, "a": {}}', 8),
    "nested": (b'{"a": ' + b"[" * DEEP + b"]" * DEEP + b"}", 0),
    "a name with a line break": ({"a\nb": tensor(0, 8)}, 8),
    "a name that is no text": (b'{"\\ud800": {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}}', 8),
    "a long name": ({"a" * 10_000: tensor(0, 8)}, 8),
    "not UTF-8": (b'{"\xff": 1}', 0),
}


@pytest.mark.parametrize("kind", HEADERS)
def test_a_header_that_is_not_the_formats(tmp_path: Path, kind: str) -> None:
    safetensors(tmp_path / "a.safetensors", *HEADERS[kind])
    refused(lambda: Shard(tmp_path / "a.safetensors"), "a.safetensors: not a whole safetensors file")


def test_headers_as_the_format_has_them(tmp_path: Path) -> None:
    file = tmp_path / "a.safetensors"
    safetensors(
        file, {"b": tensor(8, 24), "a": tensor(0, 8), "none": tensor(24, 24), "__metadata__": {"format": "pt"}}, 24
    )
    with Shard(file) as shard:
        assert shard.entries["a"].end == 8 and shard.entries["none"].shape == (0,)
    safetensors(file, {}, 0)
    with Shard(file) as shard:
        assert not shard.entries


def test_a_header_that_claims_more_than_a_header_has(tmp_path: Path) -> None:
    for length in (0, 1, MAX_BYTES + 1, 1 << 60, (1 << 64) - 1):
        with (tmp_path / "a.safetensors").open("wb") as file:
            file.write(length.to_bytes(8, "little"))
            file.truncate(1 << 40)
        refused(lambda: Shard(tmp_path / "a.safetensors"), "a.safetensors")


def test_an_index_names_files_of_its_folder_alone(folder: Path) -> None:
    index = folder / "model.safetensors.index.json"
    names = (
        "../x.safetensors",
        "/etc/passwd",
        "..",
        "a/b",
        "a\0b",
        "a\nb",
        "\ud800",
        "x" * 300,
        "",
        ".",
        3,
        None,
        ["x"],
        {},
    )
    for name in names:
        index.write_text(json.dumps({"weight_map": {"a": name}}))
        both(folder, str(folder))
    for content in ('{"weight_map": {}}', '{"weight_map": []}', "{}", '{"weight_map": "x"}'):
        index.write_text(content)
        both(folder, "index.json")


# ---- image tokenizers


@pytest.mark.parametrize(("name", "value"), [
    ("bits", 10**9), ("bits", 64), ("bits", 0), ("width", 10**9), ("width", 0), ("width", -8), ("image_size", 10**12),
    ("image_size", 0), ("patch_size", 0), ("patch_size", 10**6), ("width", 8.0), ("bits", True), ("bits", [10]), ("width", "64"),
])  # fmt: skip
def test_sizes_of_our_image_tokenizer(folder: Path, name: str, value: object) -> None:
    edit(folder, "image_tokenizer/config.json", **{name: value})
    refused(lambda: load_image_tokenizer(folder / "image_tokenizer"), "config.json", name)


@pytest.mark.parametrize("changes", [
    {"bits": 60}, {"channels": 10**9}, {"channels": 0}, {"image_size": 1 << 40}, {"image_size": -512}, {"up_blocks": [10**6] * 5},
    {"down_multipliers": [1] * 1000}, {"down_multipliers": []}, {"down_multipliers": 3}, {"down_multipliers": ["1"]},
    {"down_blocks": [-1] * 5}, {"up_multipliers": [[1]] * 5}, {"bits": [13]}, {"channels": None}, {"channels": 33},
])  # fmt: skip
def test_sizes_of_magvit(tmp_path: Path, changes: dict[str, Any]) -> None:
    (tmp_path / "config.json").write_text(json.dumps({"_class_name": "MAGVITv2", **changes}))
    safetensors(tmp_path / "pytorch_model.safetensors", {})
    for device in ("meta", "cpu"):
        refused(lambda device=device: load_image_tokenizer(tmp_path, device), "config.json", next(iter(changes)))


# ---- links, pipes and devices


@pytest.fixture
def secret(tmp_path: Path) -> Path:
    file = tmp_path / "home" / "secret.json"
    file.parent.mkdir()
    file.write_text('{"token": "canary-4711"}')
    return file


TEXTS = ("config.json", "generation_config.json", "tokenizer_config.json", "tokenizer.json", "chat_template.jinja")


@pytest.mark.parametrize("name", [*TEXTS, "model.safetensors.index.json", "image_tokenizer/config.json"])
def test_no_text_is_read_through_a_link_out_of_the_folder(folder: Path, secret: Path, name: str) -> None:
    (folder / name).unlink(missing_ok=True)
    for target in (secret, Path("/proc/self/environ"), Path(os.path.relpath(secret, (folder / name).parent))):
        (folder / name).symlink_to(target)
        said = refused(lambda: check_policy(folder), name, "link that leads out of")
        assert "canary" not in said
        (folder / name).unlink()


def test_templates_by_name_are_not_read_through_a_linked_folder(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "home").mkdir()
    (tmp_path / "home" / "default.jinja").write_text("canary")
    (folder / "additional_chat_templates").symlink_to(tmp_path / "home")
    refused(lambda: check_policy(folder), "default.jinja", "link that leads out of")


@pytest.mark.parametrize(
    "name", [*TEXTS, "model.safetensors", "image_tokenizer/config.json", "image_tokenizer/model.safetensors"]
)
def test_what_is_no_regular_file_is_not_opened(folder: Path, name: str) -> None:
    for make in (
        os.mkfifo,
        _socket,
        os.mkdir,
        lambda path: os.symlink("/dev/zero", path),
        lambda path: os.symlink(path, path),
    ):
        (folder / name).unlink(missing_ok=True)
        make(folder / name)
        said = answer(lambda: check_policy(folder))
        assert said is not None or name in ("generation_config.json", "tokenizer_config.json")  # they need not be there
        (folder / name).rmdir() if (folder / name).is_dir() else (folder / name).unlink()


def _socket(path: Path) -> None:
    folder = os.open(path.parent, os.O_DIRECTORY)
    with socket.socket(socket.AF_UNIX) as made:
        made.bind(f"/proc/self/fd/{folder}/{path.name}")  # a socket's name is short
    os.close(folder)


def test_a_snapshot_of_the_hubs_cache_is_read_and_saved(folder: Path, tmp_path: Path) -> None:
    """Its files are links to blobs beside it; so is an image tokenizer that a user linked."""
    repository = tmp_path / "models--a--b"
    snapshot = repository / "snapshots" / "0123"
    for file in sorted(folder.rglob("*")):
        if file.is_file():
            blob, link = repository / "blobs" / str(len(file.name)) / file.name, snapshot / file.relative_to(folder)
            for path in (blob, link):
                path.parent.mkdir(parents=True, exist_ok=True)
            blob = blob.with_name(f"{file.parent.name}-{file.name}")
            blob.write_bytes(file.read_bytes())
            link.symlink_to(os.path.relpath(blob, link.parent))
    check_policy(snapshot)
    policy = load_policy(snapshot)
    save_policy(policy, tmp_path / "saved")
    again = load_policy(tmp_path / "saved")
    ids = torch.arange(20, 30)[None]
    assert torch.equal(policy.logits(ids), again.logits(ids))
    assert (tmp_path / "saved" / "config.json").is_file() and not (tmp_path / "saved" / "config.json").is_symlink()


def test_a_copy_of_a_policy_has_nothing_from_outside_its_folder(folder: Path, secret: Path, tmp_path: Path) -> None:
    from cluster.model.policy_folder import write_policy

    (folder / "own.json").write_text("{}")
    (folder / "inner.json").symlink_to("own.json")
    (folder / "image_tokenizer" / "leak.json").symlink_to(secret)
    (folder / "additional_chat_templates").symlink_to(secret.parent)
    (folder / "home").symlink_to(secret.parent)
    os.mkfifo(folder / "pipe.json")
    for name in ("notes.json", "README.txt", "code.py", "vocab.model"):
        (folder / name).symlink_to(secret)
    policy = load_policy(folder)
    save_policy(policy, tmp_path / "saved")
    write_policy(folder, tmp_path / "exported", None)
    for copy in (tmp_path / "saved", tmp_path / "exported"):
        check_policy(copy)
        assert (copy / "inner.json").read_text() == "{}"
        for file in copy.rglob("*"):
            assert not file.is_symlink() and (file.is_dir() or b"canary" not in file.read_bytes())
            assert file.name not in (
                "notes.json",
                "README.txt",
                "code.py",
                "vocab.model",
                "leak.json",
                "pipe.json",
                "home",
            )
