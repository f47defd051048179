"""A custom reward that a random policy's answers differ in."""

from __future__ import annotations


def reward(completions, images, **columns) -> list[float]:
    return [
        float(len(set(text))) if image is None else float(image.mean()) / 25
        for text, image in zip(completions, images, strict=True)
    ]
