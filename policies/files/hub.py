"""Policies by their name on a hub: the files that a policy is made of, through ``huggingface_hub`` and its cache.

Never code and never a pickle. Of each file the client keeps one copy in its cache, and one process at a time fetches it: the
others wait for its lock. A name with a commit whose files are there asks nothing of the network.
"""

from __future__ import annotations

import glob
import os
import shutil
import sys
from collections.abc import Mapping, Sequence
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from policies.files.parts import CONFIG, INDEX, MOST_BYTES, SINGLE, Part, weight_map
from rl.errors import PolicyError, UniGRPOError
from rl.hub.failures import MODEL, cache_folder, prepare_client, told, unreachable
from rl.hub.names import HubName
from rl.output.printable import said

# What load_policy reads beside the weights, at the places where it reads it: a name matches within its own folder alone.
SIZES = (CONFIG, "generation_config.json", INDEX)
CHECKS = (
    "tokenizer*.json", "vocab.json", "merges.txt", "special_tokens_map.json", "added_tokens.json", "chat_template.jinja",
    "additional_chat_templates/*.jinja", "image_tokenizer/config.json", "image_tokenizer/*.safetensors",
)  # fmt: skip
TEXTS = (".json", ".txt", ".jinja")
PICKLES = (".bin", ".pt", ".pth", ".ckpt")


def fetch(name: HubName, part: Part = Part.ALL) -> Path:
    """The folder of a repository's files in the cache of ``huggingface_hub``; what is missing there is downloaded.

    Raises PolicyError, one line: no such repository or revision, gated, no network, pickles alone, no room.
    """
    where = f"policy.path={str(name)!r}"
    try:
        prepare_client()
        commit = HubName(name.name, _resolved(name))
        listing = _listing(commit, _download(commit, [CONFIG]))
        _require_readable(where, name, listing)
        wanted = _matching(listing, SIZES if part is Part.SIZES else (*SIZES, *CHECKS))
        folder = _download(commit, wanted)
        if part is Part.ALL:
            wanted += _pieces(where, folder, listing)
            _announce(where, commit, folder, {file: listing[file] for file in wanted})
            _download(commit, wanted, bars=True)
        _require_whole(where, commit, folder, wanted)
        return folder
    except UniGRPOError:
        raise
    except Exception as error:  # the client, its HTTP library and the disk raise classes of their own
        raise PolicyError(told(error, where, name, MODEL)) from error


def fetch_image_tokenizer(where: str, name: HubName) -> Path:
    """The folder of an image tokenizer's repository: config and its one file of weights. where: the setting and its value.

    Raises PolicyError, one line; a repository with a pickle alone says how to convert it.
    """
    try:
        prepare_client()
        commit = HubName(name.name, _resolved(name))
        listing = _listing(commit, _download(commit, [CONFIG]))
        weights = _matching(listing, ["*.safetensors"])
        if len(weights) != 1:
            pickles = [file for file in listing if file.endswith(PICKLES) and "/" not in file]
            raise PolicyError(
                f"{where}: {len(weights)} safetensors files; an image tokenizer has one"
                if weights or not pickles
                else f"{where}: only pickled weights ({pickles[0]}), which can run code when loaded and are not downloaded; "
                f"`hf download {name.name} --local-dir FOLDER`, then `python -m policies.convert FOLDER` and "
                f"{where.partition('=')[0]}=FOLDER"
            )
        wanted = [CONFIG, *weights]
        folder = _download(commit, wanted)
        _require_whole(where, commit, folder, wanted)
        return folder
    except UniGRPOError:
        raise
    except Exception as error:  # as above
        raise PolicyError(told(error, where, name, MODEL)) from error


def resolve(name: HubName, setting: str = "policy.path") -> HubName:
    """The name with the commit that its revision is now; the cache's where the hub cannot be reached. Raises PolicyError."""
    try:
        prepare_client()
        return HubName(name.name, _resolved(name))
    except Exception as error:
        raise PolicyError(told(error, f"{setting}={str(name)!r}", name, MODEL)) from error


def _resolved(name: HubName) -> str:
    from huggingface_hub import HfApi

    return HfApi().resolve_revision(name.name, revision=name.revision).resolved


def _download(name: HubName, files: Sequence[str], bars: bool = False) -> Path:
    """These files and no others. bars: with the client's own progress bars where there are any to fetch."""
    from huggingface_hub import snapshot_download

    folder = Path(cache_folder(), f"models--{name.name.replace('/', '--')}", "snapshots", str(name.revision))
    if all(os.path.isfile(folder / file) for file in files) and _cached_tree(name) is not None:
        return folder
    patterns = [glob.escape(file) for file in files]
    shown = None if bars else _silent()
    return Path(
        snapshot_download(name.name, revision=name.revision, allow_patterns=patterns, tqdm_class=shown)  # pyright: ignore
    )


