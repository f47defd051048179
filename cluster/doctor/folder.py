"""A policy's folder by its files alone: whole, of one model, and with a template that its tokenizer can read."""

from __future__ import annotations

import re
from collections import Counter
from math import prod
from pathlib import Path

from cluster.doctor.case import Case
from cluster.doctor.check import Result, ok, red
from cluster.run.disk import in_units
from policies.base import Vocabulary
from policies.files.copies import IMAGE_TOKENIZER
from policies.files.folders import find_policy, is_shipped, read_config, weight_files
from policies.files.tokenizer import ChatTokenizer
from rl.errors import PolicyError
from rl.types import Message

QUESTION = "What is 17 + 25?"
# Rows of an embedding that no token has: released ones have under 1% of them, to make a number that GPUs like.
MOST_IDLE, ALWAYS_IDLE = 0.05, 256
COPY = "copy the tokenizer's files and config.json from one checkpoint"
_MARKER = re.compile(r"<\|[^|<>\s]{1,60}\|>|\[/?(?:INST|SYS)\]")  # what templates write for special tokens


def found(case: Case) -> Result:
    case.folder = find_policy(case.path)
    kind = "shipped with unigrpo" if is_shipped(case.folder) else "a folder"
    return ok(f"{case.folder}: {kind}")


def config(case: Case) -> Result:
    """Whose family it is, and sizes that make sense."""
    from cluster.plan.sizes import parameters
    from policies.families.registry import family_of
    from policies.files.checkpoints import own_sizes

    case.settings = read_config(case.folder)
    case.family = family_of(case.settings.get("model_type"))
    sizes = own_sizes(case.folder)
    count = parameters(sizes)
    stored = case.settings.get("torch_dtype") or case.settings.get("dtype") or "no dtype named"
    return ok(
        f"{case.family.model_type}: {count:,} weights in {sizes.n_layers} layers of {sizes.d_model}, {stored}",
        family=case.family.model_type, parameters=count,
    )  # fmt: skip


def weights(case: Case) -> Result:
    """The index, every shard to its last byte, and each tensor's shape and dtype: from headers, no weights are read."""
    from policies.files.checkpoints import check_weight_files
    from policies.files.shards import Shard

    check_weight_files(case.folder)
    files = weight_files(case.folder)
    dtypes: Counter[str] = Counter()
    for file in files:
        with Shard(file) as shard:
            for entry in shard.entries.values():
                dtypes[entry.dtype] += prod(entry.shape)
    case.weights = sum(dtypes.values())
    size = sum(file.stat().st_size for file in files)
    kinds = ", ".join(f"{name} {count / case.weights:.0%}" for name, count in dtypes.most_common())
    return ok(f"{len(files)} files, {case.weights:,} numbers, {in_units(size)}: {kinds}", files=len(files), bytes=size)


def tokenizer(case: Case) -> Result:
    """Loaded in a process of its own first: a stranger's tokenizer and template are programs, of a kind."""
    from policies.files.trial import try_tokenizer

    assert case.family is not None
    if not is_shipped(case.folder):
        try_tokenizer(case.folder, case.family.aliases)
    case.tokenizer = ChatTokenizer.load(case.folder, case.family.aliases)
    ids = case.tokenizer.encode(QUESTION)
    if not ids:
        return red("tokenizer.json: makes no tokens of a plain question", COPY)
    back = case.tokenizer.decode(ids)
    if "".join(back.split()) != "".join(QUESTION.split()):
        return red(f"tokenizer.json: {QUESTION!r} comes back as {back!r}", COPY)
    return ok(f"{len(case.tokenizer):,} tokens; a question is {len(ids)} of them", tokens=len(case.tokenizer))


def template(case: Case) -> Result:
    """It asks the question, and each special token that it writes is one token of this tokenizer's."""
    assert case.tokenizer is not None
    text = case.tokenizer.render([{"role": "user", "content": QUESTION}])
    if QUESTION not in text:
        return red(
            f"{case.tokenizer.template_name}: a user's question is not in what it writes",
            "mend the template, or copy it from the original checkpoint",
        )
    broken = [mark for mark in dict.fromkeys(_MARKER.findall(text)) if len(case.tokenizer.encode(mark)) > 1]
    if broken:
        ids = len(case.tokenizer.encode(broken[0]))
        return red(
            f"{case.tokenizer.template_name}: writes {broken[0]}, which this tokenizer breaks into {ids} tokens: they are of two "
            "models", COPY,
        )  # fmt: skip
    ids = case.tokenizer.chat([Message("user", QUESTION)])
    return ok(f"a chat of one question is {len(ids)} tokens: {' '.join(text.split())[-120:]!r}", tokens=len(ids))


