"""EleutherAI's harness over our policies. What needs it is skipped where it is not installed: it is the extra ``eval``."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from typing import Any

import pytest

from cluster.cli.evaluate import require_harness
from cluster.evaluate import harness
from cluster.evaluate.verdicts import agreement, verdicts
from rl.errors import ConfigError
from tests.cluster.cli.test_app import unigrpo, write_rows

SHARED = Path(__file__).resolve().parents[3].parent / "shared" / "data" / "gsm8k"
INSTALLED = importlib.util.find_spec("lm_eval") is not None
needs_harness = pytest.mark.skipif(not INSTALLED, reason="needs the extra eval")


def sample(number: int, response: str, target: str, right: float, kind: str = "strict") -> dict[str, Any]:
    return {
        "doc_id": number, "filter": kind, "metrics": ["exact_match"], "exact_match": right, "target": target,
        "resps": [[response]], "arguments": [(f"Question {number}", {})], "doc_hash": str(number), "prompt_hash": "p",
    }  # fmt: skip


SAMPLES = [
    sample(0, "so 3 + 4 = 7\n#### 7", "3 + 4 = 7\n#### 7", 1.0),
    sample(1, "the answer is 12 dollars", "#### 12", 0.0),  # right, and not in the form that the filter wants
    sample(2, "#### 5", "#### 6", 0.0),
    sample(0, "so 3 + 4 = 7\n#### 7", "3 + 4 = 7\n#### 7", 1.0, "flexible"),
    sample(1, "the answer is 12 dollars", "#### 12", 1.0, "flexible"),
    sample(2, "#### 5", "#### 6", 0.0, "flexible"),
]


def test_the_same_answers_are_judged_by_our_verifier_and_differences_are_named() -> None:
    found = verdicts(SAMPLES, "gsm8k")
    assert [each.ours for each in found] == [1.0, 1.0, 0.0]
    assert [each.id for each in found if each.differs] == ["gsm8k/1"] and found[1].reference == "12"
    assert agreement(found) == {
        "n": 3,
        "ours": 2,
        "exact_match,strict": {"right": 1, "differs": 1},
        "exact_match,flexible": {"right": 2, "differs": 0},
    }
    assert verdicts([{**SAMPLES[0], "target": 2}], "choices") == []


def test_every_response_is_a_row_with_all_metrics() -> None:
    facts = {("gsm8k", 1): [{"seed": 5, "tokens": 9, "ended": "complete"}]}
    rows = harness._rows("gsm8k", SAMPLES, facts)
    assert [row["id"] for row in rows] == ["gsm8k/0", "gsm8k/1", "gsm8k/2"]
    assert rows[1]["score"] == 0.0 and rows[1]["parts"] == {"exact_match,strict": 0.0, "exact_match,flexible": 1.0}
    assert (rows[1]["seed"], rows[1]["tokens"], rows[0]["seed"]) == (5, 9, None)
    assert harness._scores(SAMPLES) == ("exact_match,strict", [1.0, 0.0, 0.0])


def test_what_the_user_typed_is_told_apart() -> None:
    assert harness._typed(["evaluation.text.temperature=0.5", "steps=3"]) == {"temperature"}
    assert harness._typed(["evaluation.text={temperature: 0.5, top_p: 0.9}"]) == {"temperature", "top_p"}


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--harness", "helm"], "--harness helm: allowed: lm-eval"),
        (["--tasks", "gsm8k"], "--tasks: only with a harness"),
        (["--limit", "3"], "--limit: only with a harness"),
    ],
)
def test_options_of_a_harness_need_it(words: list[str], told: str) -> None:
    result = unigrpo("eval", *words)
    assert result.exit_code == 2 and result.stderr.startswith(f"error: {told}") and result.stderr.count("\n") == 1
    require_harness(None, [])
    require_harness("lm-eval", ["--tasks"])


def test_a_harness_that_is_not_installed_is_one_line_with_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(harness.importlib.util, "find_spec", lambda name: None)
    result = unigrpo("eval", "--harness", "lm-eval", "--tasks", "gsm8k")
    assert result.exit_code == 2 and result.stderr.count("\n") == 1
    assert "lm-eval is not installed; it is the extra eval" in result.stderr and "unigrpo[eval]" in result.stderr


@pytest.mark.parametrize(
    ("asked", "told"),
    [
        (harness.Asked(()), "--tasks is empty"),
        (harness.Asked(("gsm8k",), limit=0.0), "--limit 0: must be above 0"),
        (harness.Asked(("gsm8k",), draws=0), "--draws 0: must be 1 or more"),
        (
            harness.Asked(("gsm8k",), include=(Path("/no/such/folder"),)),
            "--include-path /no/such/folder: no such folder",
        ),
    ],
)
def test_what_is_asked_of_a_harness_is_checked_first(
    monkeypatch: pytest.MonkeyPatch, asked: harness.Asked, told: str
) -> None:
    monkeypatch.setattr(harness.importlib.util, "find_spec", lambda name: object())
    with pytest.raises(ConfigError, match=told):
        harness._check(asked)


@pytest.fixture(scope="module")
def evaluated(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Path]:
    """The harness's own gsm8k over the published rows, and two small tasks of likelihoods, with the shipped policy."""
    folder = tmp_path_factory.mktemp("harness")
    assert (spec := importlib.util.find_spec("lm_eval")) is not None and spec.origin is not None
    own = Path(spec.origin).parent / "tasks" / "gsm8k" / "gsm8k.yaml"
    files = {"train": str(SHARED / "train.jsonl"), "test": str(SHARED / "test.jsonl")}
    choices = [{"q": f"{n} + 1 =", "choices": [str(n + 1), "no"], "gold": 0} for n in range(3)]
    rows = {"train": str(write_rows(folder / "choices.jsonl", choices))}
    local = {"dataset_path": "json", "dataset_name": None}
    tasks = {
        "gsm8k_local": {"include": str(own), "task": "gsm8k_local", **local, "dataset_kwargs": {"data_files": files}},
        "sums_choice": {
            "task": "sums_choice", **local, "dataset_kwargs": {"data_files": rows}, "output_type": "multiple_choice",
            "test_split": "train", "doc_to_text": "{{q}}", "doc_to_choice": "{{choices}}", "doc_to_target": "{{gold}}",
            "metric_list": [{"metric": "acc"}],
        },
        "sums_rolling": {
            "task": "sums_rolling", **local, "dataset_kwargs": {"data_files": rows}, "doc_to_text": "",
            "output_type": "loglikelihood_rolling", "test_split": "train", "doc_to_target": "{{q}}",
            "metric_list": [{"metric": "byte_perplexity"}],
        },
    }  # fmt: skip
    (folder / "tasks").mkdir()
    for name, task in tasks.items():
        (folder / "tasks" / f"{name}.yaml").write_text(json.dumps(task))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HF_DATASETS_CACHE", str(folder / "cache"))
        result = unigrpo(
            "eval", "--harness", "lm-eval", "--tasks", ",".join(tasks), "--include-path", str(folder / "tasks"),
            "--limit", "3", "--num-fewshot", "0", "--chat-template", "--draws", "4", "cluster.mode=inline",
            "tracking.mlflow=false", f"output_dir={folder / 'runs'}",
        )  # fmt: skip
    assert result.exit_code == 0, result.output
    return result.stdout, folder / "runs" / "tiny-lm-eval"


