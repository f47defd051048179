"""Ways in which a policy's folder is broken: each is made of a whole one, and names the check that must find it."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from tokenizers import Tokenizer, models, pre_tokenizers

from policies import load_policy
from policies.files.checkpoints import save_policy
from policies.files.folders import INDEX, SINGLE
from policies.files.fresh_policy import train_tokenizer
from tests.policies.files.hostile import edit, safetensors

EMBEDDING = "model.transformer.wte.weight"


@dataclass(frozen=True)
class Kind:
    """check: which is red. said: a part of its line. spoil: breaks the folder. asked: fields of the case that differ.
    also: checks that are red with it"""

    name: str
    check: str
    said: str
    spoil: Callable[[Path], object] = lambda folder: None
    asked: Mapping[str, Any] = field(default_factory=dict)
    also: tuple[str, ...] = ()


def config(**changes: Any) -> Callable[[Path], None]:
    return lambda folder: edit(folder, **changes)


def text(name: str, content: str) -> Callable[[Path], object]:
    return lambda folder: (folder / name).write_text(content)


def without(name: str) -> Callable[[Path], object]:
    return lambda folder: (folder / name).unlink()


def weights(change: Callable[[dict[str, torch.Tensor]], object]) -> Callable[[Path], None]:
    def spoil(folder: Path) -> None:
        found = load_file(folder / SINGLE)
        change(found)
        save_file(found, folder / SINGLE)

    return spoil


def put(name: str, value: float, count: int | None = None) -> Callable[[Path], None]:
    """A value in the first ``count`` numbers of a tensor, in all of them where it is None."""
    return weights(lambda found: found[name].view(-1)[:count].fill_(value))


def sharded(folder: Path) -> list[Path]:
    save_policy(load_policy(folder), folder, 40_000)
    return sorted(folder.glob("model-*.safetensors"))


def index(folder: Path, change: Callable[[dict[str, str]], object]) -> None:
    sharded(folder)
    content = json.loads((folder / INDEX).read_text())
    change(content["weight_map"])
    (folder / INDEX).write_text(json.dumps(content))


def cut(file: Path, share: float = 0.5) -> None:
    file.write_bytes(file.read_bytes()[: int(file.stat().st_size * share)])


def larger_tokenizer(folder: Path) -> None:
    """Of a model with more words: its text runs into the image codes."""
    texts = [f"{number * 7919 % 10007} {hex(number * 104729)}" for number in range(2000)]
    train_tokenizer(texts, 700).save(str(folder / "tokenizer.json"))


def smaller_tokenizer(folder: Path) -> None:
    """Of a model with fewer words: 700 of this one's stand for nothing that it writes."""
    content = json.loads((folder / "config.json").read_text())
    edit(folder, **{name: content[name] + 700 for name in ("vocab_size", "llm_vocab_size")})
    tables = (EMBEDDING, "model.transformer.ff_out.weight")
    weights(lambda found: found.update({name: torch.cat([found[name], torch.ones(700, 32)]) for name in tables}))(
        folder
    )


