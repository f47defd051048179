"""One whole run with a secret in every place that takes one, which fails in every way: none is written or listed."""

from __future__ import annotations

import json
import os
import sqlite3
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import psutil
import pytest

from rl.config import build_config, to_yaml
from rl.config.private import check_secrets
from rl.errors import ConfigError
from tests.cluster.recipe import write_recipe

HOME = Path(__file__).parents[3]
CANARIES = {
    name: f"canary-{number}-7391"
    for number, name in enumerate(
        ("SERVICE_TOKEN", "JUDGE_TOKEN", "OPENAI_API_KEY", "MLFLOW_TRACKING_PASSWORD", "RAY_AUTH_TOKEN", "HF_TOKEN")
    )
}
LEAKY = """
import logging, os, sys

def reward(prompts, completions, **columns):
    logging.getLogger("rewards.mine").warning("called with %s", os.environ["OPENAI_API_KEY"])
    if "train 0" in str(prompts):
        raise ValueError(f"cannot reach http://me:{os.environ['OPENAI_API_KEY']}@h: {dict(os.environ)}")
    return [1.0] * len(completions)
"""


class Echo(BaseHTTPRequestHandler):
    """Says what it was sent: with 401, as a broken score, or as a detail, in turn."""

    turn = 0

    def do_POST(self) -> None:
        items = json.loads(self.rfile.read(int(self.headers["Content-Length"]))).get("items", [])
        Echo.turn += 1
        sent = self.headers["Authorization"]
        text = json.dumps({"scores": [{"value": 1.0, "detail": f"you sent {sent}"} for _ in items]})
        status = (401, 200, 200)[Echo.turn % 3]
        text = (f"no: {sent}", text, f"[{sent}")[Echo.turn % 3]
        self.send_response(status)
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text.encode())

    def log_message(self, *_: object) -> None:
        pass


def lines_of(process: psutil.Process) -> set[str]:
    found = set()
    for each in (process, *process.children(recursive=True)):
        try:
            found.add(" ".join(each.cmdline()))
        except psutil.Error:
            continue
    return found


def with_a_secret(folder: Path) -> list[str]:
    """Files that hold one, and rows of MLflow's store that do: a page of a database may be packed."""
    files = [file for file in folder.rglob("*") if file.is_file()]
    found = [str(file) for file in files if b"canary-" in file.read_bytes()]
    for store in folder.rglob("*.db"):
        rows = "".join(sqlite3.connect(store).iterdump())
        found += [f"{store}: rows"] if "canary-" in rows else []
    return found


@pytest.fixture
def of_ray() -> Iterator[Path]:
    """Where Ray of a run keeps its logs: a short name, since its sockets lie there too."""
    with tempfile.TemporaryDirectory(prefix="ray-", dir="/tmp") as folder:
        yield Path(folder)


def test_a_secret_in_a_file_is_found(tmp_path: Path) -> None:
    (tmp_path / "deep").mkdir()
    (tmp_path / "deep" / "log").write_text("x canary-0-7391")
    assert with_a_secret(tmp_path) == [str(tmp_path / "deep" / "log")]


