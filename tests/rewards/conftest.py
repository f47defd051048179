"""Rewards that a test brings, in a registry of its own."""

import pytest

from rewards.registry import BUILT_IN, GROUP
from rl.errors import RewardError
from rl.registry import Registry


@pytest.fixture
def registered(monkeypatch):
    """Call it with names and classes (or ``module:class``): for this test, these are rewards too."""

    def register(**members):
        rewards = Registry("reward", {**BUILT_IN, **members}, group=GROUP, error=RewardError)
        monkeypatch.setattr("rewards.registry.REWARDS", rewards)

    return register
