from __future__ import annotations

import io
import json
import logging
import re
import shlex
from pathlib import Path

import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from mlflow import MlflowClient
from PIL import Image
from rich.console import Console

from rl.config import Config, build_config
from rl.evaluation import summarise
from rl.tracking import report
from rl.tracking.contact_sheet import card, enlarge, sheet, side_by_side
from rl.tracking.intervals import intervals
from rl.tracking.metrics_file import Point, read_metrics
from rl.tracking.samples import Drawing, text_rows
from rl.tracking.trackers import JsonlTracker, MlflowTracker, Trackers, tracked
from tests.rl.examples import draw_group, failed, score, text_group

BEFORE = [
    text_group("a", score(0.0, correctness=0.0, format=1.0)),
    text_group("b", score(1.0, correctness=1.0, format=1.0), source="sudoku4x4"),
    draw_group("c", score(0.0, composition=0.0, clip=0.25)),
]
AFTER = [
    text_group("a", score(1.0, correctness=1.0, format=1.0)),
    text_group("b", score(1.0, correctness=1.0, format=1.0), source="sudoku4x4"),
    draw_group("c", score(1.0, composition=1.0, clip=0.5), colour=(0, 255, 0)),
]


def make_config(tmp_path: Path, **settings) -> Config:
    return build_config([("test", {"output_dir": str(tmp_path), "seed": 3, **settings})])


def make_summary(config: Config) -> dict:
    return report.summarise(
        config, summarise(BEFORE), summarise(AFTER), seconds=12.34, steps=40, weights_digest="ab" * 32
    )


def log_run(tracker) -> None:
    with tracked(tracker):
        tracker.log(0, summarise(BEFORE))
        tracker.samples(0, BEFORE, "val")
        for step in (20, 40):
            tracker.log(step, {"rewards/text/mean": step / 40, "rewards/draw/mean": 0.02, "critic/rewards/mean": 1.0})
        tracker.log(40, summarise(AFTER))
        tracker.samples(40, AFTER, "val")


def test_summary_has_the_stable_surface(tmp_path: Path):
    config = make_config(tmp_path)
    report.write_summary(config.run_dir, make_summary(config))
    summary = json.loads((config.run_dir / "summary.json").read_text())
    assert summary["tasks"] == {"text": {"before": 0.5, "after": 1.0}, "draw": {"before": 0.0, "after": 1.0}}
    assert summary["sources"]["sums"] == {"before": 0.0, "after": 1.0}
    assert summary["parts"]["draw/clip"] == {"before": 0.25, "after": 0.5}
    assert (summary["seconds"], summary["steps"], summary["weights_digest"]) == (12.3, 40, "ab" * 32)
    assert (summary["seed"], summary["schedule"]) == (3, "stratified")
    assert summary["failed"] == {}
    assert report.read_summary(config.run_dir) == summary
    assert [path.name for path in config.run_dir.iterdir()] == ["summary.json"]


def test_summary_counts_failed_scores_and_has_no_number_where_there_was_none(tmp_path: Path):
    after = summarise([text_group("a", failed()), draw_group("c", score(1.0))])
    summary = report.summarise(make_config(tmp_path), {}, after, seconds=1, steps=1, weights_digest="")
    assert summary["tasks"] == {"draw": {"before": None, "after": 1.0}}
    shown = summarise([text_group("a", failed(), score(1.0))])
    assert report.summarise(make_config(tmp_path), shown, {}, seconds=1, steps=1, weights_digest="")["failed"] == {
        "text": 1
    }


def test_the_table_shows_both_draw_curves_and_says_which_is_trained_on(tmp_path: Path):
    stream = io.StringIO()
    Console(file=stream, width=100).print(report.results_table(make_summary(make_config(tmp_path))))
    rows = {line.split("  ")[0].strip("│ "): line for line in stream.getvalue().splitlines() if "│" in line}
    assert rows["draw (composition)"].replace(" ", "") == "│draw(composition)│0.0│100.0│+100.0│"
    assert rows["draw: clip, trained on"].replace(" ", "") == "│draw:clip,trainedon│0.250│0.500│+0.250│"
    assert rows["sums"].replace(" ", "") == "│sums│0.0│100.0│+100.0│"


