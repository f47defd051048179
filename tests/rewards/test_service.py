"""The HTTP reward against a real server on loopback: scores, failures with a status, and the documented schema."""

import json
import math
import socket
import threading
import time
from contextlib import contextmanager
from pathlib import Path

import jsonschema
import numpy as np
import pytest
import yaml

from rewards import load_reward
from rewards.base import is_absent
from rewards.json_client import check_url
from rewards.mix import RewardMix
from rl.errors import RewardError
from tests.rewards.makers import drawn_item, text_item
from tests.rewards.speaker import speaking

ITEMS = [text_item("it is 7", metadata={"n": np.arange(2)}), text_item("it is 8")]


@pytest.fixture
def server():
    with speaking() as server:
        yield server


def test_a_batch_goes_in_and_scores_come_out_in_order(server):
    reward = load_reward({"name": "service", "url": server.url, "batch_size": 3})
    assert [score.value for score in reward.score(ITEMS * 5)] == [1.0, 0.0] * 5
    assert sorted(len(body["items"]) for _, body, _ in server.requests) == [1, 3, 3, 3]


def test_requests_and_answers_are_as_documented(server):
    document = yaml.safe_load((Path(__file__).parents[2] / "docs" / "reward_service.yaml").read_text())
    schemas = json.loads(json.dumps(document["components"]["schemas"]).replace("#/components/schemas", "#/$defs"))
    load_reward({"name": "service", "url": server.url}).score([*ITEMS, drawn_item(np.zeros((2, 3, 3), np.uint8))])
    for _, body, _ in server.requests:
        jsonschema.validate(body, {**schemas["Batch"], "$defs": schemas})
    answer = {"scores": [1.0, None, {"value": 0.5, "parts": {"a": 1}}, {"status": "invalid", "detail": "x"}]}
    jsonschema.validate(answer, {**schemas["Scores"], "$defs": schemas})
    server.say = answer
    scores = load_reward({"name": "service", "url": server.url}).score(ITEMS * 2)
    assert [score.status.value for score in scores] == ["ok", "ok", "ok", "invalid"]
    assert is_absent(scores[1]) and scores[2].parts == {"a": 1.0} and "x" in scores[3].detail


def test_it_is_the_custom_reward_of_a_config_that_gives_a_url(server):
    mix = RewardMix({"text": {"custom": 2.0}}, custom={"url": server.url, "path": None, "name": "reward"})
    assert [score.value for score in mix.score(ITEMS)] == [2.0, 0.0]


@pytest.mark.parametrize(
    ("say", "status", "said"),
    [
        ({"scores": [1.0]}, "invalid", "1 scores for 2 items"),
        ({"score": 1}, "invalid", "no list 'scores'"),
        ([1.0, 1.0], "invalid", "no list 'scores'"),
        (b"<html>", "invalid", "not JSON"),
        (b'{"scores": [NaN, NaN]}', "invalid", "value 'nan'"),
        ({"scores": ["1.0", True]}, "invalid", "allowed: a finite number"),
        ({"scores": [{"status": "fine"}] * 2}, "invalid", "status 'fine'"),
        ({"scores": [{"score": 1.0}, {"score": 0.0}]}, "invalid", "without 'value': its keys are 'score'"),
        ({"scores": [{}, {}]}, "invalid", "without 'value': its keys are none"),
        ({"scores": [{"value": None}, {"value": [1.0]}]}, "invalid", "allowed: a finite number"),
        ({"scores": [10**400, {"value": -(10**400)}]}, "invalid", "value a number of hundreds of digits"),
        (b'{"scores": [1e400, {"value": Infinity}]}', "invalid", "value 'inf'"),
        (b'{"scores": "' + b"x" * (9 << 20) + b'"}', "invalid", "more than"),
    ],
)
def test_a_wrong_answer_is_invalid_and_never_a_zero(server, say, status, said):
    server.say = say
    for score in load_reward({"name": "service", "url": server.url}).score(ITEMS):
        assert score.status.value == status and said in score.detail and math.isnan(score.value)


def test_parts_that_no_float_can_hold_are_left_out(server):
    parts = {"n": 10**400, "kept": 2, "flag": True, "text": "x", "none": None}
    server.say = {"scores": [{"value": 1.0, "parts": parts}, {"value": 0.5, "parts": [1]}]}
    scores = load_reward({"name": "service", "url": server.url}).score(ITEMS)
    assert [(score.value, score.parts) for score in scores] == [(1.0, {"kept": 2.0}), (0.5, {})]


def test_a_busy_service_is_asked_again_and_a_dead_one_is_a_crash(server):
    server.failures = 2
    reward = load_reward({"name": "service", "url": server.url, "attempts": 3})
    assert [score.value for score in reward.score(ITEMS)] == [1.0, 0.0] and len(server.requests) == 3
    server.failures = 9
    assert (
        "HTTP 503 (after 2 attempts)"
        in load_reward({"name": "service", "url": server.url, "attempts": 2}).score(ITEMS)[0].detail
    )
    dead = load_reward({"name": "service", "url": "http://127.0.0.1:9", "attempts": 1}).score(ITEMS)
    assert dead[0].status.value == "crashed" and "refused" in dead[0].detail.lower()


