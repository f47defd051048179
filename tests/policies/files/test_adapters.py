"""Adapters are used whole or refused: what PEFT computes for an option is computed, and no key or option is dropped."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from policies import load_policy, lora
from policies.files.adapters import CONFIG_FILE, WEIGHTS_FILE, alpha_of, read_adapter
from rl.errors import PolicyError
from tests.policies.originals import CONFIGS, GOLDEN, shapes, write_folder

Q, UP = "base_model.model.model.transformer.blocks.0.q_proj", "base_model.model.model.transformer.blocks.1.up_proj"
HEAD, TABLE = "base_model.model.model.transformer.ff_out", "base_model.model.model.transformer.wte"
IDS = torch.arange(20, 32)[None]


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_folder("llada", tmp_path_factory.mktemp("base") / "llada")


def write(
    folder: Path, options: dict[str, Any], change: Callable[[dict[str, Tensor]], object] = lambda _: None
) -> Path:
    """An adapter of rank 2 and alpha 6 on two layers of the small LLaDA, in PEFT's format, and what is wrong with it."""
    folder.mkdir()
    generator = torch.Generator().manual_seed(0)
    tensors = {}
    for layer, inputs, outputs in ((Q, 64, 64), (UP, 64, 96)):
        tensors[f"{layer}.lora_A.weight"] = torch.randn(2, inputs, generator=generator)
        tensors[f"{layer}.lora_B.weight"] = 0.1 * torch.randn(outputs, 2, generator=generator)
    change(tensors)
    save_file(tensors, folder / WEIGHTS_FILE)
    whole = json.loads((GOLDEN / "peft" / CONFIG_FILE).read_text())
    (folder / CONFIG_FILE).write_text(json.dumps({**whole, **options}))
    return folder


def refused(base: Path, folder: Path) -> str:
    """The line, which is the same before a run starts and when the adapter is loaded; the policy stays as it was."""
    policy = load_policy(base)
    before = policy.logits(IDS)
    with pytest.raises(PolicyError) as loaded:
        lora.load_adapter(policy, folder)
    with pytest.raises(PolicyError) as checked:
        lora.check_adapter(folder, base)
    assert str(loaded.value) == str(checked.value) and "\n" not in str(loaded.value)
    assert str(folder) in str(loaded.value)
    assert torch.equal(policy.logits(IDS), before) and not dict(lora.adapters(policy.module))
    assert all(value.requires_grad for value in policy.module.parameters())
    return str(loaded.value)


OPTIONS: list[dict[str, Any]] = [
    {"use_dora": True},
    {"lora_bias": True},
    {"bias": "all"},
    {"bias": "lora_only"},
    {"bias": None},
    {"init_lora_weights": "pissa"},
    {"init_lora_weights": "pissa_niter_16"},
    {"init_lora_weights": "olora"},
    {"init_lora_weights": "corda"},
    {"init_lora_weights": "loftq"},
    {"init_lora_weights": "lora_ga"},
    {"init_lora_weights": "mica"},
    {"init_lora_weights": 1},
    {"alora_invocation_tokens": [7, 8]},
    {"layer_replication": [[0, 2], [1, 2]]},
    {"trainable_token_indices": [3]},
    {"target_parameters": ["q_proj.weight"]},
    {"modules_to_save": ["ff_out"]},
    {"use_qalora": True},
    {"use_bdlora": {"nblocks": 2}},
    {"arrow_config": {"top_k": 2}},
    {"megatron_config": {"tensor_model_parallel_size": 2}},
    {"kasa_config": {"beta": 1e-4}},
    {"fan_in_fan_out": True},
    {"an_option_of_tomorrow": "fast"},
    {"peft_type": "IA3"},
    {"peft_type": None},
    {"r": "4"},
    {"r": 0},
    {"r": True},
    {"r": 2.0},
    {"r": None},
    {"r": 3},
    {"lora_alpha": "6"},
    {"lora_alpha": 0},
    {"lora_alpha": 10**400},
    {"lora_alpha": -6},
    {"lora_alpha": None},
    {"use_rslora": "yes"},
    {"rank_pattern": {"q_proj": 5}},
    {"rank_pattern": {"q_proj": "2"}},
    {"rank_pattern": ["q_proj"]},
    {"rank_pattern": {"q_proj(": 2}},
    {"alpha_pattern": {"q_proj": 0}},
    {"alpha_pattern": {"q_proj": [6]}},
]


@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_an_option_that_changes_the_function_is_refused(tmp_path: Path, base: Path, options: dict[str, Any]) -> None:
    line = refused(base, write(tmp_path / "adapter", options))
    assert next(iter(options)) in line or "but adapter_config.json says rank" in line


