"""What the site shows beside the pages in ``docs/``: pages that the code itself writes, and the root's own documents.

MkDocs calls ``on_files`` and ``on_page_markdown``. Nothing that is made here is kept in a file, so nothing can drift.
"""

from __future__ import annotations

import dataclasses
import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from types import UnionType
from typing import Any, Union, cast, get_args, get_origin, get_type_hints

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))  # MkDocs loads a hook by its file

from docs.hooks.python_names import python_page  # noqa: E402

BESIDE = {"CONTRIBUTING.md": "contributing.md", "SECURITY.md": "security.md", "CHANGELOG.md": "changelog.md"}
_LINK = re.compile(r"\[(?P<text>[^\]]*)\]\((?P<target>[^)\s]+)\)")


def settings_page() -> str:
    """Every setting by section: its type, its default and its meaning, from the config's own docstrings and types."""
    from cluster.cli.config import allowed_names
    from rl.config import Config
    from rl.config.meanings import meanings

    told, defaults, kinds = meanings(), _defaults(), dict(_kinds(Config, ""))
    lines = [
        "# Settings", "",
        "For everyone who writes a recipe. `KEY=VALUE` on the command line sets one of them, a recipe's YAML any number. "
        "`unigrpo config KEY` shows its value in a recipe, and where that comes from. All are there since 0.1.0.", "",
    ]  # fmt: skip
    sections: dict[str, list[str]] = {}
    examples: dict[str, str] = {}
    for name, meaning in told.items():
        section, _, short = name.rpartition(".")
        default = defaults.get(name, "")
        text = _text(meaning + allowed_names(name))
        sections.setdefault(section, []).append(f"| `{short}` | {kinds.get(name, '')} | {_cell(default)} | {text} |")
        if default and re.fullmatch(r"[\w.]+", default) and default != "null":
            examples.setdefault(section, f"{name}={default}")
    for section, rows in sections.items():
        lines += ["", f"## {section or 'The run'}", ""]
        lines += [f"For example `{examples[section]}`.", ""] if section in examples else []
        lines += ["| setting | type | default | meaning |", "|---|---|---|---|", *rows]
    return "\n".join(lines) + "\n"


_KINDS = {
    str: "text",
    int: "whole number",
    float: "number",
    bool: "true or false",
    list: "list",
    tuple: "list",
    dict: "mapping",
}


