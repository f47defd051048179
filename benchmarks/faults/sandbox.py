"""Hostile programs and hostile answers beside honest ones: who is paid, what is left, and what it costs the honest.

    python -m benchmarks.faults.sandbox [--count 1000] [--deadline 1.0]

Scores COUNT honest programs, COUNT honest answers to mathematics and COUNT to reasoning-gym's puzzles alone; then the same
among as many hostile ones of each kind. Prints both times, how many of each were paid, and what is left: processes,
temporary files, sockets, canaries. Symbolic comparison and reasoning-gym's verifiers are in children.
"""

from __future__ import annotations

import argparse
import gc
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil
import reasoning_gym

from rewards.code import CodeReward, CodeSettings, close_sandboxes
from rewards.gym import ReasoningGymReward, ReasoningGymSettings
from rewards.math import verify as math_reward
from rewards.math.verify import verify_math
from rewards.sandbox.kernel import offers
from rl.types import Message, Prompt, RewardItem, Score, Task

HIDDEN = 3141592
_HONEST = (
    "def f(x):\n    return x * x + 0.5",
    "import math\ndef f(x):\n    return math.fsum([x ** 2, 0.25, 0.25])",
    "from fractions import Fraction\ndef f(x):\n    return float(Fraction(x * x) + Fraction(1, 2))",
    "import tempfile\ndef f(x):\n    with tempfile.TemporaryFile() as file:\n        return x * file.write(b'x' * x) + 0.5",
)
_LATEX = (
    (r"2\sqrt{2}", r"\sqrt{8}"), (r"\frac{3}{4}", "0.75"), (r"x^2+2x+1", r"(x+1)^2"),
    (r"\frac{\sqrt{3}}{3}", r"\frac{1}{\sqrt{3}}"),
)  # fmt: skip
# Each would be paid if one of the sandbox's walls were missing. ROWS: where the expected values lie; CANARY: a file.
_FIND = (
    "import glob, json, re\ndef f(x):\n    for path in {paths}:\n        try: text = open(path, errors='replace').read()\n"
    "        except OSError: continue\n        found = re.search('\"expected\": ([0-9.]+)', text)\n"
    "        if found: return float(found.group(1))\n        for word in text.split(chr(0)):\n"
    "            try: return float(re.search('\"expected\": ([0-9.]+)', open(word).read()).group(1))\n"
    "            except (OSError, AttributeError, ValueError): pass\n"
)
HOSTILE = (
    _FIND.format(paths="['ROWS']"),
    _FIND.format(paths="glob.glob('/proc/*/cmdline')"),
    _FIND.format(paths="glob.glob('SHARED/**/*.json*', recursive=True)"),
    _FIND.format(paths="['program.py', '/proc/self/environ', '/proc/self/maps']"),
    "class Any(float):\n    def __eq__(self, other): return True\ndef f(x): return Any(1)",
    "def f(x): return float('inf')",
    "def f(x): return 10 ** 400",
    "def f(x): return True",
    "import json\njson.dumps = lambda value: '[' * 200_000\ndef f(x): return 1",
    "import os\nos.write(3, b'{\"value\": 1.0}')\nos._exit(0)",
    "import sys\nsys.exit(0)",
    "while True: pass",
    "import time\ntime.sleep(600)",
    "import ctypes, os, signal, time\nctypes.CDLL(None).prctl(1, 0)\nsignal.setitimer(signal.ITIMER_REAL, 0)\n"
    "if os.fork() == 0:\n    os.setsid()\n    if os.fork() == 0: time.sleep(600)\ntime.sleep(600)",
    "import os\nwhile True:\n    try: os.fork()\n    except OSError: pass",
    "import os, time\nfor _ in range(6):\n    if os.fork() == 0:\n        x = bytearray(300 << 20)\n        time.sleep(600)\n"
    "time.sleep(600)",
    "n = 0\nwhile True:\n    open(str(n), 'wb').write(bytes(1 << 20))\n    n += 1",
    "import os\nfor _ in range(1500):\n    os.mkdir('d')\n    os.chdir('d')",
    "while True: print('x' * 100_000)",
    "open('CANARY', 'w').write('x')",
    "import os\nos.chmod('CANARY', 0o777)",
    "import os, signal\nos.kill(DRIVER, signal.SIGTERM)",
    "import os, signal\nos.kill(-1, signal.SIGKILL)",
    "import socket\nwith socket.socket(socket.AF_UNIX) as s: s.bind('CANARY2')",
    "import subprocess\nsubprocess.run(['/bin/sh', '-c', 'touch CANARY3'])",
    "x = bytearray(64 << 30)",
)
HOSTILE_ANSWERS = (
    r"\boxed{__import__('os').system('touch CANARY4')}", r"\boxed{5^{5^{5^{5^{5}}}}}", r"\boxed{\binom{100000000}{50000000}}",
    r"\boxed{(x+y+z+1)^{9999}}", r"\boxed{\sum_{k=1}^{99999999} \frac{1}{k}}", r"\boxed{" * 2_000, "(" * 5_000 + "1",
    r"\boxed{exec('open(\"CANARY5\",\"w\")')}", r"\boxed{(10^{9})!}", "9" * 100_000, "\0" * 10_000,
    r"\boxed{\int_0^1 \frac{\sin^{99}(x)}{x}dx}",
)  # fmt: skip

