"""Chat templates beside transformers' own: the same text, or a refusal where it refuses; mistakes are one line each."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from transformers import PreTrainedTokenizerFast

from policies.files.chat_template import ChatTemplate
from policies.files.checkpoints import check_policy, load_policy
from policies.files.tokenizer import ChatTokenizer
from rl.errors import DataError, PolicyError
from tests.policies.originals import write_folder
from tests.toys import toy_folder

LOOP = "{% for message in messages %}{{ message.role }}:{{ message['content'] | trim }}\n{% endfor %}"
TEMPLATES = {
    "loop": LOOP,
    "generation": "{% for m in messages %}{% if m.role == 'assistant' %}{% generation %}{{ m.content }}{% endgeneration %}"
    "{% else %}{{ m.content }}{% endif %}{% endfor %}",
    "generation with white space": "a\n  {%- generation -%}\n b \n{%- endgeneration %}\n c",
    "generation in a macro": "{% macro f(x) %}{% generation %}<{{ x }}>{% endgeneration %}{% endmacro %}{{ f(1) }}{{ f(2) }}",
    "the year": "{{ strftime_now('%Y-%m-%d') }} {{ strftime_now('%B') }}",
    "tojson of signs": "{{ '<a> & \"b\" \\'c\\' é 日本 😀' | tojson }}",
    "tojson keeps the order": "{{ messages | tojson }}",
    "tojson in ASCII": "{{ messages | tojson(ensure_ascii=True) }}",
    "tojson of ensure_ascii False": "{{ messages[0] | tojson(ensure_ascii=False) }}",
    "tojson with indent": "{{ messages | tojson(indent=2) }}",
    "tojson with separators": "{{ messages[0] | tojson(separators=(',', ':')) }}",
    "tojson sorted": "{{ messages[0] | tojson(sort_keys=True) }}",
    "tojson of numbers": "{{ {'b': 1.5, 'a': none, 'c': true, 'd': [1, 2]} | tojson }}",
    "break": "{% for m in messages %}{% if loop.index > 2 %}{% break %}{% endif %}{{ m.content }}{% endfor %}",
    "continue": "{% for m in messages %}{% if m.role == 'system' %}{% continue %}{% endif %}{{ m.content }}{% endfor %}",
    "tools are none": "{{ tools is none }} {{ tools is defined }} {{ documents is none }} {{ tools is iterable }}",
    "no such thing": "{{ nothing }}|{{ nothing is defined }}|{% if nothing %}x{% endif %}",
    "special tokens": "{{ bos_token }}{{ eos_token }}|{{ pad_token is defined }}|{{ bos_token + 'x' }}",
    "namespace": "{% set ns = namespace(n=0) %}{% for m in messages %}{% set ns.n = ns.n + 1 %}{% endfor %}{{ ns.n }}",
    "trim and lstrip": "  {% if true %}\n    text\n  {% endif %}\n  end\n",
    "generation prompt": "{{ messages[-1].content }}{% if add_generation_prompt %}<|assistant|>{% endif %}",
    "slices and tests": "{{ messages[1:] | length }} {{ messages[0].content is string }} {{ 'a' in 'abc' }} {{ 7 // 2 }}",
    "split of a thought": "{{ messages[-1].content.split('</think>')[-1].lstrip('\\n') }}",
    "filters": "{{ messages | map(attribute='role') | join(',') }} "
    "{{ messages | selectattr('role', 'equalto', 'user') | list | length }}",
    "dict items": "{% for k, v in messages[0].items() %}{{ k }}={{ v }};{% endfor %}",
    "raises where it is not reached": "{% if messages | length > 99 %}{{ raise_exception('no') }}{% endif %}fine",
    "kwargs": "{{ enable_thinking is defined and enable_thinking is false }}",
    "line statements stay": "# not a comment\n{# a comment #}\n{{ 'x' }}",
    "unicode": "«{{ messages[0].content }}» — ✓",
}  # fmt: skip
CHATS = [
    [{"role": "user", "content": " what is <b>1 + 1</b>? "}],
    [
        {"role": "system", "content": "be brief"},
        {"role": "user", "content": "né 'x' \"y\""},
        {"role": "assistant", "content": "<think>hm</think>\n2"},
        {"role": "user", "content": "日本\n😀"},
    ],
]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "tokenizer").mkdir()
    shutil.copyfile(toy_folder() / "tokenizer.json", tmp_path / "tokenizer" / "tokenizer.json")
    return tmp_path / "tokenizer"


def settings(folder: Path, template: object) -> None:
    content = {
        "bos_token": "<bos>",
        "eos_token": {"content": "<eos>", "__type": "AddedToken"},
        "chat_template": template,
    }
    (folder / "tokenizer_config.json").write_text(json.dumps(content))


def theirs(folder: Path, chat: list[dict[str, str]]) -> str:
    tokenizer = PreTrainedTokenizerFast.from_pretrained(str(folder))
    return str(tokenizer.apply_chat_template(chat, tokenize=False, add_generation_prompt=True))


@pytest.mark.parametrize("name", TEMPLATES)
def test_a_template_renders_as_in_transformers(folder: Path, name: str) -> None:
    settings(folder, TEMPLATES[name])
    ours = ChatTokenizer.load(folder)
    for chat in CHATS:
        assert ours.render(chat) == theirs(folder, chat)


def jinja(folder: Path, **named: str) -> None:
    for name, text in named.items():
        if name == "chat_template":
            (folder / "chat_template.jinja").write_text(text, "utf-8")
        else:
            (folder / "additional_chat_templates").mkdir(exist_ok=True)
            (folder / "additional_chat_templates" / f"{name}.jinja").write_text(text, "utf-8")


def both(folder: Path, template: object, **named: str) -> None:
    settings(folder, template)
    jinja(folder, **named)


PLACES: dict[str, Callable[[Path], None]] = {
    "a list of named ones": lambda f: settings(f, [
        {"name": "tool_use", "template": "tool"}, {"name": "default", "template": "one {{ messages[0].content }}"},
    ]),
    "a dict of named ones": lambda f: settings(f, {"rag": "r", "default": "two {{ messages[0].content }}"}),
    "the file": lambda f: both(f, None, chat_template="three"),
    "the file before the settings": lambda f: both(f, "four", chat_template="five"),
    "the file, with additional ones": lambda f: both(f, "six", chat_template="seven", tool_use="eight"),
    "an additional default": lambda f: both(f, "nine", default="ten"),
    "an additional default before the file": lambda f: both(f, "x", chat_template="eleven", default="twelve"),
    "an empty template": lambda f: settings(f, ""),
}  # fmt: skip


@pytest.mark.parametrize("place", PLACES)
def test_a_template_is_found_where_transformers_finds_it(folder: Path, place: str) -> None:
    PLACES[place](folder)
    assert ChatTokenizer.load(folder).render(CHATS[0]) == theirs(folder, CHATS[0])


NONE: dict[str, tuple[Callable[[Path], object], str]] = {
    "no template": (lambda f: settings(f, None), "no chat template; add chat_template.jinja"),
    "chat_template.json alone": (
        lambda f: (f / "chat_template.json").write_text('{"chat_template": "x"}'),
        "chat_template.json is a processor's, and tokenizers do not read it; save its template as chat_template.jinja",
    ),
    "a list without a default": (lambda f: settings(f, [{"name": "rag", "template": "x"}]), "chat templates named rag"),
    "a dict without a default": (lambda f: settings(f, {"b": "x", "a": "y"}), "named a, b, and none named default"),
    "additional ones without a default": (lambda f: both(f, "settings", tool_use="x"), "named tool_use, and none"),
    "an empty list": (lambda f: settings(f, []), "chat templates named (none)"),
}  # fmt: skip


@pytest.mark.parametrize("name", NONE)
def test_where_transformers_finds_none_we_say_so(folder: Path, name: str) -> None:
    make, told = NONE[name]
    make(folder)
    with pytest.raises(ValueError, match=r"chat_template|chat templates|no default"):
        theirs(folder, CHATS[0])
    with pytest.raises(PolicyError) as caught:
        ChatTokenizer.load(folder)
    assert told in str(caught.value) and str(folder) in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("template", "told"),
    [
        (5, "chat_template is int; must be a text"),
        (True, "chat_template is bool"),
        ([{"name": "default"}], "each of a list must be an object with name and template"),
        (["default"], "each of a list must be an object with name and template"),
        ({"default": 7}, "chat_template is int"),
        ({"default": None}, "chat_template is NoneType"),
        ("{% if %}", "not a Jinja template"),
        ("{{ 'a'", "not a Jinja template"),
        ("{% generation %}", "not a Jinja template"),
        ("{{ x | nofilter }}", "not a Jinja template"),
        ("{% for m in messages %}", "not a Jinja template"),
    ],
)
def test_what_is_no_template_is_one_line(folder: Path, template: object, told: str) -> None:
    settings(folder, template)
    with pytest.raises(PolicyError) as caught:
        ChatTokenizer.load(folder)
    assert told in str(caught.value) and "tokenizer_config.json" in str(caught.value) and "\n" not in str(caught.value)


def test_a_file_that_is_not_utf8_is_one_line(folder: Path) -> None:
    for file in (folder / "chat_template.jinja", folder / "tokenizer_config.json"):
        file.write_bytes(b'{"chat_template": "\xff\xfe"}')
        with pytest.raises(PolicyError, match=rf"{file.name}: not (UTF-8|JSON): 'utf-8' codec"):
            ChatTokenizer.load(folder)
        file.unlink()


FAULTS = {
    "{{ 1 / 0 }}": "ZeroDivisionError: division by zero",
    "{{ messages + 1 }}": "TypeError: can only concatenate list",
    "{{ messages[0].content + 1 }}": "TypeError: can only concatenate str",
    "{{ 'x' | indent(messages) }}": "TypeError",
    "{{ '%d' % 'x' }}": "TypeError",
    "{{ '%d' | format('x') }}": "TypeError",
    "{{ messages | tojson(indent=messages) }}": "TypeError",
    "{{ namespace | tojson }}": "TypeError",
    "{{ strftime_now(3) }}": "TypeError",
    "{{ messages[0].content.encode('nocodec') }}": "LookupError",
    "{% macro f(n) %}{{ f(n + 1) }}{% endmacro %}{{ f(0) }}": "RecursionError",
    "{{ range(10 ** 9) | list | length }}": "OverflowError",
}


@pytest.mark.parametrize("template", FAULTS)
def test_a_mistake_in_a_template_is_found_before_a_run_and_named(tmp_path: Path, template: str) -> None:
    with pytest.raises(DataError) as rendered:
        ChatTemplate(template).render(CHATS[0], {})
    assert f"chat template: {FAULTS[template]}" in str(rendered.value)
    policy = write_folder("dream", tmp_path / "policy")
    (policy / "chat_template.jinja").write_text(template)
    with pytest.raises(PolicyError) as checked:
        check_policy(policy)
    assert f"{policy / 'chat_template.jinja'}: {FAULTS[template]}" in str(checked.value)
    assert all(
        "\n" not in str(error.value) and "mend the template" in str(error.value) for error in (rendered, checked)
    )


REFUSALS = [
    "{{ raise_exception('begin with\n the user') }}",
    "{{ nothing.at_all }}",
    "{{ messages[5].content }}",
    "{{ messages.append(1) }}",
    "{{ messages.__class__.__mro__[1].__subclasses__()() }}",
    "{{ raise_exception(5) }}",
]


@pytest.mark.parametrize("template", REFUSALS)
def test_a_template_that_refuses_turns_says_which(tmp_path: Path, template: str) -> None:
    with pytest.raises(DataError) as caught:
        ChatTemplate(template).render(CHATS[1], {})
    assert "it refuses turns of system, user, assistant, user: " in str(caught.value) and "\n" not in str(caught.value)
    policy = write_folder("dream", tmp_path / "policy")
    (policy / "chat_template.jinja").write_text(template)
    check_policy(policy)  # it may take other turns


@pytest.mark.parametrize("name", ["bos_token", "eos_token", "cls_token", "pad_token", "mask_token", "sep_token"])
@pytest.mark.parametrize("value", ["<eos>", {"content": "<eos>", "__type": "AddedToken"}, None])
@pytest.mark.parametrize("place", ["tokenizer_config.json", "special_tokens_map.json", "both", "listed"])
def test_special_tokens_of_either_file_are_those_of_transformers(
    folder: Path, name: str, value: object, place: str
) -> None:
    template = {"chat_template": f"{{{{ {name} }}}}|{{{{ {name} is defined }}}}"}
    listed = {"added_tokens_decoder": {}} if place == "listed" else {}
    in_settings = {**template, **({name: value} if place == "tokenizer_config.json" else {})}
    (folder / "tokenizer_config.json").write_text(
        json.dumps({**in_settings, **({name: "<bos>"} if place in ("both", "listed") else {}), **listed})
    )
    if place != "tokenizer_config.json":
        plain = {key: part for key, part in value.items() if key != "__type"} if isinstance(value, dict) else value
        (folder / "special_tokens_map.json").write_text(json.dumps({name: plain}))
    assert ChatTokenizer.load(folder).render(CHATS[0]) == theirs(folder, CHATS[0])


def test_additional_templates_are_saved_with_the_policy(tmp_path: Path) -> None:
    policy = write_folder("dream", tmp_path / "policy")
    (policy / "chat_template.jinja").unlink()
    jinja(policy, default="<{{ messages[0].content }}>", tool_use="tool")
    load_policy(policy).save(tmp_path / "saved")
    assert load_policy(tmp_path / "saved").tokenizer.render(CHATS[0]) == "< what is <b>1 + 1</b>? >"
    assert (tmp_path / "saved" / "additional_chat_templates" / "tool_use.jinja").read_text() == "tool"
