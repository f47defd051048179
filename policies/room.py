"""Whether prompts fit a policy, on its config and tokenizer alone: no weights are read, and no picture is decoded.

100,000 rows must take seconds, and tokenizing them takes a minute. So a row is first given one token for each byte of its
text: a byte-level vocabulary never needs more. Only a row that might be too long by that count is tokenized.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
from tokenizers import Tokenizer, normalizers

from policies.base import EncodedPrompt
from policies.families.registry import family_of
from policies.files.folders import read_config
from policies.files.tokenizer import ChatTokenizer, load_tokenizer
from policies.images.load import load_image_tokenizer
from policies.policy import short
from rl.errors import DataError
from rl.types import Message, Prompt, Task

_BATCH = 2048  # texts in one call of the tokenizer
_ATTEMPTS = 8
_SLACK = 64  # for a template that adds more to some turns than to others
_UNKNOWN = 1 << 20
_EXPANSION = 3  # NFC makes at most so many bytes of one (Unicode Standard Annex 15, table of expansion factors)


@dataclass(frozen=True, slots=True)
class TooLong:
    """``tokens`` in all, of which ``written`` are its response's."""

    index: int
    tokens: int
    written: int


class Room:
    """How much of a policy's length prompts and their responses take. ``check_policy`` must have passed the folder."""

    def __init__(self, folder: Path) -> None:
        config = read_config(folder)
        family = family_of(config.get("model_type"))
        self.name = folder.name
        self.limit = family.sizes(config).max_sequence_length
        self._exact = ChatTokenizer.load(folder, family.aliases)
        self._raw = load_tokenizer(folder)
        self._counting = _Counting.load(folder, family.aliases)
        self._counting.bounds = _is_byte_level(self._raw)
        self._counting.special = [
            token.content for token in self._raw.get_added_tokens_decoder().values() if token.special
        ]
        self._layout = cast(Callable[[Any, Prompt], EncodedPrompt], family.layout)
        images = folder / "image_tokenizer"
        self._stand_in = SimpleNamespace(
            name=self.name,
            tokenizer=self._counting,
            vocabulary=family.vocabulary(config, len(self._exact)),
            image_tokenizer=_Codes(load_image_tokenizer(images, "meta")) if images.is_dir() else None,
            max_length=self.limit,
        )

    def too_long(self, prompts: Sequence[Prompt], written: Callable[[Prompt], int]) -> list[TooLong]:
        """The prompts that do not fit with a response of ``written(prompt)`` tokens, by their places.

        Raises DataError for a prompt that the policy's layout or chat template refuses, with its id.
        """
        limit, counting = self.limit, self._counting
        counting.lengths = None
        suspects = [place for place, prompt in enumerate(prompts) if self._tokens(prompt) + written(prompt) > limit]
        found = []
        for start in range(0, len(suspects), _BATCH):
            batch = suspects[start : start + _BATCH]
            counting.lengths = self._lengths([prompts[place] for place in batch])
            for place in batch:
                response = written(prompts[place])
                tokens = self._tokens(prompts[place]) + response
                if tokens > limit:
                    found.append(TooLong(place, tokens, response))
        return found

    def shortened(self, prompt: Prompt, written: int) -> Prompt | None:
        """The prompt without the beginning of its longest turn, so that it fits; None where that cannot be.

        The end stays, since a question stands there, as TRL and verl's ``truncation: left`` do.
        """
        turns = range(len(prompt.messages))
        longest = (
            turns[-1] if prompt.task is Task.DRAW else max(turns, key=lambda turn: len(prompt.messages[turn].content))
        )
        ids = self._exact.plain(prompt.messages[longest].content)
        spare = 0
        for _ in range(_ATTEMPTS):
            over = self._one(prompt, longest, ids[spare:]) + written - self.limit
            if over <= 0:
                return _with_turn(prompt, longest, self._text(ids[spare:]))
            spare += over
            if spare >= len(ids):
                return None
        return None

    def _one(self, prompt: Prompt, place: int, ids: Sequence[int]) -> int:
        changed = _with_turn(prompt, place, self._text(ids))
        self._counting.lengths = self._lengths([changed])
        return self._tokens(changed)

    def _text(self, ids: Sequence[int]) -> str:
        """The cut may fall inside a character, of which nothing is kept."""
        return self._exact.decode(ids).lstrip("\N{REPLACEMENT CHARACTER} ")

    def _lengths(self, prompts: Sequence[Prompt]) -> dict[str, int]:
        """Tokens of every text that these prompts' layouts tokenize."""
        texts = self._counting.asked = {}
        self._counting.lengths = None
        for prompt in prompts:
            self._tokens(prompt)
        self._counting.asked = None
        encodings = self._raw.encode_batch_fast(list(texts), add_special_tokens=False)
        return {text: len(encoding.ids) for text, encoding in zip(texts, encodings, strict=True)}

    def _tokens(self, prompt: Prompt) -> int:
        """Tokens of the layout, the response left out where it is a text; as the tokenizer of the moment counts."""
        size = 0 if self._stand_in.image_tokenizer is None else self._stand_in.image_tokenizer.image_size
        if prompt.image is not None and size:
            prompt = replace(prompt, image=np.zeros((size, size, 3), np.uint8))
        try:
            encoded = self._layout(self._stand_in, prompt)
        except DataError as error:
            text = str(error)
            raise DataError(text if prompt.id in text else f"prompt {short(prompt.id)}: {text}") from error
        parts = [part for part in (encoded, encoded.drawing) if part is not None]
        return sum(len(part.prefix) + len(part.suffix) + (part.response_length or 0) for part in parts)


