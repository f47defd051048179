"""MLflow's page in a browser: a run that finished, and one that was killed and went on. The tests read the page, not the store.

``UNIGRPO_PAGES=FOLDER`` takes the runs ``finished`` and ``resumed`` of an ``output_dir`` in place of new ones, and
``UNIGRPO_PICTURES=FOLDER`` keeps a picture of each page.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from benchmarks.faults.mlflow_server import free_port
from rl.tracking.mlflow_tracker import RUN_FILE

sync_api = pytest.importorskip("playwright.sync_api", reason="pip install playwright; apt-get install chromium")
CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
ROOT = Path(__file__).parents[4]
STEPS, RUN_S, PAGE_MS = 4, 900, 180_000
SMALL = (
    "cluster.mode=inline", "rollout.threads=1", "learner.threads=1", f"steps={STEPS}", "test_freq=2", "save_freq=2",
    "tracking.samples_freq=2", "tracking.traces_freq=1", "tracking.machine_s=1", "rollout.batch_size=4",
    "rollout.n_samples_by_task={understand: 8, draw: 8}",
    "data.val=[{source: sudoku4x4, split: val, limit: 4}, {source: easy_vqa, split: val, limit: 4}]",
)  # fmt: skip

pytestmark = [pytest.mark.long, pytest.mark.skipif(CHROMIUM is None, reason="apt-get install chromium")]


@dataclass(frozen=True, slots=True)
class Pages:
    """The browser's page, and where a run's pages are."""

    page: Any
    address: str
    folder: Path

    def open(self, run: str, tab: str = "", query: str = "") -> str:
        """Everything that can be read there, once it was drawn."""
        known = json.loads((self.folder / run / RUN_FILE).read_text("utf-8"))
        place = f"experiments/{known['experiment_id']}/runs/{known['run_id']}{tab}"
        self.page.goto("about:blank")
        self.page.goto(f"{self.address}/#/{place}?workflowType=machine_learning{query}")
        self.page.get_by_text("Model metrics", exact=True).first.wait_for()
        self._close_assistant()
        return self.text()

    def _close_assistant(self) -> None:
        """A panel of MLflow's own, which opens a moment after the first page."""
        try:
            self.page.get_by_text("Ask a question").first.wait_for(timeout=2000)
        except sync_api.TimeoutError:
            return
        self.page.get_by_role("button", name="Close").first.click()

    def wait(self, *words: str) -> str:
        for each in words:
            self.page.get_by_text(each).first.wait_for()
        return self.text()

    def text(self) -> str:
        return self.page.inner_text("body")

    def keep(self, name: str) -> None:
        if folder := os.environ.get("UNIGRPO_PICTURES"):
            self.page.wait_for_timeout(2000)
            self.page.screenshot(path=str(Path(folder, f"{name}.png")))


def train(folder: Path, name: str) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "cluster.cli", "train", "--recipe", "tiny", *SMALL]
    with (folder / f"{name}.out").open("ab") as out:
        return subprocess.Popen([*command, f"output_dir={folder}", f"name={name}"], cwd=ROOT, stdout=out, stderr=out)


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    if folder := os.environ.get("UNIGRPO_PAGES"):
        return Path(folder)
    made = tmp_path_factory.mktemp("runs")
    assert train(made, "finished").wait(RUN_S) == 0
    first, deadline = train(made, "resumed"), time.monotonic() + RUN_S
    metrics = made / "resumed" / "metrics.jsonl"
    while not (metrics.is_file() and '"step": 3' in metrics.read_text()):
        assert first.poll() is None and time.monotonic() < deadline
        time.sleep(0.1)
    first.kill()
    first.wait(60)
    assert train(made, "resumed").wait(RUN_S) == 0
    return made


