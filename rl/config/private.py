"""No secret stands in a config: it is printed, kept in the run's folder and in checkpoints, logged, and sent with a job."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import unquote

from rl.errors import ConfigError
from rl.output.secrets import names_secret, variable_names_secret

# A login ends at the first slash, unless it has a password, whose port would be a number.
_LOGIN = re.compile(r"(?i)\b([a-z][a-z0-9+.\-]*)://([^\s/?#@]*|[^\s/?#@:]*:(?!\d+[/?#])\S*)@")
_ADDRESS = re.compile(r"(?i)^([a-z][a-z0-9+.\-]*)://(.*)@")  # of a text that is an address and nothing else
_QUERY = re.compile(r"(?i)://[^\s?#]*[?#](\S*)")
_PARAMETER = re.compile(r"(?:^|[&;?#])([\w.\-%]+)=[^&;#]")
_SIGNED = ("sig", "signature", "auth", "apikey", "pwd")  # how a server names what stands for a login
_OPTION = re.compile(r"^--?([\w-]+)(=.*)?$", re.DOTALL)
_HOW = "put it into an environment variable"
_LOGINS = {
    "tracking.uri": "for a server, set MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD (or MLFLOW_TRACKING_TOKEN); for a "
    "database, name the variable that holds its password: tracking.password_env=NAME"
}


def check_secrets(settings: Mapping[str, Any]) -> None:
    """settings: the tree of a config. Raises ConfigError, which names the setting and never has its value."""
    for key, value in _leaves(settings, ""):
        name = re.sub(r"\[\d+\]$", "", key)
        if names_secret(name) and value:
            raise ConfigError(
                f"{key}: a secret does not belong in a config, which is printed and logged; {_HOW}, and let the code that needs "
                f"it read it there, e.g. {name.rpartition('.')[2]}_env=NAME"
            )
        for found in (_ADDRESS if key in _LOGINS else _LOGIN).finditer(value):
            if found[1].lower() in ("http", "https") or ":" in found[2]:
                how = _LOGINS.get(key, f"{_HOW}, e.g. token_env=NAME where a reward has that setting")
                raise ConfigError(
                    f"{key}: a URL with a login in it, which would be printed and logged; take it out: {how}"
                )
        for name in _parameters(value):
            raise ConfigError(
                f"{key}: a URL with a secret in its query ({name}), which would be printed and logged; take it out: {_HOW}, e.g. "
                "token_env=NAME where a reward has that setting"
            )


def _parameters(text: str) -> Iterator[str]:
    """Names in the queries of the URLs of a text that are a secret's."""
    for query in _QUERY.finditer(text):
        for found in _PARAMETER.finditer(query[1]):
            name = re.sub(r"[^A-Za-z0-9]+", "_", unquote(found[1]))
            if names_secret(name) or variable_names_secret(name.upper()) or name.lower().rpartition("_")[2] in _SIGNED:
                yield name


def _leaves(value: Any, key: str) -> Iterator[tuple[str, str]]:
    """Each text with the name of its setting; that behind ``--api-key`` in a list of arguments has the option's name."""
    if isinstance(value, Mapping):
        for name, each in value.items():
            yield from _leaves(each, f"{key}.{name}" if key else str(name))
    elif isinstance(value, list | tuple):
        option = ""
        for index, each in enumerate(value):
            yield from _leaves(each, f"{key}.{option}[{index}]" if option else f"{key}[{index}]")
            found = _OPTION.match(each) if isinstance(each, str) else None
            option = "" if found is None or found[2] is not None else found[1]
            if found is not None and found[2]:
                yield f"{key}.{found[1]}[{index}]", found[2][1:]
    elif isinstance(value, str):
        yield key, value
