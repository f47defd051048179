"""The pages of a run on its way: what they show, that a resumed run makes the same, and that nothing of them stops a run."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from rl.tracking.mlflow.events import Event, Page, Trace, from_text, to_text
from rl.tracking.mlflow.traces import choose_of_each_task, trace
from rl.tracking.pages import answers
from rl.tracking.pages.album import TAG, Album
from rl.tracking.pages.film import Decoders
from rl.tracking.pages.gallery import gallery
from rl.types import Group
from tests.rl.examples import failed, score, text_group
from tests.rl.tracking.pages.groups import decoders, evaluation, sampled, with_words
from tests.rl.tracking.pages.reader import safe

HOSTILE = [
    "</script><script>alert(1)</script>", '"><img src=x onerror=alert(1)>', "<!--<style>*{display:none}</style>",
    "__BODY__ __DATA__ __POLICY__ &lt;script&gt;", "\x1b]0;t\x07\u202e\u2028\u200b\ud800", "../../etc/passwd\x00",
]  # fmt: skip


def album(folder: Path, **more) -> Album:
    return Album(folder, 0, decoders, every=2, last=5, **more)


def shown(one: Album, step: int, groups: list[Group]) -> list[Event]:
    """All that comes of one evaluation, as the tracker asks for it."""
    chosen = choose_of_each_task(groups, 2, 0)
    events = list(one.evaluated(step, groups, chosen))
    for index in chosen:
        events += one.linked(trace(groups[index], step, "val", None, 0.0, 1000), groups[index])
    return events


def pages(folder: Path) -> dict[str, bytes]:
    return {str(file.relative_to(folder)): file.read_bytes() for file in sorted(folder.rglob("*.html"))}


def test_an_evaluation_has_a_gallery_a_test_set_and_a_playback_that_its_trace_names(tmp_path: Path) -> None:
    one = album(tmp_path)
    shown(one, 0, evaluation(3))
    events = shown(one, 4, evaluation(5, right=False))
    files = [event for event in events if isinstance(event, Page)]
    assert [event.folder for event in files] == ["gallery"] * 3 + ["playback/val-000004"] * 3
    assert all((tmp_path / event.file).is_file() and from_text(to_text(event)) == event for event in files)
    traces = [event for event in events if isinstance(event, Trace)]
    tags = [each.body["tags"][TAG] for each in traces]
    assert tags == [f"{event.folder}/{Path(event.file).name}" for event in files[3:]]
    text, looked, drawn = (safe((tmp_path / event.file).read_text()).data() for event in files[3:])
    for held, kind in ((text, "text"), (looked, "understand"), (drawn, "draw")):
        assert [each["label"] for each in held["rollouts"]] == ["before training", "step 4"]
        for each, seed in zip(held["rollouts"], (3, 5), strict=True):
            assert f"seed {sampled(kind, seed).rollouts[0].seed}:" in each["foot"]
        assert [each["verdict"][:7] for each in held["rollouts"]] == ["score 1", "score 0"]
    assert (
        looked["picture"].startswith("data:image/") and not text["picture"] and drawn["rollouts"][1]["image"]["frames"]
    )


def test_a_gallery_has_prompts_down_evaluations_across_and_marks_what_changed(tmp_path: Path) -> None:
    one = album(tmp_path)
    for step, right in ((0, True), (2, True), (4, False)):
        shown(one, step, evaluation(3, right=right))
    (file,) = (tmp_path / "gallery").glob("draws-*.html")
    seen = safe(file.read_text())
    cells = [attrs["class"] or "" for tag, attrs in seen.tags if tag == "td"]
    assert cells == ["right ", "right ", "wrong worse"] and "now wrong" in seen.words and seen.count("img") == 3
    assert all(words in seen.words for words in ("before training", "step 2", "step 4", "mean 0.5 of 2"))


def test_scores_that_are_no_verdicts_are_marked_where_they_moved(tmp_path: Path) -> None:
    for step, value in ((0, 10.0), (1, 10.1), (2, 40.0), (3, 20.0)):
        one = answers.answers_of(step, [text_group("a", score(value)), text_group("b", failed())], 0, {})
        answers.save(tmp_path, one)
    seen = safe(gallery("sums", answers.load(tmp_path)))
    cells = [attrs["class"] or "" for tag, attrs in seen.tags if tag == "td"]
    assert sorted(cells) == sorted(["plain ", "plain ", "plain better", "plain worse", *["failed "] * 4])
    assert "+29.9" in seen.words and "not scored" in seen.words and "ran into its deadline" in seen.words


def test_a_resumed_run_makes_the_same_pages(tmp_path: Path) -> None:
    steps = {0: evaluation(3), 2: evaluation(5, right=False), 4: evaluation(7)}
    for name in ("whole", "resumed"):
        (tmp_path / name).mkdir()
    whole = album(tmp_path / "whole")
    for step, groups in steps.items():
        shown(whole, step, groups)
    for step, groups in steps.items():  # a process each, which evaluates its last step once more
        one = album(tmp_path / "resumed")
        shown(one, step, groups)
    shown(album(tmp_path / "resumed"), 4, list(reversed(steps[4])))
    assert pages(tmp_path / "whole") == pages(tmp_path / "resumed") and len(pages(tmp_path / "whole")) == 12


def test_a_run_that_starts_over_shows_nothing_of_the_one_before(tmp_path: Path) -> None:
    shown(album(tmp_path), 0, evaluation(3))
    assert list((tmp_path / "gallery").glob("*.html"))
    album(tmp_path, fresh=True)
    assert not list((tmp_path / "gallery").glob("*.html"))


def test_training_plays_the_best_and_the_worst_of_a_group_where_samples_are_due(tmp_path: Path) -> None:
    one, group = album(tmp_path), sampled("text", 3)
    due = [step for step in range(1, 6) if len(list(one.linked(trace(group, step, "train", None, 0.0, 0), group))) == 2]
    assert due == [2, 4, 5]  # every second, and the last
    (file,) = (tmp_path / "samples" / "train-000002" / "playback").glob("*.html")
    labels = [each["label"] for each in safe(file.read_text()).data()["rollouts"]]
    assert labels == ["best of the group (rollout 0)", "worst of the group (rollout 1)"]


@pytest.mark.parametrize("words", HOSTILE)
def test_text_of_others_stays_text(tmp_path: Path, words: str) -> None:
    groups = [with_words(group, words) for group in evaluation(3)]
    events = shown(album(tmp_path), 0, groups)
    assert len(events) == 1 + 3 + 3  # one set: all have one source
    for file in tmp_path.rglob("*.html"):
        safe(file.read_text())
        assert file.parent.name in ("gallery", "playback")
    (page,) = (tmp_path / "gallery").glob("*.html")
    if "<" in words:
        assert words in safe(page.read_text()).words


def test_what_fails_is_said_once_and_costs_its_page_alone(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    def broken() -> Decoders:
        raise RuntimeError("no tokenizer\nhere")

    one = Album(tmp_path, 0, broken)
    for step in (0, 1):
        events = shown(one, step, evaluation(3))
        assert [type(event) for event in events] == [Page] * 3 + [Trace] * 3
        assert TAG not in events[-1].body["tags"]  # pyright: ignore[reportAttributeAccessIssue]
    assert caplog.text.count("no tokenizer") == 1
    (tmp_path / "file").write_text("")
    assert [type(event) for event in shown(album(tmp_path / "file"), 0, evaluation(3))] == [Trace] * 3
    assert caplog.text.count("no gallery of this run") == 1


@pytest.mark.parametrize(
    "content", ["", "[]", "{", '{"step": "x"}', '{"step": 1, "sets": [], "means": {}, "films": {}}', "[" * 9999]
)
def test_answers_that_cannot_be_read_are_left_out(tmp_path: Path, content: str) -> None:
    shown(album(tmp_path), 0, evaluation(3))
    (tmp_path / "samples" / "val-000001").mkdir()
    (tmp_path / "samples" / "val-000001" / "answers.json").write_text(content)
    events = shown(album(tmp_path), 2, evaluation(5))
    assert len(events) == 9 and [each.step for each in answers.load(tmp_path)] == [0, 2]


def test_of_many_evaluations_the_first_the_last_and_some_between_are_shown(tmp_path: Path) -> None:
    groups = [text_group("a", score(1.0))]
    for step in range(0, 400, 10):
        answers.save(tmp_path, answers.answers_of(step, groups, 0, {}))
    found = [each.step for each in answers.load(tmp_path, until=300)]
    assert len(found) == answers.MOST_EVALUATIONS and found[0] == 0 and found[-1] == 300


def test_the_rows_are_the_seeds_choice_whatever_the_order() -> None:
    groups = [text_group(str(number), score(1.0)) for number in range(60)]

    def ids(some: list[Group], seed: int) -> list[str]:
        return [row["id"] for row in answers.answers_of(1, some, seed, {}).sets["sums"]]

    assert ids(groups, 0) == ids(groups[::-1], 0) != ids(groups, 1) and len(ids(groups, 0)) == answers.ROWS


def test_held_out_traces_are_chosen_of_each_task() -> None:
    groups = [text_group(str(number), score(1.0)) for number in range(20)] + evaluation(3)[1:]
    chosen = choose_of_each_task([dataclasses.replace(groups[0], rollouts=()), *groups], 2, 0)
    assert len(chosen) == 4 and chosen[-2:] == [21, 22] and 0 not in chosen