def add(**more: Tensor) -> Callable[[dict[str, Tensor]], object]:
    return lambda tensors: tensors.update({key.replace("__", "."): value for key, value in more.items()})


def rename(old: str, new: str) -> Callable[[dict[str, Tensor]], object]:
    def change(tensors: dict[str, Tensor]) -> None:
        for key in list(tensors):
            tensors[key.replace(old, new)] = tensors.pop(key)

    return change


def pair(layer: str, outputs: int, inputs: int) -> dict[str, Tensor]:
    return {f"{layer}.lora_A.weight": torch.ones(2, inputs), f"{layer}.lora_B.weight": torch.ones(outputs, 2)}


KEYS: dict[str, Callable[[dict[str, Tensor]], object]] = {
    "embed_tokens.weight: a whole weight": lambda t: t.update({"base_model.model.embed_tokens.weight": torch.ones(780, 4)}),
    "lm_head.weight: a whole weight": lambda t: t.update({"base_model.model.lm_head.weight": torch.ones(320, 64)}),
    "lora_B.bias: a bias": lambda t: t.update({f"{Q}.lora_B.bias": torch.ones(64)}),
    "lora_B.default.bias: a bias": lambda t: t.update({f"{Q}.lora_B.default.bias": torch.ones(64)}),
    "q_proj.bias: a bias": lambda t: t.update({f"{Q}.bias": torch.ones(64)}),
    "lora_magnitude_vector: a magnitude": lambda t: t.update({f"{Q}.lora_magnitude_vector": torch.ones(64)}),
    "lora_embedding_A: an adapter of an embedding": lambda t: t.update({f"{TABLE}.lora_embedding_A": torch.ones(2, 320)}),
    "trainable_tokens_delta: rows of": lambda t: t.update({f"{TABLE}.token_adapter.trainable_tokens_delta": torch.ones(1, 64)}),
    "blocks.0.q_proj.lora_A.weight is missing": lambda t: t.pop(f"{Q}.lora_A.weight"),
    "blocks.1.up_proj.lora_B.weight is missing": lambda t: t.pop(f"{UP}.lora_B.weight"),
    "lora_down.weight: a name that another tool": rename("lora_A", "lora_down"),
    "lora_up.weight: a name that another tool": rename("lora_B", "lora_up"),
    "lora_unet_blocks_0_q_proj.lora_down": lambda t: t.update({"lora_unet_blocks_0_q_proj.lora_down.weight": torch.ones(2, 4)}),
    "lora_a: a whole weight, or one of another kind": rename("lora_A.weight", "lora_a"),
    "a second adapter": lambda t: t.update({f"{Q}.lora_A.second.weight": torch.ones(2, 64)}),
    "lora_B.default.weight: a second adapter": rename("lora_B.weight", "lora_B.default.weight"),
    "no adapter in it": lambda t: t.clear(),
    "blocks.9.q_proj: no such layer": lambda t: t.update(pair(Q.replace(".0.", ".9."), 64, 64)),
    "encoder.q_proj: no such layer": lambda t: t.update(pair("base_model.model.encoder.q_proj", 64, 64)),
    "module.model.transformer.blocks.0.q_proj: no such layer": rename("base_model.model.", "base_model.model.module."),
    "transformer.ff_out: takes no adapter here": lambda t: t.update(pair(HEAD, 320, 64)),
    "transformer.wte: takes no adapter here": lambda t: t.update(pair(TABLE, 320, 64)),
    "blocks.0.attn_norm: takes no adapter here": lambda t: t.update(pair(Q.replace("q_proj", "attn_norm"), 64, 64)),
    "must be a matrix of finite numbers": lambda t: t[f"{Q}.lora_B.weight"].fill_(float("nan")),
    "torch.int8 (2, 64); must be": lambda t: t.update({f"{Q}.lora_A.weight": torch.ones(2, 64, dtype=torch.int8)}),
    "torch.float32 (2, 8, 8); must be": lambda t: t.update({f"{Q}.lora_A.weight": torch.ones(2, 8, 8)}),
    "lora_A.weight has shape (2, 32), expected (2, 64)": lambda t: t.update({f"{Q}.lora_A.weight": torch.ones(2, 32)}),
    "lora_B.weight has shape (63, 2), expected (64, 2)": lambda t: t.update({f"{Q}.lora_B.weight": torch.ones(63, 2)}),
    "has shape (3, 64), but adapter_config.json says rank 2": lambda t: t.update({f"{Q}.lora_A.weight": torch.ones(3, 64)}),
}  # fmt: skip


