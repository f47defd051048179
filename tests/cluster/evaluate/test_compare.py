"""Two evaluations, paired: the tests, the prompts that changed sides, and what makes a comparison doubtful."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import pytest
from scipy import stats
from typer.testing import CliRunner, Result

from cluster.cli.app import app

FACTS = {"device": "cpu: X", "dtype": "float32", "sampling": {"text": {"temperature": 0.0}}, "data": {}, "commit": "a"}


def evaluation(folder: Path, scores: dict[str, Sequence[float | None]], **facts) -> Path:
    folder.mkdir()
    rows = [
        {"id": name, "sample": sample, "task": "text", "source": "sums", "prompt": f"what is {name}?", "score": value}
        for name, values in scores.items()
        for sample, value in enumerate(values)
    ]
    (folder / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (folder / "summary.json").write_text(json.dumps({"command": "eval", **FACTS, **facts}))
    return folder


def compare(*words: object) -> Result:
    return CliRunner().invoke(app, ["compare", *map(str, words)])


def told(result: Result) -> dict:
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


def test_right_and_wrong_is_mcnemar_with_the_prompts_that_changed_sides(tmp_path: Path) -> None:
    a = evaluation(tmp_path / "a", {f"p{i}": [float(i < 10)] for i in range(40)})
    b = evaluation(tmp_path / "b", {f"p{i}": [float(i < 8 or i >= 30)] for i in range(40)})
    found = told(compare(a, b, "--json", "--out", tmp_path / "out.json"))
    one = found["tasks"]["text"]
    assert (one["only_a"], one["only_b"], one["n"], one["test"]) == (2, 10, 40, "McNemar, exact")
    assert one["p"] == pytest.approx(stats.binomtest(2, 12, 0.5).pvalue)
    assert one["difference"] == pytest.approx(0.2) and one["low"] <= 0.2 <= one["high"]
    assert found["tasks"]["sums"] == one  # by source as well
    assert [each["id"] for each in found["changed"]] == ["p8", "p9", *(f"p{i}" for i in range(30, 40))]
    assert json.loads((tmp_path / "out.json").read_text()) == found
    shown = compare(a, b, "--changed", "3")
    assert "+20.0" in shown.stdout and "right in A alone: p8: what is p8?" in shown.stdout
    assert "and 9 more that changed sides" in shown.stdout and shown.stderr == ""


def test_other_scores_are_bootstrapped_and_samples_of_a_prompt_are_one(tmp_path: Path) -> None:
    a = evaluation(tmp_path / "a", {f"p{i}": [i / 40, i / 40] for i in range(40)})
    b = evaluation(tmp_path / "b", {f"p{i}": [i / 40 + 0.05 + (i % 3) / 50, i / 40 + 0.05] for i in range(40)})
    one = told(compare(a, b, "--json"))["tasks"]["text"]
    assert one["test"] == "paired bootstrap" and one["p"] < 0.01 and 0 < one["low"] < one["difference"] < one["high"]
    assert "only_a" not in one and one["n"] == 40
    same = told(compare(a, a, "--json"))["tasks"]["text"]
    assert same["difference"] == 0.0 and same["p"] == 1.0


def test_right_and_wrong_of_several_samples_is_bootstrapped(tmp_path: Path) -> None:
    a = evaluation(tmp_path / "a", {f"p{i}": [0.0, 1.0, 1.0] for i in range(5)})
    b = evaluation(tmp_path / "b", {f"p{i}": [0.0, 0.0, 1.0] for i in range(5)})
    found = told(compare(a, b, "--json"))
    assert found["tasks"]["text"]["test"] == "paired bootstrap" and len(found["changed"]) == 5


def test_what_differs_beside_the_policy_is_a_warning_a_line(tmp_path: Path) -> None:
    a = evaluation(tmp_path / "a", {"x": [1.0], "y": [1.0], "z": [None]})
    b = evaluation(
        tmp_path / "b",
        {"y": [0.0], "z": [1.0], "w": [1.0]},
        sampling={"text": {"temperature": 0.5}},
        device="cuda: H100",
    )
    result = compare(a, b)
    assert result.exit_code == 0
    lines = result.stderr.splitlines()
    assert lines[0] == "warning: other prompts: A has 3, B has 3; the 2 that both have are compared"
    assert lines[1] == "warning: 1 prompts have no usable score on one side and are left out"
    assert lines[2:] == [
        "warning: other device: A has cpu: X, B has cuda: H100",
        "warning: other sampling.text.temperature: A has 0.0, B has 0.5",
    ]


def test_what_cannot_be_compared_is_one_line(tmp_path: Path) -> None:
    a = evaluation(tmp_path / "a", {"x": [1.0]})
    other = evaluation(tmp_path / "other", {"w": [1.0]})
    trained = evaluation(tmp_path / "trained", {"x": [1.0]}, command="train")
    broken = evaluation(tmp_path / "broken", {"x": [1.0]})
    (broken / "rows.jsonl").write_text('{"id": "x"}\n')
    for words, said in (
        ((a, tmp_path / "none"), "none: no folder: it must have summary.json"),
        ((trained, a), "trained: no finished evaluation"),
        ((a, other), "no prompt in common (1 and 1)"),
        ((a, broken), "rows.jsonl: line 1: not a row of an evaluation"),
        ((a, a, "--out", tmp_path / "no" / "such" / "out.json"), "--out"),
    ):
        result = compare(*words)
        assert result.exit_code == 2 and result.stderr.count("\n") == 1, result.stderr
        assert result.stderr.startswith("error: ") and said in result.stderr and result.stdout == ""


def test_one_prompt_has_no_interval(tmp_path: Path) -> None:
    a, b = (evaluation(tmp_path / name, {"x": [value]}) for name, value in (("a", 1.0), ("b", 0.5)))
    one = told(compare(a, b, "--json"))["tasks"]["text"]
    assert one["low"] is one["p"] is one["test"] is None
    assert compare(a, b).exit_code == 0
