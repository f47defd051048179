"""A row's one picture: wherever the row has it, and in whatever form."""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from typing import Any
from urllib.parse import unquote_to_bytes

from rl.data.chat import MESSAGE_COLUMNS
from rl.data.files import Row
from rl.data.looks import Looks
from rl.data.places import ImagePlaces
from rl.data.values import is_missing, shown
from rl.errors import DataError

COLUMNS = ("image", "images")
# Other names under which data sets have a picture. A text there counts where it looks like one.
_NAMED = re.compile(
    r"(?i)(?:decoded_)?(?:images?|imgs?|pictures?|pics?|photos?|screenshots?)(?:_?(?:path|file|url|[0-9]{1,3}))?s?|file_name"
)
# With a word before it, or of what kind it is: looked at where a row has no other. ``target_image`` is no part of a prompt.
_NAMED_SO = re.compile(
    r"(?i)(?!(?:target|output|answer|generated|gen|result|solution|reference|edited|chosen|rejected|mask)s?_)(?:[a-z0-9]{1,20}_){0,2}"
    r"(?:image|img|picture|photo|screenshot)s?(?:_?(?:path|file|file_?name|url|uri|base64|b64|bytes|data|[0-9]{1,3}))?|jpe?g|png|webp"
)
_MEDIA = re.compile(r"(?i)(?:video|audio|sound|speech)s?(?:_?(?:path|file|file_?name|url|bytes))?")
_PREPARED = re.compile(r"(?i)pixel_values(?:_videos)?|(?:image|vision)_(?:features|embeds|embeddings|latents|grid_thw)")
_SOUNDS = re.compile(r"(?i)\.(?:mp4|mkv|webm|avi|mov|m4v|gifv|wav|mp3|flac|ogg|opus|m4a)(?:[?#].*)?$")
_CONTENT = ("bytes", "path", "url", "image_url", "base64", "data", "source", "image")
_WEB = re.compile(r"(?i)[a-z][a-z0-9+.-]*://")
_DATA_URL = re.compile(r"(?i)data:([^,]{0,200}),")
_BASE64 = re.compile(r"[A-Za-z0-9+/\s_-]+={0,2}\s*")
_STARTS = ("iVBORw0KGgo", "/9j/", "UklGR")  # PNG, JPEG and WebP in base64
_LOOKS = re.compile(r"(?i)\.(?:png|jpe?g|webp|gif|bmp|tiff?|avif)(?:[?#].*)?$|^(?:https?|file|s3|gs)://|^data:image/")
# Of any format, also of those that are refused: `datasets` stores sounds as {bytes, path} too.
_FIRST_BYTES = re.compile(rb"\x89PNG|\xff\xd8|GIF8|BM|II\*\0|MM\0\*|RIFF....WEBP|....ftyp(?:avif|hei)", re.DOTALL)
_SURELY = re.compile(rb"\x89PNG\r\n|\xff\xd8\xff|GIF8[79]a|RIFF....WEBP", re.DOTALL)  # in a column of any name
_SEEN = (*COLUMNS, *MESSAGE_COLUMNS)
_LONGEST_PATH, _LONGEST_NAME = 4096, 255  # what Linux takes


def find_pictures(row: Row, in_chat: Sequence[tuple[str, Any]], guess: bool) -> list[tuple[str, Any]]:
    """(column, value) of every picture that a row has, each once.

    in_chat  those among the parts of its chat turns
    guess    also look into columns with other names, and then into mappings, such as verl's ``multi_modal_data``
    """
    found = [item for name in COLUMNS for item in _each(name, row.get(name))]
    found += in_chat
    if guess:
        for name, value in row.items():
            named = name not in _SEEN and is_named(name)
            if named or not (name in _SEEN or isinstance(value, str | int | float)):  # a text of another name is none
                found += _guessed(name, value, named)
        found = found or [item for name, value in row.items() for item in _nested(name, value)]
        found = found or [
            item
            for name, value in row.items()
            if name not in _SEEN and _is_named_so(name)
            for item in _guessed(name, value, named=True)
        ]
    values: list[Any] = []
    once = []
    for name, value in found:
        if value not in values:
            values.append(value)
            once.append((name, value))
    return once


def looks_like_picture(text: str) -> bool:
    """Whether a text ends as a picture's file does."""
    return _LOOKS.search(text) is not None


@lru_cache(maxsize=4096)
def is_named(column: str) -> bool:
    """Whether a column's name says that it has pictures: ``img``, ``image_1``, ``Images``. A text there may be another thing."""
    return _NAMED.fullmatch(column) is not None


def may_name_picture(column: str) -> bool:
    """Whether a text in a column of this name may be a picture's."""
    return is_named(column) or _is_named_so(column)


@lru_cache(maxsize=4096)
def _is_named_so(column: str) -> bool:
    return _NAMED_SO.fullmatch(column) is not None


