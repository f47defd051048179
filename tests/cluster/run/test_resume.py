"""A run that cannot go on from its checkpoint hears so before anything starts: what changed, from what, and the way out."""

from __future__ import annotations

import dataclasses
import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from cluster.learner.one_rank import make_learner
from cluster.run.resume import check_resume
from policies import load_policy
from policies.files.fresh_policy import build, train_tokenizer
from rl.checkpoints.folder import FolderCheckpoints
from rl.config import Config, SourceConfig
from rl.data.stream import PromptStream
from rl.errors import CheckpointError, ConfigError, UniGRPOError
from tests.cluster.runs import make_config
from tests.policies.originals import write_folder
from tests.toys import TEXTS, toy_folder, toy_text_prompt

SIZES = {"d_model": 32, "n_layers": 2, "n_heads": 2, "mlp_hidden_size": 64}
KINDS = {
    "full": ["learner.engine=torch"],
    "lora": ["learner.engine=torch", "learner.lora.rank=2", "learner.lora.alpha=4", "learner.lora.target=[q_proj,v_proj]"],
    "no reference": ["learner.engine=torch", "learner.algorithm.kl_coef=0"],
    "synchronised": ["learner.engine=torch", "learner.reference_sync_freq=2"],
}  # fmt: skip


def saved(folder: Path, kind: str) -> Config:
    """A real learner's checkpoint after step 1 of a run over one source of 3 rows."""
    config = make_config(folder, *KINDS[kind], "policy.dtype=float32", "data.train=[{source: rows.jsonl}]")
    stream = PromptStream(config.data.train, config.seed, [[toy_text_prompt(index) for index in range(3)]])
    learner = make_learner(config)
    state = {"data": stream.state(), "weight_version": 1, "before": {}}
    FolderCheckpoints(config).save(1, learner, state)
    learner.close()
    return config


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Config]:
    return {kind: saved(tmp_path_factory.mktemp("run"), kind) for kind in KINDS}


def toy(folder: Path, vocabulary: int = 300, seed: int = 0, **sizes: int) -> Path:
    images = toy_folder() / "image_tokenizer"
    build(folder, train_tokenizer(TEXTS, vocabulary), images, seed=seed, max_length=128, **{**SIZES, **sizes})
    return folder


def config_of(folder: Path, **changes: object) -> Path:
    """The run's own policy with another config.json beside the same weights."""
    shutil.copytree(toy_folder(), folder)
    file = folder / "config.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), **changes}))
    return folder


OTHER: dict[str, tuple[Callable[[Path], Path], str]] = {
    "wider": (lambda folder: toy(folder, d_model=64), "d_model=64"),
    "deeper": (lambda folder: toy(folder, n_layers=3), "n_layers=3"),
    "shallower": (lambda folder: toy(folder, n_layers=1), "n_layers=1"),
    "other MLP": (lambda folder: toy(folder, mlp_hidden_size=96), "mlp_hidden_size=96"),
    "other heads": (lambda folder: toy(folder, n_heads=4), "n_heads=4"),
    "other vocabulary": (lambda folder: toy(folder, vocabulary=290), "vocab_size="),
    "other theta": (lambda folder: config_of(folder, rope_theta=500_000.0), "rope_theta=500000.0"),
    "other end": (lambda folder: config_of(folder, eos_token_id=2), "eos_token_id=2"),
    "other family": (lambda folder: write_folder("llada", folder), "model_type=llada"),
    "other family, block-causal": (lambda folder: write_folder("sdar", folder), "model_type=sdar"),
}
SHAPES = ("wider", "deeper", "shallower", "other MLP", "other family", "other family, block-causal")


def refusal(config: Config, rows: list[int], command: str = "train") -> str:
    with pytest.raises(UniGRPOError) as caught:
        check_resume(config, command, rows)
    line = str(caught.value)
    assert "\n" not in line and str(config.run_dir / "checkpoints" / "global_step_1") in line
    return line


def change(config: Config, *path: str, value: object) -> Config:
    """The config with one setting changed."""
    first, *rest = path
    inner = change(getattr(config, first), *rest, value=value) if rest else value
    return dataclasses.replace(config, **{first: inner})  # type: ignore[arg-type]


@pytest.mark.parametrize("kind", KINDS)
def test_the_same_run_goes_on_and_so_does_one_with_settings_that_may_change(runs: dict[str, Config], kind: str) -> None:
    config = runs[kind]
    check_resume(config, "train", [3])
    for path, value in (
        (("steps",), 99),
        (("learner", "lr"), 1e-2),
        (("learner", "micro_batch_size_per_gpu"), 2),
        (("learner", "optimizer"), "adamw8bit"),
        (("rollout", "batch_size"), 5),
        (("resume_mode",), "disable"),
    ):
        check_resume(change(config, *path, value=value), "train", [3])
    check_resume(change(config, "name", value="fresh"), "train", [7, 7])


