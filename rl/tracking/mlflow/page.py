"""A run's page: what trains on what, the command, how to go on, which code and machine; and the data as inputs."""

from __future__ import annotations

import dataclasses
import getpass
import hashlib
import importlib.metadata
import json
import os
import platform
import re
import shlex
import socket
import subprocess
import sys
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from rl.config import Config
from rl.config.flat import flatten
from rl.output.secrets import redact
from rl.tracking.mlflow import machine, shown
from rl.types import Prompt

NOTE = "mlflow.note.content"
PACKAGES = ("torch", "numpy", "mlflow", "ray", "deepspeed", "transformers")
_GIT_S = 10.0
_ALWAYS = ("seed", "policy.path", "steps", "learner.lr", "rollout.batch_size", "rollout.n_samples_per_prompt")
_VERBS = {"train": "Post-trains", "sft": "Fine-tunes", "eval": "Evaluates"}
_LOOK = """1. **Model metrics**: groups are in the order of the questions: held-out scores, rewards, health, policy, speed.
2. **Traces**: what the policy wrote and drew, and how each reward judged it. A filter such as `format = 0` finds failures.
3. **Artifacts**: `gallery/` has each test set's answers over time; `playback/` plays rollouts (a trace's tag `playback` names
   its page); `samples/followed_*.json` and `images/` have them as tables and pictures; `report.html` comes at the end; the `log`.
4. **System metrics**: what each node did."""


@dataclass(frozen=True, slots=True)
class Data:
    """One data set: its name, where it is from, whether it trains, and its rows."""

    name: str
    source: str
    trains: bool
    rows: Sequence[Prompt]


@dataclass(frozen=True, slots=True)
class About:
    """What a run's page is made from. recipe: its name or path, as it was given; argv: the command; resumes: the checkpoint
    that a run goes on from, "" for a new one."""

    config: Config
    command: str
    recipe: str = ""
    argv: Sequence[str] = field(default_factory=lambda: tuple(sys.argv))
    data: Sequence[Data] = ()
    resumes: str = ""


def parameters(config: Config) -> dict[str, Any]:
    """Settings that differ from the defaults, and a few that every comparison asks for. The whole config is an artifact."""
    defaults = dict(flatten(dataclasses.asdict(Config()), into_lists=True))
    given = dict(flatten(dataclasses.asdict(config), into_lists=True))
    return {key: value for key, value in given.items() if key in _ALWAYS or defaults.get(key, ...) != value}


def description(about: About) -> str:
    """The text on top of the run's page, in Markdown."""
    config = about.config
    verb = _VERBS.get(about.command, about.command)
    trained = [f"* {_inline(each.name)}: {len(each.rows)} rows" for each in about.data if each.trains]
    held_out = [f"* {_inline(each.name)}: {len(each.rows)} rows" for each in about.data if not each.trains]
    steps = config.sft.steps if about.command == "sft" else config.steps
    length = "" if about.command == "eval" else f", {steps} steps"
    lines = [
        f"{verb} {_inline(config.policy.path)}{length}, seed {config.seed}.",
        *([""] + trained if trained else []),
        *([""] + held_out if held_out else []),
        *(["", "Rewards: " + "; ".join(_mixes(config)) + "."] if about.command == "train" else []),
        "",
        "Command, in " + _inline(os.getcwd()) + ":",
        "",
        *_code(shlex.join(["unigrpo", *about.argv[1:]])),
        "",
        _way_on(about),
        "",
        "What to look at first:",
        "",
        *_LOOK.split("\n"),
    ]
    return redact("\n".join(lines))


def links(experiment: str, run_id: str) -> str:
    """Where the run's pages are among its artifacts, as links within MLflow's own pages, in Markdown."""
    place, view = f"#/experiments/{experiment}/runs/{run_id}/artifacts", "?workflowType=machine_learning"
    return (
        f"Pages: [galleries]({place}/gallery{view}), [playback]({place}/playback{view}), "
        f"[report]({place}/report.html{view}) (once the run has ended)."
    )


