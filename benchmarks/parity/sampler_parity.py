"""Write what the originals' own samplers answer, on small random weights: ``tests/policies/golden/samplers.json``.

    pip install --no-deps --target SITE transformers==4.52.4 tokenizers==0.21.1 huggingface-hub==0.30.2 einops
    PYTHONPATH=.:SITE:ORIGINALS python -m benchmarks.parity.sampler_parity

``tests/policies/golden/README.md`` says which files ORIGINALS holds, and of which commit. Weights and configs are those of
``tests/policies/originals.py``. The originals' code runs unchanged but for three things: its random numbers are ours (the
uniform number of a seed, a step and a position, read by the inverse of the cumulative distribution), at temperature 0 it
takes the likeliest token where it would draw one, and it draws no mask token.
"""

from __future__ import annotations

import json
import types
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from functools import cache, partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from policies.noise import ORDER, TOKEN, gumbel, uniforms
from rewards.pictures.torchvision_ops import ensure_torchvision_ops
from tests.policies.originals import CONFIGS, GOLDEN, weight

OUT = GOLDEN / "samplers.json"
MASK, EOS, TURN_END = 300, 1, 4  # of the small models; TURN_END stands for <|eot_id|>
COMMON = (153, 68)  # what the small LLaDA writes most: in their place, so that it matters what is done about them
DREAM_ALG = {"low_confidence": "maskgit_plus", "entropy": "entropy", "margin": "topk_margin", "origin": "origin"}

Case = dict[str, Any]


class Draws:
    """Our random numbers, handed to code that asks torch for its own. A hook on the model says where the code is."""

    def __init__(self, case: Case) -> None:
        self.seed, self.greedy = case["seed"], case["sampling"].get("temperature", 1.0) == 0
        self.step, self.positions = -1, torch.arange(0)

    def uniform(self, stream: int) -> Tensor:
        return uniforms([self.seed], self.step, self.positions, stream)[0]

    def tokens(self, probabilities: Tensor, rows: Tensor | None = None) -> Tensor:
        """[M, V] -> [M], one of each row. rows: which of ``positions`` these are. Image codes have no mask token."""
        probabilities = probabilities.index_fill(-1, torch.tensor([MASK] * (probabilities.shape[-1] > MASK)).long(), 0)
        if self.greedy:
            return probabilities.argmax(-1)
        cumulative = probabilities.cumsum(-1, dtype=torch.float64)
        uniform = self.uniform(TOKEN) if rows is None else self.uniform(TOKEN)[rows]
        return torch.searchsorted(cumulative, uniform[:, None] * cumulative[:, -1:], right=True)[:, 0]

    def multinomial(self, probabilities: Tensor, num_samples: int = 1, **_: object) -> Tensor:
        assert num_samples == 1
        return self.tokens(probabilities)[:, None]

    def ordered(self, start: int, probabilities: Tensor, num_samples: int) -> Tensor:
        """``num_samples`` places of one row [1, L] over the whole sequence, without replacement: by Gumbel's numbers."""
        scores = probabilities[0].double().log()
        scores[start + self.positions] += gumbel(self.uniform(ORDER))
        return scores.topk(num_samples).indices[None]


@contextmanager
def replaced(*changes: tuple[object, str, object]) -> Iterator[None]:
    before = [(owner, name, getattr(owner, name)) for owner, name, _ in changes]
    try:
        for owner, name, value in changes:
            setattr(owner, name, value)
        yield
    finally:
        for owner, name, value in before:
            setattr(owner, name, value)


def filled(model: Any) -> Any:
    model.load_state_dict({key: torch.from_numpy(weight(key, t.shape)) for key, t in model.state_dict().items()})
    return model.float().eval()


def watched(model: Any, before: Callable[[tuple[Any, ...], dict[str, Any]], None]) -> tuple[object, str, object]:
    """A change for ``replaced``. before: sees each call's arguments, and may change those that have names."""
    forward = model.forward

    def call(*inputs: Any, **named: Any) -> Any:
        before(inputs, named)
        return forward(*inputs, **named)

    return model, "forward", call


@cache
def dream_model() -> Any:
    from dream_original.configuration_dream import DreamConfig  # pyright: ignore[reportMissingImports]
    from dream_original.modeling_dream import DreamModel  # pyright: ignore[reportMissingImports]

    return filled(DreamModel(DreamConfig(**CONFIGS["dream"], attn_implementation="sdpa")))


