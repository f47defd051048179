"""Weights read from another process's memory, and the digest that is made where they are."""

from __future__ import annotations

import multiprocessing
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import cluster.weights.fingerprint
from cluster.weights.buckets import layout
from cluster.weights.digest import matching
from cluster.weights.fingerprint import fingerprint, stream_fingerprint
from cluster.weights.ipc import copy_shared, share
from rl.errors import TrainingError, WorkerError
from rl.types import WeightRef

TYPES = (torch.float32, torch.bfloat16, torch.int64, torch.uint8)


@settings(deadline=None)
@given(st.sampled_from(TYPES), st.integers(0, 8), st.integers(0, 8), st.integers(1, 4), st.data())
def test_any_changed_element_and_any_swap_changes_the_fingerprint(
    dtype: torch.dtype, place: int, other: int, chunk: int, data: Any
) -> None:
    numbers = torch.arange(9).to(dtype)
    before = fingerprint({"a": numbers, "b": numbers[:3]})
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(cluster.weights.fingerprint, "CHUNK", chunk)  # however it is cut
        assert fingerprint({"b": numbers[:3], "a": numbers}) == before
        changed = numbers.clone()
        raw = changed.view(torch.uint8)
        raw[place * dtype.itemsize + data.draw(st.integers(0, dtype.itemsize - 1))] ^= data.draw(st.integers(1, 255))
        assert fingerprint({"a": changed, "b": numbers[:3]}) != before
        swapped = numbers.clone()
        swapped[[place, other]] = swapped[[other, place]]
        assert (fingerprint({"a": swapped, "b": numbers[:3]}) != before) == (place != other)


def test_names_shapes_and_types_are_in_the_fingerprint() -> None:
    zeros = torch.zeros(4)
    others = [{"b": zeros}, {"a": zeros.reshape(2, 2)}, {"a": zeros.to(torch.int32)}, {"a": zeros, "b": zeros}]
    assert len({fingerprint(each) for each in [{"a": zeros}, *others]}) == 5
    assert stream_fingerprint([zeros], layout({"a": (4,)}), 3) == fingerprint({"a": zeros})
    with pytest.raises(TrainingError, match="weights 3: a holds a NaN"):
        stream_fingerprint([torch.tensor([0.0, float("nan")])], layout({"a": (2,)}), 3)


def network() -> torch.nn.Linear:
    torch.manual_seed(1)
    return torch.nn.Linear(5, 3)


def copy(handles: bytes, ref: WeightRef, answers: Any) -> None:
    """In another process."""
    module = torch.nn.Linear(5, 3)
    try:
        copy_shared(handles, partial(matching, module.state_dict()), ref)
        answers.put(module.weight.tolist())
    except WorkerError as error:
        answers.put(str(error))


def test_another_process_copies_what_the_owner_has_at_that_moment() -> None:
    module, spawn = network(), multiprocessing.get_context("spawn")
    answers = spawn.SimpleQueue()

    def ask(ref: WeightRef) -> Any:
        other = spawn.Process(target=copy, args=(share(module.state_dict()), ref, answers))
        other.start()
        other.join(60)
        assert other.exitcode == 0
        return answers.get()

    with torch.no_grad():  # the owner goes on with its own tensors, in memory that is now shared
        module.weight.add_(1)
    assert ask(WeightRef(2, fingerprint(module.state_dict()))) == module.weight.tolist()
    assert ask(WeightRef(3, "0" * 64)).startswith("weights 3: digest")


def test_other_names_and_shapes_are_refused_by_their_first(tmp_path: Path) -> None:
    module = network()
    lent = {"weight": module.weight.detach()}
    with pytest.raises(WorkerError, match="1 names differ from the policy's, the first is 'bias'"):
        copy_shared(share(lent), partial(matching, module.state_dict()), WeightRef(1, fingerprint(lent)))
    lent = {"weight": module.weight.detach(), "bias": torch.zeros(1)}  # which a copy would spread over all three
    with pytest.raises(WorkerError, match=r"bias has shape \(1,\), the policy's has \(3,\)"):
        copy_shared(share(lent), partial(matching, module.state_dict()), WeightRef(1, fingerprint(lent)))
