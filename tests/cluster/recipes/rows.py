"""A few rows for each data preset that a recipe names, in the columns of the published files. We made them up."""

from __future__ import annotations

import json
from pathlib import Path

from PIL import Image

from rl.config import Config, SourceConfig

COUNT = 6
FILES: dict[str, tuple[str, str]] = {  # preset -> its file of training rows, and of held-out ones
    "imagereward-prompts": ("imagereward_refl.json", "imagereward_refl.json"),
    "geneval": ("evaluation_metadata.jsonl", "evaluation_metadata.jsonl"),
}
GRID = "1234341221434321"


def row(preset: str, index: int, folder: Path) -> dict[str, object]:
    """The one numbered ``index``; pictures are written beside the rows."""
    total = f"{index} + {index + 1}"
    if preset == "gsm8k":
        return {"question": f"What is {total}?", "answer": f"{total} = {2 * index + 1}\n#### {2 * index + 1}"}
    if preset in ("math", "math500"):
        answer = f"\\boxed{{{2 * index + 1}}}"
        return {"problem": f"Compute ${total}$.", "solution": answer, "answer": str(2 * index + 1)}
    if preset == "countdown":
        return {"numbers": [index + 1, 2, 3], "target": index + 6}
    if preset == "sudoku4x4":
        hidden = GRID[:index] + "0" + GRID[index + 1 :]
        return {"puzzle": hidden, "solution": GRID}
    if preset in ("clevr", "geoqa"):
        file = folder / f"{index}.png"
        Image.new("RGB", (32, 32), (40 * index, 90, 20)).save(file)
        return {
            "image": file.name,
            "problem": f"How many of the {index} are red?",
            "solution": f"<answer> {index} </answer>",
        }
    if preset == "kodcode":
        return {
            "question": f"Write a function add{index}(a) that adds {index} to a.",
            "solution": f"def add{index}(a):\n    return a + {index}\n",
            "test": f"from solution import add{index}\n\ndef test_it():\n    assert add{index}(1) == {index + 1}\n",
            "test_info": [{"function_name": f"add{index}", "parameter_list": "(a)"}],
        }
    if preset == "mbpp":
        tests = [f"assert add{index}(1) == {index + 1}"]
        code = f"def add{index}(a):\n    return a + {index}"
        return {"task_id": index, "text": f"Write add{index}.", "code": code, "test_list": tests, "test_setup_code": ""}
    if preset == "geneval":
        shown = [{"class": "cow", "count": index}]
        return {"tag": "counting", "include": shown, "prompt": f"a photo of {index} cows"}
    return {"text": f"drawing {index}"} if preset == "imagereward-prompts" else {"prompt": f"a photo of {index} cows"}


def source_of(source: SourceConfig, root: Path, held_out: bool) -> dict[str, object]:
    """The recipe's source with rows of ours: other rows where it is held out, since the two never meet."""
    train_file, val_file = FILES.get(source.source, ("train.jsonl", "test.jsonl"))
    folder = root / source.source
    folder.mkdir(parents=True, exist_ok=True)
    if source.source in ("clevr", "geoqa"):  # published with training rows alone
        val_file = train_file
    first = 100 if held_out and val_file != train_file else 0
    rows = [row(source.source, first % 50 + index + (7 if held_out else 0), folder) for index in range(COUNT)]
    if source.source in ("clevr", "geoqa"):
        rows = [row(source.source, index, folder) for index in range(COUNT)]
    if source.source == "sudoku4x4":
        rows = [row(source.source, index + (8 if held_out else 0), folder) for index in range(COUNT)]
    file = folder / (val_file if held_out else train_file)
    whole = json.dumps(rows) if file.suffix == ".json" else "".join(json.dumps(each) + "\n" for each in rows)
    file.write_text(whole)
    found: dict[str, object] = {
        "source": source.source,
        "path": str(folder),
        "split": source.split,
        "args": source.args,
    }
    if held_out:
        found["limit"] = 2
    return found


def data_overrides(config: Config, root: Path) -> list[str]:
    """``data.train=[...]`` and ``data.val=[...]`` with the recipe's own presets over rows of ours."""
    train = [source_of(source, root, False) for source in config.data.train]
    val = [source_of(source, root, True) for source in config.data.val]
    return [f"data.train={json.dumps(train)}", f"data.val={json.dumps(val)}"]
