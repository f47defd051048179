"""The policy that the LLaDA-like families share: transformer, vocabulary, tokenizers, and a family's prompt layout."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from pathlib import Path

import torch
from torch import Tensor, nn

from policies.base import EncodedPrompt, ImageTokenizer, Vocabulary
from policies.files.tokenizer import ChatTokenizer
from policies.network.cache import KeyValueCache
from policies.network.rows import Rows
from policies.network.transformer import Transformer
from policies.samplers.habits import LLADA, Habits
from rl.errors import DataError, PolicyError
from rl.types import Prompt


class MaskedDiffusionPolicy:
    """Implements policies.base.Policy. ``layout`` turns a prompt into ids; it is all that a family adds."""

    def __init__(
        self,
        name: str,
        module: Transformer,
        vocabulary: Vocabulary,
        tokenizer: ChatTokenizer,
        image_tokenizer: ImageTokenizer | None,
        layout: Callable[[MaskedDiffusionPolicy, Prompt], EncodedPrompt],
        source: Path | None = None,
        writer: Callable[[MaskedDiffusionPolicy, Path], None] | None = None,
        habits: Habits = LLADA,
    ) -> None:
        """source: the folder that it was loaded from. writer: what writes it in that folder's format. habits: its family's."""
        self.name, self.module, self.vocabulary = name, module, vocabulary
        self.tokenizer, self.image_tokenizer = tokenizer, image_tokenizer
        self.max_length = module.config.max_sequence_length
        self.layout, self.source, self._writer, self.habits = layout, source, writer, habits

    def logits(self, token_ids: Tensor, attention_mask: Tensor | None = None) -> Tensor:
        return self.module.head(self.module(token_ids, attention_mask))

    def hidden(
        self,
        token_ids: Tensor,
        attention_mask: Tensor | None = None,
        rows: Tensor | Rows | None = None,
        cache: KeyValueCache | None = None,
        clean: Tensor | None = None,
    ) -> Tensor:
        return self.module(token_ids, attention_mask, rows, cache, clean)

    @property
    def block_length(self) -> int | None:
        return self.module.config.block_length

    @property
    def shifted(self) -> bool:
        return self.module.config.shifted

    def new_cache(self, exact: bool = True) -> KeyValueCache:
        if exact and self.block_length is None:
            raise PolicyError(f"{self.name}: attends to the whole sequence, so no key-value cache of it is exact")
        return KeyValueCache(self.module.config.n_layers)

    def extend(self, token_ids: Tensor, cache: KeyValueCache) -> None:
        if self.block_length is None or token_ids.shape[1] % self.block_length:
            raise ValueError(f"extend: {token_ids.shape[1]} tokens are not whole blocks of {self.block_length}")
        self.module.extend(token_ids, cache)

    def head(self, hidden: Tensor, image: bool) -> Tensor:
        if image:
            return self.module.head(hidden, self.vocabulary.image_offset, self.vocabulary.codebook_size)
        return self.module.head(hidden)

    def head_weight(self, image: bool) -> Tensor:
        if image:
            return self.module.head_weight(self.vocabulary.image_offset, self.vocabulary.codebook_size)
        return self.module.head_weight()

    def encode_prompt(self, prompt: Prompt) -> EncodedPrompt:
        encoded = EncodedPrompt(prompt.token_ids) if prompt.token_ids else self.layout(self, prompt)
        parts = [part for part in (encoded, encoded.drawing) if part is not None]
        given = sum(len(part.prefix) + len(part.suffix) + (part.response_length or 1) for part in parts)
        if given > self.max_length:
            raise DataError(
                f"prompt {short(prompt.id)}: {given} tokens with its response, but {self.name} takes {self.max_length}; "
                "shorten the prompt or drop the row"
            )
        return encoded

    def with_frozen_copy(self) -> MaskedDiffusionPolicy:
        """The same policy around a frozen copy of its weights: a reference."""
        frozen = copy.copy(self)
        frozen.module = copy.deepcopy(self.module).requires_grad_(False).eval()
        return frozen

    def save(self, path: str | Path) -> None:
        """A folder that ``load_policy`` reads. Raises PolicyError where this policy came from no folder."""
        if self._writer is None:
            raise PolicyError("save: this policy was not loaded from a folder, so there is no config to save with it")
        self._writer(self, Path(path))

    def tensors(self) -> Iterator[Tensor]:
        yield from self.module.tensors()
        if isinstance(self.image_tokenizer, nn.Module):
            yield from (*self.image_tokenizer.parameters(), *self.image_tokenizer.buffers())

    @property
    def device(self) -> torch.device:
        return self.module.wte.weight.device


def short(name: str, width: int = 60) -> str:
    """A prompt from the command line has its text for a name."""
    return name if len(name) <= width else f"{name[: width - 3]}..."
