"""A server that gets a token and fails in every way: the token is in no score, no message and no error."""

from __future__ import annotations

import base64
import json
import pickle
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import quote

import pytest

from rewards.base import Reward
from rewards.json_client import JsonClient
from rewards.registry import load_reward
from rl.errors import RewardError
from tests.rewards.makers import text_item

CANARY = "sk-canary/7391+x"
SPELLED = {
    "raw": CANARY,
    "escaped": "".join(f"\\u{ord(letter):04x}" for letter in CANARY),
    "quoted": quote(CANARY, safe=""),
    "lower": quote(CANARY, safe="").lower(),
    "slashes": CANARY.replace("/", "\\/"),
    "base64": base64.b64encode(CANARY.encode()).decode(),
    "header": f"Authorization: Bearer {CANARY}",
    "url": f"http://me:{CANARY}@h/",
}
PADDINGS = (0, 60, 70, 290, 295)  # so that the limits of messages cut through it
ANSWERS = {
    "401": (401, '{pad}you sent {echo}', {}),
    "500": (500, "{pad}{echo}", {}),
    "page": (418, "<html>{pad}{echo}</html>", {}),
    "garbage": (200, "{pad}{echo}}}", {}),
    "redirect": (302, "{pad}{echo}", {"Location": "http://127.0.0.1:9/?token={echo}"}),
    "detail": (200, '{{"scores": [{{"value": 1, "detail": "{pad}{echo}"}}]}}', {}),
    "failed": (200, '{{"scores": [{{"status": "crashed", "detail": "{pad}{echo}"}}]}}', {}),
    "status": (200, '{{"scores": [{{"status": "{pad}{echo}"}}]}}', {}),
    "keys": (200, '{{"scores": [{{"{pad}{echo}": 1}}]}}', {}),
    "value": (200, '{{"scores": ["{pad}{echo}"]}}', {}),
    "chat": (200, '{{"choices": [{{"message": {{"content": "{pad}{echo}"}}}}]}}', {}),
    "no chat": (200, '{{"{echo}": "{pad}{echo}"}}', {}),
}  # fmt: skip


class Liar(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        got = self.rfile.read(int(self.headers["Content-Length"]))
        assert got and self.headers["Authorization"] == f"Bearer {CANARY}"
        self.server.answer(self)  # pyright: ignore[reportAttributeAccessIssue]

    def say(self, status: int, text: str, headers: dict[str, str]) -> None:
        self.send_response(status)
        for name, value in {**headers, "Content-Length": str(len(text))}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(text.encode())

    def log_message(self, *_: object) -> None:
        pass


@contextmanager
def lying(answer) -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Liar)
    server.daemon_threads = True
    server.answer = answer  # pyright: ignore[reportAttributeAccessIssue]
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()


@pytest.fixture(autouse=True)
def token(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MY_TOKEN", f"  {CANARY}\n")  # as a file's content often is


def rewards_at(url: str, **settings: object) -> list[Reward]:
    common = {"url": url, "token_env": "MY_TOKEN", "attempts": 1, "deadline_s": 2.0, **settings}
    return [load_reward({"name": "service", **common}), load_reward({"name": "judge", "model": "m", **common})]


def told_by(rewards: list[Reward]) -> str:
    return "".join(f"{score}" for reward in rewards for score in reward.score([text_item("x")]))


def hides(text: str) -> bool:
    return not any(form in text for form in (*SPELLED.values(), "7391", "canary"))


def test_it_is_known_when_it_is_told() -> None:
    assert all(not hides(f"x{form}x") for form in SPELLED.values())


@pytest.mark.parametrize("kind", ANSWERS)
def test_what_a_server_echoes_is_in_no_score(kind: str) -> None:
    status, body, headers = ANSWERS[kind]
    turn = {"echo": "", "pad": ""}

    def answer(handler: Liar) -> None:
        handler.say(status, body.format(**turn), {name: value.format(**turn) for name, value in headers.items()})

    with lying(answer) as url:
        rewards = rewards_at(url)
        for name, echo in SPELLED.items() if kind in ("500", "failed", "chat") else [("raw", CANARY)]:
            if name == "escaped" and not body.startswith("{{"):
                continue  # it is the token where JSON is read, and nowhere else
            for pad in PADDINGS if name == "raw" else (0,):
                turn.update(echo=echo, pad="-" * pad)
                text = told_by(rewards)
                assert hides(text), (name, pad, text)


def test_what_a_connection_says_is_in_no_score() -> None:
    def reason(handler: Liar) -> None:
        handler.wfile.write(f"HTTP/1.1 403 {CANARY}\r\nContent-Length: 0\r\n\r\n".encode())

    def nonsense(handler: Liar) -> None:
        handler.wfile.write(f"{CANARY}\r\n\r\n".encode())

    def half(handler: Liar) -> None:
        handler.wfile.write(f"HTTP/1.1 200 OK\r\nContent-Length: 900\r\n\r\n{CANARY}".encode())

    def drip(handler: Liar) -> None:
        handler.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Length: 900\r\n\r\n")
        for letter in CANARY * 9:
            try:
                handler.wfile.write(letter.encode())
                handler.wfile.flush()
            except OSError:
                return
            time.sleep(0.02)

    def closed(handler: Liar) -> None:
        handler.connection.close()

    for misbehave in (reason, nonsense, half, drip, closed):
        with lying(misbehave) as url:
            text = told_by(rewards_at(url, deadline_s=0.5))
            assert hides(text) and "status=" in text, (misbehave, text)


@pytest.mark.parametrize(
    ("value", "what"),
    [
        (f"a\n{CANARY}", "has a line break inside"),
        (f"a\r\nX-Other: {CANARY}", "has a line break inside"),
        (f"{CANARY}\x00x", "no HTTP header can carry"),
        (f"{CANARY}\x1b[2J", "no HTTP header can carry"),
        (f"{CANARY}\u20ac", "no HTTP header can carry"),
        (f"{CANARY}\udcff", "no HTTP header can carry"),
    ],
)  # fmt: skip
def test_a_token_that_cannot_be_sent_is_refused_by_its_variables_name(value: str, what: str, monkeypatch) -> None:
    monkeypatch.setattr("os.environ", {"MY_TOKEN": value})  # a zero byte is in no real one
    for name, more in (("service", {}), ("judge", {"model": "m"})):
        with pytest.raises(RewardError, match=what) as refused:
            load_reward({"name": name, "url": "http://127.0.0.1:9", "token_env": "MY_TOKEN", **more})
        told = f"{refused.value!r} {refused.value.__cause__!r} {pickle.loads(pickle.dumps(refused.value))}"
        assert hides(told) and "MY_TOKEN" in told


def test_a_latin_1_token_arrives_as_its_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MY_TOKEN", "tök-en")
    header = dict(JsonClient("http://127.0.0.1:9", token_env="MY_TOKEN")._headers())[b"Authorization"]
    assert header == "Bearer tök-en".encode("latin-1")


def test_a_token_that_breaks_later_fails_the_request_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    reward = load_reward({"name": "service", "url": "http://127.0.0.1:9", "token_env": "MY_TOKEN"})
    monkeypatch.setenv("MY_TOKEN", f"a\n{CANARY}")
    (score,) = reward.score([text_item("x")])
    assert score.status == "crashed" and "MY_TOKEN" in score.detail and hides(json.dumps(score.detail))
