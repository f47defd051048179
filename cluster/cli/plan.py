"""The command ``unigrpo plan``: reads the policy's config.json, prints the plan. Nothing is started."""

from __future__ import annotations

import dataclasses
import json
import math
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from cluster import console
from cluster.plan.layout import rewards_apart, scorer_gpus, scorers
from cluster.plan.memory import HOST, on_device
from cluster.plan.model import model_of
from cluster.plan.plan import Assumed, Model, Plan, make_plan, samplers
from cluster.plan.search import DIVISION, Proposal, divide, propose
from cluster.plan.seconds import DEVICES, Device, Efficiency
from cluster.plan.sizes import parameters
from cluster.run.hub import pinned
from cluster.run.settings import on_gpu
from cluster.weights.base import check_wire
from policies.files.folders import find_policy, read_config
from policies.files.parts import Part
from rl.config import Config, settings_given
from rl.errors import ConfigError
from rl.output.tables import PlainTable, Screen

BETTER = 1.05  # so many times as fast, and another layout is worth a line


@dataclasses.dataclass(frozen=True, slots=True)
class Asked:
    """What is planned, and on what. gpus: without those of scorers; None: as many as the config asks for. given: the user's
    config, where ``config`` is that with a division of ours; else the same."""

    config: Config
    model: Model
    device: Device
    assumed: Assumed
    gpus: int | None
    typed: frozenset[str]
    given: Config


def plan(recipe: str, words: Sequence[str], calibration: Path | None, as_json: bool = False) -> int:
    """0 where it fits, 1 where it does not. Raises ConfigError, PolicyError."""
    asked = _asked(recipe, words, calibration)
    config, model, gpus = asked.config, asked.model, asked.gpus
    made = make_plan(config, model, asked.device, asked.assumed, gpus)
    proposal = propose(config, asked.typed, model, asked.device, asked.assumed, gpus or made.layout.gpus, asked.given)
    if proposal is not None and made.fits and proposal.plan.samples_per_hour < BETTER * made.samples_per_hour:
        proposal = None
    if as_json:
        print(json.dumps(_as_json(asked, made, proposal), indent=2))
        return console.OK if made.fits else console.CRASHED
    screen = Screen()
    screen.print(_heading(asked, made), highlight=False)
    for table in _tables(made, asked.device):
        screen.print(table)
    screen.print(_basis(asked), highlight=False)
    screen.print(_verdict(asked, made, proposal), highlight=False, soft_wrap=True)
    return console.OK if made.fits else console.CRASHED


def _asked(recipe: str, words: Sequence[str], calibration: Path | None) -> Asked:
    own, overrides = _own(words)
    config = pinned(on_gpu(recipe, overrides), data=False)
    check_wire(config)
    folder = read_config(find_policy(config.policy.path, Part.SIZES))
    model = model_of(config, folder)
    device = _device(str(own.get("gpu", "h100")), calibration)
    efficiency = Efficiency(own.get("sampler_efficiency", 0.4), own.get("learner_efficiency", 0.4))
    codes = int(own.get("image_codes", folder.get("num_vq_tokens", 1024)))
    assumed = Assumed(int(own.get("prompt_tokens", 256)), codes, float(own.get("reward_s", 0)), efficiency)
    gpus, given = _for_the_run(config, own), config
    if gpus is not None and not {*DIVISION} & settings_given(recipe, overrides):
        config = divide(config, model, device, assumed, gpus)
    typed = frozenset(word.partition("=")[0].strip() for word in overrides)
    return Asked(config, model, device, assumed, gpus, typed, given)


def _for_the_run(config: Config, own: dict[str, Any]) -> int | None:
    """GPUs that scorers leave over."""
    if "gpus" not in own:
        return None
    scoring = math.ceil(scorer_gpus(config))
    gpus = int(own["gpus"]) - scoring
    if gpus < 1:
        raise ConfigError(
            f"gpus={own['gpus']:g}: scorers of rewards take {scoring}; give more, or ask for fewer scorer_workers"
        )
    return gpus


