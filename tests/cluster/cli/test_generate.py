"""``unigrpo generate``: answers, drawings, plans, what is filled in, and the page that plays it."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner, Result

from cluster.cli.app import app
from cluster.cli.generate import trace_page as page
from policies.generate import rollout_group
from rl.output.printable import printable
from rl.tracking.pages.film import pieces
from rl.types import ImageSampling, Message, TextSampling, ThinkDrawSampling
from tests.toys import toy_folder, toy_policy, toy_text_prompt, toy_think_draw_prompt

SMALL = {"max_new_tokens": 8, "block_length": 4, "steps": 4}
POLICY = toy_policy()


@pytest.fixture
def recipe(tmp_path: Path) -> str:
    sampling = {"text": SMALL, "understand": SMALL, "draw": {"steps": 3}, "think_draw": {"think": SMALL}}
    path = tmp_path / "recipe.yaml"
    path.write_text(json.dumps({"policy": {"path": str(toy_folder())}, "evaluation": sampling}))
    return str(path)


def generate(recipe: str, *args: str | Path) -> Result:
    return CliRunner().invoke(app, ["generate", "--recipe", recipe, *map(str, args)])


def picture(path: Path, pixels: np.ndarray) -> Path:
    Image.fromarray(pixels).save(path)
    return path


class Reader(HTMLParser):
    """The scripts of a page, and everything that it would fetch."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.scripts: list[tuple[str | None, str]] = []
        self.fetched: list[str] = []
        self._type: str | None = None
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag == "script":
            self.scripts.append((dict(attrs).get("type"), ""))
        self.fetched += [str(value) for name, value in attrs if name in ("src", "href")]

    def handle_data(self, data: str) -> None:
        if self.get_starttag_text() and self.lasttag == "script":
            kind, text = self.scripts[-1]
            self.scripts[-1] = (kind, text + data)


def data_of(text: str) -> dict:
    reader = Reader(text)
    assert not reader.fetched
    assert len(reader.scripts) == 2
    return json.loads(next(body for kind, body in reader.scripts if kind == "application/json"))


def test_the_page_says_when_everything_appeared() -> None:
    sampling = ThinkDrawSampling(TextSampling(8, 4, 4), ImageSampling(steps=3))
    rollouts = rollout_group(POLICY, toy_think_draw_prompt(), sampling, [1, 2], 0)
    data = data_of(page(POLICY, toy_think_draw_prompt(), rollouts))
    for shown, rollout in zip(data["rollouts"], rollouts, strict=True):
        plan, image = rollout.spans
        assert shown["steps"] == rollout.step_map[plan.start : plan.stop].tolist()
        assert shown["image"]["steps"] == rollout.step_map[image.start : image.stop].tolist()
        assert (shown["image"]["side"], shown["image"]["size"]) == (4, 32)
        assert shown["image"]["src"].startswith("data:image/png;base64,")
        assert "".join(shown["tokens"]).rstrip("\u220e") == printable(rollout.text, lines=True)
    assert data["prompt"] == toy_think_draw_prompt().messages[-1].content


def test_nothing_that_is_shown_can_leave_its_place() -> None:
    hostile = replace(toy_text_prompt(), messages=(Message("user", "</script><script>alert(1)</script><img src=x>"),))
    rollouts = rollout_group(POLICY, hostile, TextSampling(8, 4, 4), [0], 0)
    text = page(POLICY, hostile, rollouts)
    assert data_of(text)["prompt"] == hostile.messages[0].content
    assert "<script>alert" not in text and "<img" not in text


@pytest.mark.parametrize("text", ["a red circle", "caf\u00e9 \u2014 \U0001f600 <think>3+4=7</think>7"])
def test_pieces_are_the_text(text: str) -> None:
    ids = POLICY.tokenizer.encode(text)
    found = pieces(POLICY.tokenizer, [*ids, POLICY.vocabulary.eos_id], POLICY.vocabulary.eos_id)
    assert len(found) == len(ids) + 1 and "".join(found) == POLICY.tokenizer.decode(ids) + "\u220e"


def test_text_can_be_filled_in_and_played(recipe: str, tmp_path: Path) -> None:
    result = generate(recipe, "3 + 4 =", "--given", "<think>[mask:3]</think>[mask:2]", "--trace", tmp_path / "t.html")
    assert result.exit_code == 0, result.output
    answer, *rest = result.stdout.splitlines()
    assert re.match(r"<think>.*</think>", answer) and rest[-1] == str(tmp_path / "t.html")
    (rollout,) = data_of((tmp_path / "t.html").read_text())["rollouts"]
    assert rollout["steps"][0] == rollout["steps"][4] == -1 and rollout["tokens"][0] == "<think>"
    assert all(step >= 0 for step in rollout["steps"][1:4])


