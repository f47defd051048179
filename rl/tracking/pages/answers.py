"""What is kept of an evaluation for the pages: a few answers of each test set, and the films of those that are played.

It lies beside the evaluation's other samples, so that a run which is resumed, or goes another way, takes it along.
"""

from __future__ import annotations

import hashlib
import json
import logging
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rl.checkpoints.files import read_inside, write_whole
from rl.output.printable import escaped_in_json
from rl.tracking.metrics_file import SAMPLES_FOLDER
from rl.tracking.mlflow import shown
from rl.tracking.pages.html import embedded, picture
from rl.types import Group, Score

FILE = "answers.json"
ROWS = 24  # prompts of a test set
SIDE = 192  # pixels of a picture at most
MOST_EVALUATIONS = 12  # that a page shows
_LONGEST = 1200  # characters of an answer
_MOST_BYTES = 1 << 28

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Answers:
    """One evaluation, as its file has it.

    sets   test set -> rows: ``id``, ``prompt``, ``reference``, ``asked`` and ``picture`` (addresses in the page), ``text``,
           ``score``, ``parts``, ``detail``
    means  test set -> [mean score, how many it is of]: of all its prompts
    films  prompt's id -> film (``rl.tracking.pages.film``)
    """

    step: int
    sets: Mapping[str, Sequence[Mapping[str, Any]]]
    means: Mapping[str, Sequence[float]]
    films: Mapping[str, Mapping[str, Any]]


def answers_of(step: int, groups: Sequence[Group], seed: int, films: Mapping[str, Mapping[str, Any]]) -> Answers:
    """Of each source the same ``ROWS`` prompts at every evaluation: the run's seed and the prompt choose them."""
    by_set: dict[str, list[Group]] = {}
    for group in groups:
        by_set.setdefault(set_of(group), []).append(group)
    sets = {
        name: [_row(group) for group in sorted(_answered(found), key=lambda group: _rank(seed, group))[:ROWS]]
        for name, found in by_set.items()
    }
    return Answers(step, sets, {name: _mean(found) for name, found in by_set.items()}, dict(films))


def set_of(group: Group) -> str:
    return shown.line(group.prompt.source or str(group.prompt.task), 200)


def save(run_dir: Path, answers: Answers) -> Path:
    content = {"step": answers.step, "sets": answers.sets, "means": answers.means, "films": answers.films}
    return write_whole(folder_of(run_dir, "val", answers.step) / FILE, escaped_in_json(json.dumps(content)))


def load(run_dir: Path, until: float = math.inf, most: int = MOST_EVALUATIONS) -> list[Answers]:
    """Of evaluations up to a step, in order: all of them, or the first, the last and some evenly between. A file that cannot
    be read is passed over."""
    files = steps_of(run_dir, until)
    found = (read(files[step]) for step in _some(sorted(files), most))
    return [answers for answers in found if answers is not None]


def steps_of(run_dir: Path, until: float = math.inf) -> dict[int, Path]:
    """Step -> the file with an evaluation's answers."""
    files = {file.parent.name.rpartition("-")[2]: file for file in (run_dir / SAMPLES_FOLDER).glob(f"val-*/{FILE}")}
    return {int(step): file for step, file in files.items() if step.isdecimal() and int(step) <= until}


def read(file: Path) -> Answers | None:
    """None, with a warning in the log, where it cannot be read."""
    try:
        answers = Answers(**json.loads(read_inside(file, file.parents[2], _MOST_BYTES)))
        parts = (answers.sets, answers.means, answers.films)
        if not isinstance(answers.step, int) or not all(isinstance(each, dict) for each in parts):
            raise ValueError("its parts are not what they must be")
        if not all(isinstance(rows, list) and all(isinstance(row, dict) for row in rows) for rows in parts[0].values()):
            raise ValueError("its test sets are not lists of answers")
    except (OSError, ValueError, TypeError, RecursionError) as error:
        _log.warning("%s: cannot be read, and is left out of the pages: %s", file, error)
        return None
    return answers


def _some(steps: Sequence[int], most: int) -> list[int]:
    last = len(steps) - 1
    if last < most:
        return list(steps)
    return [steps[index] for index in sorted({round(number * last / (most - 1)) for number in range(most)})]


def folder_of(run_dir: Path, name: str, step: int) -> Path:
    """Where the samples of an evaluation (``val``) or a step (``train``) are."""
    return run_dir / SAMPLES_FOLDER / f"{name}-{step:06d}"


def asked_picture(group: Group) -> str:
    """The picture that a prompt shows, as an address in the page; empty where it shows none, or none that can be read."""
    image = shown.prompt_image(group.prompt)
    return "" if image is None else embedded(image, SIDE)


def _row(group: Group) -> dict[str, Any]:
    prompt, rollout, score = group.prompt, group.rollouts[0], group.scores[0]
    return {
        "id": shown.line(prompt.id, 200),
        "prompt": shown.text(shown.asked(prompt), _LONGEST),
        "reference": "" if prompt.reference is None else shown.text(prompt.reference, _LONGEST),
        "asked": asked_picture(group),
        "picture": "" if rollout.image is None else picture(rollout.image, SIDE),
        "text": shown.text(rollout.text, _LONGEST),
        "score": shown.value_of(score),
        "parts": _parts(score),
        "detail": "" if score.usable else shown.line(f"{score.status} {score.detail}", 200),
    }


def _parts(score: Score) -> dict[str, float]:
    return {shown.line(name, 100): float(value) for name, value in score.parts.items() if math.isfinite(value)}


def _answered(groups: Sequence[Group]) -> list[Group]:
    return [group for group in groups if group.rollouts and group.scores]


def _rank(seed: int, group: Group) -> tuple[bytes, str]:
    name = f"{seed}/gallery/{group.prompt.id}"
    return hashlib.sha256(name.encode("utf-8", "surrogatepass")).digest(), group.prompt.id


def _mean(groups: Sequence[Group]) -> list[float]:
    values = [score.value for group in groups for score in group.scores if score.usable]
    return [math.fsum(values) / len(values), len(values)] if values else [0.0, 0]
