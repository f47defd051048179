"""A response of which part is given: chunks of a worked answer's reasoning, or an answer at its end."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from rl.config.sections import HintsConfig
from rl.errors import DataError
from rl.seeds import derive_seed, shuffled, uniforms
from rl.types import Prompt, Task

FREE = -1  # the sampler's own mark (``policies.samplers.tokens``): here it writes
THINK_END = "</think>"
TASKS = (Task.TEXT, Task.UNDERSTAND)


def has_source(prompt: Prompt) -> bool:
    """Whether a hint can be made for it: it is answered in text, and has a worked answer or a reference."""
    return prompt.task in TASKS and bool(prompt.solution or prompt.reference)


def given_for(
    prompt: Prompt, encode: Callable[[str], Sequence[int]], eos: int, canvas: int, settings: HintsConfig, seed: int
) -> list[int]:
    """One rollout's response [canvas]: vocabulary ids where it is given, FREE elsewhere.

    With a worked answer, chunks of its reasoning stand where they stand in it; the answer itself stays free (IGPO, arXiv
    2509.10396, section 3.2). With a reference alone, that stands as the answer at the end of the canvas, and the reasoning
    before it is free (answer forcing: LaViDa-R1, arXiv 2602.14147). Raises DataError where there is no room for it.
    """
    check_room(prompt, lambda text: len(encode(text)), canvas)
    reasoning, answer = _parts(prompt)
    tail = [*encode(answer), eos]
    if not reasoning:
        return [*[FREE] * (canvas - len(tail)), *tail]
    source, given = list(encode(reasoning))[: canvas - len(tail)], [FREE] * canvas
    for first, last in chosen_chunks(len(source), settings, seed):
        given[first:last] = source[first:last]
    return given


def check_room(prompt: Prompt, tokens: Callable[[str], int], canvas: int) -> None:
    """That a canvas has room for the row's answer and something else. tokens: how many a text has. Raises DataError."""
    if not has_source(prompt):
        raise DataError(
            f"prompt {prompt.id}: no worked answer and no reference, of which rollout.hints could give a part; add a column "
            "solution or answer, or set rollout.hints.share=0"
        )
    needed = tokens(_parts(prompt)[1]) + 1
    if needed >= canvas:
        raise DataError(
            f"prompt {prompt.id}: its answer takes {needed} tokens with its end, which leaves no room for more in a "
            f"canvas of {canvas}; raise rollout.{prompt.task}.max_new_tokens, or set rollout.hints.share=0"
        )


def _parts(prompt: Prompt) -> tuple[str, str]:
    """The reasoning, of which chunks may be given, and the answer after it. Without reasoning, the answer may be."""
    reasoning, closed, answer = (prompt.solution or "").rpartition(THINK_END)
    if reasoning.strip():
        return reasoning, closed + answer
    if prompt.solution and not closed:
        return prompt.solution, ""
    return "", THINK_END + (prompt.reference or answer)


def chosen_chunks(length: int, settings: HintsConfig, seed: int) -> list[tuple[int, int]]:
    """Chunks (first, last + 1) of ``length`` tokens that are given, at least one and in order.

    Their lengths are uniform over ``settings.chunk``; a last one that would be shorter is left free. A share of them is given
    that is itself uniform over ``settings.given``.
    """
    (low, high), (least, most) = settings.chunk, settings.given
    sizes = low + np.floor(uniforms(derive_seed(seed, "chunks"), length)[0] * (high - low + 1)).astype(int)
    chunks: list[tuple[int, int]] = []
    first = 0
    while first + sizes[len(chunks)] <= length:
        chunks.append((first, first + int(sizes[len(chunks)])))
        first = chunks[-1][1]
        if first == length:
            break
    chunks = chunks or [(0, length)]
    where, bits = uniforms(derive_seed(seed, "given"), 1)
    count = max(1, round(float(least + (most - least) * where[0]) * len(chunks)))
    return [chunks[place] for place in np.sort(shuffled(bits, len(chunks))[:count])]
