"""``judge.serve``: a real process that speaks the protocol is started, pointed at, restarted and ended."""

import dataclasses
import os
import signal
import sys
import time
from pathlib import Path

import psutil
import pytest

from cluster.judge_server import JudgeServer, check_judge, judge_serving
from rewards.mix import RewardMix
from rl.config import build_config
from rl.errors import ConfigError, DeadlineError, WorkerError
from tests.rewards.makers import text_item

ROOT = Path(__file__).parents[2]


@pytest.fixture
def config(tmp_path, monkeypatch):
    monkeypatch.chdir(ROOT)  # where ``-m tests...`` is found
    command = [sys.executable, "-m", "tests.rewards.speaker"]
    judge = {"serve": "some-model", "command": command, "start_deadline_s": 30.0}
    return build_config([("test", {"output_dir": str(tmp_path), "judge": judge})])


def score(config):
    mix = RewardMix({"text": {"judge": 1.0}}, config.rewards.settings)
    return mix.score([text_item("it is 7"), text_item("it is 8")])


def test_a_run_finds_its_judge_and_leaves_nothing_behind(config):
    check_judge(config)
    with judge_serving(config) as pointed:
        assert pointed.rewards.settings["judge"]["url"].startswith("http://127.0.0.1:")
        assert [one.value for one in score(pointed)] == [1.0, 0.2]
        assert os.environ["UNIGRPO_JUDGE_TOKEN"] not in repr(pointed)
        (server,) = [p for p in psutil.Process().children() if "tests.rewards.speaker" in p.cmdline()]
        assert os.environ["UNIGRPO_JUDGE_TOKEN"] not in server.cmdline()
    assert not server.is_running() and "UNIGRPO_JUDGE_TOKEN" not in os.environ


def test_a_judge_that_is_killed_is_started_again_and_nothing_is_zero(config, monkeypatch):
    monkeypatch.setenv("UNIGRPO_JUDGE_TOKEN", "token")
    server = JudgeServer(config)
    server.start()
    try:
        assert server._process is not None
        os.killpg(server._process.pid, signal.SIGKILL)
        settings = {"judge": {"url": server.url, "model": "judge", "token_env": "UNIGRPO_JUDGE_TOKEN", "attempts": 30}}
        pointed = dataclasses.replace(config, rewards=dataclasses.replace(config.rewards, settings=settings))
        assert [one.value for one in score(pointed)] == [1.0, 0.2]
        assert server.starts == 2
    finally:
        server.close()


def test_a_server_that_ends_or_never_answers_is_one_line_with_its_last_words(config, monkeypatch):
    monkeypatch.setenv("UNIGRPO_JUDGE_TOKEN", "token")
    broken = dataclasses.replace(config, judge=dataclasses.replace(config.judge, serve="broken"))
    server = JudgeServer(broken)
    with pytest.raises(WorkerError, match="ended with code 1; last line of .*judge.log: no such model: broken"):
        server.start()
    server.close()
    silent = dataclasses.replace(
        config,
        judge=dataclasses.replace(
            config.judge, command=[sys.executable, "-c", "import time; time.sleep(60)"], start_deadline_s=0.3
        ),
    )
    server, began = JudgeServer(silent), time.monotonic()
    with pytest.raises(DeadlineError, match="judge.start_deadline_s=0.3"):
        server.start()
    server.close()
    assert time.monotonic() - began < 20.0


def test_mistakes_are_found_before_anything_starts(config):
    nowhere = dataclasses.replace(config, judge=dataclasses.replace(config.judge, command=["no-such-vllm"]))
    with pytest.raises(ConfigError, match="judge.command.*no such program"):
        check_judge(nowhere)
    remote = dataclasses.replace(config, cluster=dataclasses.replace(config.cluster, address="auto"))
    with pytest.raises(ConfigError, match="loopback"):
        check_judge(remote)
