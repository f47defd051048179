"""Part of a group that is all wrong is sampled again with hints, and what is better takes the place of what was wrong."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from rl.advantages import scores_differ
from rl.config import Config
from rl.config.sections import HintsConfig
from rl.hints.given import has_source
from rl.protocols import Workers
from rl.seeds import derive_seed
from rl.types import Group, WeightRef

METRICS = "rollout/hints/"


@dataclass(frozen=True, slots=True)
class Hinted:
    """groups   in their order
    timings  seconds and counts by metric name, which add up over a step's batches of prompts
    """

    groups: Sequence[Group]
    timings: Mapping[str, float]


def all_wrong(group: Group, settings: HintsConfig) -> bool:
    """Its scores are all equal, and below ``settings.below``."""
    return group.usable and not scores_differ(group) and group.scores[0].value < settings.below


def with_hints(
    groups: Sequence[Group], workers: Workers, weights: WeightRef, config: Config, step: int, batch: int
) -> Hinted:
    """The groups, with hinted rollouts in those that were all wrong and that have something to give away.

    step, batch: which of a step's batches of prompts these are, for the seeds. The weights are those that sampled the groups,
    so that the batch is as on-policy as it was.
    """
    settings = config.rollout.hints
    wrong = [place for place, group in enumerate(groups) if all_wrong(group, settings)]
    asked = [place for place in wrong if has_source(groups[place].prompt)]
    done, timings, taken = list(groups), {}, 0
    if asked:
        prompts = [replace(groups[place].prompt, hinted=_members(groups[place], settings)) for place in asked]
        seed = derive_seed(config.seed, "hints", step, batch)
        again = workers.rollout_and_score(prompts, weights, seed)
        timings = dict(workers.timings())
        for place, group in zip(asked, again, strict=True):
            done[place], count = merged(groups[place], group)
            taken += count
    left = sum(all_wrong(group, settings) for group in done)
    counts = {"groups": len(groups), "all_wrong_before": len(wrong), "all_wrong_after": left, "rollouts": taken}
    return Hinted(done, {**timings, **{f"{METRICS}{name}": float(count) for name, count in counts.items()}})


def in_shares(timings: Mapping[str, float]) -> dict[str, float]:
    """A step's sums of timings, with shares of its groups in the place of their counts."""
    found = dict(timings)
    groups = found.pop(f"{METRICS}groups", None)
    if groups:
        for name in ("all_wrong_before", "all_wrong_after"):
            found[METRICS + name] /= groups
    return found


def merged(group: Group, hinted: Group) -> tuple[Group, int]:
    """The group with every hinted rollout that scored better than it in the place of one of its last; how many these are."""
    common = group.scores[0].value
    found = zip(hinted.rollouts, hinted.scores, strict=True)
    better = [(rollout, score) for rollout, score in found if score.usable and score.value > common]
    keep = len(group.rollouts) - len(better)
    rollouts = [replace(rollout, index=keep + place) for place, (rollout, _) in enumerate(better)]
    return replace(
        group,
        rollouts=(*group.rollouts[:keep], *rollouts),
        scores=(*group.scores[:keep], *(score for _, score in better)),
    ), len(better)


def _members(group: Group, settings: HintsConfig) -> int:
    """At least one, and never the whole group."""
    count = len(group.rollouts)
    return min(count - 1, max(1, round(settings.share * count)))
