"""A hub on loopback: as much of the protocol as ``huggingface_hub`` and ``datasets`` ask for, over files in memory."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

import pytest

Files = Mapping[str, bytes]


def folder_files(folder: Path) -> dict[str, bytes]:
    return {str(file.relative_to(folder)): file.read_bytes() for file in sorted(folder.rglob("*")) if file.is_file()}


@dataclass
class Repository:
    """gated: answers 401 for files without the hub's token, 403 with another. private: as if it were not there without it."""

    kind: str
    name: str
    commits: dict[str, Files] = field(default_factory=dict)
    refs: dict[str, str] = field(default_factory=dict)
    gated: bool = False
    private: bool = False

    def commit(self, files: Files, ref: str = "main") -> str:
        """Its commit: a hash over the files."""
        listed = sorted((path, hashlib.sha1(content).hexdigest()) for path, content in files.items())
        sha = hashlib.sha1(json.dumps([self.name, listed]).encode()).hexdigest()
        self.commits[sha], self.refs[ref] = dict(files), sha
        return sha


@dataclass
class LoopbackHub:
    """requests: method and path of each, without queries. token: what opens gated and private repositories. down: a status
    that every request gets. ignores_range: as a mirror that sends whole files."""

    url: str = ""
    token: str = "hf_of_the_loopback_hub"
    repositories: dict[tuple[str, str], Repository] = field(default_factory=dict)
    requests: list[str] = field(default_factory=list)
    down: int = 0

    def add(self, kind: str, name: str, files: Files, ref: str = "main", **access: bool) -> str:
        """kind: models or datasets. The commit."""
        known = self.repositories.setdefault((kind, name), Repository(kind, name))
        known.gated, known.private = access.get("gated", known.gated), access.get("private", known.private)
        return known.commit(files, ref)

    def sent(self, ending: str) -> int:
        """How many files of this ending were sent, whole or in part."""
        return sum(request.startswith("GET ") and request.endswith(ending) for request in self.requests)


@contextmanager
def serving() -> Iterator[LoopbackHub]:
    hub = LoopbackHub()
    handler = type("Handler", (_Handler,), {"hub": hub})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.daemon_threads = True
    hub.url = f"http://127.0.0.1:{server.server_address[1]}"
    thread = Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield hub
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


class _Refused(Exception):
    def __init__(self, status: int, code: str = "") -> None:
        self.status, self.code = status, code


class _Handler(BaseHTTPRequestHandler):
    hub: LoopbackHub
    protocol_version = "HTTP/1.1"

    def log_message(self, format: str, *args: Any) -> None:
        """Nothing is printed."""

    def do_HEAD(self) -> None:
        self._answer()

    def do_GET(self) -> None:
        self._answer()

    def do_POST(self) -> None:
        self._answer()

    def _answer(self) -> None:
        length = int(self.headers.get("Content-Length") or 0)
        body, path = self.rfile.read(length).decode(), unquote(urlsplit(self.path).path)
        self.hub.requests.append(f"{self.command} {path}")
        try:
            if self.hub.down:
                raise _Refused(self.hub.down)
            parts = path.strip("/").split("/")
            if parts[0] == "api":
                self._send(json.dumps(self._api(parts[1], "/".join(parts[2:4]), parts[4:], body)).encode())
            else:
                kind = parts.pop(0) if parts[0] == "datasets" else "models"
                self._file(kind, "/".join(parts[:2]), parts[3], "/".join(parts[4:]))
        except _Refused as refused:
            headers = {"X-Error-Code": refused.code} if refused.code else {}
            self._send(b'{"error": "refused"}', refused.status, headers)

    def _api(self, kind: str, name: str, rest: list[str], body: str) -> Any:
        repository = self._repository(kind, name)
        what = rest[0] if rest else "revision"
        sha = self._sha(repository, rest[1] if len(rest) > 1 else "main")
        files = repository.commits[sha]
        if what == "revision":
            listed = [{"rfilename": path} for path in files]
            return {
                "id": name,
                "sha": sha,
                "siblings": listed,
                "tags": [],
                "private": repository.private,
                "downloads": 0,
            }
        if what == "tree":
            below, deep = "/".join(rest[2:]), "recursive=true" in self.path.lower()
            return _tree(files, f"{below}/" if below else "", deep)
        if what == "paths-info":
            asked = json.loads(body)["paths"] if body.startswith("{") else parse_qs(body).get("paths", [])
            everything = {entry["path"]: entry for entry in _tree(files, "", True)}
            return [everything[path] for path in asked if path in everything]
        raise _Refused(404)

    def _file(self, kind: str, name: str, revision: str, path: str) -> None:
        repository = self._repository(kind, name)
        if repository.gated and not self._knows_token():
            raise _Refused(403 if self.headers.get("Authorization") else 401, "GatedRepo")
        sha = self._sha(repository, revision)
        content = repository.commits[sha].get(path)
        if content is None:
            raise _Refused(404, "EntryNotFound")
        headers = {"X-Repo-Commit": sha, "ETag": f'"{_oid(content)}"', "Accept-Ranges": "bytes"}
        start = int((self.headers.get("Range") or "bytes=0-").removeprefix("bytes=").partition("-")[0])
        status = 206 if self.headers.get("Range") else 200
        if status == 206:
            headers["Content-Range"] = f"bytes {start}-{len(content) - 1}/{len(content)}"
        self._send(content[start:], status, headers)

    def _repository(self, kind: str, name: str) -> Repository:
        found = self.hub.repositories.get((kind, name))
        if found is None or (found.private and not self._knows_token()):
            raise _Refused(404 if self._knows_token() else 401, "RepoNotFound")
        return found

    def _sha(self, repository: Repository, revision: str) -> str:
        sha = repository.refs.get(revision, revision)
        if sha not in repository.commits:
            raise _Refused(404, "RevisionNotFound")
        return sha

    def _knows_token(self) -> bool:
        return self.headers.get("Authorization") == f"Bearer {self.hub.token}"

    def _send(self, content: bytes, status: int = 200, headers: Mapping[str, str] | None = None) -> None:
        self.send_response(status)
        for name, value in {"Content-Type": "application/json", **(headers or {})}.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)