def test_finish_leaves_every_file_and_a_command_that_opens_the_run(tmp_path: Path):
    config, stream = make_config(tmp_path), io.StringIO()
    log_run(Trackers(JsonlTracker(config.run_dir), MlflowTracker(config.run_dir, name="run")))
    report.finish(Console(file=stream, width=100), config, make_summary(config))
    lines = stream.getvalue().splitlines()
    for name in ("summary.json", "curves.png", "drawings.png"):
        assert str(config.run_dir / name) in lines
    for name in ("curves.png", "drawings.png"):
        with Image.open(config.run_dir / name) as picture:
            picture.load()
    words = shlex.split(lines[-1])
    assert words[1:3] == ["ui", "--backend-store-uri"] and words[0].endswith("mlflow")
    client = MlflowClient(words[3])
    (run,) = client.search_runs([experiment.experiment_id for experiment in client.search_experiments()])
    assert run.data.metrics["val/draw/clip"] == 0.5


def evaluated(tmp_path: Path) -> dict:
    groups = [
        *(text_group(f"t{i}", score(float(i < 7), correctness=float(i < 7))) for i in range(10)),
        *(draw_group(f"d{i}", score(0.1 * i, composition=0.1 * i, clip=0.3)) for i in range(6)),
        text_group("x", failed()),
    ]
    config, metrics, sure = make_config(tmp_path), summarise(groups), intervals(groups)
    return report.summarise(config, metrics, metrics, seconds=1, steps=0, weights_digest="", sure=sure)


def test_one_evaluation_has_one_column_with_n_and_an_interval(tmp_path: Path):
    stream, summary = io.StringIO(), evaluated(tmp_path)
    report.finish(Console(file=stream, width=80), make_config(tmp_path), summary, tmp_path / "rows.jsonl")
    shown = stream.getvalue()
    assert "before" not in shown and "change" not in shown and "+0.0" not in shown
    rows = {line.split("│")[1].strip(): line.replace(" ", "") for line in shown.splitlines() if line.startswith("│")}
    assert rows["text (correctness)"] == "│text(correctness)│70.0│10│39.7to89.2│"
    assert rows["draw (composition)"] == "│draw(composition)│25.0│6│10.0to40.0│"
    assert rows["draw: clip"] == "│draw:clip│0.300│6│0.300to0.300│"
    assert "Wilson's, for scores of 0 and 1" in shown and "normal" in shown
    assert str(tmp_path / "rows.jsonl") in shown.splitlines()
    assert "text: 1 held-out scores failed" in shown
    written = json.loads((make_config(tmp_path).run_dir / "summary.json").read_text())
    assert written["intervals"]["val/text/score"] == {
        "n": 10, "low": pytest.approx(0.3967781), "high": pytest.approx(0.8922087), "method": "wilson",
    }  # fmt: skip


def test_what_came_of_a_run_is_in_its_log_as_well(tmp_path: Path, caplog: pytest.LogCaptureFixture):
    config, stream = make_config(tmp_path), io.StringIO()
    with caplog.at_level(logging.INFO, logger="rl"):
        report.finish(Console(file=stream, width=120), config, make_summary(config))
    logged = "\n".join(record.getMessage() for record in caplog.records)
    words = re.findall(r"[^\s\u2500-\u257f]+", stream.getvalue())  # the log's tables have no boxes
    assert len(words) > 20 and set(words) <= set(logged.split())


def test_a_server_is_named_instead_of_a_command(tmp_path: Path):
    assert report.mlflow_command(tmp_path, "https://mlflow.example.org") == "MLflow: https://mlflow.example.org"
    assert report.mlflow_command(tmp_path, "http://me:secret@a:1") == "MLflow: http://***@a:1"
    assert report.mlflow_command(tmp_path, "databricks") == "MLflow: databricks"
    assert "--backend-store-uri sqlite+pysqlite:///x.db" in report.mlflow_command(tmp_path, "sqlite+pysqlite:///x.db")


def test_the_montage_shows_the_same_captions_before_and_after(tmp_path: Path):
    config = make_config(tmp_path)
    log_run(JsonlTracker(config.run_dir))
    path = report.montage(config.run_dir)
    assert path is not None
    with Image.open(path) as picture:
        pixels = np.asarray(picture)
    middle = pixels.shape[1] // 2
    red, green = np.array([255, 0, 0]), np.array([0, 255, 0])
    assert (pixels[:, :middle] == red).all(-1).any() and not (pixels[:, middle:] == red).all(-1).any()
    assert (pixels[:, middle:] == green).all(-1).any() and not (pixels[:, :middle] == green).all(-1).any()


def test_a_run_without_drawings_or_numbers_has_no_pictures_of_them(tmp_path: Path):
    JsonlTracker(tmp_path).samples(0, BEFORE[:2], "val")
    assert report.montage(tmp_path) is None
    assert report.plot_curves(read_metrics(tmp_path), tmp_path / "curves.png") is None


