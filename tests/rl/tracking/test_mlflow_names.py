"""Names of metrics: what MLflow takes stays, and two names never become one."""

from __future__ import annotations

import itertools
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st
from mlflow.exceptions import MlflowException
from mlflow.utils.validation import _validate_length_limit, _validate_metric_name

from rl.tracking.mlflow_names import LONGEST, clean_name


def takes(name: str) -> bool:
    try:
        _validate_metric_name(name)
        _validate_length_limit("Metric name", LONGEST, name)
        return True
    except MlflowException:
        return False


def original(clean: str) -> str:
    """What a name of at most 250 characters was made of: the inverse, so that no two names can share one."""
    if clean == "_U000000_":
        return ""
    return re.sub(r"_U([0-9A-F]{4,6})_", lambda found: chr(int(found[1], 16)), clean)


KEPT = """timing_s/step val/text/score acc:1 точность скорость 准确率 召回率 größe gräße a.b-c_d σ² ª x:y:z e:40:f 1 :
    _U _Ux my_Unit ... rewards/正解/mean""".split()


@pytest.mark.parametrize("name", [name for name in KEPT if name != "..."] + ["with a blank", " x ", "a/b c/d"])
def test_what_mlflow_takes_is_kept(name: str) -> None:
    assert takes(name) and clean_name(name) == name


APART = [
    ("точность", "скорость"), ("准确率", "召回率"), ("größe", "gräße"), ("acc@1", "acc#1"), ("acc@1", "acc_1"),
    ("a//b", "a/b"), ("/a", "a"), ("a/", "a"), ("..", "."), ("", "_"), ("a/../b", "b"), ("a/./b", "a/b"), ("%", "&"),
    ("x[0]", "x(0)"), ("a\n", "a"), ("a\tb", "a b"), ("acc@1", "acc_U0040_1"), ("\u00e9", "e\u0301"), ("🙂", "🙃"),
    ("x" * 300, "x" * 301), ("x" * 250, "x" * 251), ("é" * 260 + "a", "é" * 260 + "b"), ("a\\b", "a|b"), ("...", ".."),
]  # fmt: skip


@pytest.mark.parametrize(("one", "other"), APART)
def test_two_names_stay_two(one: str, other: str) -> None:
    assert clean_name(one) != clean_name(other)
    assert takes(clean_name(one)) and takes(clean_name(other))


def test_short_names_of_the_hard_characters_can_all_be_told_apart() -> None:
    names = ["".join(part) for size in range(5) for part in itertools.product("/._U0a@:", repeat=size)]
    clean = [clean_name(name) for name in names]
    assert [original(name) for name in clean] == names
    assert all(map(takes, clean))


@given(st.text(max_size=40))
def test_any_text_becomes_a_name_that_mlflow_takes_and_that_tells_what_it_was(name: str) -> None:
    clean = clean_name(name)
    assert takes(clean)
    if len(clean) < LONGEST:
        assert original(clean) == name
    if takes(name) and not re.search("_U[0-9A-F]|\n", name):
        assert clean == name


def test_a_character_that_is_refused_is_its_code_point() -> None:
    assert clean_name("acc@1") == "acc_U0040_1" and clean_name("🙂") == "_U1F642_"
    assert len(clean_name("x/" * 200)) == LONGEST