def tags(about: About) -> dict[str, str]:
    """Which code, machine and versions; where the job is."""
    found = {
        "command": about.command,
        "recipe": about.recipe or "-",
        "host": socket.gethostname(),
        "resumed from": f"{about.resumes}, {_now()}" if about.resumes else "",
        "run folder": str(about.config.run_dir.absolute()),
        **_git(Path(__file__).parent),
        **machine.device(),
        **_job(about.config),
        "versions": ", ".join(f"{name} {version}" for name, version in versions().items()),
        "mlflow.source.name": redact(shlex.join(["unigrpo", *about.argv[1:]])),
        "mlflow.user": getpass.getuser(),
        "mlflow.source.type": "JOB" if os.environ.get("RAY_JOB_ID") else "LOCAL",
    }
    return {key: redact(shown.line(value, 4000)) for key, value in found.items() if value}


def versions() -> dict[str, str]:
    """Of this project, Python and the packages that a number depends on."""
    found = {"python": platform.python_version()}
    for name in ("unigrpo", *PACKAGES):
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def inputs(data: Iterable[Data]) -> list[tuple[dict[str, Any], str]]:
    """(data set as MLflow describes one, its context) for each that has rows."""
    found = []
    for each in data:
        if each.rows:
            tasks = sorted({str(prompt.task) for prompt in each.rows})
            one = {
                "name": shown.line(each.name, 200),
                "digest": digest(each.rows),
                "source_type": "unigrpo",
                "source": json.dumps({"source": shown.line(each.source, 2000)}),
                "schema": json.dumps({"tasks": tasks}),
                "profile": json.dumps({"num_rows": len(each.rows)}),
            }
            found.append((one, "training" if each.trains else "held out"))
    return found


def digest(rows: Iterable[Prompt]) -> str:
    """32 hex digits over what is asked and what is right: the same rows in the same order give the same ones. Pictures count
    by their path or pixels."""
    sum_ = hashlib.sha256()
    for row in rows:
        image = row.image
        if isinstance(image, np.ndarray):
            image = hashlib.sha256(image.tobytes()).hexdigest()
        said = [row.id, str(row.task), [(each.role, each.content) for each in row.messages], image, row.reference]
        sum_.update(json.dumps(said).encode())
    return sum_.hexdigest()[:32]


def _now() -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime())


def _mixes(config: Config) -> list[str]:
    return [
        f"{task} " + " + ".join(f"{weight:g} x {_inline(name)}" for name, weight in mix.items() if weight)
        for task, mix in config.rewards.mix.items()
    ]


def _way_on(about: About) -> str:
    if about.command == "eval":
        return "An evaluation starts over with the same command."
    if about.config.resume_mode == "auto":
        return "To go on after an interruption: the same command. It takes the newest whole checkpoint."
    return "To go on after an interruption: the same command with `resume_mode=auto`."


def _inline(words: object) -> str:
    """Code, so that no name is read as Markdown."""
    return "`" + shown.line(words, 300).replace("`", "'") + "`"


def _code(words: str) -> list[str]:
    return [f"    {each}" for each in shown.text(words, 4000).split("\n")]


def _git(folder: Path) -> dict[str, str]:
    """The commit of this project's code, where it runs from a clone of its own."""
    commit = _asked_git(folder, "rev-parse", "HEAD")
    top = _asked_git(folder, "rev-parse", "--show-toplevel")
    if not re.fullmatch(r"[0-9a-f]{40,64}", commit) or Path(top) != folder.parents[2]:
        return {}
    changed = _asked_git(folder, "status", "--porcelain", "--untracked-files=no")
    state = f"{len(changed.splitlines())} files changed" if changed else "clean"
    return {"git": f"{commit[:12]}, {state}", "mlflow.source.git.commit": commit}


def _asked_git(folder: Path, *words: str) -> str:
    try:
        done = subprocess.run(["git", *words], cwd=folder, capture_output=True, text=True, timeout=_GIT_S, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""


def _job(config: Config) -> dict[str, str]:
    """The Ray job that this process is, and its dashboard; or the scheduler's job."""
    found: Mapping[str, str | None] = {
        "job": os.environ.get("UNIGRPO_JOB_ID") or os.environ.get("RAY_JOB_ID"),
        "dashboard": os.environ.get("UNIGRPO_DASHBOARD"),
        "slurm job": os.environ.get("SLURM_JOB_ID"),
        "cluster": config.cluster.address if config.cluster.mode == "ray" else None,
    }
    return {key: value for key, value in found.items() if value}
