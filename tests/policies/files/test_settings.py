"""config.json as the original code reads it, or one line: numbers, ids, rotary positions, and what is left out."""

from __future__ import annotations

import copy
import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import Qwen3Config

from policies.families.registry import family_of
from policies.files.checkpoints import check_policy, load_policy
from policies.files.folders import read_config
from policies.network.transformer import TransformerConfig, rope_tables
from rewards.pictures.torchvision_ops import ensure_torchvision_ops
from rl.errors import PolicyError
from tests.policies.originals import CONFIGS, write_folder
from tests.toys import toy_folder

QWEN = ("dream", "sdar", "llada2")
GONE = "(absent)"


def changed(name: str, **changes: Any) -> dict[str, Any]:
    config = {**copy.deepcopy(CONFIGS[name]), **changes}
    return {key: value for key, value in config.items() if not (isinstance(value, str) and value == GONE)}


def sizes(name: str, **changes: Any) -> TransformerConfig:
    config = changed(name, **changes)
    return family_of(config["model_type"]).sizes(config)


# What each original's configuration file has where config.json does not: released configuration_llada.py,
# configuration_dream.py, configuration_sdar.py and configuration_llada2_moe.py.
DEFAULTS: list[tuple[str, str, str, object]] = [
    ("llada", "rope_theta", "rope_theta", 10_000.0),
    ("llada", "rms_norm_eps", "rms_norm_eps", 1e-5),
    ("llada", "max_sequence_length", "max_sequence_length", 1024),
    ("llada", "mlp_hidden_size", "mlp_hidden_size", 4 * 64),
    ("llada", "n_kv_heads", "n_kv_heads", 4),
    ("llada", "embedding_size", "vocab_size", 320),
    ("llada", "rope_full_precision", "rotary_float32", True),
    ("llada", "include_qkv_bias", "qkv_bias", False),
    ("dream", "rope_theta", "rope_theta", 10_000.0),
    ("dream", "rms_norm_eps", "rms_norm_eps", 1e-6),
    ("dream", "max_position_embeddings", "max_sequence_length", 32_768),
    ("dream", "num_key_value_heads", "n_kv_heads", 32),
    ("dream", "tie_word_embeddings", "tied_head", False),
    ("sdar", "rope_theta", "rope_theta", 10_000.0),
    ("sdar", "rms_norm_eps", "rms_norm_eps", 1e-6),
    ("sdar", "max_position_embeddings", "max_sequence_length", 32_768),
    ("sdar", "num_key_value_heads", "n_kv_heads", 32),
    ("sdar", "head_dim", "head_dim", 128),
    ("sdar", "attention_bias", "qkv_bias", False),
    ("sdar", "tie_word_embeddings", "tied_head", False),
    ("llada2", "rope_theta", "rope_theta", 10_000.0),
    ("llada2", "rms_norm_eps", "rms_norm_eps", 1e-5),
    ("llada2", "max_position_embeddings", "max_sequence_length", 16_384),
    ("llada2", "partial_rotary_factor", "rotary_dim", 12),
    ("llada2", "head_dim", "head_dim", 16),
    ("llada2", "use_bias", "out_bias", True),
    ("llada2", "use_qkv_bias", "qkv_bias", False),
    ("llada2", "tie_word_embeddings", "tied_head", False),
]
EXPERTS = {
    "num_experts": ("count", 16),
    "num_experts_per_tok": ("per_token", 2),
    "n_group": ("groups", 8),
    "topk_group": ("groups_per_token", 4),
    "routed_scaling_factor": ("scale", 2.5),
    "first_k_dense_replace": ("first_layer", 0),
    "num_shared_experts": ("shared", 0),
}


@pytest.mark.parametrize(("name", "key", "ours", "default"), DEFAULTS)
def test_a_number_that_is_absent_is_the_originals(name: str, key: str, ours: str, default: object) -> None:
    assert getattr(sizes(name, **{key: GONE}), ours) == default


@pytest.mark.parametrize("key", EXPERTS)
def test_experts_that_are_not_told_of_are_the_originals(key: str) -> None:
    ours, default = EXPERTS[key]
    room = {"topk_group": 4} if key == "n_group" else {}
    found = sizes("llada2", **{key: GONE, **({} if key == "topk_group" else room)})
    assert found.experts is not None and getattr(found.experts, ours) == default


