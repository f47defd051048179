"""Rows are measured and told apart before anything starts."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from cluster.cli.runs import _evaluates
from cluster.run.preflight import Inputs, check
from rl.config import Config, load_config
from rl.errors import ConfigError, DataError
from tests.cluster.recipe import write_recipe

LONG = "circle " * 400


@pytest.fixture
def make(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)

    def config(
        train: list[dict[str, Any]] | None = None, val: list[dict[str, Any]] | None = None, **settings: Any
    ) -> Config:
        """Rows replace those of the recipe; data settings are given as ``data__name``."""
        own = {name.removeprefix("data__"): settings.pop(name) for name in list(settings) if name.startswith("data__")}
        path = write_recipe(tmp_path, **settings)
        recipe = json.loads(path.read_text())
        recipe["data"].update(own)
        path.write_text(json.dumps(recipe))
        for name, rows in (("train", train), ("val", val)):
            if rows is not None:
                lines = "".join(json.dumps({"answer": "1", **row}) + "\n" for row in rows)
                (tmp_path / f"{name}.jsonl").write_text(lines)
        return load_config(str(path))

    return config


def both(config: Config) -> Inputs:
    return check(config, needs_train=True, needs_val=True)


def ids(inputs: Inputs) -> tuple[list[str], list[str]]:
    return [prompt.id for rows in inputs.train for prompt in rows], [prompt.id for prompt in inputs.val]


def rows(prefix: str, *contents: str) -> list[dict[str, Any]]:
    return [{"id": f"{prefix}{place}", "prompt": content} for place, content in enumerate(contents)]


def test_a_row_that_is_too_long_is_found_before_anything_starts(make) -> None:
    config = make(rows("t", "a", "b", LONG, "c", LONG))
    with pytest.raises(DataError) as error:
        both(config)
    text = str(error.value)
    assert text.startswith("train.jsonl: row 3: ") and "\n" not in text
    assert "8 of them its response's, but toy takes 128 (2 of 5 rows of data.train[0] are too long)" in text
    assert "lower rollout's max_new_tokens, or set data.filter_overlong=drop or truncate" in text


def test_a_held_out_row_that_is_too_long_names_its_section(make) -> None:
    with pytest.raises(
        DataError, match=r"^val.jsonl: row 2: .* \(1 of 2 rows of data.val\[0\] are .* lower evaluation's"
    ):
        both(make(val=rows("v", "x", LONG)))


def test_long_rows_are_dropped_and_counted(make, capfd) -> None:
    config = make(rows("t", LONG, "b", LONG, "c"), rows("v", "x", f"{LONG}?"), data__filter_overlong="drop")
    assert ids(both(config)) == (["t1", "t3"], ["v0"])
    notes = capfd.readouterr().err.splitlines()
    assert notes == [
        "note: train.jsonl: 2 of 4 rows of data.train[0] are too long for toy and were dropped",
        "note: val.jsonl: 1 of 2 rows of data.val[0] are too long for toy and were dropped",
    ]


def test_long_rows_are_cut_and_counted(make, capfd) -> None:
    config = make(rows("t", f"{LONG}\nWhich one?", "b"), data__filter_overlong="truncate")
    inputs = both(config)
    assert ids(inputs)[0] == ["t0", "t1"]
    content = inputs.train[0][0].messages[0].content
    assert content.endswith("circle \nWhich one?") and len(content) < len(LONG) / 4
    assert inputs.train[0][1].messages[0].content == "b"
    assert (
        "1 of 2 rows of data.train[0] are too long for toy: the beginning of their text was cut"
        in capfd.readouterr().err
    )


def test_nothing_is_said_where_all_rows_fit(make, capfd) -> None:
    for how in ("error", "drop", "truncate"):
        assert ids(both(make(data__filter_overlong=how)))[0] == ["train0", "train1", "train2", "train3"]
    assert capfd.readouterr().err == ""


def test_the_response_counts(make) -> None:
    text = {"max_new_tokens": 120, "block_length": 4, "steps": 30}
    with pytest.raises(DataError, match=r"^train.jsonl: row 1: .* 120 of them its response's"):
        both(make(rollout={"batch_size": 2, "n_samples_per_prompt": 2, "text": text}))
    with pytest.raises(DataError, match="^val.jsonl: row 1: "):
        both(make(evaluation={"text": text, "mix": {"text": {"custom": 1.0}}}))


def test_a_layout_that_needs_a_loaded_policy_is_not_measured(make, capfd, monkeypatch) -> None:
    """As an installed package's may."""
    from policies.room import Room

    monkeypatch.setattr(Room, "_parts", lambda room, prompt: room._stand_in.module)
    assert len(both(make(rows("t", LONG))).train[0]) == 1
    assert "toy: rows are not measured against its length: its layout needs a loaded policy" in capfd.readouterr().err