def has_other_media(row: Row) -> bool:
    """Whether a row has a video or a sound, which no policy here takes."""
    return any(_is_media_name(name) and any(map(_is_media, _each(name, value))) for name, value in row.items())


def prepared_column(row: Row) -> str | None:
    """A column with a picture that was made into numbers for another model."""
    return next((name for name, value in row.items() if _is_prepared_name(name) and not is_missing(value)), None)


@lru_cache(maxsize=4096)
def _is_prepared_name(column: str) -> bool:
    return _PREPARED.fullmatch(column) is not None


@lru_cache(maxsize=4096)
def _is_media_name(column: str) -> bool:
    return _MEDIA.fullmatch(column) is not None


def _is_media(item: tuple[str, Any]) -> bool:
    content = item[1]
    if isinstance(content, Mapping):
        return any(not is_missing(content.get(key)) for key in ("bytes", "path", "array", "url"))
    return isinstance(content, bytes) or (isinstance(content, str) and _SOUNDS.search(content) is not None)


def read_picture(where: str, column: str, value: Any, places: ImagePlaces, looks: Looks) -> str | bytes:
    """A path that is among the places, or an encoded picture; nothing is kept of what was decoded.

    looks: how closely it is looked at. Raises DataError: one line with the row and the column.
    """
    try:
        content = _content(value)
        if not isinstance(content, bytes):
            content = str(places.path_of(content))
        looks.at(content)
        return content
    except DataError as error:
        ours = column.split("[")[0] in (*COLUMNS, *MESSAGE_COLUMNS)
        way_out = "" if ours else "; or set task text, where the row's picture does not matter"
        raise DataError(f"{where}: column {column}: {error}{way_out}") from error


def _each(name: str, value: Any) -> Iterator[tuple[str, Any]]:
    """A column's pictures: itself, or each of a list."""
    if is_missing(value):
        return
    if isinstance(value, list) and not all(isinstance(item, int | float | list) for item in value):  # pixels
        for index, item in enumerate(value):
            if not is_missing(item):
                yield f"{name}[{index}]", item
    else:
        yield name, value


def _guessed(name: str, value: Any, named: bool) -> Iterator[tuple[str, Any]]:
    """Encoded pictures, plain or as ``datasets`` stores them. named: also a text that looks like a picture."""
    for place, item in _each(name, value):
        stored = isinstance(item, Mapping) and set(item) == {"bytes", "path"}
        content = next((item[key] for key in ("bytes", "path") if not is_missing(item[key])), None) if stored else item
        if isinstance(content, bytes):
            counts = (_FIRST_BYTES if stored or named else _SURELY).match(content) is not None
        elif isinstance(content, str):
            looks = _LOOKS.search(content) is not None or content.startswith(_STARTS)
            counts = (stored or named) and looks
        else:
            counts = named and isinstance(content, Mapping)
        if counts:
            yield place, item


def _nested(name: str, value: Any) -> Iterator[tuple[str, Any]]:
    """Pictures among the fields of a mapping, by their names."""
    for key, item in value.items() if isinstance(value, Mapping) else ():
        if is_named(str(key)):
            yield from _guessed(f"{name}.{key}", item, named=True)


def _content(value: Any) -> bytes | str:
    """Encoded bytes, or a path."""
    while isinstance(value, Mapping):
        key = next((key for key in _CONTENT if not is_missing(value.get(key))), None)
        if key is None:
            raise DataError(f"expected a picture as {{bytes, path}}, got {shown(dict(value))}")
        value = value[key]
    if isinstance(value, bytes):
        return value
    if not isinstance(value, str):
        raise DataError(f"expected a path or encoded bytes, got {type(value).__name__}: {shown(value)}")
    if head := _DATA_URL.match(value):
        data = value[head.end() :]
        return _from_base64(data) if head[1].lower().endswith(";base64") else unquote_to_bytes(data)
    if _WEB.match(value.strip()):
        way_out = (
            "write its path"
            if value.strip().lower().startswith("file:")
            else "download it and write the path of the file"
        )
        raise DataError(f"{shown(value)} is an address, and nothing is fetched; {way_out}")
    text = value.strip()
    if len(text) > 40 and text.startswith(_STARTS) and _BASE64.fullmatch(text):
        return _from_base64(text)
    longest = max(map(len, value.split("/")))
    if len(value) > _LONGEST_PATH or longest > _LONGEST_NAME or "\0" in value or "\n" in value:
        raise DataError(f"{shown(value)} is no path; expected a path, a data URL, base64, or encoded bytes")
    return value


def _from_base64(text: str) -> bytes:
    compact = "".join(text.split()).replace("-", "+").replace("_", "/").rstrip("=")
    try:
        return base64.b64decode(compact + "=" * (-len(compact) % 4), validate=True)
    except (binascii.Error, ValueError) as error:
        raise DataError(f"not base64: {shown(text, 40)}: {error}") from error
