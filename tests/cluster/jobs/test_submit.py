"""Jobs: what travels, what is refused before anything is sent, and one whole job on a real cluster with a token."""

from __future__ import annotations

import json
import os
import re
import socket
import subprocess
import sys
import urllib.request
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from PIL import Image
from typer.testing import CliRunner, Result

from cluster.actors.process import LISTED, SECRETS_FILE, take_secrets
from cluster.cli.app import app
from cluster.jobs.entry import MOVED, rays_python, why_not
from cluster.jobs.needs import MODULES
from cluster.jobs.server import HeadLostError, Job, _told, checked_address
from cluster.jobs.shipping import Shipping, collect, secrets_of, stage
from cluster.jobs.submit import Options, _Resumed, mlflow_link, prepare
from rl.config import Config, TrackingConfig, load_config
from rl.errors import ConfigError, DeadlineError
from tests.cluster.jobs.real_head import a_cluster
from tests.cluster.recipe import write_recipe

HOME = Path(__file__).parents[3]


@pytest.fixture
def recipe(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return write_recipe(tmp_path)


def test_every_file_that_the_recipe_names_travels_and_is_found(recipe: Path, tmp_path: Path) -> None:
    shipment = collect(load_config(recipe), Shipping())
    code = stage(shipment, {"REWARD_KEY": "hush"}, tmp_path / "stage")
    work = tmp_path / "stage" / "work"
    inside = load_config(work / "job.yaml")
    assert inside == shipment.config
    for name in (
        inside.policy.path, inside.data.train[0].source, inside.data.val[0].source,
        str(inside.custom_reward_function.path),
    ):  # fmt: skip
        assert not Path(name).is_absolute() and (work / name).exists(), name
    assert (work / inside.data.train[0].source).read_bytes() == (tmp_path / "train.jsonl").read_bytes()
    assert inside.output_dir == str(tmp_path / "runs")
    assert {folder.name for folder in code} == {"rl", "rewards", "policies", "cluster"}
    assert not list((tmp_path / "stage" / "code").rglob("__pycache__"))
    secret = work / SECRETS_FILE
    assert secret.stat().st_mode & 0o777 == 0o600 and json.loads(secret.read_text()) == {"REWARD_KEY": "hush"}
    assert "hush" not in (work / "job.yaml").read_text()


def test_images_beside_the_rows_travel_with_them(recipe: Path, tmp_path: Path) -> None:
    (tmp_path / "pictures").mkdir()
    Image.new("RGB", (2, 2)).save(tmp_path / "pictures" / "1.png")
    rows = [{"prompt": "what?", "answer": "red", "image": "pictures/1.png"}, {"prompt": "?", "image": "/far/2.png"}]
    (tmp_path / "train.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    shipment = collect(load_config(recipe), Shipping())
    folder = Path(shipment.config.data.train[0].source).parent
    assert shipment.files[str(folder / "pictures/1.png")] == tmp_path / "pictures/1.png"
    assert not any("2.png" in place for place in shipment.files)


def test_what_is_shared_stays_and_what_is_too_large_is_refused(recipe: Path, tmp_path: Path) -> None:
    config = load_config(recipe)
    shared = collect(config, Shipping((tmp_path,)))
    assert shared.config.data.train[0].source == str(tmp_path / "train.jsonl")
    assert all("train.jsonl" not in place for place in shared.files)
    with pytest.raises(
        ConfigError, match=r"MiB that are sent along; put it on a disk .* --shared .*or raise --max-mib"
    ):
        collect(config, Shipping(max_mib=0.001))
    with pytest.raises(ConfigError, match=r"train\[0\].source=nowhere.jsonl: no such file or folder here"):
        collect(load_config(recipe, ["data.train=[{source: nowhere.jsonl}]"]), Shipping())
    there = collect(load_config(recipe, ["policy.path=/models/on-the-cluster"]), Shipping())
    assert there.config.policy.path == "/models/on-the-cluster"


def test_secrets_go_by_name_and_reach_the_process(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REWARD_KEY", "hush")
    assert secrets_of(["REWARD_KEY"]) == {"REWARD_KEY": "hush"}
    with pytest.raises(ConfigError, match="--env NOT_SET_AT_ALL: not set") as missing:
        secrets_of(["NOT_SET_AT_ALL"])
    with pytest.raises(ConfigError, match="expected the name") as given:
        secrets_of(["REWARD_KEY=value-of-it"])
    assert "value-of-it" not in str(given.value) + str(missing.value)
    config = Config(tracking=TrackingConfig(uri="https://me:password@mlflow:5000/x"))
    assert mlflow_link(config) == "https://mlflow:5000/x"


@pytest.mark.parametrize("listed", [None, "", "REWARD_KEY", "REWARD_KEY,LD_PRELOAD,PYTHONPATH,OTHER"])
def test_a_file_of_secrets_is_read_in_a_job_and_for_the_names_that_were_listed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, listed: str | None
) -> None:
    monkeypatch.setenv("REWARD_KEY", "mine")
    for name in (LISTED, "LD_PRELOAD", "PYTHONPATH", "OTHER", "https_proxy"):
        monkeypatch.delenv(name, raising=False)
    if listed is not None:
        monkeypatch.setenv(LISTED, listed)
    sent = {
        "REWARD_KEY": "other",
        "LD_PRELOAD": "/x.so",
        "PYTHONPATH": "/x",
        "https_proxy": "http://x",
        "OTHER": ["no text"],
    }
    file = tmp_path / SECRETS_FILE
    file.write_text(json.dumps(sent))
    file.chmod(0o644)
    before = dict(os.environ)
    take_secrets(tmp_path)
    assert dict(os.environ) == {**before, **({"REWARD_KEY": "other"} if listed else {})}
    assert file.stat().st_mode & 0o777 == (0o600 if listed else 0o644)


@pytest.mark.parametrize(
    "name",
    ["LD_PRELOAD", "LD_LIBRARY_PATH", "PYTHONPATH", "PYTHONSTARTUP", "PATH", "BASH_ENV", "GLIBC_TUNABLES", LISTED],
)
def test_what_loads_programs_is_not_sent(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(name, os.environ.get(name, "x"))
    with pytest.raises(ConfigError, match=f"--env {name}: decides which programs"):
        secrets_of([name])


def test_the_job_checks_for_every_dependency() -> None:
    listed = re.findall(r'^    "([a-z0-9-]+)', (HOME / "pyproject.toml").read_text().split("dependencies = [")[1], re.M)
    assert set(MODULES) == set(listed[: len(MODULES)])
    assert why_not("train") is None
    bare = subprocess.run(
        [sys.executable, "-S", "-m", "cluster.jobs.entry", "train"],
        cwd=HOME,
        env={MOVED: "1"},  # or it would become the Python of this process, which has Ray
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert bare.returncode == 2 and bare.stderr.count("\n") == 1
    assert (
        "lacks datasets, deepspeed, httpx2, huggingface-hub, jinja2," in bare.stderr and "--requirements" in bare.stderr
    )


def test_the_python_that_has_ray_loaded_is_found_from_below() -> None:
    import ray  # noqa: F401 - its library is in this process's memory then

    assert rays_python(os.getpid()) == str(Path(sys.prefix) / "bin" / "python")
    asks = "import os; from cluster.jobs.entry import rays_python; print(rays_python(os.getpid()))"
    child = subprocess.run([sys.executable, "-c", asks], cwd=HOME, capture_output=True, text=True, timeout=60)
    assert child.stdout.strip() == str(Path(sys.prefix) / "bin" / "python")  # of its parent, which is this process
    assert rays_python(2**22 + 1) is None  # there is no such process


@pytest.mark.parametrize("address", ["ray://head:10001", "head", "http://:8265", "head:port"])
def test_an_address_that_is_none(address: str) -> None:
    with pytest.raises(ConfigError, match="expected http://HOST:PORT"):
        checked_address(address)
    assert checked_address("head:8265") == checked_address("http://head:8265/") == "http://head:8265"


def test_which_jobs_are_lost() -> None:
    assert Job("a", "LOST").lost and Job("a", "FAILED", 137).lost and Job("a", "FAILED", -9).lost
    assert Job("a", "FAILED", None, "JOB_SUPERVISOR_ACTOR_DIED").lost
    for kept in (
        Job("a", "FAILED", 2), Job("a", "STOPPED", 130), Job("a", "SUCCEEDED", 0),
        Job("a", "FAILED", None, "RUNTIME_ENV_SETUP_FAILURE"),
    ):  # fmt: skip
        assert not kept.lost


@pytest.mark.parametrize(
    ("raised", "told"),
    [
        (HeadLostError("gone"), HeadLostError),
        (DeadlineError("late"), DeadlineError),
        (ConnectionError("refused"), HeadLostError),
        (TimeoutError("slow"), HeadLostError),
        (RuntimeError("WebSocket connection closed unexpectedly with close code 1006"), HeadLostError),
        (RuntimeError("Request failed with status code 500: no"), ConfigError),
    ],
)
def test_what_rays_client_raises_is_told_as_what_it_means(raised: Exception, told: type[Exception]) -> None:
    """Also twice over: a question inside another."""
    with pytest.raises(told) as found, _told("http://head:8265"), _told("http://head:8265"):
        raise raised
    assert type(found.value) is told


def test_a_log_that_starts_over_is_written_once() -> None:
    written: list[str] = []
    log = _Resumed(written.append)
    log("step 1\n")
    log.again()
    log("ste")
    log("p 1\nstep 2\n")
    log.again()
    log("step 1\nstep 2\nstep 3\n")
    assert "".join(written) == "step 1\nstep 2\nstep 3\n"


def test_a_job_joins_its_own_cluster(recipe: Path) -> None:
    assert prepare(str(recipe), [], Options()).config.cluster.address == "auto"
    with pytest.raises(ConfigError, match="cluster.address=head:6379: a submitted job attaches to its own cluster"):
        prepare(str(recipe), ["cluster.address='head:6379'"], Options())
    with pytest.raises(ConfigError, match="--command tain: allowed: train, sft, eval"):
        prepare(str(recipe), [], Options("tain"))


# ---- a real cluster


def unigrpo(*args: str) -> Result:
    return CliRunner().invoke(app, list(args))


def _submit(folder: Path, address: str, token: str | None, *args: str, **env: str) -> subprocess.CompletedProcess[str]:
    """From another folder than the project's, as a user would."""
    own: Mapping[str, str] = {"RAY_AUTH_TOKEN": token} if token else {}
    clean = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")}
    path = os.pathsep.join([str(HOME), *filter(None, [os.environ.get("PYTHONPATH")])])
    return subprocess.run(
        [sys.executable, "-m", "cluster.cli", "submit", "--address", address, *args],
        cwd=folder, env={**clean, "PYTHONPATH": path, **own, **env}, capture_output=True, text=True, timeout=240,
    )  # fmt: skip


@pytest.fixture(scope="module")
def cluster() -> Iterator[tuple[str, str]]:
    """Its address and token."""
    with a_cluster() as found:
        yield found


@pytest.mark.long
def test_a_job_on_a_real_cluster(cluster: tuple[str, str], tmp_path: Path) -> None:
    """It succeeds the first time, its log is followed, its exit code is ours; a secret reaches the reward and no log."""
    address, token = cluster
    recipe = write_recipe(tmp_path)
    arguments = ("--recipe", str(recipe), "--env", "REWARD_KEY")
    with ThreadPoolExecutor(1) as beside:  # what is refused does not disturb what runs
        running = beside.submit(_submit, tmp_path, address, token, *arguments, REWARD_KEY="hush-7391")
        _refuses(cluster, tmp_path / "other")
        done = running.result()
    assert done.returncode == 0, done.stdout + done.stderr
    assert "step 2/2" in done.stdout and f"dashboard {address}/#/jobs/toy-" in done.stderr
    summary = json.loads((tmp_path / "runs" / "toy" / "summary.json").read_text())
    assert summary["steps"] == 2
    known = _known_jobs(address, token)
    assert [job["status"] for job in json.loads(known) if job["submission_id"].startswith("toy-")] == ["SUCCEEDED"]
    assert "hush-7391" not in known + done.stdout + done.stderr
    listed = _jobs(address, token, "list")
    assert re.search(r"^toy-\S+ +SUCCEEDED", listed, re.M) and re.search(r"^broken-\S+ +FAILED", listed, re.M)


def _refuses(cluster: tuple[str, str], folder: Path) -> None:
    """One clear line each: a wrong token, none, a bad recipe here; and a reward that the job itself finds broken there."""
    address, token = cluster
    folder.mkdir()
    recipe = write_recipe(folder)
    for wrong in ("0" * 64, None):
        done = _submit(folder, address, wrong, "--recipe", str(recipe))
        assert done.returncode == 2 and "the head does not take this token" in done.stderr
        assert len(done.stderr.splitlines()) == 1, done.stderr
    (folder / "my_reward.py").write_text("score = 1.0\n")
    done = _submit(folder, address, token, "--recipe", str(recipe), "name=broken")
    assert done.returncode == 2
    assert "my_reward.py has no function 'reward'" in done.stdout and "Traceback" not in done.stdout, done.stdout


def _known_jobs(address: str, token: str) -> str:
    """All that the head says about its jobs to whoever may ask."""
    request = urllib.request.Request(f"{address}/api/jobs/", headers={"Authorization": f"Bearer {token}"})
    with urllib.request.urlopen(request, timeout=30) as answer:
        return answer.read().decode()


def _jobs(address: str, token: str, *args: str) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "cluster.cli", "jobs", *args, "--address", address],
        cwd=HOME, env={**os.environ, "RAY_AUTH_TOKEN": token}, capture_output=True, text=True, timeout=60, check=True,
    )  # fmt: skip
    return done.stdout


def test_a_head_that_is_not_there_is_told_in_seconds(recipe: Path) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))  # bound and not listening: refused
        done = unigrpo("submit", "--address", f"http://127.0.0.1:{unused.getsockname()[1]}", "--recipe", str(recipe))
    assert done.exit_code == 2 and "no Ray head answers within 5 s" in done.stderr
    assert len(done.stderr.splitlines()) == 1, done.stderr
