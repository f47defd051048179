"""What many rows cost until the first step: seconds and memory of a run of one step, with few rows and with many.

    python -m benchmarks.speed.bulk_rows [--texts 200000] [--pictures 50000] [--few 200] [--only texts files embedded]

Each run is a process of its own: the tiny policy in one process (``cluster.mode=inline``), no evaluation, one step, with a
reward that tells any two answers apart, so that the step has something to learn. ``texts``
is a JSONL file of questions of some 250 characters with worked answers, ``files`` a JSONL file that names as many JPEGs of
224 x 224 pixels, ``embedded`` a Parquet file that holds them. Wall seconds depend on what else the machine does; CPU seconds
do so less. The most memory is that of the process (``ru_maxrss``).
"""

from __future__ import annotations

import argparse
import io
import json
import os
import random
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

KINDS = ("texts", "files", "embedded")
_WORDS = "a farmer has apples and pears in each basket and sells some of them how many are left after Monday".split()
_PICTURES, _SIDE = 64, 224
_REWARD = """import zlib


def reward(prompts, completions, **columns):
    return [zlib.crc32(str(text).encode()) / 2**32 for text in completions]
"""
_SETTINGS = (
    "steps=1", "cluster.mode=inline", "val_before_train=false", "val_after_train=false", "test_freq=0", "save_freq=0",
    "tracking.mlflow=false", "rollout.batch_size=2",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Cost:
    """Of one run. decoded: pictures that were decoded whole before it began; None: all of them. counts: lines of progress."""

    rows: int
    wall_s: float
    cpu_s: float
    peak_mb: float
    decoded: int | None
    counts: int


def texts(count: int) -> Iterator[dict[str, str]]:
    chance = random.Random(0)
    for number in range(count):
        asked, worked = (" ".join(chance.choices(_WORDS, k=length)) for length in (50, 55))
        yield {"question": f"{asked} {number}?", "answer": f"{worked} = {number}\n#### {number}"}


def write(kind: str, count: int, folder: Path) -> Path:
    """A file of rows in a folder that is there."""
    if kind == "texts":
        return _lines(folder / "rows.jsonl", texts(count))
    pictures = [_jpeg(number) for number in range(_PICTURES)]
    asked = {"question": "What is it?", "answer": "a picture"}
    if kind == "embedded":
        return _parquet(folder / "rows.parquet", pictures, count, asked)
    originals = [folder / f"original{number}.jpg" for number in range(_PICTURES)]
    for path, content in zip(originals, pictures, strict=True):
        path.write_bytes(content)
    for number in range(count):  # a name of its own for each row, without the disk space
        os.link(originals[number % _PICTURES], folder / f"{number}.jpg")
    return _lines(folder / "rows.jsonl", ({"image": f"{number}.jpg", **asked} for number in range(count)))


def _jpeg(number: int) -> bytes:
    from PIL import Image

    coarse = np.random.default_rng(number).integers(0, 255, (14, 14, 3), dtype=np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(coarse).resize((_SIDE, _SIDE), Image.Resampling.BICUBIC).save(buffer, "JPEG", quality=90)
    return buffer.getvalue()


def _lines(path: Path, rows: Iterator[dict[str, str]]) -> Path:
    with path.open("w") as file:
        file.writelines(json.dumps(row) + "\n" for row in rows)
    return path


def _parquet(path: Path, pictures: Sequence[bytes], count: int, asked: dict[str, str]) -> Path:
    import pyarrow as pa
    import pyarrow.parquet as pq

    schema = pa.schema([("image", pa.binary()), ("question", pa.string()), ("answer", pa.string())])
    with pq.ParquetWriter(path, schema) as file:
        for start in range(0, count, 1000):
            rows = [
                {"image": pictures[number % _PICTURES], **asked} for number in range(start, min(count, start + 1000))
            ]
            file.write_table(pa.Table.from_pylist(rows, schema))
    return path


def measure(kind: str, count: int) -> Cost:
    """Of a run over so many rows. Raises SystemExit with what it wrote, where it fails."""
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        source = write(kind, count, folder)
        reward = folder / "reward.py"
        reward.write_text(_REWARD)
        command = [sys.executable, "-m", "cluster.cli", "train", "--recipe", "tiny", *_SETTINGS]
        command += [f"data.train=[{{source: {source}}}]", f"output_dir={folder / 'runs'}"]
        command += [f"custom_reward_function.path={reward}"]
        command += [f"rewards.mix.{task}={{custom: 1.0}}" for task in ("text", "understand")]
        with (folder / "stderr").open("w+") as told:
            began = time.monotonic()
            child = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=told)
            _, status, used = os.wait4(child.pid, 0)
            seconds = time.monotonic() - began
            told.seek(0)
            text = told.read()
        if status:
            raise SystemExit(f"error: {kind}: {count} rows: the run failed:\n{text}")
        decoded = re.search(r"([\d,]+) of [\d,]+ pictures were decoded whole", text)
        return Cost(
            rows=count,
            wall_s=round(seconds, 1),
            cpu_s=round(used.ru_utime + used.ru_stime, 1),
            peak_mb=round(used.ru_maxrss / 1e3),
            decoded=int(decoded[1].replace(",", "")) if decoded else None,
            counts=len(re.findall(r"^(?:reading|measuring) ", text, re.MULTILINE)),
        )


def compare(kind: str, few: int, many: int) -> dict[str, object]:
    less, more = measure(kind, few), measure(kind, many)
    return {
        "few": asdict(less),
        "many": asdict(more),
        "more_wall_s": round(more.wall_s - less.wall_s, 1),
        "more_cpu_s": round(more.cpu_s - less.cpu_s, 1),
        "more_peak_mb": more.peak_mb - less.peak_mb,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--texts", type=int, default=200_000)
    parser.add_argument("--pictures", type=int, default=50_000)
    parser.add_argument("--few", type=int, default=200)
    parser.add_argument("--only", nargs="+", choices=KINDS, default=KINDS)
    options = parser.parse_args()
    for kind in options.only:
        many = options.texts if kind == "texts" else options.pictures
        print(json.dumps({kind: compare(kind, options.few, many)}, indent=1), flush=True)


if __name__ == "__main__":
    main()
