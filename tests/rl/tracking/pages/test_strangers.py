"""The folder of a run that is somebody else's: pipes, devices, links to what is yours, and settings without end."""

from __future__ import annotations

import dataclasses
import json
import logging
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from cluster.run.status import read_status
from rl.checkpoints.files import read_inside
from rl.config import load_config
from rl.errors import ConfigError, UniGRPOError
from rl.tracking.mlflow.link import link
from rl.tracking.mlflow.server import where
from rl.tracking.pages import answers
from rl.tracking.pages.gallery import gallery
from rl.tracking.pages.report.folder import read_run
from rl.tracking.pages.report.page import report
from rl.tracking.pages.report.samples import samples
from rl.tracking.pages.report.settings import compared
from tests.rl.tracking.pages.reader import safe
from tests.rl.tracking.pages.test_report import a_run
from tests.wide import wide

CANARY = "canary-4711"
FILES = (
    "config.yaml", "metrics.jsonl", "log", "command", "recipe", "summary.json", "samples/val-000000/texts.jsonl",
    "samples/val-000004/drawings.jsonl", "samples/val-000004/answers.json", "samples/val-000004/00.png", "status.json",
    "mlflow_run.json",
)  # fmt: skip
YOURS = {  # what a link would show
    "config.yaml": f"name: {CANARY}\n",
    "metrics.jsonl": json.dumps({"step": 9, "time": 1.0, f"val/{CANARY}/score": 1.0}),
    "log": f"2026-11-28 10:30:45,731 WARNING x: {CANARY}\n",
    "summary.json": json.dumps({"tasks": {CANARY: {"before": 1, "after": 1}}}),
    "samples/val-000000/texts.jsonl": json.dumps({"prompt_id": "a", "prompt": CANARY, "response": CANARY, "score": 1}),
    "samples/val-000004/drawings.jsonl": json.dumps(
        {"prompt_id": "a", "caption": CANARY, "score": 1, "file": "00.png"}
    ),
}
MAKES: dict[str, Callable[[Path], object]] = {
    "a pipe": os.mkfifo,
    "a device": lambda path: path.symlink_to("/dev/zero"),
    "a folder": Path.mkdir,
    "a circle": lambda path: path.symlink_to(path.name),
    "nothing": lambda path: path.symlink_to("gone"),
}


def replaced(run: Path, name: str, make: Callable[[Path], object]) -> None:
    (run / name).unlink(missing_ok=True)
    make(run / name)


def all_of(run: Path) -> str:
    """What each command says of a folder; all of them end."""
    said = []
    for call in (
        lambda: dataclasses.replace(read_run(run), path=Path()),  # all that a report is made of, and its samples
        lambda: samples(read_run(run)),
        lambda: read_status(run),
        lambda: where(run),
        lambda: link(run, run / "page.html", "report"),
        lambda: answers.load(run),
    ):
        try:
            said.append(str(call()))
        except UniGRPOError as error:
            assert "\n" not in str(error)
            said.append(str(error))
    return " ".join(said)


@pytest.mark.parametrize("name", wide(FILES, 3))
def test_what_is_no_file_is_passed_over_or_one_line(name: str, tmp_path: Path) -> None:
    run = a_run(tmp_path, "r")
    for make in MAKES.values():
        replaced(run, name, make)
        all_of(run)
        (run / name).rmdir() if (run / name).is_dir() else (run / name).unlink()


@pytest.mark.parametrize("name", wide(FILES, 3))
def test_no_link_shows_a_file_of_yours(name: str, tmp_path: Path) -> None:
    run, secret = a_run(tmp_path, "r"), tmp_path / "home" / "secret"
    secret.parent.mkdir()
    secret.write_text(YOURS.get(name, CANARY))
    for target in (secret, Path(os.path.relpath(secret, (run / name).parent))):
        replaced(run, name, lambda path, target=target: path.symlink_to(target))
        assert CANARY not in all_of(run)


