"""What a member is made of is looked at too: a function's arguments, a class's methods, and what a text names."""

# pyright: reportArgumentType=false
# What is broken on purpose is broken for the type checker too.

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
import torch

from cluster.weights.base import WIRES, WeightWire, Wire, open_wire
from policies.families.registry import FAMILIES
from policies.images.load import IMAGE_TOKENIZERS
from policies.samplers import CACHES, REMASKING, TEXT_SCHEDULES
from policies.samplers.remasking import Remasking
from policies.samplers.schedules import TextSchedule, uniform_counts
from rewards.registry import REWARDS, check_reward
from rewards.settings import RewardSettings, setting
from rl.config import UniGRPOConfig
from rl.errors import ConfigError, RewardError, UniGRPOError
from rl.estimators import ESTIMATORS, views_of
from rl.estimators.base import Estimator
from rl.health import RULES
from rl.layouts import LAYOUTS
from rl.masking import SCHEDULES, Schedule, timesteps
from rl.objectives import OBJECTIVES
from rl.objectives.base import Terms, loss_of
from rl.objectives.normalizers import NORMALIZERS, Normalizer
from rl.objectives.objective import Objective
from rl.registry import Registry
from rl.tasks import GENERATORS
from rl.tracking.further import TRACKERS, open_trackers
from rl.types import MaskDraw
from tests.outside.package import ROOT


class OneWay(WeightWire):
    def publish(self, payload, version): ...


class Deaf(OneWay):
    def receive(self): ...


class Choosy(OneWay):
    def __init__(self, folder): ...
    def receive(self, destination, ref, body): ...


class Whole(OneWay):
    def receive(self, destination, ref, body, more=None): ...


class Mute:
    def __init__(self, *given): ...


class Scoring:
    @classmethod
    def having(cls, **attributes):
        return type(cls.__name__, (cls,), attributes)

    def score(self, items): ...


class Undecorated(RewardSettings):
    word: str = setting("a word", "please")


class Unasked(Mute):
    def score(self): ...


class Proxy(Mute):
    def __getattr__(self, name): ...


def three(draw, step_map, config): ...


def lend(registry: Registry, name: str, member: object, monkeypatch: pytest.MonkeyPatch) -> None:
    """Register a member for one test."""
    monkeypatch.setattr(registry, "_targets", dict(registry._targets))
    monkeypatch.setattr(registry, "_found", dict(registry._found))
    registry.register(name, member)


def wire(transport: object) -> Wire:
    return Wire(transport, keeps_versions=True)


# Registry -> members with a part that is none, and what is said of it.
BROKEN = [
    (
        OBJECTIVES,
        lambda: Objective(lambda terms: None),
        "function=",
        "must take 2 arguments by place; it takes (terms)",
    ),
    (
        OBJECTIVES,
        lambda: Objective(lambda terms, config: None, lambda: 1),
        "advantages=",
        "must take 1 argument by place",
    ),
    (SCHEDULES, lambda: Schedule(lambda mu: [mu]), "timesteps=", "must take 4 arguments"),
    (SCHEDULES, lambda: Schedule([1]), "timesteps=[1]", "cannot be called"),
    (NORMALIZERS, lambda: Normalizer(3.0), "divisor=3.0", "cannot be called"),
    (ESTIMATORS, lambda: Estimator(lambda draw: None), "views=", "must take 3 arguments"),
    (ESTIMATORS, lambda: Estimator(None), "views=None", "cannot be called"),
    (ESTIMATORS, lambda: Estimator(three, lambda logp: logp), "combiner=", "must take 4 arguments"),
    (TEXT_SCHEDULES, lambda: TextSchedule(uniform_counts, uniform_counts), "shares=", "must take 1 argument"),
    (REMASKING, lambda: Remasking(lambda logits: logits), "confidence=", "must take 3 arguments"),
    (FAMILIES, lambda: replace(FAMILIES["llada"], layout=lambda prompt: prompt), "layout=", "must take 2 arguments"),
    (RULES, lambda: replace(RULES["kl"], measure=lambda: None), "measure=", "must take 1 argument"),
    (WIRES, lambda: wire(Mute), "transport=", "is not a subclass of cluster.weights.base.WeightWire"),
    (WIRES, lambda: wire(OneWay), "transport=", "has no method receive(self, destination, ref, body)"),
    (
        WIRES,
        lambda: wire(Deaf),
        "transport=",
        "has a method receive that must take 4 arguments by place; it takes (self)",
    ),
    (WIRES, lambda: wire(Choosy), "transport=", "must take 0 arguments by place; it takes (folder)"),
    (TRACKERS, lambda: Mute, "Mute", "has no method close(self, status)"),
    (LAYOUTS, lambda: Mute, "Mute", "has no method scorer(self)"),
    (CACHES, lambda: Mute, "Mute", "has no method fill(self, stop)"),
    (IMAGE_TOKENIZERS, lambda: Mute, "Mute", "has no method decode(self, codes)"),
    (REWARDS, lambda: Mute, "Mute", "has no method score(self, items)"),
    (
        REWARDS,
        lambda: Scoring.having(Settings=Mute),
        "Scoring",
        "must be a subclass of rewards.settings.RewardSettings",
    ),
    (REWARDS, lambda: Scoring.having(Settings=Undecorated), "Scoring", "without @dataclass(frozen=True, kw_only=True)"),
    (REWARDS, lambda: Scoring.having(largest="much"), "Scoring", "has largest='much'; must be a number, or None"),
    (REWARDS, lambda: Unasked, "Unasked", "has a method score that must take 2 arguments by place"),
]


