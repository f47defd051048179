"""Mask ratios and mask patterns, as pure functions of seeds.

A response is masked at another ratio in each of the mu inner updates (arXiv 2505.15809, section 3.3 "UniGRPO" with its
algorithm 1, and section 5.2). A new schedule is one function and one registration.

Where a schedule is spread, many share its points: the prompts of a step, or the members of a group. Each update then covers
all ratios evenly, and so does each of those that share.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from rl.errors import ConfigError, UniGRPOError, one_line
from rl.registry import Registry, Takes, part
from rl.seeds import shuffled, uniforms
from rl.types import MaskDraw

NOBODY, PROMPTS, MEMBERS = "nobody", "prompts", "members"
FINE = 2**20  # timesteps where a response of any length has each of its counts about as often

# (mu, total, start or None, generator) -> mu timesteps, each 1..total
Timesteps = Callable[[int, int, int | None, np.random.Generator], list[int]]


@dataclass(frozen=True, slots=True)
class States:
    """How a mask takes the form of the states that the sampler went through (``rl.estimators.matched``).

    levels   as many tokens are hidden as at one of its steps; else any number is
    blocks   the mask lies in one of its blocks, what comes after that is hidden and not scored; else all is one block
    sampled  the hidden ones are those that the sampler revealed from that step on; else a random choice of as many
    """

    levels: bool = True
    blocks: bool = True
    sampled: bool = False


@dataclass(frozen=True, slots=True)
class Schedule:
    """How the inner updates of a response choose their mask ratios.

    uniform  ratios are independent and uniform over (0, 1], so that an average over them estimates the evidence lower
             bound, and each count of hidden tokens must be equally likely (LLaDA, arXiv 2502.09992, equation 6)
    spread   who shares the points of one circle: nobody (each prompt draws its start), the prompts of a step, or the
             members of a group
    states   masks are states of the sampler; None: any tokens of the response
    total    timesteps of the circle
    """

    timesteps: Timesteps = field(metadata=part(Takes(4)))
    uniform: bool = False
    spread: str = NOBODY
    states: States | None = None
    total: int = 1000


def _stratified(mu: int, total: int, start: int | None, generator: np.random.Generator) -> list[int]:
    """Section 5.2: steps of T/mu from the start, wrapping at T. T=1000, start 100, mu=5: 100, 300, 500, 700, 900."""
    first = _first(start, total, generator)
    # A timestep of 0 masks nothing; on the circle it is the same point as T, which masks everything.
    return [(first + n * total // mu) % total or total for n in range(mu)]


def _algorithm1(mu: int, total: int, start: int | None, generator: np.random.Generator) -> list[int]:
    """Algorithm 1: t_n = floor((n-1)/(mu-1) * (T-t_1) + t_1), in integers. mu=1 has no such line: it is t_1 alone."""
    first = _first(start, total, generator)
    return [first + n * (total - first) // max(1, mu - 1) for n in range(mu)]


def _random(mu: int, total: int, start: int | None, generator: np.random.Generator) -> list[int]:
    """Independent and uniform: the ablation that section 5.2 compares with."""
    _refuse_start("random", start)
    return [int(t) for t in generator.integers(1, total + 1, size=mu)]


def _middle(mu: int, total: int, start: int | None, generator: np.random.Generator) -> list[int]:
    """Independent and uniform over 0.2 to 0.8: what DiffuCoder's trainer (arXiv 2506.20639) draws for its pairs of masks,
    whose weights 1/t and 1/(1-t) would grow large at the ends."""
    _refuse_start("middle", start)
    return [int(t) for t in generator.integers(max(1, total // 5), max(1, total * 4 // 5) + 1, size=mu)]


def _stratified_middle(mu: int, total: int, start: int | None, generator: np.random.Generator) -> list[int]:
    """``_stratified``, squeezed into 0.2 to 0.8."""
    low, width = total // 5, total * 3 // 5
    return [max(1, low + -(-t * width // total)) for t in _stratified(mu, total, start, generator)]


def _full(mu: int, total: int, start: int | None, generator: np.random.Generator) -> list[int]:
    """Everything masked: d1's one-step estimate (arXiv 2504.12216), with the prompt left unmasked."""
    _refuse_start("full", start)
    return [total] * mu


