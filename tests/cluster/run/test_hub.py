"""Whole commands with names on a hub in the place of paths: a small hub on loopback serves a policy and a data set."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from cluster.cli.app import app
from cluster.run.hub import pinned, recorded, runtime_env
from rl.config import build_config, load_config
from rl.errors import ConfigError
from tests.cluster.recipe import write_recipe
from tests.loopback_hub import Files, LoopbackHub, folder_files, point_at, point_datasets_at, serving
from tests.policies.originals import write_folder
from tests.toys import toy_folder

POLICY, ROWS = "someone/small-llada", "someone/gsm8k-like"
README = b"""---
configs:
- config_name: main
  data_files:
  - {split: train, path: main/train.jsonl}
  - {split: test, path: main/test.jsonl}
---
"""


def gsm8k_like(first: int, count: int) -> bytes:
    rows = [
        {"question": f"{i} + 1?", "answer": f"{i} + 1 = {i + 1}\n#### {i + 1}"} for i in range(first, first + count)
    ]
    return "".join(json.dumps(row) + "\n" for row in rows).encode()


@pytest.fixture(scope="module")
def released(tmp_path_factory: pytest.TempPathFactory) -> Files:
    return folder_files(write_folder("llada", tmp_path_factory.mktemp("released") / "llada"))


@pytest.fixture
def hub(released: Files, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[LoopbackHub]:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("REWARD_KEY", "x")
    with serving() as found:
        point_at(monkeypatch, found.url, tmp_path / "home")
        point_datasets_at(monkeypatch, found.url, tmp_path / "home")
        found.add("models", POLICY, {**released, "modeling_llada.py": b"raise SystemExit"})
        files = {"README.md": README, "main/train.jsonl": gsm8k_like(0, 4), "main/test.jsonl": gsm8k_like(9, 2)}
        found.add("datasets", ROWS, files)
        yield found


def commit(hub: LoopbackHub, kind: str, name: str) -> str:
    return f"{name}@{hub.repositories[kind, name].refs['main']}"


def recipe(folder: Path, mode: str = "inline", policy: str = POLICY) -> str:
    data = {"train": [{"source": ROWS}], "val": [{"source": ROWS, "split": "val", "config": "main"}]}
    return str(write_recipe(folder, policy, data=data, output_dir="runs", cluster={"mode": mode, "rollout_workers": 1}))


def invoke(*words: str) -> Result:
    return CliRunner().invoke(app, list(words), env={"COLUMNS": "200"})


def summary(folder: Path, name: str = "toy") -> dict:
    return json.loads((folder / "runs" / name / "summary.json").read_text())


def expected(hub: LoopbackHub) -> dict[str, str]:
    rows = commit(hub, "datasets", ROWS)
    return {
        "policy.path": commit(hub, "models", POLICY),
        "data.train[0].source": rows,
        "data.val[0].source": rows,
    }


def test_a_run_by_names_and_again_without_the_hub(hub, tmp_path, monkeypatch):
    found = invoke("train", "--recipe", recipe(tmp_path))
    assert found.exit_code == 0, found.output
    assert summary(tmp_path)["from_hub"] == expected(hub) and summary(tmp_path)["steps"] == 2
    kept = load_config(tmp_path / "runs" / "toy" / "config.yaml")
    assert recorded(kept) == expected(hub)
    assert "finished its 2 steps before" in invoke("train", "--recipe", recipe(tmp_path)).output

    for point in (point_at, point_datasets_at):
        point(monkeypatch, "http://127.0.0.1:9", tmp_path / "home", offline=True)
    again = invoke("train", "--recipe", recipe(tmp_path), "name=offline")
    assert again.exit_code == 0, again.output
    assert summary(tmp_path, "offline")["weights_digest"] == summary(tmp_path)["weights_digest"]
    assert summary(tmp_path, "offline")["from_hub"] == expected(hub)


@pytest.mark.long
def test_over_ray_every_node_fetches_once(hub, tmp_path):
    found = invoke("train", "--recipe", recipe(tmp_path, "ray"), "steps=1")
    assert found.exit_code == 0, found.output
    assert summary(tmp_path)["from_hub"] == expected(hub)
    assert hub.sent(".safetensors") == 1 and hub.sent("/train.jsonl") == 1


def test_the_task_of_a_node_brings_what_is_missing_there(hub, tmp_path, local_ray):
    """On the one node of this Ray, whose processes look where this test looks; as on a node that has nothing yet."""
    from cluster.run.hub import _fetch
    from rl.output.secrets import Secret

    hub.repositories["models", POLICY].gated = True
    import ray

    env = {"env_vars": {"HF_HOME": str(tmp_path / "home"), "HF_ENDPOINT": hub.url, "HF_HUB_OFFLINE": "0"}}
    task = ray.remote(num_cpus=0)(_fetch).options(runtime_env=env)
    folder = Path(ray.get(task.remote(commit(hub, "models", POLICY), "node 1", Secret(hub.token), None), timeout=60))
    assert (folder / "model.safetensors").is_file()
    with pytest.raises(Exception, match="node 1: policy.path='someone/gone': no such folder here"):
        ray.get(task.remote("someone/gone", "node 1", None, None), timeout=60)


def test_a_newer_commit_does_not_change_a_run_that_goes_on(hub, tmp_path, released):
    assert invoke("train", "--recipe", recipe(tmp_path), "steps=1", "save_freq=1").exit_code == 0
    was, weights = commit(hub, "models", POLICY), released["model.safetensors"]
    hub.add("models", POLICY, {**released, "model.safetensors": weights[:-4] + b"\0\0\0?"})
    refused = invoke("train", "--recipe", recipe(tmp_path), "steps=2", "save_freq=1")
    line = refused.stderr.splitlines()[-1]
    assert refused.exit_code == 2 and f"was saved with {was}" in line and commit(hub, "models", POLICY) in line, line
    goes_on = invoke("train", "--recipe", recipe(tmp_path), "steps=2", f"policy.path={was}", "--dry-run")
    assert goes_on.exit_code == 0 and "goes on from its checkpoints" in goes_on.stdout, goes_on.output


def test_plan_and_dry_run_take_no_weights(hub, tmp_path):
    planned = invoke("plan", "--recipe", recipe(tmp_path), "gpus=1", "--json")
    assert planned.exit_code == 0, planned.output
    assert not hub.sent(".safetensors") and not hub.sent("tokenizer.json")
    dry = invoke("train", "--recipe", recipe(tmp_path), "--dry-run")
    assert dry.exit_code == 0 and "Every check passed" in dry.stdout, dry.output
    assert not hub.sent(".safetensors") and not (tmp_path / "runs").exists()


def test_generate_and_export(hub, tmp_path):
    answer = invoke("generate", "1 + 1?", "--recipe", recipe(tmp_path))
    assert answer.exit_code == 0, answer.output
    out = tmp_path / "out"
    exported = invoke("export", commit(hub, "models", POLICY), "--out", str(out))
    assert exported.exit_code == 0 and (out / "model.safetensors").is_file(), exported.output
    assert not [file for file in out.rglob("*") if file.is_symlink()]


MISTAKES = {
    "pickles": (["policy.path=someone/pickled"], "only pickled weights"),
    "gated": (["policy.path=someone/gated"], "set HF_TOKEN"),
    "nowhere": (["policy.path=someone/nowhere"], "no such model"),
    "revision apart": (["policy.revision=v9"], "no revision 'v9'"),
    "rows nowhere": (["data.train=[{source: someone/nowhere}]"], "no such dataset"),
    "rows of another config": ([f"data.train=[{{source: {ROWS}, config: mian}}]"], "one of ['main']"),
}


@pytest.mark.parametrize("kind", MISTAKES)
def test_a_mistake_is_one_line_and_exit_2(hub, tmp_path, released, kind):
    words, said = MISTAKES[kind]
    weights = {"model.safetensors"}
    pickled = {name: content for name, content in released.items() if name not in weights} | {"pytorch_model.bin": b"x"}
    hub.add("models", "someone/pickled", pickled)
    hub.add("models", "someone/gated", released, gated=True)
    hub.add("datasets", "someone/gated", {"train.jsonl": gsm8k_like(0, 2)}, gated=True)
    found = invoke("train", "--recipe", recipe(tmp_path), *words)
    line = found.stderr.splitlines()[-1]
    assert found.exit_code == 2 and line.startswith("error: ") and said in line, found.output
    assert "Traceback" not in found.output and len(line) < 600
    assert not hub.sent(".safetensors") or not kind.startswith("pickles")
    assert not (tmp_path / "runs").exists()


def test_no_network_is_one_line_with_the_command(hub, tmp_path, monkeypatch):
    for point in (point_at, point_datasets_at):
        point(monkeypatch, "http://127.0.0.1:9", tmp_path / "home")
    line = invoke("train", "--recipe", recipe(tmp_path)).stderr.splitlines()[-1]
    assert f"`hf download {POLICY}`" in line
    line = invoke("train", "--recipe", recipe(tmp_path, policy=str(toy_folder()))).stderr.splitlines()[-1]
    assert f"`hf download {ROWS} --repo-type dataset`" in line


def test_a_folder_of_that_name_wins_and_the_note_says_so(hub, tmp_path, capfd):
    write_folder("llada", tmp_path / POLICY)
    config = build_config([("test", {"policy": {"path": POLICY}})])
    assert pinned(config).policy.path == POLICY and not hub.requests
    assert f"note: policy.path={POLICY}: this folder is used" in capfd.readouterr().err
    with pytest.raises(ConfigError, match="policy.revision=main: policy.path=someone/small-llada is a folder here"):
        pinned(build_config([("test", {"policy": {"path": POLICY, "revision": "main"}})]))


def test_processes_look_where_this_one_looks_but_get_no_token_by_ray(hub, monkeypatch):
    monkeypatch.setenv("HF_TOKEN", "hf_secret_of_a_test")
    named = build_config([("test", {"policy": {"path": POLICY}})])
    given = runtime_env(named)["runtime_env"]["env_vars"]
    assert given["HF_ENDPOINT"] == hub.url and "hf_secret_of_a_test" not in str(given)
    assert runtime_env(build_config([("test", {})])) == {}
