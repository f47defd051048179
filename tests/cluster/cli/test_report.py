"""``unigrpo report``: where the page goes, what is refused in one line, and the link in MLflow."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from mlflow import MlflowClient
from typer.testing import CliRunner

from cluster.cli import report as command
from cluster.cli.app import app
from rl.config import load_config, to_yaml
from rl.tracking.mlflow.link import link
from rl.tracking.mlflow_tracker import RUN_FILE, MlflowTracker


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An ``output_dir`` with two runs in one store."""
    folder = tmp_path_factory.mktemp("runs")
    MlflowClient(f"sqlite:///{folder}/mlflow.db")
    for seed, name in enumerate(("a", "b")):
        run = folder / name
        run.mkdir()
        config = load_config("tiny", [f"output_dir={folder}", f"name={name}", f"seed={seed}", "steps=2"])
        (run / "config.yaml").write_text(to_yaml(config))
        (run / "metrics.jsonl").write_text(json.dumps({"step": 1, "time": 1.0, "critic/rewards/mean": 1.0}) + "\n")
        one = MlflowTracker(run, name=name)
        one.log(1, {"critic/rewards/mean": 1.0})
        one.close("FINISHED")
    return folder


def told(*words: object) -> tuple[int, str]:
    result = CliRunner().invoke(app, ["report", *map(str, words)])
    return result.exit_code, result.output


def tags_of(folder: Path, name: str) -> tuple[dict[str, str], list[str]]:
    client = MlflowClient(f"sqlite:///{folder}/mlflow.db")
    run = client.get_run(json.loads((folder / name / RUN_FILE).read_text())["run_id"])
    return run.data.tags, [each.path for each in client.list_artifacts(run.info.run_id)]


def test_a_report_lies_in_its_run_and_is_linked_in_mlflow(runs: Path) -> None:
    code, output = told(runs / "a")
    assert code == 0 and output.strip() == str(runs / "a" / "report.html")
    tags, files = tags_of(runs, "a")
    assert tags["report"] == "report.html" in files and "report" not in tags_of(runs, "b")[0]


def test_a_report_of_several_runs_lies_above_them_and_is_linked_in_each(runs: Path) -> None:
    code, output = told(runs / "a", runs / "b", runs / "a")
    assert code == 0 and output.strip() == str(runs / "comparison.html")
    assert "seeds 0, 1" in (runs / "comparison.html").read_text()
    for name in ("a", "b"):
        tags, files = tags_of(runs, name)
        assert tags["comparison"] == "comparison.html" in files


def test_it_works_offline_on_a_folder_alone_and_goes_where_it_is_told(runs: Path, tmp_path: Path) -> None:
    shutil.copytree(runs / "b", tmp_path / "b")  # without its store
    code, output = told(tmp_path / "b", "--out", tmp_path / "x.html", "--no-mlflow")
    assert code == 0 and output.strip() == str(tmp_path / "x.html")
    code, output = told(tmp_path / "b")
    assert code == 0 and (tmp_path / "b" / "report.html").is_file()
    assert "no such store; the page is whole without it" in " ".join(output.split())
    assert not (tmp_path / "mlflow.db").exists()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["{}/none"], "no such folder; give a run's folder"),
        (["{}"], "no run: there is no config.yaml in it"),
        (["{}/a", "--out", "{}/x.pdf"], "allowed: a name that ends in .html"),
        (["{}/a", "--out", "{}/no/such/x.html"], "cannot be written: no such folder"),
        (["{}/a", "--out", "{}/a/command.html/x.html"], "cannot be written: no such folder"),
        (["{}/a"] * 65, "65 runs: allowed: 1 to 64"),
    ],
)
def test_what_cannot_be_reported_is_one_line(runs: Path, words: list[str], message: str) -> None:
    code, output = told(*(word.format(runs) for word in words))
    assert (
        code == 2 and message in " ".join(output.split()) and output.startswith("error: ") and output.count("\n") == 1
    )


def test_a_folder_of_somebody_else_sends_nothing_to_the_store_that_it_names(
    runs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(runs / "b", tmp_path / "b")
    settings = "tracking: {uri: 'postgresql://me@127.0.0.1:9/x', password_env: A_SECRET}\n"
    (tmp_path / "b" / "config.yaml").write_text(settings)
    monkeypatch.setenv("A_SECRET", "hunter2hunter2")
    monkeypatch.setattr("rl.tracking.mlflow.link._write", lambda *_: pytest.fail("it asked the store"))
    assert link(tmp_path / "b", tmp_path / "page.html", "report") == ""


def test_a_store_beside_a_run_gets_no_page_into_another_folder(runs: Path, tmp_path: Path) -> None:
    import sqlite3

    shutil.copytree(runs, tmp_path / "runs")
    with sqlite3.connect(tmp_path / "runs" / "mlflow.db") as store:
        store.execute("UPDATE runs SET artifact_uri = ?", ((tmp_path / "elsewhere").as_uri(),))
    page = tmp_path / "page.html"
    page.write_text("<p>")
    assert "not beside the store" in link(tmp_path / "runs" / "b", page, "report")
    assert not (tmp_path / "elsewhere").exists()


def test_a_run_ends_well_whatever_its_report_does(runs: Path, caplog: pytest.LogCaptureFixture) -> None:
    config = load_config("tiny", [f"output_dir={runs}", "name=b"])
    assert command.closing_report(config) == [runs / "b" / "report.html"]
    gone = load_config("tiny", [f"output_dir={runs}", "name=gone"])
    assert command.closing_report(gone) == [] and "no report of this run" in caplog.text