def _verdict(asked: Asked, made: Plan, proposal: Proposal | None) -> str:
    gpus = asked.gpus or made.layout.gpus
    told = "" if made.fits else "Does not fit. "
    if proposal is not None:
        better = proposal.plan
        return (
            f"{told}{'Faster' if made.fits else 'It fits'} on {gpus} x {asked.device.name} with: "
            f"{' '.join(proposal.settings)} ({better.used / 1e9:,.1f} GB, {better.samples_per_hour:,.0f} samples/h)"
        )
    if made.fits:
        return f"Fits: {made.used / 1e9:,.1f} GB of {made.device_memory / 1e9:,.1f}."
    return f"{told}Nothing that was tried makes it fit on {gpus} x {asked.device.name}; {_way_out(asked)}"


def _way_out(asked: Asked) -> str:
    if asked.model.adapter is None:
        return "take more or larger GPUs, or train an adapter: learner.lora.rank=64"
    return "take more or larger GPUs"


def _as_json(asked: Asked, made: Plan, proposal: Proposal | None) -> dict[str, Any]:
    """Bytes and seconds."""
    return {
        "fits": made.fits,
        "gpus": made.layout.gpus,
        "gpu": asked.device.name,
        "placement": made.layout.mode,
        "learner_ranks": made.ranks,
        "rollout_workers": made.workers,
        "parameters": parameters(asked.model.sizes),
        "trained_parameters": asked.model.trained,
        "memory": made.memory,
        "device_memory": made.device_memory,
        "used": made.used,
        "seconds": made.seconds,
        "samples_per_hour": made.samples_per_hour,
        "measured_peaks": asked.device.measured,
        "proposal": None if proposal is None else list(proposal.settings),
    }


def calibrate(out: Path, device: str, seconds: float = 2.0, width: int = 4096) -> int:
    """Write what this machine's device reaches."""
    found = rates(device, seconds, width)
    out.write_text(json.dumps(found, indent=2) + "\n", "utf-8")
    console.show(
        f"{out}: {found['flops'] / 1e12:.3g} T operations/s in {found['dtype']}, {found['bandwidth'] / 1e9:.3g} GB/s"
    )
    return console.OK


def rates(device: str, seconds: float = 2.0, width: int = 4096) -> dict[str, Any]:
    """Operations and bytes a second: products as in a layer of an 8B model, and a copy of the device's memory."""
    import torch

    dtype = torch.bfloat16 if device.startswith("cuda") else torch.float32
    a, b = (
        torch.randn(2048, width, device=device, dtype=dtype),
        torch.randn(width, 3 * width, device=device, dtype=dtype),
    )
    flops = 2 * a.shape[0] * a.shape[1] * b.shape[1] / _best(lambda: a @ b, device, seconds)
    source = torch.zeros(width * 2**14, device=device, dtype=torch.float32)
    target = torch.empty_like(source)
    bandwidth = 2 * source.numel() * 4 / _best(lambda: target.copy_(source), device, seconds)
    return {"gpu": device, "flops": flops, "bandwidth": bandwidth, "dtype": str(dtype).removeprefix("torch.")}


def _best(work: Any, device: str, seconds: float) -> float:
    """Seconds of the fastest of several turns: what the hardware can do, not what the machine was busy with."""
    import torch

    best, ends = float("inf"), time.monotonic() + seconds
    while time.monotonic() < ends or best == float("inf"):
        began = time.perf_counter()
        work()
        if device.startswith("cuda"):
            torch.cuda.synchronize()
        best = min(best, time.perf_counter() - began)
    return best


# Word -> least and most of its value, and whether it is a whole number.
BOUNDS: dict[str, tuple[float, float, bool]] = {
    "gpus": (1, 1_000_000, True),
    "prompt_tokens": (1, 10_000_000, True),
    "image_codes": (1, 1_000_000, True),
    "reward_s": (0, 1e6, False),
    "sampler_efficiency": (1e-6, 1, False),
    "learner_efficiency": (1e-6, 1, False),
}


def _own(words: Sequence[str]) -> tuple[dict[str, Any], list[str]]:
    """``gpus=64 gpu=h100`` and the like are the plan's; the rest are the config's. Raises ConfigError."""
    own: dict[str, Any] = {}
    rest = []
    for word in words:
        key, _, value = word.partition("=")
        if key == "gpu":
            own[key] = value.strip().lower()
        elif key in BOUNDS:
            own[key] = _number(key, value)
        else:
            rest.append(word)
    return own, rest