def _kinds(section: type, prefix: str) -> Iterator[tuple[str, str]]:
    """(setting, its type in words)"""
    for name, kind in get_type_hints(section).items():
        if dataclasses.is_dataclass(kind):
            yield from _kinds(cast("type", kind), f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", _kind(kind)


def _kind(kind: Any) -> str:
    if kind is type(None):
        return "null"
    parts = get_args(kind)
    if get_origin(kind) in (Union, UnionType):
        return " or ".join(dict.fromkeys(map(_kind, parts)))
    return _KINDS.get(get_origin(kind) or kind, "text")


def _defaults() -> dict[str, str]:
    """Setting -> its default, as YAML has it."""
    from omegaconf import OmegaConf

    from rl.config import Config
    from rl.config.flat import flatten

    values = OmegaConf.to_container(OmegaConf.structured(Config()), enum_to_str=True)
    assert isinstance(values, dict)
    return {
        name: json.dumps(value).strip('"')
        for name, value in flatten({str(key): value for key, value in values.items()})
    }


def _cell(text: str) -> str:
    return f"`{text}`" if text else ""


def _text(text: str) -> str:
    """A meaning as a table's cell: its bars and angle brackets are text."""
    return text.replace("|", "\\|").replace("<", "&lt;").replace("*", "\\*")


def commands_page() -> str:
    """Every command with what ``--help`` says, from the command line itself."""
    import typer

    from cluster.cli.app import app

    lines = [
        "# Commands", "",
        "For everyone at a terminal. Each command has `--help`. A mistake of yours ends with exit code 2 and one line.", "",
    ]  # fmt: skip
    lines += _command(typer.main.get_command(app), "unigrpo")
    return "\n".join(lines) + "\n"


def _command(command: Any, path: str) -> Iterator[str]:
    yield from (f"## {path}", "", _text(command.help or "").strip(), "")
    arguments = [each for each in command.params if each.param_type_name == "argument"]
    options = [each for each in command.params if each.param_type_name == "option" and not each.hidden]
    words = [
        path,
        *(["[OPTIONS]"] if options else []),
        *(each.metavar or (each.name or "").upper() for each in arguments),
    ]
    yield from (f"    {' '.join(words)}", "")
    if options:
        yield from ("| option | default | meaning |", "|---|---|---|")
        for each in options:
            default = "" if each.default in (None, False, ()) or callable(each.default) else str(each.default)
            yield f"| `{', '.join(each.opts)}` | {_cell(default)} | {_text(each.help or '')} |"
        yield ""
    if example := (command.epilog or "").partition("Example: ")[2]:
        yield from ("```sh", example, "```", "")
    for name, child in sorted(getattr(command, "commands", {}).items()):
        yield from _command(child, f"{path} {name}")


def metrics_page() -> str:
    """Every metric by group, from the list that the tests hold against what a run logs."""
    from rl.tracking.metric_meanings import METRIC_MEANINGS

    groups: dict[str, list[str]] = {}
    for name, meaning in METRIC_MEANINGS.items():
        row = f"| `{name.replace('{', '').replace('}', '')}` | {_text(meaning)} |"
        groups.setdefault(name.partition("/")[0] if "/" in name else "groups", []).append(row)
    lines = [
        "# Metrics", "",
        "For everyone who reads a run's page. `metrics.jsonl` in the run's folder and MLflow have them under these names. In a "
        "name, `task` is text, understand, draw or think_draw; `reward` a reward's name, or NAME/PART; `source` a data source; "
        "`rule` a [health rule](../health.md).", "",
    ]  # fmt: skip
    for group, rows in groups.items():
        lines += ["", f"## {group}", "", "| metric | meaning |", "|---|---|", *rows]
    return "\n".join(lines) + "\n"


GENERATED = {
    "reference/settings.md": settings_page,
    "reference/commands.md": commands_page,
    "reference/metrics.md": metrics_page,
    "reference/python.md": python_page,
}


def on_files(files: Any, config: Any) -> Any:
    from mkdocs.structure.files import File

    for path, page in GENERATED.items():
        files.append(File.generated(config, path, content=page()))
    for name, path in BESIDE.items():
        files.append(File.generated(config, path, content=(ROOT / name).read_text("utf-8")))
    return files


# How much a page counts in a search: those that answer first, history last.
BOOSTS = {
    "questions.md": 4,
    "troubleshooting.md": 2,
    "tutorials/": 2,
    "decisions/": 0.1,
    "measurements/": 0.1,
    "changelog.md": 0.1,
}


def on_page_markdown(markdown: str, page: Any, config: Any, files: Any) -> str:
    for start, boost in BOOSTS.items():
        if page.file.src_uri.startswith(start):
            page.meta["search"] = {"boost": boost}
    return relinked(markdown, page.file.src_uri)


def relinked(markdown: str, source: str) -> str:
    """Links of a page to files beside ``docs/``: to their pages where they have one, else their path as text."""
    beside = source in BESIDE.values()
    folder = ROOT if beside else (ROOT / "docs" / source).parent

    def link(found: re.Match[str]) -> str:
        text, target = found["text"], found["target"]
        path, _, anchor = target.partition("#")
        if not path or "://" in target or target.startswith("mailto:"):
            return found[0]
        full = (folder / path).resolve()
        if not full.is_relative_to(ROOT):
            return found[0]
        name = full.relative_to(ROOT).as_posix()
        page = BESIDE.get(name)
        if name == "README.md" and not anchor:  # the site's first page has other sections
            page = "index.md"
        if page is None and name.startswith("docs/"):
            page = name.removeprefix("docs/")
        if page is None:
            return f"{text} (`{name}`)"
        up = "../" * source.count("/")
        return f"[{text}]({up}{page}{'#' + anchor if anchor else ''})"

    return _LINK.sub(link, markdown)
