"""What a run's page in MLflow is told: the recipe, and which rows train and which are held out."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence
from pathlib import Path

from cluster.run.preflight import Inputs
from rl.config import Config
from rl.config.sections import SourceConfig
from rl.tracking.mlflow.page import About, Data
from rl.tracking.pages.film import Decoders
from rl.types import Prompt


def about(config: Config, command: str, recipe: str, inputs: Inputs) -> About:
    """recipe: as it was given, a name or a path."""
    trains = [
        _data(f"data.train[{index}]", source, rows, True)
        for index, (source, rows) in enumerate(zip(config.data.train, inputs.train, strict=False))
    ]
    held_out = [
        Data(f"{name} (held out)", _sources(config.data.val), False, rows)
        for name, rows in _by_source(inputs.val).items()
    ]
    return About(config, command, str(recipe), data=(*trains, *held_out))


def decoders(config: Config) -> Decoders:
    """What turns the policy's ids into text and pixels for the pages of a run. Raises PolicyError."""
    from policies.files.checkpoints import load_tokenizers

    tokenizer, vocabulary, images = load_tokenizers(config.policy.path)
    return Decoders(tokenizer, vocabulary.eos_id, vocabulary.image_offset, images)


def _data(where: str, source: SourceConfig, rows: Sequence[Prompt], trains: bool) -> Data:
    return Data(f"{Path(source.source).name} ({where})", _sources([source]), trains, rows)


def _sources(sources: Sequence[SourceConfig]) -> str:
    """The settings that were given: what loads the same rows again."""
    plain = SourceConfig(source="")
    given = [
        {key: value for key, value in dataclasses.asdict(each).items() if value != getattr(plain, key)}
        for each in sources
    ]
    return json.dumps(given[0] if len(given) == 1 else given)


def _by_source(prompts: Sequence[Prompt]) -> dict[str, list[Prompt]]:
    found: dict[str, list[Prompt]] = {}
    for prompt in prompts:
        found.setdefault(prompt.source, []).append(prompt)
    return found