SCHEDULES: Registry[Schedule] = Registry(
    "schedule",
    {
        "stratified": Schedule(_stratified),
        "algorithm1": Schedule(_algorithm1),
        "random": Schedule(_random, uniform=True),
        "middle": Schedule(_middle),
        "full": Schedule(_full),
        "group": Schedule(_stratified, spread=MEMBERS),
        "group_middle": Schedule(_stratified_middle, spread=MEMBERS),
        "matched": Schedule(_stratified, spread=PROMPTS, states=States(), total=FINE),
        "matched_order": Schedule(_stratified, spread=PROMPTS, states=States(sampled=True), total=FINE),
        "matched_levels": Schedule(_stratified, spread=PROMPTS, states=States(blocks=False), total=FINE),
        "matched_blocks": Schedule(_stratified, spread=PROMPTS, states=States(levels=False), total=FINE),
    },
    group="unigrpo.schedules",
    member=Schedule,
)


def timesteps(schedule: str, mu: int, seed: int, *, total: int = 1000, start: int | None = None) -> list[int]:
    """Timesteps of the mu inner updates, each 1..total, in the order of the updates.

    start  timestep of the first update; None draws it from the seed, uniform over 1..total. Only the schedules that
           have a starting point take one.

    Raises ConfigError.
    """
    SCHEDULES.require("schedule", schedule)
    if mu < 1:
        raise ConfigError(f"mu={mu}: must be 1 or more inner updates")
    if total < 1:
        raise ConfigError(f"total={total}: must be 1 or more timesteps")
    if start is not None and not 1 <= start <= total:
        raise ConfigError(f"start={start}: must be a timestep from 1 to {total}")
    generator = np.random.Generator(np.random.Philox(key=seed))
    try:
        found = SCHEDULES[schedule].timesteps(mu, total, start, generator)
    except UniGRPOError:
        raise
    except Exception as error:
        raise ConfigError(f"schedule {schedule!r}: with mu={mu}: {one_line(error)}") from error
    if (
        not isinstance(found, list)
        or len(found) != mu
        or not all(isinstance(t, int | np.integer) and 1 <= t <= total for t in found)
    ):
        raise ConfigError(
            f"schedule {schedule!r}: returned {found!r:.80}; must be a list of {mu} whole numbers, 1 to {total}"
        )
    return found


def mask_ratios(schedule: str, mu: int, seed: int, *, total: int = 1000, start: int | None = None) -> list[float]:
    """``timesteps`` as ratios t/T: how much of the response each inner update masks, 0 < ratio <= 1."""
    return [t / total for t in timesteps(schedule, mu, seed, total=total, start=start)]


def spread_starts(schedule: str, count: int, mu: int, seed: int) -> list[int | None]:
    """A starting point for each of ``count`` that share a spread schedule, in a random order; None where it is not spread.

    Point j is u + j / (count * mu) + (j mod mu) / mu on the circle, with one random u. Inner update n moves each by n / mu:
    all points of all updates together are a lattice of count * mu, and those of one update are spread over the whole circle.
    """
    chosen = SCHEDULES[schedule]
    if chosen.spread == NOBODY:
        return [None] * count
    where, bits = uniforms(seed, 1)
    points = [(where[0] + (j / count + j % mu) / mu) % 1.0 for j in range(count)]
    return [min(chosen.total, 1 + int(points[j] * chosen.total)) for j in shuffled(bits, count)]


def ratio_for(schedule: str, ratio: float, length: int) -> float:
    """The ratio for a response of ``length`` tokens. Where ratios are uniform, that of ceil(ratio * length) tokens: each of
    1..length is then as likely as the others. Rounding to the nearest gives 1 and 2 of 4 tokens chances of 3/8 and 1/4, and
    -3.38 nats become -3.04. Other schedules keep their ratios: ``mask_pattern`` rounds them."""
    return math.ceil(round(ratio * length, 9)) / length if SCHEDULES[schedule].uniform else ratio


def mask_pattern(draw: MaskDraw, length: int) -> np.ndarray:
    """Which of ``length`` response tokens are masked, bool [length].

    Exactly max(1, floor(ratio * length + 0.5)) of them, uniform over all such sets: never none, since an empty mask has
    no likelihood. Each position has a 64-bit key, the Philox counter's own output for the draw's seed (NumPy promises
    that stream across versions), and the smallest keys are masked. So under one seed a higher ratio masks a superset.
    """
    pattern = np.zeros(length, dtype=bool)
    if length:
        count = min(length, max(1, int(np.floor(draw.ratio * length + 0.5))))
        if count == length:
            pattern[:] = True
            return pattern
        pattern[shuffled(np.random.Philox(key=draw.seed), length)[:count]] = True
    return pattern


def _first(start: int | None, total: int, generator: np.random.Generator) -> int:
    return int(generator.integers(1, total + 1)) if start is None else start


def _refuse_start(name: str, start: int | None) -> None:
    if start is not None:
        raise ConfigError(f"start={start}: schedule {name!r} has no starting point; leave start out")
