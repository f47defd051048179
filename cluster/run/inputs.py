"""The rows of a run: loaded, told apart, and measured against the policy's length, before anything starts."""

from __future__ import annotations

import gc
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from cluster import console
from rewards.math.references import alternatives
from rewards.registry import settings_of
from rl.config import Config, EvaluationConfig, RolloutConfig, SourceConfig
from rl.data.overlap import check_disjoint, shared_with
from rl.data.presets import preset_of
from rl.data.rows import load_rows
from rl.data.shots import with_shots
from rl.data.values import shown
from rl.errors import ConfigError, DataError
from rl.output.progress import Progress
from rl.sft.examples import canvas_of, on_canvas
from rl.tasks import GENERATORS
from rl.types import Prompt, Task


@dataclass(frozen=True, slots=True)
class Loaded:
    """Rows of one source with their numbers in it, from 1. Example: ``Loaded("data.train[0]", source, ((1, prompt),))``."""

    where: str
    source: SourceConfig
    rows: tuple[tuple[int, Prompt], ...]

    @property
    def trains(self) -> bool:
        return self.where.startswith("data.train")

    @property
    def prompts(self) -> tuple[Prompt, ...]:
        return tuple(prompt for _, prompt in self.rows)

    def row(self, place: int) -> str:
        """``data.jsonl: row 3``, for messages."""
        return f"{self.source.source}: row {self.rows[place][0]}"

    def without(self, places: Iterable[int], why: str) -> Loaded:
        """Raises DataError where nothing is left."""
        dropped = set(places)
        rows = tuple(row for place, row in enumerate(self.rows) if place not in dropped)
        if not rows:
            raise DataError(
                f"{self.where}: source {shown(self.source.source)}: all of its {len(self.rows):,} rows {why}"
            )
        return replace(self, rows=rows)


@contextmanager
def uncollected() -> Iterator[None]:
    """No search for circles of objects inside: rows hold none, and each search looks at all rows that are there by then."""
    was = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was:
            gc.enable()


def load(config: Config, needs_train: bool, needs_val: bool, notes: list[str]) -> list[Loaded]:
    """Every source in the order of the config, files before generators. Raises ConfigError or DataError."""
    wanted: list[tuple[str, SourceConfig, Mapping[Task, bool]]] = []
    for name, needed, sources, mix in (
        ("train", needs_train, config.data.train, config.rewards.mix),
        ("val", needs_val, config.data.val, config.evaluation.mix),
    ):
        if needed and not sources:
            spares = name == "val" and needs_train  # eval has nothing else to do
            way_out = "; or set val_before_train=false, val_after_train=false and test_freq=0" if spares else ""
            raise ConfigError(f"data.{name}=[]: must have at least one source, e.g. [{{source: sudoku4x4}}]{way_out}")
        compared = _compared_tasks(mix, config.rewards.settings)
        wanted += [(f"data.{name}[{index}]", source, compared) for index, source in enumerate(sources) if needed]
    for where, source, _ in wanted:
        _check_held_out(where, source)
    found: dict[str, Loaded] = {}
    for where, source, compared in sorted(wanted, key=lambda item: item[1].source in GENERATORS):
        with Progress(f"reading {source.source}") as count:
            rows = load_rows(source, frozenset(compared), notes, count)
        loaded = Loaded(where, source, tuple(enumerate(rows, 1)))
        if not loaded.rows:
            raise DataError(f"{where}: source {source.source!r} gave no rows; check its args and limit")
        _check_references(loaded, {task for task, as_text in compared.items() if not as_text})
        _check_refusals(loaded, config.rewards.mix if loaded.trains else config.evaluation.mix, config.rewards.settings)
        found[where] = loaded
    sources = [found[where] for where, _, _ in wanted]
    _check_ids(sources)
    return _disjoint(config, sources, notes)


def _check_held_out(where: str, source: SourceConfig) -> None:
    """Raises ConfigError where a preset that is only evaluated on is trained on."""
    preset = preset_of(source)
    if preset is not None and where.startswith("data.train") and "train" not in preset.parts:
        raise ConfigError(
            f"{where}: source {preset.name} has held-out rows alone; list it under data.val, or name a file of your own as source"
        )


