"""(d) The ratios that exist: samplers, learner, forward pass, weight transfer, each beside its floor."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from benchmarks.bench.floors import Machine
from benchmarks.bench.loop import row
from benchmarks.speed import forward, learner, rollout
from benchmarks.timing import one_thread
from cluster.plan.sizes import forward_flops
from policies.network.transformer import TransformerConfig

VOCABULARY = 4096
GROUP = 8


def measure(folder: Path, repeats: int, megabytes: float = 10.0, quick: bool = False) -> dict[str, Any]:
    """quick: without weight transfer, and the cases that take least."""
    cases = ("text", "image") if quick else rollout.CASES
    groups = (1,) if quick else (1, GROUP)
    found: dict[str, Any] = {
        "samplers": rollout.run(repeats, vocabularies=(VOCABULARY,), groups=groups, only=cases),
        "forward": forward.run(repeats, batches=forward.BATCHES[:2] if quick else forward.BATCHES),
        "learner": _gradient(repeats) if quick else learner.run(repeats, vocabularies=(VOCABULARY,)),
    }
    if not quick:
        out = folder / "weights.json"
        command = [sys.executable, "-m", "benchmarks.speed.weight_sync", "--numbers", f"{megabytes:g}"]
        subprocess.run([*command, "--repeats", "3", "--out", str(out)], check=True, stdout=subprocess.DEVNULL)
        found["weights"] = json.loads(out.read_text())
    return found


def _gradient(repeats: int) -> dict[str, Any]:
    """The case that takes least: one update's gradient for each mask."""
    with one_thread():
        return {"cases": [learner.Bench(learner.Shape(), VOCABULARY).case("gradient", repeats)]}


def rows(found: Mapping[str, Any], machine: Machine) -> list[dict[str, Any]]:
    made = []
    for case in found["samplers"]["cases"]:
        floor = sampler_flops(case) / machine.one_core if (exact := case["modality"] in ("text", "image")) else None
        seconds = case["median_ours_cpu_s"]
        share = floor / seconds if exact and floor else None
        name = f"{case['modality']}, group of {case['group']}, against {case['against']}"
        made.append(row(name, seconds, "CPU-s", floor, share, case["speedup"]))
    for case in found["learner"]["cases"]:
        seconds = sorted(case["ours_cpu_s"])[len(case["ours_cpu_s"]) // 2]
        floor = learner_flops(case["case"]) / machine.one_core if case["case"] in LEARNED else None
        made.append(
            row(f"learner, {case['case']}", seconds, "CPU-s", floor, floor and floor / seconds, case["speedup"])
        )
    for case in found["forward"]["cases"]:
        name = f"forward, {case['batch']} x {case['length']}"
        made.append(
            row(
                name,
                case["forward_gflops"],
                "GFLOP/s",
                machine.one_core / 1e9,
                case["forward_gflops"] * 1e9 / machine.one_core,
            )
        )
        made[-1]["ratio"] = case["share"]
    for side, case in found.get("weights", {}).items():
        if isinstance(case, dict):
            made.append(
                row(
                    f"weights, {side}",
                    case["best_mib_per_s"],
                    "MiB/s",
                    None,
                    case["of_plain_socket"],
                    case["of_plain_socket"],
                )
            )
    return made


def sampler_flops(case: Mapping[str, Any]) -> float:
    """Of one exact group: every step computes the whole sequence, the first one for one member; logits of what is masked,
    half of a block on average."""
    shape = rollout.Shape()
    config = _config(VOCABULARY)
    if case["modality"] == "image":
        length, scored = shape.caption + 5 + shape.codes, shape.codebook / VOCABULARY * shape.codes / 2
        return 2 * shape.image_steps * forward_flops(config, length, scored)
    passes = 1 + (shape.text_steps - 1) * case["group"]
    return passes * forward_flops(config, shape.prompt + shape.max_new_tokens, shape.block_length / 2)


LEARNED = ("gradient", "gradient_equal", "step")


def learner_flops(name: str) -> float:
    """A gradient is three passes, once for each ratio of masks; a step has two more before them."""
    shape = learner.Shape()
    lengths = shape.responses if name != "gradient_equal" else (max(shape.responses),) * len(shape.responses)
    passes = 5 if name == "step" else 3
    return sum(
        passes * forward_flops(_config(VOCABULARY), shape.prompt + response, ratio * response)
        for response in lengths
        for ratio in learner.RATIOS
    )


def _config(vocabulary: int) -> TransformerConfig:
    shape = rollout.Shape()
    return TransformerConfig(vocabulary, shape.d_model, shape.n_layers, shape.n_heads, shape.mlp_hidden_size)
