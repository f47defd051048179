"""One registry a kind: members are imported when asked for, and come from a table, a call, or an installed package."""

from __future__ import annotations

import subprocess
import sys
from fractions import Fraction
from importlib.metadata import EntryPoint, EntryPoints
from pathlib import Path

import pytest

from rl.errors import ConfigError, RewardError
from rl.registry import Registry, taken_names


def make(**built_in: object) -> Registry:
    return Registry("gadget", built_in, group="unigrpo.gadgets")


def test_a_member_is_imported_when_it_is_first_asked_for() -> None:
    gadgets = make(lazy="rl.no_such_module:x", floor="math:floor")
    assert list(gadgets) == ["lazy", "floor"] and len(gadgets) == 2 and "lazy" in gadgets
    assert gadgets["floor"](2.5) == 2
    with pytest.raises(ConfigError, match="gadget 'lazy': rl.no_such_module:x cannot be imported: ModuleNotFoundError"):
        gadgets["lazy"]


def test_an_unknown_name_is_one_line_with_what_is_allowed() -> None:
    gadgets = make(floor="math:floor", ceil="math:ceil")
    with pytest.raises(ConfigError, match="learner.gadget='flor': allowed: floor, ceil; did you mean 'floor'"):
        gadgets.require("learner.gadget", "flor")
    with pytest.raises(RewardError):
        Registry("reward", {}, group="unigrpo.rewards", error=RewardError)["x"]


def test_a_name_is_taken_once() -> None:
    gadgets = make(floor="math:floor")
    gadgets.register("floor", "math:floor")
    with pytest.raises(ConfigError, match="gadget 'floor': already registered"):
        gadgets.register("floor", "math:ceil")

    gadgets.register("absolute", abs)
    assert gadgets["absolute"](-3) == 3


def test_a_config_of_built_in_choices_asks_no_installed_package() -> None:
    """Reading every package's entry points costs start-up time in each process of a run."""
    code = (
        "import importlib.metadata\n"
        "def asked(**options): raise AssertionError(options)\n"
        "importlib.metadata.entry_points = asked\n"
        "from rl.config import load_config\n"
        "load_config('tiny')\n"
    )
    root = Path(__file__).parents[2]
    done = subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    "first", ["", "import importlib_metadata\n"]
)  # the backport makes entry points of its own class
def test_an_installed_package_brings_a_member(tmp_path: Path, first: str) -> None:
    (tmp_path / "brought.py").write_text("def gadget(): return 'from outside'\n")
    information = tmp_path / "brought-1.dist-info"
    information.mkdir()
    (information / "METADATA").write_text("Metadata-Version: 2.1\nName: brought\nVersion: 1\n")
    (information / "entry_points.txt").write_text("[unigrpo.gadgets]\nmine = brought:gadget\nbroken = brought:none\n")
    code = (
        f"{first}from rl.registry import Registry\n"
        "found = Registry('gadget', {}, group='unigrpo.gadgets')\n"
        "print(sorted(found), found['mine']())\n"
        "try: found['broken']\n"
        "except ValueError as error: print(error)\n"
    )
    root = str(Path(__file__).parents[2])
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={"PYTHONPATH": f"{tmp_path}:{root}"},
        capture_output=True,
        text=True,
        check=True,
    )
    listed, broken = done.stdout.splitlines()
    assert listed == "['broken', 'mine'] from outside"
    assert broken.startswith("gadget 'broken': brought:none cannot be imported: AttributeError")
    assert broken.endswith("; it is of the package brought: install that again, or uninstall it")


def test_entry_points_are_read_once(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []

    def points(group: str) -> list[EntryPoint]:
        asked.append(group)
        return []

    monkeypatch.setattr("rl.registry.entry_points", points)
    gadgets = make(floor="math:floor")
    assert "x" not in gadgets and "y" not in gadgets and list(gadgets) == ["floor"]
    assert asked == ["unigrpo.gadgets"]


def test_a_member_of_another_class_is_one_line() -> None:
    numbers = Registry("number", {"one": Fraction(1), "floor": "math:floor"}, group="unigrpo.none", member=Fraction)
    assert numbers["one"] == 1
    with pytest.raises(
        ConfigError, match="number 'floor': math:floor is not an instance of fractions.Fraction; CONTRI"
    ):
        numbers["floor"]


def test_a_name_that_a_setting_takes_beside_the_members_asks_no_installed_package(monkeypatch) -> None:
    monkeypatch.setattr("rl.registry.entry_points", lambda **_: pytest.fail("asked"))
    make(floor="math:floor").require("gadget", "auto", "auto")


BODIES = {
    "raise RuntimeError('no GPU')": "RuntimeError: no GPU", "raise SystemExit(3)": "SystemExit: 3",
    "import lost_module": "ModuleNotFoundError",
    "raise ConfigError('set X')": "set X", "1 / 0": "ZeroDivisionError: division by zero", "x = (": "SyntaxError",
    "raise KeyError": "KeyError",
    "raise ValueError('a\\nb')": "ValueError: a", "import rl.nothing": "ModuleNotFoundError", "assert False": "AssertionError",
}  # fmt: skip


@pytest.mark.parametrize("body", BODIES)
def test_a_package_that_does_not_import_is_named_with_the_way_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, body: str
) -> None:
    (tmp_path / "bad_plugin.py").write_text(f"from rl.errors import ConfigError\n{body}\n")
    monkeypatch.syspath_prepend(tmp_path)
    points = [EntryPoint("mine", "bad_plugin:x", "unigrpo.gadgets")]
    monkeypatch.setattr("rl.registry.entry_points", lambda group: points)
    with pytest.raises(ConfigError) as caught:
        make()["mine"]
    line = str(caught.value)
    assert (
        line.startswith("gadget 'mine': bad_plugin:x cannot be imported: ")
        and BODIES[body] in line
        and "\n" not in line
    )
    assert "it is of the package bad_plugin: install that again, or uninstall it" in line
    sys.modules.pop("bad_plugin", None)


def test_a_name_that_is_taken_is_one_line_and_the_first_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    points = [
        EntryPoint("floor", "theirs:floor", "unigrpo.gadgets"), EntryPoint("new", "math:ceil", "unigrpo.gadgets"),
        EntryPoint("new", "math:trunc", "unigrpo.gadgets"), EntryPoint("new", "math:ceil", "unigrpo.gadgets"),
        EntryPoint("floor", "theirs:floor", "unigrpo.others"), EntryPoint("ceil", "math:ceil", "unigrpo.gadgets"),
    ]  # fmt: skip
    monkeypatch.setattr("rl.registry.entry_points", lambda **given: EntryPoints(points).select(**given))
    gadgets = make(floor="math:floor", ceil="math:ceil")
    assert gadgets["floor"](2.5) == 2 and gadgets["new"](2.5) == 3
    first, second = [line for line in taken_names() if line.startswith("gadget ")][-2:]
    assert first == (
        "gadget 'floor' of the package theirs (theirs:floor) is not used: unigrpo itself has one of that name; give its entry "
        "point another name"
    )
    assert "gadget 'new' of the package math (math:trunc) is not used: math has one of that name" in second


def test_nothing_of_this_environment_is_taken() -> None:
    assert [line for line in taken_names() if not line.startswith("gadget")] == []
