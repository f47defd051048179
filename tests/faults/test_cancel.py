"""A run that is told to leave saves, leaves in time, and leaves nothing behind."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
import uuid
from pathlib import Path

import psutil

from rl.checkpoints.folder import damage
from tests.faults.runs import fault_config, record_file

MARK = "UNIGRPO_TEST_MARK"


def processes_of(mark: str) -> list[int]:
    found = []
    for process in psutil.process_iter():
        try:
            if process.environ().get(MARK) == mark and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process.pid)
        except psutil.Error:
            continue
    return found


def test_sigterm_saves_and_leaves_no_process_and_no_shared_memory(tmp_path: Path) -> None:
    settings = ("steps=1000", "learner.engine=torch", "cluster.grace_s=60")
    config, mark = fault_config(tmp_path, "cancelled", *settings), uuid.uuid4().hex
    command = [sys.executable, "-m", "tests.faults.child", str(tmp_path), "cancelled", "0", "", "", *settings]
    with subprocess.Popen(command, env={**os.environ, MARK: mark}, stderr=subprocess.PIPE, text=True) as run:
        record = record_file(config.run_dir)
        while not (record.is_file() and len(record.read_text().splitlines()) >= 2):
            assert run.poll() is None, run.communicate()[1][-800:]
            time.sleep(0.1)
        during = processes_of(mark)
        assert len(during) > 4  # the driver, three actors, and Ray's own
        run.send_signal(signal.SIGTERM)
        said = run.communicate(timeout=240)[1]
    assert run.returncode == 130, said[-3000:]
    saved = list((config.run_dir / "checkpoints").iterdir())
    assert len(saved) == 1 and not damage(saved[0])
    ends = time.monotonic() + 20
    while processes_of(mark) and time.monotonic() < ends:
        time.sleep(0.1)
    assert processes_of(mark) == []
    owners = {str(pid) for pid in during}  # whole numbers of a name: what other programs left there has numbers too
    assert [name for name in os.listdir("/dev/shm") if owners & set(re.findall(r"\d+", name))] == []
