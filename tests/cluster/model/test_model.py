"""The shipped policy as a model: it answers what ``unigrpo generate`` answers, and holds nothing that it should not."""

from __future__ import annotations

import io
import os
import re
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import mlflow
import numpy as np
import pytest
from mlflow.exceptions import MlflowException
from PIL import Image
from typer.testing import CliRunner

from cluster.cli.app import app
from cluster.model.contents import example
from cluster.model.log import log_models
from cluster.model.sources import modules
from policies import load_policy
from policies.files.folders import check_files
from rl.config import Config
from rl.scenes import SceneObject, SceneSpec, render
from tests.cluster.model.finished import finished_run, uri_of

ROOT = Path(__file__).parents[3]
SUDOKU = "sudoku 3000042343122034"
ASKED = [
    (SUDOKU, "text", False, 0),
    (SUDOKU, "text", False, 7),
    ("a red circle", "draw", False, 3),
    ("what color is the shape?", "understand", True, 11),
]


@dataclass(frozen=True)
class Made:
    config: Config
    lines: list[str]
    folder: Path
    files: list[Path]
    model: Any


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory, empty_store: Path) -> Iterator[Made]:
    config = finished_run(tmp_path_factory.mktemp("model"), empty_store, check_files("tiny"), {2: 0.5})
    lines: list[str] = []
    assert log_models(config, lines.append)
    (folder,) = Path(config.output_dir).glob("mlartifacts/models/*/artifacts")
    files = [file.relative_to(folder) for file in folder.rglob("*") if file.is_file()]  # before Python writes bytecode
    mlflow.set_tracking_uri(uri_of(config))
    before = list(sys.path)
    yield Made(config, lines, folder, files, mlflow.pyfunc.load_model("models:/toy@best"))
    sys.path[:] = before


def picture(folder: Path) -> Path:
    file = folder / "look.png"
    Image.fromarray(render(SceneSpec("colors", (SceneObject("circle", "red"),)), seed=0)).save(file)
    return file


@pytest.mark.parametrize(("prompt", "task", "looks", "seed"), ASKED)
def test_it_answers_what_the_command_line_answers(
    made: Made, tmp_path: Path, prompt: str, task: str, looks: bool, seed: int
) -> None:
    file, drawing = picture(tmp_path), tmp_path / "drawing.png"
    words = ["generate", prompt, "--task", task, "--recipe", str(made.config.run_dir / "config.yaml"), f"seed={seed}"]
    words += [f"policy.path={made.config.run_dir / 'policy'}", *(["--image", str(file)] if looks else [])]
    said = CliRunner().invoke(app, [*words, *(["--out", str(drawing)] if task == "draw" else [])])
    assert said.exit_code == 0, said.output
    row = {"prompt": prompt, "task": task, **({"image": file.read_bytes()} if looks else {})}
    (answer,) = made.model.predict([row], params={"seed": seed}).to_dict("records")
    if task == "draw":
        assert answer["text"] == "" and len(answer["tokens"]) == 36
        with Image.open(io.BytesIO(answer["image"])) as ours, Image.open(drawing) as theirs:
            assert np.array_equal(np.asarray(ours), np.asarray(theirs))
    else:
        assert answer["text"] == said.output.splitlines()[0] and answer["image"] is None
        assert load_policy("tiny").tokenizer.decode(answer["tokens"]) == answer["text"]
    assert answer["status"] == "complete"


def test_an_answer_does_not_depend_on_the_rows_around_it(made: Made, tmp_path: Path) -> None:
    rows = [
        {"prompt": SUDOKU},
        {"prompt": "a red circle", "task": "draw", "image": b""},
        {"prompt": "what color?", "task": "understand", "image": picture(tmp_path).read_bytes()},
    ]
    together = made.model.predict(rows, params={"seed": 5})
    alone = [made.model.predict([row], params={"seed": 5}).to_dict("records")[0] for row in rows]
    assert together.to_dict("records") == alone


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ({"prompt": "x", "task": "sing"}, "row 1: task='sing': allowed: text, understand"),
        ({"prompt": " "}, "row 1: prompt: expected a question"),
        ({"prompt": "x" * 1_000_001}, "row 1: prompt: expected a question"),
        ({"prompt": "what?", "task": "understand"}, "row 1: task=understand without an image"),
        ({"prompt": "what?", "image": b"not one"}, "row 1: task=text with an image"),
        ({"prompt": "what?", "task": "understand", "image": b"not one"}, "row 1: .*not a readable PNG"),
        ({"prompt": "1 + " * 400}, "row 1: .*takes"),
    ],
)
def test_a_row_that_cannot_be_answered_is_one_line(made: Made, row: dict[str, Any], said: str) -> None:
    with pytest.raises(MlflowException, match=said) as caught:
        made.model.predict([{"prompt": SUDOKU}, row])
    assert "\n" not in str(caught.value) and caught.value.get_http_status_code() == 400


