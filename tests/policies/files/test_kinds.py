"""Checkpoints and adapters as other tools write them, kind by kind: the same function as theirs, or one line."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from policies import load_policy, lora
from policies.files.checkpoints import check_policy
from policies.files.tokenizer import ChatTokenizer
from rl.errors import UniGRPOError
from tests.policies.files.test_adapters import Q, pair, rename, write
from tests.policies.files.test_chat_template import CHATS, settings, theirs
from tests.policies.files.test_settings import GONE, changed, sizes
from tests.policies.files.test_shards import BUFFERS, TIED, folder_with, raw
from tests.policies.originals import CONFIGS, write_folder
from tests.toys import toy_folder
from tests.wide import wide

IDS = torch.arange(20, 32)[None]


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_folder("llada", tmp_path_factory.mktemp("base") / "llada")


def line(act: Callable[[], object]) -> str:
    with pytest.raises(UniGRPOError) as caught:
        act()
    assert "\n" not in str(caught.value) and len(str(caught.value)) < 700
    return str(caught.value)


# An adapter is used whole, or refused.

OPTIONS: list[dict[str, Any]] = [
    {"init_lora_weights": "pissa_niter_4"}, {"init_lora_weights": "PiSSA"}, {"init_lora_weights": "lora_one"},
    {"init_lora_weights": None},
    {"init_lora_weights": "true"}, {"velora_config": {"x": 1}}, {"monteclora_config": {"a": 1}}, {"r": -2}, {"r": [2]},
    {"r": 10**9},
    {"lora_alpha": float("inf")}, {"lora_alpha": True}, {"bias": "lora"}, {"peft_type": "lora"}, {"peft_type": "LOHA"},
    {"peft_type": "ADALORA"},
    {"trainable_token_indices": {"wte": [1]}}, {"use_dora": "false"}, {"modules_to_save": ["classifier"]},
    {"r": "2"},
    {"alora_invocation_tokens": [1]}, {"layer_replication": [[0, 1]]}, {"target_parameters": ["x"]}, {"rank_pattern": {".*": 3}},
]  # fmt: skip


@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_an_option_that_changes_the_function_is_refused(tmp_path: Path, base: Path, options: dict[str, Any]) -> None:
    folder = write(tmp_path / "adapter", options)
    told = line(lambda: lora.check_adapter(folder, base))
    assert any(
        part in told for part in (next(iter(options)), "adapter_config.json says rank", "Infinity is not a number")
    )
    assert line(lambda: lora.load_adapter(load_policy(base), folder)) == told


def add(key: str, *shape: int) -> Callable[[dict[str, Tensor]], object]:
    return lambda tensors: tensors.update({key: torch.ones(shape)})


KEYS: dict[str, Callable[[dict[str, Tensor]], object]] = {
    "ia3_l": add(f"{Q}.ia3_l", 64), "hada_w1_a": add(f"{Q}.hada_w1_a", 2, 64), "lokr_w1": add(f"{Q}.lokr_w1", 2, 64),
    "oft_r": add(f"{Q}.oft_r", 2, 64),
    "vera_lambda_b": add(f"{Q}.vera_lambda_b", 64), "prompt_embeddings": add("prompt_embeddings", 2, 64),
    "lora_A.bias": add(f"{Q}.lora_A.bias", 2),
    "lora_E": add(f"{Q}.lora_E", 2), "ranknum": add(f"{Q}.ranknum", 1), "a blank": add(f"{Q} .lora_A.weight", 2, 64),
    "alpha": add(f"{Q}.alpha"),
    "LORA_A": rename("lora_A", "LORA_A"), "dora_scale": add(f"{Q}.dora_scale", 64), "diff": add(f"{Q}.diff", 64, 64),
    "no name": add("", 1),
    "base_layer": add(f"{Q}.base_layer.weight", 64, 64), "original_module": add(f"{Q}.original_module.weight", 64, 64),
    "modules_to_save": add("base_model.model.lm_head.modules_to_save.weight", 3),
    "lora_embedding_B": add(f"{Q}.lora_embedding_B", 2),
    "another tool's": rename("lora_A", "lora.down"), "another layer's": rename("blocks.0", "blocks.-1"),
    "layer 00": rename("blocks.0", "blocks.00"),
    "one prefix less": rename("base_model.model.", "base_model."),
    "one prefix more": rename("base_model.model.model.", "base_model.model.model.model."),
    "two of one name": lambda t: t.update({f"{Q}.lora_A.default.weight": torch.ones(2, 64)}),
    "rank 0": add(f"{Q}.lora_A.weight", 0, 64),
    "a number": add(f"{Q}.lora_A.weight"),
    "a head": lambda t: t.update(pair("base_model.model.model.transformer.ff_out", 320, 64)),
    "turned": lambda t: t.update({key: value.T.contiguous() for key, value in t.items()}),
    "infinite": lambda t: t[f"{Q}.lora_A.weight"].fill_(torch.inf),
}  # fmt: skip


@pytest.mark.parametrize("name", KEYS)
def test_a_key_that_would_not_be_used_is_refused(tmp_path: Path, base: Path, name: str) -> None:
    folder = write(tmp_path / "adapter", {}, KEYS[name])
    policy = load_policy(base)
    before = policy.logits(IDS)
    told = line(lambda: lora.load_adapter(policy, folder))
    assert line(lambda: lora.check_adapter(folder, base)) == told and "adapter_model.safetensors" in told
    assert torch.equal(policy.logits(IDS), before) and not dict(lora.adapters(policy.module))


SAME: list[dict[str, Any]] = [
    {"loftq_config": {}}, {"layers_pattern": "blocks"}, {"layers_to_transform": 0}, {"target_modules": None},
    {"target_modules": ".*q_proj"},
    {"rank_pattern": {"nothing": 4}}, {"alpha_pattern": {"nothing": 4}}, {"rank_pattern": None}, {"lora_dropout": 0.5},
    {"inference_mode": False},
    {"base_model_name_or_path": "/other"}, {"task_type": "CAUSAL_LM"}, {"revision": "x"}, {"trainable_token_indices": []},
    {"lora_bias": None},
    {"use_dora": None}, {"target_parameters": []}, {"layer_replication": []}, {"peft_version": "0.99"}, {"qalora_group_size": 16},
    {"bias": "none"},
]  # fmt: skip


def test_an_option_without_effect_has_none(tmp_path: Path, base: Path) -> None:
    plain = load_policy(base)
    lora.load_adapter(plain, write(tmp_path / "plain", {}))
    for index, options in enumerate(SAME):
        policy = load_policy(base)
        lora.load_adapter(policy, write(tmp_path / str(index), options))
        assert torch.equal(policy.logits(IDS), plain.logits(IDS)), options


# A tied head is the embedding, in every kind of number.

HEADS: dict[str, Callable[[Tensor], Tensor]] = {
    "scaled": lambda t: t * 1.0001, "rolled": lambda t: t.roll(1, 0), "zeros": torch.zeros_like, "rounded": lambda t: t.half(),
    "one row": lambda t: t[:1],
    "infinite": lambda t: t.clone().index_fill_(0, torch.tensor([3]), torch.inf), "empty": lambda t: t[:0],
    "3 dimensions": lambda t: t[None],
    "twice as wide": lambda t: torch.cat([t, t], 1), "int32": lambda t: (100 * t).to(torch.int32),
    "int64": lambda t: t.to(torch.int64),
    "uint8": lambda t: torch.ones_like(t, dtype=torch.uint8), "int8": lambda t: t.to(torch.int8), "bool": lambda t: t > 0,
    "int16 of another shape": lambda t: t[:1].to(torch.int16), "fp8": lambda t: t.to(torch.float8_e4m3fn),
    "mirrored": lambda t: t.flip(1),
    "padded": lambda t: torch.cat([t, torch.zeros(8, t.shape[1])]), "one step off": lambda t: torch.nextafter(t, t + 1),
    "negative": lambda t: -t,
}  # fmt: skip


@pytest.mark.parametrize("kind", wide(HEADS, 4))
@pytest.mark.parametrize("name", ["llada", "sdar"])
def test_another_head_under_a_tied_config_is_refused(tmp_path: Path, name: str, kind: str) -> None:
    setting, head, table = TIED[name]
    folder = folder_with(tmp_path / "x", name, lambda w: w.update({head: HEADS[kind](w[table])}), **{setting: True})
    told = line(lambda: check_policy(folder))
    assert head in told and ("differs from" in told or "has dtype" in told)
    assert line(lambda: load_policy(folder)) == told


def test_the_same_head_is_taken(tmp_path: Path) -> None:
    setting, head, table = TIED["dream"]
    for index, kind in enumerate((torch.clone, Tensor.double, lambda t: t.clone().masked_fill_(t == 0, -0.0))):
        check_policy(
            folder_with(
                tmp_path / str(index), "dream", lambda w, kind=kind: w.update({head: kind(w[table])}), **{setting: True}
            )
        )


def test_rates_of_the_rotation_as_integers_are_refused(tmp_path: Path) -> None:
    key = "model.rotary_emb.inv_freq"
    folder = folder_with(tmp_path / "x", "dream", lambda w: w.update({key: torch.ones(8, dtype=torch.int64)}))
    assert f"{key} has dtype I64" in line(lambda: check_policy(folder))


# The end of a text and the mask are ids; a list's first counts for the end.

BAD_IDS: list[Any] = [
    [[2]], {}, "2", 2.0, 2.5, True, -1, 10**9, 10**30, ["a"], [None, 2], [2, None], "<eos>", {"id": 2}, [True], [-1, 2], [2.0],
    False, [[]], ["2", 2],
    "", [{}],
]  # fmt: skip


@pytest.mark.parametrize("key", ["eos_token_id", "mask_token_id"])
def test_an_id_that_is_none_is_one_line(tmp_path: Path, key: str) -> None:
    for name in ("dream", "sdar", "llada"):
        folder = write_folder(name, tmp_path / name)
        for value in BAD_IDS:
            (folder / "config.json").write_text(json.dumps(changed(name, **{key: value})))
            assert f"{key}=" in line(lambda folder=folder: check_policy(folder)), (name, value)


@pytest.mark.parametrize(
    ("value", "expected"), [([1, 5], 1), ([5, 1], 5), ([1], 1), (7, 7), ([7, 7], 7), ([2, 3, 4], 2)]
)
def test_the_first_of_a_list_ends_a_text(tmp_path: Path, value: Any, expected: int) -> None:
    for name in ("dream", "sdar", "llada"):
        folder = write_folder(name, tmp_path / name)
        (folder / "config.json").write_text(json.dumps(changed(name, eos_token_id=value)))
        assert load_policy(folder).vocabulary.eos_id == expected


# Chat templates are transformers' own, text for text; where it fails, ours fails in one line.

SHOWN: list[str] = [
    "{{ {'a': '\"x\"', 'b': \"it's\"} | tojson }}", "{{ '<script>&amp;</script>' | tojson }}", "{{ none | tojson }}",
    "{{ messages | tojson(indent=4) }}",
    "{{ '\\u0001\\n\\t' | tojson }}", "{% for m in messages %}{{ m | tojson }}{% endfor %}",
    "{{ 12345678901234567890 | tojson }}", "{{ 1e100 | tojson }}",
    "{{ {true: 1, none: 2, 3: 4} | tojson }}", "{% macro j(x) %}{{ x | tojson }}{% endmacro %}{{ j(messages[0]) }}",
    "{{ range(3) | list | tojson }}",
    "{{ {'a':1} | tojson(indent='\t') }}", "{{ {'é':1} | tojson(true) }}", "{{ '<a>' | safe }}{{ '<a>' | e }}",
    "{{ {'a':'b'} | xmlattr }}",
    "{{ {'b':1,'a':2} | pprint }}{{ {'b':1,'a':2} | dictsort }}", "{{ messages[0] | items | list }}",
    "{{ '%s-%d' | format('a', 3) }}",
    "{% for g in messages | groupby('role') %}{{ g.grouper }}{% endfor %}",
    "{{ messages[::-1] | map(attribute='content') | join('|') }}",
    "{% for m in messages %}{{ loop.index0 }}{{ loop.first }}{{ loop.last }}{{ loop.length }}{% endfor %}",
    "{% set x %}a {{ 1 }} b{% endset %}[{{ x }}]",
    "{% for m in [[1,[2]],3] recursive %}{{ loop(m) if m is iterable else m }}{% endfor %}",
    "{% filter upper %}abc{% endfilter %}",
    "{% macro f() %}<{{ caller() }}>{% endmacro %}{% call f() %}x{% endcall %}", "{% with a=1, b=2 %}{{ a+b }}{% endwith %}",
    "{% raw %}{{ x }}{% endraw %}",
    "{% for m in messages %}{% generation %}{% if true %}{{ m.role }}{% endif %}{% endgeneration %}{% endfor %}",
    "a{% generation %}{% endgeneration %}b",
    "{% for m in messages %}{% generation %}x{% endgeneration %}{% if loop.index == 1 %}{% break %}{% endif %}{% endfor %}",
    "{% set ns = namespace(a=1) %}{% generation %}{% set ns.a = 2 %}{% endgeneration %}{{ ns.a }}",
    "{{ strftime_now is defined }}",
    "{% set a = 1 %}{% generation %}{% set a = 2 %}{{ a }}{% endgeneration %}{{ a }}",
    "{{ strftime_now('%d %b %Y') }}{{ strftime_now('100%%') }}",
    "{% for m in messages %}{% generation %}{{ loop.index }}{% endgeneration %}{% endfor %}",
    "[{{ messages[0].name }}]{{ messages[0].name is defined }}",
    "{{ messages[0].get('name', 'none') }}{{ messages[0].keys() | list }}",
    "{{ 7 // 2 }}{{ 2 ** 5 }}{{ 7 % 3 }}{{ 2.567 | round(1) }}",
    "{% if true %}\n\n  x\n{% endif %}\n\ny", "   {% set a = 1 %}   b", "a  {{- 'b' -}}  c", "a\n  {%+ if true %}x{% endif %}",
    "a{# b #}\nc", "x\n\n", "",
    "a\r\n{% if true %}\r\nb{% endif %}", "{{ lipsum is defined }}{{ cycler is defined }}{{ dict is defined }}",
    "{% block a %}x{% endblock %}",
    "{{ bos_token }}{{ unk_token }}{{ eos_token }}", "{% set l = [1] %}{% set l = l + [2] %}{{ l }}",
    "{{ continue_final_message is defined }}",
]  # fmt: skip


def template(folder: Path, text: str) -> Path:
    folder.mkdir(exist_ok=True)
    shutil.copyfile(toy_folder() / "tokenizer.json", folder / "tokenizer.json")
    settings(folder, text)
    return folder


@pytest.mark.parametrize("text", SHOWN)
def test_a_template_renders_as_in_transformers(tmp_path: Path, text: str) -> None:
    folder = template(tmp_path / "x", text)
    for chat in CHATS:
        assert ChatTokenizer.load(folder).render(chat) == theirs(folder, chat)


FAILS: list[str] = [
    "{% set l = [] %}{{ l.append(1) }}", "{% extends 'x' %}", "{{ nothing | tojson }}",
    "{% macro f() %}{% endmacro %}{{ f | tojson }}", "{{ 1/0 }}",
    "{{ 1 + 'a' }}", "{{ none.x.y }}", "{{ a.b.c }}", "{{ nothing() }}", "{{ raise_exception('bad roles') }}",
    "{{ messages[99].content }}", "{% if %}",
    "{% for m in messages %}", "{% unknown %}", "{{ 1 | unknown }}", "{{ 1 is unknown }}", "{{ ''.__class__.__mro__ }}",
    "{{ strftime_now(5) }}",
    "{{ messages.append({}) }}", "{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}", "{% generation %}", "{% endgeneration %}",
    "{{ [] | first | upper + 1 }}",
]  # fmt: skip


@pytest.mark.parametrize("text", FAILS)
def test_a_template_that_fails_there_is_one_line_here(tmp_path: Path, text: str) -> None:
    folder = template(tmp_path / "x", text)
    with pytest.raises(Exception, match=r".*"):
        theirs(folder, CHATS[0])
    assert "tokenizer_config.json" in line(lambda: ChatTokenizer.load(folder).render(CHATS[0]))


# Positions are those that the config states, in whichever of the three places, or they are refused.

THETA = 12_345.0
ROTATED: list[dict[str, Any]] = [
    {"rope_theta": THETA, "rope_scaling": {}}, {"rope_theta": THETA, "rope_scaling": {"type": None}},
    {"rope_theta": GONE, "rope_parameters": {"rope_theta": THETA}},
    {"rope_theta": GONE, "rope_scaling": {"rope_theta": THETA, "rope_type": "default"}},
    {"rope_theta": THETA, "rope_parameters": {"type": "default"}},
    {"rope_theta": None, "rope_parameters": {"rope_theta": THETA}},
    {"rope_theta": THETA, "rope_parameters": {"rope_theta": None}},
]  # fmt: skip
SCALED: list[dict[str, Any]] = [
    {"rope_theta": GONE, "rope_parameters": {"rope_theta": THETA, "rope_type": "yarn", "factor": 4}},
    {"rope_parameters": {"rope_type": "linear", "factor": 1.0}},
    {"rope_theta": GONE, "rope_parameters": {"rope_theta": "12345"}}, {"rope_theta": GONE, "rope_parameters": [THETA]},
    {"rope_scaling": False},
    {"rope_theta": GONE, "rope_parameters": {"rope_theta": -1}},
    {"rope_parameters": {"rope_type": "default", "attention_factor": 1.0}},
    {"rope_scaling": {"rope_type": "Default"}},
    {"rope_scaling": {"rope_type": "default", "original_max_position_embeddings": 128}},
    {"rope_parameters": {"sliding_attention": {"rope_theta": THETA, "rope_type": "yarn", "factor": 2}}},
    {"rope_theta": GONE, "rope_parameters": {"theta": THETA}},
    {"rope_theta": THETA, "rope_parameters": {"rope_theta": THETA + 1}},
    {"rope_parameters": {"rope_type": "default", "beta_fast": 32}},
    {"rope_scaling": {"rope_type": "yarn", "factor": 1.0}},
    {"rope_theta": THETA, "rope_parameters": {"a": {"rope_theta": THETA}, "b": {"rope_theta": 1.6e5}}},
    {"rope_theta": True}, {"rope_theta": [THETA]}, {"rope_parameters": {"rope_theta": THETA, "mscale": 1.0}},
    {"rope_parameters": "default"},
    {"rope_scaling": {"type": "ntk"}}, {"rope_scaling": {"rope_type": "default", "long_factor": [1.0]}},
]  # fmt: skip


@pytest.mark.parametrize("name", CONFIGS)
def test_positions_are_as_stated_or_refused(name: str) -> None:
    for given in ROTATED:
        assert sizes(name, **given).rope_theta == THETA, given
    for given in SCALED:
        assert "rope_" in line(lambda given=given: sizes(name, **given)), given


@pytest.mark.parametrize("name", [name for name in CONFIGS if name != "llada2"])
def test_a_part_of_each_head_is_rotated_by_one_family_alone(name: str) -> None:
    for given in ({"partial_rotary_factor": 0.5}, {"rope_parameters": {"partial_rotary_factor": 0.5}}):
        assert "partial_rotary_factor" in line(lambda given=given: sizes(name, **given))
    assert sizes(name, partial_rotary_factor=1.0) == sizes(name)


# A refusal of a kind of number says so, and a buffer that nothing needs is none.

NUMBERS = "F8_E4M3 F8_E5M2 BOOL I8 U8 F4 F8_E4M3FNUZ U4 I4 BF8 C32 NF4 f32 FLOAT F16X I32 I64 F128 INT8 QINT8".split()


@pytest.mark.parametrize("dtype", NUMBERS)
def test_a_weight_of_a_kind_that_cannot_be_trained_is_named(tmp_path: Path, dtype: str) -> None:
    bits = (
        4
        if dtype.endswith("4") and dtype[-2:] not in ("64",)
        else 64
        if dtype == "I64"
        else 128
        if dtype == "F128"
        else 8
    )
    bits = 32 if dtype in ("I32", "C32", "f32", "FLOAT") else 16 if dtype == "F16X" else bits
    for key in ("lm_head.weight", "model.norm.weight"):
        folder = write_folder("dream", tmp_path / key)
        raw(folder, key, dtype, bits)
        told = line(lambda folder=folder: check_policy(folder))
        assert f"{key} has dtype {dtype}; allowed: F64, F32, F16, BF16" in told and "copy it again" not in told


STRANGERS = "masked_bias rotary_emb.cos_cached rotary_emb.original_inv_freq k_cache lm_head.weight_scale_inv input_scale".split()


def test_a_stranger_among_the_numbers_is_refused_and_one_of_integers_is_not(tmp_path: Path) -> None:
    for key in STRANGERS:
        folder = folder_with(tmp_path / key, "dream", lambda w, key=key: w.update({key: torch.ones(2)}))
        assert f"{key} has no place" in line(lambda folder=folder: check_policy(folder))
    for index, value in enumerate(BUFFERS.values()):
        check_policy(folder_with(tmp_path / str(index), "dream", lambda w, value=value: w.update({"any.name": value})))
