"""What a run's own Ray listens on, who may ask it, and whose its files are."""

from __future__ import annotations

import ipaddress
import os
import re
import stat
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from cluster.run.private_ray import MEETING, ONE_MACHINE, TOKEN_FILE, private_folder, private_ray, write_private
from cluster.run.session import session
from rl.output.secrets import redact
from rl.types import WeightRef
from tests.cluster.runs import make_config

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="listeners are read from Linux's tables")
# Who listens in a running cluster. Metrics and the stores where ranks meet ask for no token; all are on loopback.
RAYS_OWN = {"gcs_server", "raylet", "agent", "dashboard", "monitor", "driver", "actor"}


def listeners() -> list[tuple[str, str, int]]:
    """Process, address and port of all that this process and its children listen on."""
    me = psutil.Process()
    family = {me.pid: "driver"}
    for child in me.children(recursive=True):
        family[child.pid] = kind_of(child)
    return sorted(
        (family[found.pid], str(tuple(found.laddr)[0]), int(tuple(found.laddr)[1]))
        for found in psutil.net_connections("tcp")
        if found.status == psutil.CONN_LISTEN and found.laddr and found.pid in family
    )


def kind_of(process: psutil.Process) -> str:
    try:
        command, name = " ".join(process.cmdline()), process.name()
    except psutil.Error:
        return "gone"
    if re.match(r"ray::(DashboardAgent|RuntimeEnvAgent)", command or name):
        return "agent"
    for word, kind in (("dashboard.py", "dashboard"), ("monitor.py", "monitor"), ("log_monitor", "monitor")):
        if word in command:
            return kind
    if name in ("gcs_server", "raylet"):
        return name
    return "actor" if command.startswith("ray::") or "default_worker.py" in command else command[:80]


def beyond_loopback(found: list[tuple[str, str, int]]) -> list[tuple[str, str, int]]:
    return [each for each in found if not ipaddress.ip_address(each[1].removeprefix("::ffff:")).is_loopback]


def test_a_listener_on_all_interfaces_is_found() -> None:
    assert beyond_loopback(
        [("a", "::", 1), ("b", "::ffff:127.0.0.1", 2), ("c", "192.0.2.2", 3), ("d", "127.0.0.1", 4)]
    ) == [
        ("a", "::", 1),
        ("c", "192.0.2.2", 3),
    ]


def test_all_that_listens_is_on_loopback_and_known(local_ray: None) -> None:
    import ray

    @ray.remote(num_cpus=0)
    class Here:
        def address(self) -> str:
            return ray.util.get_node_ip_address()

        def niceness(self) -> int:
            return os.nice(0)

    actor = Here.remote()  # pyright: ignore[reportAttributeAccessIssue]
    assert ray.get(actor.address.remote()) == "127.0.0.1"
    assert ray.get(actor.niceness.remote()) == os.nice(0), "workers have the priority of the run"
    ends, found = time.monotonic() + 30, listeners()
    while "agent" not in {kind for kind, *_ in found} and time.monotonic() < ends:
        time.sleep(0.2)  # Ray starts its agent after the first actor can run
        found = listeners()
    assert {"gcs_server", "raylet", "agent", "driver", "actor"} <= {kind for kind, *_ in found}
    assert beyond_loopback(found) == []
    assert {kind for kind, *_ in found} <= RAYS_OWN, found
    ray.kill(actor)  # pyright: ignore[reportArgumentType]


def test_who_has_no_token_is_refused(local_ray: None) -> None:
    import grpc
    import ray

    address = ray.get_runtime_context().gcs_address
    token = Path(os.environ[TOKEN_FILE]).read_text()
    with grpc.insecure_channel(address) as channel:
        ask = channel.unary_unary("/ray.rpc.NodeInfoGcsService/GetAllNodeInfo")

        def outcome(*metadata: tuple[str, str]) -> object:
            try:
                return len(ask(b"", metadata=metadata, timeout=20)) > 0
            except grpc.RpcError as error:
                return error.code()  # pyright: ignore[reportAttributeAccessIssue]

        assert outcome() == grpc.StatusCode.UNAUTHENTICATED
        assert outcome(("authorization", f"Bearer {token[::-1]}")) == grpc.StatusCode.UNAUTHENTICATED
        assert outcome(("authorization", f"Bearer {token}")) is True


