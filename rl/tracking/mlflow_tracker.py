"""MLflow, off the training thread: a dead or slow server costs the run nothing but its live view (law 10).

Every call puts an event in a queue; one daemon thread imports MLflow when the first event comes (that takes seconds),
and writes the events in order through ``MlflowClient`` with an explicit run id, since the fluent API is not
thread-safe. What a server did not take is tried again with growing pauses; what is left when the process ends is
logged from ``metrics.jsonl`` when the run is resumed.
"""

from __future__ import annotations

import json
import logging
import queue
import re
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from rl.checkpoints.files import write_whole
from rl.config.flat import flatten
from rl.errors import first_line
from rl.output.secrets import redact
from rl.tracking.contact_sheet import sheet
from rl.tracking.metrics_file import read_metrics
from rl.tracking.mlflow_address import sqlite_file, store_uri, with_password
from rl.tracking.mlflow_names import LONGEST, clean_name
from rl.tracking.mlflow_store import patient_for_seconds
from rl.tracking.samples import Drawing, drawings, text_rows
from rl.types import Group

RUN_FILE = "mlflow_run.json"
_RUN_ID = re.compile(r"[A-Za-z0-9][\w-]{0,255}")  # MLflow refuses to look for another
MAX_PENDING_SAMPLES = 64
MAX_STRIKES = 5
_PERMANENT_CODES = {"INVALID_PARAMETER_VALUE", "BAD_REQUEST", "RESOURCE_DOES_NOT_EXIST", "RESOURCE_ALREADY_EXISTS"}
_BATCH = 100  # MLflow's limit for parameters and tags in one call

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class _Metrics:
    step: int
    time_ms: int
    values: Mapping[str, float]


@dataclass(frozen=True, slots=True)
class _Table:
    step: int
    name: str
    rows: Sequence[Mapping[str, Any]]


@dataclass(frozen=True, slots=True)
class _Sheet:
    step: int
    name: str
    drawings: Sequence[Drawing]


@dataclass(frozen=True, slots=True)
class _Tag:
    name: str
    value: str


@dataclass(frozen=True, slots=True)
class _Close:
    status: str


_Event = _Metrics | _Table | _Sheet | _Tag | _Close


