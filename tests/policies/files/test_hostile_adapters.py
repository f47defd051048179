"""Adapters of strangers: every number, name and pattern in them has bounds, and each mistake is one line."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from policies.files.adapters import CONFIG_FILE, WEIGHTS_FILE, read_adapter
from tests.policies.files.hostile import refused, safetensors, tensor

CONFIG = {"peft_type": "LORA", "r": 2, "lora_alpha": 4}


KEY = "base_model.model.model.transformer.blocks.0.q_proj.lora_{}.weight"


def adapter(folder: Path, config: Any = None, header: Any = None, body: int = 24) -> Path:
    folder.mkdir(exist_ok=True)
    pair = {KEY.format("A"): tensor(0, 16, [2, 2]), KEY.format("B"): tensor(16, 32, [2, 2])}
    (folder / CONFIG_FILE).write_text(json.dumps({**CONFIG, **(config or {})}))
    safetensors(folder / WEIGHTS_FILE, pair if header is None else header, 32 if header is None else body)
    return folder


@pytest.mark.parametrize("config", [
    {"r": 10**9}, {"r": -1}, {"lora_alpha": -1}, {"use_rslora": [1]}, {"rank_pattern": {"(a+)+$": 2}},
    {"rank_pattern": {"(.*)*x": 2}}, {"alpha_pattern": {".*.*.*.*x": 2}}, {"rank_pattern": {"a" * 10_000: 2}},
    {"rank_pattern": {"(" * 150: 2}}, {"rank_pattern": {"a{99999999999999}": 2}}, {"rank_pattern": {"(?P<\n>a)": 2}},
    {"a\nb": True}, {"peft_type": "x\ny"}, {"bias": ["none"]}, {"init_lora_weights": {"a": 1}},
])  # fmt: skip
def test_an_adapters_config(tmp_path: Path, config: dict[str, Any]) -> None:
    refused(lambda: read_adapter(adapter(tmp_path / "adapter", config)), CONFIG_FILE)


def test_an_adapters_weights(tmp_path: Path) -> None:
    name = KEY.format("A")
    wide = {name: tensor(0, 1 << 40, [2, 1 << 37])}
    for header, body in (
        (wide, 1 << 40), ({name: tensor(0, 4 << 28, [1 << 14, 1 << 14])}, 4 << 28), ({name: tensor(0, 8, [2, 2], "F8_E4M3")}, 8),
        ({"a\x1b[31m.lora_A.weight": tensor(0, 16, [2, 2])}, 16), ({name: tensor(0, 16, [4])}, 16), ({}, 0), ([], 0),
        ({name: tensor(0, 16, [2, 2]), KEY.format("B"): tensor(8, 24, [2, 2])}, 24),
    ):  # fmt: skip
        refused(
            lambda header=header, body=body: read_adapter(adapter(tmp_path / "adapter", None, header, body)), "adapter"
        )
    assert set(read_adapter(adapter(tmp_path / "adapter", {"rank_pattern": {r".*\d\.k_proj": 3}})))
    (tmp_path / "adapter" / WEIGHTS_FILE).unlink()
    os.mkfifo(tmp_path / "adapter" / WEIGHTS_FILE)
    refused(lambda: read_adapter(tmp_path / "adapter"), "not a PEFT adapter")