def test_a_source_of_long_rows_alone_is_one_line(make) -> None:
    with pytest.raises(
        DataError,
        match=r"data.train\[0\]: source 'train.jsonl': all of its 2 rows are too long for toy, which takes 128",
    ):
        both(make(rows("t", LONG, LONG), data__filter_overlong="drop"))


def test_a_row_that_cannot_be_cut_is_one_line(make) -> None:
    turns = [{"role": "user", "content": "circle " * 60}, {"role": "user", "content": "square " * 60}]
    turns += [{"role": "user", "content": "colour " * 60}]
    with pytest.raises(DataError, match="^train.jsonl: row 1: .*cutting its longest turn does not do; drop the row"):
        both(make([{"messages": turns * 3}], data__filter_overlong="truncate"))


@pytest.mark.parametrize(
    "row", [{"prompt": "smile \ud83d"}, {"prompt": "x", "id": "\ud83d"}, {"prompt": "x", "answer": "\ud83d"}]
)
def test_a_row_that_no_tokenizer_takes_is_found(make, row: dict[str, Any]) -> None:
    with pytest.raises(DataError, match="train.jsonl: line 2: column .* is half of a surrogate pair"):
        both(make([{"prompt": "a"}, row]))


def test_held_out_rows_are_needed_and_the_way_out_is_said(make) -> None:
    config = make(data__val=[])
    with pytest.raises(
        ConfigError, match=r"^data.val=\[\]: .*val_before_train=false, val_after_train=false and test_freq=0$"
    ):
        both(config)
    inputs = check(config, needs_train=True, needs_val=False)
    assert len(inputs.train[0]) == 4 and inputs.val == ()


@pytest.mark.parametrize(
    ("before", "after", "every", "evaluates"),
    [(False, False, 0, False), (True, False, 0, True), (False, True, 0, True), (False, False, 3, True)],
)
def test_three_settings_decide_whether_anything_is_evaluated(
    make, before: bool, after: bool, every: int, evaluates: bool
) -> None:
    assert _evaluates(make(val_before_train=before, val_after_train=after, test_freq=every)) == evaluates


OVERLAPS = [  # contents of train and val; how many of val are in train
    ("abc", "xyz", 0), ("abc", "cxy", 1), ("abc", "cba", 3), ("aab", "a", 1), ("a", "abc", 1), ("abcd", "dx", 1), ("ab", "ba", 2),
    ("abcdefgh", "hgx", 2), ("xyz", "abcxyz", 3), ("qwerty", "y", 1), ("qwerty", "uiop", 0),
]  # fmt: skip


@pytest.mark.parametrize(("train", "val", "count"), OVERLAPS)
def test_every_overlap_is_counted_or_dropped(make, capfd, train: str, val: str, count: int) -> None:
    if count:
        with pytest.raises(
            DataError, match=rf"^data.val: {count} of {len(val)} held-out prompts are training prompts: "
        ):
            both(make(rows("t", *train), rows("v", *val)))
    if set(train) - set(val):
        inputs = both(make(rows("t", *train), rows("v", *val), data__on_overlap="drop"))
        left = [prompt.messages[0].content for prompt in inputs.train[0]]
        assert left == [content for content in train if content not in val] and len(inputs.val) == len(val)
        assert ("were dropped" in capfd.readouterr().err) == (count > 0)


def test_overlaps_are_counted_and_named(make) -> None:
    config = make(rows("t", *"abcdefgh"), [*rows("v", *"abcde"), *rows("n", "x", "y")])
    with pytest.raises(DataError) as error:
        both(config)
    text = str(error.value)
    assert text.startswith(
        "data.val: 5 of 7 held-out prompts are training prompts: prompt 'v0' has the same content as 't0'"
    )
    assert "'v2' has the same content as 't2' in data.train; ...; held-out" in text and "'v3'" not in text
    assert "data.on_overlap=drop" in text


def test_overlaps_are_dropped_from_training(make, capfd) -> None:
    train = [*rows("t", *"abcd"), {"id": "v9", "prompt": "other"}]
    config = make(train, [*rows("v", "b", "d"), {"id": "v9", "prompt": "new"}], data__on_overlap="drop")
    assert ids(both(config)) == (["t0", "t2"], ["v0", "v1", "v9"])
    said = "note: train.jsonl: 3 of 5 rows of data.train[0] are in data.val too and were dropped: 't1', 't3', 'v9'\n"
    assert capfd.readouterr().err == said


