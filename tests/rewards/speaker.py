"""A small real HTTP server on loopback: it speaks chat completions and the reward service, and misbehaves on demand.

    python -m tests.rewards.speaker serve MODEL --host 127.0.0.1 --port N --served-model-name NAME

Chat: it grades by what stands between the data's marks: 10 where the response holds the reference, 2 otherwise. A judge
that followed orders in the response would say 10 to INJECTED; this one answers as the words in ``SAY`` ask for.
"""

from __future__ import annotations

import json
import os
import re
import sys
import threading
import time
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


class Server(ThreadingHTTPServer):
    """requests: (path, body, headers) so far. failures: how many to answer with 503. say: what to answer to the rest."""

    daemon_threads = True

    def __init__(self, port=0, host="127.0.0.1"):
        super().__init__((host, port), Speaker)
        self.lock, self.now, self.most_at_once = threading.Lock(), 0, 0
        self.requests: list = []
        self.failures, self.wait_s, self.token = 0, 0.0, ""
        self.say: Any = None
        self.url = f"http://{host}:{self.server_address[1]}"


class Speaker(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Server  # pyright: ignore[reportIncompatibleVariableOverride]

    def do_GET(self):
        self._send(200, {"status": "ok"})

    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        server = self.server
        with server.lock:
            server.requests.append((self.path, body, dict(self.headers)))
            server.now += 1
            server.most_at_once = max(server.most_at_once, server.now)
        time.sleep(server.wait_s)
        with server.lock:
            server.now -= 1  # before the answer: whoever has it may ask again at once
        self._answer(body)

    def _answer(self, body):
        server = self.server
        if server.token and self.headers.get("Authorization") != f"Bearer {server.token}":
            return self._send(401, {"error": "no such token"})
        if server.failures > 0:
            server.failures -= 1
            return self._send(503, {"error": "busy"}, {"Retry-After": "0"})
        if server.say is not None:
            return self._send_raw(200, server.say if isinstance(server.say, bytes) else json.dumps(server.say).encode())
        return self._send(200, chat(body) if self.path.endswith("/chat/completions") else service(body))

    def _send(self, code, value, headers=None):
        self._send_raw(code, json.dumps(value).encode(), headers)

    def _send_raw(self, code, data, headers=None):
        self.send_response(code)
        for name, value in {
            "Content-Type": "application/json",
            "Content-Length": str(len(data)),
            **(headers or {}),
        }.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_):
        pass


def chat(body):
    text = body["messages"][1]["content"]
    text = text if isinstance(text, str) else text[0]["text"]
    pieces = dict(re.findall(r"<DATA-[0-9a-f]{16} ([A-Z]+)>\n(.*?)\n</DATA-", text, re.DOTALL))
    score = 10 if pieces.get("REFERENCE") and pieces["REFERENCE"] in pieces["RESPONSE"] else 2
    return completion(json.dumps({"reason": "by the reference", "score": score}))


def completion(content, finish_reason="stop"):
    return {"choices": [{"message": {"role": "assistant", "content": content}, "finish_reason": finish_reason}]}


def service(body):
    return {"scores": [float((item["reference"] or "?") in item["completion"]) for item in body["items"]]}


@contextmanager
def speaking():
    server = Server()
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()


if __name__ == "__main__":
    arguments = dict(zip(sys.argv[3::2], sys.argv[4::2], strict=False))
    if sys.argv[2] == "broken":
        sys.exit("no such model: broken")
    server = Server(int(arguments["--port"]), arguments["--host"])
    server.token = os.environ.get("VLLM_API_KEY", "")
    server.serve_forever()