def special_ids(case: Case) -> Result:
    """Mask and end within the vocabulary, and tokens of that kind in the tokenizer; all text within the embedding."""
    from policies.files.checkpoints import own_vocabulary

    assert case.tokenizer is not None
    case.vocabulary = vocabulary = own_vocabulary(case.folder, case.tokenizer)
    for name, value, problem in _wrong_ids(case.tokenizer, vocabulary):
        return red(f"{case.folder / 'config.json'}: {name}={value}: {problem}", COPY)
    rows, tokens = vocabulary.size - vocabulary.codebook_size, len(case.tokenizer)
    if rows - tokens > max(MOST_IDLE * rows, ALWAYS_IDLE):
        return red(
            f"the tokenizer has {tokens:,} tokens, and the embedding {rows:,} rows for text: they are of two models",
            COPY,
        )
    codes = f", image codes from {vocabulary.image_offset:,}" if vocabulary.codebook_size else ""
    return ok(
        f"mask {vocabulary.mask_id} {case.tokenizer.piece(vocabulary.mask_id)!r}, end {vocabulary.eos_id} "
        f"{case.tokenizer.piece(vocabulary.eos_id)!r}; {len(case.tokenizer):,} "
        f"tokens in {vocabulary.size:,} rows{codes}",
        mask=vocabulary.mask_id, eos=vocabulary.eos_id, rows=vocabulary.size,
    )  # fmt: skip


def _wrong_ids(tokenizer: ChatTokenizer, vocabulary: Vocabulary) -> list[tuple[str, int, str]]:
    """Name, id, and what is wrong with it."""
    found = []
    for name, value in (("mask_token_id", vocabulary.mask_id), ("eos_token_id", vocabulary.eos_id)):
        piece = tokenizer.piece(value)
        if piece is None and value != tokenizer.last_id + 1:  # a family may take the row behind the tokenizer's last
            found.append((name, value, "the tokenizer has no such token: it is another model's"))
        elif piece is not None and not tokenizer.is_added(value):
            found.append((name, value, f"an ordinary token of the tokenizer, {piece!r}: it is another model's"))
    piece, named = tokenizer.piece(vocabulary.mask_id), tokenizer.special_id("mask_token")
    if piece is not None and "mask" not in piece.lower() and named != vocabulary.mask_id:
        found.append(("mask_token_id", vocabulary.mask_id, f"stands for {piece!r} in the tokenizer, and for no mask"))
    if named is not None and named != vocabulary.mask_id:
        found.append(("mask_token_id", vocabulary.mask_id, f"tokenizer_config.json says mask_token is {named}"))
    return found


def images(case: Case) -> Result:
    """The image tokenizer of a family that sees and draws: its config, its files and its codebook."""
    from policies.files.checkpoints import check_image_tokenizer

    assert case.vocabulary is not None
    folder = case.folder / IMAGE_TOKENIZER
    if not case.vocabulary.codebook_size:
        return ok("none: this family writes text alone")
    if not folder.is_dir():
        return ok(f"none: text alone; to see and draw, put the family's image tokenizer into {folder}")
    made = check_image_tokenizer(case.folder, case.vocabulary)
    if made is None:
        raise PolicyError(f"{folder}: cannot be loaded; copy it from the original checkpoint")
    side = made.image_size
    return ok(
        f"{side} x {side} pixels as {made.codes_per_image:,} codes of {made.codebook_size:,}",
        codes=made.codes_per_image,
    )


def draws(case: Case) -> bool:
    """Whether it sees and draws."""
    return (
        case.vocabulary is not None
        and case.vocabulary.codebook_size > 0
        and Path(case.folder / IMAGE_TOKENIZER).is_dir()
    )
