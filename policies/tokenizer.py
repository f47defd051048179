"""Text tokenizer: a Hugging Face ``tokenizer.json``, with the folder's own chat template."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from jinja2.sandbox import ImmutableSandboxedEnvironment
from tokenizers import Tokenizer

from rl.errors import PolicyError
from rl.types import Message

# Rewards read these; every other special token is layout and is not shown.
KEPT = ("<think>", "</think>")


class ChatTokenizer:
    """Wraps ``tokenizers.Tokenizer``. The template is rendered in Jinja's sandbox, as transformers does."""

    def __init__(self, tokenizer: Tokenizer, chat_template: str) -> None:
        self._tokenizer = tokenizer
        self._template = ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True).from_string(chat_template)
        added = tokenizer.get_added_tokens_decoder()
        self._hidden = frozenset(index for index, token in added.items() if token.special and token.content not in KEPT)

    @classmethod
    def load(cls, folder: Path) -> ChatTokenizer:
        """Reads tokenizer.json and chat_template.jinja (or tokenizer_config.json's chat_template)."""
        file = folder / "tokenizer.json"
        if not file.is_file():
            raise PolicyError(
                f"{folder}: no tokenizer.json; save the tokenizer with transformers' fast tokenizer first"
            )
        try:
            tokenizer = Tokenizer.from_file(str(file))
        except Exception as error:  # the tokenizers library raises plain Exception
            raise PolicyError(f"{file}: not a tokenizer: {error}") from error
        return cls(tokenizer, _chat_template(folder))

    def encode(self, text: str) -> list[int]:
        """Special tokens written out in the text are recognised; none are added."""
        return self._tokenizer.encode(text, add_special_tokens=False).ids

    def decode(self, token_ids: Sequence[int]) -> str:
        kept = [int(index) for index in token_ids if int(index) not in self._hidden]
        return self._tokenizer.decode(kept, skip_special_tokens=False)

    def chat(self, messages: Sequence[Message]) -> list[int]:
        """The template's text, up to where the assistant begins to speak, as ids.

        Users' text cannot write special tokens: the library would parse them, so they are broken up first.
        """
        turns = [{"role": turn.role, "content": self._plain(turn.content)} for turn in messages]
        return self.encode(self._template.render(messages=turns, add_generation_prompt=True))

    def token_id(self, token: str) -> int:
        index = self._tokenizer.token_to_id(token)
        if index is None:
            raise PolicyError(f"tokenizer.json: no token {token!r}, which the prompt layout needs")
        return index

    def plain(self, text: str) -> list[int]:
        """Ids of a user's text in which special tokens have no power."""
        return self.encode(self._plain(text))

    def _plain(self, text: str) -> str:
        for token in self._tokenizer.get_added_tokens_decoder().values():
            if token.special and token.content in text:
                text = text.replace(token.content, token.content[:1] + " " + token.content[1:])
        return text

    def save(self, folder: Path) -> None:
        self._tokenizer.save(str(folder / "tokenizer.json"))


def _chat_template(folder: Path) -> str:
    file = folder / "chat_template.jinja"
    if file.is_file():
        return file.read_text(encoding="utf-8")
    config = folder / "tokenizer_config.json"
    template = json.loads(config.read_text(encoding="utf-8")).get("chat_template") if config.is_file() else None
    if not isinstance(template, str):
        raise PolicyError(
            f"{folder}: no chat template; add chat_template.jinja, or chat_template in tokenizer_config.json"
        )
    return template
