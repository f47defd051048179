"""Rollouts ahead of the learner: how far, at which weights, and what a checkpoint cuts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cluster.run.session import session
from rl.ahead import RolloutAhead
from rl.config import Config, RolloutConfig
from rl.errors import ConfigError
from rl.protocols import Learner
from rl.types import Group, Prompt, WeightRef
from tests.cluster.runs import make_config, run
from tests.toys import toy_text_prompt


class Ledger:
    """Keeps book of batches alone; their groups are empty."""

    def __init__(self) -> None:
        self.begun: dict[int, tuple[str, int, int]] = {}  # number: first prompt, weight version, seed
        self.open: set[int] = set()
        self.most_open = 0

    def begin(self, prompts: Sequence[Prompt], weights: WeightRef, seed: int, *, evaluate: bool = False) -> int:
        number = len(self.begun)
        self.begun[number] = (prompts[0].id, weights.version, seed)
        self.open.add(number)
        self.most_open = max(self.most_open, len(self.open))
        return number

    def finish(self, number: int) -> list[Group]:
        self.open.remove(number)
        return []

    def cancel(self) -> None:
        self.open.clear()

    def timings(self) -> Mapping[str, float]:
        return {}

    def update_weights(self, learner: Learner, version: int) -> WeightRef:
        raise AssertionError("not the sampler's business")

    def rollout_and_score(self, *args: Any, **options: Any) -> list[Group]:
        raise AssertionError("a whole step at once is not ahead")

    def close(self) -> None: ...


class Counter:
    """A stream whose prompts are numbered."""

    def __init__(self) -> None:
        self.drawn = 0

    def next(self, count: int, /) -> list[Prompt]:
        first, self.drawn = self.drawn, self.drawn + count
        return [toy_text_prompt(first + index) for index in range(count)]

    def state(self) -> dict[str, Any]:
        return {"drawn": self.drawn}

    def restore(self, state: Mapping[str, Any]) -> None:
        self.drawn = state["drawn"]


@given(staleness=st.integers(1, 5), steps=st.integers(1, 20), save_freq=st.integers(0, 7))
def test_no_batch_is_lost_or_done_twice_or_too_old(staleness: int, steps: int, save_freq: int) -> None:
    config = Config(steps=steps, max_staleness=staleness, save_freq=save_freq, rollout=RolloutConfig(batch_size=2))
    ledger, stream = Ledger(), Counter()
    ahead = RolloutAhead(ledger, stream, config)
    for step in range(steps):
        assert ahead.position() == {"drawn": 2 * step}  # as if nothing were ahead
        ahead.take(WeightRef(step, ""), step)
        if save_freq and (step + 1) % save_freq == 0:
            assert not ledger.open  # a resumed run has nothing in hand either
    assert [first for first, _, _ in ledger.begun.values()] == [f"toy/text/{2 * step}" for step in range(steps)]
    ages = [step - version for step, (_, version, _) in enumerate(ledger.begun.values())]
    since_save = [step % save_freq if save_freq else step for step in range(steps)]
    assert ages == [min(staleness, since) for since in since_save]
    assert ledger.most_open <= staleness + 1
    assert len({seed for _, _, seed in ledger.begun.values()}) == steps


def test_what_is_dropped_is_sampled_again(tmp_path: Path) -> None:
    config = Config(steps=9, max_staleness=2, rollout=RolloutConfig(batch_size=2))
    ledger, stream = Ledger(), Counter()
    ahead = RolloutAhead(ledger, stream, config)
    ahead.take(WeightRef(0, ""), 0)
    stream.drawn = ahead.position()["drawn"]
    ahead.drop()
    assert not ledger.open
    ahead.take(WeightRef(1, ""), 1)
    assert ledger.begun[3] == ("toy/text/2", 1, ledger.begun[1][2])  # the same prompts and noise, at newer weights


def test_a_run_ahead_says_how_far_and_resumes_to_the_same_bits(tmp_path: Path) -> None:
    settings = (
        "max_staleness=1",
        "save_freq=2",
        "keep_checkpoints=9",
        "learner.engine=torch",
        "val_before_train=false",
    )
    whole = make_config(tmp_path, *settings, "name=whole", "steps=4")
    with session(whole) as parts:
        expected, straight = run(whole, parts.workers, parts.learner)
    assert [straight.logged[step]["staleness/mean"] for step in (1, 2, 3, 4)] == [0, 1, 0, 1]
    middle = tmp_path / "whole" / "checkpoints" / "global_step_2"
    rest = make_config(tmp_path, *settings, "name=rest", "steps=4", "resume_mode=path", f"resume_path={middle}")
    with session(rest) as parts:
        resumed, _ = run(rest, parts.workers, parts.learner)
    assert resumed.weights == expected.weights
    on_policy = make_config(tmp_path, *settings, "max_staleness=0", "name=on-policy", "steps=4")
    with session(on_policy) as parts:
        other, _ = run(on_policy, parts.workers, parts.learner)
    assert other.weights != expected.weights


def test_ahead_and_dynamic_sampling_exclude_each_other(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="max_staleness=1 with rollout.max_gen_batches=2: .*set one of them"):
        make_config(tmp_path, "max_staleness=1", "rollout.max_gen_batches=2")
