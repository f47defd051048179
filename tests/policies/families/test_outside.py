"""A family that an installed package brings, exactly as the recipe for contributors says."""

from __future__ import annotations

import json
import re
import tomllib
from pathlib import Path

from safetensors.torch import load_file, save_file
from torch import ones

from policies.files.checkpoints import SINGLE
from tests.outside.package import make_package, run_with, section
from tests.policies.originals import CONFIGS, write_folder


def recipe() -> tuple[str, dict[str, str], str]:
    """The page's family, what its package brings, and the page's trial."""
    family, points, trial = re.findall(r"```(?:python|toml)\n(.*?)```", section("Add a policy family"), re.DOTALL)
    groups = tomllib.loads(points)["project"]["entry-points"]
    return (
        family,
        {group: f"{name} = {value}" for group, found in groups.items() for name, value in found.items()},
        trial,
    )


def test_the_recipe_adds_a_family_from_outside(tmp_path: Path) -> None:
    """LLaDA with normalised queries and keys: the loader asks for their weights, and the network uses them."""
    family, brings, trial = recipe()
    make_package(tmp_path, "kitten", family, brings)
    checkpoint = write_folder("llada", tmp_path / "checkpoint")
    (checkpoint / "config.json").write_text(json.dumps({**CONFIGS["llada"], "model_type": "kitten"}))
    script = (
        "from policies.files.checkpoints import check_policy\n"
        "from rl.errors import PolicyError\n"
        "try: check_policy('checkpoint')\n"
        "except PolicyError as error: print(error)\n"
    )
    refused = run_with(tmp_path, "-c", script).stdout
    assert "missing tensors, the first is model.transformer.blocks.0.q_norm.weight" in refused
    weights = load_file(checkpoint / SINGLE)
    head = CONFIGS["llada"]["d_model"] // CONFIGS["llada"]["n_heads"]
    for layer in range(CONFIGS["llada"]["n_layers"]):
        for name in ("q_norm", "k_norm"):
            weights[f"model.transformer.blocks.{layer}.{name}.weight"] = 3 * ones(head)
    save_file(weights, checkpoint / SINGLE)
    more = (
        "from policies.families.registry import FAMILIES\n"
        "print(*FAMILIES)\n"
        "policy.module.blocks[0].q_norm.weight.data.mul_(2)\n"
        "print(torch.equal(load_policy('copy').logits(ids), policy.logits(ids)))\n"
    )
    listed, same = run_with(tmp_path, "-c", trial + more).stdout.splitlines()
    assert listed.split() == ["llada", "mmada", "Dream", "sdar", "llada2_moe", "kitten"] and same == "False"
    assert load_file(tmp_path / "copy" / SINGLE).keys() == weights.keys()
    assert json.loads((tmp_path / "copy" / "config.json").read_text())["model_type"] == "kitten"
