"""What the manual may name: settings, metrics, commands, files and targets. Each function says whether it is there."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator, Sequence
from functools import cache
from typing import Any

import typer

from cluster.cli.app import app
from cluster.cli.plan import BOUNDS
from rl.config.load import free_mappings
from rl.config.meanings import meanings
from rl.tracking.metric_meanings import METRIC_MEANINGS
from tests.manual import ROOT

OURS = ("rl", "rewards", "policies", "cluster", "benchmarks", "tests")
# Whose words KEY=VALUE are settings of the config.
CONFIGURED = (
    "train",
    "sft",
    "eval",
    "generate",
    "doctor",
    "plan",
    "submit",
    "config",
    "manifest kuberay",
    "manifest slurm",
)


def is_setting(name: str) -> bool:
    """A setting, a section, or something within a mapping or list whose names are the user's."""
    known = meanings()
    if name in known or any(each.startswith(f"{name}.") for each in known):
        return True
    inside = (*free_mappings(), "data.train", "data.val")
    return any(name.startswith(f"{free}.") for free in inside)


@cache
def metric_patterns() -> tuple[re.Pattern[str], ...]:
    return tuple(re.compile(re.sub(r"\\\{\w+\\\}", r"[\\w/{}-]+", re.escape(name))) for name in METRIC_MEANINGS)


def is_metric(name: str) -> bool:
    """A metric, a group of them, or one of them with a part left open (``TASK``, ``{name}``)."""
    return any(pattern.fullmatch(name) for pattern in metric_patterns()) or any(
        each.startswith(f"{name.rstrip('/')}/") for each in METRIC_MEANINGS
    )


def metric_groups() -> set[str]:
    return {name.partition("/")[0] for name in METRIC_MEANINGS if "/" in name}


def is_file(name: str) -> bool:
    """A file or folder of the repository; ``FILE::TEST`` and ``FILE:NAME`` as well."""
    path, _, inside = name.partition(":")
    target = ROOT / path
    if not target.exists():
        return False
    wanted = inside.lstrip(":").partition("[")[0]
    return (
        not wanted or not path.endswith(".py") or re.search(rf"\b{re.escape(wanted)}\b", target.read_text()) is not None
    )


def is_target(name: str) -> bool:
    """A target of the Makefile."""
    return re.search(rf"^{re.escape(name)}:", (ROOT / "Makefile").read_text(), re.M) is not None


def is_module(name: str) -> bool:
    """``python -m NAME`` of ours."""
    path = ROOT / name.replace(".", "/")
    return path.with_suffix(".py").is_file() or (path / "__main__.py").is_file()


def simple_commands(text: str) -> Iterator[list[str]]:
    """The words of each command of a shell text, without what is assigned before it. A quoted text stays on its line."""
    for line in text.replace("\\\n", " ").splitlines():
        lexer = shlex.shlex(line, posix=True, punctuation_chars="|&;<>")
        lexer.whitespace_split = True
        found: list[str] = []
        for word in [*lexer, ";"]:
            if word.strip("|&;<>"):
                found.append(word)
                continue
            while found and re.match(r"^\w+=", found[0]):
                found.pop(0)
            if found:
                yield found
            found = []


def mistakes(words: Sequence[str]) -> Iterator[str]:
    """What is wrong with a command: a name that is not there."""
    if words[0] == "unigrpo":
        yield from _mistakes_of_ours(words[1:])
    elif words[0] == "make":
        yield from (f"make {word}" for word in words[1:] if "=" not in word and not is_target(word))
    elif words[:2] == ["python", "-m"] and words[2].partition(".")[0] in OURS and not is_module(words[2]):
        yield f"python -m {words[2]}"


def _mistakes_of_ours(words: Sequence[str]) -> Iterator[str]:
    command: Any = typer.main.get_command(app)
    path: list[str] = []
    rest = list(words)
    while rest and rest[0] in getattr(command, "commands", {}):
        path.append(rest[0])
        command = command.commands[rest.pop(0)]
    if getattr(command, "commands", None) and rest and not rest[0].startswith("-"):
        yield f"unigrpo {' '.join([*path, rest[0]])}"
        return
    options = {name for each in command.params for name in (*each.opts, *each.secondary_opts)} | {"-h", "--help"}
    if path == ["bench"]:
        return
    configured = " ".join(path) in CONFIGURED
    for word in rest:
        option, equals, _ = word.partition("=")
        own = path == ["plan"] and option in {*BOUNDS, "gpu"}
        if word.startswith("--") and option not in options:
            yield f"unigrpo {' '.join(path)} {option}"
        elif equals and configured and re.fullmatch(r"[a-z][\w.]*", option) and not own and not is_setting(option):
            yield f"unigrpo {' '.join(path)} {option}="
