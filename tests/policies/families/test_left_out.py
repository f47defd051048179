"""What a config.json leaves out, has as null, or says twice: the original code's value, or one line."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from policies.families.registry import family_of
from rl.errors import PolicyError

PUBLISHED: dict[str, dict[str, Any]] = json.loads((Path(__file__).parents[1] / "golden" / "configs.json").read_text())
OUT = "(left out)"  # a text, so that a case has one name in every process
TAKEN: list[tuple[str, dict[str, Any], dict[str, Any]]] = [
    ("llada", {"mlp_hidden_size": None}, {"mlp_hidden_size": 256}),
    ("llada", {"mlp_hidden_size": OUT}, {"mlp_hidden_size": 256}),
    ("llada", {"mlp_hidden_size": None, "mlp_ratio": 3}, {"mlp_hidden_size": 192}),
    ("llada", {"mlp_ratio": 7}, {"mlp_hidden_size": 96}),
    ("llada", {"rope_theta": OUT}, {"rope_theta": 10_000.0}),
    ("llada", {"rope_theta": 10_000}, {"rope_theta": 10_000.0}),
    ("llada", {"rope_theta": OUT, "rope_parameters": {"rope_theta": 123.0}}, {"rope_theta": 123.0}),
    ("llada", {"max_sequence_length": OUT}, {"max_sequence_length": 1024}),
    ("llada", {"rms_norm_eps": OUT}, {"rms_norm_eps": 1e-5}),
    ("llada", {"rope_full_precision": None}, {"rotary_float32": False}),
    ("llada", {"include_bias": None}, {"qkv_bias": False}),
    ("mmada", {"mlp_hidden_size": None}, {"mlp_hidden_size": 256}),
    ("mmada", {"max_sequence_length": OUT}, {"max_sequence_length": 4096}),
    ("dream", {"num_key_value_heads": None}, {"n_kv_heads": None}),
    ("dream", {"rope_theta": OUT}, {"rope_theta": 10_000.0}),
    ("dream", {"max_position_embeddings": OUT}, {"max_sequence_length": 32_768}),
    ("dream", {"layer_types": None}, {"n_layers": 2}),
    ("dream", {"rope_scaling": {}}, {"rope_theta": 1e6}),
    ("dream", {"rope_scaling": {"rope_type": "default"}}, {"rope_theta": 1e6}),
    ("sdar", {"head_dim": OUT}, {"head_dim": 128}),
    ("sdar", {"attention_bias": None}, {"qkv_bias": False, "out_bias": False}),
    ("sdar", {"block_size": None}, {"block_length": 4}),
    ("sdar", {"hidden_size": 48}, {"d_model": 48}),
    ("llada2", {"head_dim": None}, {"head_dim": 16}),
    ("llada2", {"rms_norm_eps": OUT}, {"rms_norm_eps": 1e-5}),
    ("llada2", {"max_position_embeddings": OUT}, {"max_sequence_length": 16_384}),
    ("llada2", {"block_size": OUT}, {"block_length": 32}),
]
REFUSED: list[tuple[str, dict[str, Any], str]] = [
    ("llada", {"mlp_hidden_size": None, "mlp_ratio": None}, "mlp_ratio=None"),
    ("llada", {"rope_theta": None}, "rope_theta=None"),
    ("llada", {"rope_theta": "10000"}, "rope_theta='10000'"),
    ("llada", {"max_sequence_length": None}, "max_sequence_length=None"),
    ("llada", {"activation_type": None}, "activation_type=None"),
    ("llada", {"vocab_size": None}, "vocab_size"),
    ("llada", {"rope_parameters": {"rope_theta": 123.0}}, "they must agree"),
    ("llada", {"partial_rotary_factor": 0.25}, "partial_rotary_factor"),
    ("llada", {"rope_scaling": {"type": "dynamic", "factor": 2.0}}, "rope_scaling"),
    ("mmada", {"rope_theta": OUT}, "no 'rope_theta'"),
    ("llada", {"attention_layer_norm": True}, "attention_layer_norm"),
    ("dream", {"use_sliding_window": True}, "use_sliding_window"),
    ("dream", {"layer_types": ["sliding_attention"]}, "layer_types"),
    ("dream", {"hidden_act": "gelu"}, "hidden_act='gelu'"),
    ("dream", {"intermediate_size": None}, "intermediate_size=None"),
    ("sdar", {"rope_parameters": {"rope_type": "yarn", "factor": 4.0}}, "rope_parameters"),
    ("sdar", {"head_dim": None}, "head_dim=None"),
    ("sdar", {"block_size": 0}, "block_size=0"),
    ("llada2", {"num_key_value_heads": None}, "num_key_value_heads=None"),
    ("llada2", {"num_experts_per_tok": 99}, "experts"),
    ("llada2", {"use_qk_norm": None}, "use_qk_norm=None"),
]


def sizes(name: str, change: dict[str, Any]) -> Any:
    config = {key: value for key, value in {**PUBLISHED[name], **change}.items() if value is not OUT}
    return family_of(config["model_type"]).sizes(config)


@pytest.mark.parametrize(("name", "change", "expected"), TAKEN, ids=str)
def test_what_is_left_out_is_the_original_codes(name: str, change: dict[str, Any], expected: dict[str, Any]) -> None:
    found = sizes(name, change)
    assert {key: getattr(found, key) for key in expected} == expected


@pytest.mark.parametrize(("name", "change", "told"), REFUSED, ids=str)
def test_what_has_no_value_or_two_is_one_line(name: str, change: dict[str, Any], told: str) -> None:
    with pytest.raises(PolicyError) as caught:
        sizes(name, change)
    assert told in str(caught.value) and "\n" not in str(caught.value)
