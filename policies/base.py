"""What a policy is. Everything outside ``policies`` sees these Protocols, never a family."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
import torch

from policies.network.cache import KeyValueCache
from policies.network.rows import Rows
from policies.samplers.habits import Habits
from rl.types import Prompt


@dataclass(frozen=True, slots=True)
class Vocabulary:
    """One id space for text and images. Example: MMaDA-8B has size 134656, image_offset 126464, codebook_size 8192.

    size           rows of the embedding and of the head
    mask_id        the token that stands for "not yet known"
    eos_id         ends a text response
    image_offset   vocabulary id of image code 0; text ids lie below it
    codebook_size  0 for a text-only policy
    """

    size: int
    mask_id: int
    eos_id: int
    image_offset: int
    codebook_size: int


@dataclass(frozen=True, slots=True)
class EncodedPrompt:
    """A prompt in the policy's own layout: ``prefix + response canvas + suffix``.

    prefix, suffix   vocabulary ids; the suffix is given too (an image is closed by its end-of-image token)
    unconditional    the prefix with its text left out, for classifier-free guidance (images only)
    response_length  length of the canvas where the task fixes it (an image's codes), else None
    drawing          the image that follows a written plan: its prefix follows the plan's end-of-text token. None: no image
    """

    prefix: tuple[int, ...]
    suffix: tuple[int, ...] = ()
    unconditional: tuple[int, ...] = ()
    response_length: int | None = None
    drawing: EncodedPrompt | None = None

    @property
    def is_image(self) -> bool:
        return self.response_length is not None


class TextTokenizer(Protocol):
    def encode(self, text: str) -> list[int]: ...

    def decode(self, token_ids: Sequence[int]) -> str:
        """Text without special tokens; ``<think>`` and ``</think>`` stay, since rewards read them."""
        ...


class ImageTokenizer(Protocol):
    """Pixels to codes and back. codes [B, h*w] int64; pixels uint8 [B, H, W, 3]."""

    @property
    def image_size(self) -> int: ...

    @property
    def codes_per_image(self) -> int: ...

    @property
    def codebook_size(self) -> int: ...

    def encode(self, pixels: np.ndarray) -> np.ndarray: ...

    def decode(self, codes: np.ndarray) -> np.ndarray: ...


class Policy(Protocol):
    """A masked-diffusion policy: a network, its vocabulary, its tokenizers and its prompt layout."""

    @property
    def name(self) -> str: ...

    @property
    def vocabulary(self) -> Vocabulary: ...

    @property
    def max_length(self) -> int: ...

    @property
    def module(self) -> torch.nn.Module: ...

    @property
    def tokenizer(self) -> TextTokenizer: ...

    @property
    def image_tokenizer(self) -> ImageTokenizer | None: ...

    def logits(self, token_ids: torch.Tensor, attention_mask: torch.Tensor | None = None) -> torch.Tensor:
        """[B, L] int64, [B, L] bool (True: attend) -> [B, L, V] float. The plain definition; nothing hot calls it."""
        ...

    def hidden(
        self,
        token_ids: torch.Tensor,
        attention_mask: torch.Tensor | None = None,
        rows: torch.Tensor | Rows | None = None,
        cache: KeyValueCache | None = None,
        clean: torch.Tensor | None = None,
    ) -> torch.Tensor:
        """Final, normalised hidden states. With rows [B, L] bool: only those positions, [M, D], in row-major order.

        The last layer then computes queries, output and MLP for those positions only, which is exact. The state at a
        position predicts the token at that position, in every family.

        rows may be policies.network.rows.Rows instead, where the host knows how many there are.

        With a cache, token_ids are what follows its settled tokens, which they attend to; the cache stays as it was.

        With rows, clean [B, L] is the sequence of which token_ids hides a part. A block-causal policy then sees the blocks
        before each block as they are in ``clean``, all at once: what its sampler sees, block after block. Policies that
        attend to the whole sequence see token_ids alone.
        """
        ...

    @property
    def habits(self) -> Habits:
        """How the family's own code samples text, which ``auto`` in the settings stands for."""
        ...

    @property
    def block_length(self) -> int | None:
        """Block-causal policies: a token sees its own block and those before it, counted from the sequence's first
        token. None: every token sees the whole sequence."""
        ...

    @property
    def shifted(self) -> bool:
        """The state behind a token's prediction is that of the position before it, which ``hidden`` sees to."""
        ...

    def new_cache(self, exact: bool = True) -> KeyValueCache:
        """For the keys and values of settled tokens. Raises PolicyError where none would be exact, and one must be."""
        ...

    def extend(self, token_ids: torch.Tensor, cache: KeyValueCache) -> None:
        """Settle [B, L] tokens, whole blocks of them, behind those that the cache has. Raises ValueError."""
        ...

    def head(self, hidden: torch.Tensor, image: bool) -> torch.Tensor:
        """[M, D] -> logits [M, V], or [M, codebook_size] where ``image``: image rows are normalised over the codebook."""
        ...

    def head_weight(self, image: bool) -> torch.Tensor:
        """[V, D], or [codebook_size, D] where ``image``: ``head`` is its product with hidden states."""
        ...

    def encode_prompt(self, prompt: Prompt) -> EncodedPrompt:
        """Raises DataError where the prompt has no image to look at, is too long, or is not this policy's to answer."""
        ...

    def with_frozen_copy(self) -> Policy:
        """The same policy around a frozen copy of its weights: a reference."""
        ...

    def tensors(self) -> Iterator[torch.Tensor]:
        """Every tensor that it keeps between two calls: the network's, its caches, the image tokenizer's."""
        ...

    def save(self, path: str | Path) -> None:
        """Write safetensors + config.json + tokenizer files in the family's own key names."""
        ...
