"""How one response came out of its masks: each token with its step, and a drawing as it was after each step.

The picture of a partial canvas is the image tokenizer's own: codes that are not known yet are those of plain grey.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from rl.output.printable import printable
from rl.tracking.mlflow import shown
from rl.tracking.pages.html import picture
from rl.types import Modality, Rollout, Score

if TYPE_CHECKING:
    from policies.base import ImageTokenizer, TextTokenizer

END = "\u220e"  # an end-of-text token has no text of its own
MOST_TOKENS = 2048
MOST_FRAMES = 12
SIDE = 256  # pixels of a frame at most
_GREY = 128
_AT_ONCE = 128  # pixels a side: larger canvases are decoded one by one, and fewer of them
_FEW_FRAMES = 6
_FOOT = 200  # characters


@dataclass(frozen=True, slots=True)
class Decoders:
    """What turns a rollout's ids into text and pixels again. image_offset: the id of image code 0."""

    tokenizer: TextTokenizer
    eos_id: int
    image_offset: int = 0
    image_tokenizer: ImageTokenizer | None = None


def film(decoders: Decoders, rollout: Rollout, label: str = "", score: Score | None = None) -> dict[str, Any]:
    """What the page of a playback shows of one rollout, as JSON.

    tokens, steps   the written part: what each token adds to the text, and the step that revealed it (-1: given)
    sure            how probable each was then, and the entropy in nats, in words; empty where that is not known
    image           the drawn part, None where nothing was drawn: see ``_drawn``
    label, verdict, foot   words above and below it
    """
    tokens: list[str] = []
    steps: list[int] = []
    sure: list[str] = []
    image = None
    for span in rollout.spans:
        part = slice(span.start, span.stop)
        if span.modality is Modality.TEXT:
            ids, revealed = rollout.token_ids[part][:MOST_TOKENS], rollout.step_map[part][:MOST_TOKENS]
            written = pieces(decoders.tokenizer, ids.tolist(), decoders.eos_id)
            tokens += [printable(piece, lines=True) for piece in written]
            steps += revealed.tolist()
            sure += _sure(rollout, part, len(ids))
        elif rollout.image is not None:
            codes = rollout.token_ids[part] - decoders.image_offset
            image = _drawn(decoders.image_tokenizer, rollout.image, codes, rollout.step_map[part])
    length = int(rollout.response_mask.sum())
    given = sum(step < 0 for step in steps)
    count = len(np.unique(rollout.step_map[rollout.response_mask]))
    cut = f", the first {MOST_TOKENS} shown" if len(tokens) >= MOST_TOKENS < length else ""
    foot = f"seed {rollout.seed}: {_many(length, 'token')}{cut} in {_many(count, 'step')}, {rollout.status}"
    foot += f", {_many(given, 'token')} given" if given else ""
    return {
        "label": shown.line(label, _FOOT),
        "verdict": "" if score is None else verdict(score),
        "tokens": tokens,
        "steps": steps,
        "sure": sure,
        "image": image,
        "foot": printable(foot, limit=_FOOT),
    }


def _sure(rollout: Rollout, part: slice, count: int) -> list[str]:
    if rollout.confidence is None or rollout.entropy is None:
        return [""] * count
    pairs = zip(rollout.confidence[part][:count].tolist(), rollout.entropy[part][:count].tolist(), strict=True)
    return [f"probability {p:.3g}, entropy {entropy:.3g} nats" if p >= 0 else "" for p, entropy in pairs]


def verdict(score: Score) -> str:
    """Example: ``score 2.5 (correctness 2, format 0.5)``."""
    value = shown.value_of(score)
    if value is None:
        return shown.line(f"not scored: {score.status} {score.detail}", _FOOT)
    whole = {name: part for name, part in score.parts.items() if np.isfinite(part) and "/" not in name}
    parts = ", ".join(f"{name} {part:.3g}" for name, part in whole.items())
    return shown.line(f"score {value:.3g}" + (f" ({parts})" if parts else ""), _FOOT)


def pieces(tokenizer: TextTokenizer, token_ids: list[int], eos_id: int) -> list[str]:
    """What each token adds to the decoded text. A character that several tokens make is the last one's."""
    found: list[str] = []
    done = ""
    last = len(token_ids) - 1 - (token_ids[-1:] == [eos_id])
    for index, token in enumerate(token_ids):
        text = tokenizer.decode(token_ids[: index + 1])
        open_ended = text.endswith("\ufffd") and index < last  # a character that the next token may finish
        found.append(END if token == eos_id else "" if open_ended else text[len(done) :])
        done = done if open_ended else text
    return found


def frames(tokenizer: ImageTokenizer, codes: np.ndarray, steps: np.ndarray) -> Iterator[tuple[int, np.ndarray]]:
    """(step, uint8 [H, W, 3]): the canvas after steps that revealed something; of many steps, some evenly apart.

    codes, steps: [h*w]
    """
    size = tokenizer.image_size
    moments = np.unique(steps[steps >= 0])
    most = MOST_FRAMES if size <= _AT_ONCE else _FEW_FRAMES
    chosen = moments[np.unique(np.linspace(0, len(moments) - 1, min(most, len(moments))).round().astype(int))]
    unknown = tokenizer.encode(np.full((1, size, size, 3), _GREY, np.uint8))[0]
    canvases = np.where(steps[None] <= chosen[:, None], codes[None], unknown[None])
    batches = [canvases] if size <= _AT_ONCE else [canvas[None] for canvas in canvases]
    decoded = (pixels for batch in batches if len(batch) for pixels in tokenizer.decode(batch))
    yield from zip(chosen.tolist(), decoded, strict=True)


def _drawn(
    tokenizer: ImageTokenizer | None, pixels: np.ndarray, codes: np.ndarray, steps: np.ndarray
) -> dict[str, Any]:
    """src: the finished picture. side: tiles a side. steps: each tile's. frames: [[step, picture], ...], which may be none."""
    found: Sequence[tuple[int, np.ndarray]] = () if tokenizer is None else list(frames(tokenizer, codes, steps))
    return {
        "src": picture(pixels, SIDE),
        "size": min(SIDE, max(pixels.shape[:2])),
        "side": round(len(steps) ** 0.5),
        "steps": steps.tolist(),
        "frames": [[step, picture(each, SIDE)] for step, each in found],
    }


def _many(count: int, what: str) -> str:
    return f"{count} {what}{'' if count == 1 else 's'}"
