"""A real vLLM judges 32 samples inside a run, though its server is killed in the middle; once more, and it stays down.

    make judge
    python -m benchmarks.faults.judge_run --vllm .judge/bin/vllm --model .judge/smollm2 [--only back down plain] [--out runs]

back    the server is killed after 8 answers, and may be started again: requests are tried until it answers
down    the server is killed after 8 answers, and may not: what it did not judge has a status
plain   nothing happens to the judge; only where asked for, since ``back`` judges as many

Prints what the run itself wrote down. Exits with 1 where a run does not end well, where ``back`` leaves a sample unjudged
or ``down`` judges all, or where a sample that has no judgement has a number all the same.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import psutil

RECIPE = Path(__file__).parent / "judge.yaml"
ANSWER = '"POST /v1/chat/completions HTTP/1.1" 200'
STEPS, SAMPLES = 2, 16  # and samples a step, by the recipe
SHOWN = ("rewards/judge/mean", "timing_s/gen", "perf/exposed_reward_s", "timing_s/step")
KILL_AFTER = 8
PATIENT = ("rewards.settings.judge.deadline_s=1200", "rewards.settings.judge.attempts=1000", "judge.restarts=1")
ABOUT = {
    "plain": "a run whose judge nothing happens to",
    "back": f"a run whose judge is killed after {KILL_AFTER} answers and started again: all samples must be judged",
    "down": f"a run whose judge is killed after {KILL_AFTER} answers and stays down: it must end, and nothing may be a 0",
}
RUNS = {
    "plain": ("rewards.settings.judge.deadline_s=300",),
    "back": PATIENT,
    "down": ("rewards.settings.judge.deadline_s=300", "judge.restarts=0"),
}


def run(name: str, arguments: argparse.Namespace) -> bool:
    overrides = [
        f"name=judge-{name}",
        f"output_dir={arguments.out}",
        f"judge.serve={arguments.model.resolve()}",
        f"judge.command=[{arguments.vllm.absolute()}]",
        *RUNS[name],
    ]
    folder = arguments.out / f"judge-{name}"
    log = folder / "judge.log"
    log.unlink(missing_ok=True)
    environment = {"VLLM_CPU_KVCACHE_SPACE": "1", "HF_HUB_OFFLINE": "1", **os.environ}
    command = [sys.executable, "-m", "cluster.cli", "train", "--recipe", str(RECIPE), *overrides]
    print(f"{name}: {ABOUT[name]}; the server alone takes a minute to start", flush=True)
    began = time.monotonic()
    with subprocess.Popen(command, env=environment) as process:
        if name != "plain":
            killed = kill_in_the_middle(process, log, str(arguments.model.resolve()))
            print(f"{name}: server killed at {killed - began:.0f} s, after {answers(log)} answers", flush=True)
        code = process.wait()
    print(f"{name}: exit {code} after {time.monotonic() - began:.0f} s")
    return report(name, folder, answers(log)) and code == 0


def kill_in_the_middle(process: subprocess.Popen[bytes], log: Path, model: str) -> float:
    while process.poll() is None and answers(log) < KILL_AFTER:
        time.sleep(0.2)
    for found in psutil.process_iter(["cmdline"]):
        line = found.info["cmdline"] or []
        if "serve" in line and model in line and not line[0].endswith("sh"):
            found.kill()
    return time.monotonic()


def answers(log: Path) -> int:
    return log.read_text(errors="replace").count(ANSWER) if log.is_file() else 0


def report(name: str, folder: Path, answered: int) -> bool:
    """What metrics.jsonl says of all samples; and whether as many have a value as the judge answered."""
    statuses: Counter[str] = Counter()
    for line in (folder / "metrics.jsonl").read_text().splitlines():
        metrics = json.loads(line)
        if "timing_s/step" not in metrics:
            continue
        shares = {key.removeprefix("score_status/"): value for key, value in metrics.items() if "score_status/" in key}
        statuses.update({status: round(SAMPLES * share) for status, share in shares.items() if share})
        shown = {key: metrics[key] for key in SHOWN if key in metrics}
        print(f"{name}: step {metrics['step']}: {json.dumps(shown)}")
    valued = statuses["ok"] + statuses["wrong_format"]
    print(f"{name}: {statuses.total()} samples, {dict(statuses)}; {answered} answers of the judge")
    rows = [json.loads(line) for file in sorted(folder.glob("samples/train-*/*.jsonl")) for line in file.open()]
    silent = [row for row in rows if ("judge" in json.loads(row["parts"])) != (row["score"] is not None)]
    for row in silent:
        print(f"{name}: a score without a judgement: {row}")
    whole = statuses.total() == STEPS * SAMPLES and (
        valued < statuses.total() if name == "down" else valued == statuses.total()
    )
    return whole and not silent and valued <= answered


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--vllm", type=Path, required=True)
    parser.add_argument("--model", type=Path, required=True)
    parser.add_argument("--only", nargs="+", choices=list(RUNS), default=["back", "down"])
    parser.add_argument("--out", type=Path, default=Path("runs"))
    arguments = parser.parse_args()
    right = {name: run(name, arguments) for name in arguments.only}
    print("judge: " + ", ".join(f"{name} {'as it must be' if good else 'WRONG'}" for name, good in right.items()))
    sys.exit(not all(right.values()))


if __name__ == "__main__":
    main()
