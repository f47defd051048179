"""``unigrpo eval``: one held-out evaluation of a policy, whose rows go to disk as they come."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from cluster.run.provenance import device_name, provenance
from rl.config import Config
from rl.evaluation import evaluation_seed, stream, summarise
from rl.layouts import LAYOUTS
from rl.layouts.base import DRAWN, Layout
from rl.protocols import Tracker
from rl.tracking.failures import require_scores
from rl.tracking.intervals import Interval, intervals
from rl.tracking.rows import RowsWriter
from rl.tracking.samples import MAX_DRAWINGS, MAX_TEXTS
from rl.types import Group, Prompt

LAYOUT_FOLDER = "layout"
LEAST_BATCH, BATCHES_A_WORKER = 16, 8  # prompts that are in hand together


@dataclass(frozen=True, slots=True)
class Held:
    """What came of it. facts: for summary.json. notes: lines for the person in front of it. rows: the file with all of them."""

    metrics: Mapping[str, float]
    sure: Mapping[str, Interval]
    digest: str
    rows: Path
    facts: Mapping[str, Any]
    notes: Sequence[str]


def for_evaluation(config: Config) -> Config:
    """The config of the command: as many samples as ``evaluation.n_samples`` says."""
    part = config.evaluation
    return replace(config, evaluation=replace(part, n_samples_per_prompt=part.n_samples or part.n_samples_per_prompt))


def make_layout(config: Config, prompts: Sequence[Prompt]) -> Layout | None:
    """Raises DataError where a prompt has no place in it, ConfigError where none draws. Touches no file."""
    name = config.evaluation.layout
    if name is None:
        return None
    drawn = [prompt for prompt in prompts if prompt.task in DRAWN]
    if not drawn:
        from rl.errors import ConfigError

        raise ConfigError(f"evaluation.layout={name}: no held-out row draws; give data.val rows with task draw")
    return LAYOUTS[name](config.run_dir / LAYOUT_FOLDER / name, drawn)


def held_out(config: Config, prompts: Sequence[Prompt], tracker: Tracker) -> Held:
    """Sample and score all prompts at the weights of ``policy.path``. At most two batches of generations are held at once.

    Raises TrainingError where nothing could be scored.
    """
    from cluster.evaluate.several import SeveralSamples
    from cluster.run.session import session
    from cluster.weights.digest import sha256

    layout, several = make_layout(config, prompts), SeveralSamples(config.evaluation.n_samples_per_prompt)
    kept = _Kept()
    with session(config, train=False) as parts, RowsWriter(config.run_dir) as rows:
        weights = parts.workers.update_weights(parts.learner, 0)
        device, batch = device_name(config), max(LEAST_BATCH, BATCHES_A_WORKER * config.cluster.rollout_workers)
        tracker.phase(f"evaluating {len(prompts):,} held-out prompts")
        for groups in stream(parts.workers, prompts, weights, evaluation_seed(config.seed), batch):
            rows.write(groups)
            for group in groups:
                several.add(group)
                kept.add(group, layout)
            tracker.phase(f"evaluated {len(kept.groups):,} of {len(prompts):,} held-out prompts")
        digest = sha256(parts.learner.weights())
    metrics = summarise(kept.groups)
    tracker.log(0, metrics)
    tracker.samples(0, kept.groups, "val")
    require_scores(kept.groups, f"the evaluation of {len(prompts)} held-out prompts")
    at_k, notes = several.results()
    if layout is not None:
        notes.append(layout.scorer())
    facts = {**at_k, **provenance(config, prompts, device)}
    return Held(metrics, intervals(kept.groups), digest, rows.path, facts, notes)


@dataclass
class _Kept:
    """Groups without their generations, but for the first few, which people look at."""

    groups: list[Group] = field(default_factory=list)
    _texts: Counter[str] = field(default_factory=Counter)
    _drawings: int = 0
    _drawn: int = 0

    def add(self, group: Group, layout: Layout | None) -> None:
        pictures = [each.image for each in group.rollouts if each.image is not None]
        if group.prompt.task in DRAWN:
            if layout is not None:
                layout.write(self._drawn, group.prompt, pictures)
            self._drawn += 1
        looked_at = self._drawings < MAX_DRAWINGS if pictures else self._texts[group.prompt.source] < MAX_TEXTS
        if pictures:
            self._drawings += 1
        else:
            self._texts[group.prompt.source] += 1
        self.groups.append(replace(group, rollouts=group.rollouts[:1] if looked_at else ()))
