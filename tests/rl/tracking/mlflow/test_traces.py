"""A group as a trace: what it holds, which groups are chosen, and text that nobody can be harmed by."""

from __future__ import annotations

import dataclasses
import json
import random
from collections.abc import Iterator

import numpy as np
import pytest

from rl.tracking.mlflow import shown
from rl.tracking.mlflow.events import Trace, from_text, to_text
from rl.tracking.mlflow.traces import choose, trace
from rl.types import Group, RewardCall, Score, ScoreStatus, Task
from tests.rl.examples import draw_group, score, text_group

NOT_SHOWN = ["\x1b", "\x07", "\x00", "\u202e", "\u2028", "\x9b", "\u200b", "\ud800", "\U000e0041"]


def judged(value: float, **parts: float) -> Score:
    return Score(value, parts=parts, calls={name: RewardCall(ScoreStatus.OK, 0.25) for name in parts}, seconds=0.5)


def late() -> Score:
    calls = {"format": RewardCall(ScoreStatus.OK, 0.01), "judge": RewardCall(ScoreStatus.TIMEOUT, 2.0)}
    nan = float("nan")
    return Score(nan, ScoreStatus.TIMEOUT, {"format": 0.0}, 2.0, "judge: no answer\nwithin 2 s", calls)


def spans(made: Trace) -> dict[str, dict]:
    return {span["key"]: span for span in made.body["spans"]}


def test_a_trace_has_each_member_each_reward_and_the_advantages() -> None:
    group = text_group("a", judged(2.5, correctness=2.0, format=0.5), judged(0.0, correctness=0.0, format=0.0))
    made = trace(group, 7, "train", [1.0, -1.0], 3.0, 10_000)
    found = spans(made)
    rewards = {"reward correctness", "reward format"}
    assert found.keys() == {"group", "sampling", "rollout 0", "rollout 1", "rewards", *rewards, "advantages"}
    assert {found[name]["parent"] for name in ("rollout 0", "rollout 1")} == {"sampling"}
    assert found["rollout 1"]["attributes"] | {"warning": ""} == {
        "tokens": 1, "denoising_steps": 1, "seed": 1, "weight_version": 0, "status": "complete", "step_map": "0", "warning": "",
    }  # fmt: skip
    assert found["rollout 0"]["outputs"] == {"text": "<think>1+1=2</think>2", "score": 2.5}
    assert found["reward format"]["outputs"][1] == {
        "member": 1, "value": 0, "status": "ok", "seconds": 0.25, "detail": "",
    }  # fmt: skip
    assert found["advantages"]["outputs"] == {"0": 1, "1": -1}
    assert found["group"]["times_ms"] == [6500, 10_000] and found["reward format"]["times_ms"] == [9500, 9750]
    said = [(each["name"], each["value"], each["span"]) for each in made.body["feedback"]]
    assert (
        ("format", 0, "rollout 1") in said
        and ("correctness", 2, "rollout 0") in said
        and ("score", 2.5, "rollout 0") in said
    )
    assert made.body["tags"] | {"x": ""} == {
        "step": "7", "set": "train", "task": "text", "source": "sums", "prompt_id": "sums/a", "weight_version": "0", "x": "",
    }  # fmt: skip


def test_a_reward_that_failed_is_an_error_and_no_zero() -> None:
    made = trace(text_group("a", late(), judged(0.5, format=0.5)), 1, "train", None, 0.0, 5000)
    said = [each for each in made.body["feedback"] if each["span"] == "rollout 0"]
    assert [(each["name"], each["value"], each.get("error")) for each in said] == [
        ("format", 0, None), ("judge", None, "timeout"), ("score", None, "timeout"),
    ]  # fmt: skip
    assert said[1]["detail"] == "judge: no answer within 2 s"
    judge = spans(made)["reward judge"]
    assert judge["attributes"] == {"failed": 1} and judge["outputs"][0]["status"] == "timeout"
    assert "advantages" not in spans(made)


def test_pictures_travel_with_the_trace_and_what_a_prompt_shows_too() -> None:
    drawn = trace(draw_group("c", score(1.0), score(0.0)), 1, "val", None, 0.0, 1000)
    assert drawn.pictures.keys() == {"rollout 0", "rollout 1"}
    assert spans(drawn)["rollout 1"]["outputs"]["picture"] == {"picture": "rollout 1"}
    asked = text_group("u", score(1.0), task=Task.UNDERSTAND)
    picture = np.zeros((4, 6, 3), np.uint8)
    made = trace(
        dataclasses.replace(asked, prompt=dataclasses.replace(asked.prompt, image=picture)), 1, "val", None, 0, 1
    )
    assert made.pictures["prompt"].startswith(b"\x89PNG") and spans(made)["group"]["inputs"]["picture"]
    lost = dataclasses.replace(asked, prompt=dataclasses.replace(asked.prompt, image="/nowhere/a.png"))
    assert trace(lost, 1, "val", None, 0, 1).pictures == {}


def test_the_chosen_groups_depend_on_seed_step_and_prompt_alone() -> None:
    groups = [text_group(str(number), score(1.0)) for number in range(20)]
    mixed = random.Random(1).sample(groups, len(groups))

    def names(rows: list[Group], seed: int, step: int) -> set[str]:
        return {rows[index].prompt.id for index in choose(rows, 4, seed, step)}

    assert names(groups, 0, 3) == names(mixed, 0, 3) and len(names(groups, 0, 3)) == 4
    assert len({frozenset(names(groups, seed, step)) for seed in range(3) for step in range(5)}) > 10
    assert choose(groups, 0, 0, 1) == [] and choose(groups, 99, 0, 1) == list(range(20))


@pytest.mark.parametrize("bad", NOT_SHOWN)
def test_text_of_a_model_reaches_no_page_as_it_is(bad: str) -> None:
    group = text_group(f"a{bad}b", judged(1.0, **{f"re{bad}ward": 1.0}), source=f"s{bad}", text=f"x{bad}y" * 50_000)
    made = to_text(trace(group, 1, "train", [0.0], 0.0, 1000))
    content = json.loads(made)
    content.pop("prompt_id")  # is hashed, and never shown
    assert bad not in "".join(texts(content)) and len(made) < 60_000


def texts(value: object) -> Iterator[str]:
    """Every text in a tree, names of settings as well."""
    if isinstance(value, str):
        yield value
    for each in value.items() if isinstance(value, dict) else value if isinstance(value, list | tuple) else ():
        yield from texts(each)


def test_an_event_comes_back_from_a_file_as_it_was() -> None:
    made = trace(draw_group("c", score(1.0)), 1, "val", None, 0.0, 1000)
    assert from_text(to_text(made)) == made


def test_numbers_that_are_whole_are_whole_and_no_number_is_none() -> None:
    assert [shown.number(value) for value in (0.0, 2.0, 0.5, float("nan"), float("inf"), 1e300)] == [
        0,
        2,
        0.5,
        None,
        None,
        1e300,
    ]
    assert isinstance(shown.number(0.0), int)
