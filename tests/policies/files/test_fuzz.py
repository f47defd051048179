"""Whatever a stranger's checkpoint holds: it is taken, or refused in one line of the project's own, within little memory."""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from policies.files.adapters import CONFIG_FILE, WEIGHTS_FILE, read_adapter
from policies.files.chat_template import find_template
from policies.files.checkpoints import check_policy
from policies.files.shards import Shard
from policies.files.trial import try_tokenizer
from policies.images.load import load_image_tokenizer
from tests.policies.files.hostile import answer, safetensors, tensor, tiny
from tests.policies.originals import CONFIGS

SHORT, LONG = 60, 2000
NUMBERS = st.one_of(
    st.integers(-4, 70),
    st.sampled_from([2**31, 2**63, 10**12, 10**30, 10**400, -(10**12), 1e300, -0.0, 1e-300, 0.5, 1e999]),
)
LEAVES = st.one_of(
    st.none(), st.booleans(), NUMBERS, st.floats(), st.text(max_size=6), st.sampled_from(["\n", "\x1b[2J", "../x", "/"])
)
VALUES = st.recursive(
    LEAVES,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)
KINDS: dict[str, Callable[[st.DataObject], None]] = {}


def bytes_like(text: bytes) -> st.SearchStrategy[bytes]:
    """The text, cut, with a few bytes replaced or doubled; or any bytes."""

    def changed(parts: tuple[int, list[tuple[int, bytes]]]) -> bytes:
        out = bytearray(text[: parts[0]])
        for place, new in parts[1]:
            at = place % (len(out) + 1)
            out[at : at + len(new)] = new
        return bytes(out)

    edits = st.lists(st.tuples(st.integers(0, len(text)), st.binary(min_size=1, max_size=3)), max_size=3)
    return st.binary(max_size=40) | st.tuples(st.integers(0, len(text)) | st.just(len(text)), edits).map(changed)


@cache
def folder() -> Path:
    return tiny(Path(tempfile.mkdtemp(prefix="unigrpo-fuzz-")))


def with_file(name: str, content: bytes, call: Callable[[], object]) -> None:
    """The answer of a call while a file of the folder has this content."""
    file = folder() / name
    there = file.read_bytes() if file.is_file() else None
    file.write_bytes(content)
    try:
        answer(call)
    finally:
        file.unlink() if there is None else file.write_bytes(there)


def as_json(value: Any) -> bytes:
    return json.dumps(value).encode()


def config(data: st.DataObject) -> None:
    """A family's settings, some of them changed, with tokenizer and weights of another."""
    name = data.draw(st.sampled_from([*CONFIGS, "tiny"]))
    base = json.loads((folder() / "config.json").read_text()) if name == "tiny" else CONFIGS[name]
    changes = data.draw(st.dictionaries(st.sampled_from(sorted(base)), VALUES, max_size=3))
    with_file("config.json", as_json({**base, **changes}), lambda: check_policy(folder()))


def config_bytes(data: st.DataObject) -> None:
    name = data.draw(st.sampled_from(["config.json", "generation_config.json", "model.safetensors.index.json"]))
    text = (
        (folder() / "config.json").read_bytes()
        if name != "model.safetensors.index.json"
        else as_json({"weight_map": {"a": "b"}})
    )
    with_file(name, data.draw(bytes_like(text)), lambda: check_policy(folder()))


def header(data: st.DataObject) -> None:
    entry = st.fixed_dictionaries(
        {"dtype": st.sampled_from(["F32", "BF16", "U8", "F8_E4M3"]) | LEAVES, "shape": st.lists(NUMBERS, max_size=4) | VALUES,
         "data_offsets": st.lists(st.integers(-8, 64) | NUMBERS, min_size=2, max_size=2) | VALUES}
    )  # fmt: skip
    given_header = data.draw(st.dictionaries(st.text(max_size=6), entry | VALUES, max_size=3))
    file = folder() / "fuzzed.safetensors"
    safetensors(file, as_json(given_header), data.draw(st.integers(0, 64)))
    answer(lambda: Shard(file).__exit__())


def header_bytes(data: st.DataObject) -> None:
    sound = as_json({"a": tensor(0, 16), "b": tensor(16, 32), "__metadata__": {"format": "pt"}})
    file = folder() / "fuzzed.safetensors"
    file.write_bytes(data.draw(bytes_like(len(sound).to_bytes(8, "little") + sound + bytes(32))))
    answer(lambda: Shard(file).__exit__())


def index(data: st.DataObject) -> None:
    names = st.sampled_from(["model.safetensors", "../x", "", ".", "a\0", "x" * 300]) | st.text(max_size=5) | VALUES
    content = {"weight_map": data.draw(st.dictionaries(st.text(max_size=4), names, max_size=3) | VALUES)}
    with_file("model.safetensors.index.json", as_json(content), lambda: check_policy(folder()))


