"""``unigrpo data``: the presets, and rows as a policy will see them."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cluster import console

if TYPE_CHECKING:
    from policies.room import Room
    from rl.config import Config, SourceConfig
    from rl.types import Prompt

_LONGEST = 4_000  # characters of a text that is shown
_CELL = 300

data = typer.Typer(help="Published data sets by name, and rows of any source.", no_args_is_help=True)


@data.command("list")
def list_presets(as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False) -> None:
    """The presets: what each is, its licence, and where its rows come from."""

    def body() -> int:
        from rl.data.presets import load_preset, preset_names
        from rl.output.tables import Screen

        presets = {name: load_preset(name) for name in preset_names()}
        if as_json:
            shown = {
                name: {
                    "task": each.task, "splits": list(each.parts), "hub": each.hub, "about": each.about,
                    "licence": each.licence,
                }
                for name, each in presets.items()
            }  # fmt: skip
            console.show(json.dumps(shown, indent=2))
            return console.OK
        screen = Screen(soft_wrap=True)
        for name, preset in presets.items():
            rows = f"hub: {preset.hub}" if preset.hub else "needs path"
            screen.print(f"{name:<20}{preset.task:<12}{'|'.join(preset.parts):<11}{rows}")
            screen.print(f"    {preset.about}\n    licence: {preset.licence}")
        screen.print(
            "path: FOLDER beside source: NAME takes a local copy; docs/data_published.md has the prompts and columns"
        )
        return console.OK

    console.run(body)


@data.command("show")
def show(
    source: Annotated[
        str,
        typer.Argument(metavar="SOURCE|RECIPE", help="A preset, a generator, a file or a name on a hub; or a recipe."),
    ],
    words: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="KEY=VALUE...", help="Of a source, e.g. path=FOLDER split=val args.prompt=plain; or of the recipe."
        ),
    ] = None,
    n: Annotated[int, typer.Option("--n", min=1, help="How many rows of each source.")] = 3,
    policy: Annotated[
        str | None, typer.Option(help="Whose chat template and tokens; default: the recipe's, or tiny.")
    ] = None,
    out: Annotated[Path, typer.Option(help="Where pictures of rows are saved.")] = Path("data_show"),
) -> None:
    """Print rows as the policy will see them: its template, tokens, the reference, and the columns that rewards get."""

    def body() -> int:
        return show_rows(source, words or [], n, policy, out)

    console.run(body)


def show_rows(name: str, words: Sequence[str], n: int, policy: str | None, out: Path) -> int:
    """Raises ConfigError, DataError, PolicyError."""
    from cluster.run.inputs import written_by
    from policies.files.folders import find_policy
    from policies.files.parts import Part
    from policies.room import Room
    from rl.data.presets import preset_of
    from rl.data.rows import load_rows
    from rl.output.tables import Screen

    config, sources = _sources(name, words)
    room = Room(find_policy(policy or config.policy.path, Part.CHECKS))
    screen, written, notes = Screen(soft_wrap=True), written_by(config.rollout), []
    for where, source in sources:
        preset = preset_of(source)
        rows = load_rows(source, frozenset(), notes)
        screen.print(f"{where}: {len(rows):,} rows; policy {room.name} takes {room.limit:,} tokens")
        if preset is not None:
            mix = ", ".join(f"{name}: {weight:g}" for name, weight in preset.rewards.items())
            screen.print(f"rewards that fit: {{{mix}}}; licence: {preset.licence}; set-up: {preset.paper}")
            if preset.unseen:
                screen.print(f"no published row was at hand for this preset: its columns come from {preset.unseen}")
        for number, prompt in enumerate(rows[:n], 1):
            room_for = written(prompt) if config.name else 0
            for line in _row(prompt, room, room_for, out, number):
                screen.print(line)
        screen.print("")
    for note in notes:
        console.note(note)
    return console.OK


def _sources(name: str, words: Sequence[str]) -> tuple[Config, list[tuple[str, SourceConfig]]]:
    """What is shown, and the config that says how long responses are."""
    from rl.config import Config, load_config
    from rl.errors import ConfigError

    recipe = _recipe(name)
    if recipe is not None:
        config = load_config(recipe, words)
        found = [
            (f"data.{which}[{index}]: source {source.source}", source)
            for which in ("train", "val")
            for index, source in enumerate(getattr(config.data, which))
        ]
        if not found:
            raise ConfigError(f"recipe {name}: it has no data; name a source, e.g. gsm8k")
        return config, found
    source = _source(name, words)
    return Config(), [(f"source {source.source}", source)]


def _recipe(name: str) -> str | None:
    """The name or path of a recipe; None: it is a source. A preset's file has ``splits``, and no recipe has."""
    import yaml

    from rl.config import recipe_path
    from rl.data.presets import preset_names
    from rl.errors import ConfigError

    if name in preset_names():
        return None
    try:
        path = recipe_path(name)
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (ConfigError, OSError, ValueError, yaml.YAMLError):
        return None
    return None if isinstance(content, Mapping) and "splits" in content else name