def with_examples(config: Config, sources: Sequence[Loaded], keep_train: bool) -> list[Loaded]:
    """Held-out rows behind ``evaluation.k_shots`` examples of the training rows. keep_train: they are trained on too.

    Raises DataError where there are too few.
    """
    train = [prompt for source in sources if source.trains for prompt in source.prompts]
    held_out = [prompt for source in sources if not source.trains for prompt in source.prompts]
    shown = iter(with_shots(held_out, train, config.evaluation.k_shots, config.seed))
    found = []
    for source in sources:
        if not source.trains:
            found.append(replace(source, rows=tuple((number, next(shown)) for number, _ in source.rows)))
        elif keep_train:
            found.append(source)
    return found


def fit(
    config: Config, folder: Path, sources: Sequence[Loaded], notes: list[str], answered: bool = False
) -> list[Loaded]:
    """Every row with its response within the policy's length, or what ``data.filter_overlong`` says of those that are not.

    answered: the response of a training row is its worked answer. Raises DataError with the row.
    """
    from policies.room import NeedsPolicyError, Room

    room = Room(folder)
    try:
        return [_fitted(config, room, source, notes, answered and source.trains) for source in sources]
    except NeedsPolicyError as error:
        notes.append(
            f"{room.name}: rows are not measured against its length: its layout needs a loaded policy ({error})"
        )
        return list(sources)


def say(notes: Iterable[str]) -> None:
    """Notes of the checks: on stderr, once all checks of the command have passed."""
    for note in notes:
        console.note(note)


def _fitted(config: Config, room: Any, source: Loaded, notes: list[str], answered: bool) -> Loaded:
    part, section = (config.rollout, "rollout") if source.trains else (config.evaluation, "evaluation")
    places = [place for place, (_, prompt) in enumerate(source.rows) if prompt.messages]
    written, at_most = (partial(_learned, config, room.tokens), partial(_learned, config, room.tokens_at_most))
    if not answered:
        written, at_most = written_by(part), None
    try:
        with Progress(f"measuring {source.source.source}", total=len(places)) as count:
            found = room.too_long([source.rows[place][1] for place in places], written, at_most, count)
    except DataError as error:
        raise DataError(f"{_whose(source, str(error))}: {error}") from error
    if not found:
        return source
    long = {places[item.index]: item for item in found}
    counted = f"{len(long):,} of {len(source.rows):,} rows of {source.where}"
    if config.data.filter_overlong == "error":
        place, item = next(iter(long.items()))
        raise DataError(
            f"{source.row(place)}: {item.tokens:,} tokens, {item.written:,} of them its "
            f"{'worked answer' if answered else 'response'}'s, but {room.name} takes "
            f"{room.limit:,} ({counted} are too long); shorten them, lower {section}'s max_new_tokens, or set "
            "data.filter_overlong=drop or truncate"
        )
    if config.data.filter_overlong == "drop":
        notes.append(f"{source.source.source}: {counted} are too long for {room.name} and were dropped")
        return source.without(long, f"are too long for {room.name}, which takes {room.limit:,} tokens")
    rows = list(source.rows)
    for place, item in long.items():
        shorter = room.shortened(rows[place][1], item.written)
        if shorter is None:
            raise DataError(
                f"{source.row(place)}: {item.tokens:,} tokens, but {room.name} takes {room.limit:,}, and cutting its longest "
                "turn does not do; drop the row"
            )
        rows[place] = rows[place][0], shorter
    notes.append(f"{source.source.source}: {counted} are too long for {room.name}: the beginning of their text was cut")
    return replace(source, rows=tuple(rows))


def _whose(source: Loaded, text: str) -> str:
    """The row that an error of the policy's layout is about, by the id in it."""
    place = next((place for place, (_, prompt) in enumerate(source.rows) if f"prompt {prompt.id}:" in text), None)
    return source.where if place is None else source.row(place)