_PUZZLES = ("basic_arithmetic", "gcd", "binary_matrix", "countdown", "spiral_matrix", "puzzle24")
_PATCH = "import rewards.sandbox.gym as g; g._mark = lambda *a: 1.0"
HOSTILE_PUZZLES = (
    f"(exec({_PATCH!r},{{}}),1)[1]", f"sin(exec({_PATCH!r}))", "__import__('os').system('touch CANARY6')",
    "[open('CANARY7','w') for _ in [1]]", "().__class__.__base__.__subclasses__()", "9**9**9**9", "[" * 5_000, "banana",
    "import os\n[os.write(fd, b'\\0\\0\\0\\x18{\"value\": {\"mark\": 1.0}}') for fd in range(3, 12)]",
)  # fmt: skip


def run(count: int, deadline_s: float, answer_s: float = 1.5) -> dict[str, Any]:
    """Counts and seconds, by name. deadline_s: of a program. answer_s: of a mathematical answer."""
    with tempfile.TemporaryDirectory(prefix="unigrpo-hostile-") as name, _temporary(Path(name) / "tmp"):
        folder = Path(name)
        canary, rows = folder / "canary", folder / "rows.jsonl"
        canary.write_text("untouched")
        canary.chmod(0o600)
        rows.write_text(json.dumps({"tests": [{"function": "f", "args": [1], "expected": HIDDEN}]}))
        words = {"ROWS": str(rows), "SHARED": name, "CANARY": str(canary), "DRIVER": str(os.getpid())}
        waiting = [sys.executable, "-c", "import time; time.sleep(3600)", str(rows)]  # as a run has it in its arguments
        with subprocess.Popen(waiting) as bystander:
            try:
                report = _report(count, deadline_s, answer_s, words, bystander.pid)
                report["bystander_alive"] = bystander.poll() is None
            finally:
                bystander.kill()
        report["canary_files"] = sorted(
            path.name for path in folder.iterdir() if path.name not in ("tmp", "rows.jsonl")
        )
        report["canary_untouched"] = canary.read_text() == "untouched" and canary.stat().st_mode & 0o777 == 0o600
        report["folders_left"] = sorted(path.name for path in (folder / "tmp").iterdir())
    return report