@pytest.fixture(scope="module")
def pages(runs: Path) -> Iterator[Pages]:
    port = free_port()
    command = [sys.executable, "-m", "rl.tracking.mlflow.server", str(runs / "finished"), "--port", str(port)]
    server = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)
    try:
        assert server.stdout is not None
        while "Ctrl-C" not in (line := server.stdout.readline()):
            assert line
        with sync_api.sync_playwright() as driver:
            browser = driver.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu"])
            page = browser.new_page(viewport={"width": 1250, "height": 800})
            page.set_default_timeout(PAGE_MS)
            yield Pages(page, f"http://127.0.0.1:{port}", runs)
            browser.close()
    finally:
        server.send_signal(signal.SIGTERM)
        server.wait(60)


def test_the_runs_page_says_what_trains_and_on_which_code(pages: Pages) -> None:
    pages.open("finished")
    said = pages.wait("Description", "Post-trains", "Tags", "versions")
    assert re.search(r"Post-trains tiny, \d+ steps, seed 0\.", said) and "unigrpo train --recipe tiny" in said
    assert "sudoku4x4 (held out)" in said and "Finished" in said
    assert re.search(r"recipe[:\s]+tiny", said) and "torch" in said
    metrics = said[said.index("Model metrics (") :]
    assert metrics.index("1 held out/") < metrics.index("actor/")
    pages.keep("overview")


def test_held_out_scores_and_rewards_are_drawn_first(pages: Pages) -> None:
    pages.open("finished", "/model-metrics")
    said = pages.wait("1 held out", "2 reward", "3 health")
    order = [said.index(group) for group in ("1 held out", "2 reward", "3 health", "4 policy", "5 speed", "actor")]
    assert order == sorted(order)
    lines = pages.page.locator(".js-plotly-plot .scatterlayer path.js-line")
    lines.first.wait_for(state="attached")
    assert all(re.search(r"\d.*L.*\d", lines.nth(index).get_attribute("d") or "") for index in range(2))
    pages.keep("metrics")


def test_what_the_node_did_is_drawn(pages: Pages) -> None:
    pages.open("finished", "/system-metrics")
    said = pages.wait("cpu_utilization_pe", "system_memory_u")
    assert re.search(r"system/\S+ ?\s*\(6\)", said)
    pages.keep("system")


def test_traces_are_listed_filtered_by_a_reward_and_one_is_opened(pages: Pages) -> None:
    pages.open("finished", "/traces")
    said = pages.wait("Request", " of ", "[best of")
    every = _count(said)
    pages.open("finished", "/traces", "&filter=" + quote("ASSESSMENT::=::0::correctness", safe=""))
    said = pages.wait("Filters (1)", "[best of")
    failed = _count(said)
    assert 0 < failed < every
    pages.keep("traces")
    pages.page.get_by_text(re.compile(r"^(sudoku \d|what |is |are |does )")).first.click()
    said = pages.wait("rollout 0", "advantages", "Inputs / Outputs")
    opened = said[said.rindex("Spans") :]
    assert [f"rollout {index}" in opened for index in range(8)] == [True] * 8
    for words in ("sampling", "rewards", "correctness", "format", "prompt", "scores", "best"):
        assert words in opened
    pages.keep("trace")


def test_a_run_that_was_killed_and_went_on_is_one_run_with_one_point_a_step(pages: Pages) -> None:
    pages.open("resumed")
    said = pages.wait("Post-trains", "resumed from")
    assert re.search(r"resumed from[:\s]+global_step_2, ", said) and "Finished" in said
    pages.open("resumed", "/model-metrics")
    pages.wait("1 held out", "2 reward")
    lines = pages.page.locator(".js-plotly-plot .scatterlayer path.js-line")
    lines.first.wait_for(state="attached")
    points = [len(re.findall("[ML]", lines.nth(index).get_attribute("d") or "")) for index in range(lines.count())]
    steps = json.loads((pages.folder / "resumed" / "summary.json").read_text())["steps"]
    assert points and max(points) <= steps + 1


def _count(said: str) -> int:
    found = re.search(r"(\d+) of \d+", said)
    assert found is not None, said
    return int(found[1])
