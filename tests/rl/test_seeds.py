from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rl.seeds import SeedPath, derive_seed, shuffled, uniforms

PARTS = st.lists(st.one_of(st.integers(-(2**40), 2**70), st.text(max_size=8)), max_size=4)


@given(st.integers(0, 2**63 - 1), PARTS)
def test_is_a_pure_function_into_63_bits(seed: int, parts: list[int | str]) -> None:
    value = derive_seed(seed, *parts)
    assert 0 <= value < 2**63
    assert value == derive_seed(seed, *parts)


@given(st.integers(0, 2**63 - 1), PARTS, PARTS)
def test_other_parts_give_another_seed(seed: int, left: list[int | str], right: list[int | str]) -> None:
    assert (derive_seed(seed, *left) == derive_seed(seed, *right)) == (left == right)


def test_parts_cannot_be_mistaken_for_each_other() -> None:
    calls = [(1, "a", "b"), (1, "ab"), (1, "b", "a"), (1, 2), (1, "2"), (12,), (1, "2:s"), (1, 2, ""), (1, "", 2)]
    assert all(derive_seed(*a) != derive_seed(*b) for a, b in itertools.combinations(calls, 2))


def test_the_value_never_changes_between_versions() -> None:
    """Resumed runs and other machines depend on it."""
    assert derive_seed(0) == 6148773199958884930
    assert derive_seed(7, "mask pattern", 3, "sudoku4x4/train/17", 2, 1) == 6432206813967402923
    numbers, bits = uniforms(7, 3)
    assert numbers.tolist() == [0.8720734548204873, 0.29536538151378355, 0.4200976785072422]
    assert shuffled(bits, 6).tolist() == [5, 1, 3, 0, 4, 2]


def test_numpy_integers_count_as_integers_and_floats_are_refused() -> None:
    assert derive_seed(np.int64(7), np.int32(3)) == derive_seed(7, 3)  # pyright: ignore[reportArgumentType]
    with pytest.raises(TypeError):
        derive_seed(7, 3.0)  # pyright: ignore[reportArgumentType]


@given(st.integers(0, 2**63 - 1), PARTS, PARTS)
def test_a_beginning_that_is_hashed_once_gives_the_same_seeds(
    seed: int, first: list[int | str], rest: list[int | str]
) -> None:
    path = SeedPath(seed, *first)
    for _ in range(2):
        assert path.derive(*rest) == derive_seed(seed, *first, *rest)
