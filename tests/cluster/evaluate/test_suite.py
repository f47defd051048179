"""``unigrpo eval`` as a whole: rows, several samples, examples, a layout, what the numbers depend on; and whose weights."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow.parquet as parquet
import pytest
import torch

from cluster.evaluate.suite import for_evaluation, make_layout
from cluster.learner.one_rank import FrozenLearner
from cluster.run.checkpoint import with_policy
from cluster.run.preflight import check
from cluster.run.provenance import asked, commit, provenance
from policies import load_policy, lora
from rl.config import Config, load_config
from rl.data.shots import with_shots
from rl.errors import ConfigError, DataError, PolicyError
from rl.types import Message, Prompt, Task
from tests.cluster.cli.test_app import HELD_OUT, ROWS, make_run, unigrpo, write_rows
from tests.toys import toy_folder, toy_policy

DRAWINGS = [
    {"id": f"d{n}", "prompt": f"a {colour} circle", "task": "draw", "tag": "colors", "include": [{"class": "circle"}]}
    for n, colour in enumerate(("red", "blue"))
]


@pytest.fixture(scope="module")
def evaluated(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Path]:
    folder = tmp_path_factory.mktemp("suite")
    recipe, drawings = make_run(folder), write_rows(folder / "drawings.jsonl", DRAWINGS)
    held_out = folder / "held_out.jsonl"
    result = unigrpo(
        "eval", "--recipe", recipe, "--layout", "geneval", "tracking.mlflow=false", "evaluation.n_samples=3",
        "evaluation.k_shots=2", f"data.val=[{{source: {held_out}}}, {{source: {drawings}}}]",
        "evaluation.mix.draw={clip: 1.0}", "rewards.settings.clip.model=tiny",
    )  # fmt: skip
    assert result.exit_code == 0, result.output
    return result.stdout, folder / "runs" / "run-eval"


def test_every_sample_is_a_row_in_both_files(evaluated: tuple[str, Path]) -> None:
    run_dir = evaluated[1]
    rows = [json.loads(line) for line in (run_dir / "rows.jsonl").read_text().splitlines()]
    assert [(row["id"], row["sample"]) for row in rows[:4]] == [("v0", 0), ("v0", 1), ("v0", 2), ("v1", 0)]
    assert len(rows) == 3 * 6 and rows[0]["prompt"] == HELD_OUT[0]["prompt"]
    table = parquet.read_table(run_dir / "rows.parquet").to_pylist()
    assert [row["response"] for row in table] == [row["response"] for row in rows]
    assert all((run_dir / row["image"]).is_file() for row in rows[12:]) and rows[0]["image"] is None


def test_the_screen_has_a_score_with_n_and_interval_and_both_at_k(evaluated: tuple[str, Path]) -> None:
    shown, run_dir = evaluated
    for words in ("95% interval", "text: pass@3", "text: maj@2", "draw: no pass@k", "evaluate_images.py"):
        assert words in shown
    summary = json.loads((run_dir / "summary.json").read_text())
    assert set(summary["tasks"]) == {"text", "draw"} and summary["tasks"]["text"].keys() == {"before", "after"}
    assert summary["pass_at_k"]["text"].keys() == summary["maj_at_k"]["text"].keys() == {"1", "2", "3"}
    assert summary["pass_at_k"]["text"]["1"]["value"] == pytest.approx(summary["tasks"]["text"]["after"])


def test_the_summary_names_what_the_numbers_depend_on(evaluated: tuple[str, Path]) -> None:
    summary = json.loads((evaluated[1] / "summary.json").read_text())
    assert summary["device"].startswith("cpu: ") and summary["dtype"] == "float32"
    assert summary["versions"]["torch"] == torch.__version__ and "python" in summary["versions"]
    assert summary["sampling"]["samples"] == 3 and summary["sampling"]["k_shots"] == 2
    assert summary["sampling"]["text"]["max_new_tokens"] == 8
    data = summary["data"]
    assert len(data["val"]) == 2 and sum(each["rows"] for each in data["asked"].values()) == 6
    assert "commit" in summary and "dirty" in summary


def test_drawings_lie_where_the_scorer_looks(evaluated: tuple[str, Path]) -> None:
    folder = evaluated[1] / "layout" / "geneval"
    assert sorted(path.name for path in folder.iterdir()) == ["00000", "00001"]
    assert len(list((folder / "00001" / "samples").glob("*.png"))) == 3
    line = json.loads((folder / "00001" / "metadata.jsonl").read_text())
    assert line == {"tag": "colors", "include": [{"class": "circle"}], "prompt": "a blue circle"}


def test_examples_are_training_rows_and_never_held_out_ones() -> None:
    pool = [
        Prompt(f"t{n}", Task.TEXT, (Message("user", f"{n} + 1 ="),), solution=f"<think>{n}</think>{n + 1}", source="s")
        for n in range(6)
    ]
    held_out = [
        Prompt("v0", Task.TEXT, (Message("system", "add"), Message("user", "9 + 9 =")), source="s"),
        Prompt("v1", Task.TEXT, (Message("user", "4 + 1 ="),), source="s"),  # the content of t4
        Prompt("v2", Task.DRAW, (Message("user", "a circle"),)),
    ]
    found = with_shots(held_out, pool, 5, seed=0)
    turns = found[0].messages
    assert turns[0].role == "system" and turns[-1].content == "9 + 9 =" and len(turns) == 12
    examples = [(turns[at].content, turns[at + 1].content) for at in range(1, 11, 2)]
    assert sorted(examples) == [(f"{n} + 1 =", f"<think>{n}</think>{n + 1}") for n in (0, 1, 2, 3, 5)]
    assert found[1].messages[:10] == turns[1:11] and found[2] == held_out[2]
    assert with_shots(held_out, pool, 5, seed=0) == found and with_shots(held_out, pool, 0, seed=0) == held_out
    assert any(
        with_shots(held_out, pool, 2, seed=0)[0] != with_shots(held_out, pool, 2, seed=s)[0] for s in range(1, 9)
    )
    with pytest.raises(DataError, match="evaluation.k_shots=6: data.train has 5 text rows"):
        with_shots(held_out, pool, 6, seed=0)


def test_examples_need_training_rows_also_for_an_evaluation(tmp_path: Path) -> None:
    config = load_config(make_run(tmp_path), ["evaluation.k_shots=2", "data.train=[]"])
    with pytest.raises(ConfigError, match=r"data.train=\[\]"):
        check(config, needs_train=False, needs_val=True)
    inputs = check(load_config(make_run(tmp_path), ["evaluation.k_shots=2"]), needs_train=False, needs_val=True)
    text = [prompt for prompt in inputs.val if prompt.task is Task.TEXT]
    assert inputs.train == () and all(len(prompt.messages) == 5 for prompt in text)
    assert {turn.content for turn in text[0].messages[:-1:2]} <= {row["prompt"] for row in ROWS}


def test_a_layout_without_drawings_is_refused() -> None:
    prompt = Prompt("v0", Task.TEXT, (Message("user", "1 + 1 ="),))
    config = load_config("tiny", ["evaluation.layout=dpg", "evaluation.n_samples=4"])
    with pytest.raises(ConfigError, match="no held-out row draws"):
        make_layout(config, [prompt])
    assert for_evaluation(config).evaluation.n_samples_per_prompt == 4
    for wrong in ("evaluation.n_samples=0", "evaluation.k_shots=-1"):
        with pytest.raises(ConfigError, match=wrong):
            load_config("tiny", [wrong])


@pytest.fixture
def adapter(tmp_path: Path) -> tuple[Path, dict[str, np.ndarray]]:
    """A trained adapter of the toy in PEFT's format, and the merged weights."""
    policy = load_policy(toy_folder())
    lora.attach(policy, 2, 4.0, seed=1)
    with torch.no_grad():
        for _, layer in lora.adapters(policy.module):
            layer.lora_b.normal_(generator=torch.Generator().manual_seed(2))
    lora.save_adapter(policy, tmp_path / "adapter")
    merged = lora.merged_state(policy.module)
    return tmp_path / "adapter", {name: value.detach().float().numpy() for name, value in merged.items()}


