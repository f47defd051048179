"""Which texts name a repository on a hub, and which a path."""

from __future__ import annotations

from pathlib import Path

import pytest

from rl.hub.names import HubName, hub_name, is_written_as_name, problem

COMMIT = "0123456789abcdef0123456789abcdef01234567"
NAMES = {
    "GSAI-ML/LLaDA-8B-Instruct": HubName("GSAI-ML/LLaDA-8B-Instruct"),
    "JetLM/SDAR-1.7B-Chat": HubName("JetLM/SDAR-1.7B-Chat"),
    "a/b": HubName("a/b"),
    "_a/b_": HubName("_a/b_"),
    "openai/gsm8k@main": HubName("openai/gsm8k", "main"),
    "openai/gsm8k@refs/pr/3": HubName("openai/gsm8k", "refs/pr/3"),
    "openai/gsm8k@v1.0+x": HubName("openai/gsm8k", "v1.0+x"),
    f"openai/gsm8k@{COMMIT}": HubName("openai/gsm8k", COMMIT),
}
OTHERS = [
    "", "gsm8k", "a/b/c", "/a/b", "./b", "../b", "~/b", "a/", "/b", "a//b", "a/-b", "a/b-", "a/.b", "a/b.", "-a/b", "a b/c",
    "a/b c", "a/b--c", "a/b..c", "a/b.git", "a/" + "b" * 95, "ä/b", "a/b\n", "a/b@", "a/b@..", "a/b@../x", "a/b@-x", "a/b@/x",
    "a/b@x y", "a@x/b", "https://huggingface.co/a/b", "hf://datasets/a/b", "runs/train.jsonl", "data/rows.PARQUET",
    "a/model.safetensors",
]  # fmt: skip


@pytest.mark.parametrize("text", NAMES)
def test_a_name(text):
    assert hub_name(text) == NAMES[text] and str(NAMES[text]) == text and is_written_as_name(text)


@pytest.mark.parametrize("text", OTHERS)
def test_no_name(text):
    assert hub_name(text) is None and not is_written_as_name(text)


def test_what_is_here_is_a_path(tmp_path: Path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "runs" / "policy").mkdir(parents=True)
    assert hub_name("runs/policy") is None and is_written_as_name("runs/policy")


def test_a_revision_apart_goes_before_the_one_in_the_name():
    assert hub_name("a/b@x", "y") == HubName("a/b", "y") == hub_name("a/b", "y")
    assert hub_name("a/b", "../y") is None and "no branch" in problem("a/b", "../y")


def test_only_a_whole_commit_is_pinned():
    assert HubName("a/b", COMMIT).pinned and HubName("a/b", COMMIT).short == "a/b@0123456789ab"
    for revision in (None, "main", COMMIT[:12], COMMIT.upper()):
        assert not HubName("a/b", revision).pinned and HubName("a/b", revision).short == str(HubName("a/b", revision))
