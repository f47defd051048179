"""A method's own learning rate and KL coefficient, found on training prompts by the same small budget for each.

First the learning rate, with the method's published KL coefficient; then the coefficient, at the best rate. A trial is a run
of ``benchmarks.learning.compare`` whose evaluation reads training prompts, with a seed that no other run has. The best is that
of the highest mean score over the tasks. One line of JSON a trial goes to ``tuning.jsonl``; what is in it is not run again.
"""

from __future__ import annotations

import json
import statistics
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from benchmarks.learning.compare import Comparison

TUNING_FILE = "tuning.jsonl"
RATES, COEFFICIENTS = (0.5, 1.0, 2.0, 4.0), (0.0, 0.01, 0.04)  # times the recipe's rate; each beside the published one
SEED, PROMPTS = 1000, 150


def settings(comparison: Comparison, methods: Sequence[str], budget: float) -> dict[str, tuple[str, ...]]:
    """Of each method the two settings, as overrides. budget: CPU-seconds of a trial."""
    return {method: best(comparison, method, steps) for method, steps in comparison.steps(methods, budget).items()}


def best(comparison: Comparison, method: str, steps: int) -> tuple[str, ...]:
    published = comparison.config(method, SEED).learner
    rates = [published.lr * times for times in RATES]
    rate = max(rates, key=lambda lr: trial(comparison, method, steps, lr, published.algorithm.kl_coef))
    coefficients = sorted({published.algorithm.kl_coef, *COEFFICIENTS})
    coefficient = max(coefficients, key=lambda kl_coef: trial(comparison, method, steps, rate, kl_coef))
    return overrides(rate, coefficient)


def overrides(rate: float, coefficient: float) -> tuple[str, ...]:
    return f"learner.lr={rate:g}", f"learner.algorithm.kl_coef={coefficient:g}"


def trial(comparison: Comparison, method: str, steps: int, rate: float, coefficient: float) -> float:
    """Mean score over the tasks after so many steps, on training prompts, 0..1."""
    key = {"method": method, "steps": steps, "lr": rate, "kl_coef": coefficient}
    found = next((line["score"] for line in _kept(comparison) if key.items() <= line.items()), None)
    if found is not None:
        return found
    from benchmarks.learning.compare import run

    given = comparison.config(
        method, SEED, f"steps={steps}", *overrides(rate, coefficient), *training_prompts(comparison)
    )
    after = run(given)[0].after
    scores = {name: value for name, value in after.items() if name.startswith("val/") and name.endswith("/score")}
    line = {**key, "score": statistics.mean(scores.values()), "scores": scores}
    with (comparison.out / TUNING_FILE).open("a", encoding="utf-8") as file:
        file.write(json.dumps(line) + "\n")
    return line["score"]


def training_prompts(comparison: Comparison) -> tuple[str, ...]:
    """The recipe's training sources in the place of its held-out ones: so many prompts of each, left out of training then."""
    train = comparison.config(None, SEED).data.train
    total = {
        name: sum(each.weight for each in train if each.source == name) for name in {each.source for each in train}
    }
    rows = (
        f"{{source: {each.source}, split: {each.split}, limit: {round(PROMPTS * each.weight / total[each.source])}, "
        f"args: {json.dumps(dict(each.args))}}}"
        for each in train
    )
    return f"data.val=[{', '.join(rows)}]", "data.on_overlap=drop", "evaluation.n_samples_per_prompt=2"


def _kept(comparison: Comparison) -> list[dict[str, Any]]:
    file = comparison.out / TUNING_FILE
    return [json.loads(line) for line in file.read_text("utf-8").splitlines()] if file.is_file() else []
