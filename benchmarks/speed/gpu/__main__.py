"""What one GPU does, by row, beside what it should do: one command, at most 8 minutes on a card of 80 GB, without Ray.

    python -m benchmarks.speed.gpu --out gpu.json             the whole stretch
    python -m benchmarks.speed.gpu --out dry.json --dry       every row with small shapes, on any machine: that it runs
    python -m benchmarks.speed.gpu --predict [--card h200]    the predictions alone, as a table

Weights are random. Every row is measured in a process that may crash or hang: its row is lost then, and no other. The JSON
and a table beside it (``gpu.md``) are written again after each row. Logs are in ``gpu.logs/``. Without DeepSpeed, steps are
torch's own, and the result says so.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from importlib import import_module
from pathlib import Path
from typing import Any

import torch

from benchmarks.speed.gpu.card import known_card, machine
from benchmarks.speed.gpu.predicted import predictions
from benchmarks.speed.gpu.supervised import measure
from benchmarks.speed.gpu.table import compared, prediction_table, result_table
from benchmarks.speed.gpu.work import DRY, WORK
from cluster.plan.seconds import DEVICES

MODULE = "benchmarks.speed.gpu.rows"
FORMAT = 1


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.speed.gpu", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--out", type=Path, default=Path("gpu.json"))
    parser.add_argument("--minutes", type=float, default=7.5, help="no row begins without time for it in these")
    parser.add_argument("--dry", action="store_true", help="small shapes, also on a CPU")
    parser.add_argument("--only", nargs="*", default=[], metavar="ROW", help="rows whose name has one of these in it")
    parser.add_argument("--predict", action="store_true", help="print the predictions, and measure nothing")
    parser.add_argument("--card", choices=sorted(DEVICES), default="h100", help="of --predict")
    parser.add_argument("--rows", default=MODULE, help=argparse.SUPPRESS)  # a test's own
    options = parser.parse_args(arguments)
    if options.predict:
        print(prediction_table(predictions(WORK, DEVICES[options.card], "bfloat16")))
        return 0
    cuda, rows = torch.cuda.is_available(), import_module(options.rows).ROWS.rows
    if not cuda and not options.dry:
        return _mistake("no GPU is visible here; --dry runs small shapes on the CPU")
    if not options.out.parent.is_dir():
        return _mistake(f"--out {options.out}: no such folder: {options.out.parent}; make it first")
    names = [name for name in rows if not options.only or any(part in name for part in options.only)]
    if not names:
        return _mistake(f"--only {' '.join(options.only)}: no such row; allowed: {', '.join(rows)}")
    return _stretch(options, rows, names, "cuda:0" if cuda else "cpu")


def _stretch(options: argparse.Namespace, rows: Any, names: list[str], device: str) -> int:
    began, work = time.monotonic(), DRY if options.dry else WORK
    found = machine(device)
    predicted = predictions(work, known_card(found["device"]), "bfloat16" if device != "cpu" else "float32")
    result: dict[str, Any] = {
        "bench": "gpu", "format": FORMAT, "dry": options.dry, "began": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": found, "predicted_for": known_card(found["device"]).name, "work": asdict(work), "rows": {},
    }  # fmt: skip
    logs = options.out.with_suffix(".logs")
    logs.mkdir(exist_ok=True)

    def keep(name: str, row: dict[str, Any]) -> None:
        if row["status"] == "ok":
            row["compared"] = compared(row["measured"], predicted.get(name, {}))
        result["rows"][name] = row
        result["seconds"] = time.monotonic() - began
        _write(options.out, json.dumps(result, indent=2) + "\n")
        _write(options.out.with_suffix(".md"), result_table(result["rows"]) + "\n")
        said = "" if row["status"] == "ok" else f": {row.get('reason')}"
        print(f"{name}: {row['status']}, {row.get('seconds', 0):.1f} s{said}", flush=True)

    measure(rows, names, options.rows, logs, 60 * options.minutes, options.dry, keep)
    print(result_table(result["rows"]))
    print(f"{options.out}: {len(names)} rows in {time.monotonic() - began:.0f} s")
    return int(any(row["status"] != "ok" for row in result["rows"].values()))


def _write(path: Path, text: str) -> None:
    """Whole, or as it was."""
    beside = path.with_name(f".{path.name}.tmp")
    beside.write_text(text, encoding="utf-8")
    os.replace(beside, path)


def _mistake(text: str) -> int:
    print(f"error: {text}", file=sys.stderr)
    return 2


if __name__ == "__main__":
    sys.exit(main())
