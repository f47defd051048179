"""What a row asks: its chat turns, the pictures among their parts, and the answer that may follow them."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from rl.config.flat import flatten
from rl.data.files import Row, check_text
from rl.data.values import is_missing, listed, shown, text_of, too_deep
from rl.errors import DataError
from rl.types import Message

MESSAGE_COLUMNS = ("messages", "prompt", "question", "caption", "problem", "instruction")
TURN_LISTS = ("messages", "conversations")  # of a JSON object that holds the turns
ASKING = ("prompt", "question", "problem", "instruction")  # a text in one of these beside the message may belong to it
FURTHER = "input"  # of an instruction: Alpaca's rows have what it is about there
PLACEHOLDER = "<image>"  # where verl, LLaVA and LLaMA-Factory put a picture within a text

_ANSWERS = ("assistant", "gpt", "model", "bot", "chatbot", "ai")
_TURN_KEYS = ("role", "content", "from", "value")
_PICTURE_PARTS = ("image", "image_url", "input_image")
_PICTURE_KEYS = ("image", "image_url", "url", "path", "bytes", "data", "base64", "source", "input_image")
_TEXT_PARTS = ("text", "input_text", "output_text")
_CHAT_AS_TEXT = re.compile(r"""\s*\[?\s*\{\s*['"](?:role|content|from|value)['"]\s*:""")
_PLACE = re.compile(rf"(\s*){PLACEHOLDER}(\s*)")


@dataclass(frozen=True, slots=True)
class Chat:
    """A row's turns up to where the assistant is to speak.

    pictures  (column, value) of each picture among the turns' parts
    answer    the assistant's turn that the row ends with, which is no part of the prompt; None: it has none
    places    parts that only say that a picture belongs there
    """

    messages: tuple[Message, ...]
    pictures: tuple[tuple[str, Any], ...] = ()
    answer: str | None = None
    places: int = 0

    @property
    def marks(self) -> int:
        """How many pictures the text has a place for."""
        return max(self.places, sum(message.content.count(PLACEHOLDER) for message in self.messages))

    def without_marks(self) -> Chat:
        messages = tuple(replace(message, content=_unmarked(message.content)) for message in self.messages)
        return replace(self, messages=messages, places=0)


def message_column(row: Row) -> str | None:
    return next((name for name in MESSAGE_COLUMNS if row.get(name)), None)


def unasked_column(row: Row, column: str, chat: Chat) -> str | None:
    """A column beside the message whose text the prompt does not have, though its name says that it asks something."""
    for name in (*ASKING, *((FURTHER,) if column == "instruction" else ())):
        text = row.get(name)
        if name == column or not isinstance(text, str) or is_missing(text):
            continue
        if not any(text.strip() in message.content for message in chat.messages):
            return name
    return None


def read_chat(where: str, row: Row, column: str | None, template: str | None) -> Chat:
    """The chat of a row: from ``template``, or else from ``column``. No turns: a row of plain text. Raises DataError."""
    if template is not None:
        return Chat((Message("user", _fill(where, template, row)),))
    if column is None and isinstance(row.get("text"), str | bytes) and not is_missing(row["text"]):
        return Chat(())  # plain text, for fine-tuning on all of it
    if column is None:
        raise DataError(f"{where}: no message; add a column messages, prompt or question (it has: {listed(row)})")
    value = row[column]
    if isinstance(value, str) and not value.lstrip().startswith(("[", "{")):
        chat = Chat((Message("user", value),))
    else:
        chat = _turns(f"{where}: column {column}", _decoded(where, column, value))
    if not any(message.content.strip() for message in chat.messages):
        what = "its only turn is the assistant's" if chat.answer is not None else "its text is empty"
        raise DataError(f"{where}: column {column}: {what}; a prompt must ask something")
    return chat


def column_text(where: str, column: str, value: Any) -> str:
    """A value as text. Raises DataError for bytes that are none."""
    try:
        return text_of(value)
    except ValueError as error:
        raise DataError(f"{where}: column {column}: {error}") from error


def _decoded(where: str, column: str, value: Any) -> list[Any]:
    """Turns as a list; also where a file has them as JSON text."""
    if isinstance(value, str | bytes):
        text = column_text(where, column, value)
        value = _from_json(where, column, text)
        if value is None:
            return [{"role": "user", "content": text}]
    if not isinstance(value, list) or not value or not all(isinstance(turn, Mapping) for turn in value):
        raise DataError(
            f"{where}: column {column}: expected a text or a list of chat turns (role and content), got {shown(value)}"
        )
    return value


def _from_json(where: str, column: str, text: str) -> Any:
    """The chat turns that a text holds as JSON, alone or as ``{"messages": [...]}``; None: it is a text."""
    if not text.lstrip().startswith(("[", "{")):
        return None
    says_so = _CHAT_AS_TEXT.match(text) is not None
    try:
        value = json.loads(text)
        if too_deep(value):
            raise ValueError("nested too deeply")
    except (ValueError, RecursionError) as error:
        if not says_so:
            return None
        raise DataError(
            f"{where}: column {column}: chat turns as a text that is not JSON: {shown(text)}; save them as a list of "
            "{role, content}, or as JSON"
        ) from error
    inner = next((value[key] for key in TURN_LISTS if key in value), value) if isinstance(value, dict) else value
    turns = [inner] if isinstance(inner, dict) else inner
    if not says_so and not (isinstance(turns, list) and turns and all(map(_is_turn, turns))):
        return None
    check_text(where, {column: turns})
    return turns


def _is_turn(turn: Any) -> bool:
    return isinstance(turn, dict) and ("role" in turn and "content" in turn or "from" in turn and "value" in turn)


def _turns(where: str, turns: Sequence[Mapping[str, Any]]) -> Chat:
    messages: list[Message] = []
    pictures: list[tuple[str, Any]] = []
    places = 0
    for index, turn in enumerate(turns):
        name = f"{where}[{index}]"
        if not any(key in turn for key in _TURN_KEYS):
            raise DataError(f"{name}: expected a chat turn with role and content, got {shown(dict(turn))}")
        if "content" not in turn and not is_missing(turn.get("value")):
            raise DataError(f"{name}: a turn of from and value; write it as role and content")
        role = column_text(where, "role", turn.get("role") or "user")
        text, found, marked = _content(name, turn.get("content"))
        messages.append(Message(role, text))
        pictures += [*found, *_beside(name.rpartition(": column ")[2], turn)]
        places += marked
    answer = None
    while messages and messages[-1].role.strip().lower() in _ANSWERS:
        last = messages.pop().content
        answer = last if answer is None else answer
    return Chat(tuple(messages), tuple(pictures), answer, places)


def _beside(name: str, turn: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """Pictures beside a turn's content, as ``{"role": "user", "content": "?", "images": ["1.png"]}``."""
    for key in ("image", "images"):
        value = turn.get(key)
        for index, item in enumerate(value if isinstance(value, list) else [value]):
            if not is_missing(item):
                yield f"{name}.{key}[{index}]", item


def _content(where: str, content: Any) -> tuple[str, list[tuple[str, Any]], int]:
    """A turn's text, its pictures, and how many parts only mark the place of one. Parts are joined by blanks."""
    if content is None or isinstance(content, str | bytes | int | float):
        return ("" if content is None else column_text(where, "content", content)), [], 0
    parts = [content] if isinstance(content, Mapping) else content
    if not isinstance(parts, list):
        raise DataError(f"{where}: content: expected a text or a list of parts, got {shown(content)}")
    texts: list[str] = []
    pictures: list[tuple[str, Any]] = []
    places = 0
    for index, part in enumerate(parts):
        name = f"{where}.content[{index}]"
        if isinstance(part, str):
            part = {"type": "text", "text": part}
        if not isinstance(part, Mapping):
            raise DataError(f"{name}: expected a part with type text or image, got {shown(part)}")
        values = {key: value for key, value in part.items() if not is_missing(value)}
        kind = values.get("type") or ("text" if "text" in values else "image" if _picture(values) is not None else None)
        if kind in _TEXT_PARTS:
            texts.append(column_text(name, "text", values.get("text", "")))
        elif kind in _PICTURE_PARTS:
            picture = _picture(values)
            places += picture is None
            pictures += [] if picture is None else [(name.rpartition(": column ")[2], picture)]
        else:
            raise DataError(f"{name}: a part of type {shown(kind)}; allowed: text, image")
    return " ".join(text for text in texts if text), pictures, places


def _picture(part: Mapping[str, Any]) -> Any:
    return next((part[key] for key in _PICTURE_KEYS if key in part), None)


def _unmarked(text: str) -> str:
    """The text without the places of pictures: ends are trimmed there, and a line break stays one."""

    def gap(match: re.Match[str]) -> str:
        if match.start() == 0 or match.end() == len(text):
            return ""
        return "\n" if "\n" in match[1] + match[2] else " " if match[1] or match[2] else ""

    return _PLACE.sub(gap, text)


def _fill(where: str, template: str, row: Row) -> str:
    """Plain substitution of ``{name}``: no attributes, no format language."""
    fields = _fields(row)

    def value(match: re.Match[str]) -> str:
        if match[1] not in fields:
            raise DataError(f"{where}: template {shown(template)}: no column {match[1]!r}; it has: {listed(fields)}")
        given = fields[match[1]]
        if given is None:
            raise DataError(f"{where}: template {shown(template)}: column {match[1]!r} has no value in this row")
        return column_text(where, match[1], given) if isinstance(given, bytes) else str(given)

    return re.sub(r"\{([\w.]+)\}", value, template)


def _fields(row: Row) -> dict[str, Any]:
    """Columns by full name (``extra_info.puzzle``) and by their own (``puzzle``); outer ones win."""
    fields = {name: value for name, value in flatten(row) if not isinstance(value, Mapping)}
    for name, value in sorted(fields.items(), key=lambda field: field[0].count(".")):
        fields.setdefault(name.rpartition(".")[2], value)
    return fields