@pytest.mark.parametrize("message", KEYS)
def test_a_key_that_would_not_be_used_is_refused(tmp_path: Path, base: Path, message: str) -> None:
    assert message in refused(base, write(tmp_path / "adapter", {}, KEYS[message]))


@pytest.mark.parametrize("content", ["", "[]", "{", '"text"', "\xff", '{"peft_type": "LORA"}'])
def test_a_config_that_is_none_is_one_line(tmp_path: Path, base: Path, content: str) -> None:
    folder = write(tmp_path / "adapter", {})
    (folder / CONFIG_FILE).write_text(content, "latin-1")
    refused(base, folder)
    (folder / CONFIG_FILE).unlink()
    assert f"no {CONFIG_FILE} in it" in refused(base, folder)


HARMLESS: list[dict[str, Any]] = [
    {"init_lora_weights": start} for start in (True, False, "gaussian", "eva", "orthogonal")
] + [
    {"lora_dropout": 0.1},
    {"layers_to_transform": [0, 1]},
    {"target_modules": "all-linear"},
    {"exclude_modules": ["k_proj"]},
    {"modules_to_save": None},
    {"modules_to_save": []},
    {"eva_config": {"rho": 2.0}},
    {"ensure_weight_tying": True},
    {"an_option_of_tomorrow": None},
    {"an_option_of_tomorrow": False},
    {"lora_alpha": 6.0},
]


@pytest.mark.parametrize("options", HARMLESS, ids=str)
def test_an_option_without_effect_has_none(tmp_path: Path, base: Path, options: dict[str, Any]) -> None:
    plain = read_adapter(write(tmp_path / "plain", {}))
    policy = load_policy(base)
    assert lora.load_adapter(policy, write(tmp_path / "adapter", options)) == ["blocks.0.q_proj", "blocks.1.up_proj"]
    for (_, layer), part in zip(lora.adapters(policy.module), plain.values(), strict=True):
        assert torch.equal(layer.lora_a, part.lora_a) and torch.equal(layer.lora_b, part.lora_b) and layer.scale == 3.0


@pytest.mark.parametrize(
    "change", [rename(".weight", ".default.weight"), rename(".weight", ".mine.weight"), rename("base_model.model.", "")]
)
def test_other_spellings_of_the_same_keys_are_understood(
    tmp_path: Path, base: Path, change: Callable[[dict[str, Tensor]], object]
) -> None:
    plain, other = load_policy(base), load_policy(base)
    lora.load_adapter(plain, write(tmp_path / "plain", {}))
    lora.load_adapter(other, write(tmp_path / "other", {}, change))
    assert torch.equal(plain.logits(IDS), other.logits(IDS))


def test_ranks_and_alphas_by_layer_are_pefts(tmp_path: Path) -> None:
    """What PEFT 0.21.2 saved with rank_pattern, alpha_pattern and use_rslora, and merged to: see golden/README.md."""
    folder = write_folder("dream", tmp_path / "original")
    policy = load_policy(folder)
    names = lora.load_adapter(policy, GOLDEN / "peft_patterns")
    expected = json.loads((GOLDEN / "peft_patterns" / "merged.json").read_text())
    places = lora._their_modules(policy.module, lora.family_tensors(policy))
    assert sorted(f"{places[name]}.weight" for name in names) == sorted(expected)
    merged = lora.merged_state(policy.module)
    for name in names:
        numbers = expected[f"{places[name]}.weight"]
        torch.testing.assert_close(merged[f"{name}.weight"][0, :8], torch.tensor(numbers["first"]), rtol=0, atol=1e-7)
        assert float(merged[f"{name}.weight"].double().square().sum()) == pytest.approx(numbers["square_sum"], rel=1e-6)
    assert len({(layer.lora_a.shape[0], layer.scale) for _, layer in lora.adapters(policy.module)}) == 4
    # Out and in again, into a fresh policy and over other numbers: the same to the bit.
    lora.save_adapter(policy, tmp_path / "saved")
    again = load_policy(folder)
    for _ in range(2):
        lora.load_adapter(again, tmp_path / "saved")
        assert torch.equal(again.logits(IDS), policy.logits(IDS))
        for _, layer in lora.adapters(again.module):
            layer.lora_b.data.zero_()
    assert (
        load_file(tmp_path / "saved" / WEIGHTS_FILE).keys() == load_file(GOLDEN / "peft_patterns" / WEIGHTS_FILE).keys()
    )


