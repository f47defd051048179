"""What a person is told of a run, also when its driver is gone, and where a stuck process stands."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from cluster.actors.process import recorded, register_stacks, stacks_file, start_of
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
        assert stacks_file(tmp_path, "rollout worker 0").read_text() == recorded(os.getpid())
        assert "still starting" in dump_stacks(tmp_path, starting)
        process.communicate(b"\n")
        assert process.returncode == 0


OWN_HANDLER = """
import signal
signal.signal(signal.SIGUSR1, lambda *_: print("signalled", flush=True))
print("ready", flush=True)
input()
"""


@pytest.mark.parametrize("program", ["print('ready', flush=True); input()", OWN_HANDLER])
@pytest.mark.parametrize(
    "record", ["process {pid}\n", "process {pid}, started gone\n", "process {pid}, started {ours}\n", ""]
)
def test_a_stranger_with_the_number_of_a_process_of_the_run_gets_no_signal(
    tmp_path: Path, program: str, record: str
) -> None:
    """An old run folder, and a number that the system gave to somebody else since."""
    command = [sys.executable, "-c", program]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as stranger:
        assert stranger.stdout is not None and stranger.stdout.readline() == "ready\n"
        file = stacks_file(tmp_path, "reward worker 3")
        file.parent.mkdir()
        file.write_text(record.format(pid=stranger.pid, ours=start_of(os.getpid())))
        status(tmp_path, actor("reward worker 3", "scoring", 99.0, pid=stranger.pid))
        shown = CliRunner().invoke(app, ["status", str(tmp_path), "--stacks", "reward worker 3"])
        assert shown.exit_code == 0 and "is still starting, or gone" in shown.output
        out, _ = stranger.communicate("\n")
        assert (stranger.returncode, out) == (0, "")


def test_a_process_that_would_be_ended_gets_no_signal_whatever_the_folder_says(tmp_path: Path) -> None:
    command = [sys.executable, "-c", "print('ready', flush=True); input()"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as stranger:
        assert stranger.stdout is not None and stranger.stdout.readline() == "ready\n"
        file = stacks_file(tmp_path, "driver")
        file.parent.mkdir()
        file.write_text(recorded(stranger.pid))  # its number and its start, both right
        assert "or gone" in dump_stacks(tmp_path, actor("driver", "x", pid=stranger.pid))
        stranger.communicate("\n")
        assert stranger.returncode == 0


@pytest.mark.parametrize("pid", [0, -1, 2**40])
def test_numbers_that_are_no_process_are_left_alone(tmp_path: Path, pid: int) -> None:
    assert "or gone" in dump_stacks(tmp_path, actor("driver", "x", pid=pid))


@pytest.mark.parametrize(
    "change",
    [{"actors": "x"}, {"pid": "x"}, {"queues": ["a"]}, {"step": "[/x]"}, {"time": None}, {"pid": 2**40}, {"pid": -1}],
)
def test_a_status_of_other_types_is_one_line(tmp_path: Path, change: dict) -> None:
    status(tmp_path, actor("a", "idle"))
    file = tmp_path / "status.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), **change}))
    done = CliRunner().invoke(app, ["status", str(tmp_path)])
    assert (
        done.exit_code in (0, 2)
        and "Traceback" not in done.stderr
        and done.exception.__class__ in (SystemExit, type(None))
    )


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