def test_an_adapters_folder_is_evaluated_over_its_base(adapter: tuple[Path, dict[str, np.ndarray]]) -> None:
    folder, merged = adapter
    config = Config()
    config = with_policy(replace(config, policy=replace(config.policy, path=str(folder))))
    assert (config.policy.path, config.learner.lora.path) == (str(toy_folder()), str(folder))
    found = FrozenLearner(config).weights()
    assert found.keys() == merged.keys() and all(np.array_equal(found[name], merged[name]) for name in merged)
    plain = toy_policy().module.state_dict()
    assert any(not np.array_equal(found[name], plain[name].numpy()) for name in merged)


def test_runs_and_checkpoints_are_policies_too_and_other_paths_stay(tmp_path: Path, adapter: tuple[Path, dict]) -> None:
    def of(path: Path | str) -> tuple[str, str | None]:
        config = Config()
        found = with_policy(replace(config, policy=replace(config.policy, path=str(path))))
        return found.policy.path, found.learner.lora.path

    run = tmp_path / "run"
    toy_policy().save(run / "policy")
    assert of(run) == (str(run / "policy"), None)
    for path in ("tiny", str(toy_folder()), "org/name", str(tmp_path / "no")):
        assert of(path) == (path, None)
    nameless = adapter[0] / "adapter_config.json"
    nameless.write_text(json.dumps(json.loads(nameless.read_text()) | {"base_model_name_or_path": None}))
    with pytest.raises(PolicyError, match="names no base"):
        of(adapter[0])


def test_a_digest_is_of_what_is_asked_and_a_commit_is_of_a_checkout(tmp_path: Path) -> None:
    prompt = Prompt("v0", Task.TEXT, (Message("user", "1 + 1 ="),), reference="2", source="s")
    same, other = asked([prompt]), asked([replace(prompt, reference="3")])
    assert same == asked([prompt]) and same["s"]["rows"] == 1 and same != other
    assert commit(tmp_path) == {"commit": None, "dirty": None}
    assert provenance(Config(), [prompt], "gpu")["device"] == "gpu"
