"""Weights in buckets: what arrives is what was sent, in two buckets of memory, and its digest is the whole one's."""

from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
import torch
import torch.distributed as dist
from hypothesis import given, settings
from hypothesis import strategies as st

from cluster.weights.buckets import Intake, Slot, layout, pieces, process_group, receive, send
from cluster.weights.digest import digest
from rl.errors import WorkerError
from rl.types import WeightRef

LOOPBACK = "127.0.0.1"


def slots_of(tensors: Mapping[str, Any]) -> tuple[Slot, ...]:
    return layout({name: tuple(tensor.shape) for name, tensor in tensors.items()})


def transfer(sent: dict[str, torch.Tensor], target: dict[str, torch.Tensor], bucket_mib: float) -> Intake:
    """Between two threads of this process, over gloo on loopback."""
    store, slots = dist.HashStore(), slots_of(sent)  # pyright: ignore[reportPrivateImportUsage]
    intake = Intake(target, slots)

    def sender() -> None:
        send(process_group(store, 0, 2, 20.0, LOOPBACK), (sent[slot.name] for slot in slots), slots, bucket_mib)

    with ThreadPoolExecutor(1) as threads:
        sending = threads.submit(sender)
        receive(process_group(store, 1, 2, 20.0, LOOPBACK), slots, intake, bucket_mib)
        sending.result()
    return intake


@settings(max_examples=15, deadline=None)
@given(
    shapes=st.lists(st.lists(st.integers(1, 9), max_size=3).map(tuple), min_size=1, max_size=6),
    numbers_a_bucket=st.integers(1, 2000),
)
def test_what_arrives_is_what_was_sent(shapes: list[tuple[int, ...]], numbers_a_bucket: int) -> None:
    generator = torch.Generator().manual_seed(len(shapes))
    sent = {f"layer.{i}": torch.randn(shape, generator=generator) for i, shape in enumerate(shapes)}
    target = {name: torch.zeros_like(value) for name, value in sent.items()}
    intake = transfer(sent, target, numbers_a_bucket * 4 / 2**20)
    for name, value in sent.items():
        torch.testing.assert_close(target[name], value, rtol=0, atol=0)
    intake.verify(WeightRef(3, digest({name: value.numpy() for name, value in sent.items()})))
    with pytest.raises(WorkerError, match="^weights 3: digest"):
        intake.verify(WeightRef(3, "0" * 64))


@given(shapes=st.lists(st.integers(1, 300), min_size=1, max_size=20), size=st.integers(1, 400))
def test_pieces_hold_everything_once_in_order_and_no_more_than_a_bucket(shapes: list[int], size: int) -> None:
    slots = [Slot(f"{number:02}", (numel,)) for number, numel in enumerate(shapes)]
    found = list(pieces(slots, size))
    assert all(0 < sum(span.numbers for span in piece) <= size for piece in found)
    numbers = [(span.name, at) for piece in found for span in piece for at in range(span.low, span.high)]
    assert numbers == [(slot.name, at) for slot in slots for at in range(slot.numel)]


def test_a_module_of_another_shape_is_refused_before_anything_is_copied() -> None:
    slots = slots_of({"a": np.zeros((2, 3)), "b": np.zeros(4)})
    with pytest.raises(WorkerError, match="1 tensors differ from the policy's, the first is 'b'"):
        Intake({"a": torch.zeros(2, 3), "b": torch.zeros(5)}, slots)


def test_the_target_may_be_of_another_type() -> None:
    sent = {"a": torch.arange(10.0)}
    target = {"a": torch.zeros(10, dtype=torch.bfloat16)}
    transfer(sent, target, 12 / 2**20)
    assert target["a"].tolist() == list(range(10))


def test_a_sender_that_runs_short_says_which_tensor() -> None:
    slots = slots_of({"a": torch.zeros(4)})
    group = process_group(dist.HashStore(), 0, 1, 5.0, LOOPBACK)  # pyright: ignore[reportPrivateImportUsage]
    with pytest.raises(WorkerError, match="a has 3 numbers, 4 were announced"):
        send(group, [torch.zeros(3)], slots)


def test_tensors_are_asked_for_one_at_a_time() -> None:
    """As an engine whose parameters are scattered gathers them: the next is made when the one before was let go."""
    alive, most = 0, 0
    slots = slots_of({f"{i:02}": torch.zeros(64) for i in range(32)})

    def gathered():
        nonlocal alive, most
        for slot in slots:
            tensor = torch.zeros(slot.shape)
            alive += 1
            most = max(most, alive)
            yield tensor
            del tensor
            alive -= 1

    group = process_group(dist.HashStore(), 0, 1, 5.0, LOOPBACK)  # pyright: ignore[reportPrivateImportUsage]
    send(group, gathered(), slots, bucket_mib=128 * 4 / 2**20)
    assert most == 1