class MlflowTracker:
    """One MLflow run for one training run, over as many processes as it takes.

    run_dir           holds the default store (``mlflow.db``, ``mlartifacts/``) and the run's id (``mlflow_run.json``)
    params            nested settings, logged once; on resume, one that changed becomes a tag ``resumed/{key}``
    uri               a tracking server; None for the SQLite store in the run folder
    password_env      the environment variable with the password of ``uri``, where that is a database
    resume            go on with the run whose id the folder holds; steps that it has are not logged twice. Steps that
                      only ``metrics.jsonl`` has are added, to a new run as well
    retry_s           first pause after a failed write; it doubles up to 30 s
    close_deadline_s  longest wait of ``close`` for what is still queued
    """

    def __init__(
        self,
        run_dir: Path,
        *,
        name: str,
        params: Mapping[str, Any] | None = None,
        experiment: str = "unigrpo",
        uri: str | None = None,
        password_env: str | None = None,
        resume: bool = False,
        retry_s: float = 1.0,
        close_deadline_s: float = 120.0,
    ) -> None:
        self._run = _Run(run_dir, name, params or {}, experiment, (uri, password_env), resume)
        self._queue: queue.SimpleQueue[_Event] = queue.SimpleQueue()
        self._retry_s = retry_s
        self._close_deadline_s = close_deadline_s
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._write_all, name="mlflow", daemon=True)
        self._thread.start()

    @property
    def run_id(self) -> str | None:
        """None until the thread reached the store."""
        return self._run.run_id

    def log(self, step: int, metrics: Mapping[str, float]) -> None:
        values = {clean_name(name): float(value) for name, value in metrics.items()}
        self._queue.put(_Metrics(step, int(time.time() * 1000), values))

    def samples(self, step: int, groups: Sequence[Group], name: str) -> None:
        if self._queue.qsize() > MAX_PENDING_SAMPLES:
            return  # the store is away; numbers are worth the memory, pictures are in the run folder
        if rows := text_rows(groups):
            self._queue.put(_Table(step, clean_name(name), rows))
        if drawn := drawings(groups):
            self._queue.put(_Sheet(step, clean_name(name), drawn))

    def phase(self, text: str) -> None:
        """Phases are for the person in front of the run."""

    def tag(self, name: str, value: str) -> None:
        self._queue.put(_Tag(clean_name(name), value))

    def close(self, status: str) -> None:
        """Write what is queued and end the run as FINISHED, FAILED or KILLED. Only the first call counts."""
        if self._closing.is_set():
            return
        self._queue.put(_Close(status))
        self._closing.set()
        self._thread.join(self._close_deadline_s)
        if self._thread.is_alive():
            _log.warning("MLflow did not take everything in %.0f s; resume logs the rest", self._close_deadline_s)

    def _write_all(self) -> None:
        event = self._queue.get()  # MLflow is imported only now: the start of the run is not kept waiting
        while True:
            try:
                written = self._insist(event)
            except Exception as error:
                _log.warning("MLflow is off for this run: %s: %s", type(error).__name__, _told(error))
                return
            if not written or isinstance(event, _Close):
                return
            event = self._queue.get()

    def _insist(self, event: _Event) -> bool:
        """Write one event, however long the store is away. False where the run ended first.

        A store that answers reads and still does not take the event, time after time, will never take it.
        """
        pause, strikes = self._retry_s, 0
        while True:
            try:
                self._run.write(event)
                return True
            except Exception as error:
                if not self._run.connected and _is_permanent(error):
                    raise
                if _is_permanent(error) and self._run.start_over():
                    continue
                strikes += self._run.answers()
                if _is_permanent(error) or strikes >= MAX_STRIKES or (strikes and self._closing.is_set()):
                    _log.warning("MLflow refused %s: %s", _label(event), _told(error))
                    return True
                if self._closing.is_set():
                    _log.warning("MLflow cannot be reached; resume logs what is missing: %s", _told(error))
                    return False
                level = logging.WARNING if pause == self._retry_s else logging.INFO  # one warning is enough
                _log.log(level, "MLflow cannot be reached, trying again in %.1f s: %s", pause, _told(error))
            self._closing.wait(pause)
            pause = min(2 * pause, 30.0)


