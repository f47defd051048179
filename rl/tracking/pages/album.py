"""The pages that a run makes on its way: a playback of each traced rollout, and a gallery of each test set.

They lie in the run's folder, work offline, and are artifacts in MLflow. Which rollouts they show depends on the seed, the step
and the prompt alone, so a resumed run shows the same ones. Whatever fails here is said once, and costs these pages alone.
"""

from __future__ import annotations

import dataclasses
import logging
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from rl.checkpoints.files import write_whole
from rl.errors import one_line
from rl.tracking.mlflow import shown
from rl.tracking.mlflow.events import Event, Page, Trace
from rl.tracking.pages import answers
from rl.tracking.pages.film import Decoders, film
from rl.tracking.pages.gallery import gallery, sets_of
from rl.tracking.pages.html import slug
from rl.tracking.pages.playback import playback
from rl.types import Group

GALLERY, PLAYBACK = "gallery", "playback"
TAG = "playback"
_MOST_SETS = 24

_log = logging.getLogger(__name__)


class Album:
    """Called from one thread, with the groups in the order in which they come.

    seed, every, last  the run's seed; training rollouts are played at every so many steps, and at the last
    decoders           asked once, when the first page is made; what it raises leaves the playbacks out
    fresh              the run starts over: galleries of an earlier one are removed, since they would show its answers
    """

    def __init__(
        self,
        run_dir: Path,
        seed: int,
        decoders: Callable[[], Decoders],
        *,
        every: int = 1,
        last: int = 0,
        fresh: bool = False,
    ) -> None:
        self._run_dir, self._seed = run_dir, seed
        self._every, self._last = every, last
        self._load, self._decoders = decoders, None
        self._said: set[str] = set()
        self._first: Mapping[str, Mapping[str, Any]] = {}
        self._now: Mapping[str, Mapping[str, Any]] = {}
        self._first_step = 0
        for page in (run_dir / GALLERY).glob("*.html") if fresh else ():
            page.unlink()

    def evaluated(self, step: int, groups: Sequence[Group], played: Sequence[int]) -> Iterator[Event]:
        """Keep the answers, and write every test set's gallery anew. played: indices of the groups that are played."""
        try:
            yield from self._evaluated(step, groups, played)
        except Exception as error:
            self._tell(GALLERY, error)

    def linked(self, made: Trace, group: Group) -> Iterator[Event]:
        """The trace, before it the page that plays it, where it is due; the trace's tag is the page's place."""
        try:
            pages = list(self._played(made, group))
        except Exception as error:
            self._tell(PLAYBACK, error)
            pages = []
        for page in pages:
            made = dataclasses.replace(
                made, body={**made.body, "tags": {**made.body["tags"], TAG: f"{page.folder}/{Path(page.file).name}"}}
            )
        yield from (*pages, made)

    def _evaluated(self, step: int, groups: Sequence[Group], played: Sequence[int]) -> Iterator[Event]:
        self._now = {
            shown.line(groups[index].prompt.id, 200): film(
                decoders, groups[index].rollouts[0], _when(step), groups[index].scores[0]
            )
            for index in played
            if (decoders := self._ready()) is not None and groups[index].rollouts and groups[index].scores
        }
        answers.save(self._run_dir, answers.answers_of(step, groups, self._seed, self._now))
        evaluations = answers.load(self._run_dir, until=step)
        left_out = len(answers.steps_of(self._run_dir, until=step)) - len(evaluations)
        self._first, self._first_step = evaluations[0].films, evaluations[0].step
        for name in sets_of(evaluations)[:_MOST_SETS]:
            place = write_whole(self._run_dir / GALLERY / f"{slug(name)}.html", gallery(name, evaluations, left_out))
            yield self._event(place, GALLERY)

    def _played(self, made: Trace, group: Group) -> Iterator[Page]:
        held_out = made.name == "val"
        if not held_out and not self._is_due(made.step):
            return
        films = self._held_out(made.step, group) if held_out else self._trained(group)
        if not films:
            return
        prompt, name = group.prompt, slug(group.prompt.id)
        text = playback(
            made.body["title"], shown.asked(prompt), films, prompt.reference, picture=answers.asked_picture(group)
        )
        folder = answers.folder_of(self._run_dir, made.name, made.step)
        yield self._event(write_whole(folder / PLAYBACK / f"{name}.html", text), f"{PLAYBACK}/{folder.name}")

    def _held_out(self, step: int, group: Group) -> list[Mapping[str, Any]]:
        """The prompt's answer at the first evaluation beside that of this step."""
        key = shown.line(group.prompt.id, 200)
        before = [self._first[key]] if self._first_step != step and key in self._first else []
        return [*before, *([self._now[key]] if key in self._now else [])]

    def _trained(self, group: Group) -> list[Mapping[str, Any]]:
        """The best and the worst member of a group of training."""
        decoders = self._ready()
        members = [
            (score.value if score.usable else -math.inf, -rollout.index, rollout, score)
            for rollout, score in zip(group.rollouts, group.scores, strict=False)
        ]
        if decoders is None or not members:
            return []
        best, worst = (choose(members, key=lambda each: each[:2]) for choose in (max, min))
        chosen = (
            [("best of the group", best), ("worst of the group", worst)] if best[2] is not worst[2] else [("", best)]
        )
        return [
            film(decoders, rollout, f"{words} (rollout {rollout.index})" if words else "", score)
            for words, (_, _, rollout, score) in chosen
        ]

    def _is_due(self, step: int) -> bool:
        return step % max(1, self._every) == 0 or step == self._last

    def _ready(self) -> Decoders | None:
        if self._decoders is None and PLAYBACK not in self._said:
            try:
                self._decoders = self._load()
            except Exception as error:
                self._tell(PLAYBACK, error)
        return self._decoders

    def _event(self, file: Path, folder: str) -> Page:
        return Page(str(file.relative_to(self._run_dir)), folder)

    def _tell(self, what: str, error: Exception) -> None:
        if what not in self._said:
            self._said.add(what)
            _log.warning("pages: no %s of this run: %s", what, one_line(error))


def _when(step: int) -> str:
    return "before training" if step == 0 else f"step {step}"