def test_curves_have_a_column_a_task(tmp_path: Path):
    log_run(JsonlTracker(tmp_path))
    points = read_metrics(tmp_path)
    both = report.plot_curves(points, tmp_path / "both.png")
    only_text = [Point(p.step, p.time, {k: v for k, v in p.metrics.items() if "draw" not in k}) for p in points]
    one = report.plot_curves(only_text, tmp_path / "one.png")
    assert both and one
    with Image.open(both) as wide, Image.open(one) as narrow:
        assert wide.width == 2 * narrow.width


def held_out(**parts: tuple[float, float]) -> list[tuple[str, list[str], tuple[float, float]]]:
    """Axes of a picture of scores 0.2 and 0.6 beside other rewards: label, names of its curves, and what it spans."""
    points = [
        Point(
            step,
            0.0,
            {"val/draw/score": 0.2 + 0.4 * step, **{f"val/draw/{name}": two[step] for name, two in parts.items()}},
        )
        for step in (0, 1)
    ]
    figure = Figure()
    report._plot_held_out(
        figure.subplots(), points, "draw", sorted({name for point in points for name in point.metrics})
    )
    FigureCanvasAgg(figure).draw()
    return [(a.get_ylabel(), [str(line.get_label()) for line in a.get_lines()], a.get_ylim()) for a in figure.axes]


@pytest.mark.parametrize(
    ("parts", "own"),
    [
        ({"partial": (0.3, 0.8)}, []),
        ({"partial": (0.3, 0.8), "clip": (24.0, 27.0)}, ["clip"]),
        ({"clip": (24.0, 27.0)}, ["clip"]),
        ({"format": (0.0, 1.0), "tags": (1.0, 1.0), "partial": (0.5, 0.5)}, []),
        ({"clip": (24.0, 27.0), "imagereward": (-0.4, 0.7)}, ["clip", "imagereward"]),
        (
            {"clip": (24.0, 27.0), "partial": (0.1, 0.2), "aesthetic": (5.1, 5.6), "ocr": (0.0, 0.5)},
            ["aesthetic", "clip"],
        ),
        ({"repetition": (-0.5, 0.0), "partial": (0.3, 0.4)}, ["repetition"]),
        ({"length": (-300.0, -2.0), "sudoku_cells": (0.9, 1.0)}, ["length"]),
        ({"custom": (1.0, 1.5)}, ["custom"]),
    ],
)
def test_rewards_share_an_axis_where_they_share_a_unit(parts: dict[str, tuple[float, float]], own: list[str]):
    (label, lines, span), *beside = held_out(**parts)
    assert label == "score" and set(lines) == {"score", *parts} - set(own)
    assert span[1] < 1.2 and [names for _, names, _ in beside] == [[name] for name in own]
    for (label, (name,), span), place in zip(beside, own, strict=True):
        low, high = sorted(parts[place])
        assert label.startswith(f"{name}, ") and high - low > 0.8 * (span[1] - span[0]), "not pressed flat"


def test_a_score_of_another_unit_shares_no_axis():
    points = [Point(step, 0.0, {"val/text/score": 2.5 * step, "val/text/format": 0.5 * step}) for step in (0, 1)]
    figure = Figure()
    report._plot_held_out(figure.subplots(), points, "text", ["val/text/format", "val/text/score"])
    assert [[line.get_label() for line in axes.get_lines()] for axes in figure.axes] == [["score"], ["format"]]


def test_enlarging_keeps_every_pixel_sharp():
    pixels = np.random.default_rng(0).integers(0, 256, (8, 8, 3), dtype=np.uint8)
    enlarged = np.asarray(enlarge(pixels, 60))
    assert enlarged.shape == (64, 64, 3)
    assert np.array_equal(enlarged[::8, ::8], pixels) and np.array_equal(enlarged[7::8, 7::8], pixels)


def test_cards_of_any_size_and_shape_fit_one_grid():
    shapes = [(8, 8), (200, 300), (512, 512), (64, 32)]
    drawn = [
        Drawing(str(i), "a very long caption " * 20, np.zeros((*shape, 3), np.uint8)) for i, shape in enumerate(shapes)
    ]
    assert {card(drawing).size for drawing in drawn} == {card(drawn[0]).size}
    assert sheet(drawn, columns=2).height > sheet(drawn, columns=4).height
    with pytest.raises(ValueError, match="no drawings"):
        side_by_side([("before", [])])


def test_sources_take_turns_in_the_table_of_texts():
    groups = [text_group(str(i), score(1.0)) for i in range(40)] + [text_group("x", score(1.0), source="sudoku4x4")]
    rows = text_rows(groups, limit=4)
    assert [row["source"] for row in rows] == ["sums", "sudoku4x4", "sums", "sums"]