def test_overlaps_in_several_sources(make, tmp_path: Path) -> None:
    (tmp_path / "more.jsonl").write_text(
        '{"id": "m0", "prompt": "b", "answer": "1"}\n{"id": "m1", "prompt": "z", "answer": "1"}\n'
    )
    sources = [{"source": "train.jsonl"}, {"source": "more.jsonl"}]
    inputs = both(make(rows("t", "a", "b", "b2"), rows("v", "b"), data__train=sources, data__on_overlap="drop"))
    assert [[prompt.id for prompt in rows] for rows in inputs.train] == [["t0", "t2"], ["m1"]]


def test_a_source_that_is_all_held_out_is_one_line(make) -> None:
    with pytest.raises(
        DataError, match=r"data.train\[0\]: source 'train.jsonl': all of its 2 rows are in data.val too"
    ):
        both(make(rows("t", "a", "b"), rows("v", "a", "b"), data__on_overlap="drop"))


def test_row_numbers_stay_those_of_the_file(make) -> None:
    config = make(rows("t", "a", "b", LONG), rows("v", "a"), data__on_overlap="drop")
    with pytest.raises(DataError, match="^train.jsonl: row 3: "):
        both(config)


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        ({"x": 1, "y": 2}, "row 2: the reference is an object with 'x', 'y'; one of answer, value"),
        ({"a": {"b": 1, "c": 2}}, "row 2: the reference is an object"), ([{"a": 1}], None), (["5", "five"], None),
        ({"value": 5}, None), ([1, 2], None), ("[1, 2)", None), ("{1, 2}", None), ("[", None), (True, None),
    ],
)  # fmt: skip
def test_a_reference_that_names_no_answer_is_found(make, answer: Any, words: str | None) -> None:
    mix = {"mix": {"text": {"correctness": 1.0}}}
    text = {"max_new_tokens": 8, "block_length": 4, "steps": 4}
    config = make([{"prompt": "a"}, {"prompt": "b", "answer": answer}], rewards=mix, evaluation={"text": text, **mix})
    if words is None:
        assert len(both(config).train[0]) == 2
    else:
        with pytest.raises(DataError, match=words):
            both(config)


def test_an_exact_comparison_takes_any_json(make) -> None:
    rewards = {"mix": {"text": {"correctness": 1.0}}, "settings": {"correctness": {"kind": "exact"}}}
    text = {"max_new_tokens": 8, "block_length": 4, "steps": 4}
    config = make([{"prompt": "b", "answer": {"x": 1, "y": 2}}], rewards=rewards, evaluation={"text": text})
    assert both(config).train[0][0].reference == '{"x": 1, "y": 2}'


def test_answers_that_end_the_chat_are_said(make, capfd) -> None:
    turns = [{"role": "user", "content": "2 + 3?"}, {"role": "assistant", "content": "5"}]
    (prompt,) = both(make([{"messages": turns}])).train[0]
    assert [message.content for message in prompt.messages] == ["2 + 3?"]
    assert "note: train.jsonl: 1 rows end with the assistant's turn" in capfd.readouterr().err


@pytest.mark.parametrize(
    ("name", "value", "allowed"),
    [
        ("filter_overlong", "cut", "error, drop, truncate"),
        ("on_overlap", "keep", "error, drop"),
        ("filter_overlong", True, "error"),
    ],
)
def test_settings_are_choices(make, name: str, value: Any, allowed: str) -> None:
    with pytest.raises(ConfigError, match=rf"data.{name}=.*: allowed: {allowed}"):
        make(**{f"data__{name}": value})


def test_rows_that_a_reward_cannot_score_are_named_before_anything_starts(make) -> None:
    def row(name: str, number: int) -> dict[str, Any]:
        return {"id": f"{name}{number}", "prompt": f"{name} {number}?", "metadata": {"source_dataset": name}}

    train = [row("gcd", 1), row("propositional_logic", 1), row("propositional_logic", 2)]
    with pytest.raises(DataError) as error:
        both(make(train, rewards={"mix": {"text": {"reasoning_gym": 1.0}}}))
    text = str(error.value)
    assert text.startswith("train.jsonl: row 2: reasoning_gym does not grade the data set 'propositional_logic': ")
    assert "(2 of 3 rows of data.train[0] are refused); drop these rows" in text and "\n" not in text
    both(make(train[:1], rewards={"mix": {"text": {"reasoning_gym": 1.0}}}))
    both(make(train))
