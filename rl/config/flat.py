"""A tree of settings as dotted names and values."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any


def flatten(
    tree: Mapping[str, Any], prefix: str = "", *, leaves_only: bool = True, into_lists: bool = False
) -> Iterator[tuple[str, Any]]:
    """Dotted names and values of a tree. An empty mapping is a leaf.

    into_lists: a list that holds mappings is taken apart as well, by its indices
    """
    for key, value in tree.items():
        name = f"{prefix}{key}"
        inner = value if isinstance(value, Mapping) else {}
        if into_lists and isinstance(value, list | tuple) and any(isinstance(item, Mapping) for item in value):
            inner = {str(index): item for index, item in enumerate(value)}
        if not inner or not leaves_only:
            yield name, value
        yield from flatten(inner, f"{name}.", leaves_only=leaves_only, into_lists=into_lists)
