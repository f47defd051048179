"""Pickled weights (.bin) to safetensors: ``python -m policies.convert FOLDER``.

A pickle can run code when it is loaded. This reads with ``weights_only``, which builds tensors and refuses all else, one
file at a time; the .bin files stay where they are.
"""

from __future__ import annotations

import argparse
import json
import pickle
import sys
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor

from policies.files.folders import INDEX, PICKLED, SINGLE, read_config
from rl.errors import PolicyError, UniGRPOError, first_line

BIN_INDEX = "pytorch_model.bin.index.json"


def convert_folder(folder: Path) -> list[Path]:
    """Write a safetensors file beside each .bin file, and an index where there was one. Raises PolicyError."""
    # A trainer leaves other pickles beside the weights, such as training_args.bin.
    files = sorted(folder.glob(PICKLED)) or sorted(folder.glob("*.bin"))
    if not files:
        raise PolicyError(f"{folder}: no .bin file to convert")
    target = {file.name: file.name.removesuffix(".bin") + ".safetensors" for file in files}
    if len(files) == 1 and _is_policy(folder):
        target[files[0].name] = SINGLE
    for file in files:
        save_file(_read(file), str(folder / target[file.name]), metadata={"format": "pt"})
    if (folder / BIN_INDEX).is_file():
        index = json.loads((folder / BIN_INDEX).read_text())
        index["weight_map"] = {key: target[name] for key, name in index["weight_map"].items()}
        (folder / INDEX).write_text(json.dumps(index, indent=2) + "\n")
    return [folder / name for name in target.values()]


def _is_policy(folder: Path) -> bool:
    """And no image tokenizer, whose single file keeps the name that its own loader looks for."""
    return (folder / "config.json").is_file() and "model_type" in read_config(folder)


def _read(file: Path) -> dict[str, Tensor]:
    try:
        state = torch.load(file, map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, EOFError, OSError) as error:
        raise PolicyError(f"{file}: more or less than tensors, so it is not read: {first_line(error)}") from error
    if not isinstance(state, dict) or not all(isinstance(value, Tensor) for value in state.values()):
        raise PolicyError(f"{file}: not a mapping of names to tensors")
    # Tied tensors share memory, which safetensors refuses: give each its own.
    return {name: value.clone().contiguous() for name, value in state.items()}


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m policies.convert", description=__doc__)
    parser.add_argument("folder", type=Path)
    try:
        written = convert_folder(parser.parse_args().folder)
    except UniGRPOError as error:
        print(error, file=sys.stderr)
        raise SystemExit(2) from error
    print(*(f"wrote {file}" for file in written), sep="\n")


if __name__ == "__main__":
    main()
