"""A reward that random weights can earn: digits among the characters of a text."""

from __future__ import annotations

from typing import Any


def digits(prompts: list[Any], completions: list[str], **columns: Any) -> list[float]:
    return [sum(character.isdigit() for character in text) / max(1, len(text)) for text in completions]
