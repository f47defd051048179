"""What is compared is comparable: the plain algorithms and ours write the same tokens where no noise decides."""

import pytest
import torch

from benchmarks.policy import FIRST_PLAIN, MASK, bench_policy
from benchmarks.speed.plain import llada_generate, mmada_draw
from benchmarks.speed.plain_cache import PlainDualCache, dual_cache_generate
from benchmarks.speed.rollout import Shape, run
from policies.base import EncodedPrompt
from policies.samplers.image import sample_image
from policies.samplers.text import sample_text
from rl.types import ImageSampling, TextSampling

SMALL = Shape(
    d_model=32, n_layers=2, n_heads=2, mlp_hidden_size=64, prompt=8, max_new_tokens=16, block_length=8, text_steps=8,
    caption=4, codes=16, codebook=64, image_steps=3, block_new_tokens=16, own_blocks=(4,),
)  # fmt: skip
POLICY = bench_policy(SMALL, 256)


@pytest.mark.parametrize("length", [3, 11, 20])
@pytest.mark.parametrize(("steps", "block"), [(16, 16), (8, 8), (6, 8)])
def test_greedy_text_is_the_plain_algorithms(length: int, steps: int, block: int) -> None:
    prompt = list(range(FIRST_PLAIN, FIRST_PLAIN + length))
    plain = llada_generate(
        POLICY.logits, torch.tensor([prompt] * 2), steps=steps, length=16, block=block, temperature=0.0, mask_id=MASK
    )
    samples = sample_text(POLICY, prompt, TextSampling(16, block, steps, temperature=0.0), [0, 1])
    assert [sample.token_ids.tolist() for sample in samples] == plain[:, length:].tolist()


@pytest.mark.parametrize("length", [3, 11, 20])
@pytest.mark.parametrize(("steps", "block"), [(16, 16), (8, 8), (6, 8)])
def test_greedy_text_with_the_dual_cache_is_fast_dllms(length: int, steps: int, block: int) -> None:
    prompt = list(range(FIRST_PLAIN, FIRST_PLAIN + length))
    settings = {"steps": steps, "length": 16, "block": block, "mask_id": MASK}
    plain = dual_cache_generate(PlainDualCache(POLICY.module), torch.tensor([prompt]), **settings)
    sampling = TextSampling(16, block, steps, temperature=0.0, cache="dual")
    for sample in sample_text(POLICY, prompt, sampling, [0, 1]):
        assert sample.token_ids.tolist() == plain[0, length:].tolist()


def test_one_step_of_a_sharp_drawing_is_the_plain_algorithms() -> None:
    """Plain images are always drawn at random; weights so sharp that one code has all probability leave no choice."""
    policy = bench_policy(SMALL, 256, seed=1)
    with torch.no_grad():
        policy.module.ff_out.weight.mul_(500)
    prompt = EncodedPrompt((20, 21, 22), (6,), (20,), 16)
    prefix, pad = torch.tensor([[7, 7, 20, 21, 22]]), torch.tensor([[7, 7, 7, 7, 20]])
    canvas = torch.tensor([[MASK] * 16 + [6]])
    ids, other = torch.cat([prefix, canvas], 1), torch.cat([pad, canvas], 1)
    plain = mmada_draw(
        policy.logits, ids, other, ids != 7, other != 7, codes=16, image_offset=192, codebook=64, mask_id=MASK,
        steps=1, guidance=2.0, temperature=1.0, generator=torch.Generator().manual_seed(0),
    )  # fmt: skip
    ours = sample_image(policy, prompt, ImageSampling(steps=1, guidance=2.0), [5])[0]
    assert ours.token_ids.tolist() == plain[0].tolist()


@pytest.mark.long
def test_every_case_is_measured_on_equal_work() -> None:
    lines: list[str] = []
    result = run(2, SMALL, vocabularies=(256,), groups=(1, 3), log=lines.append)
    assert [(case["modality"], case["against"].split()[0], case["group"]) for case in result["cases"]] == [
        ("text", "LLaDA", 1), ("text", "LLaDA", 3), ("image", "MMaDA", 1), ("text, dual cache, greedy", "Fast-dLLM", 1),
        ("text, dual cache", "LLaDA", 1), ("text, dual cache, greedy", "LLaDA", 1), ("text, dual cache", "LLaDA", 3),
        ("text, dual cache, greedy", "LLaDA", 3), ("block-causal, 4", "the", 1),
    ]  # fmt: skip
    tokens = {1: [16], 3: [48]}
    assert all(case["tokens"] == tokens[case["group"]] for case in result["cases"])
    assert all(len(case["plain_cpu_s"]) == len(case["ours_cpu_s"]) == 2 for case in result["cases"])
    assert len(lines) == 9
