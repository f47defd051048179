"""Pickled weights (.bin) to safetensors: ``python -m policies.convert FOLDER``.

A pickle can run code when it is loaded. This reads with ``weights_only``, which builds tensors and refuses all else, one
file at a time; the .bin files stay where they are. What is written replaces a file of that name, and a link of that name,
not what the link leads to.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import sys
import tempfile
import warnings
import zipfile
from collections.abc import Callable
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor

from policies.files.folders import read_config
from policies.files.parts import INDEX, PICKLED, SINGLE, weight_map
from policies.files.strict_json import open_regular, read_json, shown
from rl.errors import PolicyError, UniGRPOError, first_line

BIN_INDEX = "pytorch_model.bin.index.json"
MAX_KEY = 1000  # characters of a tensor's name
_SPARE = 1 << 20  # bytes by which tensors may outgrow their file: those that share memory are written each by itself
_TIMES = 4  # likewise
_NAMED = re.compile(r"\bGLOBAL ([\w.]+)|\bname[d]? '?([\w.]+)'?")


def convert_folder(folder: Path) -> list[Path]:
    """Write a safetensors file beside each .bin file, and an index where there was one. Raises PolicyError."""
    # A trainer leaves other pickles beside the weights, such as training_args.bin.
    files = sorted(folder.glob(PICKLED)) or sorted(folder.glob("*.bin"))
    if not files:
        raise PolicyError(f"{folder}: no .bin file to convert")
    target = {file.name: file.name.removesuffix(".bin") + ".safetensors" for file in files}
    if len(files) == 1 and _is_policy(folder):
        target[files[0].name] = SINGLE
    index = folder / BIN_INDEX
    there = _renamed(index, target) if index.is_file() else None
    for file in files:
        state = _read(file)
        _replace(folder / target[file.name], lambda path, state=state: save_file(state, path, {"format": "pt"}))
    if there is not None:
        text = json.dumps(there, indent=2) + "\n"
        _replace(folder / INDEX, lambda path: Path(path).write_text(text, "utf-8"))
    return [folder / name for name in target.values()]


def _is_policy(folder: Path) -> bool:
    """And no image tokenizer, whose single file keeps the name that its own loader looks for."""
    return (folder / "config.json").is_file() and "model_type" in read_config(folder)


def _renamed(index: Path, target: dict[str, str]) -> dict[str, object]:
    """The index with the new names of the files. Raises PolicyError."""
    places = weight_map(index)
    unknown = next((name for name in places.values() if name not in target), None)
    if unknown is not None:
        raise PolicyError(f"{index}: names {shown(unknown)}, which is no .bin file here; copy the folder again")
    return {**read_json(index), "weight_map": {key: target[name] for key, name in places.items()}}


def _read(file: Path) -> dict[str, Tensor]:
    """The tensors of a pickle, each with memory of its own. Raises PolicyError."""
    with open_regular(file) as source:
        size = os.fstat(source.fileno()).st_size
        _check_archive(file, size)
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                state = torch.load(source, map_location="cpu", weights_only=True)
        except Exception as error:  # garbage fails anywhere in the reader
            raise PolicyError(
                f"{file}: {_told(error)}; nothing of it was run; take a release with safetensors"
            ) from error
    if not isinstance(state, dict) or not all(isinstance(value, Tensor) for value in state.values()):
        raise PolicyError(f"{file}: not a mapping of names to tensors")
    for name, value in state.items():
        _check_tensor(file, name, value)
    if sum(value.numel() * value.element_size() for value in state.values()) > _TIMES * size + _SPARE:
        raise PolicyError(
            f"{file}: its tensors are more than {_TIMES} times its {size} bytes; take a release with safetensors"
        )
    # Tied tensors share memory, which safetensors refuses: give each its own.
    return {name: value.detach().clone().contiguous() for name, value in state.items()}


def _check_archive(file: Path, size: int) -> None:
    """Raises PolicyError for an archive that unpacks to more than the file has: torch packs none."""
    try:
        with zipfile.ZipFile(file) as archive:
            unpacked = sum(entry.file_size for entry in archive.infolist())
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError):
        return  # the older kind, or garbage, which torch tells apart
    if unpacked > size:
        raise PolicyError(
            f"{file}: unpacks to {unpacked} bytes from {size}; torch saves weights unpacked: copy it again"
        )


def _check_tensor(file: Path, name: object, value: Tensor) -> None:
    if not isinstance(name, str) or len(name) > MAX_KEY or not name.isprintable():
        raise PolicyError(f"{file}: {shown(name)} is no name of a tensor")
    if value.layout != torch.strided or value.device.type != "cpu" or value.is_quantized:
        raise PolicyError(
            f"{file}: {name}: a tensor of {value.layout} on {value.device}; must be dense, with its numbers"
        )
    if value.numel() * value.element_size() > value.untyped_storage().nbytes():
        raise PolicyError(
            f"{file}: {name}: shape {tuple(value.shape)} repeats {value.untyped_storage().nbytes()} bytes, which no weight does; "
            "take a release with safetensors"
        )


def _told(error: Exception) -> str:
    """In our words: torch's own advise to load it with all its powers."""
    text = " ".join(str(error).split())
    named = _NAMED.search(text)
    if "weights_only" in text.lower() or "Unsupported" in text:
        return f"more than tensors, so it is not read{f': it asks for {named[1] or named[2]}' if named else ''}"
    if isinstance(error, MemoryError) or "allocate memory" in text:
        return "asks for more memory than there is, so it is not read"
    return f"not a whole pickle of tensors ({type(error).__name__}: {first_line(error)[:100]})"


def _replace(file: Path, write: Callable[[str], object]) -> None:
    """Write beside, then rename: what stands in a file's place may be a link to another. Raises PolicyError."""
    descriptor, beside = tempfile.mkstemp(prefix=f".{file.name[:50]}.", suffix=".part", dir=file.parent)
    os.close(descriptor)
    try:
        write(beside)
        os.chmod(beside, 0o644)
        os.replace(beside, file)
    except Exception as error:
        raise PolicyError(f"{file}: cannot be written: {first_line(error)}") from error
    finally:
        Path(beside).unlink(missing_ok=True)


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
