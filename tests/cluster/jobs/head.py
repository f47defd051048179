"""A head on loopback that speaks as much of Ray's job server as a submission takes."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class Head(ThreadingHTTPServer):
    """Answers everything with ``body`` where there is one. logins: headers that it got. uploads: packages by their path."""

    status, body = 200, ""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.logins: set[str] = set()
        self.uploads: dict[str, bytes] = {}
        self.jobs: list[dict[str, object]] = []

    def reply(self, method: str, path: str, sent: bytes) -> tuple[int, str]:
        if self.body:
            return self.status, self.body
        if path.startswith("/api/packages/"):
            if method == "PUT":
                self.uploads[path] = sent
            return 200 if path in self.uploads else 404, "{}"
        if method == "POST":
            self.jobs.append(json.loads(sent))
            return 200, json.dumps({"job_id": "toy-1", "submission_id": "toy-1"})
        version = {"version": "4", "ray_version": "2", "ray_commit": "", "session_name": "s"}
        return 200, "[]" if path == "/api/jobs/" else json.dumps(version)


class Handler(BaseHTTPRequestHandler):
    server: Head  # pyright: ignore[reportIncompatibleVariableOverride]

    def answer(self) -> None:
        sent = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        self.server.logins.add(self.headers.get("Authorization", ""))
        status, text = self.server.reply(self.command, self.path, sent)
        if status == 0:
            self.connection.close()
            return
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text.encode())

    do_GET = do_POST = do_PUT = do_DELETE = answer

    def log_message(self, format: str, *args: object) -> None:
        pass


@contextmanager
def a_head() -> Iterator[Head]:
    with Head() as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()
