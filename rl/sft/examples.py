"""Prompts with worked answers or pictures -> sequences to learn from, and which of their tokens to hide."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from policies.base import EncodedPrompt, Policy
from rl.config import Config
from rl.data.rows import target_image
from rl.errors import DataError
from rl.seeds import derive_seed
from rl.types import Prompt, Task, TextSampling

RENDERS = 8  # pictures kept of each caption whose pictures we make ourselves


@dataclass(frozen=True, slots=True)
class Example:
    """One sequence to learn from: all positions, which of them to hide, and which of the hidden to score.

    token_ids [L] int64; hidden [L] bool: shown as the mask token; scored [L] bool: a subset of hidden
    """

    token_ids: np.ndarray
    hidden: np.ndarray
    scored: np.ndarray


class ExampleMaker:
    """Prompts with worked answers, or with pictures, to examples."""

    def __init__(self, policy: Policy, config: Config) -> None:
        self.policy, self.config = policy, config
        self._prefixes: dict[str, tuple[int, ...]] = {}
        self._codes: dict[str, list[np.ndarray]] = {}
        self._owed: dict[str, int] = {}

    def state(self) -> dict[str, int]:
        """How many pictures are kept of each caption: which one an example shows depends on it."""
        return self._owed | {name: len(kept) for name, kept in self._codes.items()}

    def restore(self, state: Mapping[str, int]) -> None:
        """Go on from a state. The pictures are drawn again when they are asked for."""
        self._codes, self._owed = {}, {name: int(count) for name, count in state.items()}

    def make(self, prompt: Prompt, rng: np.random.Generator) -> Example:
        if prompt.task is Task.DRAW:
            return self._draw(prompt, rng)
        if prompt.task is Task.THINK_DRAW and rng.random() < 0.5:  # its plan and its image take turns
            return self._draw_planned(prompt, rng)
        return self._answer(prompt, rng)

    def _answer(self, prompt: Prompt, rng: np.random.Generator) -> Example:
        if not prompt.solution:
            raise DataError(
                f"prompt {prompt.id}: no solution; fine-tuning needs a column 'solution' with a worked answer"
            )
        if not prompt.messages:
            return self._plain(prompt, rng)
        if prompt.id not in self._prefixes:
            self._prefixes[prompt.id] = self.policy.encode_prompt(prompt).prefix
        vocabulary = self.policy.vocabulary
        response = [*self.policy.tokenizer.encode(prompt.solution), vocabulary.eos_id]
        sampling = canvas_of(self.config, prompt.task)
        canvas = rng.random() < self.config.sft.canvas_prob
        return text_example(
            self._prefixes[prompt.id], response, vocabulary.eos_id, sampling if canvas else None,
            self.config.sft.semi_autoregressive_prob, rng, whole_canvas=self.config.sft.eos_fill == "canvas",
        )  # fmt: skip

    def _plain(self, prompt: Prompt, rng: np.random.Generator) -> Example:
        """Text without a prompt: LLaDA's pre-training (arXiv 2502.09992, section 2.2), in a window of the policy's length."""
        ids = [*self.policy.tokenizer.encode(prompt.solution or ""), self.policy.vocabulary.eos_id]
        limit = self.policy.max_length
        start = int(rng.integers(len(ids) - limit + 1)) if len(ids) > limit else 0
        return text_example((), ids[start : start + limit], self.policy.vocabulary.eos_id, None, 0.0, rng)

    def _draw_planned(self, prompt: Prompt, rng: np.random.Generator) -> Example:
        """The image after its worked-out plan."""
        encoded = self.policy.encode_prompt(prompt)
        assert encoded.drawing is not None
        plan = [*self.policy.tokenizer.encode(prompt.solution or ""), self.policy.vocabulary.eos_id]
        return self._drawing(
            prompt, replace(encoded.drawing, prefix=(*encoded.prefix, *plan, *encoded.drawing.prefix)), rng
        )

    def _draw(self, prompt: Prompt, rng: np.random.Generator) -> Example:
        return self._drawing(prompt, self.policy.encode_prompt(prompt), rng)

    def _drawing(self, prompt: Prompt, encoded: EncodedPrompt, rng: np.random.Generator) -> Example:
        dropped = rng.random() < self.config.sft.prompt_dropout
        prefix = encoded.unconditional if dropped else encoded.prefix
        codes = self._picture(prompt, rng) + self.policy.vocabulary.image_offset
        ratio = float(np.cos(rng.random() * np.pi / 2))  # MaskGIT's schedule (arXiv 2202.04200, section 3.2)
        hidden = _pick(len(codes), ratio, rng)
        return _example(prefix, codes, encoded.suffix, hidden, hidden)

    def _picture(self, prompt: Prompt, rng: np.random.Generator) -> np.ndarray:
        """Codes [h*w] of the row's own picture, or of one of several that we render."""
        kept = self._codes.setdefault(prompt.id, [])
        while len(kept) < self._owed.get(prompt.id, 0):
            kept.append(self._render(prompt, len(kept)))
        choice = int(rng.integers(RENDERS if "scene" in prompt.metadata else 1))
        if choice >= len(kept):
            choice = len(kept)
            kept.append(self._render(prompt, choice))
        return kept[choice]

    def _render(self, prompt: Prompt, index: int) -> np.ndarray:
        tokenizer = self.policy.image_tokenizer
        assert tokenizer is not None
        pixels = target_image(prompt, derive_seed(0, prompt.id, index), tokenizer.image_size)
        if pixels is None:
            raise DataError(f"prompt {prompt.id}: no picture; fine-tuning a draw row needs a column 'image'")
        return tokenizer.encode(pixels[None])[0]


