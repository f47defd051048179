"""Is the text that was asked for in the drawn picture? Read by RapidOCR (PP-OCRv4; its models are inside the package).

The value is 1 - edit distance / length of the longer text, as in the text rendering task of Flow-GRPO (arXiv 2505.05470,
section 4), after blanks are taken away: a reader splits lines where a painter did not mean to.
"""

from __future__ import annotations

import importlib.util
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from rewards.base import absent, invalid
from rewards.pictures.base import picture_of
from rewards.settings import RewardSettings, setting
from rl.errors import RewardError
from rl.types import RewardItem, Score

_PACKAGE = "rapidocr_onnxruntime"
_MAX_TEXT = 500  # characters, of either text: the distance costs their product
_QUOTED = re.compile(r'"([^"]+)"|\u201c([^\u201d]+)\u201d|(?<!\w)\'([^\']+)\'(?!\w)')


@dataclass(frozen=True, kw_only=True)
class OcrSettings(RewardSettings):
    case: bool = setting("letters of another case are other letters", False)
    min_score: float = setting("how sure the reader must be of a line for it to count, 0 to 1", 0.5)
    threads: int = setting("CPU threads", 1, above=0)

    def check(self) -> None:
        if not 0 <= self.min_score <= 1:
            raise RewardError(f"min_score={self.min_score!r}; allowed: from 0 to 1")
        if importlib.util.find_spec(_PACKAGE) is None:
            raise RewardError("rapidocr-onnxruntime is not installed; pip install 'unigrpo[ocr]'")


class OcrReward:
    """0 to 1: how like the text that is read in the picture is to the text that was asked for.

    That text is the row's ``text``, or what its caption has in quotes. A picture in which nothing is read has the value 0;
    a row that asks for no text has no such reward. ``parts`` has ``confidence``, the reader's own mean.
    """

    name = "ocr"
    largest = 1.0
    Settings = OcrSettings

    def __init__(self, settings: OcrSettings) -> None:
        from rapidocr_onnxruntime import RapidOCR  # pyright: ignore[reportMissingImports]  # the extra, seconds to import

        self.case, threads = settings.case, settings.threads
        self._read = RapidOCR(text_score=settings.min_score, intra_op_num_threads=threads, inter_op_num_threads=1)

    def score(self, items: Sequence[RewardItem]) -> list[Score]:
        return [self._one(item) for item in items]

    def _one(self, item: RewardItem) -> Score:
        asked = asked_text(item)
        if asked is None:
            return absent("neither a text nor a caption with quotes")
        if item.image is None:
            return invalid(f"row {item.prompt.id}: no picture to read")
        try:
            picture = picture_of(item.image)
        except ValueError as error:
            return invalid(f"row {item.prompt.id}: {error}")
        lines = self._read(np.asarray(picture)[..., ::-1])[0] or []  # it expects BGR
        text = " ".join(str(line[1]) for line in lines)
        confidence = float(np.mean([float(line[2]) for line in lines])) if lines else 0.0
        return Score(
            similarity(text, asked, self.case), parts={"confidence": confidence}, detail=f"read {text[:100]!r}"
        )


def asked_text(item: RewardItem) -> str | None:
    """Metadata ``text``, or all that stands in quotes in the caption, in order."""
    given: Any = item.prompt.metadata.get("text")
    if isinstance(given, str) and given.strip():
        return given
    prompt = item.prompt
    caption = prompt.reference or (prompt.messages[-1].content if prompt.messages else "")
    quoted = ["".join(groups) for groups in _QUOTED.findall(caption)]
    return " ".join(quoted) or None


def similarity(text: str, asked: str, case: bool = False) -> float:
    """1 for the same characters, 0 for none in common, without blanks; of each text the first 500 characters."""
    left, right = (_plain(each, case) for each in (text, asked))
    longest = max(len(left), len(right))
    return 1.0 - edit_distance(left, right) / longest if longest else 1.0


def edit_distance(left: str, right: str) -> int:
    """Fewest insertions, deletions and replacements of characters (Levenshtein)."""
    row = list(range(len(right) + 1))
    for above, char in enumerate(left, 1):
        previous, row[0] = row[0], above
        for column, other in enumerate(right, 1):
            previous, row[column] = row[column], min(row[column] + 1, row[column - 1] + 1, previous + (char != other))
    return row[-1]


def _plain(text: str, case: bool) -> str:
    return "".join((text if case else text.casefold()).split())[:_MAX_TEXT]
