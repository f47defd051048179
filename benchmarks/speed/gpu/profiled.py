"""Where the time of the three slowest parts of the 8B step goes, by torch's profiler: a table a part."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch.profiler import ProfilerActivity, profile

from benchmarks.policy import FIRST_PLAIN
from benchmarks.speed.gpu.card import Card
from benchmarks.speed.gpu.found import Found
from benchmarks.speed.gpu.learning import batch_of, learner_of, with_updates
from benchmarks.speed.gpu.sampling import groups
from benchmarks.speed.gpu.work import LARGE, SMALL
from policies.samplers.text import sample_text
from rl.types import TextSampling

SHOWN, SLOWEST = 8, 3


@dataclass(frozen=True, slots=True)
class Part:
    """times: how often a step of the row that it stands for does it; its seconds are multiplied by that."""

    name: str
    once: Callable[[], object]
    times: float


def slowest(card: Card) -> Found:
    """Every part once, warmed up; then the slowest ones under the profiler."""
    parts, measured, tables = _parts(card), {}, dict[str, Any]()
    for part in parts:
        measured[part.name] = part.times * card.seconds(part.once, repeats=1)
    ranked = sorted(parts, key=lambda part: measured[part.name], reverse=True)
    for part in ranked[:SLOWEST]:
        tables[part.name] = table(card, part.once)
    return Found(measured, {"tables": tables})


def table(card: Card, once: Callable[[], object]) -> list[dict[str, Any]]:
    """The operators that take most of the device's own time: name, share of all of it, calls."""
    activities = [ProfilerActivity.CPU, *([ProfilerActivity.CUDA] if card.on_gpu else [])]
    with profile(activities=activities) as profiled:
        once()
        card.wait()
    events = [(event.key, _own(event, card.on_gpu), event.count) for event in profiled.key_averages()]
    total = sum(own for _, own, _ in events) or 1.0
    first = sorted(events, key=lambda event: event[1], reverse=True)[:SHOWN]
    return [{"operator": name[:80], "share": own / total, "calls": calls} for name, own, calls in first]


def _own(event: Any, on_gpu: bool) -> float:
    """Microseconds without those of what it calls."""
    return float(event.self_device_time_total if on_gpu else event.self_cpu_time_total)


def _parts(card: Card) -> list[Part]:
    """Short pieces of the large model's groups, and one update of the small model, whose whole step fits beside them."""
    work, policy = card.work, card.policy(LARGE)
    steps = max(2, work.text_steps // 8)
    short = replace(work, text_steps=steps, new_tokens=work.scored, image_steps=2)
    cases = groups(Card(short, card.device, card.dtype), policy)
    prompt = list(range(FIRST_PLAIN, FIRST_PLAIN + work.prompt))
    greedy = TextSampling(work.scored, work.scored, steps, temperature=0.0)
    ids = card.ids(work.published.micro_batch, work.prompt + work.new_tokens, policy.vocabulary.size)

    def scoring() -> None:
        with torch.no_grad():
            policy.head(policy.hidden(ids)[:, -work.scored :], image=False)

    small = card.policy(SMALL)
    batch = with_updates(batch_of(card, SMALL, work.micro_batch, 1), 1)

    def update() -> None:
        with learner_of(card, small, work.micro_batch, 1, "torch") as learner:
            learner.update(batch)

    blocks = work.text_steps / steps
    return [
        Part(f"{LARGE}: text", cases["text"], blocks),
        Part(f"{LARGE}: text, dual cache", cases["text, dual cache"], blocks),
        Part(f"{LARGE}: images", cases["images"], work.image_steps / 2),
        Part(f"{LARGE}: one greedy answer", lambda: sample_text(policy, prompt, greedy, [0]), blocks),
        Part(f"{LARGE}: a scoring pass", scoring, work.published.updates),
        Part(f"{SMALL}: an update of one micro-batch", update, work.rollouts / work.micro_batch * work.updates),
    ]
