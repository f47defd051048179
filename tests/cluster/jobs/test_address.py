"""No login stands in the head's address; what a proxy before the head asks for is sent, and printed nowhere."""

from __future__ import annotations

import base64
import json
import socket
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

import pytest
from typer.testing import CliRunner, Result

from cluster.cli.app import app
from cluster.jobs.server import _told, checked_address, headers
from rl.errors import ConfigError, UniGRPOError
from rl.output.secrets import know
from tests.cluster.jobs.head import Head, a_head
from tests.cluster.recipe import write_recipe

SECRET = "hush-7391"


@pytest.fixture
def head() -> Iterator[Head]:
    with a_head() as server:
        yield server


def asks(*args: str) -> Result:
    done = CliRunner().invoke(app, list(args))
    assert SECRET not in done.stdout + done.stderr + repr(done.exception), done.stderr
    return done


def test_a_job_is_submitted_with_a_password(head: Head, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH", "RAY_AUTH_MODE"):
        monkeypatch.delenv(name, raising=False)
    host = f"127.0.0.1:{head.server_port}"
    login = base64.b64encode(f"me:{SECRET}".encode()).decode()
    monkeypatch.setenv("RAY_JOB_HEADERS", json.dumps({"Authorization": f"Basic {login}"}))
    done = asks("submit", "--no-wait", "--address", host, "--recipe", str(write_recipe(tmp_path)))
    assert done.exit_code == 0, done.stderr
    assert (
        f"dashboard http://{host}/#/jobs/toy-" in done.stderr and f"--follow --address http://{host}\n" in done.stderr
    )
    assert login not in done.output
    assert head.logins == {f"Basic {login}"}
    monkeypatch.setenv("RAY_API_SERVER_ADDRESS", host)
    assert asks("jobs", "list").exit_code == 0
    assert asks("jobs", "list", "--help").exit_code == 0


@pytest.mark.parametrize("command", [["list"], ["status", "x"], ["logs", "x"], ["stop", "x"]])
@pytest.mark.parametrize(
    ("status", "body"),
    [
        (401, "no"), (403, f"not http://me:{SECRET}@here"), (404, "{}"), (500, f"me:{SECRET}"), (500, "x"), (200, "<html>"),
        (302, "x"), (0, "x"),
    ],
)  # fmt: skip
def test_what_goes_wrong_is_said_without_the_password(
    head: Head, status: int, body: str, command: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    head.status, head.body = status, body
    monkeypatch.setenv("RAY_JOB_HEADERS", json.dumps({"Authorization": f"Basic {SECRET}", "X-Key": SECRET}))
    done = asks("jobs", *command, "--address", f"http://127.0.0.1:{head.server_port}")
    assert done.exit_code in (1, 2) and "Traceback" not in done.stderr
    assert (
        done.stderr.startswith(f"error: --address http://127.0.0.1:{head.server_port}: ")
        and done.stderr.count("\n") == 1
    )


@pytest.mark.parametrize("text", [SECRET, f'["{SECRET}"]', f'{{"A": ["{SECRET}"]}}', "[" * 100_000 + SECRET])
def test_headers_that_are_none_are_refused_and_not_shown(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAY_JOB_HEADERS", text)
    with pytest.raises(ConfigError, match="RAY_JOB_HEADERS: expected a JSON object") as refused:
        headers()
    assert SECRET not in repr(refused.value)


@pytest.mark.parametrize(
    "address",
    [
        f"http://me:{SECRET}@head",
        f"http://me:{SECRET}@head:port",
        f"http://me:{SECRET}@:8265",
        f"ray://me:{SECRET}@head:10001",
        f"http:/me:{SECRET}@head:8265",
        f"me:{SECRET}@head",
        f"{SECRET}@head",
        f"http://me:12/{SECRET}@head:8265",
        f"http://me:/{SECRET}@head:8265",
        f"http://me:12?{SECRET}@head:8265",
        f"http://me:12#{SECRET}@head:8265",
        f"http://me:12@{SECRET}@head:8265",
        f"http://me@{SECRET}:12@head:8265",
        f"https://me:{SECRET}@[head:8265",
    ],
)
def test_an_address_that_is_none_is_shown_without_its_password(address: str) -> None:
    done = asks("jobs", "list", "--address", address)
    assert done.exit_code == 2 and done.stderr.startswith("error: --address ") and done.stderr.count("\n") == 1


def test_a_head_that_is_not_there() -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))  # bound and not listening: refused
        port = unused.getsockname()[1]
        done = asks("jobs", "list", "--address", f"http://127.0.0.1:{port}")
    assert done.exit_code == 2 and f"error: --address http://127.0.0.1:{port}: no Ray head answers" in done.stderr


@pytest.mark.parametrize("secret", [SECRET, "p@ss/w7391", "with:colon 7391", "ünï-7391"])
@pytest.mark.parametrize("kind", [RuntimeError, ConnectionError, ValueError])
def test_what_libraries_say_of_a_secret(secret: str, kind: type[Exception]) -> None:
    know(secret)
    spelled = (
        secret,
        quote(secret),
        quote(secret, safe="").lower(),
        repr(secret),
        json.dumps(secret),
        f"http://u:x@h/{secret}",
    )
    for text in spelled:
        with pytest.raises(UniGRPOError) as told, _told("http://head:8265"):
            raise kind(f"cannot reach {text}")
        assert "7391" not in f"{told.value!s} {told.value.__cause__!r}"


def test_addresses() -> None:
    assert checked_address("http://head:8265/") == checked_address("head:8265") == "http://head:8265"
    with pytest.raises(ConfigError, match="set RAY_JOB_HEADERS=") as refused:
        checked_address("http://me:pass-7391@head:8265")
    assert "7391" not in str(refused.value) and "--address http://head:8265: " in str(refused.value)
