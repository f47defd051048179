"""A recipe that is no YAML: the file, the line, the column, and what is wrong there."""

from __future__ import annotations

from pathlib import Path

import pytest

from rl.config import load_config
from rl.errors import ConfigError

MISTAKES = {
    "a tab": (b"name: a\nrollout:\n\tbatch_size: 3\n", "line 3, column 1: not YAML: a tab; indent with blanks"),
    "a tab at the start": (b"\tsteps: 3\n", "line 1, column 1: not YAML: a tab"),
    "a tab after blanks": (b"rollout:\n  \tbatch_size: 3\n  \tthreads: 1\n", "line 2, column 3: not YAML: a tab"),
    "two colons": (b"steps: 3\nname: a: b\n", "line 2, column 8: not YAML: mapping values are not allowed"),
    "an open list": (b"data: [1, 2\nsteps: 3\n", "line 2, column 6: not YAML: did not find expected ',' or ']'"),
    "an open mapping": (b"rollout: {threads: 1\n", "line 2, column 1"),
    "an open quote": (b'name: "abc\nsteps: 2\n', "line 3, column 1: not YAML: found unexpected end of stream"),
    "where the quote began": (b'steps: 2\nname: "abc\n', "a quoted scalar from line 2 on"),
    "a key twice": (b"steps: 1\nsteps: 2\n", "line 2, column 1: not YAML: found duplicate key steps"),
    "latin-1": ("name: ok\nx: caf\xe9\n".encode("latin-1"), "line 2, column 7: not YAML: byte 0xe9 is not UTF-8"),
    "utf-16": ("steps: 3\n".encode("utf-16"), "line 1, column 1: not YAML: byte 0xff is not UTF-8"),
    "a control character": (b"name: a\nx: \x01\n", "line 2, column 4: not YAML: a control character, U+0001"),
    "a zero byte": (b"steps: 1\x00\n", "line 1, column 9: not YAML: a control character, U+0000"),
    "an unknown alias": (b"steps: 1\nname: *b\n", "line 2, column 7: not YAML: found undefined alias"),
    "less indented": (b"data:\n  train: 1\n val: 2\n", "line 3, column 2: not YAML: did not find expected key"),
    "a percent sign": (b"%a\n---\nsteps: 1", "line 1, column 3"),
    "two documents": (b"steps: 1\n---\nsteps: 2\n", "line 2, column 1: not YAML"),
    "an at sign": (b"name: @x\n", "line 1, column 7: not YAML"),
    "a backtick": (b"name: `x`\n", "line 1, column 7: not YAML"),
    "code": (b"steps: !!python/object:os.system x\n", "line 1, column 8: not YAML: could not determine a constructor"),
    "a bad merge": (b"<<: 3\n", "line 1, column 5: not YAML: expected a mapping"),
    "a stray bracket": (b"steps: 1\nname: ]\n", "line 2, column 7: not YAML"),
}


@pytest.mark.parametrize("name", MISTAKES)
def test_a_mistake_in_yaml_is_one_line_with_its_place(tmp_path: Path, name: str) -> None:
    content, told = MISTAKES[name]
    path = tmp_path / "recipe.yaml"
    path.write_bytes(content)
    with pytest.raises(ConfigError) as caught:
        load_config(path)
    text = str(caught.value)
    assert "\n" not in text and text.startswith(f"{path}: line ") and told in text, text


def test_a_byte_order_mark_is_no_mistake(tmp_path: Path) -> None:
    path = tmp_path / "recipe.yaml"
    path.write_bytes(b"\xef\xbb\xbfsteps: 3\n")
    assert load_config(path).steps == 3


LISTS = ["data.train[0].source=x", "data.val[1].limit=3", "data.train.source=x", "data={train: {source: x}}",
         "rewards.mix.text=[format]", "rewards.settings.clip=[1]", "learner.lora.target={a: 1}", "rollout=[1]"]  # fmt: skip


@pytest.mark.parametrize("override", LISTS)
def test_a_list_in_the_place_of_a_mapping_or_the_other_way_round(override: str) -> None:
    with pytest.raises(ConfigError, match="override|config") as caught:
        load_config("tiny", [override])
    assert "\n" not in str(caught.value)


def test_a_seed_that_no_generator_takes() -> None:
    assert load_config("tiny", [f"seed={2**63 - 1}"]).seed == 2**63 - 1
    with pytest.raises(ConfigError, match=r"seed=9223372036854775808: .*below 2\*\*63"):
        load_config("tiny", [f"seed={2**63}"])