def dream(case: Case) -> list[int]:
    from dream_original import generation_utils  # pyright: ignore[reportMissingImports]

    model, draws, prompt, sampling = dream_model(), Draws(case), torch.tensor([case["prompt"]]), case["sampling"]
    start = prompt.shape[1]

    def before(inputs: tuple[Any, ...], _named: object) -> None:
        draws.step += 1
        draws.positions = (inputs[0][0] == MASK).nonzero()[:, 0] - start

    class Categorical:
        def __init__(self, probs: Tensor) -> None:
            self.probs = probs

        def sample(self) -> Tensor:
            # With alg=origin the rows are those whose number was below the chance: the smallest numbers.
            rows = draws.uniform(ORDER).argsort()[: len(self.probs)].sort().values
            return draws.tokens(self.probs, rows if sampling["remasking"] == "origin" else None)

    changes = (
        (generation_utils, "dists", types.SimpleNamespace(Categorical=Categorical)),
        (torch, "multinomial", partial(draws.ordered, start)),
        (torch, "rand", lambda *_, **__: draws.uniform(ORDER)),
    )
    with replaced(watched(model, before), *changes):
        ids = model.diffusion_generate(
            prompt, max_new_tokens=sampling["max_new_tokens"], steps=sampling["steps"], mask_token_id=MASK,
            alg=DREAM_ALG[sampling["remasking"]], alg_temp=sampling.get("remask_temperature"), pad_token_id=EOS,
            temperature=sampling["temperature"], top_p=sampling.get("top_p"), top_k=sampling.get("top_k"),
        )  # fmt: skip
    return ids[0, start:].tolist()


@cache
def sdar_model() -> Any:
    from sdar_original.configuration_sdar import SDARConfig  # pyright: ignore[reportMissingImports]
    from sdar_original.modeling_sdar import SDARForCausalLM  # pyright: ignore[reportMissingImports]

    return filled(SDARForCausalLM(SDARConfig(**CONFIGS["sdar"])))


def block_watch(draws: Draws, start: int, own: int, steps: int) -> Callable[[tuple[Any, ...], dict[str, Any]], None]:
    """Block-causal samplers say with ``position_ids`` which block they are at."""
    at = {"block": -1, "step": -1}

    def before(_inputs: object, named: dict[str, Any]) -> None:
        if named.get("store_kv"):
            return
        last = int(named["position_ids"][0, -1])
        block = last // own - start // own
        at["step"] = at["step"] + 1 if block == at["block"] else 0
        at["block"] = block
        draws.step = block * steps + at["step"]
        draws.positions = torch.arange(last + 1 - own, last + 1) - start
        named["attention_mask"] = named["attention_mask"].float()  # LLaDA2's is bfloat16, whatever the weights are

    return before


def sdar(case: Case) -> list[int]:
    from sdar_original.generate import block_diffusion_generate  # pyright: ignore[reportMissingImports]

    model, draws, prompt, sampling = sdar_model(), Draws(case), torch.tensor([case["prompt"]]), case["sampling"]
    own, start, threshold = 4, prompt.shape[1], sampling.get("confidence_threshold")
    steps = sampling["steps"] * own // sampling["max_new_tokens"]
    changes = ((torch, "multinomial", draws.multinomial),)
    with replaced(watched(model, block_watch(draws, start, own, steps)), *changes):
        ids = block_diffusion_generate(
            model, {"input_ids": prompt}, MASK, gen_length=sampling["max_new_tokens"], block_length=own,
            denoising_steps=steps, temperature=sampling["temperature"] or 1.0, top_k=sampling.get("top_k", 0),
            top_p=sampling.get("top_p", 1.0), confidence_threshold=threshold,
            remasking_strategy="low_confidence_static" if threshold is None else "low_confidence_dynamic",
        )  # fmt: skip
    assert ids[0, :start].tolist() == case["prompt"], "the original overwrote the prompt"
    return ids[0, start:].tolist()


@cache
def llada2_model() -> Any:
    import transformers.utils

    if not hasattr(transformers.utils, "TransformersKwargs"):
        setattr(transformers.utils, "TransformersKwargs", dict)  # noqa: B010, a type that its file imports, of a later version
    from llada2_original.configuration_llada2_moe import LLaDA2MoeConfig  # pyright: ignore[reportMissingImports]
    from llada2_original.modeling_llada2_moe import LLaDA2MoeModelLM  # pyright: ignore[reportMissingImports]

    return filled(LLaDA2MoeModelLM(LLaDA2MoeConfig(**CONFIGS["llada2"])))


def llada2(case: Case) -> list[int]:
    model, draws, prompt, sampling = llada2_model(), Draws(case), torch.tensor([case["prompt"]]), case["sampling"]
    steps = sampling["steps"] * 32 // sampling["max_new_tokens"]
    changes = ((torch, "multinomial", draws.multinomial),)
    with replaced(watched(model, block_watch(draws, prompt.shape[1], 32, steps)), *changes):
        ids = model.generate(
            prompt, temperature=sampling["temperature"], block_length=32, steps=steps,
            gen_length=sampling["max_new_tokens"], top_p=sampling.get("top_p"), top_k=sampling.get("top_k"),
            threshold=sampling.get("confidence_threshold", 1.0), eos_id=EOS, mask_id=MASK,
        )  # fmt: skip
    return ids[0].tolist()


