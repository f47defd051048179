"""Settings that name files, and what a text that may be a path means.

``settings`` walks a config as plain data. A new setting that can hold a path belongs here, and into the table of
docs/cluster.md.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

from rewards.registry import BUILT_IN
from rl.data.presets import preset_names
from rl.hub.names import hub_name
from rl.tasks import GENERATORS

Tree = dict[str, Any]

# What a file's name ends in where a text that names nothing here is still taken for a path.
SUFFIXES = frozenset(
    ".bin .bmp .ckpt .csv .gguf .gif .gz .jinja .jpeg .jpg .json .jsonl .md .model .npy .npz .onnx .parquet .pkl .png .pt .pth "
    ".py .safetensors .sh .tar .tsv .txt .vocab .webp .xml .yaml .yml .zip .zst".split()
)
# A free text that names one of these folders, or something in them, means the machine's own: a shell, a device.
MACHINE = tuple(map(Path, "/bin /boot /dev /etc /lib /lib64 /opt /proc /run /sbin /sys /usr".split()))
_LONGEST = 1000  # characters: a rubric is no path
_PREFIXED = re.compile(r"(local-dir:|--?[A-Za-z0-9][\w.-]*=)(.*)", re.DOTALL)
_REWARD_FILES = ("path", "head")  # settings of the built-in rewards that are files and nothing else
# Built-in rewards that ask a server, whose model may have a file's name: the settings of theirs that may be files.
_SERVED = {"judge": ("rubric",), "service": ()}


class Kind(StrEnum):
    FILE = "file"  # a file or folder
    CODE = "code"  # a Python file: the modules beside it that it imports go along
    MODEL = "model"  # a folder, or a model's name on the hub
    BUILT_IN = "built-in"  # a text of a built-in reward: one that ends as a file does is a file
    TEXT = "text"  # a text of the user's own code: a path where it names something here


@dataclass(frozen=True, slots=True)
class Setting:
    """key: as a user writes it. put: writes another path in the place of ``value``."""

    key: str
    value: str
    kind: Kind
    put: Callable[[str], None]


def settings(tree: Tree) -> Iterator[Setting]:
    """Every setting of ``dataclasses.asdict(config)`` that names, or may name, a file that a job reads."""
    from policies.files.folders import shipped_names

    on_hub = names_on_hub(tree)
    if tree["policy"]["path"] not in shipped_names() and "policy.path" not in on_hub:
        yield _setting("policy.path", tree["policy"], "path", Kind.FILE)
    if tree["policy"]["image_tokenizer"] is not None and "policy.image_tokenizer" not in on_hub:
        yield _setting("policy.image_tokenizer", tree["policy"], "image_tokenizer", Kind.FILE)
    if tree["learner"]["lora"]["path"] is not None:
        yield _setting("learner.lora.path", tree["learner"]["lora"], "path", Kind.FILE)
    for which in ("train", "val"):
        for index, source in enumerate(tree["data"][which]):
            if source["path"] is not None:
                yield _setting(f"data.{which}[{index}].path", source, "path", Kind.FILE)
            name = source["source"]
            if (name in preset_names() and name not in GENERATORS) or f"data.{which}[{index}].source" in on_hub:
                continue  # the job looks it up
            if name not in GENERATORS:
                yield _setting(f"data.{which}[{index}].source", source, "source", Kind.FILE)
            else:  # the arguments of a file are a name, a template and a switch
                yield from _texts(f"data.{which}[{index}].args", source["args"], Kind.TEXT)
    custom = tree["custom_reward_function"]
    if custom["path"] is not None:
        yield _setting("custom_reward_function.path", custom, "path", Kind.CODE)
    yield from _texts("custom_reward_function.reward_kwargs", custom["reward_kwargs"], Kind.TEXT)
    for name in list(tree["rewards"]["settings"]):
        yield from _reward(tree, name)
    for section in ("rewards", "evaluation"):
        for task, mix in tree[section]["mix"].items():
            for name in mix:
                if name not in tree["rewards"]["settings"]:
                    yield from reward_file(tree, f"{section}.mix.{task}", name)
    yield from _judge(tree["judge"])
    if tree["resume_mode"] == "path" and not _is_output(tree["resume_path"], tree["output_dir"]):
        yield _setting("resume_path", tree, "resume_path", Kind.FILE)


def names_on_hub(tree: Tree) -> dict[str, str]:
    """Setting -> name, of what the job looks for on a hub itself."""
    given = {"policy.path": tree["policy"]["path"]}
    if tree["policy"]["image_tokenizer"] is not None:
        given["policy.image_tokenizer"] = tree["policy"]["image_tokenizer"]
    for which in ("train", "val"):
        for index, source in enumerate(tree["data"][which]):
            if source["source"] not in GENERATORS:
                given[f"data.{which}[{index}].source"] = source["source"]
    return {key: text for key, text in given.items() if hub_name(text) is not None}


def reward_file(tree: Tree, key: str, name: str) -> Iterator[Setting]:
    """The file of a reward that is named ``FILE.py:FUNCTION``. The name stays, since metrics have it; its settings say
    where the file is."""
    given = tree["rewards"]["settings"].get(name, {})
    file, colon, function = str(given.get("name", name)).rpartition(":")
    if colon and file.endswith(".py"):

        def put(path: str) -> None:
            tree["rewards"]["settings"].setdefault(name, {})["name"] = f"{path}:{function}"

        yield Setting(key, file, Kind.CODE, put)


def keep_outputs(tree: Tree) -> None:
    """Make absolute, from this folder, what a job writes to, and the checkpoints that lie there: the job's own folder is
    another one, and goes away."""
    tree["output_dir"] = str(Path(tree["output_dir"]).absolute())
    if tree["resume_path"] is not None and (
        tree["resume_mode"] != "path" or _is_output(tree["resume_path"], tree["output_dir"])
    ):
        tree["resume_path"] = str(Path(tree["resume_path"]).absolute())
    tree["tracking"]["uri"] = _store(tree["tracking"]["uri"])


def split_prefix(text: str) -> tuple[str, str]:
    """(prefix, path) of ``local-dir:FOLDER`` and ``--option=FILE``; no prefix for all else."""
    match = _PREFIXED.fullmatch(text)
    return (match[1], match[2]) if match else ("", text)


def named_here(text: str) -> Path | None:
    """The file or folder of the user's that a text names on this machine, or None."""
    if not text.strip() or len(text) > _LONGEST or "\n" in text or "://" in text:
        return None
    path = Path(text).expanduser() if text.startswith("~/") else Path(text)
    try:
        if not (path.is_file() or path.is_dir()):
            return None
    except OSError:  # a name that no file can have, or a folder that may not be looked into
        return None
    whole = Path(os.path.normpath(path))
    if path.is_absolute() and (len(whole.parts) <= 2 or any(whole.is_relative_to(folder) for folder in MACHINE)):
        return None
    return path