@pytest.mark.parametrize("kind", ["full", "no reference", "synchronised"])
@pytest.mark.parametrize("name", OTHER)
def test_another_policy(runs: dict[str, Config], tmp_path: Path, kind: str, name: str) -> None:
    make, told = OTHER[name]
    path = str(make(tmp_path / "other"))
    line = refusal(change(runs[kind], "policy", "path", value=path), [3])
    assert line.startswith(f"policy.path={path} ({told}") and runs[kind].policy.path in line
    assert "give name=NEW for a new run" in line


@pytest.mark.parametrize("name", SHAPES)
def test_another_policy_under_an_adapter(runs: dict[str, Config], tmp_path: Path, name: str) -> None:
    path = str(OTHER[name][0](tmp_path / "other"))
    line = refusal(change(runs["lora"], "policy", "path", value=path), [3])
    assert line.startswith(f"policy.path={path}: ") and runs["lora"].policy.path in line


@pytest.mark.parametrize("kind", KINDS)
def test_other_weights_of_the_same_shape(runs: dict[str, Config], tmp_path: Path, kind: str) -> None:
    other, copy = toy(tmp_path / "other", seed=5), tmp_path / "copy"
    assert refusal(change(runs[kind], "policy", "path", value=str(other)), [3]).startswith(f"policy.path={other}: ")
    shutil.copytree(runs[kind].policy.path, copy)  # moved, and the same
    longer = json.loads((copy / "config.json").read_text())
    (copy / "config.json").write_text(json.dumps({**longer, "max_sequence_length": 256}))
    check_resume(change(runs[kind], "policy", "path", value=str(copy)), "train", [3])


SETTINGS: list[tuple[str, tuple[str, ...], object, str, str]] = [
    ("full", ("seed",), 7, "seed=7", "0"),
    ("lora", ("seed",), 7, "seed=7", "0"),
    ("full", ("policy", "dtype"), "bfloat16", "policy.dtype=bfloat16", "float32"),
    ("lora", ("policy", "dtype"), "bfloat16", "policy.dtype=bfloat16", "float32"),
    ("lora", ("learner", "lora", "rank"), 0, "learner.lora.rank=0", "2"),
    ("lora", ("learner", "lora", "rank"), 3, "learner.lora.rank=3", "2"),
    ("lora", ("learner", "lora", "rank"), 1, "learner.lora.rank=1", "2"),
    ("lora", ("learner", "lora", "alpha"), 8.0, "learner.lora.alpha=8.0", "4.0"),
    ("lora", ("learner", "lora", "target"), ["q_proj"], "learner.lora.target=[q_proj]", "[q_proj, v_proj]"),
    ("full", ("learner", "lora", "rank"), 4, "learner.lora.rank=4", "0"),
    ("full", ("learner", "lora", "path"), "somewhere", "learner.lora.path=somewhere", "null"),
    ("no reference", ("learner", "algorithm", "kl_coef"), 0.1, "learner.algorithm.kl_coef=0.1", "0.0"),
    ("full", ("learner", "reference_sync_freq"), 5, "learner.reference_sync_freq=5", "null"),
    ("synchronised", ("learner", "reference_sync_freq"), None, "learner.reference_sync_freq=null", "2"),
]


@pytest.mark.parametrize(("kind", "path", "value", "told", "was"), SETTINGS, ids=lambda value: str(value))
def test_a_setting_that_what_was_saved_depends_on(
    runs: dict[str, Config], kind: str, path: tuple[str, ...], value: object, told: str, was: str
) -> None:
    line = refusal(change(runs[kind], *path, value=value), [3])
    assert line.startswith(f"{told}: ") and f"was saved with {was}; set it as it was" in line
    assert line.endswith("or resume_mode=disable to start over")


@pytest.mark.parametrize(
    ("rows", "sources", "told"),
    [
        ([4], ["rows.jsonl"], "data.train[0].source=rows.jsonl (4 rows): "),
        ([2], ["rows.jsonl"], "data.train[0].source=rows.jsonl (2 rows): "),
        ([4], ["other.jsonl"], "3 rows of rows.jsonl"),
        ([3, 3], ["rows.jsonl", "more.jsonl"], "data.train=rows.jsonl, more.jsonl: "),
        ([3, 3], ["rows.jsonl", "more.jsonl"], "the 1 source(s) rows.jsonl"),
    ],
)
def test_other_data(runs: dict[str, Config], rows: list[int], sources: list[str], told: str) -> None:
    config = change(runs["full"], "data", "train", value=[SourceConfig(source) for source in sources])
    assert told in refusal(config, rows)


