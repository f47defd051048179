"""What Ray's client uploads for a job, as a head receives it: nothing that was staged is left out."""

from __future__ import annotations

import io
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from typer.testing import CliRunner

from cluster.cli.app import app
from cluster.jobs.requirements import packages
from rl.errors import ConfigError
from tests.cluster.jobs.head import a_head
from tests.cluster.recipe import write_recipe

HOME = Path(__file__).parents[3]
REWARD = """
from pathlib import Path
import helper

def reward(prompts, completions, lists, **columns):
    assert helper.word == "w" and Path(lists[0]["en"]).read_text() == "en"
    return [0.5 for _ in completions]
"""
CHECKS = """
import sys
from pathlib import Path
from rl.config import load_config
config = load_config("job.yaml")
sys.path.append(str(Path(config.custom_reward_function.path).parent))
from cluster.run.preflight import check
inputs = check(config, needs_train=True, needs_val=True)
from rewards.mix import RewardMix
from rl.types import RewardItem
mix = RewardMix({"text": {"custom": 1.0}}, custom={**vars(config.custom_reward_function)})
print(len(inputs.train[0]), [score.value for score in mix.score([RewardItem(inputs.val[0], "answer")])])
"""


def test_a_job_is_whole_where_it_arrives(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Below folders that Ray leaves out of its own accord, and past ignore files of the user's."""
    for name in ("RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH", "RAY_AUTH_MODE"):
        monkeypatch.delenv(name, raising=False)
    home = tmp_path / ".venv" / "venv" / ".git" / "home"
    for folder in ("lists", "src"):
        (home / folder).mkdir(parents=True)
    monkeypatch.chdir(home)
    write_recipe(home)
    Path("lists/en.txt").write_text("en")
    for folder in (".", "lists", "src"):
        for name in (".rayignore", ".gitignore"):
            Path(folder, name).write_text("*.txt\n*.py\n*.jsonl\n")
    Path("src/graded.py").write_text(REWARD)
    Path("src/helper.py").write_text("word = 'w'")
    settings = (
        "custom_reward_function.path=src/graded.py",
        "custom_reward_function.reward_kwargs={lists: [{en: lists/en.txt, all: ./lists}]}",
    )
    with a_head() as head:
        address = f"http://127.0.0.1:{head.server_port}"
        done = CliRunner().invoke(
            app, ["submit", "--no-wait", "--address", address, "--recipe", "recipe.yaml", *settings]
        )
    assert done.exit_code == 0, done.stderr
    home.rename(home.parent / "gone")
    (job,) = head.jobs
    work, *code = [_unpacked(head.uploads, name, tmp_path) for name in _packages(job)]
    checked = subprocess.run(
        [sys.executable, "-c", CHECKS], cwd=work, env={"PYTHONPATH": ":".join(map(str, code)), "PATH": ""},
        capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    assert checked.stdout.split("\n")[-2] == "4 [0.5]", checked.stderr
    assert str(HOME) not in checked.stderr


def _packages(job: dict[str, object]) -> list[str]:
    """Addresses of the working directory and of the modules."""
    environment = job["runtime_env"]
    assert isinstance(environment, dict)
    return [environment["working_dir"], *environment["py_modules"]]


def _unpacked(uploads: dict[str, bytes], address: str, folder: Path) -> Path:
    target = folder / "node" / address.partition("://")[2].removesuffix(".zip")
    (data,) = [data for path, data in uploads.items() if path.endswith(address.partition("://")[2])]
    zipfile.ZipFile(io.BytesIO(data)).extractall(target)
    return target


def test_packages_to_install(tmp_path: Path) -> None:
    (tmp_path / "more").mkdir()
    (tmp_path / "more" / "other.txt").write_text("-r ../all.txt\nnumpy>=2 \\\n  ; python_version > '3'\n")
    lines = ["# ours", "", "rapidfuzz==3.9  # fast", "-r more/other.txt", "x @ https://host/x.whl", "--index-url https://host/simple",
             "git+https://host/y.git#egg=y"]  # fmt: skip
    (tmp_path / "all.txt").write_text("\ufeff" + "\n".join(lines))
    assert packages(tmp_path / "all.txt") == {
        "pip": {
            "packages": [
                "rapidfuzz==3.9", "numpy>=2   ; python_version > '3'", "x @ https://host/x.whl",
                "--index-url https://host/simple", "git+https://host/y.git#egg=y",
            ]
        }
    }  # fmt: skip
    assert packages(None) == {}


@pytest.mark.parametrize(
    "line",
    [
        "./mine", "../mine", ".", "/home/me/mine", "-e .", "-e mine", "--editable ./mine", "mine-1.0-py3-none-any.whl",
        "wheels/mine.whl", "dist/mine-1.0.tar.gz", "mine @ file:///home/me/mine", "file:mine", "-c limits.txt",
        "--constraint=limits.txt", "-f ./wheels", "--find-links=/wheels",
    ],
)  # fmt: skip
def test_packages_of_this_machine_are_refused(tmp_path: Path, line: str) -> None:
    file = tmp_path / "all.txt"
    file.write_text(f"numpy\n{line}\n")
    with pytest.raises(ConfigError) as told:
        packages(file)
    assert str(told.value).startswith(f"--requirements {file}: line 2: {line}: a file of this machine")


@pytest.mark.parametrize(
    ("text", "why"), [(None, "no such file"), ("# none\n", "names no package"), ("-r nope.txt", "nope.txt: no")]
)
def test_requirements_without_packages(tmp_path: Path, text: str | None, why: str) -> None:
    if text is not None:
        (tmp_path / "all.txt").write_text(text)
    with pytest.raises(ConfigError, match=why):
        packages(tmp_path / "all.txt")