PIECES = ("{{", "}}", "{%", "%}", " messages ", "[0]", ".content", " for m in messages ", " endfor ", " if true ", " endif ",
          "'x'", "+",
          "|", "upper", " 1/0 ", "{#", "#}", " set a = ", "raise_exception('\n')", "generation", "endgeneration", "\n",
          "\ud800", "é")  # fmt: skip


def template(data: st.DataObject) -> None:
    """In tokenizer_config.json, read and rendered here: pieces of so little work."""
    text = "".join(data.draw(st.lists(st.sampled_from(PIECES), max_size=12)))
    content = data.draw(st.just({"chat_template": text}) | st.fixed_dictionaries({"chat_template": VALUES}) | VALUES)
    alone = folder() / "alone"
    alone.mkdir(exist_ok=True)
    (alone / "tokenizer_config.json").write_bytes(as_json(content))
    answer(lambda: find_template(alone).render([{"role": "user", "content": "?"}], {}))


def image_tokenizer(data: st.DataObject) -> None:
    name = data.draw(st.sampled_from(["lfq", "MAGVITv2"]))
    keys = st.sampled_from(
        ["image_size", "patch_size", "bits", "width", "channels", "up_blocks", "down_multipliers", "x"]
    )
    content = {"model_type": name, **data.draw(st.dictionaries(keys, VALUES, min_size=1, max_size=3))}
    call = lambda: load_image_tokenizer(folder() / "image_tokenizer", "meta")  # noqa: E731
    with_file("image_tokenizer/config.json", as_json(content), call)


def adapter(data: st.DataObject) -> None:
    made = folder() / "adapter"
    made.mkdir(exist_ok=True)
    keys = st.sampled_from(
        ["r", "lora_alpha", "rank_pattern", "alpha_pattern", "bias", "use_rslora", "peft_type", "x\ny"]
    )
    patterns = st.dictionaries(
        st.sampled_from(["(a+)+$", ".*", "q_proj", "(", "a{9999999999}", "[", "\\1", "(?P<a>x)"]), NUMBERS, max_size=2
    )
    changes = data.draw(st.dictionaries(keys, VALUES | patterns, max_size=3))
    (made / CONFIG_FILE).write_bytes(as_json({"peft_type": "LORA", "r": 2, "lora_alpha": 4, **changes}))
    shape = data.draw(st.lists(st.integers(0, 4), max_size=3))
    part = data.draw(st.sampled_from(["A", "B", "C", "A.x"]))
    safetensors(made / WEIGHTS_FILE, {f"blocks.0.q_proj.lora_{part}.weight": tensor(0, 16, shape)}, 16)
    answer(lambda: read_adapter(made))


for _kind in (config, config_bytes, header, header_bytes, index, template, image_tokenizer, adapter):
    KINDS[_kind.__name__] = _kind


def run(kind: str, examples: int) -> None:
    @settings(
        deadline=None,
        max_examples=examples,
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
        database=None,
    )
    @given(st.data())
    def tried(data: st.DataObject) -> None:
        KINDS[kind](data)

    tried()


@pytest.mark.parametrize("kind", KINDS)
def test_it_is_taken_or_one_line(kind: str) -> None:
    run(kind, SHORT)


@pytest.mark.long
@pytest.mark.parametrize("kind", KINDS)
def test_thousands_are_taken_or_one_line(kind: str) -> None:
    run(kind, LONG)


@pytest.mark.long
@settings(
    deadline=None,
    max_examples=100,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
    database=None,
)
@given(st.data())
def test_tokenizers(data: st.DataObject) -> None:
    """In the trial's own process: some end the one that reads them."""
    whole = json.loads((folder() / "tokenizer.json").read_text())
    parts = st.sampled_from(
        ["normalizer", "pre_tokenizer", "model", "decoder", "added_tokens", "truncation", "padding"]
    )
    part = data.draw(parts)
    inner = dict(whole[part]) if isinstance(whole.get(part), dict) else {}
    changed = {**inner, **data.draw(st.dictionaries(st.sampled_from([*inner, "type"]), VALUES, max_size=2))}
    made = folder() / "tokenizers"
    shutil.rmtree(made, ignore_errors=True)
    made.mkdir()
    shutil.copyfile(folder() / "chat_template.jinja", made / "chat_template.jinja")
    (made / "tokenizer.json").write_bytes(as_json({**whole, part: data.draw(st.just(changed) | VALUES)}))
    answer(lambda: try_tokenizer(made, {}))
