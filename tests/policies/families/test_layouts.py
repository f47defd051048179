"""Names and shapes of published checkpoints, each of which our model must hold under exactly that name."""

from __future__ import annotations

import itertools
import json
import shutil
from functools import partial
from math import prod

import pytest
import torch

from policies import load_policy
from policies.families import mmada
from policies.families.registry import family_of
from policies.files.uninitialised import empty_module
from policies.images.magvit import MagvitConfig, MagvitTokenizer
from tests.policies.originals import GOLDEN, shapes
from tests.toys import toy_draw_prompt, toy_folder, toy_policy, toy_understand_prompt

LAYOUTS = json.loads((GOLDEN / "layouts.json").read_text())
CHECKPOINTS = [name for name, layout in LAYOUTS.items() if "bytes" in layout]


def published_names(layout: dict) -> set[str]:
    """Unfold ``blocks.{n}.x: [[0, 31]]``."""
    names = set()
    for pattern, ranges in layout["tensors"].items():
        for numbers in itertools.product(*(range(first, last + 1) for first, last in ranges)):
            parts = pattern.split("{n}")
            pieces = [str(number) + part for number, part in zip(numbers, parts[1:], strict=True)]
            names.add("".join([parts[0], *pieces]))
    return names


@pytest.mark.parametrize("name", CHECKPOINTS)
def test_every_tensor_has_its_published_name_and_they_add_up(name):
    layout = LAYOUTS[name]
    ours = shapes(layout["config"])
    assert set(ours) == published_names(layout) and len(ours) == layout["count"]
    # All are bf16, but LLaDA2.1 keeps the bias of its routers in single precision: two bytes more each.
    wider = sum(prod(shape) for key, shape in ours.items() if "expert_bias" in key) if name == "LLaDA2.1-mini" else 0
    assert 2 * sum(map(prod, ours.values())) + 2 * wider == layout["bytes"]


def test_magvit_has_the_released_names_and_sizes():
    ours = empty_module(partial(MagvitTokenizer, MagvitConfig()), torch.float32, "meta").state_dict()
    released = {
        pattern.replace("{n}", "{}").format(*numbers)
        for pattern, all_numbers in LAYOUTS["magvitv2"]["tensors"].items()
        for numbers in all_numbers
    }
    assert set(ours) == released and len(ours) == LAYOUTS["magvitv2"]["count"]
    assert sum(value.numel() for value in ours.values()) == LAYOUTS["magvitv2"]["elements"]


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("LLaDA-8B-Instruct", (126464, 126336, 126081)),
        ("Dream-v0-Instruct-7B", (152064, 151666, 151643)),
        ("SDAR-8B-Chat", (151936, 151669, 151643)),
        ("SDAR-1.7B-Chat", (151936, 151669, 151643)),
        ("LLaDA2.0-mini", (157184, 156895, 156892)),
        ("LLaDA2.1-mini", (157184, 156895, 156892)),
    ],
)
def test_ids_of_mask_and_end(name, expected):
    config = LAYOUTS[name]["config"]
    vocabulary = family_of(config["model_type"]).vocabulary(config, 0)
    assert (vocabulary.size, vocabulary.mask_id, vocabulary.eos_id) == expected
    assert vocabulary.codebook_size == 0 and vocabulary.image_offset == vocabulary.size


def test_mmada_draws_after_the_tokenizers_last_token():
    """126349 is len(tokenizer) in MMaDA's training and drawing code (its issue 49), not the 126464 of its config."""
    config = {"vocab_size": 134656, "embedding_size": 126464, "llm_vocab_size": 126464, "codebook_size": 8192}
    ids = {"mask_token_id": 126336, "eos_token_id": 126081}
    vocabulary = family_of("mmada").vocabulary({**config, **ids}, 126349)
    assert (vocabulary.size, vocabulary.image_offset) == (134656, 126349)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("LLaDA-8B-Instruct", (32, 32, 128, None, False, None, False)),
        ("Dream-v0-Instruct-7B", (28, 4, 128, None, True, None, True)),
        ("SDAR-8B-Chat", (32, 8, 128, None, False, 4, False)),
        ("LLaDA2.0-mini", (16, 4, 128, 64, False, 32, False)),
    ],
)
def test_sizes(name, expected):
    config = LAYOUTS[name]["config"]
    got = family_of(config["model_type"]).sizes(config)
    told = (got.n_heads, got.kv_heads, got.head_size, got.rotary_dim, got.qkv_bias, got.block_length, got.shifted)
    assert told == expected


# MMaDA's prompting code gives these ids meaning; LLaDA's released tokenizer_config.json names them so.
PROMPTING = {"<|soi|>": 126084, "<|eoi|>": 126085, "<|t2i|>": 126088, "<|mmu|>": 126089, "<|r2i|>": 126094}
TOKENIZER = {126080: "<|startoftext|>", 126081: "<|endoftext|>"} | {
    126084 + index: f"<|reserved_token_{index}|>" for index in range(11)
}


def test_mmadas_layout_tokens_are_the_reserved_ones():
    assert {name: TOKENIZER[index] for name, index in PROMPTING.items()}.items() <= mmada.RELEASED.items()
    assert (mmada.RELEASED["<bos>"], mmada.RELEASED["<eos>"]) == (TOKENIZER[126080], TOKENIZER[126081])


def test_a_tokenizer_with_the_released_names_gives_the_same_layouts(tmp_path):
    shutil.copytree(toy_folder(), tmp_path / "released")
    file = tmp_path / "released" / "tokenizer.json"
    text = file.read_text()
    for name, released in mmada.RELEASED.items():
        text = text.replace(json.dumps(name), json.dumps(released))
    file.write_text(text)
    ours, theirs = toy_policy(), load_policy(tmp_path / "released")
    for prompt in (toy_draw_prompt(), toy_understand_prompt()):
        assert theirs.encode_prompt(prompt) == ours.encode_prompt(prompt)
