"""A chat template or tokenizer that wants more time or memory than a chat takes, or ends its reader, is one line."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from policies.files import trial
from policies.files.chat_template import ChatTemplate
from policies.files.checkpoints import check_policy, load_policy
from rl.errors import DataError, PolicyError
from tests.policies.files.hostile import answer, edit, refused, tiny

MESSAGE = [{"role": "user", "content": "?"}]
WORK = {  # ended by a limit, or out of memory
    "nested loops": "{% for a in range(99999) %}{% for b in range(99999) %}{% endfor %}{% endfor %}",
    "a text many times": "{{ 'a' * 2000000000 }}",
    "a text that doubles": "{% set ns = namespace(x='a' * 64) %}{% for i in range(40) %}{% set ns.x = ns.x ~ ns.x %}{% endfor %}",
    "a wide number": "{{ '%2000000000d' % 1 }}",
    "only in a second turn": "{% if messages | length > 1 %}{{ 'a' * 2000000000 }}{% endif %}x",
}
WRONG = {
    "a division by zero": ("{{ 1 / 0 }}", "ZeroDivisionError"),
    "a macro within itself": ("{% macro f(x) %}{{ f(x) }}{% endmacro %}{{ f(1) }}", "RecursionError"),
    "a text and a number": ("{{ 'x' + 1 }}", "TypeError"),
    "another file": ("{% include '/etc/passwd' %}", "no loader"),
    "another file as a module": ("{% import 'x' as y %}", "no loader"),
    "brackets": ("{{ " + "(" * 5000 + "1" + ")" * 5000 + " }}", "not a Jinja template"),
    "deep blocks": ("{% if true %}" * 3000 + "{% endif %}" * 3000, "not a Jinja template"),
    "bytes": (b"{{ messages[0].content }}\xff\xfe", "not UTF-8"),
    "half a character": (json.dumps({"chat_template": "\ud800{{ x }}"}).encode(), ""),
    "a list of itself": ("{% for m in messages recursive %}{{ loop(messages) }}{% endfor %}", "RecursionError"),
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tiny(tmp_path)


@pytest.mark.parametrize("kind", WORK)
def test_a_template_that_does_not_end(folder: Path, kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trial, "SECONDS", 1)
    (folder / "chat_template.jinja").write_text(WORK[kind])
    refused(lambda: check_policy(folder), "chat_template.jinja: ", "copy it from the original checkpoint")


@pytest.mark.parametrize("kind", WRONG)
def test_a_template_that_fails(folder: Path, kind: str) -> None:
    text, said = WRONG[kind]
    if kind == "half a character":
        (folder / "chat_template.jinja").unlink()
        edit(folder, "tokenizer_config.json", chat_template="\ud800{{ x }}")
    else:
        (folder / "chat_template.jinja").write_bytes(text if isinstance(text, bytes) else text.encode())
    refused(lambda: check_policy(folder), said)


@pytest.mark.parametrize("text", [
    "{{ 1 / (messages | length - 1) }}", "{% macro f(x) %}{{ f(x) }}{% endmacro %}{{ f(1) }}", "{{ messages[0].content + 1 }}",
    "{% include 'x' %}", "{{ range(10 ** 9) }}", "{{ messages[9].content.x }}", "{{ ().__class__ }}{{ messages.append(1) }}",
])  # fmt: skip
def test_whatever_a_template_raises_later_is_one_line(text: str) -> None:
    template = ChatTemplate(text, "a folder's template")
    with pytest.raises(DataError, match="a folder's template: ") as caught:
        template.render(MESSAGE, {})
    assert "\n" not in str(caught.value)


def test_a_template_is_not_worked_out_where_it_is_read(folder: Path) -> None:
    """Constants would be folded while the template is compiled, which no check comes before."""
    (folder / "chat_template.jinja").write_text(
        "{% if false %}{{ 'a' * 2000000000 }}{% endif %}{{ messages[0].content }}"
    )
    assert answer(lambda: load_policy(folder)) is None
    assert answer(lambda: check_policy(folder)) is None


def test_what_passed_is_not_tried_again(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    check_policy(folder)
    monkeypatch.setattr(trial.subprocess, "run", lambda *_, **__: pytest.fail("tried again"))
    check_policy(folder)
    check_policy("tiny")  # ours is no stranger's
    (folder / "chat_template.jinja").write_text("{{ messages[0].content }} ")
    with pytest.raises(pytest.fail.Exception, match="tried again"):
        check_policy(folder)


BPE = {"type": "BPE", "vocab": {"a": 0}, "merges": [["a", "a"]]}
NORMALIZERS = [{"type": "Replace", "pattern": {"String": "a"}, "content": "aaaaaaaaaa"}] * 12
TOKENIZERS: dict[str, dict[str, Any]] = {
    "code of its library's that fails": {"normalizer": {"type": "Precompiled", "precompiled_charsmap": "AAAA"}},
    "more memory than there is": {"normalizer": {"type": "Precompiled", "precompiled_charsmap": "/////wAA"}},
    "merges of nothing": {"model": BPE},
    "pieces of no length": {"pre_tokenizer": {"type": "FixedLength", "length": 0}},
    "texts that grow": {"normalizer": {"type": "Sequence", "normalizers": NORMALIZERS}},
    "a pattern that is none": {
        "pre_tokenizer": {"type": "Split", "pattern": {"Regex": "(a"}, "behavior": "Isolated", "invert": False}
    },
    "no token for the unknown": {"model": {"type": "WordLevel", "unk_token": "[X]", "vocab": {"a": 0}}},
}


@pytest.mark.parametrize("kind", TOKENIZERS)
def test_a_tokenizer_that_fails_or_ends_its_reader(folder: Path, kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trial, "SECONDS", 2)
    edit(folder, "tokenizer.json", **TOKENIZERS[kind])
    refused(lambda: check_policy(folder), "tokenizer")


def test_a_tokenizer_cuts_and_fills_nothing(folder: Path) -> None:
    """A saved tokenizer may say so; a prompt that does not fit must be told of."""
    cut = {"max_length": 2, "strategy": "LongestFirst", "stride": 0, "direction": "Right"}
    fill = {
        "strategy": {"Fixed": 10**9},
        "direction": "Right",
        "pad_to_multiple_of": None,
        "pad_id": 0,
        "pad_type_id": 0,
    }
    whole = load_policy(folder).tokenizer.encode("what is 1 + 1?")
    edit(folder, "tokenizer.json", truncation=cut, padding={**fill, "pad_token": "x"})
    assert answer(lambda: check_policy(folder)) is None
    assert load_policy(folder).tokenizer.encode("what is 1 + 1?") == whole and len(whole) > 2


def test_a_library_that_fails_in_its_own_code_is_caught(folder: Path) -> None:
    edit(folder, "tokenizer.json", **TOKENIZERS["merges of nothing"])
    with pytest.raises(PolicyError, match=r"tokenizer.json: not a tokenizer: "):
        load_policy(folder)
