"""Which held-out prompts are training prompts: by id, by what is asked, and by the picture."""

from __future__ import annotations

import pytest

from rl.data.overlap import check_disjoint, overlaps, shared_with
from rl.errors import DataError
from rl.types import Message, Prompt, Task


def ask(text: str, id: str = "", reference: str = "1", system: str = "", image: bytes | None = None) -> Prompt:
    turns = (*((Message("system", system),) if system else ()), Message("user", text))
    return Prompt(id or f"{text!r}{reference}{system}{image}", Task.TEXT, turns, reference=reference, image=image)


TRAIN = [
    ask("2 + 3?", "a"),
    ask("caf\u00e9?", "b"),
    ask("line one\nline two", "c"),
    ask("look", "d", image=b"picture"),
    ask("in words", "e", system="be brief"),
]
SAME = [
    ask("2 + 3?"),
    ask("2 + 3?", reference="9"),
    ask("2 + 3? "),
    ask("\n2 + 3?"),
    ask("\t2 + 3?\r\n"),
    ask("2 + 3?\u00a0"),
    ask("cafe\u0301?"),
    ask("caf\u00e9? "),
    ask(" cafe\u0301?\n"),
    ask("line one\nline two\n\n"),
    ask("look", image=b"picture"),
    ask(" look", image=b"picture"),
    ask("another", "a"),
    ask("in words", system="be brief"),
    ask("in words ", system=" be brief"),
]
NEW = [
    ask("2 + 4?"),
    ask("2  + 3?"),
    ask("2+3?"),
    ask("Caf\u00e9?"),
    ask("cafe?"),
    ask("line one line two"),
    ask("look"),
    ask("look", image=b"other"),
    ask("in words"),
    ask("in words", system="be long"),
    ask("2 + 3?", system="be brief"),
    ask("\uff12 + 3?"),
    ask("2 + 3"),
    ask("a", "A"),
    ask("b", " a"),
]


@pytest.mark.parametrize("held_out", SAME, ids=lambda prompt: repr(prompt.messages[-1].content))
def test_the_same_question_is_found_and_can_be_dropped(held_out: Prompt) -> None:
    assert len(overlaps(TRAIN, [held_out, *NEW])) == 1 and len(shared_with([held_out], TRAIN)) == 1
    with pytest.raises(DataError, match=f"1 of {1 + len(NEW)} held-out prompts are training prompts"):
        check_disjoint(TRAIN, [*NEW, held_out])


@pytest.mark.parametrize("held_out", NEW, ids=lambda prompt: repr(prompt.messages[-1].content))
def test_another_question_is_new(held_out: Prompt) -> None:
    check_disjoint(TRAIN, [held_out])
    assert not shared_with([held_out], TRAIN)
