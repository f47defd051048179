"""What every page has in common: its template, its content policy, and text of others that stays text."""

from __future__ import annotations

import base64
import hashlib
import html
import io
import json
import re
from collections.abc import Mapping
from importlib import resources
from typing import Any

import numpy as np
from PIL import Image

from rl.tracking.mlflow import shown

_SLOT = re.compile("__([A-Z]+)__")
_URI = re.compile(r"data:image/(?:png|jpeg);base64,[A-Za-z0-9+/]+={0,2}")
_SMALL = 96  # pixels a side: up to here a picture is a PNG, which keeps every pixel; JPEG is smaller above
_QUALITY = 82


def page(name: str, **parts: str) -> str:
    """The template ``name`` of this package with each ``__SLOT__`` filled once. What a part holds is never read as a slot.

    parts: HTML that is safe as it stands: ``text`` and ``data`` make it
    """
    template = template_of(name)
    return _SLOT.sub(lambda found: {"POLICY": policy_of(template), **parts}[found[1]], template)


def template_of(name: str) -> str:
    return (resources.files("rl.tracking.pages") / name).read_text(encoding="utf-8")


def policy_of(template: str) -> str:
    """The page's content policy: its own script and its own style, by their digests, and pictures in the page. Nothing else
    runs, loads or leaves, whatever stands in it."""
    rules = ["default-src 'none'"]
    for directive, element in (("script-src", "script"), ("style-src", "style")):
        found = [_digest(each) for each in re.findall(rf"<{element}>(.*?)</{element}>", template, re.DOTALL)]
        rules += [f"{directive} {' '.join(found)}"] if found else []
    return "; ".join([*rules, "img-src data:", "base-uri 'none'", "form-action 'none'"])


def text(words: object, limit: int = shown.LONGEST_TEXT) -> str:
    """Words of anybody as HTML: no secrets, no controls, no markup. Lines stay."""
    return html.escape(shown.text(words, limit))


def line(words: object, limit: int = shown.LONGEST_DETAIL) -> str:
    """The same, as one line."""
    return html.escape(shown.line(words, limit))


def data(content: Mapping[str, Any]) -> str:
    """JSON for a script element: nothing in it can close the element."""
    return json.dumps(content).replace("<", "\\u003c")


def picture(pixels: np.ndarray, longest: int = shown.LONGEST_SIDE) -> str:
    """uint8 [H, W, 3] -> the address of a picture in the page, with a longer side of at most ``longest`` pixels."""
    return embedded(Image.fromarray(np.ascontiguousarray(pixels)), longest)


def embedded(image: Image.Image, longest: int = shown.LONGEST_SIDE) -> str:
    image = image.convert("RGB")
    image.thumbnail((longest, longest))
    file, small = io.BytesIO(), max(image.size) <= _SMALL
    if small:
        image.save(file, "PNG")
    else:
        image.save(file, "JPEG", quality=_QUALITY)
    return f"data:image/{'png' if small else 'jpeg'};base64,{base64.b64encode(file.getvalue()).decode()}"


def is_embedded(address: object) -> bool:
    """Whether an address that comes from a file is a picture in itself, and no place on a network."""
    return isinstance(address, str) and _URI.fullmatch(address) is not None


def slug(name: str) -> str:
    """A file's name for any text; two texts have two names. Example: ``easy_vqa-3f2a91c0``."""
    plain = re.sub(r"[^A-Za-z0-9._]+", "-", name).strip("-.")[:60]
    return f"{plain or 'page'}-{hashlib.sha256(name.encode('utf-8', 'surrogatepass')).hexdigest()[:8]}"


def _digest(content: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()}'"
