"""No tensor of a file is dropped unless it is provably redundant, and a refusal says the right reason."""

from __future__ import annotations

import json
import struct
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from policies.files.checkpoints import INDEX, SINGLE, check_policy, load_policy
from rl.errors import PolicyError
from tests.policies.originals import CONFIGS, write_folder

IDS = torch.arange(20, 32)[None]
TIED = {
    "llada": ("weight_tying", "model.transformer.ff_out.weight", "model.transformer.wte.weight"),
    "mmada": ("weight_tying", "model.transformer.ff_out.weight", "model.transformer.wte.weight"),
    "dream": ("tie_word_embeddings", "lm_head.weight", "model.embed_tokens.weight"),
    "sdar": ("tie_word_embeddings", "lm_head.weight", "model.embed_tokens.weight"),
    "llada2": ("tie_word_embeddings", "lm_head.weight", "model.word_embeddings.weight"),
}


def folder_with(folder: Path, name: str, change: Callable[[dict[str, Tensor]], object], **settings: object) -> Path:
    """A small checkpoint with changed tensors and settings."""
    write_folder(name, folder)
    weights = load_file(folder / SINGLE)
    change(weights)
    save_file({key: value.clone().contiguous() for key, value in weights.items()}, folder / SINGLE)
    (folder / "config.json").write_text(json.dumps({**CONFIGS[name], **settings}))
    return folder


def refused(folder: Path) -> str:
    lines = []
    for look in (check_policy, load_policy):
        with pytest.raises(PolicyError) as caught:
            look(folder)
        lines.append(str(caught.value))
    assert lines[0] == lines[1] and "\n" not in lines[0] and str(folder) in lines[0]
    return lines[0]


@pytest.mark.parametrize("name", TIED)
def test_a_tied_head_is_taken_only_where_it_is_the_embedding(tmp_path: Path, name: str) -> None:
    setting, head, table = TIED[name]
    without = folder_with(tmp_path / "without", name, lambda w: w.pop(head), **{setting: True})
    equal = folder_with(tmp_path / "equal", name, lambda w: w.update({head: w[table].clone()}), **{setting: True})
    logits = load_policy(without).logits(IDS)
    assert torch.equal(load_policy(equal).logits(IDS), logits)
    check_policy(equal)
    half = folder_with(tmp_path / "half", name, lambda w: _halve(w, head, table), **{setting: True})
    check_policy(half)
    load_policy(equal).save(tmp_path / "saved")
    assert head not in load_file(tmp_path / "saved" / SINGLE)
    assert torch.equal(load_policy(tmp_path / "saved").logits(IDS), logits)


def _halve(weights: dict[str, Tensor], head: str, table: str) -> None:
    """The same numbers in two precisions."""
    weights[table] = weights[table].bfloat16()
    weights[head] = weights[table].float()


OTHER_HEADS: dict[str, Callable[[Tensor], Tensor]] = {
    "its own": lambda table: torch.randn(table.shape),
    "one number": lambda table: table.clone().index_put_((torch.tensor(319), torch.tensor(63)), torch.tensor(9.0)),
    "of another precision": lambda table: table.bfloat16(),
    "a row more": lambda table: torch.cat([table, table[:1]]),
    "a row less": lambda table: table[:-1],
    "turned": lambda table: table.T,
    "flat": lambda table: table.flatten(),
    "negative": lambda table: -table,
    "not a number": lambda table: torch.full_like(table, float("nan")),
}


@pytest.mark.parametrize("kind", OTHER_HEADS)
@pytest.mark.parametrize("name", ["llada", "dream", "llada2"])
def test_another_head_under_a_tied_config_is_refused(tmp_path: Path, name: str, kind: str) -> None:
    setting, head, table = TIED[name]
    folder = folder_with(
        tmp_path / "folder", name, lambda w: w.update({head: OTHER_HEADS[kind](w[table])}), **{setting: True}
    )
    told = refused(folder)
    assert f"{head} differs from {table}" in told and "set it to false if the head is its own" in told


