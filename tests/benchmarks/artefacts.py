"""JSON that a benchmark wrote, against its schema in ``benchmarks/schemas``."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from jsonschema import Draft202012Validator

SCHEMAS = Path(__file__).parents[2] / "benchmarks" / "schemas"


def faults(schema: str, found: Any) -> list[str]:
    """What of it is not as the schema says."""
    validator = Draft202012Validator(json.loads((SCHEMAS / f"{schema}.json").read_text()))
    return [f"{error.json_path}: {error.message[:200]}" for error in validator.iter_errors(found)]