def test_a_picture_is_drawn_anew_where_the_mask_is_white(recipe: str, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    given = picture(tmp_path / "given.png", rng.integers(0, 256, (32, 32, 3), dtype=np.uint8))
    white = np.zeros((32, 32, 3), dtype=np.uint8)
    white[:, 16:] = 255
    args = ("--task", "draw", "--given", given, "--mask", picture(tmp_path / "mask.png", white))
    result = generate(recipe, "a square", *args, "--out", tmp_path / "o.png", "--trace", tmp_path / "t.html")
    assert result.exit_code == 0, result.output
    assert np.asarray(Image.open(tmp_path / "o.png")).shape == (32, 32, 3)
    (rollout,) = data_of((tmp_path / "t.html").read_text())["rollouts"]
    steps = np.array(rollout["image"]["steps"]).reshape(4, 4)
    assert (steps[:, :2] == -1).all() and (steps[:, 2:] >= 0).all()


def test_a_plan_is_printed_before_its_image(recipe: str, tmp_path: Path) -> None:
    args = ("evaluation.think_draw.think.temperature=1.0", "--task", "think_draw", "--n", "2")
    result = generate(recipe, "a red circle", *args, "--out", tmp_path / "o.png")
    assert result.exit_code == 0, result.output
    assert result.stdout.splitlines()[-1] == str(tmp_path / "o-1.png") and (tmp_path / "o-0.png").is_file()
    assert result.stdout.count("\n") >= 4


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["--given", "no hole"], "nothing to fill; write [mask:N]"),
        (["--given", "nope.png"], "a picture that is drawn anew in part needs --task draw and --mask PICTURE"),
        (
            ["--task", "draw", "--given", "no.png", "--mask", "black.png"],
            "--given no.png: no such image file; give a PNG",
        ),
        (["--task", "draw", "--given", ".", "--mask", "black.png"], "--given .: not a regular file"),
        (["--task", "understand", "--image", "no.png"], "--image no.png: no such image file"),
        (["--given", "x [mask:2]", "--mask", "m.png"], "needs --task draw, --given PICTURE and --mask PICTURE"),
        (["--task", "draw", "--given", "p.png"], "needs --task draw, --given PICTURE and --mask PICTURE"),
        (["--task", "draw", "--given", "p.png", "--mask", "no.png"], "no.png: no such image file"),
        (["--task", "draw", "--given", "black.png", "--mask", "black.png", "--out", "o.png"], "no pixel is white"),
        (["--task", "think_draw", "--given", "[mask:2]"], "--given with --task think_draw"),
        (["--trace", "nowhere/t.html"], "--trace nowhere/t.html: cannot be written: no such folder: nowhere"),
        (["--trace", "t.txt"], "--trace t.txt: allowed: a name that ends in .html"),
        (["--given", "[mask:500]"], "takes 128; shorten it"),
    ],
)
def test_what_cannot_be_done_is_told(
    recipe: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, args: list[str], message: str
) -> None:
    monkeypatch.chdir(tmp_path)
    picture(Path("black.png"), np.zeros((32, 32, 3), dtype=np.uint8))
    result = generate(recipe, "a prompt", *args)
    assert result.exit_code == 2 and message in result.stderr
    assert result.stderr.count("\n") == 1 and not result.stdout


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["generate", "2+2", "--out", "a.png"], "--out a.png: an answer of --task text is printed, not written"),
        (["generate", "2+2", "--n", "2", "--n", "1"], "--n is given twice; allowed: once"),
        (["generate", "2+2", "--recipe", "no.yaml", "--recipe", "tiny"], "--recipe is given twice; allowed: once"),
        (["train", "--recipe=no.yaml", "--recipe", "tiny"], "--recipe is given twice; allowed: once"),
        (["jobs", "list", "--address", "http://a", "--address", "http://b"], "--address is given twice; allowed: once"),
    ],
)
def test_what_would_be_left_unread_is_refused(arguments: list[str], said: str) -> None:
    result = CliRunner().invoke(app, arguments, env={"COLUMNS": "200"})
    assert result.exit_code == 2 and said in result.stderr
