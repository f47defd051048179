"""What a hub's client raises, as one line for the user: what, where, and the way out."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator

from rl.errors import one_line
from rl.hub.names import HubName
from rl.output.secrets import SecretError, know, read_token, without_login

MODEL, DATASET = "model", "dataset"


def prepare_client() -> None:
    """The token is a secret from now on, wherever it was found. Raises SecretError where no header can carry it."""
    from huggingface_hub import get_token

    read_token("HF_TOKEN", "HF_TOKEN")
    try:
        token = get_token()
    except (OSError, ValueError):  # no file that can be read: then there is none
        return
    if token:
        know(token)


def told(error: BaseException, where: str, name: HubName, kind: str) -> str:
    """where: the setting with its value. kind: model or dataset."""
    from huggingface_hub import errors

    chain = list(_chain(error))
    said = [each for each in chain if isinstance(each, errors.HfHubHTTPError)]
    # Files that a repository need not have are asked for on the way.
    answer = next((each for each in said if each is error or not isinstance(each, errors.EntryNotFoundError)), None)
    page = page_of(name, kind)
    if isinstance(error, SecretError):
        return f"{where}: {str(error).partition(': ')[2]}"
    if any(isinstance(each, OSError) and each.errno in (errno.ENOSPC, errno.EDQUOT) for each in chain):
        return f"{where}: the disk of the cache is full ({cache_folder()}); make room, or set HF_HOME to another disk"
    if isinstance(answer, errors.GatedRepoError):
        return f"{where}: {gated(_status(answer), page)}"
    if isinstance(answer, errors.RepositoryNotFoundError) or _status(answer) == 401:
        token = "" if _has_token() else ", and no token is set"
        return (
            f"{where}: no such folder here, and no such {kind} on {hub_address()} (or a private one{token}); check the name, "
            "or set HF_TOKEN for a private one"
        )
    if isinstance(answer, errors.RevisionNotFoundError):
        return f"{where}: no revision {name.revision!r} of {name.name}; allowed: a branch, tag or commit: {page}/commits/main"
    if isinstance(error, errors.RemoteEntryNotFoundError):
        return f"{where}: a file of {name.name} is not there: {one_line(error)}; see {page}"
    if _status(answer) == 403:
        return f"{where}: {gated(403, page)}"
    if is_unreachable(error) or _status(answer) >= 500:
        return f"{where}: {unreachable(error, name, kind)}"
    return f"{where}: {one_line(error)}"


def is_unreachable(error: BaseException) -> bool:
    """Whether it says that there is no network, or none is allowed, and the cache does not have it."""
    return any(_unreachable(each) for each in _chain(error))


def unreachable(error: BaseException, name: HubName, kind: str) -> str:
    """Why there is no network, and the command that downloads it where there is one."""
    options = ("" if kind == MODEL else " --repo-type dataset") + (
        f" --revision {name.revision}" if name.revision else ""
    )
    deepest = ([each for each in _chain(error) if _unreachable(each)] or [error])[-1]
    why = f"{hub_address()} cannot be reached ({one_line(deepest, 120)})"
    if is_offline():
        why = "HF_HUB_OFFLINE is set"
    return (
        f"not whole in the cache {cache_folder()}, and {why}; run `hf download {name.name}{options}` where there is a network, "
        "and set HF_HOME to a copy of that cache"
    )


def page_of(name: HubName, kind: str) -> str:
    return f"{hub_address()}/{'datasets/' if kind == DATASET else ''}{name.name}"


def hub_address() -> str:
    """Of the hub or its mirror (HF_ENDPOINT), without a login."""
    from huggingface_hub import constants

    return without_login(constants.ENDPOINT)


def is_offline() -> bool:
    """HF_HUB_OFFLINE."""
    from huggingface_hub import constants

    return bool(constants.HF_HUB_OFFLINE)


def cache_folder() -> str:
    from huggingface_hub import constants

    return str(constants.HF_HUB_CACHE)


def gated(status: int, page: str) -> str:
    """status: 401 without a token that the hub knows, 403 with one whose account has no access."""
    if status == 403 or _has_token():
        return f"gated, and the account of your token has no access; ask for it at {page}"
    return f"gated: accept its terms at {page}, and set HF_TOKEN to a token of that account"


def _has_token() -> bool:
    from huggingface_hub import get_token

    return bool(os.environ.get("HF_TOKEN") or get_token())


def _status(error: BaseException | None) -> int:
    return getattr(getattr(error, "response", None), "status_code", 0)


def _unreachable(error: BaseException) -> bool:
    """Neither the hub nor the cache has it. The client's own HTTP library is not named: it has changed before."""
    from huggingface_hub import errors

    kinds = (errors.LocalEntryNotFoundError, errors.OfflineModeIsEnabled, ConnectionError, TimeoutError)
    return isinstance(error, kinds) or type(error).__name__ in (
        "ConnectError", "ConnectTimeout", "ReadTimeout", "ReadError", "RemoteProtocolError", "ProxyError",
        "RevisionResolutionError", "IncompleteSnapshotError",
    )  # fmt: skip


def _chain(error: BaseException) -> Iterator[BaseException]:
    """An error and what it came of, outermost first."""
    seen: set[int] = set()
    each: BaseException | None = error
    while each is not None and id(each) not in seen:
        seen.add(id(each))
        yield each
        each = each.__cause__ or each.__context__
