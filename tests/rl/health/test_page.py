"""The documentation page is made from the rules."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from rl.config import Config, build_config
from rl.errors import ConfigError
from rl.health import BUILT_IN, RULES
from rl.health.page import page

PAGE = Path(__file__).parents[3] / "docs" / "health.md"


def test_the_page_is_the_rules() -> None:
    assert PAGE.read_text("utf-8") == page(), "run: python -m rl.health.page > docs/health.md"
    assert re.findall(r"^## (\w+)$", page(), re.MULTILINE) == list(BUILT_IN)


@pytest.mark.parametrize("name", BUILT_IN)
def test_the_settings_that_a_rule_advises_exist(name: str) -> None:
    """learner.lr, rollout.max_gen_batches, ...: what a person is told to change can be changed."""
    for setting in re.findall(r"\b(?:learner|rollout|rewards|cluster)\.[a-z_.]+", RULES[name].do):
        found: object = Config()
        for part in setting.rstrip(".").split("."):
            assert hasattr(found, part), setting
            found = getattr(found, part)


def test_limits_and_rules_by_name() -> None:
    config = build_config([], ["health.limits.kl=2", "health.off=[hacking]"]).health
    assert config.limits == {"kl": 2.0} and config.off == ["hacking"]


@pytest.mark.parametrize(
    ("override", "told"),
    [
        ("health.limits.kll=2", "health.limits='kll': allowed: first_ratio, kl, .*; did you mean 'kl'?"),
        ("health.off=[hackin]", "health.off='hackin': allowed: .*; did you mean 'hacking'?"),
        ("health.limits.kl=-1", r"health.limits.kl=-1.0: must be a number, 0 or more"),
        ("health.limits.kl=.nan", "health.limits.kl=nan: must be a finite number"),
        ("health.limits.kl=low", "expected a number, got 'low'"),
        ("health.onn=false", "unknown setting 'health.onn'"),
    ],
)
def test_a_mistake_is_one_line(override: str, told: str) -> None:
    with pytest.raises(ConfigError, match=told.replace("?", r"\?")) as caught:
        build_config([], [override])
    assert "\n" not in str(caught.value)