class _Counting(ChatTokenizer):
    """A tokenizer whose ids mean nothing, but for their number.

    lengths  tokens of each text; None: at most as many as it has bytes, which is all that is said then
    asked    collects the texts that are tokenized
    bounds   whether the bytes of a text are a bound of its tokens
    special  tokens that a text cannot write
    """

    lengths: dict[str, int] | None = None
    asked: dict[str, None] | None = None
    bounds = True
    special: Sequence[str] = ()

    def encode(self, text: str) -> list[int]:
        if self.asked is not None:
            self.asked[text] = None
            return []
        if self.lengths is not None:
            return [0] * self.lengths[text]
        return [0] * (_bytes(text) if self.bounds else _UNKNOWN)

    def chat(self, messages: Sequence[Message]) -> list[int]:
        """To bound a chat, its template is rendered once for each sequence of roles, and not for each row."""
        contents = [message.content for message in messages]
        if self.asked is not None or self.lengths is not None or any(map(self._writes_special, contents)):
            return super().chat(messages)
        around = self._around(tuple(message.role for message in messages))
        return super().chat(messages) if around is None else [0] * (around + sum(map(_bytes, contents)))

    def _writes_special(self, text: str) -> bool:
        return any(token in text for token in self.special)

    def _around(self, roles: tuple[str, ...]) -> int | None:
        """Bytes that the template adds to the turns' own; None where it does not write each of them once."""
        if not self.bounds:
            return None
        if roles not in self._templates:
            marks = [f"turn{place}of{len(roles)}." for place in range(len(roles))]
            text = self.render([{"role": role, "content": mark} for role, mark in zip(roles, marks, strict=True)])
            once = all(text.count(mark) == 1 for mark in marks)
            self._templates[roles] = _SLACK + _bytes(text) - sum(map(len, marks)) if once else None
        return self._templates[roles]

    @cached_property
    def _templates(self) -> dict[tuple[str, ...], int | None]:
        return {}


def _bytes(text: str) -> int:
    return len(text) if text.isascii() else _EXPANSION * len(text.encode("utf-8", "surrogatepass"))


class _Codes:
    """An image tokenizer that only knows how many codes a picture has."""

    def __init__(self, tokenizer: Any) -> None:
        self.image_size, self.codes_per_image = tokenizer.image_size, tokenizer.codes_per_image
        self.codebook_size = tokenizer.codebook_size
        self.resampling = getattr(tokenizer, "resampling", "box")

    def encode(self, pixels: np.ndarray) -> np.ndarray:
        return np.zeros((len(pixels), self.codes_per_image), np.int64)


def _is_byte_level(tokenizer: Tokenizer) -> bool:
    """Whether no text has more tokens than bytes, but for what NFC adds."""
    pieces = str(tokenizer.pre_tokenizer)
    known = tokenizer.normalizer is None or isinstance(tokenizer.normalizer, normalizers.NFC)
    return known and "ByteLevel" in pieces and "add_prefix_space=True" not in pieces


def _with_turn(prompt: Prompt, place: int, text: str) -> Prompt:
    messages = list(prompt.messages)
    messages[place] = Message(messages[place].role, text)
    return replace(prompt, messages=tuple(messages))
