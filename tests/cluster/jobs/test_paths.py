"""Which settings name files, what a text means, and what is said of a path that is not here."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any, get_args, get_origin, get_type_hints

import pytest

from cluster.jobs.paths import named_here, split_prefix
from rl.config import Config, SourceConfig
from rl.errors import ConfigError
from tests.cluster.jobs.sending import KWARGS, sends
from tests.cluster.recipe import write_recipe

# Every setting that can hold a text, by what becomes of it. A new one must be put into one of these lists.
SENT = """policy.path policy.image_tokenizer data.train data.val learner.lora.path custom_reward_function.path
custom_reward_function.reward_kwargs rewards.settings rewards.mix evaluation.mix judge.serve judge.command judge.args
resume_path""".split()
KEPT_ABSOLUTE = "output_dir resume_path tracking.uri".split()
NO_PATH = """name policy.revision evaluation.layout health.limits health.off tracking.also
rewards.sandbox judge.env tracking.password_env
data.filter_overlong data.on_overlap policy.device policy.dtype rollout.text.remasking rollout.text.schedule
rollout.text.confidence rollout.text.cache rollout.understand.schedule rollout.understand.confidence
rollout.understand.remasking rollout.understand.cache rollout.draw.schedule rollout.draw.remasking
rollout.think_draw.think.schedule rollout.think_draw.think.confidence rollout.think_draw.think.remasking
rollout.think_draw.think.cache rollout.think_draw.draw.schedule rollout.think_draw.draw.remasking
rollout.n_samples_by_task rewards.curves rewards.gates rewards.normalize rewards.scorers rewards.on_failure.action
custom_reward_function.url custom_reward_function.name evaluation.text.remasking evaluation.text.schedule
evaluation.text.confidence evaluation.text.cache evaluation.understand.schedule evaluation.understand.confidence
evaluation.understand.remasking evaluation.understand.cache evaluation.draw.schedule evaluation.draw.remasking
evaluation.think_draw.think.schedule evaluation.think_draw.think.confidence evaluation.think_draw.think.remasking
evaluation.think_draw.think.cache evaluation.think_draw.draw.schedule evaluation.think_draw.draw.remasking
learner.algorithm.kl_estimator learner.algorithm.normalizer learner.algorithm.schedule learner.algorithm.estimator
learner.algorithm.objective learner.algorithm.ratio learner.algorithm.importance_level
learner.algorithm.spg_block_length learner.engine learner.lr_schedule learner.advantage_baseline learner.task_weights
learner.optimizer learner.lora.target sft.lr_schedule sft.eos_fill sft.optimizer cluster.mode cluster.address
cluster.weight_sync cluster.in_flight cluster.placement cluster.labels tracking.experiment tracking.log_model
tracking.registered_model resume_mode best_metric best_mode""".split()


def _texts(section: type, prefix: str = "") -> list[str]:
    """Settings whose type has room for a text."""
    found = []
    for name, hint in get_type_hints(section).items():
        if dataclasses.is_dataclass(hint):
            found += _texts(hint, f"{prefix}{name}.")  # pyright: ignore[reportArgumentType]
        elif _has_text(hint):
            found.append(f"{prefix}{name}")
    return found


def _has_text(hint: Any) -> bool:
    if get_origin(hint) is None:
        return hint in (str, Any) or dataclasses.is_dataclass(hint)
    return any(map(_has_text, get_args(hint)))


def test_every_setting_that_can_hold_a_path_is_decided() -> None:
    undecided = set(_texts(Config)) - {*SENT, *KEPT_ABSOLUTE, *NO_PATH}
    assert not undecided, f"can these hold a path? put each into a list above: {sorted(undecided)}"
    page = (Path(__file__).parents[3] / "docs" / "cluster.md").read_text("utf-8")
    for name in {*SENT, *KEPT_ABSOLUTE}:
        assert f"`{name}" in page, f"docs/cluster.md says nothing of {name}"


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    write_recipe(tmp_path)
    for name in ("words.txt", "lists/en.csv", "serve.sh", "judge/config.json", "rl/x.txt", "own/__init__.py"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("x")
    return tmp_path


MISSING: Sequence[tuple[str, Any, str]] = (
    ("policy.path", "nope", "policy.path=nope"),
    ("policy.path", "", "policy.path="),
    ("policy.path", "~/nope", "policy.path=~/nope"),
    ("data.train", [SourceConfig("nope.jsonl")], "data.train[0].source=nope.jsonl"),
    ("data.val", [SourceConfig("val.jsonl"), SourceConfig("rows/more/nope")], "data.val[1].source=rows/more/nope"),
    ("learner.lora.path", "nope", "learner.lora.path=nope"),
    ("learner.lora.path", "../nope/adapter", "learner.lora.path=../nope/adapter"),
    ("custom_reward_function.path", "nope.py", "custom_reward_function.path=nope.py"),
    (KWARGS, {"a": "./nope"}, f"{KWARGS}.a=./nope"),
    (KWARGS, {"a": [{"b": "../x"}]}, f"{KWARGS}.a[0].b=../x"),
    (KWARGS, {"a": {"b": "lists/de.csv"}}, f"{KWARGS}.a.b=lists/de.csv"),
    ("rewards.settings", {"judge": {"rubric": "nope.md"}}, "rewards.settings.judge.rubric=nope.md"),
    ("rewards.settings", {"clip": {"pretrained": "nope.pt"}}, "rewards.settings.clip.pretrained=nope.pt"),
    ("rewards.settings", {"clip": {"model": "local-dir:./nope"}}, "rewards.settings.clip.model=local-dir:./nope"),
    ("rewards.settings", {"pickscore": {"path": "nope"}}, "rewards.settings.pickscore.path=nope"),
    ("rewards.settings", {"aesthetic": {"head": "nope"}}, "rewards.settings.aesthetic.head=nope"),
    ("rewards.settings", {"mine": {"name": "nope.py:f"}}, "rewards.settings.mine.name=nope.py"),
    ("rewards.settings", {"mine": {"name": "custom", "path": "nope.py"}}, "rewards.settings.mine.path=nope.py"),
    ("rewards.mix", {"text": {"custom": 1.0, "nope.py:f": 1.0}}, "rewards.mix.text=nope.py"),
    ("evaluation.mix", {"text": {"custom": 1.0, "nope.py:f": 1.0}}, "evaluation.mix.text=nope.py"),
    ("judge.serve", "./nope", "judge.serve=./nope"),
    ("judge.serve", "models/judges/nope", "judge.serve=models/judges/nope"),
    ("judge.command", ["./nope.sh"], "judge.command[0]=./nope.sh"),
    ("judge.args", ["--chat-template=templates/nope.jinja"], "judge.args[0]=--chat-template=templates/nope.jinja"),
)


@pytest.mark.parametrize(("setting", "value", "key"), MISSING, ids=[key for _, _, key in MISSING])
def test_a_relative_path_that_is_not_here_is_one_line(home: Path, setting: str, value: Any, key: str) -> None:
    with pytest.raises(ConfigError) as told:
        sends({setting: value})
    assert str(told.value) == f"{key}: no such file or folder here; a path on the cluster must be absolute"


def test_texts_that_are_no_paths_stay(home: Path) -> None:
    words = (
        "strict a/b Qwen/Qwen2.5-7B gpt-4.1 text/plain http://host/words.txt / /bin/sh /tmp /dev/null "
        "/data/on/the/nodes.txt *.txt .txt own rl torch"
    ).split()
    (home / "torch").mkdir()
    others: list[Any] = ["", "   ", "Read words.txt", "a/" * 3000, "a\n./b.txt", 3, True, None, 0.5]
    kwargs = {"top": words[0], "all": {"words": words, "others": others}}
    sent = sends({KWARGS: kwargs})
    assert sent.config.custom_reward_function.reward_kwargs == kwargs
    assert sorted(sent.files) == sorted(sends().files) and not sent.notes


def test_a_word_that_names_a_folder_here_stays_a_word(home: Path) -> None:
    """Whichever was meant: the job finds the folder by that name. On a shared disk it is a word."""
    mode = {KWARGS: {"mode": "lists"}}
    sent, shared = sends(mode), sends(mode, (home,))
    assert (
        sent.config.custom_reward_function.reward_kwargs == {"mode": "lists"} and sent.files["lists"] == home / "lists"
    )
    assert shared.config.custom_reward_function.reward_kwargs == {"mode": "lists"} and "lists" not in shared.files


def test_a_text_that_may_be_a_file_is_noted(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from cluster.jobs.submit import Options, prepare

    prepare("recipe.yaml", [f"{KWARGS}={{name: {{of: main.py}}}}"], Options())
    note = f"note: {KWARGS}.name.of=main.py names no file here: it is sent as a text\n"
    assert note in capsys.readouterr().err


def test_a_judge_and_its_files(home: Path) -> None:
    (home / "serve.sh").chmod(0o755)
    args = ["--seed", "3", "--config=judge/config.json", "--chat-template", "./words.txt"]
    sent = sends({"judge.serve": "judge", "judge.command": ["./serve.sh"], "judge.args": args})
    judge, work = sent.config.judge, home / "work"
    work.mkdir()
    sent.write(work)
    assert (work / str(judge.serve) / "config.json").is_file() and (work / judge.command[0]).stat().st_mode & 0o100
    assert judge.args[:2] == args[:2] and judge.args[3] == args[3]
    assert (work / judge.args[2].removeprefix("--config=")).is_file() and (work / judge.args[4]).is_file()
    there = {"judge.serve": "Qwen/Qwen3-8B", "judge.command": ["/usr/bin/env", "vllm"]}
    named = sends(there).config.judge
    assert {"judge.serve": named.serve, "judge.command": named.command} == there


@pytest.mark.parametrize(
    ("uri", "there"),
    [
        ("https://mlflow:5000/x", "https://mlflow:5000/x"),
        ("mlruns", "HOME/mlruns"),
        ("./out/mlruns", "HOME/out/mlruns"),
        ("sqlite:///mlflow.db", "sqlite:///HOME/mlflow.db"),
        ("sqlite:////data/mlflow.db", "sqlite:////data/mlflow.db"),
        ("file:mlruns", "file:HOME/mlruns"),
        ("file:///data/mlruns", "file:///data/mlruns"),
        ("postgresql://me@db/x", "postgresql://me@db/x"),
        ("databricks", "databricks"),
    ],
)
def test_what_a_job_writes_is_named_from_here(home: Path, uri: str, there: str) -> None:
    from cluster.jobs.paths import keep_outputs

    tree = {"output_dir": "runs", "resume_path": None, "resume_mode": "auto", "tracking": {"uri": uri}}
    keep_outputs(tree)
    assert tree["output_dir"] == str(home / "runs")
    assert tree["tracking"] == {"uri": there.replace("HOME", str(home))}


def test_a_shared_folder_by_any_name(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By a relative path, with dots, through a link; what lies outside is sent."""
    (home / "inner").mkdir()
    (home.parent / f"{home.name}-link").symlink_to(home)
    monkeypatch.chdir(home / "inner")
    changes = {
        "custom_reward_function.path": "../my_reward.py",
        "data.train": [SourceConfig("../train.jsonl")],
        "data.val": [],
    }
    for shared in (Path(".."), Path("../inner/.."), home, home.parent / f"{home.name}-link"):
        sent = sends(changes, (shared,))
        assert sent.config.data.train[0].source == str(home / "train.jsonl"), shared
        assert not [place for place in sent.files if str(home) in place]
    assert [place for place in sends(changes, (home / "inner",)).files if str(home) in place]


def test_words_about_paths(home: Path) -> None:
    assert split_prefix("local-dir:a/b") == ("local-dir:", "a/b") and split_prefix("--x.y=a=b") == ("--x.y=", "a=b")
    assert split_prefix("a=b.txt") == ("", "a=b.txt")
    assert named_here("words.txt") == Path("words.txt") and named_here("x" * 300) is None and named_here("a\0b") is None


def test_a_name_on_a_hub_stays_one_and_a_note_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    write_recipe(tmp_path)
    given = {
        "policy.path": "GSAI-ML/LLaDA-8B-Instruct",
        "data.train": [SourceConfig("openai/gsm8k@main", config="main")],
    }
    shipment = sends(given)
    assert shipment.config.policy.path == given["policy.path"] and shipment.config.data.train == given["data.train"]
    assert not any("openai" in place or "GSAI" in place for place in shipment.files)
    for key, name in (("policy.path", given["policy.path"]), ("data.train[0].source", "openai/gsm8k@main")):
        assert f"{key}={name} names nothing here: the job looks for it on a hub" in shipment.notes
