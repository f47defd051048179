"""pass@k and maj@k of groups: what counts as a sample, as right, and as the same answer."""

from __future__ import annotations

from dataclasses import replace

import pytest

from cluster.evaluate.several import SeveralSamples, ks, votes_of
from rl.types import Group, Score, ScoreStatus
from tests.rl.examples import draw_group, failed, score, text_group


def said(name: str, *answers: tuple[str, Score]) -> Group:
    group = text_group(name, *(value for _, value in answers))
    rollouts = tuple(replace(each, text=text) for each, (text, _) in zip(group.rollouts, answers, strict=True))
    return replace(group, prompt=replace(group.prompt, reference="7"), rollouts=rollouts)


def right(value: float, **parts: float) -> Score:
    return score(value, ScoreStatus.OK, correctness=value, **parts)


def test_ks_are_powers_of_two_and_all_samples() -> None:
    assert [ks(n) for n in (1, 2, 3, 4, 6, 8)] == [[1], [1, 2], [1, 2, 3], [1, 2, 4], [1, 2, 4, 6], [1, 2, 4, 8]]


@pytest.mark.parametrize(
    ("texts", "reference", "expected"),
    [
        (["8", "8.0", "9", ""], "7", [1, 1, 2, None]),
        (["The answer is $\\frac{1}{2}$", "0.5", "1/3"], "7", [1, 1, 2]),
        (["\\boxed{8}", "so it is 8", "#### 8"], "7", [1, 1, 1]),
        (["1234123412341234", "1234123412341235", "1234123412341234"], "4321432143214321", [1, 2, 1]),
    ],
)
def test_wrong_answers_that_are_equal_vote_together(texts: list[str], reference: str, expected: list) -> None:
    assert votes_of(texts, [0.0] * len(texts), reference) == expected


def test_right_answers_are_one_however_they_are_written() -> None:
    assert votes_of(["7", "seven", "8"], [1.0, 1.0, 0.0], "7") == [0, 0, 1]


def test_a_task_of_right_and_wrong_has_both() -> None:
    several = SeveralSamples(4)
    several.add(said("a", ("7", right(1.0)), ("8", right(0.0)), ("8", right(0.0)), ("9", right(0.0))))
    several.add(said("b", ("7", right(1.0)), ("7", right(1.0)), ("7", right(1.0)), ("8", right(0.0))))
    found, notes = several.results()
    passed, agreed = found["pass_at_k"]["text"], found["maj_at_k"]["text"]
    assert notes == [] and passed.keys() == agreed.keys() == {"1", "2", "4"}
    assert passed["1"]["value"] == agreed["1"]["value"] == 0.5
    assert passed["2"]["value"] == pytest.approx((0.5 + 1) / 2) and passed["4"]["value"] == 1.0
    assert agreed["4"]["value"] == 0.5  # 8 wins the first, 7 the second
    assert passed["4"]["n"] == 2 and passed["4"]["method"] == "wilson" and passed["2"]["method"] == "bootstrap"


def test_where_scores_are_a_mix_the_reward_correctness_judges() -> None:
    several = SeveralSamples(2)
    several.add(said("a", ("7", score(2.5, correctness=1.0)), ("8", score(0.5, correctness=0.0))))
    several.add(said("b", ("8", score(0.5, correctness=0.0)), ("8", score(0.5, correctness=0.0))))
    found, _ = several.results()
    assert found["pass_at_k"]["text"]["1"]["value"] == 0.25 and found["maj_at_k"]["text"]["2"]["value"] == 0.25


def test_a_failed_score_is_no_sample_and_a_prompt_with_too_few_is_left_out() -> None:
    several = SeveralSamples(2)
    for name in "ab":
        several.add(said(name, ("7", right(1.0)), ("8", right(0.0))))
    several.add(said("c", ("7", right(1.0)), ("8", failed())))
    passed = several.results()[0]["pass_at_k"]["text"]
    assert passed["1"]["n"] == 3 and passed["2"]["n"] == 2
    assert passed["1"]["value"] == pytest.approx((0.5 + 0.5 + 1) / 3)


def test_what_is_neither_right_nor_wrong_has_none_and_says_so() -> None:
    several = SeveralSamples(2)
    several.add(draw_group("d", score(0.31, clip=0.31), score(0.28, clip=0.28)))
    found, notes = several.results()
    assert found == {"pass_at_k": {}, "maj_at_k": {}} and notes[0].startswith("draw: no pass@k")
    assert SeveralSamples(1).results() == ({}, [])