def _report(count: int, deadline_s: float, answer_s: float, words: Mapping[str, str], bystander: int) -> dict[str, Any]:
    reward = CodeReward(CodeSettings(deadline_s=deadline_s))
    honest = [_item(_HONEST[index % len(_HONEST)], 3, 9.5) for index in range(count)]
    hostile = [_item(_filled(HOSTILE[index % len(HOSTILE)], words), 1, HIDDEN) for index in range(count)]
    answers = [_LATEX[index % len(_LATEX)] for index in range(count)]
    bad = [(_filled(HOSTILE_ANSWERS[index % len(HOSTILE_ANSWERS)], words), r"\sqrt{3}") for index in range(count)]
    right = [_puzzle(_PUZZLES[index % len(_PUZZLES)], index // len(_PUZZLES) % 20) for index in range(count)]
    wrong = [
        RewardItem(item.prompt, _filled(HOSTILE_PUZZLES[index % len(HOSTILE_PUZZLES)], words))
        for index, item in enumerate(right)
    ]
    _close()
    before = _held(bystander)
    gym = ReasoningGymReward(ReasoningGymSettings())
    gym.score(right[:1])
    reward.score(honest[:1])
    verify_math(r"$\boxed{2\sqrt{2}}$", r"\sqrt{8}", 60.0)
    began = time.monotonic()
    alone = reward.score(honest), _math(answers, answer_s), gym.score(right)
    middle = time.monotonic()
    mixed = [each for pair in zip(honest, hostile, strict=True) for each in pair]
    scores = reward.score(mixed)
    mixed_answers = _math([each for pair in zip(answers, bad, strict=True) for each in pair], answer_s)
    marks = gym.score([each for pair in zip(right, wrong, strict=True) for each in pair])
    ended = time.monotonic()
    gym._child.close()
    gym._fresh.close()
    _close()
    after = _held(bystander)
    return {
        "sandbox": offers.line(offers.found()),
        "count": count,
        "kinds": ["programs", "mathematics", "puzzles"],
        "honest_only_paid": [_paid(alone[0]), sum(value == 1.0 for value in alone[1]), _paid(alone[2])],
        "honest_paid": [_paid(scores[::2]), sum(value == 1.0 for value in mixed_answers[::2]), _paid(marks[::2])],
        "hostile_paid": [
            sum(score.value != 0.0 for score in scores[1::2]),
            sum(value == 1.0 for value in mixed_answers[1::2]),
            sum(score.value > 0.0 for score in marks[1::2]),
        ],
        "ms_of_an_honest_test": [_median_ms(alone[0]), _median_ms(scores[::2])],  # alone, and among the hostile
        "seconds_honest_only": round(middle - began, 2),
        "seconds_with_hostile": round(ended - middle, 2),
        "descriptors_before_after": [before[0], after[0]],
        "processes_before_after": [before[1], after[1]],
    }


def _math(pairs: Sequence[tuple[str, str]], deadline_s: float) -> list[float]:
    return [verify_math(text if "boxed" in text else f"${text}$", right, deadline_s).value for text, right in pairs]


def _paid(scores: Sequence[Score]) -> int:
    return sum(score.value == 1.0 for score in scores)


def _median_ms(scores: Sequence[Score]) -> float:
    return round(1000 * statistics.median(score.seconds for score in scores), 1)


def _puzzle(dataset: str, seed: int) -> RewardItem:
    entry = reasoning_gym.create_dataset(dataset, size=1, seed=seed)[0]
    asked = (Message("user", entry["question"]),)
    return RewardItem(
        Prompt(dataset, Task.TEXT, asked, reference=entry["answer"], metadata=entry["metadata"]), entry["answer"]
    )


def _item(program: str, argument: int, expected: float) -> RewardItem:
    tests = [{"function": "f", "args": [argument], "expected": expected}]
    row = Prompt("row", Task.TEXT, (Message("user", "Write f."),), metadata={"tests": tests})
    return RewardItem(row, f"<think>so</think>```python\n{program}\n```")


def _filled(text: str, words: Mapping[str, str]) -> str:
    for name, word in words.items():
        text = text.replace(name, word)
    return text


def _close() -> None:
    close_sandboxes()
    if math_reward._child is not None:
        math_reward._child.close()
    gc.collect()  # pipes of what has ended


def _held(bystander: int) -> tuple[int, int]:
    """Open files and sockets of this process, and its descendants but for the bystander."""
    children = psutil.Process().children(recursive=True)
    return psutil.Process().num_fds(), sum(child.pid != bystander for child in children)


@contextmanager
def _temporary(folder: Path) -> Iterator[None]:
    """Temporary files of this process and of sandboxes go there."""
    folder.mkdir()
    before = os.environ.get("TMPDIR")
    os.environ["TMPDIR"] = str(folder)
    try:
        yield
    finally:
        os.environ.pop("TMPDIR")
        if before is not None:
            os.environ["TMPDIR"] = before


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=1_000)
    parser.add_argument("--deadline", type=float, default=1.0)
    arguments = parser.parse_args()
    for name, value in run(arguments.count, arguments.deadline).items():
        print(f"{name:26} {value}")


if __name__ == "__main__":
    main()