def test_the_token_is_in_a_file_of_its_owner_and_in_no_process_list(local_ray: None) -> None:
    file = Path(os.environ[TOKEN_FILE])
    token = file.read_text()
    assert len(token) == 64 and stat.S_IMODE(file.stat().st_mode) == 0o600
    assert stat.S_IMODE(file.parent.stat().st_mode) == 0o700  # Ray's sockets lie below it
    family = [psutil.Process(), *psutil.Process().children(recursive=True)]
    lines = [Path(f"/proc/{process.pid}/cmdline") for process in family]
    lines = [file.read_text(errors="replace") for file in lines if file.exists()]
    assert len(lines) > 3 and not any(token in line for line in lines)
    assert token not in redact(f"a Ray that says {token}")


@pytest.fixture
def alone(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    for name in ("RAY_AUTH_MODE", "RAY_AUTH_TOKEN", TOKEN_FILE, ONE_MACHINE, *MEETING):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(
        "cluster.run.private_ray._read_again", lambda: None
    )  # a Ray of other tests runs in this process
    with tempfile.TemporaryDirectory(prefix="unigrpo-", dir="/tmp") as short:
        monkeypatch.setenv("RAY_TMPDIR", short)
        yield Path(short)


def test_what_the_user_has_set_is_kept_and_all_else_is_put_back(alone: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = dict(os.environ)
    with private_ray():
        assert os.environ["RAY_AUTH_MODE"] == "token" and Path(os.environ[TOKEN_FILE]).parent.parent == alone
        made = Path(os.environ[TOKEN_FILE])
    assert dict(os.environ) == before and not made.exists()
    monkeypatch.setenv("RAY_AUTH_MODE", "disabled")
    monkeypatch.setenv("RAY_AUTH_TOKEN", "0" * 32)
    monkeypatch.setenv("GLOO_SOCKET_IFNAME", "eth7")
    with private_ray():
        assert os.environ["RAY_AUTH_MODE"] == "disabled" and os.environ["GLOO_SOCKET_IFNAME"] == "eth7"
        assert TOKEN_FILE not in os.environ


@pytest.mark.parametrize("trap", ["open to all", "a link", "a file"])
def test_a_folder_that_another_user_laid_out_is_not_used(alone: Path, trap: str) -> None:
    folder = alone / f"unigrpo-ray-{os.getuid()}"
    if trap == "open to all":
        folder.mkdir()
        folder.chmod(0o777)
    elif trap == "a link":
        (alone / "elsewhere").mkdir(mode=0o700)
        folder.symlink_to(alone / "elsewhere")
    else:
        folder.touch()
    found = private_folder()
    assert found != folder and found.is_dir() and stat.S_IMODE(found.stat().st_mode) == 0o700


def test_a_token_is_not_written_over_a_file_or_through_a_link(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(tmp_path / "target")
    for name in ("link", "there"):
        (tmp_path / "there").touch()
        with pytest.raises(FileExistsError):
            write_private(tmp_path / name, "x")
    assert not (tmp_path / "target").exists()


@pytest.mark.long
def test_two_ranks_and_their_weights_meet_on_loopback(home: Path, local_ray: None) -> None:
    ranks = (
        "cluster.mode=ray",
        "cluster.learner_ranks=2",
        "learner.engine=deepspeed",
        "cluster.weight_sync=collective",
    )
    found: list[tuple[str, str, int]] = []
    with session(make_config(home, "name=doors", *ranks)) as parts:
        served: WeightRef = parts.workers.update_weights(parts.learner, 0)
        found = listeners()
    assert served.version == 0
    assert len(found) > 5 and beyond_loopback(found) == [] and {kind for kind, *_ in found} <= RAYS_OWN, found
