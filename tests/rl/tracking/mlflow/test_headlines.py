"""What stands on top, and what is left out: no number is lost, and every one that moves has all its points."""

from __future__ import annotations

from rl.tracking.mlflow.headlines import Still, headlines


def test_what_a_person_asks_first_sorts_to_the_top_and_keeps_its_own_name() -> None:
    names = [
        "val/text/score",
        "critic/rewards/mean",
        "rewards/format/mean",
        "actor/ppo_kl",
        "timing_s/step",
        "val/text/n",
    ]
    found = headlines({name: float(index) for index, name in enumerate(names)})
    assert sorted(found) == [
        "1 held out/text", "2 reward/format", "2 reward/mean", "3 health/KL to the old policy", "5 speed/seconds a step",
    ]  # fmt: skip
    assert found["1 held out/text"] == 0.0 and found["2 reward/format"] == 2.0


def test_a_number_that_never_moves_is_left_out_and_one_that_does_has_all_its_points() -> None:
    still = Still()
    for step in (1, 2, 3):
        assert still.moving(step, step * 10, {"failed": 0.0}) == []
    expected = [("failed", 0.0, 10, 1), ("failed", 0.0, 20, 2), ("failed", 0.0, 30, 3), ("failed", 0.5, 40, 4)]
    assert still.moving(4, 40, {"failed": 0.5}) == expected
    assert still.moving(4, 40, {"failed": 0.5}) == expected  # the store was away: the same again
    still.written({"failed": 0.5})
    assert still.moving(5, 50, {"failed": 0.0}) == [("failed", 0.0, 50, 5)]


def test_what_people_ask_for_is_shown_also_where_it_is_0() -> None:
    asked = {
        "val/text/score": 0.0,
        "critic/rewards/mean": 0.0,
        "rewards/format/mean": 0.0,
        "health/sick": 0.0,
        "2 reward/mean": 0.0,
    }
    assert len(Still().moving(1, 1, asked)) == len(asked)
    assert Still(["known"]).moving(1, 1, {"known": 0.0}) == [("known", 0.0, 1, 1)]
