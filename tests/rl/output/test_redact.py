"""Taking secrets out of a text costs as much as its length, whatever a server sends; and finds what it found."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rl.output import secrets
from rl.output.secrets import redact

LONG = 30_000  # pieces: where each looks to the end of the text, minutes
# A login with a / in its password, as one expression: what a text of few pieces must come to.
WHOLE = re.compile(r"(?<=://)[^\s/?#@:]*:(?!\d+(?:[/?#'\"]|$))\S*@")
PIECES = (
    "://",
    "@",
    ":",
    "a",
    "7",
    "/",
    "?",
    "#",
    " ",
    "'",
    "\n",
    "x:y",
    "http://me:p/w@h",
    "://h:80/",
    "token=",
    "Bearer t",
)


@given(st.lists(st.sampled_from(PIECES), max_size=12).map("".join))
def test_it_finds_each_login_that_one_expression_finds(text: str) -> None:
    found = text
    for pattern, stars in secrets._PATTERNS:
        found = WHOLE.sub("***@", found) if stars is secrets._without_password else pattern.sub(stars, found)
    assert redact(text) == found


@pytest.mark.parametrize(
    "piece",
    ["://a:x", "://a:1", "://:", "://", "a:b@", "bearer ", "Bearer%20", "authorization ", "authorization:basic ",
     "password='", "password", "session_", "?token=", "&key", '"secret": "', "@"],
)  # fmt: skip
@pytest.mark.parametrize("end", ["", "@h "])
def test_a_long_text_is_gone_through_a_few_times(piece: str, end: str) -> None:
    assert len(redact(piece * LONG + end)) > 0


def test_a_password_with_a_slash_among_other_addresses() -> None:
    text = "see http://a:80/x then http://me:pa/ss@host/y and ftp://u:1x/p@h http://b:80"
    assert redact(text) == "see http://a:80/x then http://***@host/y and ftp://***@h http://b:80"
