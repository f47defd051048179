"""A run's config against its recipe: the settings that differ."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from rl.config import Config
from rl.config.recipes import recipe_names
from rl.errors import UniGRPOError, first_line
from rl.tracking.pages.html import line
from rl.tracking.pages.report.folder import RunFolder, settings_of

RecipeOf = Callable[[str], Config]  # raises UniGRPOError where there is no such recipe
_PLACES = ("name", "output_dir")
_LONGEST = 160

_log = logging.getLogger(__name__)


def compared(run: RunFolder, recipe_of: RecipeOf) -> tuple[str, Mapping[str, Any]]:
    """(in words what it is compared with, its settings): the recipe, or the defaults where it cannot be had."""
    name = run.recipe or (run.name if run.name in recipe_names() else "")
    if not name:
        return "the defaults (its folder does not say which recipe it is of)", settings_of(Config())
    try:
        return f"the recipe {name}", settings_of(recipe_of(name))
    except (UniGRPOError, OSError) as error:
        # not why: that may quote a file which is no part of the run, and a page is shown to others
        _log.warning("%s: its recipe cannot be read: %s", run.path, first_line(error))
        return f"the defaults (its recipe cannot be read: {name})", settings_of(Config())


def differences(settings: Mapping[str, Any], recipe: Mapping[str, Any]) -> list[tuple[str, Any, Any]]:
    """(setting, the recipe's value, the run's), but for the run's name and place; None: not there."""
    names = dict.fromkeys([*settings, *recipe])
    return [
        (name, recipe.get(name), settings.get(name))
        for name in names
        if name not in _PLACES and _plain(recipe.get(name)) != _plain(settings.get(name))
    ]


def settings_table(runs: Sequence[RunFolder], recipe_of: RecipeOf) -> str:
    """One table for runs of one recipe: a setting has a row where any of them differs."""
    words, recipe = compared(runs[0], recipe_of)
    rows = dict.fromkeys(name for run in runs for name, _, _ in differences(run.settings, recipe))
    if not rows:
        return f"<p>Nothing differs from {line(words, 400)}.</p>"
    heads = "".join(f"<th>{line(run.name, 80)}</th>" for run in runs)
    lines = []
    for name in rows:
        cells = "".join(_cell(run.settings.get(name), recipe.get(name)) for run in runs)
        lines.append(f'<tr><th scope="row">{line(name, 200)}</th><td>{_value(recipe.get(name))}</td>{cells}</tr>')
    return (
        f"<p>Against {line(words, 400)}: {len(rows)} {'settings differ' if len(rows) > 1 else 'setting differs'}.</p>"
        f'<div class="scroll"><table class="settings"><thead><tr><th>setting</th><th>recipe</th>{heads}</tr></thead>'
        f"<tbody>{''.join(lines)}</tbody></table></div>"
    )


def _cell(value: Any, other: Any) -> str:
    kind = "" if _plain(value) == _plain(other) else ' class="differs"'
    return f"<td{kind}>{_value(value)}</td>"


def _value(value: Any) -> str:
    return '<span class="soft">-</span>' if value is None else line(value, _LONGEST)


def _plain(value: Any) -> Any:
    """YAML has no tuples, and an empty mapping or list is as good as none."""
    if isinstance(value, tuple):
        value = list(value)
    return None if value in ({}, [], "") else value
