"""A trace into MLflow's store. Its ids come from the run, the step and the prompt: writing it twice is writing it once."""

from __future__ import annotations

import base64
import hashlib
import json
import tempfile
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rl.tracking.mlflow.events import Trace

WRITTEN_BY = "unigrpo"


def trace_id(run_id: str, event: Trace) -> str:
    return f"tr-{_digest(run_id, event).hex()}"


def write_trace(client: Any, run_id: str, experiment: str, event: Trace) -> None:
    """Pictures, then what the trace says of itself, then its spans. MLflow takes each of them again.

    client: ``MlflowClient``. The other way round, MLflow would look for each piece of feedback one by one: four times as long.
    """
    whole, tracing = _digest(run_id, event), client._tracing_client
    links = _upload(client, experiment, trace_id(run_id, event), event.pictures)
    tracing.start_trace(_info(run_id, experiment, whole, event))
    tracing.log_spans(experiment, [_span(whole, each, links) for each in event.body["spans"]])


def _digest(run_id: str, event: Trace) -> bytes:
    name = f"{run_id}/{event.name}/{event.step}/{event.prompt_id}"
    return hashlib.sha256(name.encode("utf-8", "surrogatepass")).digest()[:16]


def _span_id(whole: bytes, key: str) -> bytes:
    return hashlib.sha256(whole + key.encode("utf-8", "surrogatepass")).digest()[:8]


def _upload(client: Any, experiment: str, trace: str, pictures: Mapping[str, bytes]) -> dict[str, str]:
    """key -> the address under which the page shows the picture."""
    if not pictures:
        return {}
    from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository

    place = client.get_experiment(experiment).artifact_location.rstrip("/")
    files = get_artifact_repository(f"{place}/traces/{trace}/artifacts", tracking_uri=client.tracking_uri)
    links = {}
    with tempfile.TemporaryDirectory() as folder:
        for key, png in pictures.items():
            name = str(uuid.UUID(bytes=hashlib.sha256(f"{trace}/{key}".encode()).digest()[:16], version=4))
            Path(folder, name).write_bytes(png)
            links[key] = f"mlflow-attachment://{name}?content_type=image%2Fpng&trace_id={trace}&size={len(png)}"
        files.log_artifacts(folder, "attachments")  # one by one, each picture would get a folder of its own first
    return links


def _span(whole: bytes, span: Mapping[str, Any], links: Mapping[str, str]) -> Any:
    from mlflow.entities.span import Span

    start, stop = span["times_ms"]
    attributes = {
        "mlflow.traceRequestId": f"tr-{whole.hex()}",
        "mlflow.spanType": span["type"],
        "mlflow.spanInputs": _linked(span["inputs"], links),
        "mlflow.spanOutputs": _linked(span["outputs"], links),
        **span["attributes"],
    }
    return Span.from_dict(
        {
            "trace_id": _base64(whole),
            "span_id": _base64(_span_id(whole, span["key"])),
            "parent_span_id": None if span["parent"] is None else _base64(_span_id(whole, span["parent"])),
            "name": span["name"],
            "start_time_unix_nano": start * 1_000_000,
            "end_time_unix_nano": stop * 1_000_000,
            "status": {"code": "STATUS_CODE_OK", "message": ""},
            "attributes": {
                key: json.dumps(value, ensure_ascii=False)
                for key, value in attributes.items()
                if value not in (None, "")
            },
            "events": [],
        }
    )


def _linked(value: Any, links: Mapping[str, str]) -> Any:
    if isinstance(value, Mapping):
        if set(value) == {"picture"} and value["picture"] in links:
            return links[value["picture"]]
        return {key: _linked(each, links) for key, each in value.items()}
    return value


def _info(run_id: str, experiment: str, whole: bytes, event: Trace) -> Any:
    from mlflow.entities import TraceInfo, TraceLocation, TraceState

    body = event.body
    metadata = {"mlflow.sourceRun": run_id}
    if event.name == "val":
        metadata["mlflow.trace.session"] = event.prompt_id[:200]  # one session a held-out prompt: its answers over time
    return TraceInfo(
        trace_id=f"tr-{whole.hex()}",
        trace_location=TraceLocation.from_experiment_id(experiment),
        request_time=body["time_ms"],
        state=TraceState.OK,
        request_preview=body["request"],
        response_preview=body["response"],
        execution_duration=body["duration_ms"],
        trace_metadata=metadata,
        tags={"mlflow.traceName": body["title"], "mlflow.trace.spansLocation": "TRACKING_STORE", **body["tags"]},
        assessments=[_assessment(whole, number, each, body) for number, each in enumerate(body["feedback"])],
    )


def _assessment(whole: bytes, number: int, said: Mapping[str, Any], body: Mapping[str, Any]) -> Any:
    from mlflow.entities import AssessmentError, AssessmentSource, Feedback

    ended = body["time_ms"] + body["duration_ms"]
    feedback = Feedback(
        name=said["name"],
        value=said["value"],
        error=AssessmentError(said["error"], said["detail"]) if "error" in said else None,
        source=AssessmentSource("CODE", WRITTEN_BY),
        trace_id=f"tr-{whole.hex()}",
        span_id=_span_id(whole, said["span"]).hex(),
        metadata=dict(said["metadata"]),
        create_time_ms=ended,
        last_update_time_ms=ended,
    )
    feedback.assessment_id = f"a-{hashlib.sha256(whole + str(number).encode()).hexdigest()[:32]}"
    return feedback


def _base64(raw: bytes) -> str:
    return base64.b64encode(raw).decode()
