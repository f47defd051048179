"""``unigrpo config`` and ``unigrpo recipes``: every setting with its meaning, value and where it comes from; and the recipes."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.padding import Padding
from rich.text import Text

from cluster import console
from rl.errors import ConfigError
from rl.output.tables import PlainTable, Screen
from rl.registry import close_to


@dataclass(frozen=True, slots=True)
class Row:
    """One setting. resolved: what ``auto`` stands for on this machine. origin: default, family, base, recipe or override."""

    key: str
    value: Any
    origin: str
    where: str
    meaning: str
    resolved: Any = None


def config(
    words: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[KEY...] [KEY=VALUE...]", help="Settings or sections to show; and settings that differ."
        ),
    ] = None,
    recipe: Annotated[str, typer.Option(help="A shipped recipe's name, or the path of a .yaml file.")] = "tiny",
    list_: Annotated[bool, typer.Option("--list", help="List the shipped recipes, and end.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Show every setting of a run: its value, where that comes from, and what it means."""

    def body() -> int:
        if list_:
            return _list(as_json)
        given = words or []
        rows, prompt = settings(recipe, [word for word in given if "=" in word])
        shown = _chosen(rows, [word for word in given if "=" not in word])
        if as_json:
            console.show(json.dumps([dataclasses.asdict(row) for row in shown], indent=2, default=str))
            return console.OK
        _print(shown)
        if prompt and len(shown) == len(rows):
            console.show(f"prompt    {prompt}")
        return console.OK

    console.run(body)


def recipes(as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False) -> None:
    """List the shipped recipes, each with its first line."""
    console.run(lambda: _list(as_json))


def register(app: typer.Typer) -> None:
    app.command()(config)
    app.command()(recipes)


def settings(recipe: str, overrides: Sequence[str]) -> tuple[list[Row], str]:
    """Every setting of a recipe with overrides, in the order of the sections; and how the policy's family puts questions,
    where its folder is at hand. Raises ConfigError."""
    from cluster.actors.device import on_this_machine
    from cluster.plan.family import card_of, is_elsewhere, with_family
    from rl.config import Origin, origins
    from rl.config.meanings import meanings

    written, layers = with_family(recipe, overrides)
    if is_elsewhere(written):
        console.note(
            f"policy.path={written.policy.path}: cannot be read here, so what its family's card gives (learner.lr, sampling) "
            "is not below; a run has it. Give policy.path=FOLDER, or fetch it"
        )
    values, here, told = flat(written), flat(on_this_machine(written)), meanings()
    found = origins(layers, values)
    rows = []
    for key, value in values.items():
        layer = found[key]
        origin, where = (Origin.DEFAULT, "") if layer is None else (layer.origin, layer.where)
        resolved = None if here[key] == value else here[key]
        rows.append(Row(key, value, str(origin), where, told.get(key, "") + allowed_names(key), resolved))
    card = card_of(layers)
    return rows, "" if card is None else f"of family {card[0]}: {card[2].prompt}"


def allowed_names(key: str) -> str:
    """``: one of masked, length, ...`` for a setting that names a member of a registry, those of installed packages too."""
    from cluster.weights.base import WIRES
    from rl.config.checks import REGISTRIES
    from rl.layouts import LAYOUTS
    from rl.tracking.further import TRACKERS

    registry = {
        **REGISTRIES, "evaluation.layout": LAYOUTS, "cluster.weight_sync": WIRES, "tracking.also": TRACKERS
    }.get(key)  # fmt: skip
    return "" if registry is None else f"; one of {', '.join(registry)}"


def flat(config: Any) -> dict[str, Any]:
    """Dotted name -> value. A mapping whose names are the user's is one value."""
    from rl.config.load import free_mappings

    def walk(tree: Mapping[str, Any], prefix: str) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for name, value in tree.items():
            key = f"{prefix}{name}"
            inner = isinstance(value, Mapping) and key not in free_mappings()
            found |= walk(value, f"{key}.") if inner else {key: value}
        return found

    return walk(dataclasses.asdict(config), "")


def _chosen(rows: Sequence[Row], keys: Sequence[str]) -> list[Row]:
    """All of them without a key; else a setting, or a section with what is in it. Raises ConfigError."""
    chosen = []
    for key in keys:
        own = [row for row in rows if row.key == key or row.key.startswith(f"{key}.")]
        if not own:
            names = {row.key for row in rows} | {row.key.rpartition(".")[0] for row in rows} - {""}
            raise ConfigError(
                f"config: unknown setting {key!r}{close_to(key, sorted(names))}; `unigrpo config` shows all"
            )
        chosen += own
    return chosen or list(rows)


WIDE = 120  # columns of a terminal in which names of settings are not broken by a table


def _print(rows: Sequence[Row]) -> None:
    screen = Screen()
    if screen.is_terminal and screen.width < WIDE:
        for row in rows:
            screen.print(f"{row.key}: {_value(row)}  [{_from(row)}]", highlight=False)
            screen.print(Padding(Text(row.meaning), (0, 0, 0, 4)), highlight=False)
        return
    table = PlainTable()
    for name in ("setting", "value", "from", "meaning"):
        table.add_column(name, overflow="fold")
    for row in rows:
        table.add_row(row.key, _value(row), _from(row), row.meaning)
    screen.print(table, highlight=False)


def _value(row: Row) -> str:
    return _word(row.value) if row.resolved is None else f"{_word(row.value)} (here: {_word(row.resolved)})"


def _from(row: Row) -> str:
    """``default``, ``family llada``, ``base gpus-8``, ``recipe llada-8b-gsm8k``, ``override``"""
    if row.origin == "family":
        return row.where.removeprefix("the card of ")
    if row.origin in ("base", "recipe"):
        return f"{row.origin} {Path(row.where).stem}"
    return row.origin


def _word(value: Any) -> str:
    """As YAML writes it on one line; of a source of rows, what differs from the defaults."""
    from rl.config import SourceConfig

    if isinstance(value, list) and value and isinstance(value[0], Mapping):
        defaults = dataclasses.asdict(SourceConfig())
        value = [{key: each[key] for key in each if each[key] != defaults.get(key, ...)} for each in value]
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{key}: {_word(each)}" for key, each in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(_word, value)) + "]"
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    return f"{value:g}" if isinstance(value, float) else str(value)


def _list(as_json: bool) -> int:
    from rl.config import headline, recipe_names, recipe_path

    found = {name: headline(recipe_path(name)) for name in recipe_names()}
    if as_json:
        console.show(json.dumps(found, indent=2))
        return console.OK
    width = max(map(len, found))
    for name, line in found.items():
        console.show(f"{name:<{width}}  {line}")
    return console.OK
