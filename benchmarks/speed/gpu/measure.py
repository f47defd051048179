"""The process that measures: rows one after the other, each result on disk before the next begins.

It is a child of ``benchmarks.speed.gpu``, which starts another one for the rows that are left where this one is gone. Lines
of its file: ``{"began": NAME}``, then ``{"row": NAME, ...}``. It leaves after an error that spoils its device.
"""

from __future__ import annotations

import argparse
import gc
import json
import sys
import time
import traceback
from importlib import import_module
from pathlib import Path
from typing import Any

import torch

from benchmarks.speed.gpu.card import Card
from benchmarks.speed.gpu.work import DRY, WORK

SPOILED = 3  # the exit code


def main() -> int:
    parser = argparse.ArgumentParser(prog="benchmarks.speed.gpu.measure")
    parser.add_argument("--rows", required=True, help="the module that has ROWS")
    parser.add_argument("--names", nargs="+", required=True)
    parser.add_argument("--lines", type=Path, required=True)
    parser.add_argument("--seconds", type=float, required=True, help="that are left for all of them")
    parser.add_argument("--dry", action="store_true")
    options = parser.parse_args()
    ends = time.monotonic() + options.seconds
    rows, cuda = import_module(options.rows).ROWS.rows, torch.cuda.is_available()
    device, dtype = ("cuda:0", torch.bfloat16) if cuda else ("cpu", torch.float32)
    card = Card(DRY if options.dry else WORK, device, dtype)
    with options.lines.open("a", encoding="utf-8") as lines:
        for name in options.names:
            left = ends - time.monotonic()
            if left < rows[name].least_s * (not options.dry):
                _write(lines, {"row": name, "status": "skipped", "reason": f"{max(0, left):.0f} s left"})
                continue
            _write(lines, {"began": name})
            _write(lines, {"row": name, **_measured(rows[name], card)})
            if not _usable(card):
                return SPOILED
    return 0


def _measured(row: Any, card: Card) -> dict[str, Any]:
    began = time.monotonic()
    try:
        found = {"status": "ok", **row.measure(card).as_json()}
    except Exception as error:  # the other rows go on
        traceback.print_exc()
        said = str(error).splitlines()
        found = {"status": "failed", "reason": f"{type(error).__name__}: {said[0] if said else ''}"[:300]}
    return {"seconds": time.monotonic() - began, **found}


def _usable(card: Card) -> bool:
    """Whether the device still answers: after some errors of a kernel nothing does. Its memory is given back."""
    gc.collect()
    try:
        if card.on_gpu:
            torch.cuda.synchronize()
            torch.cuda.empty_cache()
        return bool(torch.ones(2, device=card.device).sum().item() == 2)
    except RuntimeError:
        return False


def _write(lines: Any, line: dict[str, Any]) -> None:
    lines.write(json.dumps(line) + "\n")
    lines.flush()


if __name__ == "__main__":
    sys.exit(main())
