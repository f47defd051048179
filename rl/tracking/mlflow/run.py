"""The store's side: one run, to which events are written. What is written twice is there once."""

from __future__ import annotations

import io
import json
import logging
import sqlite3
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from rl.checkpoints.files import write_whole
from rl.config.flat import flatten
from rl.output.printable import said
from rl.output.secrets import redact
from rl.tracking.metrics_file import read_metrics
from rl.tracking.mlflow import page
from rl.tracking.mlflow.client import IS_ID, RUN_FILE
from rl.tracking.mlflow.events import Close, Event, Files, Machine, Metrics, Page, Sheet, Table, Tags, Text, Trace
from rl.tracking.mlflow.headlines import Still, headlines
from rl.tracking.mlflow.points import Point, takes
from rl.tracking.mlflow.points import write as write_points
from rl.tracking.mlflow.store import alone, experiment_id, follow
from rl.tracking.mlflow.table_writer import TableWriter
from rl.tracking.mlflow.trace_writer import trace_id, write_trace
from rl.tracking.mlflow_address import sqlite_file, store_uri, with_password
from rl.tracking.mlflow_names import LONGEST, clean_name
from rl.tracking.mlflow_store import patient_for_seconds

_BATCH = 100  # MLflow's limit for parameters and tags in one call
_METRICS = 1000  # and for metrics
_STEPS = 100  # whose numbers are added at once
_LONGEST_TAG = 5000
_MOST_FILE_BYTES = 64 * 1024 * 1024

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Place:
    """Where the numbers go. uri: None for the store that the runs of a folder share."""

    uri: str | None = None
    password_env: str | None = None
    experiment: str = "unigrpo"