def _silent() -> type:
    """The client's progress bar, switched off: for files of some KB."""
    from huggingface_hub.utils import tqdm

    class Silent(tqdm):
        def __init__(self, *args: Any, **settings: Any) -> None:
            super().__init__(*args, **{**settings, "disable": True})

    return Silent


def _cached_tree(name: HubName) -> dict[str, int] | None:
    """File -> bytes, as the client last saw them; None where it did not list this commit."""
    from huggingface_hub import get_cached_repo_tree
    from huggingface_hub.errors import CachedRepoTreeNotFoundError

    try:
        return {file.path: file.size for file in get_cached_repo_tree(name.name, revision=name.revision)}
    except CachedRepoTreeNotFoundError:
        return None


def _listing(name: HubName, folder: Path) -> Mapping[str, int]:
    """File -> bytes. Of a cache that another tool filled, without a list, and without a network: what is there."""
    listed = _cached_tree(name)
    if listed is not None:
        return listed
    return {str(file.relative_to(folder)): file.stat().st_size for file in folder.rglob("*") if file.is_file()}


def _matching(listing: Mapping[str, int], patterns: Sequence[str]) -> list[str]:
    """Files of the listing that a pattern names in its own folder."""
    return [
        file
        for file in sorted(listing)
        if any(fnmatchcase(file, each) and file.count("/") == each.count("/") for each in patterns)
        and ".." not in file.split("/")
    ]


def _require_readable(where: str, name: HubName, listing: Mapping[str, int]) -> None:
    if CONFIG not in listing:
        raise PolicyError(f"{where}: no {CONFIG} in it; a policy has {CONFIG}, *.safetensors and a tokenizer")
    large = next(
        (file for file in _matching(listing, (*SIZES, *CHECKS)) if listing[file] > MOST_BYTES and file.endswith(TEXTS)),
        None,
    )
    if large is not None:
        raise PolicyError(f"{where}: {large} has {listing[large]:,} bytes; allowed: {MOST_BYTES:,}")
    if SINGLE in listing or INDEX in listing:
        return
    if any(file.endswith(PICKLES) and "/" not in file for file in listing):
        raise PolicyError(
            f"{where}: only pickled weights (.bin), which can run code when loaded and are not downloaded; take a repository "
            f"with safetensors, or `hf download {name.name} --local-dir FOLDER`, then `python -m policies.convert FOLDER` and "
            "policy.path=FOLDER"
        )
    raise PolicyError(f"{where}: no {SINGLE} and no {INDEX} in it; take a repository with the weights of a whole model")


def _pieces(where: str, folder: Path, listing: Mapping[str, int]) -> list[str]:
    """The files of weights: those that the index names, or the one."""
    if INDEX not in listing:
        return [SINGLE]
    pieces = sorted(set(weight_map(folder / INDEX).values()))
    absent = next((piece for piece in pieces if piece not in listing), None)
    if absent is not None:
        raise PolicyError(f"{where}: its {INDEX} names {absent}, which is not in the repository; take another revision")
    odd = next((piece for piece in pieces if not piece.endswith(".safetensors")), None)
    if odd is not None:
        raise PolicyError(f"{where}: its {INDEX} names {odd}; allowed: *.safetensors")
    return pieces


def _announce(where: str, name: HubName, folder: Path, sizes: Mapping[str, int]) -> None:
    """What is going to be downloaded, on stderr. Raises PolicyError where the disk is too small for it."""
    missing = {file: size for file, size in sizes.items() if not os.path.isfile(folder / file)}
    if not missing:
        return
    cache, needed = cache_folder(), sum(missing.values())
    there = next(each for each in (Path(cache).absolute(), *Path(cache).absolute().parents) if each.is_dir())
    free = shutil.disk_usage(there).free
    if free < needed:
        raise PolicyError(
            f"{where}: {needed / 1e9:,.1f} GB are to be downloaded to {cache}, whose disk has {free / 1e9:,.1f} GB free; make "
            "room, or set HF_HOME to a folder on another disk"
        )
    text = f"downloading {name.short}: {len(missing)} file(s) of weights, {needed / 1e9:,.2f} GB, to {cache}"
    print(said(text), file=sys.stderr, flush=True)


def _require_whole(where: str, name: HubName, folder: Path, files: Sequence[str]) -> None:
    absent = next((file for file in files if not os.path.isfile(folder / file)), None)
    if absent is not None:
        why = unreachable(FileNotFoundError(f"{absent} is missing"), name, MODEL)
        raise PolicyError(f"{where}: {why}")
