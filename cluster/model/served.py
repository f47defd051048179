"""The policy as an MLflow model: this file travels with the weights, and MLflow runs it where the model is loaded.

It stands alone: it imports nothing of this project before ``load_context`` has found the sources beside it. Nothing is pickled.
"""

from __future__ import annotations

import base64
import io
import json
import sys
import threading
from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
from mlflow.exceptions import MlflowException
from mlflow.models import set_model
from mlflow.pyfunc.model import PythonModel
from PIL import Image

LONGEST_PROMPT = 1_000_000  # characters
LOOKS, DRAWS = "understand", ("draw", "think_draw")


class PolicyModel(PythonModel):
    """Rows in, one answer a row out, each sampled as ``unigrpo generate`` does: the same seed gives the same tokens.

    Columns in: ``prompt``; ``task`` (text, understand, draw or think_draw; text where it is missing); ``image``, the bytes of a
    picture, for understand. Parameter: ``seed``. Columns out: ``text``; ``image``, the bytes of a PNG, where one was drawn;
    ``tokens``, the ids that were sampled; ``status``, complete or truncated.
    """

    def load_context(self, context: Any) -> None:
        """``model_config`` has device (auto: a GPU where there is one), dtype and threads."""
        sys.path.insert(0, context.artifacts["code"])  # where the project is installed as well, these sources are meant
        import torch

        from policies import load_policy
        from rl.types import ImageSampling, Task, TextSampling, ThinkDrawSampling

        with open(context.artifacts["settings"], encoding="utf-8") as file:
            settings = json.load(file)
        asked = {**settings["model_config"], **(context.model_config or {})}
        device = str(asked["device"])
        if device == "auto":
            device = "cuda" if torch.cuda.is_available() else "cpu"
        self._policy = load_policy(context.artifacts["policy"], device=device, dtype=str(asked["dtype"]))
        self._threads = int(asked["threads"])
        given = settings["sampling"]
        both = given["think_draw"]
        self._sampling = {
            Task.TEXT: TextSampling(**given["text"]),
            Task.UNDERSTAND: TextSampling(**given["understand"]),
            Task.DRAW: ImageSampling(**given["draw"]),
            Task.THINK_DRAW: ThinkDrawSampling(TextSampling(**both["think"]), ImageSampling(**both["draw"])),
        }
        self._alone = threading.Lock()

    def predict(self, context: Any, model_input: pd.DataFrame, params: Mapping[str, Any] | None = None) -> pd.DataFrame:
        """One row at a time, each a batch of its own: an answer does not depend on the rows around it.

        Raises MlflowException (HTTP 400) for a row that cannot be answered.
        """
        from rl.errors import UniGRPOError

        seed = int((params or {}).get("seed", 0))
        rows = _rows(model_input)
        for number, row in enumerate(rows):
            _check(number, row)
        answers = []
        with self._alone:  # requests take turns: the number of threads belongs to the whole process
            for number, row in enumerate(rows):
                try:
                    answers.append(self._answer(row, seed))
                except UniGRPOError as error:
                    raise _refused(number, str(error)) from error
        return pd.DataFrame(answers, columns=["text", "image", "tokens", "status"])

    def _answer(self, row: Mapping[str, Any], seed: int) -> dict[str, Any]:
        from policies.generate import rollout_group
        from rl.errors import PolicyError
        from rl.seeds import derive_seed
        from rl.threads import torch_threads
        from rl.types import Message, Prompt, Task

        task = Task(row["task"])
        if task is not Task.TEXT and self._policy.image_tokenizer is None:
            raise PolicyError(f"task={task}: this policy has no image tokenizer; allowed: text")
        identity = f"generate/{row['prompt']}"  # as on the command line, whose seeds these are
        prompt = Prompt(identity, task, (Message("user", row["prompt"]),), image=row["image"])
        seeds = [derive_seed(seed, identity, 0)]
        with torch_threads(self._threads):
            (rollout,) = rollout_group(self._policy, prompt, self._sampling[task], seeds, weight_version=0)
        return {
            "text": rollout.text,
            "image": None if rollout.image is None else _png(rollout.image),
            "tokens": rollout.token_ids[rollout.response_mask].tolist(),
            "status": str(rollout.status),
        }


def _rows(table: pd.DataFrame) -> list[dict[str, Any]]:
    """What each row asks: prompt, task and picture. MLflow makes the table of whatever it is given, by the signature."""
    rows = []
    for each in table.to_dict("records"):
        row = {str(name): None if _is_missing(value) else value for name, value in each.items()}
        row = {"prompt": row.get("prompt"), "task": row.get("task") or "text", "image": row.get("image")}
        rows.append({**row, "image": _bytes(row["image"])})
    return rows


def _is_missing(value: Any) -> bool:
    return value is None or value is pd.NA or (isinstance(value, float) and np.isnan(value))


def _bytes(picture: Any) -> Any:
    """Bytes as they are; text as base64 of them, also as a browser's ``data:`` address. None for no bytes: MLflow takes no
    missing value in a column of them."""
    if not isinstance(picture, str):
        return picture or None
    try:
        return base64.b64decode(picture.partition(",")[2] if picture.startswith("data:") else picture) or None
    except ValueError:
        return b"?"  # which is then found to be no picture


def _check(number: int, row: Mapping[str, Any]) -> None:
    from rl.types import Task

    prompt, task, image = row["prompt"], row["task"], row["image"]
    if not isinstance(prompt, str) or not prompt.strip() or len(prompt) > LONGEST_PROMPT:
        raise _refused(
            number, f"prompt: expected a question, or a caption to draw, of 1 to {LONGEST_PROMPT:,} characters"
        )
    if task not in tuple(Task):
        raise _refused(number, f"task={str(task)[:40]!r}: allowed: {', '.join(Task)}")
    if image is not None and not isinstance(image, bytes):
        raise _refused(number, "image: expected the bytes of a PNG, JPEG or WebP picture, in JSON as base64")
    if (task == LOOKS) != (image is not None):
        raise _refused(
            number, f"task={task} {'without' if image is None else 'with'} an image: {LOOKS} needs one, no other does"
        )


def _refused(number: int, reason: str) -> MlflowException:
    return MlflowException.invalid_parameter_value(f"row {number}: {reason}")


def _png(pixels: np.ndarray) -> bytes:
    file = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(pixels)).save(file, "PNG")
    return file.getvalue()


set_model(PolicyModel())
