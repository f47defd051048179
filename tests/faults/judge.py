"""A judge on loopback which grades by what differs between a random policy's answers, and which can fall silent."""

from __future__ import annotations

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class Judge(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Speaker)
        self.url = f"http://127.0.0.1:{self.server_address[1]}/v1"
        self.unanswered = 0
        self._silent = threading.Event()
        threading.Thread(target=self.serve_forever, daemon=True).start()

    def fall_silent(self, seconds: float) -> None:
        """Requests of that time are read and never answered, as by a network that swallows packets."""
        self._silent.set()
        threading.Timer(seconds, self._silent.clear).start()

    @property
    def silent(self) -> bool:
        return self._silent.is_set()


class _Speaker(BaseHTTPRequestHandler):
    server: Judge  # pyright: ignore[reportIncompatibleVariableOverride]

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        if self.server.silent:
            self.server.unanswered += 1
            self.rfile.read(1)  # until the client gives up
            return
        said = str(body["messages"][-1]["content"])
        grade = json.dumps({"reason": "", "score": len(set(said)) % 11})
        content = json.dumps({"choices": [{"message": {"content": grade}, "finish_reason": "stop"}]}).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, format: str, *args: object) -> None:
        """Quiet."""
