"""MMaDA (arXiv 2505.15809): LLaDA with image codes above the text vocabulary, and layouts for seeing and drawing.

Base and MixCoT. The image tokenizer is a folder ``image_tokenizer`` beside the weights: a copy of, or a link to,
showlab/magvitv2 for the released checkpoints, as ``policy.image_tokenizer`` makes for a policy on a hub.

draw:        t2i bos text eos soi image.. eoi
think_draw:  r2i chat-text plan.. eos soi image.. eoi
understand:  mmu soi image.. eoi chat-text
text:        the chat template
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from policies.base import EncodedPrompt, Vocabulary
from policies.families import llada
from policies.families.card import Card
from policies.families.registry import Family
from policies.families.settings import whole, whole_or_none
from policies.network.transformer import TransformerConfig
from policies.policy import MaskedDiffusionPolicy
from policies.samplers.habits import Habits
from rl.errors import DataError, PolicyError
from rl.pixels import load_pixels
from rl.types import Prompt, Task

# The released tokenizer has no names of its own for these: MMaDA's prompting gives meaning to reserved tokens.
RELEASED = {
    "<|soi|>": "<|reserved_token_0|>",
    "<|eoi|>": "<|reserved_token_1|>",
    "<|t2i|>": "<|reserved_token_4|>",
    "<|mmu|>": "<|reserved_token_5|>",
    "<|r2i|>": "<|reserved_token_10|>",
    "<bos>": "<|startoftext|>",
    "<eos>": "<|endoftext|>",
}


def sizes(config: Mapping[str, Any]) -> TransformerConfig:
    """The original code has no defaults; we take the release's for what does not change the weights' meaning."""
    return llada.read_sizes(
        {**config, "vocab_size": _size(config), "embedding_size": None}, theta=None, max_length=4096
    )


def vocabulary(config: Mapping[str, Any], text_size: int) -> Vocabulary:
    """Image code 0 follows the tokenizer's last token, as MMaDA trains and draws: at 126349 in the released checkpoints,
    although their config reserves ``llm_vocab_size`` = 126464 ids for text."""
    return Vocabulary(
        size=_size(config),
        mask_id=config["mask_token_id"],
        eos_id=config["eos_token_id"],
        image_offset=min(whole(config, "llm_vocab_size"), text_size),
        codebook_size=whole(config, "codebook_size"),
    )


def _size(config: Mapping[str, Any]) -> int:
    """Rows of the embedding. Its table grew when image codes were added, and not every name for it was kept up."""
    names = ("new_vocab_size", "embedding_size", "vocab_size")
    return max(whole_or_none(config, name) or 0 for name in names) or whole(config, "vocab_size")


def layout(policy: MaskedDiffusionPolicy, prompt: Prompt) -> EncodedPrompt:
    return _LAYOUTS[prompt.task](policy, prompt)


def _text(policy: MaskedDiffusionPolicy, prompt: Prompt) -> EncodedPrompt:
    return EncodedPrompt(prefix=tuple(policy.tokenizer.chat(prompt.messages)))


def _understand(policy: MaskedDiffusionPolicy, prompt: Prompt) -> EncodedPrompt:
    token = policy.tokenizer.token_id
    codes = [policy.vocabulary.image_offset + code for code in image_codes(policy, prompt)]
    chat = policy.tokenizer.chat(prompt.messages)
    return EncodedPrompt(prefix=(token("<|mmu|>"), token("<|soi|>"), *codes, token("<|eoi|>"), *chat))


def _draw(policy: MaskedDiffusionPolicy, prompt: Prompt) -> EncodedPrompt:
    codes, token = _codes_per_image(policy, prompt), policy.tokenizer.token_id
    start, end = (token("<|t2i|>"), token("<bos>")), (token("<eos>"), token("<|soi|>"))
    return EncodedPrompt(
        prefix=(*start, *policy.tokenizer.plain(prompt.messages[-1].content), *end),
        suffix=(token("<|eoi|>"),),
        unconditional=(*start, *end),
        response_length=codes,
    )


def _think_draw(policy: MaskedDiffusionPolicy, prompt: Prompt) -> EncodedPrompt:
    """MMaDA's reasoning-to-image layout. Tokenizers without its task token start as for a drawing."""
    codes, token = _codes_per_image(policy, prompt), policy.tokenizer.token_id
    try:
        task = token("<|r2i|>")
    except PolicyError:
        task = token("<|t2i|>")
    drawing = EncodedPrompt(
        prefix=(token("<|soi|>"),),
        suffix=(token("<|eoi|>"),),
        unconditional=(task, token("<bos>"), token("<eos>"), token("<|soi|>")),
        response_length=codes,
    )
    return EncodedPrompt(prefix=(task, *policy.tokenizer.chat(prompt.messages)), drawing=drawing)