def test_it_holds_weights_json_and_one_python_file(made: Made) -> None:
    files = made.files
    kinds = {".safetensors", ".json", ".jinja", ".txt", ".yaml", ".py", ".zip", ""}
    assert {file.suffix for file in files} <= kinds
    assert [file.name for file in files if file.suffix == ".py"] == ["served.py"]
    assert [file.name for file in files if file.suffix == ""] == ["MLmodel"]
    with zipfile.ZipFile(made.folder / "artifacts" / "unigrpo.zip") as archive:
        names = archive.namelist()
    assert set(names) == set(modules()) and all(name.endswith(".py") for name in names)
    assert {name.partition("/")[0] for name in names} == {"policies", "rl"}
    for file in files:  # and says nothing of the machine that made it
        content = (made.folder / file).read_bytes()
        for word in (str(ROOT), str(made.config.output_dir), str(Path.home()) + "/", os.path.dirname(sys.executable)):
            assert word.encode() not in content, (file, word)
    weights = list(made.folder.rglob("*.safetensors"))
    assert len(weights) == 2 and all(file.stat().st_nlink > 1 for file in weights)  # nothing was copied


def test_it_says_what_it_takes_and_shows_an_example(made: Made) -> None:
    info = made.model.metadata
    assert [(each.name, each.required) for each in info.signature.inputs] == [
        ("prompt", True), ("task", False), ("image", False),
    ]  # fmt: skip
    assert info.signature.outputs.input_names() == ["text", "image", "tokens", "status"]
    assert [each.name for each in info.signature.params] == ["seed"]
    assert info.run_id and info.model_id and info.model_size_bytes > 7e6
    answered = made.model.predict(made.model.input_example)
    assert len(answered) == len(example(made.config.run_dir)) == 1 and answered["text"][0]


def test_the_example_is_a_held_out_question_where_the_run_kept_some(tmp_path: Path) -> None:
    folder = tmp_path / "samples" / "val-000004"
    folder.mkdir(parents=True)
    (folder / "texts.jsonl").write_text('{"prompt": "look", "task": "understand"}\n{"prompt": "1+1", "task": "text"}\n')
    (folder / "drawings.jsonl").write_text('{"caption": "a square"}\n')
    assert example(tmp_path).to_dict("records") == [
        {"prompt": "1+1", "task": "text"},
        {"prompt": "a square", "task": "draw"},
    ]


def test_its_requirements_are_our_pins(made: Made) -> None:
    pins = {line for line in (ROOT / "constraints.txt").read_text().splitlines() if "==" in line}
    asked, limits = ((made.folder / f"{name}.txt").read_text().splitlines() for name in ("requirements", "constraints"))
    assert asked[-1] == "-c constraints.txt" and set(asked[:-1]) <= set(limits) <= pins
    names = {re.split("==", line)[0] for line in asked}
    assert {"torch", "numpy", "safetensors", "tokenizers", "pillow", "mlflow"} <= names
    assert not names & {"ray", "deepspeed", "transformers", "unigrpo"}


@pytest.mark.long
def test_its_sources_are_enough(made: Made) -> None:
    """In a process that knows no other: every module of ours comes from the zip."""
    program = f"""
import sys
import mlflow
model = mlflow.pyfunc.load_model({str(made.folder)!r})
answer = model.predict([{{"prompt": {SUDOKU!r}}}], params={{"seed": 7}})
ours = [m for n, m in sys.modules.items() if n.partition(".")[0] in ("rl", "policies", "cluster", "rewards")]
assert ours and all("unigrpo.zip" in str(m.__file__) for m in ours), ours
print(answer["tokens"][0])
"""
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run(
        [sys.executable, "-P", "-c", program], capture_output=True, text=True, timeout=280, env=environment
    )
    assert done.returncode == 0, done.stderr
    here = made.model.predict([{"prompt": SUDOKU}], params={"seed": 7})["tokens"][0]
    assert done.stdout.strip() == str(here)
