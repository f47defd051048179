"""Every object that flows, in the order in which it flows.

Notation for shapes: B rollouts, G group, L tokens, M masked tokens, N inner updates (mu), V vocabulary.
This module is the ground: it imports nothing of ours and nothing heavier than NumPy.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

import numpy as np


class Task(StrEnum):
    """What a prompt asks for."""

    TEXT = "text"
    UNDERSTAND = "understand"
    DRAW = "draw"
    THINK_DRAW = "think_draw"


class RolloutStatus(StrEnum):
    """How a rollout ended."""

    COMPLETE = "complete"  # reached its end-of-text token, or filled the image
    TRUNCATED = "truncated"  # ran out of canvas before an end-of-text token


class ScoreStatus(StrEnum):
    """How scoring ended. Only OK and WRONG_FORMAT carry a value to learn from."""

    OK = "ok"
    WRONG_FORMAT = "wrong_format"  # scored: the format reward is lost, and usually correctness with it
    TIMEOUT = "timeout"
    CRASHED = "crashed"
    INVALID = "invalid"  # the reward returned no finite number, or the wrong count of them


@dataclass(frozen=True, slots=True)
class Message:
    """One chat turn. Example: ``Message("user", "Calculate 3 + 4.")``."""

    role: str
    content: str


@dataclass(frozen=True, slots=True)
class Prompt:
    """One row of data.

    Example: ``Prompt("sudoku4x4/train/17", Task.TEXT, (Message("user", "sudoku 0321..."),), reference="4321...")``.

    id          unique over all splits; held-out ids never occur in training
    messages    the chat so far; for a draw prompt, one user message with the caption
    image       path of an image file, an encoded picture as its file has it, or uint8 RGB pixels [H, W, 3]; only for tasks
                that look at one
    reference   what a verifier compares with; for draw, the caption
    solution    a worked answer, ``<think>...</think>answer``: only fine-tuning reads it
    rewards     names of the rewards for this row; empty means the mix of its task
    source      data set or generator that it came from, e.g. ``sudoku4x4``: held-out results are split by it
    metadata    the row's other columns; custom rewards see them
    ground_truth  the reference with the type that the file gives it: what custom functions get; None: the reference
    token_ids   the prompt as vocabulary ids, which stand as they are: no chat template is applied to ``messages``
    hinted      so many rollouts are sampled, each with part of the worked answer given (``rollout.hints``); 0: a group as usual
    """

    id: str
    task: Task
    messages: tuple[Message, ...]
    image: str | bytes | np.ndarray | None = None
    reference: str | None = None
    solution: str | None = None
    rewards: tuple[str, ...] = ()
    source: str = ""
    metadata: Mapping[str, Any] = field(default_factory=dict)
    ground_truth: Any = None
    token_ids: tuple[int, ...] = ()
    hinted: int = 0


@dataclass(frozen=True, slots=True)
class TextSampling:
    """Semi-autoregressive masked-diffusion sampling (LLaDA, arXiv 2502.09992, section 2.4 and appendix B).

    max_new_tokens  length of the canvas of mask tokens
    block_length    the canvas is filled block by block, left to right; divides max_new_tokens
    steps           denoising steps over the whole canvas; the number of blocks divides it
    temperature     of the distribution that tokens are drawn from; 0 is greedy
    remasking       which tokens are revealed first: ``low_confidence`` the likeliest, ``entropy`` those of least entropy,
                    ``margin`` those with the largest lead over the next candidate, ``random`` any, ``origin`` each with the
                    schedule's chance, however many that are
    confidence_threshold  a step also reveals every token that is at least this sure, so that fewer steps are needed
                    (Fast-dLLM, arXiv 2505.22618); null is off
    top_k, top_p    draw from the likeliest tokens alone: that many (0: all), or those that hold this share
    repetition_penalty  above 1, tokens that the sequence has already are less likely (arXiv 1909.05858); 1 is off
    cache           ``none`` is exact; ``prefix`` and ``dual`` are Fast-dLLM's approximate key-value caches. Block-causal
                    policies have an exact one of their own
    schedule        how many tokens a step reveals: ``uniform`` as LLaDA, ``dream`` as Dream, ``auto`` as the policy's family
    confidence      the distribution that remasking looks at: ``plain`` the policy's own, ``drawn`` the one that tokens are
                    drawn from, after temperature, top_k and top_p; ``auto`` as the policy's family
    remask_temperature  scale of Gumbel noise on the confidence (Dream's ``alg_temp``); 0 is off
    cfg_scale       guidance: ``(1 + w) * logits - w * logits`` without the prompt; 0 is off and halves the work
    logits_eos_inf  no end-of-text is written
    confidence_eos_eot_inf  tokens that end a text or a turn are revealed last

    The likelihood that trains knows nothing of top_k, top_p, the penalty, cfg_scale and logits_eos_inf: training with them is
    off-policy.
    """

    max_new_tokens: int = 128
    block_length: int = 32
    steps: int = 64
    temperature: float = 1.0
    remasking: str = "low_confidence"
    confidence_threshold: float | None = None
    top_k: int = 0
    top_p: float = 1.0
    repetition_penalty: float = 1.0
    cache: str = "none"
    schedule: str = "auto"
    confidence: str = "auto"
    remask_temperature: float = 0.0
    cfg_scale: float = 0.0
    logits_eos_inf: bool = False
    confidence_eos_eot_inf: bool = False


@dataclass(frozen=True, slots=True)
class ImageSampling:
    """MaskGIT sampling with classifier-free guidance (arXiv 2202.04200, as MMaDA draws).

    steps                 denoising steps over the image's codes
    guidance              w in ``(1 + w) * conditional - w * unconditional``; 0 is off and halves the work
    temperature           of the code distribution; 0 takes the likeliest code
    remask_temperature    scale of the Gumbel noise on confidences; step k of T multiplies it by 1 - k/T
    schedule              ``cosine`` or ``linear``: how many codes stay masked as time goes
    remasking             which codes are revealed first, as in TextSampling; the noise is added to its logarithm
    top_k, top_p          draw from the likeliest codes alone, as in TextSampling
    """

    steps: int = 15
    guidance: float = 3.5
    temperature: float = 1.0
    remask_temperature: float = 1.0
    schedule: str = "cosine"
    remasking: str = "low_confidence"
    top_k: int = 0
    top_p: float = 1.0


@dataclass(frozen=True, slots=True)
class ThinkDrawSampling:
    """A plan in words, then the image. think: how the plan is written; draw: how the image is drawn after it."""

    think: TextSampling = field(default_factory=TextSampling)
    draw: ImageSampling = field(default_factory=ImageSampling)


Sampling = TextSampling | ImageSampling | ThinkDrawSampling


@dataclass(frozen=True, slots=True)
class Sample:
    """What a sampler returns for one row: the response alone.

    Example: ``Sample(token_ids=array([7, 8, 2]), step_map=array([1, 0, 1]), complete=True)``.

    token_ids [L] int64   text: vocabulary ids; images: codebook indices, from 0
    step_map  [L] int32   denoising step that revealed each token, from 0; -1 where it was given
    complete              text: an end-of-text token was written; images: always
    confidence [L] float32  each token's probability when it was revealed, -1 where it was given: in the policy's distribution
                          over what the sampler may write there, at temperature 1; with ``confidence: drawn`` in the one that
                          it draws from
    entropy   [L] float32  of that distribution, in nats; -1 where the token was given
    """

    token_ids: np.ndarray
    step_map: np.ndarray
    complete: bool = True
    confidence: np.ndarray | None = None
    entropy: np.ndarray | None = None


class Modality(StrEnum):
    """What a span of a response holds; its tokens are normalised over the whole vocabulary, or over the codebook."""

    TEXT = "text"
    IMAGE = "image"


@dataclass(frozen=True, slots=True)
class Span:
    """Tokens start .. stop of a rollout's sequence. Example: ``Span(12, 40, Modality.TEXT)``."""

    start: int
    stop: int
    modality: Modality


@dataclass(frozen=True, slots=True)
class Rollout:
    """One response, with the whole sequence that the policy saw: what is trained on is what was sampled.

    prompt_id, index      which prompt, and which member of its group (0..G-1)
    token_ids     [L]     int64 vocabulary ids: prompt, response up to its first end-of-text token, closing tokens
    response_mask [L]     bool: True where the policy chose the token; not where it was given
    step_map      [L]     int32: denoising step that revealed the token, -1 where it was given
    seed                  of this rollout's noise
    weight_version        the weights that sampled it
    status                see RolloutStatus
    text                  the response, decoded for scoring and for people ("" for an image without a plan)
    image                 uint8 [H, W, 3], decoded from the response's codes, or None
    spans                 where the response lies: one span, or a plan's and its image's
    confidence    [L]     float32: the token's probability when it was revealed, as in ``Sample``; -1 where it was given. None:
                          unknown, which no sampler of ours leaves it
    entropy       [L]     float32: of that distribution, in nats; -1 where the token was given
    """

    prompt_id: str
    index: int
    token_ids: np.ndarray
    response_mask: np.ndarray
    step_map: np.ndarray
    seed: int
    weight_version: int
    status: RolloutStatus
    text: str = ""
    image: np.ndarray | None = None
    spans: tuple[Span, ...] = ()
    confidence: np.ndarray | None = None
    entropy: np.ndarray | None = None


@dataclass(frozen=True, slots=True)
class RewardItem:
    """What a reward sees: the prompt (with reference, image and metadata) and the decoded response."""

    prompt: Prompt
    text: str = ""
    image: np.ndarray | None = None


@dataclass(frozen=True, slots=True)
class RewardCall:
    """How one reward of a mix fared with one item. Example: ``RewardCall(ScoreStatus.TIMEOUT, 1.0)``.

    seconds  by the clock, over all attempts; those of a batch are shared out evenly where the reward itself says none
    """

    status: ScoreStatus
    seconds: float


@dataclass(frozen=True, slots=True)
class Score:
    """A reward's answer. Example: ``Score(2.5, parts={"correctness": 2.0, "format": 0.5})``.

    value is NaN unless the status is OK or WRONG_FORMAT: a failure is never a silent 0.
    parts holds each reward's own value before weighting; detail says in one line why a score failed.
    calls says of each reward of a mix how it ended and how long it took, also where its weight is 0.
    terms holds what each weighted reward of a mix adds to value: their sum is value.
    """

    value: float
    status: ScoreStatus = ScoreStatus.OK
    parts: Mapping[str, float] = field(default_factory=dict)
    seconds: float = 0.0
    detail: str = ""
    calls: Mapping[str, RewardCall] = field(default_factory=dict)
    terms: Mapping[str, float] = field(default_factory=dict)

    @property
    def usable(self) -> bool:
        return self.status in (ScoreStatus.OK, ScoreStatus.WRONG_FORMAT) and bool(np.isfinite(self.value))


@dataclass(frozen=True, slots=True)
class Curve:
    """``scale * value + offset``, held between low and high. Example: ``Curve(low=0.0)`` forgets negative values."""

    scale: float = 1.0
    offset: float = 0.0
    low: float | None = None
    high: float | None = None

    def __call__(self, value: float) -> float:
        value = self.scale * value + self.offset
        value = value if self.low is None else max(self.low, value)
        return value if self.high is None else min(self.high, value)


@dataclass(frozen=True, slots=True)
class Gate:
    """A reward counts 0 wherever the value of reward ``by`` is below ``at_least``, or ``by`` has none."""

    by: str
    at_least: float = 1.0

    def opens(self, scores: Mapping[str, Score]) -> bool:
        score = scores.get(self.by)
        return score is not None and score.usable and score.value >= self.at_least


@dataclass(frozen=True, slots=True)
class Group:
    """The G rollouts of one prompt and their scores, in the order of their index."""

    prompt: Prompt
    rollouts: tuple[Rollout, ...]
    scores: tuple[Score, ...]

    @property
    def usable(self) -> bool:
        """A group counts whole or not at all: dropping only the failed members would bias the advantage."""
        return len(self.scores) == len(self.rollouts) > 0 and all(score.usable for score in self.scores)


@dataclass(frozen=True, slots=True)
class MaskDraw:
    """Recipe of one mask pattern: the pattern itself is recomputed from it, never shipped.

    Example: ``MaskDraw(seed=12345, ratio=0.3)`` masks 30% of a response, the same 30% wherever it is recomputed.

    block_length  where an estimator hides a response block by block
    blocks        response tokens in each block that the sampler filled, in order, where masks are its states
    """

    seed: int
    ratio: float
    block_length: int | None = None
    blocks: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class TrainBatch:
    """Everything one training step needs, for B rollouts of any mix of tasks and lengths.

    token_ids, response_mask   B arrays [L_i]
    advantages                 [B] float32
    mask_draws                 N rows (inner updates) of B draws
    tasks                      [B]
    step_maps                  B arrays: the denoising step that revealed each response token
    on_policy                  the rollouts came from the weights that are about to be trained
    spans                      [B], each rollout's; empty: what its task says
    weights                    [B] float32: each rollout's share in the loss, relative to the others; None: equal shares
    staleness                  [B] int: how many weight versions ago each rollout was sampled; None: unknown
    groups                     [B] int: which group each rollout is of, counted from 0; None: all are of one
    supervised                 prompts whose worked answers are learned beside the rollouts
    supervised_seed            of what is hidden of those
    confidences, entropies     B arrays float32: of each response token when it was revealed; empty: unknown
    """

    token_ids: tuple[np.ndarray, ...]
    response_mask: tuple[np.ndarray, ...]
    advantages: np.ndarray
    mask_draws: tuple[tuple[MaskDraw, ...], ...]
    tasks: tuple[Task, ...]
    step_maps: tuple[np.ndarray, ...]
    on_policy: bool = True
    spans: tuple[tuple[Span, ...], ...] = ()
    weights: np.ndarray | None = None
    staleness: np.ndarray | None = None
    groups: np.ndarray | None = None
    supervised: tuple[Prompt, ...] = ()
    supervised_seed: int = 0
    confidences: tuple[np.ndarray, ...] = ()
    entropies: tuple[np.ndarray, ...] = ()

    def __len__(self) -> int:
        return len(self.token_ids)


@dataclass(frozen=True, slots=True)
class LossOutput:
    """A scalar to differentiate, and metrics that are already detached floats or 0-d tensors."""

    loss: Any
    metrics: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class WeightRef:
    """Names one set of weights. Example: ``WeightRef(version=12, digest="9f2c...")`` (hex)."""

    version: int
    digest: str


@dataclass(frozen=True, slots=True)
class StepReport:
    """What the learner did in one step: metrics by their public names, and whether the weights changed."""

    metrics: Mapping[str, float]
    updated: bool = True
