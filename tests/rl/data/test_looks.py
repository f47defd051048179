"""How closely pictures are looked at: all of few, a sample of many, and the first and last bytes of each."""

from __future__ import annotations

import io
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from rl.config import SourceConfig
from rl.data import looks
from rl.data.looks import FIRST, OF_EACH_DOUBLING, Looks, is_sampled
from rl.data.overlap import overlaps
from rl.data.rows import load_rows
from rl.errors import ConfigError, DataError
from rl.pixels import open_image, require_whole, with_pixels
from rl.types import Message, Prompt, Task
from tests.rl.data.formats import write


def picture(kind: str, color: int = 0, **options: Any) -> bytes:
    buffer = io.BytesIO()
    noise = np.random.default_rng(color).integers(0, 255, (24, 20, 3), dtype=np.uint8)
    Image.fromarray(noise).save(buffer, kind, **options)
    return buffer.getvalue()


@pytest.fixture
def decoded(monkeypatch: pytest.MonkeyPatch) -> list[object]:
    """What was decoded whole."""
    found: list[object] = []
    monkeypatch.setattr(looks, "open_image", lambda source: (found.append(source), open_image(source)))
    return found


def rows_of(tmp_path: Path, pictures: list[bytes], form: str) -> Path:
    asked = {"question": "Which color?", "answer": "red"}
    if form == "parquet":
        return write(tmp_path, form, [{"image": data, **asked} for data in pictures])
    for place, data in enumerate(pictures):
        (tmp_path / f"{place}.img").write_bytes(data)
    return write(tmp_path, form, [{"image": f"{place}.img", **asked} for place in range(len(pictures))])


@pytest.mark.parametrize("form", ["jsonl", "parquet"])
def test_many_pictures_are_not_all_decoded(tmp_path: Path, decoded: list[object], form: str) -> None:
    path = rows_of(tmp_path, [picture("PNG")] * 1100, form)
    notes: list[str] = []
    prompts = load_rows(SourceConfig(source=str(path)), notes=notes)
    # The first 256, 64 of the next 256, 64 of the next 512, and those of the doubling that has begun.
    assert len(prompts) == 1100 and len(decoded) == 256 + 64 + 64 + len(range(1024, 1100, 16))
    assert any("389 of 1,100 pictures were decoded whole" in note and "check_images: all" in note for note in notes)
    assert all(not isinstance(prompt.image, np.ndarray) for prompt in prompts)


@pytest.mark.parametrize(("check", "count"), [("all", 300), (False, 0), (True, 256 + 11)])
def test_how_closely_is_the_users_choice(tmp_path: Path, decoded: list[object], check: Any, count: int) -> None:
    path = rows_of(tmp_path, [picture("PNG")] * 300, "parquet")
    notes: list[str] = []
    load_rows(SourceConfig(source=str(path), args={"check_images": check}), notes=notes)
    assert len(decoded) == count and len(notes) == (check is True)


@pytest.mark.parametrize("check", ["some", 2, None, []])
def test_another_choice_is_one_line(tmp_path: Path, check: Any) -> None:
    path = rows_of(tmp_path, [picture("PNG")], "jsonl")
    with pytest.raises(ConfigError, match=r"check_images=.*: allowed: true, false, all"):
        load_rows(SourceConfig(source=str(path), args={"check_images": check}))


def test_the_sample_of_a_doubling_is_spread_over_it() -> None:
    for begin in (FIRST, 2 * FIRST, 64 * FIRST):
        places = [place for place in range(begin, 2 * begin) if is_sampled(place)]
        assert len(places) == OF_EACH_DOUBLING and len(set(np.diff(places))) == 1


BROKEN: dict[str, Callable[[bytes], bytes]] = {
    "cut": lambda data: data[:-200],
    "half": lambda data: data[: len(data) // 2],
    "header alone": lambda data: data[:40],
    "empty": lambda data: b"",
    "page": lambda data: b"<!DOCTYPE html><html>404</html>",
    "another format": lambda data: picture("GIF"),
    "zeros": lambda data: data[:60] + bytes(len(data) - 60),
}


@pytest.mark.parametrize("form", ["jsonl", "parquet"])
@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP"])
@pytest.mark.parametrize("how", BROKEN)
def test_a_broken_picture_is_found_also_where_it_is_not_decoded(tmp_path: Path, form: str, kind: str, how: str) -> None:
    whole = picture(kind)
    broken = BROKEN[how](whole)
    if how == "zeros" and kind == "WEBP":
        pytest.skip("nothing is wrong with its ends: damage in the middle is found at the first use")
    if how == "empty" and form == "parquet":
        pytest.skip("a column without bytes is a row without a picture")
    path = rows_of(tmp_path, [picture("PNG")] * 257 + [broken], form)
    assert not is_sampled(257)
    with pytest.raises(DataError, match=r"row 258: column image: ") as caught:
        load_rows(SourceConfig(source=str(path)))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP"])
@pytest.mark.parametrize("tail", [b"", b"\0" * 9, b"a comment"])
def test_what_can_be_decoded_is_never_refused(tmp_path: Path, kind: str, tail: bytes) -> None:
    data = picture(kind) + tail
    (tmp_path / "x").write_bytes(data)
    open_image(data)
    require_whole(data)
    require_whole(tmp_path / "x")


def test_too_many_pixels_are_found_in_the_header() -> None:
    buffer = io.BytesIO()
    Image.new("1", (9000, 8000)).save(buffer, "PNG")
    with pytest.raises(DataError, match="9000 x 8000 pixels"):
        require_whole(buffer.getvalue())


def test_users_functions_get_pixels() -> None:
    data = picture("PNG", 3)
    shown = Prompt("a", Task.UNDERSTAND, (Message("user", "?"),), image=data)
    drawn = Prompt("b", Task.DRAW, (Message("user", "red"),), metadata={"target_image": data, "x": 1})
    expected = np.asarray(open_image(data))
    assert np.array_equal(np.asarray(with_pixels(shown).image), expected)
    assert np.array_equal(with_pixels(drawn).metadata["target_image"], expected)
    assert with_pixels(drawn).metadata["x"] == 1
    on_disk = Prompt("c", Task.UNDERSTAND, (), image="some/file.png")
    assert with_pixels(on_disk) is on_disk


def test_held_out_pictures_are_compared_by_their_bytes(tmp_path: Path) -> None:
    data, other = picture("PNG", 1), picture("PNG", 2)
    (tmp_path / "a.png").write_bytes(data)

    def asked(name: str, image: bytes | str) -> Prompt:
        return Prompt(name, Task.UNDERSTAND, (Message("user", "What?"),), image=image)

    train = [asked("t1", data), asked("t2", other)]
    found = overlaps(train, [asked("v1", str(tmp_path / "a.png")), asked("v2", picture("PNG", 5)), asked("v3", other)])
    assert [overlap.held_out for overlap in found] == ["v1", "v3"]
    assert pickle.loads(pickle.dumps(train[0])).image == data


def test_looking_keeps_nothing() -> None:
    look = Looks()
    for _ in range(3):
        look.at(picture("JPEG"))
    assert (look.seen, look.decoded, look.sampled) == (3, 3, False)