def other_order(folder: Path) -> None:
    """Of a model as large, whose special tokens have other ids."""
    content = json.loads((folder / "tokenizer.json").read_text())
    vocabulary, added = content["model"]["vocab"], content["added_tokens"]
    names = sorted(vocabulary, key=vocabulary.__getitem__)
    swapped = {name: (place + len(names) // 2) % len(names) for place, name in enumerate(names)}
    content["model"]["vocab"] = swapped
    for each in added:
        each["id"] = swapped[each["content"]]
    (folder / "tokenizer.json").write_text(json.dumps(content))


def words_only(folder: Path) -> None:
    """A tokenizer that does not know most of a question's letters."""
    content = json.loads((folder / "tokenizer.json").read_text())
    names = sorted(content["model"]["vocab"], key=content["model"]["vocab"].__getitem__)
    made = Tokenizer(models.WordLevel({name: place for place, name in enumerate(names)}, unk_token="<think>"))
    made.pre_tokenizer = pre_tokenizers.Whitespace()  # pyright: ignore[reportAttributeAccessIssue]
    made.add_special_tokens([each["content"] for each in content["added_tokens"]])
    made.save(str(folder / "tokenizer.json"))


def enormous(folder: Path) -> None:
    """Weights of a terabyte, which take no room on the disk: a file of zeros with a header that fits the config."""
    from math import prod

    from tests.policies.originals import shapes

    edit(folder, d_model=8000, n_heads=2, mlp_hidden_size=8000, n_layers=1, new_vocab_size=1 << 24)
    content = json.loads((folder / "config.json").read_text())
    header, end = {}, 0
    for key, shape in shapes(content).items():
        begin, end = end, end + 4 * prod(shape)
        header[key] = {"dtype": "F32", "shape": list(shape), "data_offsets": [begin, end]}
    safetensors(folder / SINGLE, header, end)


def moved(folder: Path, name: str, to: str) -> None:
    (folder / name).rename(folder / to)


KINDS = [
    Kind("no folder", "folder", "no such folder", lambda folder: folder.rename(folder.with_name("elsewhere"))),
    Kind("no config", "config", "no config.json", without("config.json")),
    Kind("a config that is cut", "config", "config.json", lambda folder: cut(folder / "config.json")),
    Kind("a config that links to itself", "config", "config.json",
         lambda folder: ((folder / "config.json").unlink(), (folder / "config.json").symlink_to("config.json"))),
    Kind("a family that is not known", "config", "model_type", config(model_type="gpt2")),
    Kind("no width", "config", "d_model", config(d_model=None)),
    Kind("heads that do not share the width", "config", "heads", config(n_heads=5)),
    Kind("quantised by its config", "config", "quantization_config", config(quantization_config={"bits": 4})),
    Kind("no weights", "weight files", "no model.safetensors", without(SINGLE)),
    Kind("pickles alone", "weight files", "pickled", lambda folder: moved(folder, SINGLE, "pytorch_model.bin")),
    Kind("weights that are cut", "weight files", "not a whole safetensors", lambda folder: cut(folder / SINGLE)),
    Kind("weights of nothing", "weight files", "header", text(SINGLE, "")),
    Kind("a page of a server for weights", "weight files", "header", text(SINGLE, "<html>404 Not Found</html>" * 9)),
    Kind("a folder for weights", "weight files", "no model.safetensors",
         lambda folder: (moved(folder, SINGLE, "old.bak"), (folder / SINGLE).mkdir())),
    Kind("a shard that is missing", "weight files", "missing", lambda folder: sharded(folder)[1].unlink()),
    Kind("a shard that is cut", "weight files", "not a whole safetensors", lambda folder: cut(sharded(folder)[-1], 0.9)),
    Kind("an index that leads out", "weight files", "outside its folder",
         lambda folder: index(folder, lambda places: places.update({EMBEDDING: "../other.safetensors"}))),
    Kind("an index that is cut", "weight files", INDEX, lambda folder: (sharded(folder), cut(folder / INDEX))),
    Kind("a tensor that is missing", "weight files", "missing tensors", weights(lambda found: found.pop(EMBEDDING))),
    Kind("a tensor of another model", "weight files", "has no place",
         weights(lambda found: found.update({"lm_head.weight": torch.zeros(3)}))),
    Kind("8-bit weights", "weight files", "dtype I8",
         weights(lambda found: found.update({EMBEDDING: found[EMBEDDING].to(torch.int8)}))),
    Kind("a layer more in the config", "weight files", "missing tensors", config(n_layers=3)),
    Kind("more words in the config", "weight files", "shape", config(vocab_size=400)),
    Kind("no tokenizer", "tokenizer", "no tokenizer.json", without("tokenizer.json")),
    Kind("a tokenizer that is cut", "tokenizer", "not a tokenizer", lambda folder: cut(folder / "tokenizer.json")),
    Kind("a tokenizer of words", "tokenizer", "comes back as", words_only),
    Kind("no template", "tokenizer", "no chat template", without("chat_template.jinja")),
    Kind("a template that divides by zero", "tokenizer", "ZeroDivisionError", text("chat_template.jinja", "{{ 1 / 0 }}")),
    Kind("a template that is none", "tokenizer", "not a Jinja template", text("chat_template.jinja", "{% for %}")),
    Kind("a template that refuses all", "chat template", "refuses", text("chat_template.jinja", "{{ raise_exception('no') }}")),
    Kind("a template without the question", "chat template", "not in what it writes", text("chat_template.jinja", "Hello!")),
    Kind("a template of another family", "chat template", "breaks into",
         text("chat_template.jinja", "<|im_start|>user\n{{ messages[0].content }}<|im_end|>\n")),
    Kind("a tokenizer of a larger model", "special ids", "tokenizer", larger_tokenizer),
    Kind("a tokenizer of a smaller model", "special ids", "300 tokens", smaller_tokenizer),
    Kind("a tokenizer in another order", "special ids", "mask_token_id=0", other_order),
    Kind("a mask out of range", "special ids", "outside the vocabulary", config(mask_token_id=9999)),
    Kind("a mask below 0", "special ids", "outside the vocabulary", config(mask_token_id=-1)),
    Kind("a mask that is a word", "special ids", "an ordinary token", config(mask_token_id=80)),
    Kind("a mask among the image codes", "special ids", "image codes", config(mask_token_id=310)),
    Kind("another special token for a mask", "special ids", "for no mask", config(mask_token_id=3)),
    Kind("mask and end that are one", "special ids", "are both", config(eos_token_id=0)),
    Kind("an end that is a word", "special ids", "an ordinary token", config(eos_token_id=81)),
    Kind("a mask that the tokenizer's settings contradict", "special ids", "tokenizer_config.json",
         lambda folder: (folder / "tokenizer_config.json").write_text(json.dumps({"mask_token": "<bos>"}))),
    Kind("an end by its name", "config", "whole number", config(eos_token_id="<eos>")),
    Kind("an image tokenizer without a config", "image tokenizer", "config.json", without("image_tokenizer/config.json")),
    Kind("an image tokenizer of another model", "image tokenizer", "codebook", config(codebook_size=32, new_vocab_size=364)),
    Kind("an image tokenizer that is cut", "image tokenizer", "safetensors",
         lambda folder: cut(next((folder / "image_tokenizer").glob("*.safetensors")))),
    Kind("NaN in a weight", "numbers", "1 of", put(EMBEDDING, float("nan"), 1)),
    Kind("an infinite weight", "numbers", "infinite", put("model.transformer.ff_out.weight", float("inf"), 3)),
    Kind("a matrix of zeros", "numbers", "are 0", put(EMBEDDING, 0.0)),
    Kind("weights that overflow", "forward pass", "NaN or infinite", put("model.transformer.ff_out.weight", 3e38)),
    Kind("no room for an answer", "rollout: text", "max_new_tokens", config(max_sequence_length=16)),
    Kind("weights of a terabyte", "disk", "are free", enormous,
         also=("memory to load", "special ids")),
    Kind("a device that is not there", "device", "no GPU", asked={"device": "cuda"}),
    Kind("a device that is none", "device", "allowed", asked={"device": "gpu please"}),
    Kind("bfloat16 on a CPU", "device", "bfloat16 on a CPU", asked={"dtype": "bfloat16"}),
    Kind("an output folder that is a file", "output folder", "cannot be written", asked={"out": Path("/dev/null/pictures")}),
]  # fmt: skip
