"""What a model holds: ``MLmodel`` and its companions, one Python file, our sources as a zip, and the policy's own files.

Weights are not copied here: they are named, and go to the store from where they are.
"""

from __future__ import annotations

import dataclasses
import json
import logging
import os
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cluster.model.requirements import constraints, requirements
from cluster.model.sources import SERVED, write_zip
from rl.config import Config
from rl.errors import PolicyError
from rl.tracking.metrics_file import SAMPLES_FOLDER
from rl.types import Task

WEIGHTS = ".safetensors"
COMPANIONS = (".json", ".jinja", ".txt", ".model")  # what load_policy reads beside weights; code is left out
POLICY = "artifacts/policy"
_EXAMPLE = {"prompt": "What is 2 + 3?", "task": str(Task.TEXT)}
_LONGEST_EXAMPLE = 2000


@dataclass(frozen=True, slots=True)
class Ids:
    """Of the run and of the model, in MLflow."""

    run_id: str
    model_id: str


def weights_of(policy: Path) -> dict[str, Path]:
    """Place in the model -> file, of all weights. Raises PolicyError where there are none."""
    found = {
        f"{POLICY}/{file.relative_to(policy).as_posix()}": file for file in _files(policy) if file.suffix == WEIGHTS
    }
    if not found:
        raise PolicyError(f"{policy}: no {WEIGHTS} file in it")
    return found


def write_model(folder: Path, config: Config, policy: Path, ids: Ids) -> None:
    """All but the weights, into a folder that is not there yet.

    policy: the folder that ``load_policy`` takes. Raises what MLflow raises.
    """
    import mlflow.pyfunc
    from mlflow.models import Model

    os.environ.setdefault("MLFLOW_UV_AUTO_DETECT", "false")  # the user's own project is none of the model's
    logging.getLogger("mlflow").setLevel(logging.WARNING)
    with tempfile.TemporaryDirectory() as place:
        beside = Path(place)
        pins = beside / "constraints.txt"
        pins.write_text("\n".join(constraints()) + "\n", "utf-8")
        mlflow.pyfunc.save_model(
            path=str(folder),
            python_model=str(SERVED),
            artifacts=_artifacts(beside, config, policy),
            signature=signature(),
            input_example=(example(config.run_dir), {"seed": config.seed}),
            pip_requirements=[*requirements(), f"-c {pins}"],
            model_config=model_config(config),
            mlflow_model=Model(run_id=ids.run_id, model_id=ids.model_id),
        )
    written = Model.load(str(folder))
    flavor = written.flavors["python_function"]
    flavor["model_code_path"] = SERVED.name  # MLflow writes whole paths of this machine down, and reads none of them
    for each in flavor["artifacts"].values():
        each["uri"] = each["path"]
    written.model_size_bytes = sum(file.stat().st_size for file in (*_files(folder), *weights_of(policy).values()))
    written.save(str(folder / "MLmodel"))


def model_config(config: Config) -> dict[str, Any]:
    """What may be changed where the model is loaded. device: auto is a GPU where there is one."""
    return {"device": "auto", "dtype": config.policy.dtype, "threads": config.rollout.threads}


def signature() -> Any:
    """Of ``cluster.model.served``: its columns and parameter."""
    from mlflow.models import ModelSignature
    from mlflow.types import ColSpec, ParamSchema, ParamSpec, Schema
    from mlflow.types.schema import Array, DataType

    asked: list[Any] = [
        ColSpec("string", "prompt"),
        ColSpec("string", "task", False),
        ColSpec("binary", "image", False),
    ]
    said: list[Any] = [
        ColSpec("string", "text"),
        ColSpec("binary", "image", False),
        ColSpec(Array(DataType.long), "tokens"),
        ColSpec("string", "status"),
    ]
    return ModelSignature(Schema(asked), Schema(said), ParamSchema([ParamSpec("seed", "long", 0)]))


def example(run_dir: Path) -> Any:
    """A table with the first held-out questions that are answered in words, or drawn; any sum where the run kept none."""
    import pandas

    samples = sorted((run_dir / SAMPLES_FOLDER).glob("val-*"))
    rows = [*_examples(samples, "texts.jsonl", "prompt"), *_examples(samples, "drawings.jsonl", "caption")]
    return pandas.DataFrame(rows or [_EXAMPLE])


def _examples(samples: Sequence[Path], name: str, key: str) -> Iterator[dict[str, str]]:
    """At most one, of the newest evaluation."""
    try:
        lines = (samples[-1] / name).read_text("utf-8").splitlines() if samples else []
        rows = [json.loads(line) for line in lines]
    except (OSError, ValueError):
        return
    for row in rows:
        task = row.get("task", str(Task.DRAW))
        if task in (Task.TEXT, Task.DRAW) and 0 < len(row[key]) <= _LONGEST_EXAMPLE:
            yield {"prompt": row[key], "task": task}
            return


def _artifacts(beside: Path, config: Config, policy: Path) -> dict[str, str]:
    """What the model reads, by its name: the policy's small files, our sources, and how to sample."""
    small = beside / "policy"
    for file in _files(policy):
        if file.suffix in COMPANIONS:
            target = small / file.relative_to(policy)
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(file, target)
    part = config.evaluation
    settings = {
        "sampling": {str(task): dataclasses.asdict(getattr(part, task)) for task in Task},
        "model_config": model_config(config),
    }
    write_zip(beside / "unigrpo.zip")
    (beside / "settings.json").write_text(json.dumps(settings, indent=1), "utf-8")
    return {"policy": str(small), "code": str(beside / "unigrpo.zip"), "settings": str(beside / "settings.json")}


def _files(policy: Path) -> list[Path]:
    """Regular files at any depth; links are left out, since the folder may be a stranger's."""
    found = (Path(folder, name) for folder, _, names in os.walk(policy) for name in names)
    return sorted(file for file in found if file.is_file() and not file.is_symlink())
