"""A disk without room for what a run leaves is found before anything starts; one that fills up later ends no training."""

from __future__ import annotations

import shutil
from pathlib import Path
from types import SimpleNamespace

import pytest

from cluster.run import disk
from cluster.run.disk import check_space, free_bytes, in_units
from policies import load_policy
from rl.config import Config, build_config
from rl.errors import ConfigError
from tests.cluster.cli.test_app import make_run, unigrpo
from tests.policies.originals import CONFIGS, write_folder
from tests.toys import toy_folder


@pytest.fixture(scope="module")
def weights() -> int:
    """Numbers in the toy's weights."""
    return sum(parameter.numel() for parameter in load_policy(toy_folder()).module.parameters())


def config(folder: Path, **settings: object) -> Config:
    return build_config([("test", {"output_dir": str(folder / "runs"), "name": "run", **settings})])


def refusal(monkeypatch: pytest.MonkeyPatch, wanted: Config, free: int, **options: bool) -> str:
    """The line, or an empty text."""
    monkeypatch.setattr(disk, "free_bytes", lambda folder: free)
    try:
        check_space(wanted, toy_folder(), **options)
    except ConfigError as error:
        return str(error)
    return ""


LORA = {"learner": {"lora": {"rank": 4}}}
ROOM: list[
    tuple[dict, dict, bool, int]
] = [  # settings, options, whether a policy is there, bytes a weight that are needed
    ({}, {}, False, 16),  # a checkpoint is the weights and two moments, and the policy is written beside it
    ({}, {"trains": False}, False, 16),
    ({"policy": {"dtype": "bfloat16"}}, {}, False, 8),
    (LORA, {}, False, 4),  # an adapter's checkpoints are small; the policy that comes of it is not
    ({**LORA, "policy": {"dtype": "bfloat16"}}, {}, False, 2),
    (LORA, {"trains": False}, False, 16),  # sft trains all weights, whatever the learner's section says
    ({"learner": {"lora": {"path": "adapter"}}}, {}, False, 4),
    ({}, {}, True, 12),
    (LORA, {}, True, 0),
    ({"keep_checkpoints": 9}, {}, False, 16),
]


@pytest.mark.parametrize(("settings", "options", "there", "needed"), ROOM)
def test_what_just_fits_passes_and_a_byte_less_is_one_line(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, weights: int,
    settings: dict, options: dict, there: bool, needed: int,
) -> None:  # fmt: skip
    wanted = config(tmp_path, **settings)
    if there:
        (wanted.run_dir / "policy").mkdir(parents=True)
    assert refusal(monkeypatch, wanted, needed * weights, **options) == ""
    if needed:
        line = refusal(monkeypatch, wanted, needed * weights - 1, **options)
        assert line.startswith(f"output_dir={tmp_path / 'runs'}: ") and "\n" not in line
        assert ("a checkpoint of " in line) == (needed > 4) and ("the trained policy of " in line) == (not there)
        assert refusal(monkeypatch, wanted, 0, **options) != ""


@pytest.mark.parametrize("name", sorted(CONFIGS))
def test_the_weights_of_every_family_are_counted_without_reading_them(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, name: str
) -> None:
    folder = write_folder(name, tmp_path / name)
    count = sum(parameter.numel() for parameter in load_policy(folder).module.parameters())
    for file in folder.glob("*.safetensors"):
        file.unlink()
    monkeypatch.setattr(disk, "free_bytes", lambda _: 16 * count)
    check_space(config(tmp_path), folder)
    monkeypatch.setattr(disk, "free_bytes", lambda _: 16 * count - 1)
    with pytest.raises(ConfigError, match="this run needs room for at least"):
        check_space(config(tmp_path), folder)


@pytest.mark.parametrize("below", ["", "runs", "runs/a/b", "no/such/place/yet"])
def test_the_disk_is_that_of_the_nearest_folder_there_is(tmp_path: Path, below: str) -> None:
    assert abs(free_bytes(tmp_path / below) - shutil.disk_usage(tmp_path).free) < 2**28
    assert not (tmp_path / "no").exists()


@pytest.mark.parametrize(
    ("count", "shown"),
    [(0, "0 bytes"), (1023, "1023 bytes"), (1024, "1.0 KiB"), (3 * 2**19, "1.5 MiB"), (32 * 10**9, "29.8 GiB"), 
     (2**42, "4.0 TiB"),
     (2**54, "16384.0 TiB")],
)  # fmt: skip
def test_sizes_in_words(count: int, shown: str) -> None:
    assert in_units(count) == shown


@pytest.mark.parametrize("command", ["train", "sft"])
def test_a_full_disk_is_one_line_before_the_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: str
) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda path: SimpleNamespace(free=5000))
    result = unigrpo(command, "--recipe", make_run(tmp_path))
    assert result.exit_code == 2 and result.stdout == "" and result.stderr.count("\n") == 1
    assert result.stderr.startswith(
        f"error: output_dir={tmp_path / 'runs'}: 4.9 KiB are free on its disk; this run needs"
    )
    assert not (tmp_path / "runs").exists()


def test_an_evaluation_needs_no_room_for_a_policy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda path: SimpleNamespace(free=5000))
    assert unigrpo("eval", "--recipe", make_run(tmp_path), "tracking.mlflow=false").exit_code == 0
