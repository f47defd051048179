"""Knights and knaves: who is who, in the words of an answer."""

import pytest

from rewards.base import is_absent
from rewards.puzzles.knights import roles
from rewards.registry import load_reward
from rl.types import Message, Prompt, RewardItem, ScoreStatus, Task

REFERENCE = "(1) Zoey is a knight\n(2) Oliver is a knave\n(3) Mary Ann is a knight".replace("Mary Ann", "Mary")


def score(text, reference: str | None = REFERENCE):
    prompt = Prompt("p", Task.TEXT, (Message("user", "Who is who?"),), reference=reference)
    return load_reward("knights_and_knaves").score([RewardItem(prompt, text)])[0]


@pytest.mark.parametrize(
    "answer",
    [
        REFERENCE,
        "(1) Oliver is a knave (2) Mary is a knight (3) Zoey is a knight",
        "Zoey is a knight, Mary is a knight, and Oliver is a knave.",
        "**Zoey**: knight\n**Oliver**: *knave*\n**Mary**: Knight",
        "zoey = knight; oliver = knave; mary = knight",
        "Oliver is not a knight. Zoey is the knight and Mary is a knight.",
        "So <answer>\n" + REFERENCE + "\n</answer>",
    ],
)
def test_right(answer):
    assert score(f"<think>If Oliver is a knight, ...</think>{answer}").value == 1.0


@pytest.mark.parametrize(
    ("answer", "share"),
    [
        (REFERENCE.replace("knave", "knight"), 2 / 3),
        ("Zoey is a knight", 1 / 3),
        (REFERENCE + "\nZoey is a knave", 2 / 3),  # both
        ("knight knave knight", 0),
        ("Everybody is a knight", 0),
    ],
)
def test_wrong(answer, share):
    found = score(f"<think>so</think>{answer}")
    assert found.value == 0.0 and found.parts["people"] == pytest.approx(share)


def test_what_is_thought_is_no_answer():
    assert score(f"<think>{REFERENCE}").status is ScoreStatus.WRONG_FORMAT
    assert score(f"<think>{REFERENCE}</think>I do not know.").value == 0.0


def test_a_row_without_people_has_no_such_reward():
    assert is_absent(score("Zoey is a knight", reference="42"))
    assert is_absent(score("Zoey is a knight", reference=None))
    assert roles("Zoey is a knave") == {"zoey": False}
