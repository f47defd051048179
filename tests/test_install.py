"""Ways in: images, the bundle that installs without a network, the wheel's metadata, forms and the citation."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import tomllib
import zipfile
from collections.abc import Mapping
from pathlib import Path

import pytest
import yaml

from install import bundle

ROOT = Path(__file__).parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
DOCKERFILES = sorted((ROOT / "install").glob("*.Dockerfile"))
FORMS = sorted((ROOT / ".github" / "ISSUE_TEMPLATE").glob("*.yml"))


def instructions(text: str) -> list[tuple[str, str]]:
    """(name, arguments) of a Dockerfile, continued lines joined, comments left out."""
    lines = [line for line in text.splitlines() if not line.lstrip().startswith("#")]
    joined = re.sub(r"\\\n\s*", "", "\n".join(lines))
    return [(name, rest.strip()) for name, _, rest in (line.partition(" ") for line in joined.splitlines() if line)]


def test_there_is_an_image_for_gpus_and_one_for_cpus() -> None:
    assert [path.name for path in DOCKERFILES] == ["cpu.Dockerfile", "cuda.Dockerfile"]
    assert all("never built" in path.read_text() for path in DOCKERFILES)


@pytest.mark.parametrize("path", DOCKERFILES, ids=lambda path: path.stem)
def test_an_image_is_made_of_pinned_packages_and_what_the_wheel_needs(path: Path) -> None:
    found = instructions(path.read_text())
    (base,) = [rest for name, rest in found if name == "FROM"]
    version = base.partition(":python")[0].partition(":")[2]
    assert re.match(r"3\.\d+", version) and f"Python :: {version[:4]}" in " ".join(PROJECT["classifiers"])
    copied = [word for name, rest in found if name == "COPY" for word in rest.split()[:-1]]
    assert all((ROOT / name).exists() for name in copied)
    assert {"rl", "rewards", "policies", "cluster", "pyproject.toml", "README.md", *PROJECT["license-files"]} <= {
        *copied
    }
    kept = {line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")}
    assert {*copied} == kept
    for name, rest in found:
        for command in rest.split("&&") if name == "RUN" else ():
            assert "pip install" not in command or "--constraint constraints.txt" in command
    names = [name for name, _ in found]
    assert "ADD" not in names and dict(found)["USER"] == "1000" and names.index("USER") > names.index("RUN")
    (entry,) = json.loads(dict(found)["ENTRYPOINT"])
    assert entry in PROJECT["scripts"]


@pytest.mark.skipif(shutil.which("hadolint") is None, reason="make lint-docker installs hadolint")
@pytest.mark.parametrize("path", DOCKERFILES, ids=lambda path: path.stem)
def test_the_linter_finds_nothing(path: Path) -> None:
    subprocess.run(["hadolint", path], check=True, timeout=60)


def small_wheel(folder: Path, name: str, needs: str = "", size: int = 0) -> None:
    """A wheel of one module. size: bytes that do not compress."""
    info, needed = f"{name}-1.0.dist-info", f"Requires-Dist: {needs}\n" if needs else ""
    files = {
        f"{name}.py": b"ANSWER = 42\n",
        f"{name}.bin": os.urandom(size),
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\nProvides-Extra: tiny\n{needed}".encode(),
        f"{info}/WHEEL": b"Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    record = "".join(f"{path},,\n" for path in (*files, f"{info}/RECORD")).encode()
    with zipfile.ZipFile(folder / f"{name}-1.0-py3-none-any.whl", "w") as archive:
        for path, content in {**files, f"{info}/RECORD": record}.items():
            archive.writestr(path, content)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    wheels, out = tmp_path_factory.mktemp("wheels"), tmp_path_factory.mktemp("bundle")
    small_wheel(wheels, "unigrpo", needs="leaf; extra == 'tiny'")
    small_wheel(wheels, "leaf", size=30_000)
    bundle.main(["--wheels", str(wheels), "--out", str(out), "--part-mb", "0.01"])
    return out


def install(folder: Path, venv: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    given = {"PATH": os.environ["PATH"], "PYTHON": sys.executable, "PIP_CONFIG_FILE": os.devnull, **environment}
    command = ["bash", str(folder / "install.sh"), str(venv)]
    return subprocess.run(command, env=given, capture_output=True, text=True, timeout=200)


def test_a_bundle_is_cut_into_small_parts(made: Path) -> None:
    parts = sorted(made.glob("unigrpo.tar.*"))
    assert len(parts) >= 4 and all(0 < part.stat().st_size <= 10_000 for part in parts)
    assert bundle.PART_MB == 45 and (made / "WHAT").read_text() == "unigrpo[tiny]==1.0\n"
    assert [line.split()[1] for line in (made / "SHA256SUMS").read_text().splitlines()] == [part.name for part in parts]


@pytest.mark.long
def test_a_bundle_installs_without_a_network(made: Path, tmp_path: Path) -> None:
    done = install(made, tmp_path / "venv")
    assert done.returncode == 0, done.stdout + done.stderr
    code = "import unigrpo, leaf; print(unigrpo.ANSWER)"
    found = subprocess.run([tmp_path / "venv/bin/python", "-c", code], capture_output=True, text=True, cwd=tmp_path)
    assert found.stdout == "42\n", found.stderr


def cut(folder: Path) -> Mapping[str, str]:
    part = folder / "unigrpo.tar.001"
    part.write_bytes(part.read_bytes()[:-1])
    return {}


def changed(folder: Path) -> Mapping[str, str]:
    part = folder / "unigrpo.tar.001"
    part.write_bytes(bytes(10_000))
    return {}


def missing(folder: Path) -> Mapping[str, str]:
    (folder / "unigrpo.tar.001").unlink()
    return {}


def other_python(folder: Path) -> Mapping[str, str]:
    (folder / "FOR").write_text("3.10 linux-riscv64\n")
    return {}


@pytest.mark.parametrize(
    ("harm", "expected"),
    [
        (cut, "not as it was made: unigrpo.tar.001;"),
        (changed, "not as it was made: unigrpo.tar.001;"),
        (missing, "not as it was made: unigrpo.tar.001;"),
        (other_python, "this bundle is for Python 3.10 linux-riscv64"),
        (lambda folder: {"PYTHON": "/no/python"}, "PYTHON=/no/python: does not run"),
    ],
    ids=["cut", "changed", "missing", "other python", "no python"],
)
def test_a_bundle_that_is_not_whole_installs_nothing(made: Path, tmp_path: Path, harm, expected: str) -> None:
    folder = tmp_path / "copy"
    shutil.copytree(made, folder)
    refused = install(folder, tmp_path / "venv", **harm(folder))
    assert refused.returncode == 2 and expected in refused.stderr and len(refused.stderr.splitlines()) == 1
    assert not (tmp_path / "venv").exists()


def test_a_bundle_needs_our_wheel(tmp_path: Path) -> None:
    small_wheel(tmp_path, "leaf")
    with pytest.raises(SystemExit, match="0 wheels of unigrpo; it must have one"):
        bundle.main(["--wheels", str(tmp_path), "--out", str(tmp_path / "out")])


def test_the_metadata_is_what_pypi_shows() -> None:
    assert PROJECT["readme"] == "README.md" and PROJECT["urls"] and PROJECT["authors"]
    assert all(url.startswith("https://") for url in PROJECT["urls"].values())
    known = (
        "Development Status",
        "Environment",
        "Intended Audience",
        "Operating System",
        "Programming Language",
        "Topic",
    )
    assert {classifier.split(" :: ")[0] for classifier in PROJECT["classifiers"]} <= {*known}
    assert "License" not in " ".join(PROJECT["classifiers"]), "PyPI refuses it beside an SPDX expression"


@pytest.mark.parametrize("path", FORMS, ids=lambda path: path.stem)
def test_an_issue_form_asks_for_something(path: Path) -> None:
    form = yaml.safe_load(path.read_text())
    if path.stem == "config":
        assert form["blank_issues_enabled"] is False
        return
    assert {"name", "description", "body"} <= {*form}
    asked = [item for item in form["body"] if item["type"] != "markdown"]
    assert all(item["type"] in ("textarea", "input", "dropdown", "checkboxes") for item in asked)
    assert len({item["id"] for item in asked}) == len(asked)
    assert any(item.get("validations", {}).get("required") for item in asked)


def test_there_are_forms_for_a_bug_a_score_and_a_feature() -> None:
    assert {"bug", "score", "feature"} <= {path.stem for path in FORMS}


def test_the_citation_is_of_this_version() -> None:
    cited = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert {"cff-version", "message", "title", "authors", "version", "license", "references"} <= {*cited}
    assert (cited["version"], cited["license"]) == (PROJECT["version"], PROJECT["license"])
    assert cited["references"][0]["identifiers"][0]["value"] == "arXiv:2505.15809"
