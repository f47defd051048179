"""A page that plays how responses came out of their masks, side by side: one HTML file, which needs nothing else."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rl.tracking.mlflow import shown
from rl.tracking.pages.html import data, is_embedded, page

TEMPLATE = "playback.html"
_TITLE = 200  # characters
_LONGEST_REFERENCE = 2000
_HOW = "Space plays and pauses; the arrow keys go step by step. Grey is masked, orange was just revealed."
_DRAWN = " A drawing is what the image tokenizer makes of the codes that are known so far, with grey for the others."


def playback(
    title: str, prompt: str, films: Sequence[Mapping[str, Any]], reference: str | None = None, picture: str = ""
) -> str:
    """HTML. Every token, and every tile of a drawing, appears at the denoising step that revealed it.

    films    of ``rl.tracking.pages.film``; their steps are played together
    picture  what the prompt shows, as an address in the page
    """
    draws = any((each.get("image") or {}).get("frames") for each in films)
    given = reference is not None and reference.strip() != prompt.strip()
    content = {
        "title": shown.line(title, _TITLE),
        "about": _HOW + (_DRAWN if draws else ""),
        "prompt": shown.text(prompt),
        "reference": f"Reference: {shown.text(reference, _LONGEST_REFERENCE)}" if given else "",
        "picture": picture if is_embedded(picture) else "",
        "rollouts": list(films),
    }
    return page(TEMPLATE, DATA=data(content))