@pytest.mark.long
@pytest.mark.parametrize("mode", ["inline", "ray"])
def test_a_run_whose_servers_and_rewards_tell_all_leaves_no_secret_behind(
    tmp_path: Path, of_ray: Path, mode: str
) -> None:
    with ThreadingHTTPServer(("127.0.0.1", 0), Echo) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        url = f"http://127.0.0.1:{server.server_address[1]}"
        recipe = write_recipe(
            tmp_path,
            rewards={
                "mix": {"text": {"custom": 1.0, "service": 1.0, "judge": 1.0}},
                "settings": {
                    "service": {"url": url, "token_env": "SERVICE_TOKEN", "attempts": 1},
                    "judge": {"url": url, "model": "m", "token_env": "JUDGE_TOKEN", "attempts": 1},
                },
            },
            steps=1, cluster={"mode": mode}, tracking={"mlflow": True}, output_dir=str(tmp_path / "runs"),
            val_before_train=False, val_after_train=False,
        )  # fmt: skip
        (tmp_path / "my_reward.py").write_text(LEAKY)
        environment = {
            **os.environ,
            **CANARIES,
            "SERVICE_TOKEN": CANARIES["SERVICE_TOKEN"] + "\n",
            "PYTHONPATH": str(HOME),
            "RAY_TMPDIR": str(of_ray),
        }
        command = [sys.executable, "-m", "cluster.cli", "train", "--recipe", str(recipe)]
        run = subprocess.Popen(
            command, cwd=tmp_path, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )
        seen: set[str] = set()
        watched = psutil.Process(run.pid)
        while run.poll() is None:
            seen |= lines_of(watched)
            time.sleep(0.2)
        assert run.stdout is not None
        told = run.stdout.read()
        server.shutdown()
    log = (tmp_path / "runs" / "toy" / "log").read_text()
    by_user = log + "".join(file.read_text() for file in of_ray.rglob("*.err") if file.is_file())
    assert "called with ***" in by_user and "Bearer ***" in log and "cannot reach http://***" in log, told + log
    assert run.returncode == 1 and "error: rewards: " in told, told
    assert "canary-" not in told and seen and not any("canary-" in line for line in seen)
    assert with_a_secret(tmp_path) == []
    assert (tmp_path / "runs" / "mlflow.db").is_file()
    logs = [file for file in of_ray.rglob("*.out") if file.is_file()]  # of Ray's own processes and of every worker
    assert bool(logs) == (mode == "ray") and with_a_secret(of_ray) == []


@pytest.mark.parametrize(
    "setting",
    [
        "custom_reward_function.reward_kwargs.api_key=canary-7391",
        "custom_reward_function.reward_kwargs={deep: {list: [{password: canary-7391}]}}",
        "custom_reward_function.reward_kwargs.store=redis://:canary-7391@h:1/0",
        "custom_reward_function.reward_kwargs.page=see https://canary-7391@h for it",
        "rewards.settings.service={url: 'http://me:canary-7391@h/x'}",
        "rewards.settings.service={hf_token: canary-7391}",
        "judge.args=[--dtype, bfloat16, --api-key, canary-7391]",
        "judge.args=['--hf-token=canary-7391']",
        "judge.serve=s3://a:canary-7391@b/c",
        "tracking.uri=http://me:canary-7391@h",
    ],
)
def test_a_secret_in_a_config_is_refused_by_its_name(setting: str) -> None:
    with pytest.raises(ConfigError) as refused:
        build_config([], [setting])
    assert "7391" not in repr(refused.value) and str(refused.value).startswith(setting.partition("=")[0].split(".")[0])


@pytest.mark.parametrize(
    "setting",
    [
        "custom_reward_function.reward_kwargs={api_key_env: NAME, token: '<eos>', max_token: 3, page: 'https://h/@me'}",
        "custom_reward_function.reward_kwargs={store: 'redis://h:1/0', repository: 'ssh://git@h/x', mail: 'a@b.org'}",
        "judge.args=[--api-key-file, /run/key, --max-model-len, '8192']",
        "custom_reward_function.reward_kwargs={password: ''}",
        "rewards.settings.service={url: 'http://h:80/x', token_env: NAME}",
    ],
)
def test_what_is_no_secret_is_taken_and_kept(setting: str) -> None:
    config = build_config([], [setting])
    assert "***" not in to_yaml(config)


@pytest.mark.parametrize(
    "query", ["?api_key={}", "/s?x=1&token={}", "?X-Amz-Signature={}", "?a=1;sig={}", "#access%5Ftoken={}", "?PWD={}"]
)
def test_a_secret_in_the_query_of_a_url_is_refused_by_its_name(query: str) -> None:
    for setting in (
        "custom_reward_function.url=http://h{}",
        "rewards.settings={{judge: {{url: 'http://h{}', model: m}}}}",
    ):
        with pytest.raises(ConfigError, match=r"url: a URL with a secret in its query \(\w+\)") as raised:
            build_config([], [setting.format(query.format("canary-5d1f"))])
        assert "canary" not in str(raised.value) and "\n" not in str(raised.value)
    kept = "custom_reward_function.url=http://h/s?model=m&tokens=64&keys=2"
    url = build_config([], [kept]).custom_reward_function.url
    assert url is not None and url.endswith("keys=2")


def test_arguments_are_read_in_pairs() -> None:
    check_secrets({"args": ["--api-key"], "more": ["--api-key=", "x"], "name": "password"})
