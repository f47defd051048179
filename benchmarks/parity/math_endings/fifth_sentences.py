"""A fifth set of endings, as sentences, out of ``fifth_sentences.yaml``."""

from __future__ import annotations

from pathlib import Path

import yaml

_FOUND = yaml.safe_load(Path(__file__).with_suffix(".yaml").read_text("utf-8"))
SENTENCES: dict[str, str] = _FOUND["SENTENCES"]
NEVER: dict[str, str] = _FOUND["NEVER"]
