"""What a row's right answer is: the text that rewards compare with, the worked answer, and the value as the file has it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from rl.data.chat import column_text
from rl.data.files import Row
from rl.data.values import is_missing

# How data sets mark a thought. A text that only opens one has no answer.
_OPENS = re.compile(r"\s*<(think(?:ing)?|thoughts?|reasoning|scratchpad)>", re.IGNORECASE)
_CLOSES = re.compile(r"</(?:think(?:ing)?|thoughts?|reasoning|scratchpad)>", re.IGNORECASE)
_ANSWER_TAGS = re.compile(r"<answer>(.*)</answer>", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Answer:
    """Of one row. Example, GSM8K's: ``Answer("7", "<think>3 + 4 = 7.</think>7", "7")``.

    reference     as text: what verifiers compare with. JSON of a list or mapping
    solution      a worked answer, ``<think>...</think>answer``: for fine-tuning
    ground_truth  the value that the reference is made of, with its own type: what verl's functions get
    """

    reference: str | None
    solution: str | None
    ground_truth: Any


def read_answer(where: str, row: Row, answered: str | None) -> Answer:
    """answered: what the assistant says at the end of the row's chat. Raises DataError for bytes that are no text."""
    judged = row.get("reward_model")
    verl = judged.get("ground_truth") if isinstance(judged, Mapping) else None
    truth = row.get("ground_truth") if is_missing(verl) else verl
    columns = {
        "reference": row.get("reference"),
        "answer": row.get("answer"),
        "ground_truth": truth,
        "solution": row.get("solution"),
        "messages": answered,
    }
    column = next((name for name, value in columns.items() if not is_missing(value)), None)
    worked = next((columns[name] for name in ("solution", "messages") if not is_missing(columns[name])), None)
    solution = None if worked is None else column_text(where, "solution", worked).strip()
    if column is None:
        return Answer(None, solution, None)
    value = columns[column]
    reference = column_text(where, column, value).strip()
    if isinstance(value, str | bytes):
        reference, work = _apart(reference)
        value = reference
        solution = solution or work
    return Answer(reference or None, solution, value if is_missing(truth) else truth)


def _apart(text: str) -> tuple[str, str | None]:
    """(answer, worked answer) of a text: what follows a thought, what follows GSM8K's ``####``, and what ``<answer>`` holds."""
    closing = list(_CLOSES.finditer(text))
    if not closing and _OPENS.match(text):
        return "", None
    opening = _OPENS.match(text)
    if (
        closing and opening and opening.group(1).lower() != "think"
    ):  # <reasoning>: written as the policies here are trained
        text = f"<think>{text[opening.end() : closing[-1].start()]}</think>{text[closing[-1].end() :]}"
    thought, closed, rest = text.rpartition("</think>")
    steps, marked, answer = (rest if closed else text).rpartition("####")
    tagged = _ANSWER_TAGS.fullmatch(answer.strip())
    answer = (tagged[1] if tagged else answer).strip()
    if closed:
        return answer, text if not marked else f"{thought}{closed}{answer}"
    return answer, f"<think>{steps.strip()}</think>{answer}" if marked else None
