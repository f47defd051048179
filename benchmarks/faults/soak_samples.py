"""What the samples of a long run say: growth of each kind of process after the warm-up, drift of a step, and what was left."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

MEMORY, DRIFT = 0.05, 0.10  # most growth, as a share
SLACK = 2  # files, sockets or threads that come and go: a log that is turned over, a connection that is renewed
COUNTS = ("files", "sockets", "threads", "processes")
LEAST = 6  # samples of a start that something is said of
EDGE = 5  # a fifth of the samples on each side is compared


@dataclass(frozen=True, slots=True)
class Sample:
    """start: how often the run was started before. step: being made. kinds: name of a process -> sums over those of the name:
    ``pss`` bytes, ``files``, ``sockets``, ``threads``, ``processes``. segments: files in /dev/shm."""

    start: int
    time: float
    step: int
    kinds: Mapping[str, Mapping[str, float]]
    segments: int


@dataclass(frozen=True, slots=True)
class Growth:
    """Of one kind of process in one start: medians at both ends, after the warm-up."""

    start: int
    kind: str
    what: str
    first: float
    last: float

    @property
    def share(self) -> float:
        return (self.last - self.first) / self.first if self.first else 0.0

    @property
    def flat(self) -> bool:
        return self.share <= MEMORY if self.what == "pss" else self.last <= self.first + SLACK


def growths(samples: Sequence[Sample], warm: int) -> list[Growth]:
    """Of the kinds that are there from the end of the warm-up to the end. warm: first steps of a start that are left out."""
    return [growth for start in sorted({each.start for each in samples}) for growth in _of_start(samples, start, warm)]


def _of_start(samples: Sequence[Sample], start: int, warm: int) -> Iterator[Growth]:
    own = [each for each in samples if each.start == start]
    if not own:
        return
    began = own[0].step
    settled = [each for each in own if each.step >= began + warm]
    if len(settled) < LEAST:
        return
    size = max(1, len(settled) // EDGE)
    ends = settled[:size], settled[-size:]
    for kind in sorted(set.intersection(*(set(each.kinds) for end in ends for each in end))):
        for what in ("pss", *COUNTS):
            yield Growth(start, kind, what, *(median(each.kinds[kind][what] for each in end) for end in ends))
    yield Growth(start, "/dev/shm", "segments", *(median(each.segments for each in end) for end in ends))


def drift(step_s: Sequence[float], warm: int) -> float | None:
    """Of a step's median, from the first third after the warm-up to the last; None where there are too few."""
    settled = step_s[warm:]
    third = len(settled) // 3
    if third < 3:
        return None
    return median(settled[-third:]) / median(settled[:third]) - 1


def judged(
    samples: Sequence[Sample], step_s: Sequence[float], warm: int, left: Sequence[str], segments_left: int
) -> dict[str, Any]:
    """left: processes that were there when the run had ended. segments_left: files in /dev/shm beyond those before it."""
    found, moved = growths(samples, warm), drift(step_s, warm)
    problems = [f"{each.kind}: {each.what} {each.first:,.0f} to {each.last:,.0f}" for each in found if not each.flat]
    if moved is not None and moved > DRIFT:
        problems.append(f"a step takes {moved:.0%} longer at the end")
    problems += [f"left behind: {name}" for name in left]
    if segments_left > 0:
        problems.append(f"left behind: {segments_left} files in /dev/shm")
    return {
        "ok": not problems, "problems": problems, "samples": len(samples), "steps": len(step_s), "warm": warm,
        "step_drift": moved, "enough": bool(found) and moved is not None,
        "growths": [
            {"start": each.start, "kind": each.kind, "what": each.what, "first": each.first, "last": each.last, "flat": each.flat}
            for each in found
        ],
    }  # fmt: skip


def table(verdict: Mapping[str, Any]) -> str:
    """Markdown: a line a kind of process."""
    lines = ["| process | memory, MB | growth | open files | sockets | threads |", "|---|---|---|---|---|---|"]
    kinds = dict.fromkeys((each["start"], each["kind"]) for each in verdict["growths"] if each["what"] == "pss")
    for start, kind in kinds:
        own = {each["what"]: each for each in verdict["growths"] if (each["start"], each["kind"]) == (start, kind)}
        memory = own["pss"]
        share = memory["last"] / memory["first"] - 1 if memory["first"] else 0.0
        counts = " | ".join(
            f"{own[what]['first']:g} to {own[what]['last']:g}" for what in ("files", "sockets", "threads")
        )
        lines.append(
            f"| {kind} | {memory['first'] / 1e6:.0f} to {memory['last'] / 1e6:.0f} | {share:+.1%} | {counts} |"
        )
    moved = verdict["step_drift"]
    drifted = "too few steps to say" if moved is None else f"{moved:+.1%}"
    said = "; ".join(verdict["problems"]) or ("nothing grew" if verdict["enough"] else "too few samples to say")
    return "\n".join(
        [*lines, "", f"Step time: {drifted}. {verdict['steps']} steps, {verdict['samples']} samples: {said}."]
    )


def plot(samples: Sequence[Sample], step_s: Sequence[float], file: Path, least_bytes: float = 20e6) -> None:
    """Memory of each kind of process, open files and threads of all, and seconds of a step, over steps."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 8), layout="constrained")
    memory, counts, seconds = figure.subplots(3, 1)
    kinds = sorted({kind for each in samples for kind in each.kinds})
    for kind in kinds:
        points = [(each.step, each.kinds[kind]["pss"]) for each in samples if kind in each.kinds]
        if max(size for _, size in points) >= least_bytes:
            memory.plot([step for step, _ in points], [size / 1e6 for _, size in points], label=kind, linewidth=1)
    memory.set_ylabel("MB")
    memory.legend(fontsize=7)
    for what in COUNTS:
        total = [sum(kind[what] for kind in each.kinds.values()) for each in samples]
        counts.plot([each.step for each in samples], total, label=what, linewidth=1)
    counts.plot([each.step for each in samples], [each.segments for each in samples], label="/dev/shm", linewidth=1)
    counts.set_yscale("symlog")
    counts.legend(fontsize=7)
    seconds.plot(range(1, len(step_s) + 1), step_s, linewidth=0.7)
    seconds.set_ylabel("seconds of a step")
    seconds.set_xlabel("step")
    figure.savefig(file, dpi=110)