NULLS: list[tuple[str, str, str, object]] = [
    ("llada", "mlp_hidden_size", "mlp_hidden_size", 4 * 64),
    ("mmada", "mlp_hidden_size", "mlp_hidden_size", 4 * 64),
    ("llada", "n_kv_heads", "n_kv_heads", 4),
    ("llada", "embedding_size", "vocab_size", 320),
    ("llada", "include_qkv_bias", "qkv_bias", False),
    ("llada", "weight_tying", "tied_head", False),
    ("dream", "num_key_value_heads", "n_kv_heads", None),
    ("dream", "tie_word_embeddings", "tied_head", False),
    ("dream", "use_sliding_window", "d_model", 64),
    ("sdar", "num_key_value_heads", "n_kv_heads", None),
    ("sdar", "attention_bias", "qkv_bias", False),
    ("sdar", "block_size", "block_length", 4),
    ("llada2", "head_dim", "head_dim", 16),
    ("llada2", "use_bias", "out_bias", False),
    ("llada2", "num_shared_experts", "d_model", 64),
    ("llada2", "rope_scaling", "rope_theta", 600_000.0),
]


@pytest.mark.parametrize(("name", "key", "ours", "value"), NULLS)
def test_a_null_means_what_it_means_to_the_original(name: str, key: str, ours: str, value: object) -> None:
    assert getattr(sizes(name, **{key: None}), ours) == value


def test_older_names_of_shared_heads() -> None:
    assert sizes("llada", n_kv_heads=None, multi_query_attention=True).kv_heads == 1
    assert sizes("llada", n_kv_heads=None, multi_query_attention=False).kv_heads == 4
    assert sizes("llada", n_kv_heads=4, multi_query_attention=False).kv_heads == 4
    assert sizes("llada", n_kv_heads=GONE, mlp_hidden_size=None, mlp_ratio=2).mlp_hidden_size == 128
    with pytest.raises(PolicyError, match="n_kv_heads=2, but multi_query_attention=True makes it 1; set"):
        sizes("llada", n_kv_heads=2, multi_query_attention=True)


def line(folder: Path, **changes: Any) -> str:
    file = folder / "config.json"
    config = {**json.loads(file.read_text()), **changes}
    file.write_text(json.dumps({key: value for key, value in config.items() if value is not GONE}))
    with pytest.raises(PolicyError) as caught:
        check_policy(folder)
    assert "\n" not in str(caught.value) and str(folder) in str(caught.value)
    return str(caught.value)


WHOLE = {
    "llada": ("d_model", "n_layers", "n_heads", "max_sequence_length"),
    "mmada": ("codebook_size", "llm_vocab_size", "n_layers"),
    "dream": ("vocab_size", "hidden_size", "num_hidden_layers", "num_attention_heads", "intermediate_size"),
    "sdar": ("max_position_embeddings", "head_dim", "hidden_size"),
    "llada2": ("num_key_value_heads", "num_experts", "moe_intermediate_size", "n_group", "topk_group"),
}
NUMBERS = {
    "llada": ("rope_theta", "rms_norm_eps"),
    "dream": ("rope_theta", "rms_norm_eps"),
    "llada2": ("routed_scaling_factor", "partial_rotary_factor"),
}
FLAGS = {
    "llada": ("weight_tying", "rope_full_precision", "include_qkv_bias"),
    "dream": ("tie_word_embeddings",),
    "sdar": ("attention_bias",),
    "llada2": ("use_bias", "use_qkv_bias"),
}
WRONG = [
    *((n, key, value) for n, keys in WHOLE.items() for key in keys for value in (None, "8", 0, -4, 8.5, True, [8], {})),
    *((n, key, value) for n, keys in NUMBERS.items() for key in keys for value in (None, "1", 0, -1e-5, True, [1.0])),
    *((n, key, value) for n, keys in FLAGS.items() for key in keys for value in ("false", 1, 0, [], "yes")),
]


@pytest.mark.parametrize("name", CONFIGS)
def test_a_value_of_the_wrong_kind_names_itself_and_what_is_allowed(name: str) -> None:
    """Every name of every kind, from ``sizes`` and ``vocabulary`` alone: the folder's line is tested below."""
    for family, key, value in WRONG:
        if family != name:
            continue
        config = changed(name, **{key: value})
        with pytest.raises(PolicyError, match=rf"^config.json: {key}=.*: must be ") as caught:
            family_of(config["model_type"]).sizes(config)
            family_of(config["model_type"]).vocabulary(config, 300)
        assert "\n" not in str(caught.value) and repr(value) in str(caught.value)


