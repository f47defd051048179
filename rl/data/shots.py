"""Few-shot prompts: worked examples from training rows, as earlier turns of the chat."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from rl.data.overlap import shared_with
from rl.errors import DataError
from rl.seeds import derive_seed, shuffled, uniforms
from rl.types import Message, Prompt, Task


def with_shots(prompts: Sequence[Prompt], pool: Sequence[Prompt], count: int, seed: int) -> list[Prompt]:
    """Each text prompt with ``count`` questions of the pool and their answers before its own turns; others as they are.

    pool    training rows. Those with the source of the prompt are used, where enough of them have an answer; else any.
    seed    which ones: the same for every prompt of a source, in the same order

    An answer is the row's worked answer, or else its reference. Rows of the pool that are held-out prompts themselves are
    never used. Raises DataError where too few are left.
    """
    if not count:
        return list(prompts)
    answered = [row for row in pool if row.task is Task.TEXT and row.messages and _answer(row)]
    shared = shared_with(prompts, answered)
    free = [row for place, row in enumerate(answered) if place not in shared]
    chosen: dict[str, tuple[Message, ...]] = {}
    found = []
    for prompt in prompts:
        if prompt.task is not Task.TEXT or not prompt.messages:
            found.append(prompt)
            continue
        if prompt.source not in chosen:
            chosen[prompt.source] = _turns(prompt.source, free, count, seed)
        found.append(_behind(prompt, chosen[prompt.source]))
    return found


def _turns(source: str, free: Sequence[Prompt], count: int, seed: int) -> tuple[Message, ...]:
    own = [row for row in free if row.source == source]
    rows = own if len(own) >= count else free
    if len(rows) < count:
        raise DataError(
            f"evaluation.k_shots={count}: data.train has {len(rows)} text rows with an answer that are not held out; give a "
            "source of training rows with solutions, or lower it"
        )
    _, bits = uniforms(derive_seed(seed, "shots", source), 1)
    examples = [rows[place] for place in shuffled(bits, len(rows))[:count]]
    return tuple(turn for row in examples for turn in (row.messages[-1], Message("assistant", _answer(row))))


def _behind(prompt: Prompt, turns: tuple[Message, ...]) -> Prompt:
    """A system turn stays in front."""
    first = 1 if prompt.messages[0].role == "system" else 0
    return replace(prompt, messages=(*prompt.messages[:first], *turns, *prompt.messages[first:]))


def _answer(row: Prompt) -> str:
    return row.solution or row.reference or ""
