"""Dry runs on the published files themselves, where they lie beside the checkout: configs, indices and tokenizers of released
checkpoints, and the data sets of the field. The shards, which are not there, are sparse files of the published length."""

from __future__ import annotations

import json
import shutil
from functools import cache
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from typer.testing import CliRunner

from cluster.cli.app import app
from rl.config import SourceConfig, load_config
from tests.cluster.recipes.models import LAYOUTS, small_model
from tests.cluster.recipes.test_dry_run import roomy  # noqa: F401
from tests.cluster.recipes.test_run import OURS, model_of
from tests.policies.originals import shapes

SHARED = Path(__file__).parents[3].parent / "shared" / "data"
FOLDERS = {"SDAR-1.7B-Chat": "SDAR-1dot7B-Chat"}  # where the folder has another name than the checkpoint
DATA = {"gsm8k": "gsm8k", "math": "math", "math500": "math", "countdown": "countdown", "sudoku4x4": "sudoku4x4"}
QUICK = ("llada-8b-gsm8k",)
RECIPES = [
    name
    for name in OURS
    if model_of(name) in LAYOUTS and {"gsm8k", "math", "countdown", "sudoku"} & set(name.split("-"))
]

pytestmark = pytest.mark.skipif(not SHARED.is_dir(), reason="the published files are not beside the checkout")


@cache
def published(name: str, root: Path) -> Path:
    """The released folder with sparse shards; where its tokenizer is not there, with a small one that has its tokens."""
    released, folder = SHARED / "checkpoint_layouts" / FOLDERS.get(name, name), root / name
    shutil.copytree(released, folder)
    for file in folder.iterdir():
        file.chmod(0o644)
    if not (folder / "vocab.json").is_file():
        small = small_model(name, root / f"{name}-small")
        for file in ("tokenizer.json", "tokenizer_config.json", "chat_template.jinja"):
            shutil.copyfile(small / file, folder / file)
        ids = json.loads((small / "config.json").read_text())
        config = json.loads((folder / "config.json").read_text())
        config |= {key: ids[key] for key in ("mask_token_id", "eos_token_id", "pad_token_id")}
        (folder / "config.json").write_text(json.dumps(config))
        (folder / "generation_config.json").unlink(missing_ok=True)
    write_shards(folder)
    return folder


def write_shards(folder: Path) -> None:
    wanted = shapes(json.loads((folder / "config.json").read_text()))
    index = folder / "model.safetensors.index.json"
    names = (
        json.loads(index.read_text())["weight_map"] if index.is_file() else dict.fromkeys(wanted, "model.safetensors")
    )
    assert set(names) == set(wanted)  # ours and the published ones
    for shard in sorted(set(names.values())):
        header, end = {}, 0
        for key in (key for key, file in names.items() if file == shard):
            size = 2 * int(torch.Size(wanted[key]).numel())
            header[key] = {"dtype": "BF16", "shape": list(wanted[key]), "data_offsets": [end, end + size]}
            end += size
        text = json.dumps(header).encode()
        with (folder / shard).open("wb") as out:
            out.write(len(text).to_bytes(8, "little") + text)
            out.truncate(8 + len(text) + end)
    with safe_open(folder / shard, "pt") as opened:
        assert set(opened.keys()) == set(header)


def copied(source: SourceConfig) -> dict[str, object]:
    """The recipe's source over the published files: MATH and MATH500 lie in one folder."""
    path = SHARED / DATA[source.source]
    file = path / "math500.parquet" if source.source == "math500" else path
    return {"source": source.source, "path": str(file), "split": source.split, "args": source.args}


@pytest.mark.parametrize(
    "recipe", [name if name in QUICK else pytest.param(name, marks=pytest.mark.long) for name in RECIPES]
)
@pytest.mark.usefixtures("roomy")
def test_a_dry_run_on_published_files_finds_no_mistake(recipe: str, tmp_path_factory: pytest.TempPathFactory) -> None:
    root = tmp_path_factory.getbasetemp() / "published"
    config = load_config(recipe)
    data = [
        f"data.{which}={json.dumps([copied(source) for source in getattr(config.data, which)])}"
        for which in ("train", "val")
    ]
    words = [
        f"policy.path={published(model_of(recipe), root)}",
        f"output_dir={root}/runs",
        "cluster.address=null",
        *data,
    ]
    result = CliRunner().invoke(app, ["train", "--dry-run", "--recipe", recipe, *words], env={"COLUMNS": "200"})
    assert result.exit_code == 0, result.output
    assert "Every check passed. Nothing was started." in result.stdout and "GB a learner rank" in result.stdout
