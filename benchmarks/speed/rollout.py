"""Rollouts in exact mode against the plain algorithms: the same random weights, in one process, taking turns.

CPU-seconds of this process, so that a busy machine does not count. Every case is one warm-up and ``repeats`` turns of
each side; a turn's ratio compares neighbours, and the medians are reported. Captions are padded on the left to half the
length of the image, as MMaDA-8B pads to 512 tokens before 1,024 codes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from itertools import product
from statistics import median
from typing import Any

import torch

from benchmarks.policy import FIRST_PLAIN, MASK, bench_policy
from benchmarks.speed.plain import block_generate, llada_generate, mmada_draw
from benchmarks.speed.plain_cache import PlainDualCache, dual_cache_generate
from benchmarks.timing import one_thread, turns
from policies.base import EncodedPrompt
from policies.network.prepacked_weights import packed
from policies.policy import MaskedDiffusionPolicy
from policies.samplers.image import sample_image
from policies.samplers.text import sample_text
from rl.types import ImageSampling, TextSampling

VOCABULARIES, GROUPS = (4096, 32768), (1, 8)
CASES = ("text", "image", "cached", "block")
Side = Callable[[int], int]  # of a seed: how many tokens were written


@dataclass(frozen=True, slots=True)
class Shape:
    """The model and the work. Tokens, but for the sizes of the network."""

    d_model: int = 384
    n_layers: int = 6
    n_heads: int = 6
    mlp_hidden_size: int = 1152
    prompt: int = 64
    max_new_tokens: int = 64
    block_length: int = 32
    text_steps: int = 32
    block_new_tokens: int = 256
    own_blocks: tuple[int, ...] = (4, 32)
    caption: int = 16
    codes: int = 256
    codebook: int = 1024
    image_steps: int = 15
    guidance: float = 3.5


def run(
    repeats: int = 5,
    shape: Shape | None = None,
    vocabularies: Sequence[int] = VOCABULARIES,
    groups: Sequence[int] = GROUPS,
    log: Callable[[str], None] = print,
    only: Sequence[str] = CASES,
) -> dict[str, Any]:
    """The cases, as what ``unigrpo bench rollout`` writes. One thread: one rollout worker has one."""
    shape, cases = shape or Shape(), []

    def measure(modality: str, against: str, vocabulary: int, group: int, ours: Side, plain: Side) -> None:
        cases.append(_case(modality, against, vocabulary, group, repeats, ours, plain))
        log(_line(cases[-1]))

    with one_thread():
        for vocabulary in vocabularies:
            policy = bench_policy(shape, vocabulary)
            plain = bench_policy(shape, vocabulary)
            with torch.no_grad(), packed(policy.module):  # as a rollout worker has them, from version to version
                for group in groups if "text" in only else ():
                    measure("text", "LLaDA generate.py", vocabulary, group, *text_sides(policy, plain, shape, group))
                if "image" in only:
                    measure("image", "MMaDA t2i_generate", vocabulary, 1, *image_sides(policy, plain, shape))
                if "cached" in only:
                    greedy, fast_dllm = greedy_cached_sides(policy, plain, shape)
                    measure("text, dual cache, greedy", "Fast-dLLM dual cache", vocabulary, 1, greedy, fast_dllm)
                    for group, temperature in product(groups, (1.0, 0.0)):
                        sides = text_sides(policy, plain, shape, group, temperature, cache="dual")
                        named = "text, dual cache" if temperature else "text, dual cache, greedy"
                        measure(named, "LLaDA generate.py", vocabulary, group, *sides)
            for block_length in shape.own_blocks if "block" in only else ():
                sides = block_sides(shape, vocabulary, block_length)
                measure(f"block-causal, {block_length}", "the same without a cache", vocabulary, 1, *sides)
    return {"bench": "rollout", "torch": torch.__version__, "threads": 1, "shape": asdict(shape), "cases": cases}


def text_sides(
    policy: MaskedDiffusionPolicy,
    plain_policy: MaskedDiffusionPolicy,
    shape: Shape,
    group: int,
    temperature: float = 1.0,
    cache: str = "none",
) -> tuple[Side, Side]:
    """Ours and the plain algorithm, each a function of a seed that returns how many tokens it wrote.

    ``plain_policy`` has the same weights, so that those of ``policy`` may be packed.
    """
    prompt = list(range(FIRST_PLAIN, FIRST_PLAIN + shape.prompt))
    sampling = TextSampling(shape.max_new_tokens, shape.block_length, shape.text_steps, temperature, cache=cache)

    def ours(seed: int) -> int:
        samples = sample_text(policy, prompt, sampling, [seed * group + member for member in range(group)])
        return sum(len(sample.token_ids) for sample in samples)

    def plain(seed: int) -> int:
        torch.manual_seed(seed)
        ids = llada_generate(
            plain_policy.logits, torch.tensor([prompt] * group), steps=shape.text_steps, length=shape.max_new_tokens,
            block=shape.block_length, temperature=temperature, mask_id=MASK,
        )  # fmt: skip
        return group * (ids.shape[1] - len(prompt))

    return ours, plain


def image_sides(policy: MaskedDiffusionPolicy, plain_policy: MaskedDiffusionPolicy, shape: Shape) -> tuple[Side, Side]:
    """``plain_policy`` as in text_sides."""
    caption = list(range(FIRST_PLAIN, FIRST_PLAIN + shape.caption))
    start, end, close, pad = [2, 3], [4, 5], 6, 7
    prompt = EncodedPrompt((*start, *caption, *end), (close,), (*start, *end), shape.codes)
    sampling = ImageSampling(shape.image_steps, shape.guidance, temperature=1.0, remask_temperature=1.0)
    padded = shape.codes // 2

    def row(prefix: tuple[int, ...]) -> torch.Tensor:
        return torch.tensor([[*[pad] * (padded - len(prefix)), *prefix, *[MASK] * shape.codes, close]])

    def ours(seed: int) -> int:
        return len(sample_image(policy, prompt, sampling, [seed])[0].token_ids)

    def plain(seed: int) -> int:
        ids, other = row(prompt.prefix), row(prompt.unconditional)
        codes = mmada_draw(
            plain_policy.logits, ids, other, ids != pad, other != pad, codes=shape.codes, mask_id=MASK,
            image_offset=policy.vocabulary.image_offset, codebook=shape.codebook, steps=shape.image_steps,
            guidance=shape.guidance, temperature=1.0, generator=torch.Generator().manual_seed(seed),
        )  # fmt: skip
        return codes.shape[1]

    return ours, plain


def block_sides(shape: Shape, vocabulary: int, block_length: int) -> tuple[Side, Side]:
    """A block-causal policy with its exact cache, and the same algorithm without: SDAR's, two tokens a step."""
    policy = bench_policy(shape, vocabulary, block_length=block_length)
    prompt = list(range(FIRST_PLAIN, FIRST_PLAIN + shape.prompt))
    length, steps = shape.block_new_tokens, shape.block_new_tokens // 2
    sampling = TextSampling(length, block_length, steps, temperature=0.0)

    def ours(seed: int) -> int:
        return len(sample_text(policy, prompt, sampling, [seed])[0].token_ids)

    def plain(seed: int) -> int:
        ids = block_generate(
            policy, torch.tensor([prompt]), steps=steps, length=length, block=block_length, mask_id=MASK
        )
        return ids.shape[1] - len(prompt)

    return ours, plain


