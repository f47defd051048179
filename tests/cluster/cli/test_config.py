"""``unigrpo config`` and ``unigrpo recipes``."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from cluster.cli.app import app
from cluster.cli.config import flat
from cluster.weights.base import WIRES
from rl.config import load_config, recipe_names
from rl.layouts import LAYOUTS
from rl.masking import SCHEDULES
from tests.toys import toy_folder


def config(*words: str) -> Result:
    return CliRunner().invoke(app, ["config", *words], env={"COLUMNS": "240"})


def rows(*words: str) -> dict[str, dict]:
    result = config("--json", *words)
    assert result.exit_code == 0, result.output
    return {row["key"]: row for row in json.loads(result.stdout)}


def test_every_setting_is_there_with_its_value_and_its_meaning() -> None:
    found, whole = rows(), flat(load_config("tiny"))
    assert set(found) == set(whole)
    for key, row in found.items():
        assert row["meaning"] and row["value"] == whole[key], key


def test_names_that_a_registry_has_are_shown_from_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(SCHEDULES, "_targets", {**SCHEDULES._targets, "of_a_package": SCHEDULES["full"]})
    found = rows("learner.algorithm", "cluster.weight_sync", "evaluation.layout")
    for key, registry in (
        ("learner.algorithm.schedule", SCHEDULES),
        ("cluster.weight_sync", WIRES),
        ("evaluation.layout", LAYOUTS),
    ):
        assert found[key]["meaning"].endswith(f"; one of {', '.join(registry)}")
    assert "of_a_package" in found["learner.algorithm.schedule"]["meaning"]
    assert "one of" not in found["learner.algorithm.mu"]["meaning"]


def test_where_a_value_is_from(tmp_path: Path) -> None:
    (tmp_path / "low.yaml").write_text(f"policy: {{path: {toy_folder()}}}\nseed: 3\n")
    (tmp_path / "top.yaml").write_text("base: low.yaml\nsteps: 9\n")
    found = rows("--recipe", str(tmp_path / "top.yaml"), "learner.lora.rank=4")
    origin = {key: row["origin"] for key, row in found.items()}
    assert (origin["seed"], origin["steps"], origin["learner.lora.rank"]) == ("base", "recipe", "override")
    assert (origin["learner.lr"], origin["rollout.draw.guidance"], origin["test_freq"]) == (
        "family",
        "family",
        "default",
    )
    assert found["seed"]["where"] == str(tmp_path / "low.yaml")
    assert found["policy.device"] == {
        "key": "policy.device", "value": "auto", "origin": "default", "where": "", "resolved": "cpu",
        "meaning": found["policy.device"]["meaning"],
    }  # fmt: skip
    shown = config("--recipe", str(tmp_path / "top.yaml"), "seed", "steps", "learner.lr").stdout
    assert "base low" in shown and "recipe top" in shown and "family mmada" in shown and "3e-06" not in shown


def test_keys_choose_settings_and_sections() -> None:
    assert set(rows("steps", "learner.lora")) == {
        "steps", "learner.lora.rank", "learner.lora.alpha", "learner.lora.target", "learner.lora.path",
    }  # fmt: skip
    assert list(rows("steps=7", "steps")) == ["steps"] and rows("steps=7", "steps")["steps"]["value"] == 7


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("leraner.lr",), "unknown setting 'leraner.lr'; did you mean 'learner.lr'"),
        (("learner.l",), "unknown setting 'learner.l'"),
        (("steps=many",), "steps: expected a whole number"),
        (("--recipe", "llada-8b-gsm"), "did you mean 'llada-8b-gsm8k"),
    ],
)
def test_a_mistake_is_one_line(words: tuple[str, ...], told: str) -> None:
    result = config(*words)
    assert result.exit_code == 2 and told in result.stderr and result.stderr.count("\n") == 1, result.output


def test_recipes_are_listed_with_their_first_line() -> None:
    listed = CliRunner().invoke(app, ["recipes"]).stdout
    assert listed == config("--list").stdout
    for name, line in zip(recipe_names(), listed.splitlines(), strict=True):
        assert line.split()[0] == name and len(line.split()) > 4
    assert json.loads(CliRunner().invoke(app, ["recipes", "--json"]).stdout).keys() == set(recipe_names())


def test_a_card_that_cannot_be_read_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    found = config("--json", "policy.path=no/such-policy", "learner.lr")
    assert found.exit_code == 0 and json.loads(found.stdout)[0]["key"] == "learner.lr"
    assert (
        found.stderr.startswith("note: policy.path=no/such-policy: cannot be read here")
        and found.stderr.count("\n") == 1
    )
    assert not config("learner.lr").stderr
