"""Algorithms at equal compute: what a run keeps, that it is not run again, and what the report says of it."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from benchmarks.learning import compare, tuning
from benchmarks.learning.compare import BEFORE, METHODS, Comparison, Meter, over_budget, paired, report
from rl.objectives import OBJECTIVES

SMALL = (
    "data.train=[{source: sudoku4x4, args: {size: 40}}]", "data.val=[{source: sudoku4x4, split: val, limit: 2}]",
    "rollout.batch_size=1", "rollout.n_samples_per_prompt=2", "rollout.n_samples_by_task={}",
    "rollout.text={max_new_tokens: 8, block_length: 4, steps: 2}", "learner.drop_equal_groups=false",
    "evaluation.text={max_new_tokens: 8, block_length: 4, steps: 2}",
)  # fmt: skip


@pytest.mark.long
def test_methods_differ_by_estimate_and_objective_alone() -> None:
    """Rewards, batches, sampling, optimizer and inner updates are one for all."""
    configs = [Comparison(Path(), "tiny").config(method, 3) for method in METHODS]
    algorithms = [config.learner.algorithm for config in configs]
    assert len({repr(algorithm) for algorithm in algorithms}) == len(METHODS)
    assert {algorithm.mu for algorithm in algorithms} == {2}
    assert len({repr((c.rollout, c.rewards, c.data, c.evaluation, c.learner.lr, c.seed)) for c in configs}) == 1
    spg = configs[list(METHODS).index("SPG")]
    blocks = {task: getattr(spg.rollout, task).block_length for task in ("text", "understand")}
    assert spg.learner.algorithm.spg_block_length == blocks, "the sampler's own"
    assert all(OBJECTIVES[algorithm.objective] for algorithm in algorithms)


def test_a_run_is_kept_and_not_run_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    comparison = Comparison(tmp_path, "tiny", SMALL)
    assert comparison.steps(["wd1"], 1e-9) == {"wd1": 1}, "at least one step"
    comparison.train("wd1", 1, 2)
    (before, run) = (json.loads(line) for line in (tmp_path / compare.RUNS_FILE).read_text().splitlines())
    assert (before["method"], run["method"], run["steps"], len(run["curve"])) == (BEFORE, "wd1", 2, 2)
    assert run["tasks"]["text"]["before"] == before["metrics"]["val/text/score"]
    assert run["cpu_s"] == pytest.approx(sum(step["cpu_s"] for step in run["curve"]), abs=0.06) and run["cpu_s"] > 0
    assert "rewards/text/mean" in run["curve"][0]
    monkeypatch.setattr(compare, "run", None)  # nothing may be trained, timed or evaluated again
    monkeypatch.setattr(compare, "evaluate", None)
    comparison.steps(["wd1"], 1.0)
    assert comparison.before(1) == before["metrics"]
    monkeypatch.setattr("sys.argv", ["compare", "--out", str(tmp_path), "--methods", "wd1", "--seeds", "1"])
    compare.main()
    assert len((tmp_path / compare.RUNS_FILE).read_text().splitlines()) == 2


def test_evaluation_is_no_part_of_the_budget() -> None:
    meter = Meter()
    meter.phase("evaluating before training")
    meter.log(0, {"val/text/score": 1.0})
    assert not meter.steps
    meter.phase("training")
    meter.log(1, {"rewards/text/mean": 0.5, "actor/lr": 1.0})
    meter.log(1, {"timing_s/save_checkpoint": 9.0})
    assert [set(step) for step in meter.steps] == [{"cpu_s", "rewards/text/mean"}]


def test_curves_share_a_grid_and_go_over_steps_without_the_task() -> None:
    quick = [{"cpu_s": 1.0, "r": float(step)} for step in range(10)]
    slow = [{"cpu_s": 2.0, "r": 10.0}, {"cpu_s": 2.0}]
    seconds, values = over_budget([quick, slow], "r")
    assert (seconds[0], seconds[-1]) == (2.0, 2.0) and values.shape == (2, 100)
    np.testing.assert_allclose(
        values[:, 0], [0.5, 10.0]
    )  # at 2 seconds the mean of the steps since 0 seconds: a fifth of 10


def test_the_report(tmp_path: Path) -> None:
    curve = [{"cpu_s": 1.0, "rewards/text/mean": 0.1}, {"cpu_s": 1.0, "rewards/text/mean": 0.2}]
    runs = {
        ("SPG", seed): {"method": "SPG", "seed": seed, "steps": 2, "cpu_s": 2.0, "curve": curve,
                        "tasks": {"text": {"before": 0.25, "after": after}}}
        for seed, after in ((0, 0.5), (1, 0.75))
    }  # fmt: skip
    lines = report(runs, tmp_path / "curves.png").splitlines()
    assert lines[0].startswith("| method |") and lines[2].startswith(
        "| SPG | 2 | text | 25.0 / 25.0 | 50.0 / 75.0 | +37.5"
    )
    assert lines[-1].endswith("SPG 2.") and (tmp_path / "curves.png").stat().st_size > 1000


def test_seeds_are_compared_with_themselves() -> None:
    def runs(*after: float) -> list[dict]:
        return [{"seed": seed, "tasks": {"text": {"before": 0.0, "after": score}}} for seed, score in enumerate(after)]

    found = paired({"a": runs(0.1, 0.5), "b": runs(0.2, 0.8), "c": runs(0.1)}).splitlines()
    assert found[2:] == ["| b | text | +20.0 | 10.0 | 2 of 2 |", "| c | text | +0.0 | one seed | 0 of 1 |"]


def test_the_rate_is_found_first_and_then_the_coefficient_at_it(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[float, float]] = []

    def score(_: Comparison, method: str, steps: int, rate: float, coefficient: float) -> float:
        asked.append((rate, coefficient))
        return -abs(rate - 3e-4) - abs(coefficient - 0.04)

    monkeypatch.setattr(tuning, "trial", score)
    assert tuning.best(Comparison(Path(), "tiny"), "wd1", 5) == ("learner.lr=0.0003", "learner.algorithm.kl_coef=0.04")
    assert [coefficient for _, coefficient in asked[: len(tuning.RATES)]] == [0.0] * 4, "wd1's own"
    assert {rate for rate, _ in asked[len(tuning.RATES) :]} == {3e-4}


def test_trials_read_training_prompts_and_are_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tuning, "PROMPTS", 2)
    comparison = Comparison(tmp_path, "tiny", SMALL)
    sources = comparison.config(None, 0, *tuning.training_prompts(comparison)).data.val
    assert [(source.source, source.split, source.args) for source in sources] == [("sudoku4x4", "train", {"size": 40})]
    score = tuning.trial(comparison, "wd1", 1, 1e-4, 0.0)
    assert 0 <= score <= 1
    monkeypatch.setattr(compare, "run", None)
    assert tuning.trial(comparison, "wd1", 1, 1e-4, 0.0) == score


def test_each_way_of_denoising_is_that_of_rollouts_and_evaluations() -> None:
    for name, steps in (("few", (4, 2, 1)), ("denoising", (12, 4, 4)), ("single", (36, 8, 36))):
        config = Comparison(Path(), "tiny", sampling=name).config("wd1", 0)
        for part in (config.rollout, config.evaluation):
            assert (part.text.steps, part.understand.steps, part.draw.steps) == steps
