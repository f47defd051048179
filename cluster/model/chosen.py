"""Which policies of a run become models: the final one, and the best by ``best_metric``."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from cluster.run.checkpoint import ADAPTER_FOLDER, POLICY_FOLDER
from rl.checkpoints.folder import FolderCheckpoints, steps_in
from rl.config import Config
from rl.tracking.metrics_file import read_metrics
from rl.tracking.report import read_summary

FINAL, BEST, BOTH, OFF = "final", "best", "both", "off"


@dataclass(frozen=True, slots=True)
class Chosen:
    """One policy. Example: ``Chosen(("best",), 160, Path("checkpoints/global_step_160/policy"), {"val/text/score": 0.4})``.

    roles   final, best or both
    step    after how many steps its weights are
    folder  of the policy; of a checkpoint that holds an adapter alone where ``adapted``
    scores  held-out scores that were measured at this step
    """

    roles: tuple[str, ...]
    step: int
    folder: Path
    scores: Mapping[str, float]
    adapted: bool = False


def chosen(config: Config) -> list[Chosen]:
    """The best, then the final one, so that the final one is the newest; one where they are the same step. Empty where the
    run has not ended."""
    wanted, summary = config.tracking.log_model, read_summary(config.run_dir)
    if wanted == OFF or summary is None:
        return []
    last, best = int(summary["steps"]), _best_step(config)
    found = []
    if wanted in (BEST, BOTH) and best is not None and best != last:
        found.append(_checkpoint(config, best))
    if (wanted in (FINAL, BOTH) or best == last) and (folder := config.run_dir / POLICY_FOLDER).is_dir():
        roles = tuple(role for role, holds in ((FINAL, wanted != BEST), (BEST, best == last)) if holds)
        found.append(Chosen(roles, last, folder, scores_at(config.run_dir, last)))
    return found


def scores_at(run_dir: Path, step: int) -> dict[str, float]:
    """Held-out scores of one step: ``val/text/score`` and the like."""
    found: dict[str, float] = {}
    for point in read_metrics(run_dir):
        if point.step == step:
            found |= {name: value for name, value in point.metrics.items() if _is_score(name)}
    return found


def _is_score(name: str) -> bool:
    return name.startswith("val/") and name.endswith("/score")


def _best_step(config: Config) -> int | None:
    """Of the checkpoints that are there."""
    best = FolderCheckpoints(config).best()
    return best[0] if best else None


def _checkpoint(config: Config, step: int) -> Chosen:
    folder = dict(steps_in(config.run_dir / "checkpoints"))[step]
    adapted = (folder / ADAPTER_FOLDER).is_dir()
    scores = scores_at(config.run_dir, step)
    return Chosen((BEST,), step, folder if adapted else folder / POLICY_FOLDER, scores, adapted)