def test_a_slow_service_is_a_timeout(server):
    server.wait_s = 0.8
    (score, _) = load_reward({"name": "service", "url": server.url, "deadline_s": 0.2}).score(ITEMS)
    assert score.status.value == "timeout" and "0.2 s" in score.detail


@contextmanager
def raw(answer, wait_s=0.0):
    """A server that sends these bytes, one every ``wait_s`` seconds."""

    def serve():
        while True:
            try:
                connection, _ = listening.accept()
                with connection:
                    connection.recv(1 << 16)
                    for part in [bytes([byte]) for byte in answer] if wait_s else [answer]:
                        connection.sendall(part)
                        time.sleep(wait_s)
            except OSError:
                if listening.fileno() < 0:
                    return

    with socket.create_server(("127.0.0.1", 0)) as listening:
        threading.Thread(target=serve, daemon=True).start()
        yield f"http://127.0.0.1:{listening.getsockname()[1]}"


@pytest.mark.parametrize("dripping", ["head", "body"])
def test_the_deadline_is_of_the_whole_exchange(dripping):
    head = b"HTTP/1.1 200 OK\r\n" + (b"Content-Length: 400\r\n\r\n" if dripping == "body" else b"X: " + b"x" * 400)
    with raw(head + b" " * 400, wait_s=0.02) as url:
        began = time.monotonic()
        (score, _) = load_reward({"name": "service", "url": url, "deadline_s": 1.0}).score(ITEMS)
    assert score.status.value == "timeout" and "no answer within 1 s" in score.detail
    assert time.monotonic() - began < 4.0  # the drips alone take 8 s


def test_a_redirect_is_not_followed_and_loopback_has_no_proxy(server, monkeypatch):
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    assert load_reward({"name": "service", "url": server.url}).score(ITEMS)[0].value == 1.0
    elsewhere = load_reward({"name": "service", "url": "http://service.invalid/score", "attempts": 1}).score(ITEMS)
    assert "refused" in elsewhere[0].detail.lower()  # by the proxy
    with raw(f"HTTP/1.1 302 Found\r\nLocation: {server.url}\r\nContent-Length: 0\r\n\r\n".encode()) as url:
        (score, _) = load_reward({"name": "service", "url": url}).score(ITEMS)
    assert score.status.value == "crashed" and "HTTP 302: Found" in score.detail and len(server.requests) == 1


def test_the_token_comes_from_the_environment(server, monkeypatch):
    server.token = "secret"
    spec = {"name": "service", "url": server.url, "token_env": "MY_TOKEN", "attempts": 1}
    assert "HTTP 401" in load_reward(spec).score(ITEMS)[0].detail
    monkeypatch.setenv("MY_TOKEN", "secret")
    assert load_reward(spec).score(ITEMS)[0].value == 1.0


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"url": "localhost:80"}, "not a URL"),
        ({"url": "file:///etc/passwd"}, "not a URL"),
        ({"url": "http://x:99999"}, "not a URL"),
        ({"url": "http://[x"}, "not a URL"),
        ({"url": "http://[::1/"}, "not a URL"),
        ({"url": "http://[::1]x/"}, "not a URL"),
        ({"url": "http://"}, "not a URL"),
        ({"url": "http:///score"}, "not a URL"),
        ({"url": "http://x:0"}, "not a URL"),
        ({"url": "http://x:80a"}, "not a URL"),
        ({"url": ""}, "not a URL"),
        ({"url": "http://a b/"}, "a blank or control character"),
        ({"url": "http://a/b c"}, "a blank or control character"),
        ({"url": " http://a/"}, "a blank or control character"),
        ({"url": "http://a/\r\nX: y"}, "a blank or control character"),
        ({"url": "http://a\n"}, "a blank or control character"),
        ({"url": "http://a\t.b/"}, "a blank or control character"),
        ({"url": "http://a/\x00"}, "a blank or control character"),
        ({"url": "http://a/\x1b[0m"}, "a blank or control character"),
        ({"url": "http://a/\u2028"}, "a blank or control character"),
        ({"url": "http://x", "batch_size": 0}, "batch_size=0"),
        ({"url": "http://x", "deadline_s": 0}, "deadline_s=0"),
    ],
)
def test_mistakes_are_found_early(settings, said):
    with pytest.raises(RewardError, match=said):
        RewardMix.check({"text": {"service": 1.0}}, {"service": settings})