def _source(name: str, words: Sequence[str]) -> SourceConfig:
    """Of ``path=FOLDER args.prompt=plain``. Raises ConfigError."""
    from rl.config import SourceConfig, build_config
    from rl.errors import ConfigError, first_line
    from rl.registry import close_to

    known = [field.name for field in fields(SourceConfig) if field.name not in ("source", "weight")]
    given: dict[str, Any] = {"source": name}
    for word in words:
        key, equals, _ = word.partition("=")
        top = key.split(".")[0]
        if not equals or top not in known:
            raise ConfigError(f"{word!r}: allowed: {', '.join(f'{each}=...' for each in known)}{close_to(top, known)}")
    from omegaconf import OmegaConf

    try:
        given |= dict(OmegaConf.to_container(OmegaConf.from_dotlist(list(words))))  # pyright: ignore
    except Exception as error:  # YAML errors have many classes; all are the user's words
        raise ConfigError(f"{' '.join(words)!r}: {first_line(error)}; expected e.g. args.prompt=published") from error
    return build_config([("data show", {"data": {"val": [given]}})]).data.val[0]


def _row(prompt: Prompt, room: Room, written: int, out: Path, number: int) -> Iterator[str]:
    text, tokens = room.preview(prompt)
    yield ""
    yield f"--- row {number}: {prompt.id}; task {prompt.task}; {tokens:,} tokens" + (
        "" if tokens + written <= room.limit else f", too long with a response of {written:,}"
    )
    yield _cut(text, _LONGEST)
    if prompt.image is not None:
        yield f"picture: {_picture(prompt.image, out, number)}"
    target = prompt.metadata.get("target_image")
    if target is not None:
        yield f"target picture: {_picture(target, out, number)}"
    yield f"reference: {_told(prompt.reference)}"
    if prompt.solution is not None:
        yield f"worked answer: {_told(prompt.solution)}"
    if prompt.rewards:
        yield f"rewards: {', '.join(prompt.rewards)}"
    columns = {key: value for key, value in prompt.metadata.items() if key != "target_image"}
    for key, value in columns.items():
        yield f"  {key}: {_told(value)}"


def _told(value: Any) -> str:
    if value is None:
        return "none"
    if isinstance(value, bytes):
        return f"{len(value):,} bytes"
    return _cut(" ".join(str(value).split()), _CELL)


def _cut(text: str, width: int) -> str:
    return text if len(text) <= width else f"{text[:width]}... ({len(text):,} characters)"


def _picture(image: Any, out: Path, number: int) -> str:
    """Its size; what is no file of its own is saved."""
    import numpy as np
    from PIL import Image

    from rl.pixels import open_image

    picture = Image.fromarray(image) if isinstance(image, np.ndarray) else open_image(image)
    size = f"{picture.width} x {picture.height}"
    if isinstance(image, str):
        return f"{image}, {size}"
    out.mkdir(parents=True, exist_ok=True)
    file = out / f"row_{number}.png"
    picture.save(file)
    return f"{file}, {size}"
