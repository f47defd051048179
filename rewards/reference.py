"""What each reward is and which settings it takes, made from the settings classes.

python -m rewards.reference > docs/rewards_reference.md
"""

from __future__ import annotations

import dataclasses
import inspect
from collections.abc import Iterable
from typing import Any

from rewards.registry import BUILT_IN, member_of, reward_names, settings_of
from rewards.settings import SettingLine, lines_of
from rl.errors import RewardError

_HEAD = """# Rewards: reference

Which settings does each reward take? [rewards.md](rewards.md) says how they are combined.
A reward's settings go under `rewards.settings.NAME`. `unigrpo rewards list --verbose` prints the same for this machine,
with the rewards of installed packages.

<!-- Generated: python -m rewards.reference > docs/rewards_reference.md -->
"""


def summary_of(name: str) -> str:
    """The docstring's first paragraph on one line, without its code marks."""
    text = inspect.getdoc(member_of(name)) or ""
    return " ".join(text.split("\n\n")[0].split()).replace("``", "`")


def listing(verbose: bool) -> str:
    """The names, one a line; verbose: each with what it is and its settings."""
    names = reward_names()
    return "\n\n".join(map(_described, names)) if verbose else "\n".join(names)


def as_data() -> list[dict[str, Any]]:
    """Each reward with what it is and its settings, for JSON. A reward that does not import has ``error`` in their place."""
    rewards: list[dict[str, Any]] = []
    for name in reward_names():
        try:
            settings = [dataclasses.asdict(line) for line in lines_of(settings_of(name))]
            rewards.append({"name": name, "what": summary_of(name), "settings": settings})
        except RewardError as error:
            rewards.append({"name": name, "error": str(error)})
    return rewards


def page() -> str:
    """The reference of the built-in rewards, as Markdown."""
    return _HEAD + "".join(f"\n## {name}\n\n{summary_of(name)}\n\n{_table(name)}" for name in sorted(BUILT_IN))


def _described(name: str) -> str:
    try:
        lines = [f"{name}: {summary_of(name)}"]
    except RewardError as error:  # an installed package that does not import: the others are still listed
        return str(error)
    for line in lines_of(settings_of(name)):
        default = line.default if line.default == "required" else f"default {line.default}"
        lines.append(f"  {line.name} ({line.allowed}; {default}): {line.meaning}")
    return "\n".join(lines)


def _table(name: str) -> str:
    lines = list(lines_of(settings_of(name)))
    if not lines:
        return "It takes no settings.\n"
    return "| setting | allowed | default | meaning |\n|---|---|---|---|\n" + "".join(_rows(lines))


def _rows(lines: Iterable[SettingLine]) -> Iterable[str]:
    for line in lines:
        default = line.default if line.default == "required" else f"`{line.default}`"
        yield f"| `{line.name}` | {line.allowed} | {default} | {line.meaning} |\n"


if __name__ == "__main__":
    print(page(), end="")