@pytest.mark.parametrize(
    ("name", "changes", "told"),
    [
        ("llada", {"d_model": None}, "d_model=None: must be a whole number of at least 1; copy config.json"),
        ("llada", {"d_model": GONE}, "no 'd_model', which this family needs"),
        ("llada", {"rope": False}, "rope=False: allowed: True"),
        ("llada", {"rope": None}, "rope=None: allowed: True"),
        ("llada", {"block_type": None}, "block_type=None: allowed: 'llama'"),
        ("llada", {"block_group_size": 2}, "block_group_size=2: allowed: 1"),
        ("llada", {"bias_for_layer_norm": True}, "bias_for_layer_norm=True: allowed: False"),
        ("llada", {"embedding_size": 256}, "embedding_size=256: must be at least vocab_size=320"),
        ("llada", {"vocab_size": "320"}, "vocab_size='320': must be a whole number"),
        ("llada", {"n_layers": 10**9}, "n_layers=1000000000: must be at most 1000"),
        ("dream", {"hidden_size": 10**20}, "hidden_size=100000000000000000000: must be at most 16777216"),
        ("dream", {"rope_theta": 10**400}, "must be a number above 0"),
        ("mmada", {"rope_theta": GONE}, "no 'rope_theta', which this family needs"),
        ("mmada", {"new_vocab_size": "384"}, "new_vocab_size='384': must be a whole number"),
        ("dream", {"hidden_act": None}, "hidden_act=None: allowed: 'silu'"),
        ("dream", {"use_sliding_window": True}, "use_sliding_window=True: allowed: False"),
        ("dream", {"num_attention_heads": 5, "num_key_value_heads": 5}, "a width of 64 cannot be shared by 5 heads"),
        ("sdar", {"head_dim": 23}, "23 numbers of each head are rotated; must be even"),
        ("llada2", {"partial_rotary_factor": 0.01}, "0 numbers of each head are rotated; must be even and above 0"),
        ("llada2", {"partial_rotary_factor": 1.5}, "partial_rotary_factor=1.5: must be above 0 and at most 1"),
        ("dream", {"partial_rotary_factor": 0.5}, "partial_rotary_factor=0.5: allowed: 1"),
        ("llada2", {"n_group": 5}, "16 experts in n_group=5 groups"),
        ("llada2", {"topk_group": 1, "num_experts_per_tok": 5}, "those chosen must hold enough experts"),
        ("sdar", {"layer_types": ["full_attention", "sliding_attention"]}, "allowed: full_attention in every layer"),
        (
            "sdar",
            {"quantization_config": {"quant_method": "fp8"}},
            "quantised weights cannot be trained; use an unquantised",
        ),
        ("llada", {"quantization_config": {"load_in_4bit": True}}, "quantization_config={'load_in_4bit': True}"),
    ],
)
def test_a_folder_that_cannot_be_read_is_one_line(tmp_path: Path, name: str, changes: dict, told: str) -> None:
    assert told in line(write_folder(name, tmp_path / name), **changes)


@pytest.mark.parametrize("value", [{}, None])
def test_an_empty_quantisation_is_none(tmp_path: Path, value: object) -> None:
    folder = write_folder("sdar", tmp_path / "sdar")
    config = {**CONFIGS["sdar"], "quantization_config": value, "layer_types": ["full_attention", "full_attention"]}
    (folder / "config.json").write_text(json.dumps(config))
    check_policy(folder)


IDS: list[tuple[dict, dict | None, tuple[int, int]]] = [
    ({"eos_token_id": [1, 5]}, None, (300, 1)),
    ({"eos_token_id": [5, 1]}, None, (300, 5)),
    ({"eos_token_id": [5]}, None, (300, 5)),
    ({"eos_token_id": 5}, {"eos_token_id": None}, (300, 5)),
    ({"eos_token_id": 5}, {"eos_token_id": []}, (300, 5)),
    ({"eos_token_id": 5}, {"eos_token_id": [7, 5]}, (300, 7)),
    ({"eos_token_id": None}, {"eos_token_id": 7}, (300, 7)),
    ({"eos_token_id": GONE}, {"eos_token_id": [7]}, (300, 7)),
    ({"mask_token_id": None}, {"mask_token_id": 299}, (299, 1)),
    ({"mask_token_id": 298}, {"mask_token_id": 299}, (298, 1)),
    ({"mask_token_id": [298]}, None, (298, 1)),
    ({"mask_token_id": GONE}, {"mask_token_id": None, "eos_token_id": 9}, (151666, 9)),
    ({"bos_token_id": [1, 2], "pad_token_id": "1"}, None, (300, 1)),
]


