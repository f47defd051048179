"""Whether prompts fit a policy, on its config and tokenizer alone: no weights are read, and no picture is decoded.

100,000 rows must take seconds, and tokenizing them takes a minute. So a row is first given one token for each byte of its
text: a byte-level vocabulary never needs more. Only a row that might be too long by that count is tokenized.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, partial
from itertools import groupby
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
from tokenizers import Tokenizer, normalizers

from policies.base import EncodedPrompt
from policies.families.registry import family_of
from policies.files.folders import name_of, read_config
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


class NeedsPolicyError(AttributeError):
    """A family's layout asked for more than a policy's tokenizers and vocabulary, as one of an installed package may."""


class _OnFilesAlone:
    """Stands for what is not loaded. It says so where it is asked for anything else."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        raise NeedsPolicyError(f"it asks for {name!r}")


class _StandIn(_OnFilesAlone, SimpleNamespace):
    """A policy."""


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
        self.name = name_of(folder)
        self.limit = family.sizes(config).max_sequence_length
        self._load = partial(ChatTokenizer.load, folder, family.aliases)
        self._raw = load_tokenizer(folder)
        self._counting = cast(_Counting, _Counting.load(folder, family.aliases))
        self._counting.bounds = _is_byte_level(self._raw)
        self._counting.special = [
            token.content for token in self._raw.get_added_tokens_decoder().values() if token.special
        ]
        self._layout = cast(Callable[[Any, Prompt], EncodedPrompt], family.layout)
        images = folder / "image_tokenizer"
        self._stand_in = _StandIn(
            name=self.name,
            tokenizer=self._counting,
            vocabulary=family.vocabulary(config, len(self._counting)),
            image_tokenizer=_Codes(load_image_tokenizer(images, "meta")) if images.is_dir() else None,
            max_length=self.limit,
        )

    def too_long(
        self,
        prompts: Sequence[Prompt],
        written: Callable[[Prompt], int],
        at_most: Callable[[Prompt], int] | None = None,
    ) -> list[TooLong]:
        """The prompts that do not fit with a response of ``written(prompt)`` tokens, by their places. at_most: a bound of it
        that is found faster.

        Raises DataError for a prompt that the policy's layout or chat template refuses, with its id; NeedsPolicyError.
        """
        suspects = [
            place
            for place, prompt in enumerate(prompts)
            if sum(map(_length, self._parts(prompt))) + (at_most or written)(prompt) > self.limit
        ]
        found = []
        for start in range(0, len(suspects), _BATCH):
            batch = suspects[start : start + _BATCH]
            for place, tokens in zip(batch, self._exactly([prompts[place] for place in batch]), strict=True):
                response = written(prompts[place])
                if tokens + response > self.limit:
                    found.append(TooLong(place, tokens + response, response))
        return found

    def tokens(self, text: str) -> int:
        """Of a text without a template, as a worked answer is."""
        return len(self._exact.encode(text))

    def tokens_at_most(self, text: str) -> int:
        return _bytes(text) if self._counting.bounds else _UNKNOWN

    def preview(self, prompt: Prompt) -> tuple[str, int]:
        """What the policy reads before it writes: as text, special tokens and all, with a picture's codes counted; and its
        tokens. Raises as ``too_long``."""
        exact = _StandIn(**{**vars(self._stand_in), "tokenizer": self._exact})
        read = self._parts(prompt, exact)[0]
        ids = [*read.prefix, *(() if read.is_image else read.suffix)]
        runs = groupby(ids, key=lambda index: int(index) < len(self._exact))
        texts = [
            self._raw.decode([int(each) for each in run], skip_special_tokens=False)
            if written
            else f"[{sum(1 for _ in run)} codes of a picture]"
            for written, run in runs
        ]
        return "".join(texts), len(ids)

    def longest(self, prompts: Sequence[Prompt], written: Callable[[Prompt], int]) -> int:
        """Tokens of the longest prompt with its response; 0 where there is none. Raises as ``too_long``."""
        bounds = [sum(map(_length, self._parts(prompt))) + written(prompt) for prompt in prompts]
        order, best = sorted(range(len(prompts)), key=bounds.__getitem__, reverse=True), 0
        for start in range(0, len(order), _BATCH):
            batch = [place for place in order[start : start + _BATCH] if bounds[place] > best]
            if not batch:
                break
            exact = self._exactly([prompts[place] for place in batch])
            best = max(best, *(tokens + written(prompts[place]) for place, tokens in zip(batch, exact, strict=True)))
        return best

    def shortened(self, prompt: Prompt, written: int) -> Prompt | None:
        """The prompt without the beginning of its longest turn, so that it fits; None where that cannot be.

        The end stays, since a question stands there, as TRL and verl's ``truncation: left`` do.
        """
        turns = range(len(prompt.messages))
        longest = (
            turns[-1] if prompt.task is Task.DRAW else max(turns, key=lambda turn: len(prompt.messages[turn].content))
        )
        ids = self._exact.plain(prompt.messages[longest].content)
        cut = 0
        for _ in range(_ATTEMPTS):
            # The cut may fall inside a character, of which nothing is kept.
            text = self._exact.decode(ids[cut:]).lstrip("\N{REPLACEMENT CHARACTER} ")
            shorter = _with_turn(prompt, longest, text)
            over = self._exactly([shorter])[0] + written - self.limit
            if over <= 0:
                return shorter
            cut += over
            if cut >= len(ids):
                return None
        return None

    @cached_property
    def _exact(self) -> ChatTokenizer:
        """Only rows that are cut need one whose ids mean something."""
        return self._load()

    def _exactly(self, prompts: Sequence[Prompt]) -> list[int]:
        """Tokens of each prompt's layout, the response left out where it is a text."""
        texts = self._counting.texts = []
        try:
            layouts = [self._parts(prompt) for prompt in prompts]
        finally:
            self._counting.texts = None
        encodings = self._raw.encode_batch_fast(texts, add_special_tokens=False)
        lengths = [len(encoding.ids) for encoding in encodings]

        def beyond_one(ids: Sequence[int]) -> int:
            return sum(lengths[token] - 1 for token in ids if isinstance(token, _Text))

        return [
            sum(_length(part) + beyond_one(part.prefix) + beyond_one(part.suffix) for part in parts)
            for parts in layouts
        ]

    def _parts(self, prompt: Prompt, stand_in: _StandIn | None = None) -> list[EncodedPrompt]:
        """The layout, with ids that mean nothing; a plan's drawing is a part of its own."""
        codes = self._stand_in.image_tokenizer
        if prompt.image is not None and codes is not None:
            prompt = replace(prompt, image=np.zeros((codes.image_size, codes.image_size, 3), np.uint8))
        try:
            encoded = self._layout(stand_in or self._stand_in, prompt)
        except DataError as error:
            text = str(error)
            raise DataError(text if prompt.id in text else f"prompt {short(prompt.id)}: {text}") from error
        return [part for part in (encoded, encoded.drawing) if part is not None]


def _length(part: EncodedPrompt) -> int:
    """Ids of a layout; a drawing's codes are among them, a text's response is not."""
    return len(part.prefix) + (part.response_length or 0) + len(part.suffix)


class _Text(int):
    """Stands for all tokens of a text, by its place among those that are yet to be tokenized."""


class _Counting(ChatTokenizer):
    """A tokenizer whose ids mean nothing.

    texts    collects what is to be tokenized, each as one id; None: a text has as many ids as it may have at most
    bounds   whether the bytes of a text are a bound of its tokens
    special  tokens that a text cannot write
    """

    texts: list[str] | None = None
    bounds = True
    special: Sequence[str] = ()

    def encode(self, text: str) -> list[int]:
        if self.texts is None:
            return [0] * (_bytes(text) if self.bounds else _UNKNOWN)
        self.texts.append(text)
        return [_Text(len(self.texts) - 1)]

    def chat(self, messages: Sequence[Message]) -> list[int]:
        """To bound a chat, its template is rendered once for each sequence of roles, and not for each row."""
        contents = [message.content for message in messages]
        if self.texts is not None or any(map(self._writes_special, contents)):
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


class _Codes(_OnFilesAlone):
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