@pytest.mark.parametrize(
    "url",
    [
        "http://u:hunter2@h/",
        "https://hunter2@h",
        "http://hunter2:@[::1/",
        "//hunter2@h",
        "http://hunter2@a b/",
        "http://a@hunter2@h",
    ],
)
def test_a_url_with_a_user_in_it_is_refused_and_not_repeated(url):
    for reward, own in (("service", {"url": url}), ("judge", {"url": url, "model": "m"})):
        with pytest.raises(RewardError, match="set token_env") as error:
            RewardMix.check({"text": {reward: 1.0}}, {reward: own})
        assert "hunter2" not in str(error.value) and "\n" not in str(error.value)
    check_url("url", "http://h/@path?to=a@b")


DEEP = "[" * 900 + "]" * 900
BAD_ROWS = [
    f'{{"value": {DEEP}}}',
    f'{{"value": 1, "status": {DEEP}}}',
    f'{{"status": "invalid", "detail": {DEEP}}}',
    DEEP,
    "1" + "0" * 400,
    '{"value": 1' + "0" * 400 + "}",
    "-1e999",
    "NaN",
    "true",
    '"1"',
    "[]",
    "[1]",
    "{}",
    '{"value": null}',
    '{"value": true}',
    '{"value": {}}',
    '{"value": "1"}',
    '{"status": ["ok"], "value": 1}',
    '{"status": "OK", "value": 1}',
    '{"status": 7, "value": 1}',
    '{"status": "crashed\\n"}',
    '{"status": "timeout", "detail": "a\\nb"}',
    '{"score": 1}',
    '{"value": Infinity}',
]


@pytest.mark.parametrize("bad", BAD_ROWS, ids=lambda text: text[:30])
def test_a_bad_row_fails_alone_and_in_one_line(server, bad):
    server.say = b'{"scores": [1.0, ' + bad.encode() + b"]}"
    good, failed = load_reward({"name": "service", "url": server.url}).score(ITEMS)
    assert good.value == 1.0 and not failed.usable and math.isnan(failed.value)
    assert failed.detail and "\n" not in failed.detail and len(failed.detail) < 500


@pytest.mark.parametrize(
    "parts", ["[1]", '"x"', "7", "true", "null", '{"n": 1' + "0" * 400 + "}", f'{{"n": [{DEEP}]}}', '{"n": "x"}', "[]"]
)
def test_parts_of_another_shape_cost_no_score(server, parts):
    server.say = b'{"scores": [1.0, {"value": 0.5, "parts": ' + parts.encode() + b"}]}"
    scores = load_reward({"name": "service", "url": server.url}).score(ITEMS)
    assert [(score.value, score.parts) for score in scores] == [(1.0, {}), (0.5, {})]


@pytest.mark.parametrize(
    "body",
    [
        b"[" * 100_000,
        b"",
        b"\xff\xfe",
        b"1" + b"0" * 5_000,
        b'{"scores": 1' + b"0" * 5_000 + b"}",
        b"null",
        b'"x"',
        b"7",
    ],
)
def test_an_answer_that_is_none_fails_its_batch_with_a_status(server, body):
    server.say = body
    scores = load_reward({"name": "service", "url": server.url}).score(ITEMS)
    assert {score.status.value for score in scores} == {"invalid"} and all("\n" not in score.detail for score in scores)


@pytest.mark.parametrize(
    "head",
    [
        "Retry-After: \u00b2",
        "Content-Length: x",
        "Transfer-Encoding: nonsense",
        "Content-Encoding: gzip",
        "\u00ff: \x01",
    ],
)
def test_a_malformed_head_is_a_failure_with_a_status(head):
    with raw(f"HTTP/1.1 503 Busy\r\n{head}\r\n\r\n[1]".encode("latin-1", "replace")) as url:
        scores = load_reward({"name": "service", "url": url, "attempts": 1, "deadline_s": 2.0}).score(ITEMS)
    assert all(score.status.value in ("crashed", "timeout") and "\n" not in score.detail for score in scores)


def test_a_service_makes_no_more_curves_than_a_run_can_hold(server):
    reward = load_reward({"name": "service", "url": server.url})
    server.say = {
        "scores": [{"value": 1.0, "parts": {f"part {number}": number for number in range(1000)} | {"x" * 999: 1}}]
    }
    (first,) = reward.score([text_item("a")])
    assert first.value == 1.0 and list(first.parts) == [f"part {number}" for number in range(256)]
    server.say = {"scores": [{"value": 0.5, "parts": {"part 999": 1, "part 0": 2, "another": 3}}]}
    (later,) = reward.score([text_item("b")])
    assert later.value == 0.5 and later.parts == {"part 0": 2.0}


def test_an_answer_of_many_addresses_costs_no_more_than_another(server):
    """Taking secrets out of it looks at each piece once."""
    server.say = b"://a:x" * 1_000_000
    (score,) = load_reward({"name": "service", "url": server.url, "attempts": 1}).score([text_item("a")])
    assert score.status == "invalid" and len(score.detail) < 500
