"""Names on a hub in a config: pinned to the commits that they are now, and fetched by every node once."""

from __future__ import annotations

import os
from collections.abc import Collection
from dataclasses import replace
from typing import Any

from cluster import console
from policies.files.folders import find_policy, shipped_names
from policies.files.image_tokenizers import SETTING, attach
from policies.files.parts import Part
from rl.config import Config, SourceConfig
from rl.data.presets import preset_of
from rl.errors import ConfigError, PolicyError
from rl.hub.names import HubName, hub_name, is_written_as_name
from rl.output.secrets import Secret
from rl.tasks import GENERATORS

# What tells the client where it looks and where it keeps things. Never the token: a runtime environment can be read.
SETTINGS = ("HF_HOME", "HF_HUB_CACHE", "HF_ENDPOINT", "HF_HUB_OFFLINE")
FETCH_S = 6 * 3600.0  # 16 GB at 0.75 MB/s
TOKEN = "HF_TOKEN"
PARTS = ("train", "val")


def pinned(config: Config, data: bool = True, parts: Collection[str] = PARTS) -> Config:
    """The config with a commit behind every name on a hub, ``org/name@commit``: what a run is, and what it records.

    data: also of the sources, in these ``parts``: a command that reads no training rows looks up none.
    Raises ConfigError, DataError or PolicyError where a name cannot be looked up.
    """
    path = _policy(config.policy.path, config.policy.revision)
    images = _images(config.policy.image_tokenizer)
    config = replace(config, policy=replace(config.policy, path=path, revision=None, image_tokenizer=images))
    if not data:
        return config
    found = {
        which: [_source(f"data.{which}[{index}]", source) for index, source in enumerate(getattr(config.data, which))]
        for which in parts
    }
    return replace(config, data=replace(config.data, **found))


def recorded(config: Config) -> dict[str, str]:
    """Setting -> ``org/name@commit``, of a pinned config; for summary.json."""
    given = {"policy.path": config.policy.path}
    if config.policy.image_tokenizer is not None:
        given[SETTING] = config.policy.image_tokenizer
    for which in ("train", "val"):
        for index, source in enumerate(getattr(config.data, which)):
            given[f"data.{which}[{index}].source"] = _repository(source)
    names = {setting: hub_name(text) for setting, text in given.items()}
    return {setting: str(name) for setting, name in names.items() if name is not None and name.pinned}


def _repository(source: SourceConfig) -> str:
    """``org/name@commit`` of a pinned source; what it says where it has none."""
    preset = preset_of(source)
    if preset is None or preset.hub is None or source.path is not None:
        return source.source
    return f"{preset.hub}@{source.revision}" if source.revision else preset.hub


def fetch_on_nodes(config: Config) -> None:
    """The policy in the cache of every node of the running Ray, by one task each, before any actor loads it.

    Raises PolicyError of the node that cannot get it, DeadlineError, WorkerError.
    """
    name = hub_name(config.policy.path)
    if name is None:
        return
    import ray
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    from cluster.actors.waiting import gather

    value = os.environ.get(TOKEN)
    token = Secret(value) if value else None
    task = ray.remote(num_cpus=0, max_retries=1)(_fetch)
    calls = {}
    for node in (node for node in ray.nodes() if node["Alive"]):
        where = NodeAffinitySchedulingStrategy(node["NodeID"], soft=False)
        label = f"node {node['NodeManagerAddress']}"
        calls[
            task.options(scheduling_strategy=where).remote(str(name), label, token, config.policy.image_tokenizer)
        ] = label
    gather(calls, f"downloading {name.short}", FETCH_S)


def runtime_env(config: Config) -> dict[str, Any]:
    """What Ray sets in the processes of a run whose policy is on a hub: they look where this process looks."""
    given = {key: os.environ[key] for key in SETTINGS if os.environ.get(key)} if hub_name(config.policy.path) else {}
    return {"runtime_env": {"env_vars": given}} if given else {}


def attach_images(config: Config, part: Part = Part.CHECKS) -> None:
    """The image tokenizer that a run names beside its policy, in its place on this machine. Raises PolicyError."""
    if config.policy.image_tokenizer is not None:
        attach(find_policy(config.policy.path, part), config.policy.image_tokenizer)


def _fetch(name: str, label: str, token: Secret | None, images: str | None) -> str:
    """On a node. The folder."""

    if token is not None:
        os.environ[TOKEN] = token.reveal()
    try:
        folder = find_policy(name)
        if images is not None:
            attach(folder, images)
        return str(folder)
    except PolicyError as error:
        raise PolicyError(f"{label}: {error}") from error
    finally:
        if token is not None:
            del os.environ[TOKEN]


def _policy(path: str, revision: str | None) -> str:
    here = path in shipped_names() or os.path.isdir(path)
    name = None if here else hub_name(path, revision)
    if name is not None:
        from policies.files.hub import resolve

        return str(resolve(name))
    if revision is not None:
        what = "a folder here" if here else "no name on a hub"
        raise ConfigError(
            f"policy.revision={revision}: policy.path={path} is {what}, which has no revisions; leave it out"
        )
    _tell("policy.path", path)
    return path


def _images(text: str | None) -> str | None:
    name = None if text is None else hub_name(text)
    if name is None:
        return text if text is None else os.path.abspath(text)
    from policies.files.hub import resolve

    return str(resolve(name, SETTING))


def _source(where: str, source: SourceConfig) -> SourceConfig:
    preset = preset_of(source)
    if preset is not None:
        name = None if preset.hub is None or source.path is not None else hub_name(preset.hub, source.revision)
        return source if name is None else replace(source, revision=_resolved(name).revision)
    name = None if source.source in GENERATORS else hub_name(source.source, source.revision)
    if name is None:
        _tell(f"{where}.source", source.source)
        return source
    return replace(source, source=str(_resolved(name)), revision=None)


def _resolved(name: HubName) -> HubName:
    from rl.data.hub import resolve

    return resolve(name)


def _tell(setting: str, path: str) -> None:
    """A folder may be called as a repository is: the user may have meant the other one."""
    if os.path.isdir(path) and is_written_as_name(path):
        console.note(f"{setting}={path}: this folder is used, and not a repository of that name on a hub")
