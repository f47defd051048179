"""Chat turns, answers that follow them, worked answers, and texts that no tokenizer takes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from rl.config import SourceConfig
from rl.data.rows import load_rows
from rl.errors import DataError
from rl.types import Message
from tests.rl.data.formats import FORMATS, prompt, prompts, write

ASK = {"role": "user", "content": "2 + 3?"}
SYSTEM = {"role": "system", "content": "Be brief."}


def say(text: Any, role: str = "assistant") -> dict[str, Any]:
    return {"role": role, "content": text}


@pytest.mark.parametrize("kind", FORMATS)
@pytest.mark.parametrize("column", ["messages", "prompt"])
@pytest.mark.parametrize(
    ("turns", "others", "asked", "reference", "solution"),
    [
        ([ASK, say("5")], {}, ["2 + 3?"], "5", "5"), ([SYSTEM, ASK, say("5")], {}, ["Be brief.", "2 + 3?"], "5", "5"),
        ([ASK, say("<think>2+3</think>5")], {}, ["2 + 3?"], "5", "<think>2+3</think>5"),
        ([ASK, say("2+3=5 #### 5")], {}, ["2 + 3?"], "5", "2+3=5 #### 5"),
        ([ASK, say("It is 5.")], {"answer": "5"}, ["2 + 3?"], "5", "It is 5."),
        ([ASK, say("It is 5.")], {"answer": "5", "solution": "So 5."}, ["2 + 3?"], "5", "So 5."),
        ([ASK, say("5")], {"reward_model": {"ground_truth": "five"}}, ["2 + 3?"], "five", "5"),
        ([ASK, say("5"), say("2 + 4?", "user"), say("6")], {}, ["2 + 3?", "5", "2 + 4?"], "6", "6"),
        ([ASK, say("5"), say("2 + 4?", "user")], {"answer": 6}, ["2 + 3?", "5", "2 + 4?"], "6", None),
        ([ASK, say("Let me see."), say("5")], {}, ["2 + 3?"], "5", "5"), ([ASK, say("")], {"answer": "5"}, ["2 + 3?"], "5", None),
        ([ASK, say(None)], {"answer": "5"}, ["2 + 3?"], "5", None), ([ASK, say("5", "Assistant")], {}, ["2 + 3?"], "5", "5"),
        ([ASK, say("5", "gpt")], {}, ["2 + 3?"], "5", "5"), ([ASK, say("5", "model")], {}, ["2 + 3?"], "5", "5"),
        ([ASK, say(" 5 ")], {}, ["2 + 3?"], "5", "5"),
    ],
)  # fmt: skip
def test_the_assistants_last_turn_is_no_part_of_the_prompt(
    tmp_path: Path, kind: str, column: str, turns: Any, others: dict, asked: list, reference: str, solution: str | None
) -> None:
    found = prompt(tmp_path, kind, {column: turns, **others})
    assert [message.content for message in found.messages] == asked
    assert (found.reference, found.solution) == (reference, solution)


def test_answers_that_were_taken_off_are_said_once_a_file(tmp_path: Path) -> None:
    path = write(
        tmp_path, "jsonl", [{"messages": [ASK, say(str(n))]} for n in range(1200)] + [{"prompt": "?", "answer": "1"}]
    )
    notes: list[str] = []
    load_rows(SourceConfig(source=str(path)), notes=notes)
    assert len(notes) == 1 and notes[0].startswith(f"{path}: 1,200 rows end with the assistant's turn; ")


@pytest.mark.parametrize("turns", [[say("5")], [say("5"), say("6")], [SYSTEM | {"content": ""}, say("5")]])
def test_an_assistant_alone_asks_nothing(tmp_path: Path, turns: Any) -> None:
    with pytest.raises(DataError, match="row 1: column messages: its only turn is the assistant's; a prompt must ask"):
        prompt(tmp_path, "jsonl", {"messages": turns})


@pytest.mark.parametrize("kind", FORMATS)
@pytest.mark.parametrize("column", ["messages", "prompt", "question"])
@pytest.mark.parametrize(
    "text",
    [
        json.dumps([ASK]), json.dumps([SYSTEM, ASK]), json.dumps(ASK), " \n" + json.dumps([ASK], indent=2),
        json.dumps([{"content": "2 + 3?", "role": "user"}]), json.dumps([ASK, say("5")]), json.dumps([{"content": "2 + 3?"}]),
    ],
)  # fmt: skip
def test_turns_as_json_text_are_turns(tmp_path: Path, kind: str, column: str, text: str) -> None:
    found = prompt(tmp_path, kind, {column: text, "answer": "5"})
    assert found.messages[-1] == Message("user", "2 + 3?")


@pytest.mark.parametrize(
    "text",
    [
        str([ASK]), str(ASK), json.dumps([ASK])[:-1], json.dumps([ASK]) + "]", json.dumps([ASK, SYSTEM])[:40] + "...",
        '[{"role": "user", "content": "a "quote""}]', str([{"from": "human", "value": "?"}]), "{'content': '?'}",
    ],
)  # fmt: skip
def test_turns_as_a_text_that_is_no_json_are_one_line(tmp_path: Path, text: str) -> None:
    with pytest.raises(
        DataError, match="row 1: column prompt: chat turns as a text that is not JSON: .*save them as a list"
    ):
        prompt(tmp_path, "jsonl", {"prompt": text, "answer": "5"})


@pytest.mark.parametrize(
    "text",
    [
        "Is [{1, 2}] a set?", '{"a": 1} is JSON. What is a?', "[1, 2, 3]", '"role": what is it?', "{role}", '[{"name": "x"}]',
        "Explain: {'key': 'role'}", "[role, content]", '{"question": "5?"}', "[]",
    ],
)  # fmt: skip
def test_texts_that_only_look_like_turns_stay_texts(tmp_path: Path, text: str) -> None:
    assert prompt(tmp_path, "jsonl", {"question": text, "answer": "5"}).messages == (Message("user", text),)


@pytest.mark.parametrize(
    ("row", "words"),
    [
        ({"messages": [{"from": "human", "value": "?"}]}, "column messages[0]: a turn of from and value; write it as role"),
        ({"messages": [ASK, {"name": "x"}]}, "column messages[1]: expected a chat turn"),
        ({"messages": [ASK, "text"]}, "column messages: expected a text or a list"),
        ({"messages": {"role": "user"}}, "column messages: expected a text or a list"),
        ({"messages": [say(5.5, "user"), say([5], "user")]}, "column messages[1].content[0]: expected a part"),
        ({"messages": [say([{"type": "video", "video": "a.mp4"}], "user")]}, "a part of type 'video'; allowed: text, image"),
        ({"messages": [say([{"type": "audio"}], "user")]}, "a part of type 'audio'"),
        ({"messages": [say([{"kind": "text"}], "user")]}, "a part of type None"),
        ({"messages": [say([{"type": "text"}], "user")]}, "its text is empty"),
        ({"messages": [say("", "user")]}, "its text is empty"),
        ({"prompt": 5}, "column prompt: expected a text or a list of chat turns (role and content), got 5"),
        ({"prompt": ["a", "b"]}, "column prompt: expected a text"), ({"prompt": True}, "column prompt: expected a text"),
        ({"question": "?", "answer": "5", "task": ["text"]}, "unknown task"), ({"answer": "5"}, "no message; add a column"),
    ],
)  # fmt: skip
def test_turns_that_are_none_are_one_line(tmp_path: Path, row: dict[str, Any], words: str) -> None:
    path = write(tmp_path, "jsonl", [{"answer": "5", **row}])
    with pytest.raises(DataError) as error:
        prompts(path)
    assert str(error.value).startswith(f"{path}: row 1: ") and words in str(error.value)


@pytest.mark.parametrize("kind", FORMATS)
@pytest.mark.parametrize(
    ("given", "reference", "solution"),
    [
        ("<think>work</think>5", "5", "<think>work</think>5"), ("<think>work</think>\n\n5\n", "5", "<think>work</think>\n\n5"),
        ("<think>a</think><think>b</think>5", "5", "<think>a</think><think>b</think>5"), ("work</think>5", "5", "work</think>5"),
        ("<think>2+3 #### 9</think>5", "5", "<think>2+3 #### 9</think>5"),
        ("<think>work</think>so\n#### 5", "5", "<think>work</think>5"), ("so it is\n#### 5", "5", "<think>so it is</think>5"),
        ("<think>w</think><answer>5</answer>", "5", "<think>w</think><answer>5</answer>"), ("<answer>5</answer>", "5", None),
        ("<think>w</think> <answer> x = 5 </answer> ", "x = 5", "<think>w</think> <answer> x = 5 </answer>"),
        ("5", "5", None), ("a < b", "a < b", None), ("#### 5", "5", "<think></think>5"),
        ("<THINK>x</THINK>5", "<THINK>x</THINK>5", None), ("##### 5", "5", "<think>#</think>5"),
        ("1 #### 2 #### 3", "3", "<think>1 #### 2</think>3"), ("<think>x</think>(B)", "(B)", "<think>x</think>(B)"),
        ("<think>x</think>1,000", "1,000", "<think>x</think>1,000"), ("<think></think>0", "0", "<think></think>0"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("column", ["answer", "reference"])
def test_an_answer_with_a_thought_is_taken_apart(
    tmp_path: Path, kind: str, column: str, given: str, reference: str, solution: str | None
) -> None:
    found = prompt(tmp_path, kind, {"question": "?", column: given})
    assert (found.reference, found.solution, found.ground_truth) == (reference, solution, reference)
    assert found.metadata[column] == given


@pytest.mark.parametrize(
    "given", ["<think>work</think>", "<think>work</think>  \n", "work ####", "<think>x</think> #### "]
)
def test_a_thought_without_an_answer_is_no_reference(tmp_path: Path, given: str) -> None:
    with pytest.raises(DataError, match="row 1: no reference"):
        prompt(tmp_path, "jsonl", {"question": "?", "answer": given})


HALF = "smile \ud83d"
LONE: list[tuple[dict[str, Any], str]] = [
    ({"question": HALF}, "question"), ({"answer": HALF}, "answer"), ({"id": HALF}, "id"), ({"reference": HALF}, "reference"),
    ({"solution": HALF}, "solution"), ({"messages": [say(HALF, "user")]}, "messages[0].content"),
    ({"messages": [say("?", HALF)]}, "messages[0].role"), ({"messages": [ASK, say(HALF)]}, "messages[1].content"),
    ({"messages": [say([{"type": "text", "text": HALF}], "user")]}, "messages[0].content[0].text"),
    ({"reward_model": {"ground_truth": HALF}}, "reward_model.ground_truth"),
    ({"extra_info": {"a": [1, HALF]}}, "extra_info.a[1]"),
    ({"data_source": HALF}, "data_source"), ({"source": HALF}, "source"), ({"rewards": [HALF]}, "rewards[0]"),
    ({"task": HALF}, "task"), ({"anything": {"deep": {"er": HALF}}}, "anything.deep.er"), ({"image": HALF}, "image"),
    ({HALF: 1}, "smile \\ud83d"), ({"a": {HALF: 1}}, "a.smile \\ud83d"), ({"answer": ["5", HALF]}, "answer[1]"),
    ({"prompt": "\udc00"}, "prompt"), ({"question": "\ude00\ud83d"}, "question"), ({"text": "\ud83d\ud83d\ude00"}, "text"),
]  # fmt: skip


@pytest.mark.parametrize(("row", "column"), LONE, ids=[column for _, column in LONE])
@pytest.mark.parametrize("kind", ["jsonl", "json"])
def test_half_a_character_is_found_while_loading(tmp_path: Path, kind: str, row: dict[str, Any], column: str) -> None:
    path = write(tmp_path, kind, [{"question": "fine 😀", "answer": "5"}, {"question": "?", "answer": "5", **row}])
    where = "line 2" if kind == "jsonl" else "row 2"
    with pytest.raises(DataError) as error:
        prompts(path)
    text = str(error.value)
    assert text.startswith(f"{path}: {where}: column {column}: \\ud") and "is half of a surrogate pair" in text
    text.encode()  # the message itself can be printed


@pytest.mark.parametrize(
    "text", ["😀", "\\ud83d written out", "ünï", "e\u0301", "\u200b", "\ufffd", "\U0010ffff", "\\\\ud83d"]
)
def test_whole_characters_pass(tmp_path: Path, text: str) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_text(
        json.dumps({"question": text, "answer": "5"})
        + "\n"
        + json.dumps({"question": text + "?", "answer": "5"}, ensure_ascii=False)
    )
    assert [prompt.messages[0].content for prompt in prompts(path)] == [text, text + "?"]


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("a.jsonl", '{\n "question": "x"\n}\n', "line 1: not JSON: .* at column [0-9]+; a line must hold a whole object"),
        ("a.jsonl", '[\n{"question": "x"}\n]', "line 1: not JSON: .*name a file with one list of objects .json"),
        ("a.jsonl", '{"question": "x", }\n', "line 1: not JSON: [^:]* at column 1[89]$"),
        ("a.jsonl", "question: x\n", "line 1: not JSON"),
        ("a.jsonl", '{"question": "x"}{"question": "y"}\n', "line 1: not JSON: Extra data at column 18$"),
        ("a.jsonl", '{"question": "x"', "line 1: not JSON: .* at column 17; a line must hold"),
        ("a.jsonl", "[]\n", "line 1: expected a JSON object, got list"),
        ("a.jsonl", "5\n", "expected a JSON object, got int: 5"), ("a.jsonl", "null\n", "expected a JSON object, got null"),
        ("a.json", '[{"question": "x"},\n{"question": }]', "line 2: not JSON: .* at column [0-9]+$"),
        ("a.json", "5", "list of JSON objects, got int"),
        ("a.json", '["x"]', "row 1: expected a JSON object, got str: 'x'"), ("a.json", "[]", "empty"), ("a.json", "", "not JSON"),
        ("a.json", '{"data": []}', "empty"), ("a.json", '{"data": [5]}', "row 1: expected a JSON object"),
        ("a.json", '{"question": "x", "answer": 1}\n{"question": }\n', "line 2: not JSON"),
        ("a.json", "[" * 100_000, "not JSON"),
    ],
)  # fmt: skip
def test_text_that_is_no_json_is_one_line_with_one_place(tmp_path: Path, name: str, content: str, words: str) -> None:
    path = tmp_path / name
    path.write_text(content)
    with pytest.raises(DataError, match=words) as error:
        prompts(path)
    text = str(error.value).removeprefix(str(path))
    assert "\n" not in text and text.count("line ") - text.count("a line ") <= 1


@pytest.mark.parametrize(
    "content",
    [
        '[{"question": "x", "answer": 5}]', '{"data": [{"question": "x", "answer": 5}]}', '{"question": "x", "answer": 5}',
        '{"question": "x", "answer": 5}\n{"question": "y", "answer": 5}\n',
        '{"rows": [{"question": "x", "answer": 5}], "version": 1}',
        '\ufeff[{"question": "x", "answer": 5}]', ' \n [\n{"question": "x",\n "answer": 5}\n]\n',
    ],
)  # fmt: skip
def test_json_files_are_lists_of_objects_or_lines(tmp_path: Path, content: str) -> None:
    path = tmp_path / "a.json"
    path.write_text(content, encoding="utf-8")
    assert prompts(path)[0].messages == (Message("user", "x"),)


def test_a_template_with_a_value_that_is_missing_is_one_line(tmp_path: Path) -> None:
    rows = [{"question": "a", "hint": "h", "answer": "1"}, {"question": "b", "hint": None, "answer": "1"}]
    with pytest.raises(DataError, match="row 2: template '{hint} {question}': column 'hint' has no value in this row"):
        prompts(write(tmp_path, "jsonl", rows), args={"template": "{hint} {question}"})


@pytest.mark.parametrize("task", ["draw", "think_draw"])
def test_plain_text_is_no_caption(tmp_path: Path, task: str) -> None:
    with pytest.raises(
        DataError, match=f"row 1: task {task} without a message; its column text is plain text: name it caption"
    ):
        prompt(tmp_path, "jsonl", {"text": "a cat"}, task=task)


def test_a_data_set_saved_with_an_index_is_refused(tmp_path: Path) -> None:
    path = write(tmp_path, "folder", [{"question": "a", "answer": "1"}])
    state = json.loads((path / "state.json").read_text())
    (path / "state.json").write_text(json.dumps({**state, "_indices_data_files": [{"filename": "indices.arrow"}]}))
    with pytest.raises(DataError, match="saved with an index of its rows"):
        prompts(path)
