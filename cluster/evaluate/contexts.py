"""Requests of another harness as prompts and sampling of ours."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from policies.files.folders import read_config
from policies.files.tokenizer import ChatTokenizer
from rl.types import Message, Prompt, Task, TextSampling

HONOURED = ("temperature", "top_p", "top_k")
KNOWN = {"until", "do_sample", "max_gen_toks", *HONOURED}


@dataclass
class Contexts:
    """Texts to ids, as the policy's tokenizer has them, cut on the left where they do not fit.

    cut: how many were; of: how many there were.
    """

    tokenizer: ChatTokenizer
    max_length: int
    eos_id: int
    cut: int = 0
    of: int = 0
    _ids: Counter[str] = field(default_factory=Counter)

    def ids(self, text: str, room: int) -> tuple[int, ...]:
        """At most ``max_length - room`` tokens; an end-of-text token for an empty text. Special tokens in it are read."""
        found = self.tokenizer.encode(text) or [self.eos_id]
        most = max(1, self.max_length - room)
        self.of += 1
        self.cut += len(found) > most
        return tuple(found[-most:])

    def prompt(self, task: str, document: int, text: str, room: int) -> Prompt:
        """The same document again is another prompt, so that its noise is another: ``gsm8k/0``, ``gsm8k/0#1``."""
        name = f"{task}/{document}"
        self._ids[name] += 1
        identity = name if self._ids[name] == 1 else f"{name}#{self._ids[name] - 1}"
        return Prompt(identity, Task.TEXT, (Message("user", text),), source=task, token_ids=self.ids(text, room))

    def pair(self, context: str, continuation: str) -> tuple[list[int], list[int]]:
        """Ids of both, as they are in one text. Blanks at the end of the context belong to what follows."""
        blanks = len(context) - len(context.rstrip())
        if blanks:
            context, continuation = context[:-blanks], context[-blanks:] + continuation
        before = self.tokenizer.encode(context)
        whole = self.tokenizer.encode(context + continuation)
        if whole[: len(before)] != before:  # a token spans both
            return before or [self.eos_id], self.tokenizer.encode(continuation)
        return before or [self.eos_id], whole[len(before) :]

    def chat(self, turns: Sequence[Mapping[str, str]]) -> str:
        """The policy's own template, up to where the assistant speaks, and what it is to begin with."""
        begun = turns[-1]["content"] if turns and turns[-1]["role"] == "assistant" else ""
        return self.tokenizer.render(turns[:-1] if begun else turns) + begun


def open_contexts(folder: Any) -> Contexts:
    """Of a policy's folder; reads no weights."""
    from policies.families.registry import family_of

    config = read_config(folder)
    family = family_of(config.get("model_type"))
    sizes = family.sizes(config)
    return Contexts(ChatTokenizer.load(folder, family.aliases), sizes.max_sequence_length, int(config["eos_token_id"]))


def sampling_of(base: TextSampling, wanted: Mapping[str, Any], typed: Collection[str]) -> TextSampling:
    """How a request is sampled: temperature, top_p and top_k are the task's unless the user typed them; canvas, blocks and steps
    are always ours."""
    if wanted.get("do_sample") or ("do_sample" not in wanted and wanted.get("temperature")):
        asked = {name: wanted[name] for name in HONOURED if wanted.get(name) is not None}
        asked.setdefault("temperature", 1.0)
    else:
        asked = {"temperature": 0.0, "top_p": 1.0, "top_k": 0}
    changes: dict[str, Any] = {name: value for name, value in asked.items() if name not in typed}
    if "temperature" in changes:
        changes["temperature"] = float(changes["temperature"])
    if "top_p" in changes:
        changes["top_p"] = float(changes["top_p"])
    if "top_k" in changes:
        changes["top_k"] = max(0, int(changes["top_k"]))
    return replace(base, **changes)


def ignored(requests: Iterable[Mapping[str, Any]], canvas: int) -> list[str]:
    """A line for what tasks ask of generation and do not get, with how often."""
    counts: Counter[str] = Counter()
    for wanted in requests:
        for name, value in wanted.items():
            if name not in KNOWN:
                counts[f"{name}={value!r}"] += 1
        most = wanted.get("max_gen_toks")
        if most is not None and int(most) != canvas:
            counts[f"max_gen_toks={most} (the canvas is evaluation.text.max_new_tokens={canvas})"] += 1
    return [f"{count:,} requests ask for {what}, which is not used" for what, count in counts.items()]


def until(text: str, stops: str | Sequence[str] | None) -> str:
    """What stands before the first of the stops."""
    ends = [text.find(stop) for stop in ([stops] if isinstance(stops, str) else stops or ()) if stop]
    return text[: min((end for end in ends if end >= 0), default=len(text))]
