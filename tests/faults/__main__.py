"""``make faults``: one table of accidents. Each is a whole run over Ray; what is compared is the undisturbed one.

A fault that this machine cannot have (a full disk needs a file system of its own, so root) is a line that says so.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from cluster.actors.faults import FREEZE, KILL
from cluster.run.session import ray_running
from rl.checkpoints.folder import steps_in
from rl.tracking.trackers import JsonlTracker, MlflowTracker, Trackers
from tests.faults import soak
from tests.faults.judge import Judge
from tests.faults.runs import Outcome, fault_config, plan_of, read_record, run
from tests.faults.soak import child_command

ONE = ("steps=4", "save_freq=1", "learner.engine=torch", "cluster.rollout_workers=2")
TWO = ("steps=3", "save_freq=1", "cluster.learner_ranks=2", "learner.zero_stage=1")
DRIVER_STEPS = 12
HEADER = (
    f"{'fault':44} {'ended':7} {'lost':>4} {'twice':>5} {'stale':>5} {'bit-equal':9} {'recovered s':>11} {'run s':>6}"
)

TOLD: list[str] = []


@dataclass(frozen=True, slots=True)
class Scene:
    """calm: the name of the undisturbed run that it is compared with."""

    name: str
    calm: str
    play: Callable[[Path], Outcome]


def main() -> int:
    logging.basicConfig(level=logging.ERROR)
    logging.getLogger("cluster").setLevel(logging.ERROR)
    logging.getLogger("rl").setLevel(logging.ERROR)
    if sys.argv[1:2] == ["soak"]:
        return soak.main(sys.argv[2:])
    began, failed = time.time(), 0
    chosen = sys.argv[1:]
    with tempfile.TemporaryDirectory(prefix="unigrpo-faults-") as folder:
        home = Path(folder)
        print(HEADER, flush=True)
        calm: dict[str, Outcome] = {}
        with ray_running(fault_config(home, "ray", "cluster.rollout_workers=3", "cluster.learner_ranks=2")):
            for scene in [scene for scene in SCENES if any(word in scene.name for word in chosen or [""])]:
                failed += not _show(scene, home, calm)
    print("\n".join(("", HEADER, *TOLD)))  # once more: Ray has told of every death in between
    print(f"{time.time() - began:.0f} s in all, {failed} failed")
    return int(failed > 0)


def _show(scene: Scene, home: Path, undisturbed: dict[str, Outcome]) -> bool:
    try:
        calm = undisturbed[scene.calm] = undisturbed.get(scene.calm) or CALM[scene.calm](home)
        found = scene.play(home)
    except PermissionError as error:
        _tell(f"{scene.name:44} not run here: {error}")
        return True
    except Exception as error:
        _tell(f"{scene.name:44} FAILED: {type(error).__name__}: {error}")
        return False
    counts = (found.lost(calm), found.twice(calm), found.stale)
    equal = found.digest == calm.digest
    numbers = f"{counts[0]:4} {counts[1]:5} {counts[2]:5} {'yes' if equal else 'NO':9}"
    _tell(f"{scene.name:44} {'yes':7} {numbers} {found.recovered_s:11.1f} {found.seconds:6.1f}")
    return equal and counts == (0, 0, 0)


def _tell(row: str) -> None:
    TOLD.append(row)
    print(row, flush=True)


def _struck(name: str, settings: tuple[str, ...], step: int, worker: str, kind: str) -> Callable[[Path], Outcome]:
    return lambda home: run(fault_config(home, name, *settings), plan_of((step, worker, kind)))


def _driver(home: Path) -> Outcome:
    """Killed in ten steps drawn at random, and started again each time. Its Ray goes on, and ends the actors."""
    began, name = time.time(), "driver"
    steps = sorted(random.Random(7).sample(range(1, DRIVER_STEPS + 1), 10))
    settings = (f"steps={DRIVER_STEPS}", "save_freq=1", "learner.engine=torch", "cluster.rollout_workers=1")
    ends = []
    for step in steps:
        child = _ended(child_command(home, name, *settings, step=step, worker="driver", kind=KILL))
        assert child.returncode == -signal.SIGKILL, child.stderr[-500:]
        ends.append(time.time())
    child = _ended(child_command(home, name, *settings))
    assert child.returncode == 0, child.stderr[-500:]
    found = json.loads(child.stdout.splitlines()[-1])
    trained, times = read_record(home / name)
    recovered = [min(at for at in times if at > end) - end for end in ends]
    return Outcome(found["digest"], trained, sum(recovered) / len(recovered), time.time() - began)


def _node(home: Path) -> Outcome:
    began = time.time()
    child = _ended([sys.executable, "-m", "tests.faults.child", str(home), "node", "2", "", "node", *ONE])
    assert child.returncode == 0, child.stderr[-800:]
    found = json.loads(child.stdout.splitlines()[-1])
    return Outcome(found["digest"], read_record(home / "node")[0], found["recovered_s"], time.time() - began)


def _ended(command: list[str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, capture_output=True, text=True, timeout=300, env={**os.environ, "RAY_ADDRESS": ""})


def _mlflow_down(home: Path) -> Outcome:
    config = fault_config(home, "mlflow", *ONE)
    nobody = MlflowTracker(config.run_dir, name="down", uri="http://127.0.0.1:9", close_deadline_s=2.0)
    return run(config, tracker=Trackers(JsonlTracker(config.run_dir), nobody))


def _disk_full(home: Path) -> Outcome:
    """The run's folder is a small file system, which is full in step 2 and has room again in step 4."""
    config = fault_config(home, "disk", *ONE)
    with small_disk(config.run_dir, 4):
        filler = config.run_dir / "filler"
        plan = plan_of((2, "rollout worker 0", lambda: _fill(filler)), (4, "rollout worker 0", filler.unlink))
        tracker = Trackers(JsonlTracker(config.run_dir))
        found = run(config, plan, tracker=tracker)
        saved = sorted(step for step, _ in steps_in(config.run_dir / "checkpoints"))
        assert saved == [1, 4], f"saved after steps {saved}; 2 and 3 had no room"
        return found


