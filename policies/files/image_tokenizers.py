"""An image tokenizer that is released apart from its policy: a folder, or a repository on a hub, beside a policy of a hub.

MMaDA's is such a one (showlab/magvitv2). A policy's snapshot in the cache gets a link ``image_tokenizer`` to it, at which all
that loads policies looks. A folder of the user's own is never written to.
"""

from __future__ import annotations

import os
from pathlib import Path

from policies.files.copies import IMAGE_TOKENIZER
from policies.files.folders import is_cached
from policies.files.parts import CONFIG
from rl.errors import PolicyError
from rl.hub.names import HOW, hub_name, problem

SETTING = "policy.image_tokenizer"


def attach(policy: Path, tokenizer: str) -> None:
    """Link a policy's snapshot to an image tokenizer, which is downloaded where it is a name. Raises PolicyError."""
    where, link = f"{SETTING}={tokenizer!r}", policy / IMAGE_TOKENIZER
    if not is_cached(policy):
        raise PolicyError(
            f"{where}: allowed for a policy on a hub, and {policy} is a folder; put the image tokenizer there as "
            f"{IMAGE_TOKENIZER}, or a link to it, and leave this out"
        )
    if link.is_dir() and not link.is_symlink():
        raise PolicyError(f"{where}: {policy} has an {IMAGE_TOKENIZER} of its own; leave this out")
    target = find_image_tokenizer(tokenizer)
    if link.is_symlink() and Path(os.path.realpath(link)) == target.resolve():
        return
    beside = policy / f".{IMAGE_TOKENIZER}.{os.getpid()}"
    try:
        beside.unlink(missing_ok=True)
        beside.symlink_to(target.resolve(), target_is_directory=True)
        os.replace(beside, link)  # at once: another process may look there
    except OSError as error:
        raise PolicyError(
            f"{where}: {link} cannot be made: {error.strerror}; set HF_HOME to a folder of yours"
        ) from error


def find_image_tokenizer(path_or_name: str) -> Path:
    """The folder of a path, or of a repository on a hub, which is downloaded into the cache. Raises PolicyError."""
    where = f"{SETTING}={path_or_name!r}"
    if os.path.isdir(path_or_name):
        if not os.path.isfile(Path(path_or_name) / CONFIG):
            raise PolicyError(f"{where}: no {CONFIG} in it; give a folder with an image tokenizer")
        return Path(path_or_name)
    name = hub_name(path_or_name)
    if name is None:
        why = problem(path_or_name) or "a file"
        raise PolicyError(f"{where}: no such folder; allowed: a folder, or a name on a hub: {HOW} (this is {why})")
    from policies.files.hub import fetch_image_tokenizer

    return fetch_image_tokenizer(where, name)