def greedy_cached_sides(policy: MaskedDiffusionPolicy, plain: MaskedDiffusionPolicy, shape: Shape) -> tuple[Side, Side]:
    """Ours with the dual cache, and Fast-dLLM's, which takes one sequence at a time. ``plain`` as in text_sides."""
    ours, _ = text_sides(policy, plain, shape, group=1, temperature=0.0, cache="dual")
    prompt, network = list(range(FIRST_PLAIN, FIRST_PLAIN + shape.prompt)), PlainDualCache(plain.module)

    def fast_dllm(seed: int) -> int:
        ids = dual_cache_generate(
            network, torch.tensor([prompt]), steps=shape.text_steps, length=shape.max_new_tokens,
            block=shape.block_length, mask_id=MASK,
        )  # fmt: skip
        return ids.shape[1] - len(prompt)

    return ours, fast_dllm


def _case(
    modality: str,
    against: str,
    vocabulary: int,
    group: int,
    repeats: int,
    ours: Side,
    plain: Side,
) -> dict[str, Any]:
    tokens = {ours(0), plain(0)}
    plain_s, ours_s = zip(*turns((plain, ours), repeats), strict=True)
    return {
        "modality": modality,
        "against": against,
        "vocabulary": vocabulary,
        "group": group,
        "tokens": sorted(tokens),
        "plain_cpu_s": list(plain_s),
        "ours_cpu_s": list(ours_s),
        "median_plain_cpu_s": median(plain_s),
        "median_ours_cpu_s": median(ours_s),
        "speedup": median(first / second for first, second in zip(plain_s, ours_s, strict=True)),
    }


def _line(case: dict[str, Any]) -> str:
    return (
        f"{case['modality']}, vocabulary {case['vocabulary']:,}, group of {case['group']}: "
        f"{case['median_ours_cpu_s']:.2f} CPU-s against {case['median_plain_cpu_s']:.2f} "
        f"({case['against']}): {case['speedup']:.2f}x"
    )