def _codes_per_image(policy: MaskedDiffusionPolicy, prompt: Prompt) -> int:
    if policy.image_tokenizer is None:
        raise DataError(f"prompt {prompt.id}: task={prompt.task}: {policy.name} has no image tokenizer")
    return policy.image_tokenizer.codes_per_image


def image_codes(policy: MaskedDiffusionPolicy, prompt: Prompt) -> list[int]:
    """Codebook indices of the prompt's image. Raises DataError where there is none to look at."""
    if policy.image_tokenizer is None:
        raise DataError(f"prompt {prompt.id}: task={prompt.task}: {policy.name} has no image tokenizer")
    if prompt.image is None:
        raise DataError(f"prompt {prompt.id}: task={prompt.task}: the row has no image")
    resampling = getattr(policy.image_tokenizer, "resampling", "box")
    try:
        pixels = load_pixels(prompt.image, policy.image_tokenizer.image_size, resampling)
    except DataError as error:
        raise DataError(f"prompt {prompt.id}: {error}") from error
    return policy.image_tokenizer.encode(pixels[None])[0].tolist()


_LAYOUTS = {Task.TEXT: _text, Task.UNDERSTAND: _understand, Task.DRAW: _draw, Task.THINK_DRAW: _think_draw}

HABITS = Habits(turn_end=llada.TURN_END)

_DRAW = {"steps": 15, "guidance": 3.5, "temperature": 1.0, "schedule": "cosine"}
CARD = Card(
    evaluation={
        "text": {"max_new_tokens": 256, "block_length": 64, "steps": 256, "temperature": 0.0},
        "understand": {"max_new_tokens": 256, "block_length": 32, "steps": 128, "temperature": 0.0},
        "draw": _DRAW,
    },
    rollout={
        "text": {"max_new_tokens": 256, "block_length": 64, "steps": 128, "temperature": 0.8},
        "understand": {"max_new_tokens": 128, "block_length": 64, "steps": 128, "temperature": 0.8},
        "draw": _DRAW,
    },
    prompt="Llama 3's headers, no system text; MixCoT was taught <think>...</think> before the answer",
    lr=(1e-6, 5e-5),
    lora_lr=(3e-6, 3e-6),
    sources={
        "evaluation.text": "Gen-Verse/MMaDA, evaluation/lm/eval.sh: 256 tokens, one a step, blocks of 64",
        "evaluation.understand": "Gen-Verse/MMaDA, evaluation/eval.md, section 1.3 (MathVerse)",
        "draw": "Gen-Verse/MMaDA, README, text-to-image: generation_timesteps=15 guidance_scale=3.5; cosine: app.py",
        "rollout.understand": "Gen-Verse/dLLM-RL, configs/rl_mmada_v.yaml",
        "rollout.text": "canvas and blocks of evaluation, two tokens a step as d1, temperature 0.8 as rl_mmada_v.yaml",
        "lr": "Gen-Verse/dLLM-RL, configs/rl_mmada_v.yaml: 1e-6; arXiv 2505.15809, RL stage: 5e-5 at a batch of 1,280",
        "lora_lr": "none is published for MMaDA: d1's for LLaDA-8B, whose network this is",
        "lora_target": "as LLaDA",
    },
)

FAMILY = Family(
    "mmada", sizes, vocabulary, llada.tensors, layout, aliases=RELEASED, head=llada.HEAD, habits=HABITS, card=CARD
)
