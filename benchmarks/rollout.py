"""Rollouts in exact mode against the plain algorithms: the same random weights, in one process, taking turns.

CPU-seconds of this process, so that a busy machine does not count. Every case is one warm-up and ``repeats`` turns of
each side; a turn's ratio compares neighbours, and the medians are reported. Captions are padded on the left to half the
length of the image, as MMaDA-8B pads to 512 tokens before 1,024 codes.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from statistics import median
from typing import Any

import torch

from benchmarks.plain import llada_generate, mmada_draw
from policies.base import EncodedPrompt, Vocabulary
from policies.build import train_tokenizer
from policies.policy import MaskedDiffusionPolicy
from policies.samplers.image import sample_image
from policies.samplers.text import sample_text
from policies.tokenizer import ChatTokenizer
from policies.transformer import Transformer, TransformerConfig
from rl.types import ImageSampling, TextSampling

MASK, EOS, FIRST_PLAIN = 0, -1, 16  # no token ends a text: both sides write all tokens
VOCABULARIES, GROUPS = (4096, 32768), (1, 8)


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
) -> dict[str, Any]:
    """All cases, as what ``unigrpo bench rollout`` writes. One thread: one rollout worker has one."""
    shape, threads = shape or Shape(), torch.get_num_threads()
    torch.set_num_threads(1)
    cases = []
    try:
        for vocabulary in vocabularies:
            policy = bench_policy(shape, vocabulary)
            for group in groups:
                cases.append(_case("text", vocabulary, group, repeats, *text_sides(policy, shape, group)))
                log(_line(cases[-1]))
            cases.append(_case("image", vocabulary, 1, repeats, *image_sides(policy, shape)))
            log(_line(cases[-1]))
    finally:
        torch.set_num_threads(threads)
    return {"bench": "rollout", "torch": torch.__version__, "threads": 1, "shape": asdict(shape), "cases": cases}


def bench_policy(shape: Shape, vocabulary: int, seed: int = 0) -> MaskedDiffusionPolicy:
    """Random weights. No token ends a text, so that both sides write the same number of tokens. The mask token is never
    the likeliest, as after training: ours never writes it, and the plain algorithm would."""
    sizes = {name: getattr(shape, name) for name in ("d_model", "n_layers", "n_heads", "mlp_hidden_size")}
    module = Transformer(TransformerConfig(vocab_size=vocabulary, **sizes))
    module.reset_parameters(torch.Generator().manual_seed(seed))
    with torch.no_grad():
        module.ff_out.weight[MASK] = 0
    return MaskedDiffusionPolicy(
        "bench",
        module.eval(),
        Vocabulary(vocabulary, MASK, EOS, vocabulary - shape.codebook, shape.codebook),
        ChatTokenizer(train_tokenizer(["bench"], 300), "{{ messages[0].content }}"),
        None,
        lambda policy, prompt: EncodedPrompt(()),
    )


def text_sides(policy: MaskedDiffusionPolicy, shape: Shape, group: int) -> tuple[Callable[[int], int], ...]:
    """Ours and the plain algorithm, each a function of a seed that returns how many tokens it wrote."""
    prompt = list(range(FIRST_PLAIN, FIRST_PLAIN + shape.prompt))
    sampling = TextSampling(shape.max_new_tokens, shape.block_length, shape.text_steps, temperature=1.0)

    def ours(seed: int) -> int:
        samples = sample_text(policy, prompt, sampling, [seed * group + member for member in range(group)])
        return sum(len(sample.token_ids) for sample in samples)

    def plain(seed: int) -> int:
        torch.manual_seed(seed)
        ids = llada_generate(
            policy.logits, torch.tensor([prompt] * group), steps=shape.text_steps, length=shape.max_new_tokens,
            block=shape.block_length, temperature=1.0, mask_id=MASK,
        )  # fmt: skip
        return group * (ids.shape[1] - len(prompt))

    return ours, plain


def image_sides(policy: MaskedDiffusionPolicy, shape: Shape) -> tuple[Callable[[int], int], ...]:
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
            policy.logits, ids, other, ids != pad, other != pad, codes=shape.codes, mask_id=MASK,
            image_offset=policy.vocabulary.image_offset, codebook=shape.codebook, steps=shape.image_steps,
            guidance=shape.guidance, temperature=1.0, generator=torch.Generator().manual_seed(seed),
        )  # fmt: skip
        return codes.shape[1]

    return ours, plain


def _case(
    modality: str, vocabulary: int, group: int, repeats: int, ours: Callable[[int], int], plain: Callable[[int], int]
) -> dict[str, Any]:
    tokens = {ours(0), plain(0)}
    turns = [(_seconds(plain, seed), _seconds(ours, seed)) for seed in range(1, repeats + 1)]
    plain_s, ours_s = ([turn[side] for turn in turns] for side in (0, 1))
    return {
        "modality": modality,
        "against": "LLaDA generate.py" if modality == "text" else "MMaDA t2i_generate",
        "vocabulary": vocabulary,
        "group": group,
        "tokens": sorted(tokens),
        "plain_cpu_s": plain_s,
        "ours_cpu_s": ours_s,
        "median_plain_cpu_s": median(plain_s),
        "median_ours_cpu_s": median(ours_s),
        "speedup": median(first / second for first, second in turns),
    }


def _seconds(side: Callable[[int], int], seed: int) -> float:
    begin = time.process_time()
    side(seed)
    return round(time.process_time() - begin, 4)


def _line(case: dict[str, Any]) -> str:
    return (
        f"{case['modality']}, vocabulary {case['vocabulary']:,}, group of {case['group']}: "
        f"{case['median_ours_cpu_s']:.2f} CPU-s against {case['median_plain_cpu_s']:.2f} "
        f"({case['against']}): {case['speedup']:.2f}x"
    )
