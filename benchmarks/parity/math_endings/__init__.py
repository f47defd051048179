"""Four sets of endings for ``math_templates``, written without sight of the verifier: ``rows`` gives them.

The eighth is written out row by row, in ``eighth.jsonl``.
"""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from pathlib import Path

from benchmarks.parity.math_endings import (
    fifth_notations,
    fifth_sentences,
    fifth_values,
    fifth_words,
    seventh_sentences,
    seventh_values,
    sixth_sentences,
    sixth_values,
)
from benchmarks.parity.math_endings.base import Row, never, sentences, sums

_SENTENCES = {
    "fifth": fifth_sentences.SENTENCES,
    "sixth": sixth_sentences.SENTENCES,
    "seventh": seventh_sentences.SENTENCES,
}
_NEVER = {"fifth": fifth_sentences.NEVER, "sixth": sixth_sentences.NEVER, "seventh": seventh_sentences.NEVER}
_MADE = {
    "fifth": {**fifth_values.KINDS, **fifth_words.KINDS, **fifth_notations.KINDS},
    "sixth": sixth_values.KINDS,
    "seventh": seventh_values.KINDS,
}
_WRITTEN_OUT = Path(__file__).with_name("eighth.jsonl")
SHARES = (*_SENTENCES, "eighth")


def rows(share: str, seed: int = 0) -> Iterator[tuple[str, Row]]:
    """Every kind's name and its rows, all of them; the same seed gives the same rows."""

    def chance(kind: str) -> random.Random:
        return random.Random(f"{seed} {kind}")

    if share == "eighth":
        for line in _WRITTEN_OUT.read_text(encoding="utf-8").splitlines():
            row = json.loads(line)
            yield row["kind"], (row["completion"], row["reference"], row["equal"])
        return
    for kind, templates in _SENTENCES[share].items():
        yield from ((kind, row) for row in sentences(chance(kind), templates))
    for kind, templates in _NEVER[share].items():
        yield from ((kind, row) for row in never(chance(kind), templates))
    for kind, templates in (sixth_sentences.SUMS if share == "sixth" else {}).items():
        yield from ((kind, row) for row in sums(chance(kind), templates))
    for kind, made in _MADE[share].items():
        yield from ((kind, row) for row in made(chance(kind)))
