"""``judge.serve``: a real process that speaks the protocol is started, pointed at, restarted and ended."""

import dataclasses
import os
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from types import SimpleNamespace

import psutil
import pytest
import ray

from cluster.actors.resources import place
from cluster.actors.waiting import kill
from cluster.workers.actors import RewardActor
from cluster.workers.batch_in_flight import Timed
from cluster.workers.judge_actor import judge_on_ray
from cluster.workers.judge_server import JudgeServer, check_judge, environment, judge_serving
from rewards.mix import RewardMix
from rl.config import build_config
from rl.errors import ConfigError, DeadlineError, WorkerError
from rl.types import Score
from tests.cluster.runs import make_config
from tests.rewards.makers import text_item
from tests.toys import toy_text_prompt

ROOT = Path(__file__).parents[3]


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
    server = JudgeServer(config, "token")
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


def test_a_server_that_ends_or_never_answers_is_one_line_with_its_last_words(config):
    broken = dataclasses.replace(config, judge=dataclasses.replace(config.judge, serve="broken"))
    server = JudgeServer(broken, "token")
    with pytest.raises(WorkerError, match="ended with code 1; last line of .*judge.log: no such model: broken"):
        server.start()
    server.close()
    silent = dataclasses.replace(
        config,
        judge=dataclasses.replace(
            config.judge, command=[sys.executable, "-c", "import time; time.sleep(600)"], start_deadline_s=0.3
        ),
    )
    server = JudgeServer(silent, "token")
    with pytest.raises(DeadlineError, match="judge.start_deadline_s=0.3"):
        server.start()
    assert server._process is not None
    process = psutil.Process(server._process.pid)
    server.close()
    assert not process.is_running()


STARTER = """
import os, sys
from pathlib import Path
from cluster.workers.judge_server import JudgeServer
from rl.config import build_config
judge = {"serve": "some-model", "command": [sys.executable, "-m", "tests.rewards.speaker"]}
server = JudgeServer(build_config([("test", {"output_dir": sys.argv[1], "judge": judge})]), "token")
server.launch()
print(server._process.pid, flush=True)
os.kill(os.getpid(), 9)
"""


def test_a_server_dies_with_a_run_that_is_killed(tmp_path, monkeypatch):
    monkeypatch.chdir(ROOT)
    run = subprocess.run([sys.executable, "-c", STARTER, str(tmp_path)], capture_output=True, text=True, timeout=120)
    assert run.returncode == -signal.SIGKILL, run.stderr
    with suppress(psutil.NoSuchProcess):
        psutil.Process(int(run.stdout)).wait(60)
    assert not psutil.pid_exists(int(run.stdout))


def test_a_server_gets_what_it_needs_and_no_secret_that_is_not_listed(monkeypatch):
    secrets = ("OTHER_SECRET", "OPENAI_API_KEY", "HF_TOKEN", "VLLM_API_KEY", "AWS_SESSION_TOKEN", "UNIGRPO_JUDGE_TOKEN")
    for name in (*secrets, "HF_HOME", "CUDA_VISIBLE_DEVICES", "PYTHONPATH", "LD_PRELOAD"):
        monkeypatch.setenv(name, f"canary-of-{name}")
    found = environment()
    assert {"PATH", "HF_HOME", "CUDA_VISIBLE_DEVICES"} <= found.keys()
    assert not {*secrets, "PYTHONPATH", "LD_PRELOAD"} & found.keys()
    assert environment(["HF_TOKEN", "NOT_SET"]) == {**found, "HF_TOKEN": "canary-of-HF_TOKEN"}


def test_its_log_is_its_owners_and_no_message_has_its_key(config):
    tells = "import os, sys; print('key', os.environ['VLLM_API_KEY'], os.environ.get('OTHER_SECRET'), '\x1b[2J'); sys.exit(3)"
    command = [sys.executable, "-c", tells]
    (config.run_dir).mkdir()
    (config.run_dir / "judge.log").touch(0o644)
    server = JudgeServer(
        dataclasses.replace(config, judge=dataclasses.replace(config.judge, command=command)), "canary-1f"
    )
    with pytest.raises(WorkerError, match=r"last line of .*: key \*\*\* None \\x1b\[2J") as ended:
        server.start()
    server.close()
    assert "canary" not in str(ended.value) and (config.run_dir / "judge.log").stat().st_mode & 0o777 == 0o600


def test_mistakes_are_found_before_anything_starts(config):
    nowhere = dataclasses.replace(config, judge=dataclasses.replace(config.judge, command=["no-such-vllm"]))
    with pytest.raises(ConfigError, match="judge.command.*no such program"):
        check_judge(nowhere)


@pytest.mark.long
@pytest.mark.usefixtures("local_ray")
def test_on_ray_an_actor_supervises_it_and_is_started_again_with_it(config, home):
    """The judge's own actor is killed: Ray starts it again, and it starts the server again at the same address."""
    placement = place(make_config(home, "cluster.mode=ray"))
    with judge_on_ray(config, placement) as (pointed, placed):
        url = pointed.rewards.settings["judge"]["url"]
        token = placed.secrets["UNIGRPO_JUDGE_TOKEN"].reveal()
        assert token not in f"{placed} {pointed} {placed.secrets}" and "UNIGRPO_JUDGE_TOKEN" not in os.environ
        (server,) = servers(url)
        supervisor = server.parent()
        assert supervisor is not None and supervisor.pid != os.getpid()
        assert "JudgeActor" in " ".join(supervisor.cmdline())
        reward = ray.remote(**placed.reward)(RewardActor).remote(
            with_judge(pointed), "reward worker 0", os.getcwd(), placed.secrets
        )
        prompt, rollout = toy_text_prompt(0), SimpleNamespace(text="it is 7", image=None)

        def ask() -> Score:
            sampled = Timed((rollout,), "nobody", 0.0)
            (timed,) = ray.get(reward.score.remote([prompt], [sampled], [0], False), timeout=60)
            return timed.value[0]

        assert ask().status == "ok"
        supervisor.kill()
        with suppress(psutil.NoSuchProcess):
            server.wait(60)
        assert ask().value == 0.2  # asked until the new one answered
        assert servers(url)[0].pid != server.pid
        kill(reward)
    for process in servers(url):
        process.wait(20)
    assert not servers(url)


def servers(url):
    port = url.removesuffix("/v1").rpartition(":")[2]
    speaker = [sys.executable, "-m", "tests.rewards.speaker"]
    found = [(process, process.info["cmdline"] or []) for process in psutil.process_iter(["cmdline"])]
    return [process for process, line in found if line[:3] == speaker and port in line]


def with_judge(config):
    settings = {name: {**values, "attempts": 60} for name, values in config.rewards.settings.items()}
    rewards = dataclasses.replace(config.rewards, settings=settings, mix={"text": {"judge": 1.0}})
    return dataclasses.replace(config, rewards=rewards)