@pytest.mark.parametrize(("config", "generation", "expected"), IDS)
def test_ids_are_a_number_or_the_first_of_a_list(
    tmp_path: Path, config: dict, generation: dict | None, expected: tuple[int, int]
) -> None:
    folder = write_folder("dream", tmp_path / "dream")
    (folder / "config.json").write_text(json.dumps(changed("dream", vocab_size=152_064, **config)))
    if generation is not None:
        (folder / "generation_config.json").write_text(json.dumps(generation))
    found = family_of("Dream").vocabulary(read_config(folder), 300)
    assert (found.mask_id, found.eos_id) == expected


def test_ids_of_the_tokenizers_own_tokens_come_last(tmp_path: Path) -> None:
    folder = write_folder("llada", tmp_path / "llada")
    (folder / "config.json").write_text(json.dumps(changed("llada", eos_token_id=None, mask_token_id=GONE)))
    (folder / "tokenizer_config.json").write_text(json.dumps({"eos_token": "<eos>", "mask_token": "<|mask|>"}))
    policy = load_policy(folder)
    assert policy.vocabulary.eos_id == policy.tokenizer.token_id("<eos>")
    assert policy.vocabulary.mask_id == policy.tokenizer.token_id("<|mask|>")
    (folder / "tokenizer_config.json").write_text(json.dumps({"eos_token": "<eos>", "mask_token": "<no such token>"}))
    assert "no 'mask_token_id', which a llada needs" in line(folder)


@pytest.mark.parametrize("file", ["config.json", "generation_config.json"])
@pytest.mark.parametrize("key", ["eos_token_id", "mask_token_id"])
@pytest.mark.parametrize("value", ["1", True, 1.5, [None], ["</s>"], {"id": 1}, [[1]], [1, "2"]])
def test_an_id_that_is_none_is_one_line(tmp_path: Path, file: str, key: str, value: object) -> None:
    folder = write_folder("sdar", tmp_path / "sdar")
    content = json.loads((folder / "config.json").read_text()) if file == "config.json" else {}
    content.pop("mask_token_id", None)
    (folder / file).write_text(json.dumps({**content, key: value}))
    if file != "config.json":
        (folder / "config.json").write_text(json.dumps(changed("sdar", mask_token_id=GONE)))
    with pytest.raises(PolicyError, match=rf"{file}: {key}=.*must be a token's id, a whole number") as caught:
        check_policy(folder)
    assert "\n" not in str(caught.value)


def test_a_mask_is_one_token(tmp_path: Path) -> None:
    assert "mask_token_id=[300, 2]: must be one token id" in line(
        write_folder("sdar", tmp_path / "sdar"), mask_token_id=[300, 2]
    )
    assert "eos_token_id=-1: outside the vocabulary" in line(write_folder("sdar", tmp_path / "s"), eos_token_id=-1)


THETA = 12_345.0
SAME: list[dict[str, Any]] = [
    {"rope_theta": THETA},
    {"rope_theta": GONE, "rope_parameters": {"rope_theta": THETA}},
    {"rope_theta": GONE, "rope_parameters": {"rope_theta": THETA, "rope_type": "default"}},
    {"rope_theta": THETA, "rope_parameters": {"rope_theta": THETA, "rope_type": "default"}},
    {"rope_theta": None, "rope_parameters": {"rope_theta": THETA, "rope_type": "default"}},
    {"rope_theta": THETA, "rope_parameters": {"rope_type": "default"}},
    {"rope_theta": THETA, "rope_parameters": {}},
    {"rope_theta": THETA, "rope_parameters": None, "rope_scaling": None},
    {"rope_theta": THETA, "rope_scaling": {"rope_type": "default"}},
    {"rope_theta": THETA, "rope_scaling": {"type": "default"}},
    {"rope_theta": THETA, "rope_scaling": {"type": "default", "rope_type": "default"}},
    {"rope_theta": THETA, "rope_scaling": {"rope_type": "default", "factor": 1.0}},
    {"rope_theta": THETA, "rope_parameters": {"rope_type": "default", "factor": None}},
    {"rope_theta": GONE, "rope_parameters": {"full_attention": {"rope_theta": THETA, "rope_type": "default"}}},
    {"rope_theta": GONE, "rope_parameters": {"full_attention": {"rope_theta": THETA}, "other": {"rope_theta": THETA}}},
    {"rope_theta": 12_345, "rope_parameters": {"rope_theta": THETA}},
]
SCALED: list[dict[str, Any]] = [
    *({place: {kind: name, "factor": 4.0, "rope_theta": THETA}}
      for place in ("rope_parameters", "rope_scaling")
      for kind in ("rope_type", "type")
      for name in ("linear", "dynamic", "yarn", "longrope", "llama3", "proportional", "su", "mrope")),
    {"rope_scaling": {"type": "yarn"}},
    {"rope_scaling": {"factor": 2.0}},
    {"rope_scaling": {"factor": 1.0}},
    {"rope_scaling": {"rope_type": "default", "factor": 2.0}},
    {"rope_scaling": {"rope_type": "default", "mrope_section": [2, 2, 2]}},
    {"rope_scaling": {"type": "default", "rope_type": "yarn"}},
    {"rope_scaling": {"rope_type": 3}},
    {"rope_scaling": "yarn"},
    {"rope_scaling": [2.0]},
    {"rope_parameters": {"full_attention": {"rope_type": "yarn", "factor": 4.0}}},
    {"rope_parameters": {"full_attention": {"rope_theta": THETA}, "sliding_attention": {"rope_theta": 10_000.0}}},
    {"rope_parameters": {"full_attention": {"rope_theta": THETA}, "rope_theta": 10_000.0}},
    {"rope_parameters": {"full_attention": {"rope_theta": THETA}, "sliding_attention": None}},
]  # fmt: skip
APART: list[dict[str, Any]] = [
    {"rope_theta": 500_000.0, "rope_parameters": {"rope_theta": THETA}},
    {"rope_theta": THETA, "rope_scaling": {"rope_type": "default", "rope_theta": 10_000.0}},
    {"rope_theta": GONE, "rope_parameters": {"rope_theta": THETA}, "rope_scaling": {"rope_theta": 1.0}},
]