class _Run:
    """The thread's side: one run in one store."""

    def __init__(
        self,
        run_dir: Path,
        name: str,
        params: Mapping[str, Any],
        experiment: str,
        place: tuple[str | None, str | None],
        resume: bool,
    ) -> None:
        self.run_id: str | None = None
        self.connected = False
        self._run_dir = run_dir.absolute()
        self._name = name
        self._params = {clean_name(name): redact(str(value))[:6000] for name, value in flatten(params, into_lists=True)}
        self._experiment = experiment
        self._uri, self._password_env = place
        self._resume = resume
        self._client: Any = None
        self._steps: dict[str, set[int]] = {}
        self._samples: set[str] = set()

    def write(self, event: _Event) -> None:
        if not self.connected:
            self._connect()
        match event:
            case _Metrics():
                self._write_metrics(event)
            case _Table():
                self._once(f"{event.name}_texts-{event.step:06d}", lambda stem: self._write_table(event, stem))
            case _Sheet():
                self._once(f"{event.name}_drawings-{event.step:06d}", lambda stem: self._write_sheet(event))
            case _Tag():
                self._client.set_tag(self.run_id, event.name, event.value)
            case _Close():
                self._client.set_terminated(self.run_id, event.status)

    def answers(self) -> bool:
        """Whether the store has the run, and says so."""
        try:
            return self.connected and self._client.get_run(self.run_id) is not None
        except Exception:
            return False

    def _connect(self) -> None:
        patient_for_seconds()
        from mlflow import MlflowClient  # seconds: not at import time of this module

        logging.getLogger("mlflow").setLevel(logging.WARNING)  # it tells of every table that it creates
        if self._client is None:
            self._client = MlflowClient(
                tracking_uri=with_password(self._uri or store_uri(self._run_dir), self._password_env)
            )
        if self.run_id is None:
            self.run_id = self._earlier_run() or self._new_run()
            self._remember()
        self._log_params()
        self._catch_up()
        self.connected = True

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
        self._samples.clear()
        return self._client.create_run(self._experiment_id(), run_name=self._name).info.run_id

    def _experiment_id(self) -> str:
        from mlflow.exceptions import MlflowException

        if experiment := self._client.get_experiment_by_name(self._experiment):
            return experiment.experiment_id
        file = sqlite_file(
            self._uri or store_uri(self._run_dir)
        )  # pictures go beside it; a server has a place of its own
        place = None if file is None else (file.absolute().parent / "mlartifacts").as_uri()
        try:
            return self._client.create_experiment(self._experiment, artifact_location=place)
        except MlflowException as error:
            if error.error_code != "RESOURCE_ALREADY_EXISTS":
                raise
            return self._client.get_experiment_by_name(self._experiment).experiment_id  # another run was quicker

    def _earlier_run(self) -> str | None:
        """The run to go on with, marked RUNNING again; None where there is none, or the store no longer has it."""
        if not self._resume or not (self._run_dir / RUN_FILE).is_file():
            return None
        try:
            known = json.loads((self._run_dir / RUN_FILE).read_text("utf-8"))
            run_id, samples = known["run_id"], set(known.get("samples", ()))
            is_id = _RUN_ID.fullmatch(run_id) is not None
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
            return None
        if not is_id:
            return None
        if not self._is_active(run_id):
            _log.warning("MLflow: run %s was deleted there; a new one gets all its numbers", run_id)
            return None
        self._client.update_run(run_id, status="RUNNING")
        self._samples = samples
        return run_id

    def _log_params(self) -> None:
        from mlflow.entities import Param, RunTag

        known = self._client.get_run(self.run_id).data.params
        new = [Param(key, value) for key, value in self._params.items() if key not in known]
        changed = [
            RunTag(f"resumed/{key}"[:LONGEST], value)
            for key, value in self._params.items()
            if known.get(key, value) != value
        ]
        for some in _batches(new):
            self._client.log_batch(self.run_id, params=some)
        for some in _batches(changed):
            self._client.log_batch(self.run_id, tags=some)

    def _catch_up(self) -> None:
        """Learn which steps the run has, then add what only the run folder has."""
        for name in self._client.get_run(self.run_id).data.metrics:
            self._steps[name] = {metric.step for metric in self._client.get_metric_history(self.run_id, name)}
        for point in read_metrics(self._run_dir):
            values = {clean_name(name): value for name, value in point.metrics.items()}
            self._write_metrics(_Metrics(point.step, int(point.time * 1000), values))

    def _write_metrics(self, event: _Metrics) -> None:
        from mlflow.entities import Metric

        new = [
            Metric(name, value, event.time_ms, event.step)
            for name, value in event.values.items()
            if event.step not in self._steps.get(name, ())
        ]
        for some in _batches(new):
            self._client.log_batch(self.run_id, metrics=some)
        for metric in new:
            self._steps.setdefault(metric.key, set()).add(metric.step)

    def _write_table(self, event: _Table, stem: str) -> None:
        columns = {name: [row[name] for row in event.rows] for name in event.rows[0]}
        self._client.log_table(self.run_id, columns, f"samples/{stem}.json")

    def _write_sheet(self, event: _Sheet) -> None:
        pixels = np.asarray(sheet(event.drawings))
        self._client.log_image(self.run_id, pixels, key=f"{event.name}_drawings", step=event.step)

    def _once(self, stem: str, write: Any) -> None:
        if stem not in self._samples:
            write(stem)
            self._samples.add(stem)
            self._remember()

    def _remember(self) -> None:
        content = {"run_id": self.run_id, "samples": sorted(self._samples)}
        write_whole(self._run_dir / RUN_FILE, json.dumps(content))


def _batches(items: Sequence[Any]) -> Iterator[Sequence[Any]]:
    return (items[start : start + _BATCH] for start in range(0, len(items), _BATCH))


def _is_permanent(error: Exception) -> bool:
    """Trying again cannot help: the store answered, and its answer is no; or the mistake is ours."""
    if code := getattr(error, "error_code", None):
        return code in _PERMANENT_CODES
    return isinstance(error, TypeError | ValueError | LookupError | AttributeError | ImportError)


def _label(event: _Event) -> str:
    kind = type(event).__name__.strip("_").lower()
    return kind if isinstance(event, _Close | _Tag) else f"{kind} of step {event.step}"


def _told(error: Exception) -> str:
    return first_line(error)