def test_a_scale_survives_saving_to_the_last_bit() -> None:
    for rank in range(1, 130):
        for alpha in (1, 3, 7, 16, 32, 195, 0.1, 7.3):
            for scale in (alpha / rank, alpha * rank**0.5 / rank):
                assert alpha_of(scale, rank) / rank == scale


@pytest.mark.parametrize("name", sorted(CONFIGS))
def test_check_takes_what_every_family_loads(tmp_path: Path, name: str) -> None:
    folder = write_folder(name, tmp_path / "original")
    policy = load_policy(folder)
    lora.attach(policy, 3, 6.0, ["attn_out"])
    lora.save_adapter(policy, tmp_path / "adapter")
    lora.check_adapter(tmp_path / "adapter", folder)
    other = write_folder(next(each for each in CONFIGS if each not in (name, "llada", "mmada")), tmp_path / "other")
    with pytest.raises(PolicyError, match=r"no such layer to adapt in other|has shape|takes no adapter"):
        lora.check_adapter(tmp_path / "adapter", other)


def test_a_router_and_a_fused_weight_take_no_adapter(tmp_path: Path) -> None:
    folder = write_folder("llada2", tmp_path / "original")
    for layer, outputs in (("mlp.gate", 16), ("attention.query_key_value", 192)):
        adapter = write(tmp_path / layer, {}, lambda t, layer=layer, outputs=outputs: (
            t.clear(), t.update(pair(f"base_model.model.model.layers.1.{layer}", outputs, 64))
        ))  # fmt: skip
        assert f"model.layers.1.{layer}: takes no adapter here" in refused(folder, adapter)


def every_layer(name: str) -> dict[str, tuple[int, ...]]:
    """One layer of each name of a family, and all that stand outside its blocks: what target_modules can come to."""
    found = {}
    for key, shape in shapes(CONFIGS[name]).items():
        layer = key.removesuffix(".weight")
        kind = re.sub(r"\.\d+\.", ".N.", layer)
        if key.endswith(".weight") and kind not in {re.sub(r"\.\d+\.", ".N.", each) for each in found}:
            found[layer] = shape
    return found


@pytest.mark.parametrize("name", sorted(CONFIGS))
def test_an_adapter_on_any_layer_of_any_family_is_used_or_refused(tmp_path: Path, name: str) -> None:
    """PEFT adapts whatever target_modules matches: heads, tables, routers, norms. Where ours does not, it says so."""
    folder, used = write_folder(name, tmp_path / "base"), []
    before = load_policy(folder).logits(IDS)
    for place, (layer, shape) in enumerate(every_layer(name).items()):
        sides = pair(f"base_model.model.{layer}", shape[0], shape[-1])
        adapter = write(tmp_path / f"adapter{place}", {}, lambda t, sides=sides: (t.clear(), t.update(sides)))
        try:
            lora.check_adapter(adapter, folder)
        except PolicyError:
            assert f"{layer}: takes no adapter here" in refused(folder, adapter)
            continue
        policy = load_policy(folder)
        names = lora.load_adapter(policy, adapter)
        assert len(names) == 1 and not torch.equal(policy.logits(IDS), before), layer
        state, merged = policy.module.state_dict(), lora.merged_state(policy.module)
        assert [key for key, value in merged.items() if not torch.equal(value, state[key])] == [f"{names[0]}.weight"]
        used.append(layer)
    assert used and not [
        layer for layer in used if re.search(r"norm|head|wte|embed|ln_f|gate$|transformer\.ff_out", layer)
    ]


@pytest.mark.parametrize(("name", "target"), [("llada", "ff_out"), ("mmada", "ff_out"), ("dream", "lm_head"),
                                              ("sdar", "lm_head"), ("llada2", "lm_head")])  # fmt: skip
def test_one_layer_that_is_not_used_refuses_them_all(tmp_path: Path, name: str, target: str) -> None:
    """PEFT takes ``ff_out`` for every block's and for the head: half an adapter is another model."""
    folder = write_folder(name, tmp_path / "base")
    layers = {key.removesuffix(".weight"): shape for key, shape in shapes(CONFIGS[name]).items()
              if key.endswith((f"{target}.weight", "q_proj.weight", "attention.dense.weight"))}  # fmt: skip
    tensors = {
        key: value
        for layer, shape in layers.items()
        for key, value in pair(f"base_model.model.{layer}", *shape).items()
    }
    adapter = write(tmp_path / "adapter", {"target_modules": [target]}, lambda t: (t.clear(), t.update(tensors)))
    assert len(layers) > 1 and f"{target}: takes no adapter here" in refused(folder, adapter)
