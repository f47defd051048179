"""Each key of each family's published config without a value, left out, or of another type: a config, or one line."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from policies.families.registry import family_of
from policies.files.checkpoints import _in_config, _sizes
from rl.errors import PolicyError

PUBLISHED: dict[str, dict[str, Any]] = json.loads((Path(__file__).parents[1] / "golden" / "configs.json").read_text())
ABSENT = object()
ODD = (
    ABSENT, None, True, False, 0, -1, 1, 7, 1.5, -0.0, 1e-30, 1e300, float("nan"), float("inf"), 2**31, 2**63, 10**400,
    "", "8", "true", "\x1b[2J", [], [8], {}, {"a": {"b": 1}},
)  # fmt: skip


def configs(published: dict[str, Any]) -> Iterator[tuple[str, object, dict[str, Any]]]:
    for key in published:
        for value in ODD:
            config = {**published, key: value}
            if value is ABSENT:
                del config[key]
            yield key, value, config


@pytest.mark.parametrize("name", PUBLISHED)
def test_any_value_of_any_key(name: str) -> None:
    refused = 0
    for key, value, config in configs(PUBLISHED[name]):
        try:
            family = family_of(config.get("model_type"))
            sizes = _sizes(Path("folder"), family, config)
            with _in_config(Path("folder", "config.json"), family):
                family.vocabulary(config, sizes.vocab_size)
        except PolicyError as error:
            refused += 1
            said = str(error)
            assert len(said) < 400 and said.isprintable(), (key, value, said)
            assert "config.json" in said, (key, value, said)
        else:
            assert sizes.n_layers > 0 and sizes.d_model > 0 and sizes.rope_theta > 0, (key, value)
    assert refused > len(ODD)
