"""A page that plays how a response came out of its masks: one HTML file, which needs nothing from anywhere else."""

from __future__ import annotations

import base64
import io
import json
from collections.abc import Sequence
from importlib import resources
from typing import Any

import numpy as np

from policies.base import Policy, TextTokenizer
from rl.types import Modality, Prompt, Rollout

END = "\u220e"  # an end-of-text token has no text of its own


def page(policy: Policy, prompt: Prompt, rollouts: Sequence[Rollout]) -> str:
    """HTML. Every token, and every tile of an image, appears at the denoising step that revealed it.

    Tiles are cut from the finished image: a decoder has no picture of an unknown code.
    """
    data = {
        "title": f"{policy.name}: {prompt.task}",
        "about": "Space plays and pauses; the arrow keys go step by step. Grey is masked, orange was just revealed.",
        "prompt": prompt.messages[-1].content,
        "rollouts": [_rollout(policy, rollout) for rollout in rollouts],
    }
    template = (resources.files("cluster.cli") / "trace.html").read_text(encoding="utf-8")
    # Nothing that a model wrote can close the script element that holds it.
    return template.replace("__DATA__", json.dumps(data).replace("<", "\\u003c"))


def _rollout(policy: Policy, rollout: Rollout) -> dict[str, Any]:
    tokens: list[str] = []
    steps: list[int] = []
    image = None
    for span in rollout.spans:
        part = slice(span.start, span.stop)
        if span.modality is Modality.TEXT:
            tokens += pieces(policy.tokenizer, rollout.token_ids[part].tolist(), policy.vocabulary.eos_id)
            steps += rollout.step_map[part].tolist()
        else:
            image = _image(rollout.image, rollout.step_map[part])
    written = int(rollout.response_mask.sum())
    count = len(np.unique(rollout.step_map[rollout.response_mask]))
    foot = f"seed {rollout.seed}: {_many(written, 'token')} in {_many(count, 'step')}, {rollout.status}"
    return {"tokens": tokens, "steps": steps, "image": image, "foot": foot}


def _many(count: int, what: str) -> str:
    return f"{count} {what}{'' if count == 1 else 's'}"


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


def _image(pixels: np.ndarray | None, step_map: np.ndarray) -> dict[str, Any]:
    from PIL import Image

    assert pixels is not None
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    source = "data:image/png;base64," + base64.b64encode(file.getvalue()).decode()
    return {"src": source, "size": len(pixels), "side": round(len(step_map) ** 0.5), "steps": step_map.tolist()}
