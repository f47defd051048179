"""The rules of the house: what imports what, what ships, and that the doors which the README shows are there."""

from __future__ import annotations

import ast
import importlib.metadata as metadata
import re
import shutil
import subprocess
import sys
import tomllib
from collections import Counter
from collections.abc import Collection, Mapping
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from rl.config import load_config, recipe_names
from tests.wide import wide

ROOT = Path(__file__).parent.parent
PACKAGES = ("rl", "rewards", "policies", "cluster")
OTHERS = ("tests", "benchmarks", "examples", "install")  # not in the wheel
PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
MAX_LINES, MAX_FUNCTION_LINES, MAX_FILES = 400, 60, 18
MAX_WEIGHT_BYTES = 12 * 1000 * 1000
RECIPES = recipe_names()


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


def imports_of(code: str, modules: Collection[str], name: str = "") -> set[str]:
    """The modules that the code of module ``name`` imports, also inside functions and for types alone, with the packages that
    Python imports on the way there."""
    found = direct_imports(code, modules)
    on_the_way = {".".join(each.split(".")[:depth]) for each in found for depth in range(1, each.count(".") + 1)}
    return found | {package for package in on_the_way & set(modules) if not f"{name}.".startswith(f"{package}.")}


def direct_imports(code: str, modules: Collection[str]) -> set[str]:
    found = set()
    for node in ast.walk(ast.parse(code)):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names} & set(modules)
        elif isinstance(node, ast.ImportFrom) and node.module:
            for alias in node.names:
                full = f"{node.module}.{alias.name}"
                found |= {full if full in modules else node.module} & set(modules)
    return found


def circles(code_of: Mapping[str, str]) -> list[list[str]]:
    """Groups of modules that import each other, directly or through others. code_of: module -> its code."""
    reaches = {name: imports_of(code, code_of, name) - {name} for name, code in code_of.items()}
    for middle in reaches:  # Warshall: everything that can be reached
        for name, found in reaches.items():
            if middle in found:
                reaches[name] = found | reaches[middle]
    groups = {tuple(sorted(each for each in found if name in reaches[each])) for name, found in reaches.items()}
    return sorted(list(group) for group in groups if group)


def test_no_import_goes_in_a_circle() -> None:
    code_of = {}
    for path in package_files("*.py"):
        name = ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
        code_of[name] = path.read_text()
    assert circles(code_of) == []


def test_a_circle_is_found_also_inside_a_function() -> None:
    code_of = {
        "a": "from b import thing",
        "b": "def f():\n    import c",
        "c": "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from a import x",
        "d": "import a",
    }
    assert circles(code_of) == [["a", "b", "c"]]


def test_a_circle_through_a_packages_own_file_is_found() -> None:
    code_of = {
        "a": "import b.deep",
        "b": "from c import thing",
        "b.deep": "",
        "c": "import a",
        "b.other": "import b.deep",
    }
    assert circles(code_of) == [["a", "b", "c"]]


def test_the_product_imports_no_benchmarks_and_no_tests() -> None:
    outside = {"benchmarks", "tests"}
    named = {
        str(path.relative_to(ROOT))
        for path in package_files("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Import | ast.ImportFrom)
        for name in ([node.module or ""] if isinstance(node, ast.ImportFrom) else [alias.name for alias in node.names])
        if name.partition(".")[0] in outside
    }
    assert not named


def test_no_folder_is_a_corridor() -> None:
    counts = Counter(str(path.parent.relative_to(ROOT)) for path in package_files("*.py"))
    assert not {folder: count for folder, count in counts.items() if count > MAX_FILES}


def test_no_function_is_long() -> None:
    functions = {
        f"{path.relative_to(ROOT)}:{node.name}": (node.end_lineno or node.lineno) - node.lineno + 1
        for path in package_files("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    }
    assert not {name: lines for name, lines in functions.items() if lines > MAX_FUNCTION_LINES}


def test_no_file_is_long() -> None:
    paths = [path for folder in (*PACKAGES, *OTHERS) for path in (ROOT / folder).rglob("*.py")]
    lengths = {str(path.relative_to(ROOT)): len(path.read_text().splitlines()) for path in paths}
    assert all(any(name.startswith(f"{folder}/") for name in lengths) for folder in (*PACKAGES, *OTHERS))
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


@pytest.mark.parametrize("recipe", wide(RECIPES, 10))
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
