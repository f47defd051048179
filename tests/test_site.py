"""The manual's reference has everything that the code has, and its sentences are short."""

from __future__ import annotations

import importlib.util
import re
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import typer

from cluster.cli.app import app
from rl.config import Config
from rl.config.meanings import meanings
from tests.manual import PAGES
from tests.sentences import sentences, words

ROOT = Path(__file__).parent.parent


@pytest.fixture(scope="module")
def hook() -> ModuleType:
    spec = importlib.util.spec_from_file_location("site_hook", ROOT / "docs" / "hooks" / "site.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def settings_of(section: type, prefix: str = "") -> Iterator[str]:
    import dataclasses
    from typing import get_type_hints

    for name, kind in get_type_hints(section).items():
        if dataclasses.is_dataclass(kind):
            yield from settings_of(kind, f"{prefix}{name}.")  # pyright: ignore[reportArgumentType]
        else:
            yield prefix + name


def test_every_setting_has_a_meaning_and_a_row(hook: ModuleType) -> None:
    page, told = hook.settings_page(), meanings()
    names = list(settings_of(Config))
    assert len(names) > 250 and not [name for name in names if not told.get(name, "").strip()]
    rows = re.findall(r"^\| `([^`]+)` \|", page, re.M)
    assert sorted(rows) == sorted(name.rpartition(".")[2] for name in told)
    assert (
        "| `seed` | whole number | `0` |" in page
        and "| `val_before_train` | true or false | `true` |" in page
        and "| `resume_path` | text or null | `null` |" in page
        and "one of masked, coupled" in page
    )


def commands_of(command: Any, path: str) -> Iterator[tuple[str, Any]]:
    yield path, command
    for name, child in getattr(command, "commands", {}).items():
        yield from commands_of(child, f"{path} {name}")


def test_every_command_and_option_says_what_it_does(hook: ModuleType) -> None:
    page = hook.commands_page()
    found = dict(commands_of(typer.main.get_command(app), "unigrpo"))
    assert len(found) > 15
    for path, command in found.items():
        assert f"\n## {path}\n" in page and (command.help or "").strip(), path
        for option in command.params:
            if option.param_type_name == "option" and not option.hidden:
                assert (option.help or "").strip() and option.opts[0] in page, (path, option.name)


def test_every_public_name_says_what_it_is(hook: ModuleType) -> None:
    from docs.hooks import python_names

    page = hook.python_page()
    for module in (*python_names.USE, *python_names.EXTEND):
        found = python_names.public_names(module)
        assert found and f"### {module}\n" in page
        for name, signature, text in found:
            assert text.strip() and f"| `{name}{signature}".replace("|", "\\|")[2:] in page, f"{module}.{name}"


def test_a_public_name_is_found_where_it_is_made() -> None:
    from docs.hooks import python_names

    found = {name: (signature, text) for name, signature, text in python_names.public_names("rewards")}
    assert found["load_reward"][0] == "(spec)" and "path.py:function" in found["load_reward"][1]
    assert not [each for each in python_names.public_names("rl.types") if each[0].startswith("_")]


def test_every_health_rule_and_every_setting_of_a_reward_has_its_words() -> None:
    from rewards.registry import BUILT_IN, settings_of
    from rewards.settings import lines_of
    from rl.health import BUILT_IN as RULES_HERE
    from rl.health import RULES

    assert len(RULES_HERE) > 15
    for name in RULES_HERE:
        rule = RULES[name]
        assert rule.value.strip() and rule.means.strip() and rule.do.strip() and rule.reads, name
    for name in BUILT_IN:
        assert all(line.meaning.strip() and line.allowed.strip() for line in lines_of(settings_of(name))), name


@pytest.mark.parametrize(
    ("source", "markdown", "expected"),
    [
        ("rewards.md", "[a](../CONTRIBUTING.md#add-a-reward)", "[a](contributing.md#add-a-reward)"),
        ("rewards.md", "[a](math.md) [b](https://a.b/c) [d](#here)", "[a](math.md) [b](https://a.b/c) [d](#here)"),
        ("rewards.md", "[the example](../examples/custom_reward.py)", "the example (`examples/custom_reward.py`)"),
        ("decisions/0013-own-sandbox.md", "[s](../../SECURITY.md)", "[s](../security.md)"),
        ("contributing.md", "[r](README.md) [d](docs/data.md) [x](rl/loop.py)", "[r](index.md) [d](data.md) x (`rl/loop.py`)"),
        ("security.md", "[out](../../etc/passwd)", "[out](../../etc/passwd)"),
    ],
)  # fmt: skip
def test_links_to_files_beside_the_manual(hook: ModuleType, source: str, markdown: str, expected: str) -> None:
    assert hook.relinked(markdown, source) == expected


LONGEST, MEAN = 40, 18


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_sentences_are_short(page: Path) -> None:
    found = sentences(page.read_text("utf-8"))
    assert [sentence for sentence in found if words(sentence) > LONGEST] == []
    assert not found or sum(map(words, found)) / len(found) <= MEAN


def test_what_counts_as_a_sentence() -> None:
    page = "# Not this\n\nOne two. Three [four five](a-b.md#c) `six seven`\neight!\n\n* Item nine\n* ten. Eleven\n\n"
    page += "    code here\n\n| a | b |\n"
    page += "```\nmore code.\n```\nThe end, e.g. this one; it is 1.5x."
    assert [words(each) for each in sentences(page)] == [2, 5, 2, 1, 1, 8]


def test_each_promise_names_a_test_that_exists() -> None:
    page = (ROOT / "docs" / "reliability.md").read_text("utf-8")
    rows = re.findall(r"^\| (.+?) \| (.+?) \|$", page, re.M)
    promises = [(promise, test.strip("`")) for promise, test in rows if promise != "promise" and "---" not in promise]
    assert len(promises) > 25 and len({test for _, test in promises}) == len(promises)
    for promise, test in promises:
        file, _, name = test.partition("::")
        assert name.startswith("test_") and f"def {name}(" in (ROOT / file).read_text("utf-8"), promise


def test_troubleshooting_quotes_messages_that_exist() -> None:
    page = (ROOT / "docs" / "troubleshooting.md").read_text("utf-8")
    table = page[page.index("| the message contains |") :].partition("\n\n")[0]
    quoted = re.findall(r"^\| `([^`]+)` \|", table, re.M)
    code = "\n".join(
        path.read_text("utf-8") for package in ("rl", "cluster") for path in (ROOT / package).rglob("*.py")
    )
    assert len(quoted) > 5
    for text in quoted:
        for part in text.split(" ... "):
            assert part.strip(". ") in code, text
