"""ZeRO stage 3 on two and three ranks: the same losses as one rank, whatever passes a rank's own rollouts need."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path

import pytest

from benchmarks.parity.ranks import fork_ranks
from benchmarks.parity.sharded import cases
from rl.estimators import ESTIMATORS
from rl.objectives import OBJECTIVES

# Each objective, what changes the passes of a rank (how many, equal masks, some that score nothing), and each kind of network.
# All estimators with all lengths are in tests/rl/learner/test_agreed_passes.py, where a rank is a thread.
SHORT = (
    "coupled-wd1", "elbo_stratified-dpo", "left_to_right-policy_gradient", "trajectory-lora", "coupled-stale", "coupled-blocks",
    "masked-experts",
)  # fmt: skip


def losses(tmp_path: Path, *arguments: str) -> list[dict]:
    """In a process of its own: its ranks are forked, and torch.distributed starts once a process."""
    out = tmp_path / "sharded.json"
    command = [sys.executable, "-m", "benchmarks.parity.sharded", *arguments, "--out", str(out)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=1800, cwd=Path(__file__).parents[2])
    assert done.returncode == 0, done.stderr[-2000:] + done.stdout[-2000:]
    return json.loads(out.read_text())["rows"]


@pytest.mark.long
@pytest.mark.timeout(900)
def test_ranks_agree_on_their_passes(tmp_path: Path) -> None:
    rows = losses(tmp_path, "--short", "--ranks", "2", "--case", *(f"{name}$" for name in SHORT))
    assert {row["case"] for row in rows} == set(SHORT)
    for row in rows:
        assert row["loss_error"] <= 1e-5, row["case"]
        assert len({loss for loss, *_ in row["losses"]}) == 2, "two steps that differ"


@pytest.mark.long
@pytest.mark.timeout(3600)
def test_every_case_on_two_and_three_ranks(tmp_path: Path) -> None:
    rows = losses(tmp_path)
    assert len(rows) == 2 * len(cases())
    assert max(row["loss_error"] for row in rows) <= 1e-5


def test_every_estimator_meets_every_objective() -> None:
    names = {case.name for case in cases()}
    assert names >= {f"{one}-{two}" for one in ESTIMATORS for two in OBJECTIVES}
    assert names >= set(SHORT)


def test_a_rank_that_fails_or_waits_is_an_error() -> None:
    def fails(rank: int) -> None:
        if rank:
            raise ValueError("on purpose")
        time.sleep(600)  # for a rank that is gone

    with pytest.raises(RuntimeError, match="rank 1 of 2 failed"):
        fork_ranks(2, fails, 60.0)
    with pytest.raises(RuntimeError, match="1 of 1 ranks were not done in time"):
        fork_ranks(1, lambda rank: time.sleep(600), 0.2)
    fork_ranks(2, lambda rank: None, 60.0)