@needs_harness
@pytest.mark.skipif(not SHARED.is_dir(), reason="needs ../shared/data")
@pytest.mark.long
def test_the_harness_asks_judges_and_reports(evaluated: tuple[str, Path]) -> None:
    shown, run_dir = evaluated
    assert "|gsm8k_local" in shown and "strict-match" in shown and "our verifier calls" in shown
    summary = json.loads((run_dir / "summary.json").read_text())
    assert set(summary["tasks"]) == {"gsm8k_local", "sums_choice", "sums_rolling"}
    results = json.loads((run_dir / "lm_eval" / "results.json").read_text())["results"]
    for task in ("gsm8k_local", "sums_choice"):
        metric = summary["harness"]["metrics"][task]
        assert summary["tasks"][task]["after"] == pytest.approx(results[task][metric])
        assert summary["intervals"][f"val/{task}/score"]["n"] == 3
    assert summary["harness"]["loglikelihood"]["draws"] == 4 and summary["sampling"]["chat_template"] is True
    assert summary["data"]["gsm8k_local"]["rows"] == 3 and summary["sampling"]["text"][0]["temperature"] == 0.0
    assert len(summary["weights_digest"]) == 64 and summary["versions"]["lm-eval"]


@pytest.mark.long
@needs_harness
@pytest.mark.skipif(not SHARED.is_dir(), reason="needs ../shared/data")
def test_every_answer_is_kept_and_stands_for_what_was_written(evaluated: tuple[str, Path]) -> None:
    run_dir = evaluated[1]
    rows = [json.loads(line) for line in (run_dir / "rows.jsonl").read_text().splitlines()]
    written = [json.loads(line) for line in (run_dir / "lm_eval" / "generations.jsonl").read_text().splitlines()]
    answers = [row for row in rows if row["source"] == "gsm8k_local"]
    assert [(row["id"], row["response"], row["seed"]) for row in answers] == [
        (line["id"], line["response"], line["seed"]) for line in written
    ]
    first = json.loads((SHARED / "test.jsonl").read_text("utf-8").splitlines()[0])
    assert first["question"] in answers[0]["prompt"] and answers[0]["reference"] == first["answer"]
    choices = [json.loads(row["response"]) for row in rows if row["source"] == "sums_choice"]
    assert len(choices) == 3 and all(len(pairs) == 2 and len(pairs[0]) == 2 for pairs in choices)  # (log p, is greedy)


@needs_harness
@pytest.mark.long
def test_a_task_that_the_harness_does_not_know_is_one_line() -> None:
    result = unigrpo("eval", "--harness", "lm-eval", "--tasks", "gsm9k")
    assert result.exit_code == 2 and result.stderr.splitlines()[-1].startswith(
        "error: --tasks gsm9k: the harness has no"
    )
