"""Places that cannot be written to, as every command meets them: one line, exit 2, and nothing left behind."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from cluster.cli.app import app
from cluster.run.folder import check_output
from cluster.run.writable import file_problem, folder_problem
from rl.config import Config
from rl.errors import ConfigError
from tests.toys import toy_folder

LONG = "n" * 256
# A script that is run as nobody, whom permissions bind; root they do not.
AS_NOBODY = """
import os, sys
from pathlib import Path
from cluster.run.writable import file_problem, folder_problem
if os.getuid() == 0:
    os.setgid(65534); os.setuid(65534)
print(folder_problem(Path(sys.argv[1]) / "run"))
print(file_problem(Path(sys.argv[1]) / "out.png"))
"""


@pytest.fixture
def places(tmp_path: Path) -> dict[str, Path]:
    (tmp_path / "file").write_text("in the way")
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    (tmp_path / "dangling").symlink_to(tmp_path / "nowhere" / "else")
    return {
        "proc": Path("/proc/x"),
        "sys": Path("/sys/x"),
        "dev null": Path("/dev/null/x"),
        "file": tmp_path / "file",
        "below a file": tmp_path / "file" / "x" / "y",
        "long": tmp_path / LONG,
        "long in the middle": tmp_path / LONG / "x",
        "long in bytes": tmp_path / ("ü" * 128),
        "long path": tmp_path.joinpath(*["d" * 200] * 25),
        "zero byte": tmp_path / "a\0b",
        "surrogate": tmp_path / "a\udfff\ud800b",
        "loop": tmp_path / "loop" / "x",
        "dangling": tmp_path / "dangling",
    }


NAMES = """proc|sys|dev null|file|below a file|long|long in the middle|long in bytes|long path|zero byte|surrogate|loop|
    dangling""".replace("\n    ", "").split("|")


def left(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*")}


@pytest.mark.parametrize("name", NAMES)
def test_what_cannot_be_made_has_a_reason_and_leaves_nothing(
    tmp_path: Path, places: dict[str, Path], name: str
) -> None:
    before = left(tmp_path)
    for problem in (folder_problem(places[name]), file_problem(places[name] / "out.png")):
        assert problem and "\n" not in problem and len(problem) < 300
    with pytest.raises(ConfigError, match="the run's folder cannot be written to") as caught:
        check_output(Config(output_dir=str(places[name])))
    assert "\n" not in str(caught.value) and "output_dir=runs" in str(caught.value)
    assert left(tmp_path) == before


@pytest.mark.parametrize("name", [LONG, "ü" * 128, "a\0b"])
def test_the_name_of_a_run_counts_as_well(tmp_path: Path, name: str) -> None:
    with pytest.raises(ConfigError, match="the run's folder cannot be written to"):
        check_output(Config(output_dir=str(tmp_path), name=name))
    assert left(tmp_path) == set()


@pytest.mark.parametrize("name", ["runs", "a/b/c", "ü" * 127, "a b?#%", "n" * 255])
def test_what_can_be_made_passes_and_leaves_nothing(tmp_path: Path, name: str) -> None:
    assert folder_problem(tmp_path / name) == ""
    assert left(tmp_path) == set()
    (tmp_path / name).mkdir(parents=True)
    assert folder_problem(tmp_path / name) == file_problem(tmp_path / name / "out.png") == ""
    assert left(tmp_path / name) == set()


def test_a_file_that_is_there_keeps_its_content(tmp_path: Path) -> None:
    (tmp_path / "out.png").write_bytes(b"a picture")
    assert file_problem(tmp_path / "out.png") == ""
    assert (tmp_path / "out.png").read_bytes() == b"a picture"
    assert "is no file" in file_problem(tmp_path) and "is no file" in file_problem(Path("/dev/full"))


def test_permissions_are_those_of_the_user(tmp_path_factory: pytest.TempPathFactory) -> None:
    folder = Path("/tmp") / f"unigrpo-locked-{os.getpid()}"
    folder.mkdir(mode=0o555)  # root writes all the same, and becomes somebody else
    try:
        command = [sys.executable, "-c", AS_NOBODY, str(folder)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    finally:
        folder.rmdir()
    assert [line.split(":")[0] for line in done.stdout.splitlines()] == ["Permission denied"] * 2


@pytest.fixture
def read_only(tmp_path: Path) -> Iterator[Path]:
    """A file system that nobody can write to; skipped where none can be mounted."""
    place = tmp_path / "disk"
    place.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "ro", "none", str(place)], capture_output=True, check=False)
    if mounted.returncode:
        pytest.skip("no file system can be mounted here")
    try:
        yield place
    finally:
        subprocess.run(["umount", str(place)], check=True)


def test_a_read_only_disk_is_found(read_only: Path) -> None:
    assert folder_problem(read_only / "run").startswith("Read-only file system")
    assert folder_problem(read_only).startswith("Read-only file system")
    assert file_problem(read_only / "out.png").startswith("Read-only file system")


def unigrpo(*args: str) -> Result:
    return CliRunner().invoke(app, list(args))


def one_line(result: Result) -> str:
    assert result.exit_code == 2, result.output
    assert result.stderr.startswith("error: ") and result.stderr.count("\n") == 1, result.stderr
    return result.stderr


@pytest.mark.parametrize("command", ["train", "sft", "eval"])
@pytest.mark.parametrize("name", ["proc", "file", "below a file", "long", "long path"])
def test_every_run_refuses_its_folder_before_anything_else(places: dict[str, Path], command: str, name: str) -> None:
    recipe = "tiny_sft" if command == "sft" else "tiny"
    told = one_line(unigrpo(command, "--recipe", recipe, f"output_dir={places[name]}", "policy.path=/no/such/policy"))
    assert told.startswith("error: output_dir=") and "policy.path" not in told


@pytest.mark.parametrize("name", ["proc", "below a file", "long in the middle"])
def test_generate_refuses_where_its_files_would_go(places: dict[str, Path], name: str) -> None:
    policy = f"policy.path={toy_folder()}"
    drawing = unigrpo("generate", "a red circle", policy, "--task", "draw", "--out", str(places[name] / "a.png"))
    assert "--out" in one_line(drawing) and "cannot be written" in drawing.stderr
    film = unigrpo("generate", "hello", policy, "--trace", str(places[name] / "film.html"))
    assert "--trace" in one_line(film) and "cannot be written" in film.stderr


def test_generate_looks_at_the_numbered_names(tmp_path: Path) -> None:
    out = tmp_path / ("n" * 251 + ".png")  # fits alone, and does not with a number
    told = one_line(
        unigrpo("generate", "a", f"policy.path={toy_folder()}", "--task", "draw", "--n", "2", "--out", str(out))
    )
    assert "File name too long" in told and left(tmp_path) == set()


@pytest.mark.parametrize("name", ["proc", "file", "below a file", "long", "long in the middle", "long path"])
def test_export_refuses_where_its_folder_would_go(places: dict[str, Path], name: str) -> None:
    assert "--out" in one_line(unigrpo("export", str(toy_folder()), "--out", str(places[name])))
    assert "--out" in one_line(unigrpo("export", str(toy_folder()), "--out", str(places[name].parent / ("m" * 250))))