@pytest.mark.parametrize("name", TIED)
def test_an_untied_config_needs_a_head(tmp_path: Path, name: str) -> None:
    setting, head, _ = TIED[name]
    folder = folder_with(tmp_path / "folder", name, lambda w: w.pop(head), **{setting: False})
    assert f"1 missing tensors, the first is {head}" in refused(folder)


def rates(theta: float, size: int = 16) -> Tensor:
    return 1.0 / theta ** (torch.arange(0, size, 2, dtype=torch.float32) / size)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("key", ["model.rotary_emb.inv_freq", "model.layers.0.self_attn.rotary_emb.inv_freq"])
def test_rates_of_the_rotation_are_compared(tmp_path: Path, key: str, dtype: torch.dtype) -> None:
    theta = CONFIGS["dream"]["rope_theta"]
    for right in (rates(theta), 1 / theta ** (torch.arange(0, 16, 2).double() / 16)):
        name = f"right{right.dtype}"
        check_policy(folder_with(tmp_path / name, "dream", lambda w, right=right: w.update({key: right.to(dtype)})))
    for index, wrong in enumerate(
        (rates(10_000.0), rates(theta) / 4, rates(theta, 24), rates(theta)[None], 0 * rates(theta))
    ):
        folder = folder_with(
            tmp_path / f"wrong{index}", "dream", lambda w, wrong=wrong: w.update({key: wrong.to(dtype)})
        )
        assert f"{key} holds other numbers than rope_theta" in refused(folder)


BUFFERS = {
    "model.layers.0.self_attn.bias": torch.ones(1, 1, 8, 8, dtype=torch.bool),
    "model.causal_mask": torch.ones(8, 8, dtype=torch.bool).tril(),
    "model.position_ids": torch.arange(256)[None],
    "model.layers.1.self_attn.position_ids": torch.arange(8, dtype=torch.int32),
    "num_batches_tracked": torch.tensor(3),
    "model.token_types": torch.zeros(320, dtype=torch.uint8),
    "model.levels": torch.zeros(320, dtype=torch.int8),
    "model.counts": torch.zeros(3, dtype=torch.int16),
    "model.codes": torch.zeros(3, dtype=torch.uint16),
    "model.more": torch.zeros(3, dtype=torch.uint32),
    "model.most": torch.zeros(3, dtype=torch.uint64),
}


@pytest.mark.parametrize("key", BUFFERS)
def test_a_buffer_that_is_no_weight_is_not_needed(tmp_path: Path, key: str) -> None:
    plain = write_folder("dream", tmp_path / "plain")
    folder = folder_with(tmp_path / "folder", "dream", lambda w: w.update({key: BUFFERS[key]}))
    check_policy(folder)
    assert torch.equal(load_policy(folder).logits(IDS), load_policy(plain).logits(IDS))


def raw(folder: Path, key: str, dtype: str, bits: int) -> None:
    """Gives the tensor a dtype that torch may not have, and as many bytes as that takes."""
    weights = load_file(folder / SINGLE)
    header, blob = {}, b""
    for name, value in weights.items():
        size = value.numel() * bits // 8 if name == key else 4 * value.numel()
        kind = dtype if name == key else "F32"
        header[name] = {"dtype": kind, "shape": list(value.shape), "data_offsets": [len(blob), len(blob) + size]}
        blob += bytes(size) if name == key else value.numpy().tobytes()
    text = json.dumps(header).encode()
    (folder / SINGLE).write_bytes(struct.pack("<Q", len(text)) + text + blob)


KINDS = {
    "F8_E4M3": 8, "F8_E5M2": 8, "F8_E8M0": 8, "F6_E2M3": 6, "F6_E3M2": 6, "F4": 4, "BOOL": 8, "U8": 8, "I8": 8, "I16": 16,
    "U16": 16, "I32": 32, "U32": 32, "I64": 64, "U64": 64, "C64": 64, "F128": 128,
}  # fmt: skip


