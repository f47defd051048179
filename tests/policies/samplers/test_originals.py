"""Each family's sampler against what its original answered with the same weights and numbers: see golden/README.md."""

from __future__ import annotations

import json
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from policies import load_policy
from policies.base import EncodedPrompt
from policies.generate import generate_image, generate_text
from policies.policy import MaskedDiffusionPolicy
from rl.types import ImageSampling, TextSampling
from tests.policies.originals import GOLDEN, write_folder
from tests.wide import wide

ROWS: list[dict[str, Any]] = json.loads((GOLDEN / "samplers.json").read_text())
T2I, BOS, EOS, SOI, EOI = 290, 291, 1, 292, 293


@pytest.fixture(scope="module")
def policies(tmp_path_factory):
    folder: Path = tmp_path_factory.mktemp("families")

    @cache
    def load(name: str) -> MaskedDiffusionPolicy:
        return load_policy(write_folder(name, folder / name))

    return load


def with_ends(policy: MaskedDiffusionPolicy, eos: int, turn_end: int) -> MaskedDiffusionPolicy:
    """The same policy, whose text ends with other tokens."""
    other = policy.with_frozen_copy()
    other.vocabulary = replace(other.vocabulary, eos_id=eos)
    other.habits = replace(other.habits, turn_end=other.tokenizer.decode([turn_end]))
    return other


def ways() -> dict[str, list[dict[str, Any]]]:
    """Rows by family and way to sample."""
    found: dict[str, list[dict[str, Any]]] = {}
    for row in ROWS:
        found.setdefault(" ".join([row["family"], *map(str, row["sampling"].values())]), []).append(row)
    return found


def until_end(tokens: list[int], eos: int) -> list[int]:
    return tokens[: tokens.index(eos) + 1] if eos in tokens else tokens


@pytest.mark.parametrize("way", wide(ways(), 3))
def test_answers_are_the_originals_token_for_token(policies, way):
    rows = ways()[way]
    policy = policies(rows[0]["family"])
    if "ends" in rows[0]:
        policy = with_ends(policy, *rows[0]["ends"])
    for row in rows:
        if "codes" in row:
            prompt = EncodedPrompt((T2I, BOS, *row["prompt"], EOS, SOI), (EOI,), (T2I, BOS, EOS, SOI), row["codes"])
            sample = generate_image(policy, [prompt], ImageSampling(**row["sampling"]), [row["seed"]])[0]
            assert sample.token_ids.tolist() == row["response"]
        else:
            sampling = TextSampling(**row["sampling"])
            sample = generate_text(policy, [row["prompt"]], sampling, [row["seed"]])[0]
            expected = until_end(row["response"][: sampling.max_new_tokens], policy.vocabulary.eos_id)
            assert sample.token_ids.tolist() == expected
