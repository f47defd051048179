"""The words of a mistake in the settings: of a wrong value, and what OmegaConf says of a wrong type."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from rl.errors import ConfigError
from rl.registry import Registry, close_to

_KINDS = {
    "Float": "a number",
    "Integer": "a whole number",
    "Boolean": "true or false",
    "ListConfig": "list",
    "DictConfig": "mapping",
}
# What model cards and other trainers call a setting or a value of ours. docs/parity.md has the list for people.
_THEIRS = {
    "gen_length": "max_new_tokens", "max_length": "max_new_tokens", "max_gen_toks": "max_new_tokens",
    "max_gen_length": "max_new_tokens", "block_size": "block_length", "diffusion_steps": "steps", "denoising_steps": "steps",
    "timesteps": "steps", "generation_timesteps": "steps", "num_inference_steps": "steps", "alg": "remasking",
    "remasking_strategy": "remasking", "alg_temp": "remask_temperature", "threshold": "confidence_threshold",
    "cfg": "cfg_scale", "guidance_scale": "guidance", "noise_schedule": "schedule", "use_cache": "cache", "dual_cache": "cache",
    "maskgit_plus": "low_confidence", "topk_margin": "margin", "low_confidence_static": "low_confidence",
}  # fmt: skip
_TWO = {"low_confidence_dynamic": "'low_confidence' with confidence_threshold"}
_MISSING = frozenset(
    "editing_threshold max_post_steps eps mask_id num_to_transfer minimal_topk eb_threshold eos_early_stop factor sequential "
    "entropy_bounded generation_tokens_hook_func generation_logits_hook_func".split()
)
_MAPPING = "expected names with their values, e.g. {{name: 1.0}}, got a value of type {got}"
_WORDS = [
    (re.compile(r"^Value (?P<got>.*) of type '\w+' could not be converted to (?P<kind>\w+)"), "expected {kind}, got {got}"),
    (re.compile(r"^Value (?P<got>.*) is not a valid bool"), "expected true or false, got {got}"),
    (re.compile(r"^Cannot convert '?(?P<got>\w+)"), "expected one value, got a {got}"),
    (re.compile(r"^Cannot assign (?P<got>\w+) to Dict"), _MAPPING),
    (re.compile(r"\((?P<got>\w+)\) is incompatible with type hint 'typing.Dict"), _MAPPING),
    (re.compile(r"(?P<got>\w+) is not a subclass of \w+Config\b|(?P<other>\w+) is not a subclass of "),
     "expected settings, e.g. {{name: value}}, got one value"),
    (re.compile(r"is not Optional|^Incompatible value 'None'"), "null is not allowed"),
    (re.compile(r"^Key (?P<got>.*) \(\w+\) is incompatible with \(str\)"), "a name must be a text: write '{got}' in quotes"),
    (re.compile(r"is not a ListConfig"), "expected a list, e.g. [a, b]"),
]  # fmt: skip


def in_words(text: str) -> str:
    """Its first line as it is, where no pattern knows it."""
    for pattern, words in _WORDS:
        if found := pattern.search(text):
            return words.format(**{name: _KINDS.get(value, value) for name, value in found.groupdict().items()})
    return text


def hint(given: str, known: Sequence[str]) -> str:
    """What is meant by a name that is not known: by its name elsewhere, or by its spelling. Empty: nothing is near."""
    section, dot, last = given.rpartition(".")
    ours = f"{section}{dot}{_THEIRS.get(last)}"
    if last in _THEIRS and ours in known:
        return f"; here it is {ours!r}"
    if last in _TWO:
        return f"; here it is {_TWO[last]}"
    if last in _MISSING:
        return "; there is no such option here: docs/parity.md says what samplers lack"
    return close_to(given, known)


def require_choice(key: str, value: Any, allowed: Sequence[Any]) -> None:
    if value not in allowed:
        meant = hint(str(value), [str(choice) for choice in allowed])
        raise ConfigError(f"{key}={value!r}: allowed: {', '.join(map(str, allowed))}{meant}")


def require_member(key: str, value: Any, registry: Registry[Any]) -> None:
    """A registry's own check, and before it what other projects call its members."""
    if isinstance(value, str) and (value in _THEIRS or value in _TWO or value in _MISSING):
        require_choice(key, value, list(registry))
    registry.require(key, value)


def require(condition: bool, key: str, value: Any, allowed: str) -> None:
    if not condition:
        raise ConfigError(f"{key}={value}: must be {allowed}")
