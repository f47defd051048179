"""docs/parity.md says how many answers are equal and what is missing: the numbers are those of the golden file."""

from __future__ import annotations

import dataclasses
import json
import re
from collections import Counter
from pathlib import Path

import pytest

from policies.families.registry import FAMILIES
from policies.samplers import REMASKING
from rl.types import ImageSampling, TextSampling
from tests.policies.originals import GOLDEN

PAGE = (Path(__file__).parents[3] / "docs" / "parity.md").read_text()
GREEDY = json.loads((GOLDEN / "greedy_text.json").read_text())


def table(heading: str) -> list[list[str]]:
    """The cells of the first table below a heading, without its first two lines."""
    lines = PAGE.split(f"## {heading}\n")[1].split("\n## ")[0].splitlines()
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines if line.startswith("|")]
    return rows[2:]


def kept() -> Counter[str]:
    """Answers in the golden files by what the page calls them."""
    rows = json.loads((GOLDEN / "samplers.json").read_text())
    found = Counter(f"{row['family']}, images" if "codes" in row else row["family"] for row in rows)
    return found + Counter({"llada": len(GREEDY["llada"]), "mmada, text": len(GREEDY["mmada"])})


def test_the_page_counts_the_answers_that_are_compared() -> None:
    said = {re.sub("`", "", family): sum(int(part.split()[0]) for part in equal.split(";"))
            for family, _, equal in table("What is equal")}  # fmt: skip
    assert said == dict(kept())


def test_every_family_states_what_auto_means() -> None:
    said = {name: row for row in table("What a family states") for name in re.findall(r"`(\w+)`", row[0])}
    ours = {
        {"Dream": "dream", "llada2_moe": "llada2"}.get(name, name): family.habits for name, family in FAMILIES.items()
    }
    assert said.keys() == ours.keys()
    for name, habits in ours.items():
        assert said[name][1].startswith(f"`{habits.schedule}`") and said[name][2].startswith(f"`{habits.confidence}`")


OPTIONS = (
    ("cfg_scale", True), ("logits_eos_inf", True), ("confidence_eos_eot_inf", True), ("confidence_threshold", True),
    ("remask_temperature", True), ("editing_threshold", False), ("max_post_steps", False), ("sequential", False),
    ("entropy_bounded", False), ("generation_tokens_hook_func", False), ("generation_logits_hook_func", False),
)  # fmt: skip


@pytest.mark.parametrize(("option", "exists"), OPTIONS)
def test_an_option_of_an_original_is_a_setting_or_stands_under_what_is_missing(option: str, exists: bool) -> None:
    settings = {field.name for kind in (TextSampling, ImageSampling) for field in dataclasses.fields(kind)} | set(
        REMASKING
    )
    assert (option in settings) == exists
    assert option in (PAGE if exists else PAGE.split("## What is missing")[1])


@pytest.mark.parametrize("words", ["LLaDA2.1", "Fast-dLLM on Dream", "padded batches"])
def test_what_cannot_be_reproduced_is_said(words: str) -> None:
    assert words in PAGE.split("## What is missing")[1]
