"""The report: what it shows of real files, of several seeds, and of folders that are no run or somebody else's."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from rl.config import load_config, to_yaml
from rl.errors import ConfigError
from rl.health import RULES
from rl.tracking.pages.report.charts import HEIGHT, WIDTH, Series, chart
from rl.tracking.pages.report.curves import series_of, smoothed
from rl.tracking.pages.report.folder import families, read_run
from rl.tracking.pages.report.health import strips
from rl.tracking.pages.report.page import report, write_report
from rl.tracking.pages.report.seconds import OUTSIDE, REST, bar, duration, faults, overlaps, seconds, warnings
from rl.tracking.pages.report.settings import compared, differences
from rl.tracking.samples import save_samples
from tests.rl.examples import draw_group, score, text_group
from tests.rl.tracking.pages.reader import safe

HOSTILE = "</td><script>alert(1)</script><img src=//evil onerror=alert(1)>__BODY__\x1b]0;t\x07\u202e"


def a_run(
    folder: Path, name: str, *overrides: str, gain: float = 0.1, steps: int = 4, more: dict[str, float] | None = None
) -> Path:
    """The folder of a run as ``unigrpo train`` leaves it."""
    run = folder / name
    run.mkdir(parents=True)
    config = load_config("tiny", [f"output_dir={folder}", f"name={name}", f"steps={steps}", *overrides])
    (run / "config.yaml").write_text(to_yaml(config))
    (run / "recipe").write_text("tiny\n")
    (run / "command").write_text("train\n")
    lines: list[dict[str, Any]] = [{"step": 0, "time": 100.0, "val/text/score": 0.25, "val/text/score_ci95": 0.3}]
    for step in range(1, steps + 1):
        timing = {"timing_s/step": 10.0, "timing_s/gen": 6.0, "timing_s/learner": 3.0, "perf/exposed_reward_s": 0.5}
        lines.append(
            {"step": step, "time": 100.0 + 12 * step, "critic/rewards/mean": step * gain, **timing, **(more or {})}
        )
    lines.append({"step": steps, "time": 110.0 + 12 * steps, "val/text/score": 0.25 + gain, "val/text/score_ci95": 0.3})
    (run / "metrics.jsonl").write_text("".join(json.dumps(each) + "\n" for each in lines))
    for step, value in ((0, 0.0), (steps, 1.0)):
        groups = [text_group("a", score(value), text=f"said at {step}"), draw_group("d", score(value))]
        save_samples(run / "samples" / f"val-{step:06d}", groups)
    return run


def test_a_page_has_each_part_and_needs_nothing_from_anywhere(tmp_path: Path) -> None:
    run = a_run(tmp_path, "one", "learner.lr=0.5")
    (run / "summary.json").write_text("{}")
    seen = safe(write_report([run], tmp_path / "out.html").read_text())
    titles = [
        "Held-out scores", "Rewards of training", "Samples before and after", "Where the seconds went", "Faults survived",
        "Config against the recipe",
    ]  # fmt: skip
    assert all(title in seen.words for title in titles) and seen.count("script") == 0 and seen.count("polyline") >= 3
    assert all(words in seen.words for words in ("said at 0", "said at 4", "before training", "4 of 4", "finished"))
    assert "learner.lr" in seen.words and "0.5" in seen.words and seen.count("img") == 2


def test_runs_that_differ_in_seed_alone_are_one_curve_with_their_spread(tmp_path: Path) -> None:
    paths = [a_run(tmp_path, f"s{seed}", f"seed={seed}", gain=gain) for seed, gain in enumerate((0.1, 0.2, 0.6))]
    paths.append(a_run(tmp_path, "other", "learner.lr=0.5"))
    together, alone = families([read_run(path) for path in paths])
    (curve,) = series_of(together, "critic/rewards/mean")
    assert curve.steps == [1, 2, 3, 4] and np.allclose(curve.values, [0.3, 0.6, 0.9, 1.2])
    assert np.allclose(curve.low, [0.1, 0.2, 0.3, 0.4]) and np.allclose(curve.high, [0.6, 1.2, 1.8, 2.4])
    assert "seeds 0, 1, 2" in together.label and alone.label == "other"
    (held_out,) = series_of(alone, "val/text/score")
    assert np.allclose(held_out.low, [0.0, 0.05]) and np.allclose(held_out.high, [0.55, 0.65])  # one run: its interval
    assert safe(report([read_run(path) for path in paths])).count("polygon") >= 4


def test_a_seed_that_ended_early_counts_where_it_has_a_number(tmp_path: Path) -> None:
    paths = [a_run(tmp_path, "a", "seed=0", gain=0.2), a_run(tmp_path, "b", "seed=1", gain=0.4)]
    lines = (paths[1] / "metrics.jsonl").read_text().splitlines()
    (paths[1] / "metrics.jsonl").write_text("\n".join(lines[:3]) + "\n" + '{"step": 3, "torn')
    (family,) = families([read_run(path) for path in paths])
    (curve,) = series_of(family, "critic/rewards/mean")
    assert curve.steps == [1, 2, 3, 4] and np.allclose(curve.values, [0.3, 0.6, 0.6, 0.8])


def test_long_curves_are_smoothed_beside_what_was_logged(tmp_path: Path) -> None:
    (family,) = families([read_run(a_run(tmp_path, "long", steps=40))])
    raw, smooth = series_of(family, "critic/rewards/mean", smooth=True)
    assert raw.faint and not smooth.faint and np.allclose(smooth.values[-1], np.mean(raw.values[-9:]))
    assert smoothed([1.0, 3.0]) == [1.0, 2.0]


@pytest.mark.parametrize(
    "values",
    [[1.0], [0.0, 0.0], [5.0, 5.0], [-3.0, 4.0], [1e-12, 3e-12], [1e12, 2e12], [0.1 + 0.2, 0.3], [1e-320, 0.0]],
)
def test_a_curve_stays_within_its_axes(values: list[float]) -> None:
    drawn = chart("x", [Series("a", 0, range(len(values)), values, values, values)])
    places = re.findall(r"(-?[\d.]+),(-?[\d.]+)", " ".join(re.findall(r'points="([^"]+)"', drawn)))
    assert places and all(0 <= float(x) <= WIDTH and 0 <= float(y) <= HEIGHT for x, y in places)
    ticks = re.findall(r'text-anchor="end">([^<]+)<', drawn)
    assert 2 <= len(ticks) <= 8 and len(set(ticks)) == len(ticks)


def test_health_is_what_the_rules_say_of_the_runs_numbers(tmp_path: Path) -> None:
    run = read_run(a_run(tmp_path, "sick", steps=12, more={"actor/kl_loss": 50.0, "frac_reward_zero_std": 0.1}))
    found = {strip.rule: strip for strip in strips(run)}
    sick, well = found["kl"], found["dead_groups"]
    assert sick.ever_sick and not well.ever_sick and next(iter(found)) == "kl" and sick.states[-1][:2] == (12, True)
    words = safe(report([run])).words
    assert RULES["kl"].means in words and RULES["kl"].do in words and "sick at the end" in words


def test_seconds_are_told_apart_and_add_up(tmp_path: Path) -> None:
    run = read_run(a_run(tmp_path, "timed"))
    found = seconds(run)
    assert found == {"sampling": 24.0, "waiting for rewards": 2.0, "learning": 12.0, REST: 2.0, OUTSIDE: 18.0}
    assert sum(found.values()) == run.points[-1].time - run.points[0].time and not overlaps(run)
    assert overlaps(read_run(a_run(tmp_path, "ahead", more={"timing_s/gen": 9.0})))
    evaluated = a_run(tmp_path, "eval")
    (evaluated / "metrics.jsonl").write_text('{"step": 0, "time": 1.0, "val/text/score": 0.5}\n')
    assert "No step was logged" in bar(read_run(evaluated))
    assert [duration(each) for each in (0.04, 59.6, 3599.7, 7500)] == [
        "0.0 s",
        "1 min 00 s",
        "1 h 00 min",
        "2 h 05 min",
    ]


def test_what_a_run_survived_is_counted(tmp_path: Path) -> None:
    path = a_run(tmp_path, "hit")
    lines = [json.loads(line) for line in (path / "metrics.jsonl").read_text().splitlines()]
    for line, count in zip(lines[1:5], (0, 2, 1, 1), strict=True):  # resumed after step 2: it counts from 0 again
        line |= {"perf/worker_restarts": count, "score_status/timeout": 0.25 * (count == 2)}
    (path / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    stamp = "2026-11-28 10:30:45,731"
    log = [f"{stamp} INFO cluster.run.folder: unigrpo train: /a"] * 2
    log += [f"{stamp} WARNING rl.loop: worker {number} was lost" for number in range(3)]
    log += [f"{stamp} WARNING rl.loop: lost; a new learner goes on from step 2 (it was at 3)", "    WARNING rl: set in"]
    (path / "log").write_text("\n".join(log))
    run = read_run(path)
    told = dict(faults(run))
    assert told["the run was resumed"] == "once" and told["a worker was lost and restarted"] == "3 times"
    assert told["the learner was lost; a new one went on from a checkpoint"] == "once"
    assert told["scores that failed: timeout"] == "6.2% of training's, at 1 steps"
    assert warnings(run)[0] == ("worker 0 was lost", 3) and len(warnings(run)) == 2
    assert faults(read_run(a_run(tmp_path, "calm"))) == []


def test_a_config_is_compared_with_its_recipe_or_with_the_defaults(tmp_path: Path) -> None:
    run = read_run(a_run(tmp_path, "mine", "learner.lr=0.5", "rewards.mix.text={format: 1}"))
    words, recipe = compared(run, load_config)
    found = {name: (was, now) for name, was, now in differences(run.settings, recipe)}
    assert words == "the recipe tiny" and found["learner.lr"] == (1.5e-4, 0.5) and found["steps"] == (240, 4)
    assert found["rewards.mix.text.correctness"] == (2.0, None) and "name" not in found and "output_dir" not in found
    (run.path / "recipe").write_text("gone.yaml")
    assert compared(read_run(run.path), load_config)[0].startswith("the defaults (its recipe cannot be read")
    (run.path / "recipe").unlink()
    assert compared(read_run(run.path), load_config)[0].startswith("the defaults")


def test_a_recipe_that_is_taken_as_it_is_differs_in_nothing(tmp_path: Path) -> None:
    config = load_config("tiny", [])
    run = read_run(a_run(tmp_path, "tiny", f"steps={config.steps}"))
    assert differences(run.settings, compared(run, load_config)[1]) == []


def broken(folder: Path, file: str, content: bytes) -> Path:
    run = a_run(folder, "broken")
    (run / file).write_bytes(content)
    return run


@pytest.mark.parametrize(
    ("file", "content", "told"),
    [
        ("config.yaml", b"- a list", "holds no settings of a run"),
        ("config.yaml", b"\xff\xfe", "cannot be read"),
        ("config.yaml", b"a: [", "cannot be read"),
        ("config.yaml", b"!!python/object/apply:os.system ['touch /tmp/x']", "cannot be read"),
        ("config.yaml", b"1: 2", "holds no settings of a run"),
        ("metrics.jsonl", b"", "has logged no number yet"),
        ("metrics.jsonl", b"\x00\xff\n[]\nnull\n{}", "has logged no number yet"),
    ],
)
def test_what_is_no_run_is_one_line(tmp_path: Path, file: str, content: bytes, told: str) -> None:
    with pytest.raises(ConfigError, match=re.escape(told)) as error:
        read_run(broken(tmp_path, file, content))
    assert "\n" not in str(error.value) and str(tmp_path / "broken") in str(error.value)


@pytest.mark.parametrize("name", ["nothing", "file", "empty"])
def test_a_folder_that_is_none_is_one_line(tmp_path: Path, name: str) -> None:
    (tmp_path / "file").write_text("")
    (tmp_path / "empty").mkdir()
    with pytest.raises(ConfigError, match="give a run's folder, e.g. runs/tiny"):
        read_run(tmp_path / name)


@pytest.mark.parametrize(
    "line",
    [
        '{"step": 2, "time": "then", "a": "b", "c": [1], "d": null, "e": true, "f": ' + "9" * 400 + "}",
        '{"step": 1' + "0" * 400 + "}",
        "[" * 100_000,
        '{"step": 2, "a": NaN, "b": Infinity}',
    ],
)
def test_numbers_that_are_none_are_passed_over(tmp_path: Path, line: str) -> None:
    run = a_run(tmp_path, "odd")
    with (run / "metrics.jsonl").open("a") as file:
        file.write(line + "\n")
    safe(report([read_run(run)]))


def test_a_run_of_somebody_else_says_what_it_likes_and_does_nothing(tmp_path: Path) -> None:
    run = a_run(tmp_path, "x").rename(tmp_path / HOSTILE.replace("/", "_"))
    (tmp_path / "secret.png").write_bytes((run / "samples/val-000000/00.png").read_bytes())
    (run / "recipe").write_text(HOSTILE)
    (run / "command").write_text(HOSTILE)
    (run / "log").write_text(f"2026-11-28 10:30:45,731 WARNING x: {HOSTILE}\n")
    with (run / "config.yaml").open("a") as file:
        file.write(f"{json.dumps(HOSTILE)}: {json.dumps(HOSTILE)}\n")
    with (run / "metrics.jsonl").open("a") as file:
        file.write(json.dumps({"step": 4, f"val/{HOSTILE}/score": 1.0, f"rewards/{HOSTILE[:5]}/mean": 1.0}) + "\n")
    texts = {"prompt_id": HOSTILE, "prompt": HOSTILE, "response": HOSTILE, "reference": [HOSTILE], "score": HOSTILE}
    drawn = {"prompt_id": HOSTILE, "caption": HOSTILE, "score": 1, "file": "../../../secret.png"}
    for step in (0, 4):
        (run / f"samples/val-{step:06d}/texts.jsonl").write_text(json.dumps(texts) + "\nnull\n{\n")
        (run / f"samples/val-{step:06d}/drawings.jsonl").write_text(json.dumps(drawn) + "\n")
        asked = {"id": HOSTILE, "asked": "http://evil/x.png"}
        content = {"step": step, "sets": {HOSTILE: [asked, 3]}, "means": {}, "films": {}}
        (run / f"samples/val-{step:06d}/answers.json").write_text(json.dumps(content))
    seen = safe(report([read_run(run)]))
    assert "alert(1)" in seen.words and seen.count("img") == 0 and seen.count("script") == 0
