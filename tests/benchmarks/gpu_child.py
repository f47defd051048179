"""A process that measures rows as ``benchmarks.speed.gpu.measure`` does, without a device: rows say what befalls them."""

from __future__ import annotations

import argparse
import json
import os
import time
from pathlib import Path


def main() -> int:
    parser = argparse.ArgumentParser()
    for name in ("--rows", "--seconds"):
        parser.add_argument(name, required=True)
    parser.add_argument("--lines", type=Path, required=True)
    parser.add_argument("--names", nargs="+", required=True)
    options = parser.parse_args()
    with options.lines.open("a") as lines:
        for name in options.names:
            lines.write(json.dumps({"began": name}) + "\n")
            lines.flush()
            if name.startswith("crash"):
                os.abort()
            if name.startswith("hang"):
                time.sleep(60)
            lines.write(json.dumps({"row": name, "status": "ok", "pid": os.getpid()}) + "\n")
            lines.flush()
            if name.startswith("spoil"):
                return 3
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