@cache
def llada_model() -> Any:
    from mmada_original.configuration_llada import LLaDAConfig  # pyright: ignore[reportMissingImports]
    from mmada_original.modeling_llada import LLaDAModelLM  # pyright: ignore[reportMissingImports]

    return filled(LLaDAModelLM(LLaDAConfig(**CONFIGS["llada"]), init_params=False))


@cache
def llada_generate(eos: int, turn_end: int) -> types.ModuleType:
    """Its file names two tokens by their number: here by those of the small vocabulary."""
    import llada_original  # pyright: ignore[reportMissingImports]

    source = (Path(llada_original.__path__[0]) / "generate.py").read_text()
    module = types.ModuleType("llada_generate")
    exec(source.replace("126081", str(eos)).replace("126348", str(turn_end)), module.__dict__)
    return module


def llada(case: Case) -> list[int]:
    module, model, sampling = llada_generate(*case.get("ends", (EOS, TURN_END))), llada_model(), case["sampling"]
    draws, prompt = Draws(case), torch.tensor([case["prompt"]])
    start, length = prompt.shape[1], prompt.shape[1] + sampling["max_new_tokens"]

    def before(_inputs: object, _named: object) -> None:
        draws.step += 1
        draws.positions = torch.arange(length) - start

    def noisy(logits: Tensor, temperature: float) -> Tensor:
        """In place of Gumbel noise over the vocabulary: the token that our one number draws."""
        if temperature == 0:
            return logits
        drawn = draws.tokens((logits[0].float() / temperature).softmax(-1))
        return torch.zeros_like(logits).scatter_(2, drawn[None, :, None], 1.0)

    options = {
        name: sampling[name] for name in ("cfg_scale", "logits_eos_inf", "confidence_eos_eot_inf") if name in sampling
    }
    changes = ((module, "add_gumbel_noise", noisy), (torch, "rand", lambda *_, **__: draws.uniform(ORDER)[None]))
    with replaced(watched(model, before), *changes):
        ids = module.generate(
            model, prompt, attention_mask=torch.ones_like(prompt), steps=sampling["steps"], mask_id=MASK,
            gen_length=sampling["max_new_tokens"], block_length=sampling["block_length"],
            temperature=sampling["temperature"], remasking=sampling["remasking"], **options,
        )  # fmt: skip
    return ids[0, start:].tolist()


@cache
def mmada_model() -> Any:
    from mmada_original.configuration_llada import ModelConfig  # pyright: ignore[reportMissingImports]
    from mmada_original.modeling_mmada import MMadaConfig, MMadaModelLM  # pyright: ignore[reportMissingImports]

    config = MMadaConfig(**{**asdict(ModelConfig()), **CONFIGS["mmada"]})
    return filled(MMadaModelLM(config, init_params=False))


def mmada(case: Case) -> list[int]:
    """An image: ``prompt`` is its caption's tokens, ``codes`` how many codes it has."""
    from mmada_original import sampling as theirs  # pyright: ignore[reportMissingImports]

    model, draws, settings, codes = mmada_model(), Draws(case), case["sampling"], case["codes"]
    t2i, bos, eos, soi, eoi = SPECIAL
    text, pad = [t2i, bos, *case["prompt"], eos, soi], CONFIGS["mmada"]["pad_token_id"]
    blind = [*[pad] * len(case["prompt"]), t2i, bos, eos, soi]
    attention = torch.tensor([[0] * len(case["prompt"]) + [1] * (4 + codes + 1)])
    canvas = [CONFIGS["mmada"]["mask_token_id"]] * codes + [eoi]
    ids, other = torch.tensor([[*text, *canvas]]), torch.tensor([[*blind, *canvas]])

    def before(_inputs: object, _named: object) -> None:
        draws.step += 1
        draws.positions = torch.arange(codes)

    changes = (
        (torch, "multinomial", draws.multinomial),
        (theirs, "gumbel_noise", lambda t, generator=None: gumbel(draws.uniform(ORDER)).float()[None]),
    )
    with replaced(watched(model, before), *changes), torch.no_grad():
        found = model.t2i_generate(
            ids, other, torch.ones_like(ids), attention, temperature=settings["remask_temperature"],
            timesteps=settings["steps"], guidance_scale=settings["guidance"], seq_len=codes, mask_token_id=0,
            noise_schedule=theirs.get_mask_schedule(settings["schedule"]), resolution=len(text) - 1, codebook_size=64,
            uni_prompting=types.SimpleNamespace(text_tokenizer=range(300)),
        )  # fmt: skip
    return found[0].tolist()


