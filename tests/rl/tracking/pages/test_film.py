"""A film has what the rollout has, and its frames are the tokenizer's own pictures of what is known so far."""

from __future__ import annotations

import base64
import io

import numpy as np
import pytest
from PIL import Image

from rl.output.printable import printable
from rl.tracking.pages.film import MOST_FRAMES, MOST_TOKENS, Decoders, film, frames, verdict
from rl.tracking.pages.playback import playback
from rl.types import Modality, Rollout, RolloutStatus, Score, ScoreStatus, Span
from tests.rl.tracking.pages.groups import POLICY, decoders, sampled
from tests.rl.tracking.pages.reader import safe


def pixels(address: str) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(address.partition(",")[2]))))


def apart(one: np.ndarray, other: np.ndarray) -> int:
    return int(np.abs(one.astype(int) - other).max())


@pytest.mark.parametrize("kind", ["text", "understand"])
def test_the_pages_data_is_the_rollouts_own(kind: str) -> None:
    group = sampled(kind, 3)
    films = [
        film(decoders(), rollout, "now", score) for rollout, score in zip(group.rollouts, group.scores, strict=True)
    ]
    held = safe(playback("title", "prompt", films)).data()
    assert held["rollouts"] == films
    for shown, rollout in zip(held["rollouts"], group.rollouts, strict=True):
        (span,) = rollout.spans
        assert shown["steps"] == rollout.step_map[span.start : span.stop].tolist()
        assert "".join(shown["tokens"]).rstrip("\u220e") == printable(rollout.text, lines=True)
        assert shown["image"] is None and f"seed {rollout.seed}" in shown["foot"]
    assert held["rollouts"][0]["verdict"] == "score 1 (right 1)"


def test_a_drawing_emerges_from_what_the_tokenizer_makes_of_the_known_codes() -> None:
    rollout = sampled("draw", 3).rollouts[0]
    shown, tokenizer = film(decoders(), rollout)["image"], POLICY.image_tokenizer
    (span,) = rollout.spans
    steps = rollout.step_map[span.start : span.stop]
    assert shown["steps"] == steps.tolist() and [step for step, _ in shown["frames"]] == sorted({*steps.tolist()})
    assert tokenizer is not None and rollout.image is not None
    codes = rollout.token_ids[span.start : span.stop] - POLICY.vocabulary.image_offset
    grey = tokenizer.encode(np.full((1, tokenizer.image_size, tokenizer.image_size, 3), 128, np.uint8))[0]
    for step, address in shown["frames"]:
        known = np.where(steps <= step, codes, grey)
        assert apart(pixels(address), tokenizer.decode(known[None])[0]) <= 1  # other batches round otherwise
    assert (
        apart(pixels(shown["frames"][0][1]), rollout.image) > 1 >= apart(pixels(shown["frames"][-1][1]), rollout.image)
    )
    assert apart(pixels(shown["src"]), rollout.image) == 0


class Counting:
    """A tokenizer of one code a pixel row, which says how many canvases it decoded at once."""

    codebook_size = 256

    def __init__(self, size: int) -> None:
        self.image_size, self.codes_per_image, self.batches = size, 64, []

    def encode(self, pixels: np.ndarray) -> np.ndarray:
        return np.full((len(pixels), 64), 7)

    def decode(self, codes: np.ndarray) -> np.ndarray:
        self.batches.append(len(codes))
        return np.repeat(codes[:, :1, None, None], 3, axis=3).astype(np.uint8)


@pytest.mark.parametrize(("size", "batches"), [(64, [MOST_FRAMES]), (512, [1] * 6)])
def test_frames_are_few_and_a_large_canvas_is_decoded_alone(size: int, batches: list[int]) -> None:
    tokenizer, steps = Counting(size), np.arange(64)
    found = [step for step, _ in frames(tokenizer, np.zeros(64, int), steps)]
    assert tokenizer.batches == batches and found[0] == 0 and found[-1] == 63 and found == sorted(found)


def test_given_codes_stand_from_the_start_and_nothing_revealed_is_no_frame() -> None:
    tokenizer = Counting(64)
    assert list(frames(tokenizer, np.zeros(64, int), np.full(64, -1))) == [] and tokenizer.batches == []


def test_a_long_response_is_cut_and_says_so() -> None:
    class Letters:
        def decode(self, ids: list[int]) -> str:
            return "a" * len(ids)

    count = MOST_TOKENS + 5
    rollout = Rollout(
        *("p", 0, np.zeros(count, int), np.ones(count, bool), np.zeros(count, int), 1, 0, RolloutStatus.TRUNCATED),
        spans=(Span(0, count, Modality.TEXT),),
    )
    shown = film(Decoders(Letters(), 9), rollout)  # pyright: ignore[reportArgumentType]
    assert len(shown["tokens"]) == len(shown["steps"]) == MOST_TOKENS and f"the first {MOST_TOKENS}" in shown["foot"]


def test_a_score_that_failed_says_why_and_is_no_zero() -> None:
    nan = float("nan")
    assert verdict(Score(nan, ScoreStatus.TIMEOUT, detail="judge: late")) == "not scored: timeout judge: late"