@pytest.mark.parametrize("name", CONFIGS)
def test_theta_is_found_wherever_it_is_stated(name: str) -> None:
    for changes in SAME:
        assert sizes(name, **changes).rope_theta == THETA, changes


@pytest.mark.parametrize("name", CONFIGS)
def test_positions_that_are_scaled_or_contradict_each_other_are_refused(name: str) -> None:
    for changes in (*SCALED, *APART):
        with pytest.raises(PolicyError) as caught:
            sizes(name, **changes)
        told = str(caught.value)
        assert "\n" not in told and told.startswith("config.json: rope_")
        assert (
            ("they must agree" if changes in APART else "allowed: None") in told
            or "allowed: the same" in told
            or ("must be an object" in told)
        )


def test_the_share_of_a_head_that_is_rotated_is_found_too() -> None:
    for changes in ({"rope_parameters": {"partial_rotary_factor": 0.25, "rope_theta": 600_000}}, {}):
        wanted = 6 if changes else 12
        factor = GONE if changes else 0.5
        assert sizes("llada2", partial_rotary_factor=factor, **changes).rotary_dim == wanted
    with pytest.raises(PolicyError, match=r"partial_rotary_factor: config.json has 0.5, rope_parameters has 0.25"):
        sizes("llada2", rope_parameters={"partial_rotary_factor": 0.25})


@pytest.mark.parametrize("theta", [10_000.0, 1_000_000.0, 12_345.0])
def test_what_transformers_5_writes_is_read_as_it_reads_it(tmp_path: Path, theta: float) -> None:
    """A config that transformers saved has rope_parameters alone; the rotation is that of its own module."""
    ensure_torchvision_ops()
    from transformers.models.qwen3.modeling_qwen3 import Qwen3RotaryEmbedding

    theirs = Qwen3Config(
        hidden_size=64, num_attention_heads=4, num_key_value_heads=2, head_dim=24, num_hidden_layers=2,
        rope_parameters={"rope_theta": theta, "rope_type": "default"},
    )  # fmt: skip
    theirs.save_pretrained(tmp_path)
    written = json.loads((tmp_path / "config.json").read_text())
    assert "rope_theta" not in written and written["rope_parameters"]["rope_theta"] == theta
    found = family_of("sdar").sizes({**written, "model_type": "sdar", "block_size": 4})
    cos, sin = Qwen3RotaryEmbedding(theirs)(torch.zeros(1, 1, 1), torch.arange(300)[None])
    ours = rope_tables(300, found.head_size, found.rope_theta, torch.device("cpu"))
    torch.testing.assert_close(ours[0], cos[0], rtol=0, atol=2e-5)
    torch.testing.assert_close(ours[1], sin[0], rtol=0, atol=2e-5)


def test_the_shipped_and_the_toys_settings_are_read() -> None:
    assert load_policy(toy_folder()).module.config.rope_theta == 10_000.0
    assert dataclasses.asdict(load_policy("tiny").module.config)["max_sequence_length"] == 512