SPECIAL = (290, 291, 1, 292, 293)  # t2i, bos, eos, soi, eoi
FAMILIES: dict[str, Callable[[Case], list[int]]] = {
    "dream": dream, "sdar": sdar, "llada2": llada2, "llada": llada, "mmada": mmada,
}  # fmt: skip


def prompts(count: int, seed: int, longest: int = 40) -> Iterator[list[int]]:
    """Ids below the small models' special tokens."""
    random = np.random.RandomState(seed)
    for _ in range(count):
        yield random.randint(20, 290, random.randint(1, longest)).tolist()


def rows(family: str, seed: int, each: int, options: list[dict[str, Any]], **case: Any) -> list[Case]:
    """``each`` prompts for each way to sample."""
    texts = prompts(each * len(options), seed)
    return [
        {"family": family, "prompt": next(texts), "seed": index, "sampling": one, **case}
        for one in options for index in range(each)
    ]  # fmt: skip


def text(length: int, steps: int, block: int | None = None, temperature: float = 0.0, **more: Any) -> dict[str, Any]:
    sizes = {"max_new_tokens": length, "block_length": block or length, "steps": steps}
    return {**sizes, "temperature": temperature, "remasking": "low_confidence", **more}


def image(steps: int, schedule: str, temperature: float = 0.0, noise: float = 0.0) -> dict[str, Any]:
    return {
        "steps": steps,
        "schedule": schedule,
        "guidance": 1.5,
        "temperature": temperature,
        "remask_temperature": noise,
    }


def cases() -> list[Case]:
    order = ("low_confidence", "entropy", "margin")
    return [
        *rows("dream", 1, 6, [text(n, steps, remasking=by) for by in order for n, steps in ((32, 8), (24, 24), (40, 7))]),
        *rows("dream", 2, 3, [text(32, steps, remasking="origin", temperature=t) for steps in (8, 32) for t in (0.0, 0.7)]),
        *rows("dream", 3, 3, [text(32, 16, None, 0.2, top_p=0.95, remasking=by) for by in order]),
        *rows("dream", 4, 3, [text(32, 8, None, 0.6, top_k=20, top_p=0.7, remasking=by) for by in order]),
        *rows("dream", 5, 3, [text(32, 8, None, t, remasking=by, remask_temperature=0.3) for by in order for t in (0.0, 0.5)]),
        *rows("dream", 6, 3, [text(32, 8, top_p=0.5, remasking=by) for by in order]),
        *rows("sdar", 7, 8, [text(24, 24, 4), text(24, 24, 4, confidence_threshold=0.05)]),
        *rows("sdar", 8, 6, [text(24, 24, 4, 0.6, top_k=20, top_p=0.95), text(24, 24, 4, 1.0, confidence_threshold=0.05)]),
        *rows("llada2", 9, 6, [text(64, 64, 32), text(64, 16, 32), text(64, 64, 32, confidence_threshold=0.03)]),
        *rows("llada2", 10, 5, [text(64, 32, 32, 0.7, top_k=20, top_p=0.9), text(64, 64, 32, 1.0, confidence_threshold=0.03)]),
        *rows("llada", 11, 5, [text(32, 16, 8, cfg_scale=w) for w in (0.5, 2.0)]),
        *rows("llada", 12, 6, [text(32, 16, 8, logits_eos_inf=True), text(32, 16, 16, confidence_eos_eot_inf=True)], ends=COMMON),
        *rows("llada", 13, 5, [text(32, 16, 8, 0.7), text(32, 12, 16, 0.5, remasking="random")]),
        *rows("llada", 17, 5, [text(32, 8, 8, 1.0, cfg_scale=1.0)]),
        *rows("mmada", 14, 3, [image(steps, by) for steps in (15, 18, 5) for by in ("cosine", "linear")], codes=16),
        *rows("mmada", 15, 3, [image(steps, by) for steps in (15, 18) for by in ("cosine", "linear")], codes=64),
        *rows("mmada", 16, 4, [image(15, "cosine", 1.0, 1.0), image(6, "linear", 1.0, 0.5)], codes=16),
        *rows("mmada", 18, 4, [image(9, "cosine", 0.0, 2.0)], codes=16),
    ]  # fmt: skip


def main() -> None:
    ensure_torchvision_ops()
    found = [{**case, "response": FAMILIES[case["family"]](case)} for case in cases()]
    OUT.write_text("[\n" + ",\n".join(json.dumps(row) for row in found) + "\n]\n")
    print(len(found), OUT.stat().st_size)


if __name__ == "__main__":
    main()
