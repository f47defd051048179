"""Text tokenizer: a Hugging Face ``tokenizer.json``, with the folder's own chat template."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from tokenizers import Tokenizer

from policies.files.bpe_files import MERGES, VOCABULARY, tokenizer_from_vocabulary
from policies.files.chat_template import ChatTemplate, find_template, read_settings
from policies.files.parts import MOST_BYTES
from policies.files.strict_json import require_inside
from rl.errors import PolicyError
from rl.types import Message

# Rewards read these; every other special token is layout and is not shown.
KEPT = ("<think>", "</think>")


class ChatTokenizer:
    """Wraps ``tokenizers.Tokenizer``.

    special  what the template may write out, such as ``bos_token``
    aliases  other names under which ``token_id`` looks a token up where the tokenizer has no such token
    """

    def __init__(
        self,
        tokenizer: Tokenizer,
        chat_template: str | ChatTemplate,
        special: Mapping[str, str] | None = None,
        aliases: Mapping[str, str] | None = None,
    ) -> None:
        self._tokenizer = tokenizer
        self._template = ChatTemplate(chat_template) if isinstance(chat_template, str) else chat_template
        self._special, self._aliases = dict(special or {}), dict(aliases or {})
        added = tokenizer.get_added_tokens_decoder()
        self._hidden = frozenset(index for index, token in added.items() if token.special and token.content not in KEPT)

    @classmethod
    def load(cls, folder: Path, aliases: Mapping[str, str] | None = None) -> ChatTokenizer:
        """Reads tokenizer.json (or vocab.json and merges.txt) and the folder's chat template. Raises PolicyError."""
        return cls(load_tokenizer(folder), find_template(folder), _special_tokens(folder), aliases)

    def __len__(self) -> int:
        """How many tokens there are, added ones too."""
        return self._tokenizer.get_vocab_size(with_added_tokens=True)

    @property
    def last_id(self) -> int:
        return max(self._tokenizer.get_vocab(with_added_tokens=True).values())

    def encode(self, text: str) -> list[int]:
        """Special tokens written out in the text are recognised; none are added. Raises PolicyError."""
        with _refusing("tokenizer.json: it fails on a text"):
            return self._tokenizer.encode(text, add_special_tokens=False).ids

    def decode(self, token_ids: Sequence[int]) -> str:
        kept = [int(index) for index in token_ids if int(index) not in self._hidden]
        with _refusing("tokenizer.json: it fails on ids"):
            return self._tokenizer.decode(kept, skip_special_tokens=False)

    def chat(self, messages: Sequence[Message]) -> list[int]:
        """The template's text, up to where the assistant begins to speak, as ids.

        Users' text cannot write special tokens: the library would parse them, so they are broken up first. A thought's marks
        stay, since prompts say how to use them. Raises DataError where the template refuses the turns.
        """
        turns = [{"role": turn.role, "content": self._plain(turn.content)} for turn in messages]
        return self.encode(self.render(turns))

    def render(self, turns: Sequence[Mapping[str, str]]) -> str:
        """The chat as the template writes it, special tokens and all. Raises DataError where it fails or refuses."""
        return self._template.render(turns, self._special)

    @property
    def template_name(self) -> str:
        return self._template.where

    def check_template(self) -> list[str]:
        """A few chats as the template writes them. Raises PolicyError where it fails on a plain question, for another
        reason than that it refuses it."""
        return self._template.check(self._special)

    def special_id(self, name: str) -> int | None:
        """The id of ``eos_token``, ``mask_token`` or the like, where the folder's files name one."""
        return self._tokenizer.token_to_id(self._special[name]) if name in self._special else None

    def token_id(self, token: str) -> int:
        index = self._tokenizer.token_to_id(token)
        if index is None and token in self._aliases:
            index = self._tokenizer.token_to_id(self._aliases[token])
        if index is None:
            raise PolicyError(f"tokenizer.json: no token {token!r}, which the prompt layout needs")
        return index

    def plain(self, text: str) -> list[int]:
        """Ids of a user's text in which special tokens have no power."""
        return self.encode(self._plain(text))

    def _plain(self, text: str) -> str:
        for token in self._tokenizer.get_added_tokens_decoder().values():
            if token.special and token.content in text and token.content not in KEPT:
                text = text.replace(token.content, token.content[:1] + " " + token.content[1:])
        return text

    def save(self, folder: Path) -> None:
        self._tokenizer.save(str(folder / "tokenizer.json"))


def load_tokenizer(folder: Path) -> Tokenizer:
    """Raises PolicyError where the folder has none, or a broken one."""
    file = folder / "tokenizer.json"
    found = [file] if file.is_file() else [folder / VOCABULARY, folder / MERGES]
    if not all(each.is_file() for each in found):
        raise PolicyError(f"{folder}: no tokenizer.json; save the tokenizer with transformers' fast tokenizer first")
    for each in found:
        require_inside(each, folder, MOST_BYTES)
    with _refusing(f"{found[0]}: not a tokenizer"):
        tokenizer = Tokenizer.from_file(str(file)) if found[0] == file else tokenizer_from_vocabulary(folder)
        tokenizer.no_truncation()  # a prompt that does not fit is told of, and none is cut or filled up unseen
        tokenizer.no_padding()
        return tokenizer


@contextmanager
def _refusing(what: str) -> Iterator[None]:
    """The tokenizers library raises plain Exception, and where its own code fails, what is not even that."""
    try:
        yield
    except (PolicyError, MemoryError, KeyboardInterrupt, SystemExit):
        raise
    except BaseException as error:
        raise PolicyError(
            f"{what}: {' '.join(str(error).split())[:300]}; copy it from the original checkpoint"
        ) from error


def _special_tokens(folder: Path) -> dict[str, str]:
    """bos_token, eos_token and the like: plain text, or an object with its content. As in transformers, what an older
    special_tokens_map.json says goes before tokenizer_config.json, unless that lists its added tokens itself."""
    settings = read_settings(folder / "tokenizer_config.json")
    older = {} if "added_tokens_decoder" in settings else read_settings(folder / "special_tokens_map.json")
    found = {}
    for name, value in {**settings, **older}.items():
        content = value.get("content") if isinstance(value, dict) else value
        if name.endswith("_token") and isinstance(content, str):
            found[name] = content
    return found
