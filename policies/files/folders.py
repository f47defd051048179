"""Policy folders by their files alone: without torch, so that a wrong path is told at once."""

from __future__ import annotations

import os
from collections.abc import Mapping
from importlib import resources
from pathlib import Path
from typing import Any

from policies.files.parts import INDEX, PICKLED, SINGLE, VOCABULARY_FILES, Part, weight_map
from policies.files.strict_json import read_json, shown
from rl.errors import PolicyError
from rl.hub.names import HOW, hub_name, problem


def find_policy(path_or_name: str | Path, part: Part = Part.ALL) -> Path:
    """The folder of a path, of a shipped policy's name, or of a repository on a hub, which is downloaded into the cache.

    A folder goes before a name. Raises PolicyError; reads no weights.
    """
    text, names = str(path_or_name), shipped_names()
    folder = _shipped() / text if text in names else Path(path_or_name)
    if os.path.isdir(folder):  # False also for a name that is too long to ask about
        return folder
    found = hub_name(text)
    if found is None:
        raise PolicyError(
            f"policy.path={text!r}: no such folder; allowed: a Hugging Face-layout folder, one of "
            f"{', '.join(names) or '(none shipped)'}, or a name on a hub: {HOW} (this is {problem(text) or 'a file'})"
        )
    from policies.files.hub import fetch

    return fetch(found, part)


def shipped_names() -> list[str]:
    """What ``policy.path`` may say instead of a folder."""
    return sorted(folder.name for folder in _shipped().glob("*") if (folder / "config.json").is_file())


def is_shipped(folder: Path) -> bool:
    """Whether it is one of ours, and no stranger's."""
    return folder.parent == _shipped()


def is_cached(folder: Path) -> bool:
    """Whether it is a snapshot in the cache of ``huggingface_hub``, whose weights may be still to come."""
    return folder.parent.name == "snapshots" and folder.parent.parent.name.startswith("models--")


def name_of(folder: Path) -> str:
    """How a policy's folder is called: the repository's name where it lies in the cache, else the folder's own."""
    return folder.parent.parent.name.removeprefix("models--").replace("--", "/") if is_cached(folder) else folder.name


def _shipped() -> Path:
    return Path(str(resources.files("policies") / "shipped"))


def check_files(path_or_name: str | Path, part: Part = Part.ALL) -> Path:
    """find_policy, and that its config, weights and tokenizer are there. Raises PolicyError.

    part: short of ALL, weights of a repository on a hub may be still to come; of other folders they are looked for.
    """
    folder = find_policy(path_or_name, part)
    read_config(folder)
    if part is Part.ALL or not is_cached(folder):
        present_weight_files(folder)
    if not (folder / "tokenizer.json").is_file() and not all((folder / name).is_file() for name in VOCABULARY_FILES):
        raise PolicyError(f"{folder}: no tokenizer.json; save the tokenizer with transformers' fast tokenizer first")
    return folder


def read_config(folder: Path) -> Mapping[str, Any]:
    """config.json, with one whole number for ``eos_token_id`` and for ``mask_token_id``, or without them.

    What generation_config.json says of the end of a text goes before it, as in transformers; of several such tokens, the
    first. The mask is config.json's, or else generation_config.json's. null counts as absent. Raises PolicyError, also
    where the weights are quantised.
    """
    file, beside = folder / "config.json", folder / "generation_config.json"
    if not file.is_file():
        raise PolicyError(
            f"{folder}: no config.json; a policy folder has config.json, *.safetensors and tokenizer.json"
        )
    config = read_object(file)
    generation = read_object(beside) if beside.is_file() else {}
    if config.get("quantization_config"):
        raise PolicyError(
            f"{file}: quantization_config={shown(config['quantization_config'])}: quantised weights cannot be trained; "
            "use an unquantised checkpoint"
        )
    ids = {
        "eos_token_id": _token_ids(beside, generation, "eos_token_id") or _token_ids(file, config, "eos_token_id"),
        "mask_token_id": _only(file, config) or _only(beside, generation),
    }
    rest = {name: value for name, value in config.items() if name not in ids}
    return {**rest, **{name: found[0] for name, found in ids.items() if found}}


def _only(file: Path, config: Mapping[str, Any]) -> list[int]:
    ids = _token_ids(file, config, "mask_token_id")
    if len(ids) > 1:
        raise PolicyError(
            f"{file}: mask_token_id={shown(ids)}: must be one token id; take the one that stands for unknown tokens"
        )
    return ids


def _token_ids(file: Path, config: Mapping[str, Any], name: str) -> list[int]:
    """None, one or several: absent or null, a number, a list of numbers. Raises PolicyError."""
    value = config.get(name)
    ids = [] if value is None else value if isinstance(value, list) else [value]
    if any(isinstance(each, bool) or not isinstance(each, int) for each in ids):
        raise PolicyError(
            f"{file}: {name}={shown(value)}: must be a token's id, a whole number; take it from the tokenizer that these "
            "weights were trained with"
        )
    return ids


def read_object(file: Path) -> Mapping[str, Any]:
    """A JSON object. Raises PolicyError, also where the file cannot be read."""
    content = read_json(file)
    if not isinstance(content, dict):
        raise PolicyError(f"{file}: expected a JSON object, got {type(content).__name__}")
    return content


def weight_files(folder: Path) -> list[Path]:
    index = folder / INDEX
    if index.is_file():
        return [folder / name for name in sorted(set(weight_map(index).values()))]
    if (folder / SINGLE).is_file():
        return [folder / SINGLE]
    if any(folder.glob("*.bin")):
        raise pickled(folder)
    other = sorted(file for suffix in ("*.pt", "*.pth", "*.ckpt") for file in folder.glob(suffix))
    if other:
        raise PolicyError(
            f"{other[0]}: a pickle, which can run code when loaded, and not a release's {PICKLED}; save the weights as "
            f"{SINGLE} with the code that wrote it"
        )
    raise PolicyError(f"{folder}: no {SINGLE} and no {INDEX}")


def present_weight_files(folder: Path) -> list[Path]:
    """``weight_files``, which are all there. Raises PolicyError."""
    files = weight_files(folder)
    for file in files:
        if not os.path.isfile(file):
            raise PolicyError(f"{file}: listed in {INDEX} but missing; copy it from the original checkpoint")
    places = {(found.st_dev, found.st_ino) for found in map(os.stat, files)}
    if len(places) < len(files):  # no tensor stands in two files, and each would be read anew
        raise PolicyError(f"{folder / INDEX}: two of its names are one file; copy it from the original checkpoint")
    return files


def pickled(folder: Path) -> PolicyError:
    return PolicyError(
        f"{folder}: only pickled weights (.bin), which can run code when loaded; convert them with "
        f"`python -m policies.convert {folder}`, which reads tensors and refuses anything else"
    )