@pytest.mark.parametrize(("registry", "make", "which", "said"), BROKEN)
def test_a_part_that_is_none_is_one_line_at_registration(registry: Registry, make, which: str, said: str) -> None:
    with pytest.raises(UniGRPOError) as caught:
        registry.register("broken", make())
    line = str(caught.value)
    assert line.startswith(f"{registry.kind} 'broken': ") and which in line and said in line and "\n" not in line
    assert line.endswith("docs/extending.md shows one") and "broken" not in registry


def test_what_cannot_be_told_is_let_through(monkeypatch: pytest.MonkeyPatch) -> None:
    """A class whose methods are another's, a method with more than it must take, and a function of torch's."""
    for registry, member in ((REWARDS, Proxy), (WIRES, wire(Whole)), (NORMALIZERS, Normalizer(torch.add))):
        lend(registry, "unusual", member, monkeypatch)


def test_a_check_that_leaves_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    @dataclass(frozen=True, kw_only=True)
    class Leaving(RewardSettings):
        def check(self) -> None:
            raise SystemExit(4)

    lend(REWARDS, "leaves", Scoring.having(Settings=Leaving), monkeypatch)
    with pytest.raises(RewardError, match="reward 'leaves': cannot be loaded: SystemExit: 4"):
        check_reward("leaves")


