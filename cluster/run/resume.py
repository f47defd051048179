"""Whether a run can go on from the checkpoint that it would go on from: asked before anything starts.

Files' names and sizes, settings and headers are read, and no weights; the learner checks digests when it loads. What is
found is one line with the setting, the saved value and the way out.
"""

from __future__ import annotations

import dataclasses
import filecmp
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from policies.families.registry import family_of
from policies.files.folders import check_files, read_config, weight_files
from policies.files.parts import Part
from policies.lora import check_adapter
from rewards.functions.beside import digests
from rl.checkpoints.folder import newest_whole, whole_path
from rl.checkpoints.manifest import STATE
from rl.config import Config
from rl.errors import ConfigError, PolicyError
from rl.learner.trained import ADAPTER_FOLDER, POLICY_FOLDER

OURS = ("rl", "rewards", "policies", "cluster")
ADAPTER = ("rank", "alpha", "target")
IDS = ("model_type", "mask_token_id", "eos_token_id")
REFERENCE = {True: "reference.safetensors", False: "reference.json"}  # by whether it is synchronised


def check_resume(config: Config, command: str, rows: Sequence[int]) -> None:
    """command: train or sft. rows: how many each training source has. Raises ConfigError or CheckpointError."""
    if config.resume_path is not None and config.resume_mode != "path":
        raise ConfigError(
            f"resume_path={config.resume_path}: not used with resume_mode={config.resume_mode}; set resume_mode=path, or "
            "leave resume_path out"
        )
    source = _source(config)
    state = None if source is None else _read(source)
    if source is None or not state:
        return
    at = _Saved(config, source, state)
    at.check_command(command)
    at.check_settings(train=command == "train")
    at.check_data(rows)
    at.check_policy(adapter=command == "train" and config.learner.lora.on)
    if command == "train":
        at.check_reference()


def reward_digests(config: Config) -> dict[str, str]:
    """SHA-256 of every file of the user's code that scores the run, by its name: kept with checkpoints, so that a resumed run
    says which have changed."""
    rewards, found = config.rewards, dict[str, str]()
    for name in {*(name for mix in rewards.mix.values() for name in mix), *rewards.settings}:
        given = rewards.settings.get(name, {})
        actual = str(given.get("name", name))
        file, colon, _ = actual.rpartition(":")
        path = file if colon and file.endswith(".py") else given.get("path") if actual == "custom" else None
        if path is None and actual == "custom":
            path = config.custom_reward_function.path
        if path:
            found |= digests(Path(str(path)), OURS)
    return found


def _source(config: Config) -> Path | None:
    if config.resume_mode == "disable":
        return None
    if config.resume_mode == "path":
        return whole_path(config, hashes=False)
    return newest_whole(config.run_dir / "checkpoints", hashes=False)[0]


def _read(source: Path) -> Mapping[str, Any]:
    """Its state; {} where that is damaged, which resuming finds and passes over."""
    try:
        state = json.loads((source / STATE).read_text())
        return state if isinstance(state["config"], dict) and isinstance(state["data"], dict) else {}
    except (OSError, ValueError, KeyError, TypeError):
        return {}


