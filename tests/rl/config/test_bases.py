"""A recipe that stands on others: what goes over what, which file an error names, and where each value is from."""

from __future__ import annotations

from pathlib import Path

import pytest

from rl.config import layers_of, load_config, origins, recipe_names, settings_given, to_yaml
from rl.config.recipes import headline, recipe_path, shipped
from rl.errors import ConfigError


def write(folder: Path, **files: str) -> Path:
    """The folder with NAME.yaml for each name."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in files.items():
        (folder / f"{name}.yaml").write_text(text)
    return folder


def test_the_recipe_goes_over_its_base_and_overrides_over_both(tmp_path: Path) -> None:
    write(tmp_path, a="steps: 1\nseed: 1\ntest_freq: 1\n", b="base: a.yaml\nsteps: 2\nseed: 2\n")
    config = load_config(tmp_path / "b.yaml", ["steps=3"])
    assert (config.steps, config.seed, config.test_freq) == (3, 2, 1)


def test_several_levels_and_a_relative_path_counts_from_its_own_file(tmp_path: Path) -> None:
    write(tmp_path / "deep" / "er", c="base: ../b.yaml\nsteps: 3\n")
    write(tmp_path / "deep", b="base: ../a.yaml\nseed: 2\n")
    write(tmp_path, a="seed: 1\ntest_freq: 7\n")
    config = load_config(tmp_path / "deep" / "er" / "c.yaml")
    assert (config.steps, config.seed, config.test_freq) == (3, 2, 7)


def test_a_shipped_name_as_a_base(tmp_path: Path) -> None:
    write(tmp_path, mine="base: tiny\nsteps: 5\n")
    config, tiny = load_config(tmp_path / "mine.yaml"), load_config("tiny")
    assert config.steps == 5 and config.data == tiny.data and config.learner == tiny.learner


@pytest.mark.parametrize(("own", "name"), [("base: a.yaml\n", "b"), ("base: a.yaml\nname: mine\n", "mine")])
def test_two_recipes_never_share_a_run_folder_by_accident(tmp_path: Path, own: str, name: str) -> None:
    write(tmp_path, a="name: theirs\n", b=own)
    assert load_config(tmp_path / "b.yaml").name == name
    assert load_config(tmp_path / "b.yaml", ["name=typed"]).name == "typed"


def test_lists_are_replaced_and_mappings_merged_or_replaced_as_everywhere(tmp_path: Path) -> None:
    write(
        tmp_path,
        a="data: {train: [{source: x.jsonl}, {source: y.jsonl}]}\n"
        "rewards: {mix: {text: {format: 1.0, correctness: 2.0}, draw: {clip: 1.0}}}\nlearner: {lr: 1.0e-3, threads: 3}\n",
        b="base: a.yaml\ndata: {train: [{source: z.jsonl}]}\nrewards: {mix: {text: {format: 0.5}}}\nlearner: {lr: 2.0e-3}\n",
    )
    config = load_config(tmp_path / "b.yaml")
    assert [source.source for source in config.data.train] == ["z.jsonl"]
    assert config.rewards.mix == {"text": {"format": 0.5}}  # a mix that is given is the whole mix
    assert (config.learner.lr, config.learner.threads) == (2e-3, 3)


def test_several_bases_in_their_order_and_a_shared_one_once(tmp_path: Path) -> None:
    write(
        tmp_path,
        ground="steps: 1\nseed: 1\n",
        task="base: ground.yaml\nseed: 2\n",
        machine="base: ground.yaml\ntest_freq: 9\n",
        both="base: [task.yaml, machine.yaml]\n",
        turned="base: [machine.yaml, task.yaml]\n",
    )
    for name in ("both", "turned"):  # `ground` does not come a second time and undo seed: 2
        config = load_config(tmp_path / f"{name}.yaml")
        assert (config.steps, config.seed, config.test_freq) == (1, 2, 9), name


CIRCLES = {
    "itself": {"a": "base: a.yaml\n"},
    "two": {"a": "base: b.yaml\n", "b": "base: a.yaml\n"},
    "three": {"a": "base: b.yaml\n", "b": "base: c.yaml\n", "c": "base: a.yaml\n"},
    "further down": {"a": "base: b.yaml\n", "b": "base: c.yaml\n", "c": "base: b.yaml\n"},
    "in a list": {"a": "base: [b.yaml, c.yaml]\n", "b": "steps: 1\n", "c": "base: ./a.yaml\n"},
}


@pytest.mark.parametrize("case", CIRCLES)
def test_a_circle_is_one_line(tmp_path: Path, case: str) -> None:
    write(tmp_path, **CIRCLES[case])
    with pytest.raises(ConfigError, match="stands on itself") as caught:
        load_config(tmp_path / "a.yaml")
    assert "\n" not in str(caught.value) and " -> " in str(caught.value)


MISTAKES = {  # what stands in the base, or of it -> the file that is named, and what is said
    "an unknown setting": ("base: low.yaml\n", "leraner: 1\n", "low.yaml", "unknown setting 'leraner'"),
    "a wrong type": ("base: low.yaml\n", "steps: many\n", "low.yaml", "steps: expected a whole number"),
    "no YAML": ("base: low.yaml\n", "steps: [1\n", "low.yaml", "not YAML"),
    "no mapping": ("base: low.yaml\n", "- 1\n", "low.yaml", "expected a mapping"),
    "a list for a mapping": ("base: low.yaml\n", "rewards: {mix: {text: [format]}}\n", "low.yaml", "text"),
    "its own mistake": ("base: low.yaml\nstepz: 1\n", "steps: 1\n", "top.yaml", "unknown setting 'stepz'"),
    "a base that is not there": ("base: nowhere.yaml\n", "", "top.yaml: base", "no such file"),
    "an unknown name": ("base: tinny\n", "", "top.yaml: base", "did you mean 'tiny'"),
    "a base that is a number": ("base: 3\n", "", "top.yaml", "base=3: expected a recipe's name"),
    "an empty base": ("base: ''\n", "", "top.yaml", "expected a recipe's name"),
    "a base that is a mapping": ("base: {a: 1}\n", "", "top.yaml", "expected a recipe's name"),
    "null": ("base: null\n", "", "top.yaml", "expected a recipe's name"),
    "a base of a base": ("base: low.yaml\n", "base: nowhere\n", "low.yaml: base", "unknown 'nowhere'"),
    "a folder": ("base: .\n", "", "top.yaml: base", "unknown '.'"),
}


@pytest.mark.parametrize("case", MISTAKES)
def test_a_mistake_names_the_file_that_has_it(tmp_path: Path, case: str) -> None:
    top, low, file, told = MISTAKES[case]
    write(tmp_path, top=top, low=low)
    with pytest.raises(ConfigError) as caught:
        load_config(tmp_path / "top.yaml")
    text = str(caught.value)
    assert text.startswith(f"{tmp_path}/{file}") and told in text and "\n" not in text, text


def test_what_is_given_counts_bases_and_what_is_written_out_needs_none(tmp_path: Path) -> None:
    write(
        tmp_path, a="cluster: {learner_ranks: 2}\nlearner: {zero_stage: 1}\n", b="base: a.yaml\npolicy: {path: tiny}\n"
    )
    given = settings_given(tmp_path / "b.yaml", ["cluster.rollout_workers=3"])
    assert given == {"cluster.learner_ranks", "learner.zero_stage", "policy.path", "cluster.rollout_workers"}
    config = load_config(tmp_path / "b.yaml")
    (tmp_path / "whole.yaml").write_text(to_yaml(config))
    assert "base:" not in (tmp_path / "whole.yaml").read_text().split()
    assert load_config(tmp_path / "whole.yaml") == config


def test_where_each_value_is_from(tmp_path: Path) -> None:
    write(
        tmp_path,
        a="seed: 1\nrewards: {mix: {text: {format: 1.0}}}\nlearner: {lora: {rank: 2}}\nsteps: 1\n",
        b="base: a.yaml\nsteps: 2\nlearner: {task_weights: {}}\n",
    )
    layers = layers_of(tmp_path / "b.yaml", ["rollout.text={steps: 8}", "rollout.batch_size=2"])
    keys = ("seed", "rewards.mix", "learner.lora.rank", "steps", "learner.task_weights", "rollout.text.steps",
            "rollout.batch_size", "rollout.threads")  # fmt: skip
    found = origins(layers, dict.fromkeys(keys))
    named = {
        key: None if layer is None else (str(layer.origin), Path(layer.where).name) for key, layer in found.items()
    }
    assert named == {
        "seed": ("base", "a.yaml"),
        "rewards.mix": ("base", "a.yaml"),
        "learner.lora.rank": ("base", "a.yaml"),
        "steps": ("recipe", "b.yaml"),
        "learner.task_weights": ("recipe", "b.yaml"),
        "rollout.text.steps": ("override", "override 'rollout.text={steps: 8}'"),
        "rollout.batch_size": ("override", "override 'rollout.batch_size=2'"),
        "rollout.threads": None,
    }


def test_shipped_names_are_unique_and_parts_are_no_recipes() -> None:
    folder = recipe_path("tiny").parent
    files = list(folder.rglob("*.yaml"))
    assert len(files) == len(shipped()) and set(recipe_names()) < set(shipped())
    for name in recipe_names():
        assert headline(recipe_path(name)), name
    assert not {name for name, file in shipped().items() if file.parent.name == "parts"} & set(recipe_names())