def is_bare(text: str) -> bool:
    """``words``: it may name a folder here, and may as well be a word."""
    return "/" not in text and not Path(text).suffix and text not in (".", "..")


def is_missing(setting: Setting) -> bool:
    """Whether a text that names nothing here is surely meant as a relative path."""
    _, text = split_prefix(setting.value)
    if text.startswith(("./", "../", "~/")) and "\n" not in text:
        return True
    if setting.kind is Kind.MODEL:
        return text.count("/") > 1 or Path(text).suffix in SUFFIXES
    return ends_as_file(text) and ("/" in text or setting.kind is Kind.BUILT_IN)


def ends_as_file(text: str) -> bool:
    """A relative path by its looks, such as ``words.txt``."""
    plain = len(text) <= _LONGEST and not re.search(r"[\s*?\[\]{}|<>]|://", text)
    return plain and not text.startswith("/") and Path(text).suffix.lower() in SUFFIXES


def _reward(tree: Tree, name: str) -> Iterator[Setting]:
    """One entry of rewards.settings."""
    given, where = tree["rewards"]["settings"][name], f"rewards.settings.{name}"
    yield from reward_file(tree, f"{where}.name", name)
    actual = str(given.get("name", name))
    own = actual == "custom" or actual not in BUILT_IN
    for key, value in list(given.items()):
        if key == "name" or key not in _SERVED.get(actual, (key,)):
            continue
        if actual in BUILT_IN and key in _REWARD_FILES and isinstance(value, str):
            yield _setting(f"{where}.{key}", given, key, Kind.CODE if actual == "custom" else Kind.FILE)
        else:
            yield from _texts(f"{where}.{key}", given, Kind.TEXT if own else Kind.BUILT_IN, key)


def _judge(judge: Tree) -> Iterator[Setting]:
    """A program that is named by an absolute path is one of the node's, and ``vllm`` is found on its PATH."""
    if judge["serve"] is not None:
        yield _setting("judge.serve", judge, "serve", Kind.MODEL)
    for key in ("command", "args"):
        for index, word in enumerate(judge[key]):
            if not is_bare(word) and not (key == "command" and index == 0 and word.startswith("/")):
                yield _setting(f"judge.{key}[{index}]", judge[key], index, Kind.TEXT)


def _texts(key: str, holder: Any, kind: Kind, only: Any = None) -> Iterator[Setting]:
    """All texts in mappings and lists, at any depth. only: of this key of the holder."""
    if only is not None:
        names: list[Any] = [only]
    else:
        names = list(holder) if isinstance(holder, dict) else list(range(len(holder)))
    for name in names:
        inner = key if only is not None else f"{key}.{name}" if isinstance(holder, dict) else f"{key}[{name}]"
        if isinstance(holder[name], str):
            yield _setting(inner, holder, name, kind)
        elif isinstance(holder[name], dict | list):
            yield from _texts(inner, holder[name], kind)


def _setting(key: str, holder: Any, name: Any, kind: Kind) -> Setting:
    return Setting(key, str(holder[name]), kind, lambda path: holder.__setitem__(name, path))


def _is_output(path: str, output_dir: str) -> bool:
    return Path(os.path.abspath(path)).is_relative_to(os.path.abspath(output_dir))


def _store(uri: str | None) -> str | None:
    """A tracking store in a file or folder, by an absolute path; a server's address as it is."""
    if not uri:
        return uri
    scheme, colon, rest = uri.partition(":")
    if not colon:
        return uri if uri == "databricks" else str(Path(uri).absolute())
    if scheme == "sqlite" and rest.startswith("///") and not rest.startswith("////"):
        return f"sqlite:///{Path(rest[3:]).absolute()}"
    if scheme == "file" and not rest.startswith("/"):
        return f"file:{Path(rest).absolute()}"
    return uri