@dataclasses.dataclass(frozen=True, slots=True)
class _Saved:
    """A checkpoint beside the run that would go on from it."""

    config: Config
    source: Path
    state: Mapping[str, Any]

    def check_command(self, command: str) -> None:
        saved = "sft" if "pictures" in self.state else "train"
        if saved != command:
            raise ConfigError(
                f"resume_path={self.source}: a checkpoint of `unigrpo {saved}`, not of `unigrpo {command}`; to start from its "
                f"weights, give policy.path={self.source / POLICY_FOLDER} and leave resume_path out"
            )

    def check_settings(self, train: bool) -> None:
        names = ["seed", "policy.dtype"]
        learner = self.config.learner.lora
        if train:
            on = (
                _get(self.state["config"], "learner.lora.path") is not None or (self._was("learner.lora.rank") or 0) > 0
            )
            if on != learner.on:
                self._refuse("learner.lora.rank" if learner.path is None else "learner.lora.path")
            if learner.on and learner.path is None and self._was("learner.lora.path") is None:
                names += [f"learner.lora.{name}" for name in ADAPTER]
        for name in names:
            was, now = self._was(name), self._now(name)
            if was != now and not (isinstance(was, list) and sorted(was) == sorted(now)):
                self._refuse(name)

    def check_data(self, rows: Sequence[int]) -> None:
        saved, now = self.state["data"].get("sizes"), list(rows)
        if saved == now or not isinstance(saved, list):
            return
        before = [_get(each, "source") for each in _get(self.state["config"], "data.train") or []]
        sources = [source.source for source in self.config.data.train]
        if len(saved) != len(now):
            self._refuse("data.train", ", ".join(sources), f"the {len(saved)} source(s) {', '.join(map(str, before))}")
        for index, (then, here) in enumerate(zip(saved, now, strict=True)):
            if then != here:
                was = f" of {before[index]}" if index < len(before) and before[index] != sources[index] else ""
                self._refuse(f"data.train[{index}].source", f"{sources[index]} ({here} rows)", f"{then} rows{was}")

    def check_policy(self, adapter: bool) -> None:
        """That the saved weights are of this policy's kind, and of this policy where that can be seen."""
        now, path = check_files(self.config.policy.path, Part.CHECKS), self.config.policy.path
        if adapter:
            try:
                check_adapter(self.source / ADAPTER_FOLDER, now)
            except PolicyError as error:
                self._refuse("policy.path", path, f"{self._was('policy.path')}, whose layers are others ({error})")
        else:
            for name, then, here in _differences(self.source / POLICY_FOLDER, now):
                self._refuse("policy.path", f"{path} ({name}={here})", f"{self._was('policy.path')} ({name}={then})")
        if _other_weights(str(self._was("policy.path")), now):
            self._refuse("policy.path", saved=f"{self._was('policy.path')}, whose weights are others")

    def check_reference(self) -> None:
        """A reference is saved where the KL term needs one: its digest, or its weights where they are synchronised."""
        learner = self.config.learner
        if learner.lora.on or not learner.algorithm.kl_coef > 0:
            return
        if not (self.source / REFERENCE[bool(learner.reference_sync_freq)]).is_file():
            had_none = not any((self.source / name).is_file() for name in REFERENCE.values())
            self._refuse("learner.algorithm.kl_coef" if had_none else "learner.reference_sync_freq")

    def _was(self, name: str) -> Any:
        return _get(self.state["config"], name)

    def _now(self, name: str) -> Any:
        return _get(json.loads(json.dumps(dataclasses.asdict(self.config))), name)

    def _refuse(self, name: str, now: object = None, saved: object = None) -> None:
        """Raises ConfigError. now, saved: how the two values are told; None: as they stand in the settings."""
        now, saved = (self._now(name) if now is None else now), (self._was(name) if saved is None else saved)
        other = "another resume_path" if self.config.resume_mode == "path" else "resume_mode=disable to start over"
        raise ConfigError(
            f"{name}={_shown(now)}: {self.source} was saved with {_shown(saved)}; set it as it was, or give name=NEW for a new "
            f"run, or {other}"
        )


def _get(tree: Any, name: str) -> Any:
    for part in name.split("."):
        tree = tree.get(part) if isinstance(tree, Mapping) else None
    return tree


def _shown(value: object) -> str:
    return str(value).replace("'", "").replace("None", "null")


def _differences(saved: Path, now: Path) -> Sequence[tuple[str, object, object]]:
    """(what, there, here) of two policies' configs, as far as they make the network and its vocabulary."""
    there, here = read_config(saved), read_config(now)
    found = [(name, there.get(name), here.get(name)) for name in IDS if there.get(name) != here.get(name)]
    if found:
        return found
    family = family_of(here.get("model_type"))
    first, second = (dataclasses.asdict(family.sizes(config)) for config in (there, here))
    names = [name for name in first if name != "max_sequence_length"]  # no weight depends on it
    return [(name, first[name], second[name]) for name in names if first[name] != second[name]]


def _other_weights(saved: str, now: Path) -> bool:
    """Whether the policy that the run began with is still there, is another folder, and has other weights."""
    try:
        then = check_files(saved, Part.CHECKS)  # weights are compared where they are; none are downloaded for it
        if then.samefile(now):
            return False
        pairs = list(zip(weight_files(then), weight_files(now), strict=True))
        return not all(filecmp.cmp(first, second, shallow=False) for first, second in pairs)
    except (PolicyError, OSError, ValueError):
        return False  # it is gone, or in other pieces: the learner compares digests
