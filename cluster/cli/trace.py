"""A page that plays how a response came out of its masks: one HTML file, which needs nothing from anywhere else."""

from __future__ import annotations

import base64
import hashlib
import io
import json
import re
from collections.abc import Sequence
from importlib import resources
from typing import Any

import numpy as np

from policies.base import Policy, TextTokenizer
from rl.output.printable import printable
from rl.types import Modality, Prompt, Rollout

_TITLE = 200  # characters
END = "\u220e"  # an end-of-text token has no text of its own


def page(policy: Policy, prompt: Prompt, rollouts: Sequence[Rollout]) -> str:
    """HTML. Every token, and every tile of an image, appears at the denoising step that revealed it.

    Tiles are cut from the finished image: a decoder has no picture of an unknown code.
    """
    data = {
        "title": printable(f"{policy.name}: {prompt.task}", limit=_TITLE),
        "about": "Space plays and pauses; the arrow keys go step by step. Grey is masked, orange was just revealed.",
        "prompt": printable(prompt.messages[-1].content, lines=True),
        "rollouts": [_rollout(policy, rollout) for rollout in rollouts],
    }
    template = (resources.files("cluster.cli") / "trace.html").read_text(encoding="utf-8")
    # Nothing that a model wrote can close the script element that holds it.
    held = json.dumps(data).replace("<", "\\u003c")
    return template.replace("__POLICY__", policy_of(template)).replace("__DATA__", held)


def policy_of(template: str) -> str:
    """The page's content policy: its own script and its own style, by their digests, and pictures in the page. Nothing else
    runs, loads or leaves, whatever stands in it."""
    (script,), (style,) = (re.findall(rf"<{name}>(.*?)</{name}>", template, re.DOTALL) for name in ("script", "style"))
    return (
        f"default-src 'none'; script-src {_digest(script)}; style-src {_digest(style)}; img-src data:; base-uri 'none'; "
        "form-action 'none'"
    )


def _digest(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


def _rollout(policy: Policy, rollout: Rollout) -> dict[str, Any]:
    tokens: list[str] = []
    steps: list[int] = []
    image = None
    for span in rollout.spans:
        part = slice(span.start, span.stop)
        if span.modality is Modality.TEXT:
            written = pieces(policy.tokenizer, rollout.token_ids[part].tolist(), policy.vocabulary.eos_id)
            tokens += [printable(piece, lines=True) for piece in written]
            steps += rollout.step_map[part].tolist()
        else:
            image = _image(rollout.image, rollout.step_map[part])
    length = int(rollout.response_mask.sum())
    count = len(np.unique(rollout.step_map[rollout.response_mask]))
    foot = f"seed {rollout.seed}: {_many(length, 'token')} in {_many(count, 'step')}, {rollout.status}"
    return {"tokens": tokens, "steps": steps, "image": image, "foot": printable(foot, limit=_TITLE)}


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
