"""Adapters: the written equation, PEFT's format in and out, and every family's own names."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from policies import load_policy, lora
from policies.policy import MaskedDiffusionPolicy
from rl.errors import PolicyError
from tests.policies.originals import CONFIGS, GOLDEN, write_folder

IDS = torch.arange(20, 32)[None]
SEPARATE = ["attn_out"]  # a module of its own in every family


def fill(policy: MaskedDiffusionPolicy, seed: int = 0) -> None:
    """B is zero at the start: give it something to add."""
    generator = torch.Generator().manual_seed(seed)
    for _, layer in lora.adapters(policy.module):
        layer.lora_b.data.normal_(generator=generator).mul_(0.1)


@pytest.mark.parametrize("name", sorted(CONFIGS))
def test_every_family_starts_as_its_base_and_merges_exactly(tmp_path: Path, name: str) -> None:
    folder = write_folder(name, tmp_path / "original")
    policy, base = (load_policy(folder, dtype=torch.float64) for _ in range(2))
    expected = base.logits(IDS)
    before = {key: value.clone() for key, value in base.module.state_dict().items()}
    names = lora.attach(policy, 3, 6.0, SEPARATE, seed=1)
    assert len(names) == base.module.config.n_layers
    assert torch.equal(policy.logits(IDS), expected)
    fill(policy)
    adapted = policy.logits(IDS)
    assert (adapted - expected).abs().max() > 1e-3
    with lora.adapters_off(policy.module):
        assert torch.equal(policy.logits(IDS), expected)
    base.module.load_state_dict(lora.merged_state(policy.module))
    torch.testing.assert_close(base.logits(IDS), adapted, rtol=0, atol=1e-10)
    for key, value in lora.base_state(policy.module).items():
        assert torch.equal(value, before[key])
    trainable = {key for key, value in policy.module.named_parameters() if value.requires_grad}
    assert trainable == {f"{layer}.{part}" for layer in names for part in ("lora_a", "lora_b")}

    lora.save_adapter(policy, tmp_path / "adapter")
    theirs = {key.removesuffix(".weight") for key in load_file(folder / "model.safetensors")}
    for key in load_file(tmp_path / "adapter" / lora.WEIGHTS_FILE):
        assert key.startswith("base_model.model.") and key.endswith((".lora_A.weight", ".lora_B.weight"))
        assert key.removeprefix("base_model.model.").removesuffix(".weight").rpartition(".")[0] in theirs
    again = load_policy(folder, dtype=torch.float64)
    assert sorted(lora.load_adapter(again, tmp_path / "adapter")) == sorted(names)
    assert torch.equal(again.logits(IDS), adapted)


def test_the_equation(tmp_path: Path) -> None:
    policy = load_policy(write_folder("llada", tmp_path / "original"), dtype=torch.float64)
    lora.attach(policy, 2, 5.0, ["ff_proj"])
    fill(policy)
    layer = policy.module.get_submodule("blocks.0.ff_proj")
    assert isinstance(layer, lora.LoraLinear)
    x = torch.randn(4, layer.in_features, dtype=torch.float64, generator=torch.Generator().manual_seed(2))
    expected = x @ (layer.weight + 5.0 / 2 * layer.lora_b @ layer.lora_a).T
    torch.testing.assert_close(layer(x), expected, rtol=0, atol=1e-12)
    torch.testing.assert_close(layer.merged(), layer.weight + 2.5 * layer.lora_b @ layer.lora_a, rtol=0, atol=1e-15)
    bound = layer.in_features**-0.5
    assert 0.5 * bound < float(layer.lora_a.abs().max()) <= bound


def test_an_adapter_of_pefts_own(tmp_path: Path) -> None:
    """What PEFT 0.18.0 saved, and the weights that it merged to: see golden/README.md."""
    policy = load_policy(write_folder("llada", tmp_path / "original"))
    names = lora.load_adapter(policy, GOLDEN / "peft")
    expected = json.loads((GOLDEN / "peft" / "merged.json").read_text())
    assert sorted(f"model.transformer.{name}.weight" for name in names) == sorted(expected)
    merged = lora.merged_state(policy.module)
    for name in names:
        found = merged[f"{name}.weight"]
        numbers = expected[f"model.transformer.{name}.weight"]
        torch.testing.assert_close(found[0, :8], torch.tensor(numbers["first"]), rtol=0, atol=1e-7)
        assert float(found.double().square().sum()) == pytest.approx(numbers["square_sum"], rel=1e-6)
    # What we write has PEFT's keys and settings.
    lora.save_adapter(policy, tmp_path / "out")
    assert (
        load_file(tmp_path / "out" / lora.WEIGHTS_FILE).keys() == load_file(GOLDEN / "peft" / lora.WEIGHTS_FILE).keys()
    )
    ours, theirs = (
        json.loads((folder / lora.CONFIG_FILE).read_text()) for folder in (tmp_path / "out", GOLDEN / "peft")
    )
    assert {key: ours[key] for key in ("r", "lora_alpha", "peft_type", "bias")} == {
        key: theirs[key] for key in ("r", "lora_alpha", "peft_type", "bias")
    }


def test_mistakes_are_one_line(tmp_path: Path) -> None:
    folder = write_folder("llada", tmp_path / "original")
    with pytest.raises(PolicyError, match="target 'q': .* has no such layer; allowed: q_proj"):
        lora.attach(load_policy(folder), 2, 4.0, ["q"])
    with pytest.raises(PolicyError, match="not a PEFT adapter"):
        lora.load_adapter(load_policy(folder), folder)
    policy = load_policy(folder)
    lora.attach(policy, 2, 4.0, ["q_proj"])
    lora.save_adapter(policy, tmp_path / "adapter")
    other = load_policy(folder)
    lora.attach(other, 2, 4.0, ["q_proj", "v_proj"])
    with pytest.raises(PolicyError, match=r"nothing for blocks.0.v_proj"):
        lora.load_adapter(other, tmp_path / "adapter")
    wider = load_policy(folder)
    lora.attach(wider, 3, 4.0, ["q_proj"])
    with pytest.raises(PolicyError, match=r"lora_A.weight has shape \(2, \d+\), expected \(3"):
        lora.load_adapter(wider, tmp_path / "adapter")
    shutil.copytree(tmp_path / "adapter", tmp_path / "dora")
    config = json.loads((tmp_path / "dora" / lora.CONFIG_FILE).read_text())
    (tmp_path / "dora" / lora.CONFIG_FILE).write_text(json.dumps({**config, "use_dora": True}))
    with pytest.raises(PolicyError, match="use_dora=True is not supported"):
        lora.load_adapter(load_policy(folder), tmp_path / "dora")


def test_a_fused_weight_has_no_adapter_of_its_parts(tmp_path: Path) -> None:
    name = next(name for name, config in CONFIGS.items() if config["model_type"] == "llada2_moe")
    folder = write_folder(name, tmp_path / "original")
    for target, told in (("q_proj", "within a fused weight; choose other layers"), ("router", "has no such layer")):
        with pytest.raises(PolicyError, match=told):
            lora.attach(load_policy(folder), 2, 4.0, [target])
        with pytest.raises(PolicyError, match=told):
            lora.check_targets([target], folder)
    lora.check_targets(["attn_out"], folder)