def text_example(
    prefix: Sequence[int],
    response: Sequence[int],
    eos_id: int,
    canvas: TextSampling | None,
    semi_autoregressive_prob: float,
    rng: np.random.Generator,
    *,
    whole_canvas: bool = False,
) -> Example:
    """Hide part of a text response, as the sampler or the likelihood will see it.

    canvas None       the sequence ends with its end-of-text token, as in the likelihood of a finished rollout
    canvas given      the response lies on the sampler's canvas: the block in which it ends is filled up with
                      end-of-text, and the blocks after it are all hidden, and not scored
    whole_canvas    end-of-text fills all of the canvas, and is learned everywhere, as LLaDA does
    semi-autoregressive   only one block is in play: what is before it is given, what is after it is hidden
    """
    if canvas is None:
        body = np.asarray(response)
        hidden = _pick(len(body), rng.random(), rng)
        return _example(prefix, body, (), hidden, hidden)
    block, total = canvas.block_length, on_canvas(len(response), canvas)
    filled = -(-len(response) // block) * block
    filled = total if whole_canvas else filled
    body = np.full(total, eos_id, dtype=np.int64)
    body[: len(response)] = response
    hidden = np.ones(total, dtype=bool)
    scored = np.zeros(total, dtype=bool)
    if rng.random() < semi_autoregressive_prob:
        first = int(rng.integers(filled // block)) * block
        hidden[:first] = False
        window = slice(first, first + block)
    else:
        window = slice(0, filled)
    hidden[window] = scored[window] = _pick(window.stop - window.start, rng.random(), rng)
    return _example(prefix, body, (), hidden, scored)


def on_canvas(response: int, canvas: TextSampling) -> int:
    """Tokens that a response of so many takes on a canvas: all of it, or whole blocks where it is longer."""
    return max(canvas.max_new_tokens, -(-response // canvas.block_length) * canvas.block_length)


def canvas_of(config: Config, task: Task) -> TextSampling:
    rollout = config.rollout
    return rollout.think_draw.think if task is Task.THINK_DRAW else getattr(rollout, task)


def _pick(length: int, ratio: float, rng: np.random.Generator) -> np.ndarray:
    """bool [length] with max(1, round(ratio * length)) True."""
    chosen = np.zeros(length, dtype=bool)
    chosen[rng.permutation(length)[: max(1, round(ratio * length))]] = True
    return chosen


def _example(
    prefix: Sequence[int], body: np.ndarray, suffix: Sequence[int], hidden: np.ndarray, scored: np.ndarray
) -> Example:
    before, after = np.zeros(len(prefix), dtype=bool), np.zeros(len(suffix), dtype=bool)
    return Example(
        np.concatenate([np.asarray(prefix, dtype=np.int64), body, np.asarray(suffix, dtype=np.int64)]),
        np.concatenate([before, hidden, after]),
        np.concatenate([before, scored, after]),
    )