def written_by(part: RolloutConfig | EvaluationConfig) -> Callable[[Prompt], int]:
    """Tokens that a text response may have. A drawing's codes are in its layout."""
    lengths = {
        Task.TEXT: part.text.max_new_tokens,
        Task.UNDERSTAND: part.understand.max_new_tokens,
        Task.THINK_DRAW: part.think_draw.think.max_new_tokens,
        Task.DRAW: 0,
    }
    return lambda prompt: lengths[prompt.task]


def _learned(config: Config, tokens: Callable[[str], int], prompt: Prompt) -> int:
    """Tokens of a worked answer and its end, as fine-tuning lays it out. A drawing's codes are in its layout."""
    if not prompt.solution or prompt.task is Task.DRAW:
        return 0
    own = tokens(prompt.solution) + 1
    return max(own, on_canvas(own, canvas_of(config, prompt.task))) if config.sft.canvas_prob else own


def _disjoint(config: Config, sources: list[Loaded], notes: list[str]) -> list[Loaded]:
    """No training prompt is a held-out one, or what ``data.on_overlap`` says."""
    val = [prompt for source in sources if not source.trains for prompt in source.prompts]
    if config.data.on_overlap == "error":
        check_disjoint([prompt for source in sources if source.trains for prompt in source.prompts], val)
        return sources
    kept = []
    for source in sources:
        shared = shared_with(val, source.prompts) if source.trains else set()
        if shared:
            named = ", ".join(shown(source.rows[place][1].id, 40) for place in sorted(shared)[:3])
            notes.append(
                f"{source.source.source}: {len(shared):,} of {len(source.rows):,} rows of {source.where} are in data.val too "
                f"and were dropped: {named}{', ...' if len(shared) > 3 else ''}"
            )
        kept.append(source.without(shared, "are in data.val too") if shared else source)
    return kept


def _compared_tasks(
    mix: Mapping[str, Mapping[str, float]], settings: Mapping[str, Mapping[str, Any]]
) -> dict[Task, bool]:
    """Tasks whose rewards compare with a reference, and whether all of those compare it as a text."""
    found = {}
    for task, parts in mix.items():
        given = [settings.get(name, {}) for name in parts]
        rules = [settings_of({"name": name, **own}) for name, own in zip(parts, given, strict=True)]
        kinds = {own.get("kind") for rule, own in zip(rules, given, strict=True) if rule.compares_reference}
        if kinds:
            found[Task(task)] = kinds == {"exact"}
    return found


def _check_references(source: Loaded, compared: Collection[Task]) -> None:
    """A list or mapping that names no answer is found here, and not by the first rollout that is scored."""
    for place, (_, prompt) in enumerate(source.rows):
        if prompt.task in compared and prompt.reference is not None and prompt.reference[:1] in ("[", "{"):
            try:
                alternatives(prompt.reference)
            except ValueError as error:
                raise DataError(f"{source.row(place)}: {error}; got {shown(prompt.reference)}") from error


def _check_refusals(
    source: Loaded, mix: Mapping[str, Mapping[str, float]], settings: Mapping[str, Mapping[str, Any]]
) -> None:
    """A row whose score would be ``invalid`` whatever the response is found here: each would cost its group."""
    rules = {
        task: [settings_of({"name": name, **settings.get(name, {})}) for name in parts] for task, parts in mix.items()
    }
    found = [
        (place, why)
        for place, (_, prompt) in enumerate(source.rows)
        for rule in rules.get(str(prompt.task), ())
        if (why := rule.refuses(prompt))
    ]
    if found:
        counted = f"{len(found):,} of {len(source.rows):,} rows of {source.where}"
        raise DataError(f"{source.row(found[0][0])}: {found[0][1]} ({counted} are refused); drop these rows")


def _check_ids(sources: Iterable[Loaded]) -> None:
    """One seed belongs to one held-out id, and results are told apart by it."""
    seen: set[str] = set()
    for prompt in (prompt for source in sources if not source.trains for prompt in source.prompts):
        if prompt.id in seen:
            raise DataError(f"data.val: prompt id {shown(prompt.id)} comes from two sources; list the source once")
        seen.add(prompt.id)
