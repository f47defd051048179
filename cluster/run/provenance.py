"""What an evaluation's numbers depend on, for summary.json: scores of one checkpoint differ by points between devices."""

from __future__ import annotations

import dataclasses
import hashlib
import importlib.metadata as metadata
import json
import platform
import subprocess
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from rl.config import Config
from rl.data.overlap import image_digest
from rl.errors import DataError
from rl.types import Prompt

PACKAGES = (
    "unigrpo", "torch", "torchvision", "numpy", "transformers", "tokenizers", "safetensors", "ray", "open-clip-torch",
    "math-verify", "lm-eval",
)  # fmt: skip
GIT_S = 20.0
_ACCELERATOR = "accelerator_type:"


def provenance(config: Config, prompts: Sequence[Prompt], device: str | None = None) -> dict[str, Any]:
    """device, dtype, versions, commit, dirty, policy, sampling, data.

    prompts  the held-out ones, as they are asked
    device   ``device_name``; None: ask now. Over a cluster it is known while Ray runs.
    """
    tasks = sorted({str(prompt.task) for prompt in prompts})
    part = config.evaluation
    return {
        "device": device or device_name(config),
        "dtype": config.policy.dtype,
        "versions": versions(),
        **commit(),
        "policy": config.policy.path,
        "adapter": config.learner.lora.path,
        "sampling": {
            "seed": config.seed,
            "samples": part.n_samples_per_prompt,
            "k_shots": part.k_shots,
            **{task: dataclasses.asdict(getattr(part, task)) for task in tasks},
        },
        "data": {"val": [dataclasses.asdict(source) for source in config.data.val], "asked": asked(prompts)},
    }


def asked(prompts: Iterable[Prompt]) -> dict[str, dict[str, Any]]:
    """Source -> its rows, and a SHA-256 over ids, tasks, chats, references and pictures of them in order."""
    hashes: dict[str, Any] = {}
    counts: dict[str, int] = {}
    for prompt in prompts:
        turns = [(turn.role, turn.content) for turn in prompt.messages]
        row = json.dumps([prompt.id, str(prompt.task), turns, prompt.reference, _picture(prompt)])
        hashes.setdefault(prompt.source, hashlib.sha256()).update(row.encode("utf-8", "surrogatepass") + b"\n")
        counts[prompt.source] = counts.get(prompt.source, 0) + 1
    return {source: {"rows": counts[source], "sha256": each.hexdigest()} for source, each in hashes.items()}


def _picture(prompt: Prompt) -> str:
    try:
        return image_digest(prompt)
    except DataError:
        return "unreadable"  # it may be gone by the end of a run, whose summary must be written all the same


def versions() -> dict[str, str]:
    """Of Python, and of those packages that are installed."""
    found = {"python": platform.python_version()}
    for name in PACKAGES:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    import torch

    if torch.version.cuda is not None:
        found |= {"cuda": torch.version.cuda, "cudnn": str(torch.backends.cudnn.version())}
    return found


def commit(folder: Path | None = None) -> dict[str, Any]:
    """The checkout that this code, or a folder, lies in: its commit, and whether files differ from it. None: no checkout."""
    root = folder or Path(__file__).resolve().parents[2]
    if not (root / ".git").exists():  # site-packages may lie in somebody's checkout
        return {"commit": None, "dirty": None}
    try:
        head = _git(root, "rev-parse", "HEAD")
        return {"commit": head.strip(), "dirty": bool(_git(root, "status", "--porcelain").strip())}
    except (OSError, subprocess.SubprocessError):
        return {"commit": None, "dirty": None}


def device_name(config: Config) -> str:
    """What samples: the GPU's name, also of Ray's nodes while Ray runs; or the CPU's with the threads of one worker."""
    import torch

    if torch.device(config.policy.device).type != "cuda":
        threads = config.rollout.threads
        return f"{config.policy.device}: {_cpu()}, {threads} thread{'' if threads == 1 else 's'} a worker"
    if config.cluster.mode == "ray" and (names := _of_nodes()):
        return f"{config.policy.device}: {', '.join(names)}"
    if torch.cuda.is_available():
        return f"{config.policy.device}: {torch.cuda.get_device_name(torch.device(config.policy.device))}"
    return f"{config.policy.device}: on other machines"


def _of_nodes() -> list[str]:
    """Kinds of accelerators that Ray's nodes say they have."""
    import ray

    if not ray.is_initialized():
        return []
    resources: Iterable[Mapping[str, float]] = (node.get("Resources", {}) for node in ray.nodes() if node["Alive"])
    return sorted(
        {name.removeprefix(_ACCELERATOR) for each in resources for name in each if name.startswith(_ACCELERATOR)}
    )


def _cpu() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text("utf-8").splitlines()
    except OSError:
        lines = []
    named = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(named, platform.processor() or platform.machine())


def _git(root: Path, *words: str) -> str:
    command = ["git", "--no-optional-locks", "-C", str(root), *words]
    return subprocess.run(command, capture_output=True, text=True, timeout=GIT_S, check=True).stdout