def _tree(files: Files, below: str, deep: bool) -> list[dict[str, Any]]:
    entries: dict[str, dict[str, Any]] = {}
    for path, content in files.items():
        if not path.startswith(below):
            continue
        parts = path[len(below) :].split("/")
        for depth in range(1, len(parts) if deep else min(2, len(parts))):
            folder = below + "/".join(parts[:depth])
            entries[folder] = {
                "type": "directory",
                "path": folder,
                "oid": hashlib.sha1(folder.encode()).hexdigest(),
                "size": 0,
            }
        if deep or len(parts) == 1:
            entries[path] = {"type": "file", "path": path, "size": len(content), "oid": _oid(content)}
    if not entries:
        raise _Refused(404, "EntryNotFound")
    return list(entries.values())


def _oid(content: bytes) -> str:
    return hashlib.sha1(content).hexdigest()


def point_at(
    monkeypatch: pytest.MonkeyPatch, url: str, home: Path, *, offline: bool = False, token: str | None = None
) -> None:
    """This process, and those that it starts, as if they had begun with HF_ENDPOINT, HF_HOME and the rest of these values."""
    import huggingface_hub.constants as client

    given = {"HF_ENDPOINT": url, "HF_HOME": str(home), "HF_HUB_OFFLINE": str(int(offline)), "HF_TOKEN": token}
    for name, value in {**given, "NO_PROXY": "127.0.0.1", "HF_HUB_CACHE": None}.items():
        if value is None:
            monkeypatch.delenv(name, raising=False)
        else:
            monkeypatch.setenv(name, value)
    cache = home / "hub"
    patched = {
        "ENDPOINT": url, "HF_HOME": str(home), "HF_HUB_CACHE": str(cache), "HF_HUB_OFFLINE": offline,
        "HUGGINGFACE_CO_URL_TEMPLATE": f"{url}/{{repo_id}}/resolve/{{revision}}/{{filename}}",
        "HF_TOKEN_PATH": str(home / "token"), "HF_STORED_TOKENS_PATH": str(home / "stored_tokens"),
    }  # fmt: skip
    for name, value in patched.items():
        monkeypatch.setattr(client, name, value)


def point_datasets_at(monkeypatch: pytest.MonkeyPatch, url: str, home: Path, *, offline: bool = False) -> None:
    """The same of ``datasets``, which takes a second to import. Call ``point_at`` too."""
    import datasets.config as rows

    patched = {
        "HF_ENDPOINT": url, "HF_CACHE_HOME": str(home), "HF_DATASETS_CACHE": home / "datasets", "HF_HUB_OFFLINE": offline,
        "HF_DATASETS_OFFLINE": offline, "DOWNLOADED_DATASETS_PATH": home / "datasets" / "downloads",
        "EXTRACTED_DATASETS_PATH": home / "datasets" / "downloads" / "extracted",
    }  # fmt: skip
    for name, value in patched.items():
        monkeypatch.setattr(rows, name, value)