@contextlib.contextmanager
def small_disk(folder: Path, mib: int) -> Iterator[None]:
    folder.mkdir(parents=True)
    mount = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={mib}m", "tmpfs", str(folder)], capture_output=True, text=True
    )
    if mount.returncode:
        raise PermissionError(mount.stderr.strip())
    try:
        yield
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


def _fill(file: Path) -> None:
    with contextlib.suppress(OSError), file.open("wb", buffering=0) as handle:
        while True:
            handle.write(b"\0" * 4096)


def _judged(home: Path, name: str, *, silent_s: float) -> Outcome:
    judge = Judge()
    judge_settings = f"{{url: '{judge.url}', model: judge, deadline_s: 2.0}}"
    mix = "{text: {judge: 1.0}, understand: {judge: 1.0}, draw: {custom: 1.0}}"
    settings = (*ONE, f"rewards.settings={{judge: {judge_settings}}}", f"rewards.mix={mix}")
    config = fault_config(home, name, *settings, "rewards.on_failure={action: retry, attempts: 6}")
    accident = [(2, "reward worker 0", lambda: judge.fall_silent(silent_s))] if silent_s else []
    try:
        found = run(config, plan_of(*accident))
        assert not silent_s or judge.unanswered
        return found
    finally:
        judge.shutdown()


CALM: dict[str, Callable[[Path], Outcome]] = {
    "one": lambda home: run(fault_config(home, "calm-one", *ONE)),
    "two": lambda home: run(fault_config(home, "calm-two", *TWO)),
    "long": lambda home: run(fault_config(home, "calm-long", *ONE, f"steps={DRIVER_STEPS}", "cluster.mode=inline")),
    "judged": lambda home: _judged(home, "calm-judged", silent_s=0.0),
}
SCENES = [
    Scene("SIGKILL of a rollout worker", "one", _struck("r-kill", ONE, 2, "rollout worker 0", KILL)),
    Scene("SIGSTOP of a rollout worker", "one", _struck("r-stop", ONE, 2, "rollout worker 1", FREEZE)),
    Scene("SIGKILL of a reward worker", "one", _struck("w-kill", ONE, 2, "reward worker 0", KILL)),
    Scene("SIGSTOP of a reward worker", "one", _struck("w-stop", ONE, 3, "reward worker 0", FREEZE)),
    Scene("SIGKILL of one of two learner ranks", "two", _struck("l-kill", TWO, 2, "learner rank 1", KILL)),
    Scene("SIGSTOP of one of two learner ranks", "two", _struck("l-stop", TWO, 2, "learner rank 1", FREEZE)),
    Scene("SIGKILL of the driver in 10 of 12 steps", "long", _driver),
    Scene("a whole node", "one", _node),
    Scene("MLflow down", "one", _mlflow_down),
    Scene("disk full for two steps", "one", _disk_full),
    Scene("network black hole to a judge, 3 s", "judged", lambda home: _judged(home, "judged", silent_s=3.0)),
]

if __name__ == "__main__":
    sys.exit(main())
