"""One registry a kind: members are imported when asked for, and come from a table, a call, or an installed package."""

from __future__ import annotations

import math
import subprocess
import sys
from dataclasses import dataclass
from fractions import Fraction
from importlib.metadata import EntryPoint, EntryPoints
from pathlib import Path

import pytest

from cluster.weights.base import WIRES
from policies.families.registry import FAMILIES
from policies.images.load import IMAGE_TOKENIZERS
from policies.samplers import CACHES, REMASKING, TEXT_SCHEDULES, UNMASKING
from rewards.registry import REWARDS
from rl.errors import ConfigError, PolicyError, RewardError
from rl.estimators import ESTIMATORS
from rl.masking import SCHEDULES
from rl.objectives import OBJECTIVES
from rl.objectives.kl import KL_ESTIMATORS
from rl.objectives.normalizers import NORMALIZERS
from rl.registry import Registry, Takes, taken_names
from rl.tasks import GENERATORS


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
        ConfigError, match="number 'floor': math:floor is not an instance of fractions.Fraction; docs/extending.md"
    ):
        numbers["floor"]


@dataclass(frozen=True)
class Lookalike:
    """Has what a member has, and is none."""

    timesteps: object = None
    function: object = None
    confidence: object = None
    counts: object = None
    plan: object = None


# Registry, and by what is wrong with them: things that are no member of it.
KINDS: dict[str, tuple[Registry, list[tuple[object, str]]]] = {
    "objective": (OBJECTIVES, [
        (lambda terms, config: None, "is not an instance of rl.objectives.objective.Objective"),
        (type(OBJECTIVES["wd1"]), "is not an instance of"), (Lookalike(), "is not an instance of"), (None, "is not"),
    ]),
    "schedule": (SCHEDULES, [
        (lambda mu, total, start, generator: [1], "is not an instance of rl.masking.Schedule"),
        (Lookalike(), "is not an instance of"), ([0.1, 0.5], "is not an instance of"), (0.5, "0.5 is not an instance of"),
    ]),
    "normalizer": (NORMALIZERS, [(lambda mask, lengths, constant: 1, "Normalizer"), (Lookalike(), "Normalizer"), (7, "Norm")]),
    "KL estimator": (KL_ESTIMATORS, [
        (1.0, "cannot be called"), (lambda a, b: a, "must take 1 argument by place; it takes (a, b)"),
    ]),
    "estimator": (ESTIMATORS, [(lambda draw: None, "rl.estimators.base.Estimator"), (Lookalike(), "Estimator")]),
    "remasking rule": (REMASKING, [
        (lambda logits, probability, noise: noise, "is not an instance of policies.samplers.remasking.Remasking"),
        (Lookalike(), "Remasking"), (type(REMASKING["random"]), "Remasking"),
    ]),
    "unmasking schedule": (UNMASKING, [
        (0.5, "cannot be called"), ([1.0, 0.0], "cannot be called"), (lambda: 1.0, "must take 1 argument by place; it takes ()"),
        (lambda step, steps: step / steps, "it takes (step, steps)"),
    ]),
    "text schedule": (TEXT_SCHEDULES, [
        (lambda masks, steps: [masks], "policies.samplers.schedules.TextSchedule"), (Lookalike(), "TextSchedule"),
    ]),
    "cache": (CACHES, [
        (CACHES, "cannot be called"), (lambda policy, sampling: None, "must take 3 arguments"),
        (Fraction, "must take 3 arguments"),
    ]),
    "image tokenizer": (IMAGE_TOKENIZERS, [
        ("x".join, "must take 3 arguments"), (lambda folder: None, "it takes (folder)"), (Lookalike(), "cannot be called"),
    ]),
    "data source": (GENERATORS, [
        ([], "cannot be called"), (lambda: [], "must take 1 argument"), (Lookalike(), "cannot be called"),
    ]),
    "reward": (REWARDS, [({"name": "format"}, "cannot be called"), (0.5, "cannot be called"), (None, "None cannot be called")]),
    "family": (FAMILIES, [(Lookalike(), "policies.families.registry.Family"), (lambda config: None, "Family")]),
    "weight wire": (WIRES, [(Lookalike(), "cluster.weights.base.Wire"), (Lookalike, "Wire")]),
}  # fmt: skip
WRONG = [(kind, member, said) for kind, (_, members) in KINDS.items() for member, said in members]


@pytest.mark.parametrize(("kind", "member", "said"), WRONG)
def test_a_member_of_another_kind_is_one_line_at_registration(kind: str, member: object, said: str) -> None:
    registry = KINDS[kind][0]
    before = list(registry)
    with pytest.raises((ConfigError, RewardError, PolicyError)) as caught:
        registry.register("of_another_kind", member)
    line = str(caught.value)
    assert (
        line.startswith(f"{kind} 'of_another_kind': ") and said in line and line.endswith("docs/extending.md shows one")
    )
    assert "\n" not in line and len(line) < 300 and list(registry) == before


@pytest.mark.parametrize("kind", KINDS)
def test_a_text_that_names_another_kind_is_one_line_when_it_is_asked_for(
    kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    registry = KINDS[kind][0]
    monkeypatch.setattr(registry, "_targets", dict(registry._targets))
    registry.register("by_name", "math:pi")
    with pytest.raises((ConfigError, RewardError, PolicyError), match=f"{kind} 'by_name': math:pi (is not|cannot be)"):
        registry["by_name"]


@pytest.mark.parametrize("kind", KINDS)
def test_every_member_that_there_is_passes(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    registry = KINDS[kind][0]
    monkeypatch.setattr(registry, "_targets", dict(registry._targets))
    for name in [each for each in registry if each != "ocr"]:
        Registry.register(registry, f"again_{name}", Registry.__getitem__(registry, name))


def test_something_to_call_may_take_more_than_it_must() -> None:
    for found in (math.floor, lambda time: time, lambda time, base=2.0: time, lambda *all: all, Fraction, str):
        assert Takes(1).problem(found) == ""
    assert Takes(2).problem(lambda time: time) == "must take 2 arguments by place; it takes (time)"
    assert Takes().problem(lambda a, b, c: 0) == "" and Takes().problem(3) == "cannot be called"


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