class Run:
    """One run in one store. ``write`` raises what the store raises; an event may be written again at any time."""

    def __init__(
        self, run_dir: Path, name: str, params: Mapping[str, Any], place: Place, about: page.About | None, resume: bool
    ) -> None:
        self.run_id: str | None = None
        self.connected = False
        self._run_dir = run_dir.absolute()
        self._name = name
        self._params = {clean_name(name): redact(str(value))[:6000] for name, value in flatten(params, into_lists=True)}
        self._place = place
        self._about = about
        self._resume = resume
        self._client: Any = None
        self._tables: Any = None
        self._experiment = ""
        self._file: Path | None = None  # of the store, where points can be written into it
        self._steps: dict[str, set[int]] = {}
        self._still = Still()
        self._written: set[str] = set()

    def write(self, *events: Event) -> None:
        """One event of any kind, or several of numbers, which are one call to the store."""
        if not self.connected:
            self._connect()
        if numbers := [event for event in events if isinstance(event, Metrics | Machine)]:
            self._write_numbers(numbers)
        for event in events:
            self._write_other(event)

    def _write_other(self, event: Event) -> None:
        match event:
            case Table():
                stem = "followed_" if event.follows else ""
                self._once(f"{stem}{event.name}-{event.step:06d}", lambda stem: self._tables.write(event, stem))
            case Sheet():
                self._once(f"{event.name}_drawings-{event.step:06d}", lambda stem: self._write_sheet(event))
            case Trace():
                run_id = str(self.run_id)
                self._once(
                    trace_id(run_id, event), lambda stem: write_trace(self._client, run_id, self._experiment, event)
                )
            case Tags():
                self._set_tags(event.values)
            case Text():
                self._client.log_text(self.run_id, said(event.text, lines=True, limit=None), event.path)
            case Files():
                self._write_files(event.paths)
            case Page():
                self._write_page(event)
            case Close():
                self._client.set_terminated(self.run_id, event.status)

    def answers(self) -> bool:
        """Whether the store has the run, and says so."""
        try:
            return self.connected and self._client.get_run(self.run_id) is not None
        except Exception:
            return False

    def start_over(self) -> bool:
        """Whether the run was deleted in MLflow's UI; its numbers go to a new one then, the earlier ones as well."""
        try:
            if not self.connected or self._is_active(str(self.run_id)):
                return False
        except Exception:  # the store is away as well
            return False
        _log.warning("MLflow: run %s was deleted there; a new one gets all its numbers", self.run_id)
        self.run_id, self.connected, self._resume = None, False, False
        self._steps.clear()
        return True

    def _connect(self) -> None:
        patient_for_seconds()
        from mlflow import MlflowClient  # seconds: not at import time of this module

        logging.getLogger("mlflow").setLevel(logging.WARNING)  # it tells of every table that it creates
        logging.getLogger("urllib3.connectionpool").setLevel(logging.ERROR)  # and this of every try, for hours
        uri = self._place.uri or store_uri(self._run_dir)
        file = sqlite_file(uri)
        with alone(file):
            if self._client is None:
                if file is not None:
                    _follow(file)
                self._client = MlflowClient(tracking_uri=with_password(uri, self._place.password_env))
            self._experiment = experiment_id(self._client, self._place.experiment, file)
            self._file = file if file is not None and _is_as_expected(file) else None
        if self.run_id is None:
            self.run_id = self._earlier_run() or self._new_run()
            self._remember()
        self._tables = TableWriter(self._client, str(self.run_id))
        self._log_params()
        self._catch_up()
        self._describe()
        self.connected = True

    def _is_active(self, run_id: str) -> bool:
        """Raises what the store raises, but for a run that it does not have."""
        from mlflow.exceptions import MlflowException

        try:
            return self._client.get_run(run_id).info.lifecycle_stage == "active"
        except MlflowException as error:
            if error.error_code != "RESOURCE_DOES_NOT_EXIST":
                raise
            return False

    def _new_run(self) -> str:
        self._written.clear()
        return self._client.create_run(self._experiment, run_name=self._name).info.run_id

    def _earlier_run(self) -> str | None:
        """The run to go on with, marked RUNNING again; None where there is none, or the store no longer has it."""
        if not self._resume or not (self._run_dir / RUN_FILE).is_file():
            return None
        try:
            known = json.loads((self._run_dir / RUN_FILE).read_text("utf-8"))
            run_id, written = known["run_id"], set(known.get("samples", ()))
            is_id = IS_ID.fullmatch(run_id) is not None
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
            return None
        if not is_id:
            return None
        if not self._is_active(run_id):
            _log.warning("MLflow: run %s was deleted there; a new one gets all its numbers", run_id)
            return None
        self._client.update_run(run_id, status="RUNNING")
        self._experiment = self._client.get_run(run_id).info.experiment_id
        self._written = written
        return run_id

    def _log_params(self) -> None:
        from mlflow.entities import Param

        known = self._client.get_run(self.run_id).data.params
        new = [Param(key, value) for key, value in self._params.items() if key not in known]
        changed = {
            f"resumed/{key}"[:LONGEST]: value for key, value in self._params.items() if known.get(key, value) != value
        }
        for some in _batches(new, _BATCH):
            self._client.log_batch(self.run_id, params=some)
        self._set_tags(changed)

    def _catch_up(self) -> None:
        """Learn which steps the run has, then add what only the run folder has."""
        for name in self._client.get_run(self.run_id).data.metrics:
            self._steps[name] = {metric.step for metric in self._client.get_metric_history(self.run_id, name)}
        self._still = Still(self._steps)
        missing: list[Metrics | Machine] = []
        for point in read_metrics(self._run_dir):
            values = {clean_name(name): value for name, value in point.metrics.items()}
            missing.append(Metrics(point.step, int(point.time * 1000), values))
        for some in _batches(missing, _STEPS):
            self._write_numbers(some)

    def _describe(self) -> None:
        if self._about is None:
            return
        from mlflow.entities import Dataset, DatasetInput, InputTag

        note = f"{page.description(self._about)}\n\n{page.links(self._experiment, str(self.run_id))}"
        values = {page.NOTE: note, **page.tags(self._about)}
        self._set_tags(values)
        data = [
            DatasetInput(Dataset(**each), [InputTag("mlflow.data.context", context)])
            for each, context in page.inputs(self._about.data)
        ]
        if data:
            self._client.log_inputs(self.run_id, data)

    def _set_tags(self, values: Mapping[str, str]) -> None:
        from mlflow.entities import RunTag

        tags = [RunTag(clean_name(key)[:LONGEST], str(value)[:_LONGEST_TAG]) for key, value in values.items()]
        for some in _batches(tags, _BATCH):
            self._client.log_batch(self.run_id, tags=some)

    def _write_numbers(self, events: Sequence[Metrics | Machine]) -> None:
        points: dict[tuple[str, int], Point] = {}
        written: list[Mapping[str, float]] = []
        counts: dict[str, int] = {}
        for event in events:
            if isinstance(event, Machine):
                found = self._machine_points(event, counts)
            else:
                values = {**headlines(event.values), **event.values}
                found = self._still.moving(event.step, event.time_ms, values)
                written.append(values)
            for point in found:
                points.setdefault((point[0], point[3]), point)
        self._write_points(list(points.values()))
        for values in written:
            self._still.written(values)

    def _machine_points(self, event: Machine, counts: dict[str, int]) -> list[Point]:
        """Its steps count up, over all processes of the run. counts: the next step of each node, in this call."""
        names = {name: clean_name(name) for name in event.values}
        node = min(names.values(), default="")
        known = [max(self._steps[name]) for name in names.values() if self._steps.get(name)]
        step = counts.get(node, max(known, default=-1) + 1)
        counts[node] = step + 1
        return [(names[name], value, event.time_ms, step) for name, value in event.values.items()]

    def _write_points(self, points: Sequence[Point]) -> None:
        new = [point for point in points if point[3] not in self._steps.get(point[0], ())]
        if new and not (self._file is not None and self._write_quickly(self._file, new)):
            from mlflow.entities import Metric

            for some in _batches([Metric(*point) for point in new], _METRICS):
                self._client.log_batch(self.run_id, metrics=some)
        for name, _, _, step in new:
            self._steps.setdefault(name, set()).add(step)

    def _write_quickly(self, file: Path, new: Sequence[Point]) -> bool:
        try:
            return write_points(file, str(self.run_id), new)
        except sqlite3.Error as error:  # MLflow has its own words for it, and its own patience
            _log.debug("MLflow: %s: %s", file, error)
            return False

    def _write_sheet(self, event: Sheet) -> None:
        pixels = np.asarray(_picture(event.png))
        self._client.log_image(self.run_id, pixels, key=f"{event.name}_drawings", step=event.step)

    def _write_files(self, paths: Sequence[str]) -> None:
        for path in map(Path, paths):
            if path.is_file() and 0 < path.stat().st_size <= _MOST_FILE_BYTES:
                self._client.log_artifact(self.run_id, str(path))

    def _write_page(self, event: Page) -> None:
        """As it is now: a later one is of more. No page lies outside of the run's folder."""
        file = self._run_dir / event.file
        if file.is_file() and file.resolve().is_relative_to(self._run_dir.resolve()):
            self._client.log_artifact(self.run_id, str(file), event.folder)

    def _once(self, stem: str, write: Callable[[str], None]) -> None:
        if stem not in self._written:
            write(stem)
            self._written.add(stem)
            self._remember()

    def _remember(self) -> None:
        content = {"run_id": self.run_id, "experiment_id": self._experiment, "samples": sorted(self._written)}
        write_whole(self._run_dir / RUN_FILE, json.dumps(content))


def _is_as_expected(file: Path) -> bool:
    try:
        return takes(file)
    except sqlite3.Error:
        return False


def _follow(file: Path) -> None:
    try:
        follow(file)
    except sqlite3.Error as error:
        _log.warning("MLflow: %s: %s", file, error)


def _picture(png: bytes) -> Image.Image:
    with Image.open(io.BytesIO(png)) as picture:
        return picture.convert("RGB")


def _batches(items: Sequence[Any], most: int) -> Iterator[Sequence[Any]]:
    return (items[start : start + most] for start in range(0, len(items), most))


def now_ms() -> int:
    return int(time.time() * 1000)
