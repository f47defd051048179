"""The rules of the house: what imports what, what ships, and that the doors which the README shows are there."""

from __future__ import annotations

import importlib.metadata as metadata
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from rl.config import load_config

ROOT = Path(__file__).parent.parent
PACKAGES = ("rl", "rewards", "policies", "cluster")
PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
MAX_LINES = 400
MAX_WEIGHT_BYTES = 12 * 1000 * 1000
RECIPES = sorted(path.stem for path in (ROOT / "rl" / "recipes").glob("*.yaml"))


def package_files(pattern: str) -> list[Path]:
    found = (path for package in PACKAGES for path in (ROOT / package).rglob(pattern) if path.is_file())
    return sorted(path for path in found if "__pycache__" not in path.parts)


def lint_imports(folder: Path) -> subprocess.CompletedProcess[str]:
    command = [Path(sys.executable).parent / "lint-imports", "--no-cache"]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=120)


def test_imports_point_one_way() -> None:
    result = lint_imports(ROOT)
    assert result.returncode == 0, result.stdout + result.stderr


@pytest.mark.parametrize(
    ("importer", "imported"),
    [
        ("rl.advantages", "cluster"),
        ("policies.noise", "ray"),
        ("rewards.base", "rl.config"),
        ("rl.losses", "rewards.base"),
        ("rl.types", "torch"),
    ],
)
def test_an_import_against_the_direction_is_found(tmp_path: Path, importer: str, imported: str) -> None:
    for path in [*package_files("*.py"), ROOT / "pyproject.toml"]:
        copy = tmp_path / path.relative_to(ROOT)
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, copy)
    with (tmp_path / f"{importer.replace('.', '/')}.py").open("a") as source:
        source.write(f"\nimport {imported}\n")
    result = lint_imports(tmp_path)
    assert result.returncode == 1, result.stdout + result.stderr
    assert f"{importer} -> {imported} (" in result.stdout


@pytest.mark.parametrize("module", ["rl.types", "rl.errors"])
def test_the_ground_is_light(module: str) -> None:
    heavy = {"ray", "deepspeed", "vllm", "transformers", "torch", "mlflow", "omegaconf"}
    code = f"import sys, {module}; print(*sys.modules)"
    result = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert heavy.isdisjoint(result.stdout.split())


def test_shipped_weights_are_small() -> None:
    sizes = {str(path.relative_to(ROOT)): path.stat().st_size for path in package_files("*.safetensors")}
    assert 0 < sum(sizes.values()) <= MAX_WEIGHT_BYTES, sizes


def test_no_file_is_long() -> None:
    lengths = {str(path.relative_to(ROOT)): len(path.read_text().splitlines()) for path in package_files("*.py")}
    assert not {name: length for name, length in lengths.items() if length > MAX_LINES}


def test_the_readme_shows_targets_that_exist() -> None:
    shown = set(re.findall(r"\bmake ([a-z-]+)", (ROOT / "README.md").read_text()))
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), flags=re.MULTILINE))
    assert {"train", "test"} <= shown <= targets


def test_documents_name_files_that_exist() -> None:
    documents = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *(ROOT / "docs").rglob("*.md")]
    named = {
        path
        for text in documents
        for path in re.findall(r"(?<![\w/])(?:rl|rewards|policies|cluster|tests)/[\w/]+\.py\b", text.read_text())
    }
    assert not {path for path in named if not (ROOT / path).is_file()}


def test_recipes_ship() -> None:
    assert {"tiny", "tiny_sft"} <= set(RECIPES)


@pytest.mark.parametrize("recipe", RECIPES)
def test_a_shipped_recipe_loads(recipe: str) -> None:
    config = load_config(recipe)
    assert config.data.train
    assert config.data.val


def test_everything_a_full_install_needs_is_pinned() -> None:
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    pins = dict(line.split("==") for line in lines if line and not line.startswith("#"))
    assert all(re.fullmatch(r"[0-9][0-9A-Za-z.]*", version) for version in pins.values()), "no local suffix or marker"
    pinned = {canonicalize_name(name) for name in pins}
    assert not full_install() - pinned


def full_install() -> set[str]:
    """Names of all distributions that ``unigrpo[dev,tiny]`` resolves to, by the metadata of what is installed."""
    project = PYPROJECT["project"]
    extras = project["optional-dependencies"]
    waiting = [Requirement(text) for text in project["dependencies"] + extras["dev"] + extras["tiny"]]
    waiting = [needed for needed in waiting if needed.marker is None or needed.marker.evaluate()]
    seen: set[tuple[str, frozenset[str]]] = set()
    while waiting:
        requirement = waiting.pop()
        key = (canonicalize_name(requirement.name), frozenset(requirement.extras))
        if key in seen:
            continue
        seen.add(key)
        for text in metadata.distribution(requirement.name).requires or ():
            needed = Requirement(text)
            wanted = ["", *requirement.extras]
            if needed.marker is None or any(needed.marker.evaluate({"extra": extra}) for extra in wanted):
                waiting.append(needed)
    return {name for name, _ in seen}
