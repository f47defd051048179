"""What a person is told of a run, also when its driver is gone, and where a stuck process stands."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from cluster.actors.process import register_stacks, stacks_file
from cluster.cli.app import app
from cluster.run.session import session
from cluster.run.status import (
    ActorStatus,
    Status,
    StatusBoard,
    driver_state,
    dump_stacks,
    read_status,
    sentence,
    write_status,
)
from rl.errors import ConfigError
from tests.cluster.runs import make_config


def actor(name: str, doing: str = "idle", seconds: float = 0.0, **more) -> ActorStatus:
    return ActorStatus(name, doing, seconds, host=socket.gethostname(), **more)


def status(run_dir: Path, *actors: ActorStatus, pid: int | None = None, time: float = 0.0) -> Status:
    run_dir.mkdir(parents=True, exist_ok=True)
    line = sentence("step 41", actors)
    found = Status(time, pid or os.getpid(), socket.gethostname(), "training", 41, 80, line, {"prompts": 3}, actors)
    write_status(run_dir, found)
    return found


def test_the_sentence_names_whom_all_wait_for() -> None:
    idle, busy = actor("rollout worker 0"), actor("reward worker 3", "scoring math/p17", 38.2)
    assert sentence("step 41", [idle, busy]) == "step 41 waits 38 s for reward worker 3: scoring math/p17"
    stopped = actor("rollout worker 1", "sampling p2", 9.0, beat_age_s=7.6, attempt=2)
    expected = "step 41 waits 9 s for rollout worker 1: sampling p2 (attempt 2); no heartbeat for 8 s"
    assert sentence("step 41", [idle, busy, stopped]) == expected
    assert sentence("saving", [idle]) == "saving: nobody is waited for"


def test_the_command_tells_it(tmp_path: Path) -> None:
    run_dir = tmp_path / "run"
    status(run_dir, actor("reward worker 3", "scoring math/p17", 38.2, beat_age_s=0.4, version=40, pid=os.getpid()))
    shown = CliRunner().invoke(app, ["status", str(run_dir)])
    assert shown.exit_code == 0
    assert "training, step 41 of 80" in shown.output and "3 prompts" in shown.output
    assert "step 41 waits 38 s for reward worker 3: scoring math/p17" in shown.output
    nowhere = CliRunner().invoke(app, ["status", str(tmp_path)])
    assert nowhere.exit_code == 2


def test_a_driver_that_is_gone_or_silent_is_told(tmp_path: Path) -> None:
    over = subprocess.Popen([sys.executable, "-c", ""])
    over.wait()
    assert driver_state(status(tmp_path, pid=over.pid)) == "gone"
    assert driver_state(status(tmp_path)).startswith("silent for ")
    assert read_status(tmp_path).queues == {"prompts": 3}
    (tmp_path / "status.json").write_text("{")
    with pytest.raises(ConfigError, match="not a status of this version"):
        read_status(tmp_path)


STUCK = """
import sys, time
from pathlib import Path
from cluster.actors.process import register_stacks

def waits_for_ever():
    print("ready", flush=True)
    sys.stdin.read()

register_stacks(Path(sys.argv[1]), "reward worker 3")
waits_for_ever()
"""


def test_the_stacks_of_a_stuck_process_are_dumped_and_it_lives_on(tmp_path: Path) -> None:
    command = [sys.executable, "-c", STUCK, str(tmp_path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None and process.stdout.readline() == "ready\n"
        stuck = actor("reward worker 3", "scoring", 99.0, pid=process.pid)
        assert "waits_for_ever" in dump_stacks(tmp_path, stuck)
        status(tmp_path, stuck)
        shown = CliRunner().invoke(app, ["status", str(tmp_path), "--stacks", "reward worker 3"])
        assert "waits_for_ever" in shown.output
        assert process.poll() is None
        process.communicate("")


def test_a_process_that_is_not_ready_for_the_signal_does_not_get_it(tmp_path: Path) -> None:
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as process:
        starting = actor("rollout worker 0", "starting", pid=process.pid)
        assert f"py-spy dump --pid {process.pid}" in dump_stacks(tmp_path, starting)
        register_stacks(tmp_path, "rollout worker 0")  # of another process, as an earlier actor of that name left it
        assert stacks_file(tmp_path, "rollout worker 0").read_text() == f"process {os.getpid()}\n"
        assert "still starting" in dump_stacks(tmp_path, starting)
        process.communicate(b"\n")
        assert process.returncode == 0


def test_the_board_writes_while_the_run_goes_on_and_at_its_end(tmp_path: Path) -> None:
    config = make_config(tmp_path, "learner.engine=torch")
    board = StatusBoard(config)
    with session(config) as parts:
        config.run_dir.mkdir(parents=True, exist_ok=True)
        board.phase("training")
        board.log(1, {})
        board.watch(parts)
        assert board.now().step == 2 and board.now().sentence == "step 2: nobody is waited for"
        board.close("FINISHED")
    assert read_status(config.run_dir).phase == "finished"
