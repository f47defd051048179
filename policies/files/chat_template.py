"""A folder's chat template: found where transformers finds it, and rendered as transformers renders it.

Its own renderer is not used: importing it takes longer than loading a small policy (docs/decisions/0031).
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any, NoReturn

from jinja2 import TemplateError
from jinja2.compiler import CodeGenerator, Frame
from jinja2.ext import Extension
from jinja2.nodes import CallBlock, Const, Expr, Impossible, Node, TemplateData
from jinja2.parser import Parser
from jinja2.sandbox import ImmutableSandboxedEnvironment

from policies.files.strict_json import read_json, read_text, shown
from rl.errors import DataError, PolicyError, one_line

FILE, FOLDER, SETTINGS = "chat_template.jinja", "additional_chat_templates", "tokenizer_config.json"
_ASKED = {"role": "user", "content": "1 + 1 = ?"}
# A template must write the first. What it does with the others is its own; but it must come to an end.
PROBES: list[list[dict[str, str]]] = [
    [_ASKED],
    [{"role": "system", "content": "Be brief."}, _ASKED],
    [
        _ASKED,
        {"role": "assistant", "content": "<think>1 + 1</think>2"},
        {"role": "user", "content": "7 apples. " * 400},
    ],
]


class ChatTemplate:
    """``where`` names the template in errors. Raises PolicyError where it is no template."""

    def __init__(self, source: str, where: str = "chat template") -> None:
        self.where = where
        environment = ImmutableSandboxedEnvironment(
            trim_blocks=True,
            lstrip_blocks=True,
            optimized=False,  # constants would be worked out here, where nothing bounds them
            extensions=[_Generation, "jinja2.ext.loopcontrols"],
        )
        environment.code_generator_class = _AsWritten
        environment.filters["tojson"] = _to_json
        environment.globals |= {"raise_exception": _refuse, "strftime_now": _strftime_now}
        try:
            self._template = environment.from_string(source)
        except Exception as error:  # Jinja's parser, and Python's compiler of what it makes
            raise PolicyError(f"{where}: not a Jinja template: {_told(error)}") from error

    def render(self, turns: Sequence[Mapping[str, str]], special: Mapping[str, str]) -> str:
        """The text up to where the assistant begins to speak. special: such as ``bos_token``. Raises DataError."""
        try:
            return self._render(turns, special)
        except TemplateError as error:
            roles = ", ".join(turn["role"] for turn in turns)
            raise DataError(f"{self.where}: it refuses turns of {roles or 'nobody'}: {_told(error)}") from error
        except Exception as error:  # the template is a program of the folder's, with mistakes of its own
            raise DataError(f"{self.where}: {_told(error)}; {_MEND}") from error

    def check(self, special: Mapping[str, str]) -> list[str]:
        """The texts of a few chats. Raises PolicyError where it fails on one question. It may refuse that: a template may
        want other turns. Raises MemoryError."""
        texts = []
        for turns in PROBES:
            try:
                texts.append(self._render(turns, special))
            except (TemplateError, MemoryError) as error:
                if isinstance(error, MemoryError):
                    raise
            except Exception as error:
                if turns is PROBES[0]:
                    raise PolicyError(f"{self.where}: {_told(error)}; {_MEND}") from error
        return texts

    def _render(self, turns: Sequence[Mapping[str, str]], special: Mapping[str, str]) -> str:
        given = {"messages": turns, "tools": None, "documents": None, "add_generation_prompt": True}
        return self._template.render(**{**given, **special})


_MEND = "mend the template, or copy it from the original checkpoint"


def find_template(folder: Path) -> ChatTemplate:
    """chat_template.jinja and additional_chat_templates/ go before what tokenizer_config.json has, as in transformers; of
    several that have names, ``default``. Raises PolicyError."""
    beside = sorted((folder / FOLDER).glob("*.jinja"))
    named = {path.stem: path for path in beside if os.path.isfile(path)}
    if (folder / FILE).is_file():
        named.setdefault("default", folder / FILE)
    if named:
        path = _default(named, folder / FOLDER)
        return ChatTemplate(read_text(path, folder), str(path))
    where, found = folder / SETTINGS, read_settings(folder / SETTINGS).get("chat_template")
    if found is None:
        raise PolicyError(f"{folder}: no chat template; {_no_template(folder)}")
    templates = _by_name(found, where)
    source = _default(templates, where) if isinstance(templates, dict) else templates
    if not isinstance(source, str):
        raise PolicyError(f"{where}: chat_template is {type(source).__name__}; must be a text, or texts by name")
    return ChatTemplate(source, f"{where}: chat_template")


def read_settings(file: Path) -> Mapping[str, Any]:
    """A JSON object; {} where there is no file. Raises PolicyError."""
    if not file.is_file():
        return {}
    content = read_json(file)
    return content if isinstance(content, dict) else {}


def _by_name(found: object, where: Path) -> object:
    """A list of ``{name, template}`` as a mapping; all else as it is."""
    if not isinstance(found, list):
        return found
    try:
        return {str(each["name"]): each["template"] for each in found}
    except (TypeError, KeyError) as error:
        raise PolicyError(f"{where}: chat_template: each of a list must be an object with name and template") from error


def _default(named: Mapping[str, Any], where: Path) -> Any:
    if "default" not in named:
        names = ", ".join(shown(each, 40)[1:-1] for each in sorted(named)[:20])
        raise PolicyError(
            f"{where}: chat templates named {names or '(none)'}, and none named default; name the one to use default, or save "
            f"it as {FILE}"
        )
    return named["default"]


def _no_template(folder: Path) -> str:
    if (folder / "chat_template.json").is_file():
        return f"chat_template.json is a processor's, and tokenizers do not read it; save its template as {FILE}"
    return f"add {FILE}, or chat_template in {SETTINGS}"


def _told(error: Exception) -> str:
    """A TemplateError's text is its author's; another error's needs its kind."""
    text = str(error) if isinstance(error, TemplateError) else one_line(error)
    return " ".join(text.split())[:300] or type(error).__name__


def _refuse(message: str) -> NoReturn:
    raise TemplateError(message)


def _strftime_now(format: str) -> str:
    return datetime.now().strftime(format)


def _to_json(
    value: Any,
    ensure_ascii: bool = False,
    indent: int | str | None = None,
    separators: tuple[str, str] | None = None,
    sort_keys: bool = False,
) -> str:
    """Python's JSON, unlike Jinja's own filter, which escapes HTML and sorts."""
    return json.dumps(value, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys)


class _AsWritten(CodeGenerator):
    """Jinja works constants out where it compiles a template, before anything bounds what a stranger's may take."""

    def _output_child_to_const(self, node: Expr, frame: Frame, finalize: Any) -> str:
        if not isinstance(node, TemplateData | Const):
            raise Impossible
        return super()._output_child_to_const(node, frame, finalize)


class _Generation(Extension):
    """``{% generation %} ... {% endgeneration %}`` marks what the assistant wrote; the text is the same without it."""

    tags = {"generation"}  # noqa: RUF012 - Jinja's own attribute

    def parse(self, parser: Parser) -> Node | list[Node]:
        line = next(parser.stream).lineno
        body = parser.parse_statements(("name:endgeneration",), drop_needle=True)
        return CallBlock(self.call_method("_written"), [], [], body).set_lineno(line)

    def _written(self, caller: Callable[[], str]) -> str:
        return caller()