def test_no_linked_folder_shows_a_file_of_yours(tmp_path: Path) -> None:
    run, other = a_run(tmp_path, "r"), a_run(tmp_path / "home", "other")
    (other / "samples/val-000004/texts.jsonl").write_text(YOURS["samples/val-000000/texts.jsonl"])
    (run / "samples").rename(tmp_path / "away")
    (run / "samples").symlink_to(other / "samples")
    assert CANARY not in all_of(run)


def test_a_run_that_is_itself_a_link_is_read(tmp_path: Path) -> None:
    run = a_run(tmp_path, "r")
    (tmp_path / "latest").symlink_to(run)
    assert read_run(tmp_path / "latest").step == 4 and len(read_run(tmp_path / "latest").settings) > 50


def test_the_page_does_not_quote_a_recipe_that_is_no_recipe(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    secret, run = tmp_path / "secret.yaml", a_run(tmp_path, "r")
    secret.write_text(f"{CANARY}: 1\n")
    (run / "recipe").write_text(str(secret))
    with caplog.at_level(logging.WARNING):
        words, _ = compared(read_run(run), lambda name: load_config(name, []))
    assert words.startswith("the defaults (its recipe cannot be read") and CANARY not in words and caplog.records


TENFOLD = "".join(f"a{at}: &a{at} {{{', '.join(f'k{key}: *a{at - 1}' for key in range(10))}}}\n" for at in range(1, 9))


@pytest.mark.parametrize(
    "config",
    [
        "a0: &a0 {x: 1}\n" + TENFOLD,
        "a0: &a0 {x: 1}\n" + TENFOLD.replace("{k", "[{k").replace("}\n", "}]\n"),
        "a: &a {b: *a}\n",
        "a: &a [*a]\n",
        "a: {b: 1" + ":59" * 3000 + "}\n",
        "x: [" + "[" * 5000 + "\n",
        "!!set {a, b}\n",
        "seed: " + "9" * 5000 + "\n",
    ],
)
def test_settings_without_end_are_one_line(config: str, tmp_path: Path) -> None:
    run = a_run(tmp_path, "r")
    (run / "config.yaml").write_text(config)
    with pytest.raises(ConfigError, match=r"config\.yaml: (cannot be read|holds no settings)") as caught:
        read_run(run)
    assert "\n" not in str(caught.value) and len(str(caught.value)) < 500


@pytest.mark.parametrize(
    "content",
    [
        {"sets": {"a": 3}}, {"sets": {"a": [3, None]}}, {"sets": {"a": [{"id": 1, "score": 10**400}]}},
        {"sets": {"a": [{"id": [], "score": 1, "parts": {"x": 10**400, "y": [1]}}]}, "means": {"a": [10**400, 1]}},
        {"sets": {"a": [{"id": {}, "text": [1], "score": float("inf")}]}, "means": {"a": [float("nan"), 10**400]}},
        {"sets": {"a": [{"score": True, "parts": [1], "detail": {"x": 1}}]}, "means": {"a": {}}},
    ],
)  # fmt: skip
def test_answers_that_are_none_are_left_out(content: dict, tmp_path: Path) -> None:
    run = a_run(tmp_path, "r")
    file = run / "samples/val-000004/answers.json"
    file.write_text(json.dumps({"step": 4, "means": {}, "films": {}, **content}))
    kept = answers.read(file)
    if kept is not None:
        safe(gallery("a", [kept]))
    rows = [{"prompt_id": "a", "response": {"a": 1}, "score": 10**400}, {"prompt_id": [1], "score": float("nan")}]
    (run / "samples/val-000004/texts.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    safe(report([read_run(run)]))


def test_a_file_is_read_to_its_limit(tmp_path: Path) -> None:
    file = tmp_path / "a"
    file.write_bytes(b"0123456789")
    assert read_inside(file, tmp_path, 10) == b"0123456789" and read_inside(file, tmp_path, 4, end=True) == b"6789"
    with pytest.raises(OSError, match="larger than 0 MiB"):
        read_inside(file, tmp_path, 9)