@pytest.mark.parametrize("dtype", KINDS)
def test_a_weight_of_a_quantised_kind_is_named_as_such(tmp_path: Path, dtype: str) -> None:
    folder, key = write_folder("dream", tmp_path / "folder"), "model.layers.1.mlp.up_proj.weight"
    raw(folder, key, dtype, KINDS[dtype])
    told = refused(folder)
    assert f"{key} has dtype {dtype}; allowed: F64, F32, F16, BF16; quantised weights cannot be trained" in told
    assert "whole" not in told and "copy it again" not in told


def test_what_quantisers_write_is_refused(tmp_path: Path) -> None:
    key = "model.layers.0.self_attn.q_proj"

    def gptq(weights: dict[str, Tensor]) -> None:
        weights.pop(f"{key}.weight")
        weights |= {
            f"{key}.qweight": torch.zeros(8, 64, dtype=torch.int32),
            f"{key}.qzeros": torch.zeros(1, 8, dtype=torch.int32),
            f"{key}.g_idx": torch.zeros(64, dtype=torch.int32),
            f"{key}.scales": torch.ones(1, 64),
        }

    assert f"missing tensors, the first is {key}.weight" in refused(folder_with(tmp_path / "gptq", "dream", gptq))

    def scaled(weights: dict[str, Tensor]) -> None:
        weights[f"{key}.weight_scale"] = torch.ones(1)

    assert f"{key}.weight_scale has no place" in refused(folder_with(tmp_path / "scaled", "dream", scaled))

    def eights(weights: dict[str, Tensor]) -> None:
        weights[f"{key}.k_scale"] = torch.ones(1).to(torch.float8_e4m3fn)

    assert f"{key}.k_scale has no place" in refused(folder_with(tmp_path / "eights", "dream", eights))


@pytest.mark.parametrize(
    "key", ["model.layers.0.self_attn.o_proj.bias", "model.layers.2.mlp.up_proj.weight", "lm_head.bias", "score.weight"]
)
def test_a_weight_that_the_model_does_not_have_is_refused(tmp_path: Path, key: str) -> None:
    folder = folder_with(tmp_path / "folder", "dream", lambda w: w.update({key: torch.zeros(64)}))
    assert f"{key} has no place in the model of config.json" in refused(folder)


def test_a_tensor_in_two_files_is_refused(tmp_path: Path) -> None:
    folder = write_folder("dream", tmp_path / "folder")
    weights = load_file(folder / SINGLE)
    save_file(weights, folder / "a.safetensors")
    save_file({"lm_head.weight": weights["lm_head.weight"] + 1}, folder / "b.safetensors")
    (folder / INDEX).write_text(json.dumps({"weight_map": {"x": "a.safetensors", "y": "b.safetensors"}}))
    assert "lm_head.weight stands in two files" in refused(folder)


def test_a_tied_head_in_another_file_is_compared_too(tmp_path: Path) -> None:
    folder = write_folder("dream", tmp_path / "folder")
    (folder / "config.json").write_text(json.dumps({**CONFIGS["dream"], "tie_word_embeddings": True}))
    weights = load_file(folder / SINGLE)
    head = weights.pop("lm_head.weight")
    save_file(weights, folder / "b.safetensors")
    (folder / SINGLE).unlink()
    (folder / INDEX).write_text(json.dumps({"weight_map": {"x": "a.safetensors", "y": "b.safetensors"}}))
    save_file({"lm_head.weight": head}, folder / "a.safetensors")
    assert "a.safetensors: lm_head.weight differs" in refused(folder)
    save_file({"lm_head.weight": weights["model.embed_tokens.weight"]}, folder / "a.safetensors")
    check_policy(folder)