def test_a_path_that_would_be_ignored_or_is_not_whole(runs: dict[str, Config], tmp_path: Path) -> None:
    config, first = runs["full"], runs["full"].run_dir / "checkpoints" / "global_step_1"
    at = change(config, "resume_path", value=str(first))
    for mode in ("auto", "disable"):
        with pytest.raises(ConfigError, match=f"not used with resume_mode={mode}; set resume_mode=path, or leave"):
            check_resume(change(at, "resume_mode", value=mode), "train", [3])
    by_path = change(change(at, "resume_mode", value="path"), "name", value="second")
    check_resume(by_path, "train", [3])
    line = "another resume_path"
    with pytest.raises(ConfigError, match=line):
        check_resume(change(by_path, "seed", value=9), "train", [3])
    with pytest.raises(ConfigError, match=r"a checkpoint of `unigrpo train`, not of `unigrpo sft`; .*policy.path="):
        check_resume(by_path, "sft", [3])
    with pytest.raises(CheckpointError, match="no such folder"):
        check_resume(change(by_path, "resume_path", value=str(tmp_path / "nowhere")), "train", [3])


def test_what_passes_is_what_loads(runs: dict[str, Config]) -> None:
    """The check is no stricter than loading: the run that it passes goes on, with the weights that were saved."""
    for kind, config in runs.items():
        check_resume(config, "train", [3])
        learner = make_learner(config)
        assert FolderCheckpoints(config).resume(learner)["step"] == 1, kind
        base = load_policy(config.policy.path).module.state_dict()
        assert all(torch.equal(torch.from_numpy(value), base[name]) for name, value in learner.weights().items())
        learner.close()


def test_damage_is_left_to_resuming(tmp_path: Path) -> None:
    config = saved(tmp_path, "full")
    (config.run_dir / "checkpoints" / "global_step_1" / "state.json").write_text("{")
    check_resume(change(config, "seed", value=8), "train", [3])  # not whole: the run starts afresh


MAY_CHANGE: list[tuple[tuple[str, ...], object]] = [
    (("learner", "max_grad_norm"), 3.0), (("learner", "lr_schedule"), "cosine"), (("rollout", "n_samples_per_prompt"), 8),
    (("save_freq",), 9), (("test_freq",), 9), (("tracking", "experiment"), "other"), (("cluster", "rollout_workers"), 3),
    (("val_before_train",), False), (("learner", "threads"), 2), (("rollout", "text", "temperature"), 0.3),
    (("evaluation", "text", "steps"), 2), (("learner", "algorithm", "clip_low"), 0.1), (("learner", "algorithm", "mu"), 3),
    (("rewards", "mix"), {"text": {"custom": 2.0}}), (("learner", "mini_batch_size"), 2), (("output_dir",), None),
]  # fmt: skip


@pytest.mark.parametrize(("path", "value"), MAY_CHANGE, ids=lambda value: str(value))
def test_what_no_saved_number_depends_on_may_change(
    runs: dict[str, Config], path: tuple[str, ...], value: object
) -> None:
    for config in (runs["full"], runs["lora"]):
        check_resume(change(config, *path, value=config.output_dir if value is None else value), "train", [3])


ROWS: list[tuple[list[int], list[str]]] = [
    ([0], ["rows.jsonl"]), ([300], ["rows.jsonl"]), ([3], ["./rows.jsonl"]), ([3, 1], ["rows.jsonl", "x.jsonl"]),
    ([1, 3], ["x.jsonl", "rows.jsonl"]),
    ([3], ["sub/rows.jsonl"]), ([2], ["x.jsonl"]), ([3, 3, 3], ["rows.jsonl"] * 3), ([], []),
]  # fmt: skip


@pytest.mark.parametrize(("rows", "sources"), ROWS, ids=str)
def test_other_rows_or_the_same_under_another_name(
    runs: dict[str, Config], rows: list[int], sources: list[str]
) -> None:
    """As many rows from as many sources go on, whatever a source is called; else one line says what was saved."""
    config = change(runs["full"], "data", "train", value=[SourceConfig(source) for source in sources])
    if rows == [3]:
        check_resume(config, "train", rows)
    else:
        line = refusal(config, rows)
        assert "data.train" in line and "rows.jsonl" in line and len(line) < 900