def _number(key: str, value: str) -> float:
    least, most, whole = BOUNDS[key]
    kind = "a whole number" if whole else "a number"
    try:
        found = float(value)
    except ValueError as error:
        raise ConfigError(f"{key}={value}: expected {kind}, {least:g} to {most:,g}") from error
    if not least <= found <= most or (whole and found != int(found)):
        raise ConfigError(f"{key}={value}: must be {kind}, {least:g} to {most:,g}")
    return found


def _device(name: str, calibration: Path | None) -> Device:
    if name not in DEVICES:
        raise ConfigError(f"gpu={name}: allowed: {', '.join(DEVICES)}")
    if calibration is None:
        return DEVICES[name]
    try:
        found = json.loads(calibration.read_text("utf-8"))
        flops, bandwidth = float(found["flops"]), float(found["bandwidth"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ConfigError(f"--calibration {calibration}: not what plan --calibrate writes: {error}") from error
    if found.get("dtype") != "bfloat16":
        raise ConfigError(f"--calibration {calibration}: measured in {found.get('dtype')}: measure on the GPU itself")
    return dataclasses.replace(DEVICES[name], flops=flops, bandwidth=bandwidth, measured=True)


def _heading(asked: Asked, made: Plan) -> str:
    where, config, model = made.layout, asked.config, asked.model
    trained = "" if model.adapter is None else f", of which an adapter of {model.trained:,} is trained"
    return (
        f"{config.policy.path}: {parameters(model.sizes):,} parameters, {config.policy.dtype}{trained}\n"
        f"{where.gpus} x {asked.device.name}, {where.mode}: cluster.learner_ranks={made.ranks} "
        f"cluster.rollout_workers={made.workers} cluster.reward_workers={config.cluster.reward_workers} "
        f"({where.cpus} CPUs)" + _scorers_line(config)
    )


def _scorers_line(config: Config) -> str:
    names, count = ", ".join(sorted(rewards_apart(config))), scorers(config)
    return f"\n{scorer_gpus(config):g} GPUs more for cluster.scorer_workers={count}: {names}" if count else ""


def _tables(made: Plan, device: Device) -> list[PlainTable]:
    memory = PlainTable(
        title=f"GB of {made.device_memory / 1e9:.1f} (of {device.memory / 1e9:g}; the rest is CUDA's own)"
    )
    for name in ("", *made.memory):
        memory.add_column(name, justify="right" if name else "left")
    parts = list(
        dict.fromkeys(part for column in made.memory.values() for part in column if part != HOST or column[HOST])
    )
    for part in parts:
        memory.add_row(part, *(f"{column.get(part, 0.0) / 1e9:,.2f}" for column in made.memory.values()))
    memory.add_row(
        "together, on the device", *(f"{on_device(column) / 1e9:,.2f}" for column in made.memory.values()), style="bold"
    )
    step = PlainTable(title="seconds of a step")
    step.add_column("")
    step.add_column("", justify="right")
    for part, seconds in made.seconds.items():
        step.add_row(part, f"{seconds:,.2f}")
    step.add_row("together", f"{sum(made.seconds.values()):,.2f}", style="bold")
    step.add_row("samples an hour", f"{made.samples_per_hour:,.0f}", style="bold")
    return [memory, step]


def _basis(asked: Asked) -> str:
    assumed, device = asked.assumed, asked.device
    peak = "measured on the device" if device.measured else "the vendor's figures"
    shares = ", ".join(f"{kind.task} {kind.share:.0%}" for kind in samplers(asked.config, assumed, asked.model.images))
    return (
        f"Arithmetic from sizes; peaks are {peak}; assumed: {assumed.efficiency.sampler:.0%} of the roofline in sampling, "
        f"{assumed.efficiency.learner:.0%} in learning, {assumed.efficiency.wire:.0%} of links; prompts of "
        f"{assumed.prompt_tokens} tokens, images of {assumed.image_codes} codes, a group scored in {assumed.reward_s:g} s; "
        f"tasks: {shares}."
    )