@pytest.mark.parametrize(
    ("registry", "member", "said"),
    [
        (OBJECTIVES, Objective("rl.no_such:loss"), "function=rl.no_such:loss cannot be imported: ModuleNotFoundError"),
        (OBJECTIVES, Objective("rl.losses"), "function=rl.losses cannot be imported: AttributeError"),
        (OBJECTIVES, Objective("math:floor"), "function=math:floor must take 2 arguments by place"),
        (ESTIMATORS, Estimator(three, "math:pi"), "combiner=math:pi cannot be called"),
        (WIRES, wire("cluster.weights.ipc:Gone"), "transport=cluster.weights.ipc:Gone cannot be imported"),
        (WIRES, wire("pathlib:Path"), "transport=pathlib:Path is not a subclass of"),
    ],
)
def test_what_a_part_names_is_looked_at_before_a_run(
    registry: Registry, member: object, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    lend(registry, "by_name", member, monkeypatch)
    assert registry["by_name"] is member, "it is not imported yet"
    with pytest.raises(ConfigError) as caught:
        registry.whole("by_name")
    assert str(caught.value).startswith(f"{registry.kind} 'by_name': {said}") and "\n" not in str(caught.value)


@pytest.mark.parametrize("registry", [OBJECTIVES, ESTIMATORS, SCHEDULES, NORMALIZERS, WIRES, CACHES, REMASKING])
def test_all_built_in_members_are_whole(registry: Registry) -> None:
    assert all(registry.whole(name) is registry[name] for name in registry)


@pytest.mark.parametrize("returned", [None, [], [1], [1, 2, 3], [0, 5], [1001, 5], [0.5, 0.5], "ab", np.array([1, 2])])
def test_a_schedule_that_gives_something_else_is_one_line(returned: object, monkeypatch: pytest.MonkeyPatch) -> None:
    lend(SCHEDULES, "odd", Schedule(lambda mu, total, start, generator: returned), monkeypatch)
    with pytest.raises(ConfigError, match="schedule 'odd': returned .*; must be a list of 2 whole numbers, 1 to 1000"):
        timesteps("odd", 2, 0)


def fails(*given):
    return {}["no\nsuch"]


@pytest.mark.parametrize(
    ("views", "said"), [(three, "returned None; must be"), (fails, "a response of 3 tokens: KeyError: ")]
)
def test_an_estimator_that_fails_is_one_line(views, said: str, monkeypatch: pytest.MonkeyPatch) -> None:
    lend(ESTIMATORS, "odd", Estimator(views), monkeypatch)
    with pytest.raises(ConfigError, match=f"estimator 'odd': {said}") as caught:
        views_of("odd", MaskDraw(0, 0.5), np.arange(3), UniGRPOConfig())
    assert "\n" not in str(caught.value)


def test_a_schedule_that_fails_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    lend(SCHEDULES, "odd", Schedule(fails), monkeypatch)
    with pytest.raises(ConfigError, match="schedule 'odd': with mu=2: KeyError: "):
        timesteps("odd", 2, 0)


def test_an_objective_that_gives_nothing_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    lend(OBJECTIVES, "nothing", Objective(lambda terms, config: None), monkeypatch)
    one = torch.ones(1, 2)
    terms = Terms(one, None, None, one[0, :1], one > 0, one[0, :1], one[0, :1], one[0, :1])
    with pytest.raises(ConfigError, match="objective 'nothing': returned None; must be rl.types.LossOutput"):
        loss_of(terms, UniGRPOConfig(objective="nothing"))


def _raises(split):
    raise RuntimeError("no such\nfile")


def _leaves(split):
    raise SystemExit(3)


@pytest.mark.parametrize(
    ("generate", "said"),
    [
        (_raises, "with split='train', args={}: RuntimeError: no such"),
        (_leaves, "SystemExit: 3"),
        (lambda split: None, "returned None; must be a list of rl.types.Prompt"),
        (lambda split: ["a", "b"], "returned ['a', 'b']; must be a list"),
        (Mute, "must be a list of rl.types.Prompt"),
    ],
)
def test_a_task_that_fails_is_one_line(generate, said: str, monkeypatch: pytest.MonkeyPatch) -> None:
    lend(GENERATORS, "odd", generate, monkeypatch)
    with pytest.raises(ConfigError) as caught:
        GENERATORS["odd"]("train")
    assert str(caught.value).startswith("data source odd: ") and said in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_wire_that_cannot_be_opened_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    class Full(Whole):
        def __init__(self) -> None:
            raise OSError("no room\nat all")

    lend(WIRES, "full", wire(Full), monkeypatch)
    with pytest.raises(ConfigError, match="weight wire 'full': cannot be opened: OSError: no room"):
        open_wire("full")


def test_a_tracker_that_cannot_be_made_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def make(run_dir, keep_until):
        raise OSError("no room\nat all")

    lend(TRACKERS, "full", make, monkeypatch)
    with pytest.raises(
        ConfigError, match="tracking.also=full: cannot be opened: OSError: no room; fix it, or leave it out"
    ):
        open_trackers(["full"], tmp_path, -1)


def test_the_contributors_page_names_every_registry() -> None:
    code = [
        path.read_text()
        for folder in ("rl", "policies", "rewards", "cluster")
        for path in (ROOT / folder).rglob("*.py")
    ]
    groups = {
        group for text in code for group in re.findall(r'\b(?:group=|GROUP = )"(unigrpo\.[a-z_]+)"(?!\)\[)', text)
    }
    shown = set(
        re.findall(r"\bunigrpo\.[a-z_]+\b", "".join(path.read_text() for path in (ROOT / "docs").glob("extending*.md")))
    )
    assert len(groups) > 12 and groups == shown
