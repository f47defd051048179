r"""Throughput of ``verify_math`` on ordinary answers, and what hostile ones cost.

The ordinary ones are the labelled pairs in turn, so that 10,000 see each pair five times: members of a group repeat
answers more than that. A third of the pairs needs the computer algebra system.

    python -m benchmarks.parity.math_hostile [--ordinary 10000] [--hostile 1000] [--threads 2]

Prints answers a minute; seconds per hostile answer and slot; the largest memory of a child; processes left behind;
and whether any canary file was written.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import tempfile
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psutil

from benchmarks.parity.math_accuracy import PAIRS
from rewards.math import verify as math_reward
from rewards.math.verify import verify_math

HOSTILE = [
    ("5^{5^{5^{5^{5}}}}", "3"),
    ("9^9^9^9", "3"),
    (r"\binom{100000000}{50000000}", r"\sqrt{2}"),
    (r"\binom{10^9}{5\cdot10^8}+x", "x+1"),
    ("1000000000!", "3"),
    (r"(10^{9})!", r"\sqrt{3}"),
    ("9" * 100_000, "3"),
    ("(" * 5_000 + "1" + ")" * 5_000, "3"),
    (r"\boxed{" * 20_000, "3"),
    ("x" * 10_000_000, "3"),
    (r"\boxed{1} " * 1_000_000, "3"),
    ("__import__('os').system('touch CANARY')", r"\sqrt{3}"),
    (r"\boxed{__import__('os').system('touch CANARY')}", "x"),
    ("\u0663\u0664", "34"),
    ("3\0", "3"),
    ("\0" * 1_000_000, "3"),
    (r"(x+y+z+1)^{9999}", r"(x+y+z+2)^{9999}"),
    (r"(1+x)^{9999}=(1+y)^{9999}", r"(1+x)^{9998}=(1+y)^{9999}"),  # these two get past every gate and hang
    (r"\binom{99999}{50000}\sqrt{2}", r"\sqrt{2}"),
    (r"\sum_{k=1}^{99999999} \frac{1}{k}", r"\sqrt{5}"),
    (r"\int_0^{1} x^{x^{x}} dx", r"\pi"),
    (r"\prod_{k=1}^{9999999} k", r"\pi"),
]


def throughput(count: int, pool: ThreadPoolExecutor) -> None:
    rows = [json.loads(line) for line in PAIRS.read_text(encoding="utf-8").splitlines()]
    work = [rows[index % len(rows)] for index in range(count)]
    began, used = time.monotonic(), time.process_time()
    list(pool.map(lambda row: verify_math(rf"$\boxed{{{row['answer']}}}$", row["reference"], 1.0), work))
    seconds, cpu = time.monotonic() - began, time.process_time() - used
    if math_reward._child is not None:
        math_reward._child.close()  # so that what its processes used is known
    children = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu += children.ru_utime + children.ru_stime
    print(
        f"ordinary: {count / seconds * 60:,.0f} answers a minute by the clock; {cpu / count * 1000:.2f} CPU-ms each, "
        f"which is {60 / (cpu / count):,.0f} a minute and core"
    )


def hostile(count: int, deadline_s: float, pool: ThreadPoolExecutor, threads: int, folder: str) -> None:
    math_reward._start_child().warm()  # it was closed, so that its CPU is known; its start is nobody's answer
    peak, stop = [0], threading.Event()
    watcher = threading.Thread(target=_watch, args=(peak, stop))
    watcher.start()
    before = len(psutil.Process().children(recursive=True))
    work = [HOSTILE[index % len(HOSTILE)] for index in range(count)]
    seconds: list[float] = []

    def one(pair: tuple[str, str]) -> None:
        began = time.monotonic()
        verify_math(pair[0].replace("CANARY", f"{folder}/canary"), pair[1], deadline_s)
        seconds.append(time.monotonic() - began)

    began = time.monotonic()
    list(pool.map(one, work))
    wall = time.monotonic() - began
    stop.set()
    watcher.join()
    left = len(psutil.Process().children(recursive=True))
    print(
        f"hostile: {count} answers at a deadline of {deadline_s:g} s: {wall * threads / count:.3f} s per answer and slot"
    )
    print(
        f"         slowest {max(seconds):.2f} s, largest child {peak[0] / 2**20:.0f} MiB, children {before} -> {left}"
    )
    print(f"         canary files: {len(os.listdir(folder))}")


def _watch(peak: list[int], stop: threading.Event) -> None:
    own = psutil.Process()
    while not stop.wait(0.02):
        for child in own.children(recursive=True):
            try:
                peak[0] = max(peak[0], child.memory_info().rss)
            except psutil.Error:
                continue


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--ordinary", type=int, default=10_000)
    parser.add_argument("--hostile", type=int, default=1_000)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--deadline", type=float, default=1.0)
    arguments = parser.parse_args()
    verify_math(r"\sqrt{8}", r"2\sqrt{2}", 60.0)
    with ThreadPoolExecutor(arguments.threads) as pool, tempfile.TemporaryDirectory() as folder:
        throughput(arguments.ordinary, pool)
        hostile(arguments.hostile, arguments.deadline, pool, arguments.threads, str(Path(folder)))
    if math_reward._child is not None:
        math_reward._child.close()
    print(f"processes after closing: {len(psutil.Process().children(recursive=True))}")


if __name__ == "__main__":
    main()
