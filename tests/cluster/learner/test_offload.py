"""Memory that is given back and comes back: all of it, every bit, for every engine, and the views stay views."""

from __future__ import annotations

import gc
import multiprocessing
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.distributed import TCPStore  # pyright: ignore[reportPrivateImportUsage]

from cluster.learner.deepspeed_engine import DeepSpeedEngine, start_distributed
from cluster.learner.offload import Offload
from cluster.learner.one_rank import FrozenLearner, make_learner, tensors
from cluster.weights.digest import digest
from cluster.workers.inline import InlineWorkers
from cluster.workers.rollout import RolloutWorker
from rl.errors import WorkerError
from rl.learner.adamw8bit import AdamW8bit
from rl.learner.engine import Engine, TorchEngine, training_tensors
from rl.prepare import prepare
from rl.types import WeightRef
from tests.cluster.learner.test_deepspeed_engine import SETTINGS, deepspeed_engine, network, train, weights
from tests.cluster.runs import PROMPTS, make_config
from tests.toys import toy_text_prompt
from tests.wide import wide

EIGHT_BITS = replace(SETTINGS, optimizer="adamw8bit")
STAGES = range(4)
ENGINES: dict[str, Callable[[Path], Engine]] = {
    "torch": lambda folder: TorchEngine(network(), SETTINGS, 10),
    "8 bits": lambda folder: TorchEngine(network(), EIGHT_BITS, 10),
    **{f"stage {stage}": lambda folder, stage=stage: deepspeed_engine(folder, stage) for stage in STAGES},
    **{
        f"stage {stage}, 8 bits": lambda folder, stage=stage: deepspeed_engine(folder, stage, settings=EIGHT_BITS)
        for stage in STAGES
    },
    **{
        f"stage {stage}, bfloat16": lambda folder, stage=stage: deepspeed_engine(folder, stage, torch.bfloat16)
        for stage in (2, 3)
    },
    **{
        f"stage {stage}, optimizer on the host": lambda folder, stage=stage: deepspeed_engine(
            folder, stage, offload=True
        )
        for stage in (1, 2, 3)
    },
}
A_NUMBER = 8  # bytes: a count of steps or a norm, which may stay where it is


def held(tensor: Tensor) -> int:
    return tensor.untyped_storage().nbytes()


@contextmanager
def only_new_tensors() -> Iterator[None]:
    """In this block ``left_behind`` sees what the block made, and nothing from before."""
    gc.collect()
    gc.freeze()
    try:
        yield
    finally:
        gc.unfreeze()


def left_behind(memory: Offload | None = None) -> list[int]:
    """Bytes of each storage that the garbage collector knows a tensor of. Not those that hold a number, the host's copies
    of what was offloaded, and parts of files: of these no process can give its share back."""
    copies = [] if memory is None else [kept for _, _, kept in memory._emptied if kept is not None]
    known = {copy.untyped_storage().data_ptr() for copy in copies}
    gc.collect()
    found: dict[int, int] = {}
    for each in [each for each in gc.get_objects() if issubclass(type(each), Tensor)]:
        for tensor in (each, each.grad if each.is_leaf else None):
            if tensor is None or tensor.device.type != "cpu" or tensor.layout is not torch.strided:
                continue
            storage = tensor.untyped_storage()
            if storage.nbytes() > A_NUMBER and storage.resizable() and storage.data_ptr() not in known:
                found[storage.data_ptr()] = storage.nbytes()
    return sorted(found.values())


def accumulate(engine: Engine) -> None:
    """Part of a step: gradients are there, and an engine's buffers for them."""
    rows = torch.randn(4, 8, generator=torch.Generator().manual_seed(99))
    dtype = next(engine.module.parameters()).dtype
    engine.backward(engine.module(rows.to(dtype)).pow(2).sum() / 12)


@pytest.mark.parametrize("name", wide(ENGINES, 3))
def test_an_engine_that_was_offloaded_between_steps_goes_on_as_if_it_had_not(tmp_path: Path, name: str) -> None:
    straight, moved = ENGINES[name](tmp_path), ENGINES[name](tmp_path)
    train(straight, 0, 6)
    memory = Offload("cpu")
    train(moved, 0, 2)
    for low, high in ((2, 4), (4, 6)):
        given = memory.offload(moved.tensors())
        assert memory.offloaded and memory.offload(moved.tensors()) == 0  # not twice
        parameters = list(network().parameters())
        numbers = sum(parameter.numel() for parameter in parameters)
        size = next(moved.module.parameters()).element_size()
        assert given >= numbers * size + numbers * (2 if "8 bits" in name else 8)  # weights, and two moments
        assert not any(held(tensor) for tensor in moved.module.parameters())
        memory.restore()
        assert not memory.offloaded
        train(moved, low, high)
    assert torch.equal(weights(moved), weights(straight))


def offloaded_between(make: Callable[[], Engine]) -> None:
    """Nothing of this engine stays behind in the middle of a step, and it goes on as one that was not offloaded."""

    def steps(between: Callable[[Engine], None]) -> list[float]:
        engine = make()
        train(engine, 0, 2)
        accumulate(engine)
        between(engine)
        engine.step()
        train(engine, 3, 5)
        return weights(engine).tolist()

    def there_and_back(engine: Engine) -> None:
        there = left_behind()
        assert len(there) >= 2  # ZeRO has all parameters in one buffer, and their gradients in another
        memory = Offload("cpu")
        memory.offload(engine.tensors())
        assert left_behind(memory) == []
        memory.restore()
        assert left_behind() == there

    expected = steps(lambda engine: None)
    with only_new_tensors():
        assert steps(there_and_back) == expected


@pytest.mark.parametrize("name", wide(ENGINES, 3))
def test_nothing_of_an_engine_stays_behind(tmp_path: Path, name: str) -> None:
    """The garbage collector knows every tensor, also one that a newer DeepSpeed keeps where ours does not look."""
    offloaded_between(lambda: ENGINES[name](tmp_path))


@pytest.mark.long
def test_nothing_of_two_ranks_stays_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where there is another rank, ZeRO partitions, gathers and reduces."""
    if sys.platform == "linux":
        monkeypatch.setenv("GLOO_SOCKET_IFNAME", "lo")
    store = TCPStore("127.0.0.1", 0, is_master=True, wait_for_workers=False)
    spawn = multiprocessing.get_context("spawn")
    ranks = [spawn.Process(target=run_rank, args=(rank, store.port, tmp_path)) for rank in range(2)]
    try:
        for rank in ranks:
            rank.start()
        for rank in ranks:
            rank.join(300)
        assert [rank.exitcode for rank in ranks] == [0, 0]
    finally:
        for rank in ranks:
            rank.kill()


def run_rank(rank: int, port: int, folder: Path) -> None:
    start_distributed(rank, 2, TCPStore("127.0.0.1", port, is_master=False), "cpu", 60.0)
    log = folder / f"deepspeed-{rank}.log"
    for stage in (1, 2, 3):
        offloaded_between(lambda stage=stage: DeepSpeedEngine(network(), SETTINGS, 10, zero_stage=stage, log=log))


def test_a_buffer_that_is_not_listed_is_noticed(tmp_path: Path) -> None:
    memory = Offload("cpu")
    with only_new_tensors():
        engine = deepspeed_engine(tmp_path, 3)
        train(engine, 0, 1)
        engine._engine.optimizer.buffer_of_a_newer_version = {"inside": [torch.zeros(5)]}
        memory.offload(engine.tensors())
        assert left_behind(memory) == [20]


def test_frozen_weights_at_stage_3_are_offloaded_too(tmp_path: Path) -> None:
    """As a LoRA adapter's base is: no flat buffer has them."""
    start_distributed(0, 1, None, "cpu", 60.0)
    memory = Offload("cpu")
    with only_new_tensors():
        module = network()
        next(iter(module.parameters())).requires_grad_(False)
        engine = DeepSpeedEngine(module, SETTINGS, 10, zero_stage=3, log=tmp_path / "deepspeed.log")
        train(engine, 0, 2)
        expected = weights(engine).tolist()
        memory.offload(engine.tensors())
        assert left_behind(memory) == []
        memory.restore()
        assert weights(engine).tolist() == expected


def test_views_stay_views_and_what_comes_anew_is_not_kept() -> None:
    flat = torch.arange(6.0)
    first, second, other = flat[:2], flat[2:], torch.ones(3)
    memory = Offload("cpu")
    assert memory.offload([first, second, other, first], refilled=[other]) == 36
    assert held(flat) == held(other) == 0
    memory.restore()
    assert second.tolist() == [2, 3, 4, 5] and held(other) == 12
    first.add_(1)
    assert flat.tolist() == [1, 2, 2, 3, 4, 5]
    assert Offload("cuda:1").offload([flat]) == 0  # another device's


def test_gradients_and_optimizer_states_are_listed() -> None:
    layer = nn.Linear(300, 2)
    layer(torch.ones(300)).sum().backward()
    optimizer = AdamW8bit([{"params": list(layer.parameters())}], lr=0.1, betas=(0.9, 0.99))
    before = {id(tensor) for tensor in training_tensors(layer, optimizer)}
    optimizer.step()
    found = {id(tensor) for tensor in training_tensors(layer, optimizer)}
    assert {id(layer.weight), id(layer.weight.grad), id(layer.bias)} <= before < found
    state = [id(tensor) for values in optimizer.state.values() for tensor in values.values()]
    assert len(state) == 10 and set(state) <= found  # step, codes and scales of two moments, for two parameters


@pytest.mark.long
@pytest.mark.parametrize(
    "settings",
    [
        ("learner.engine=torch", "learner.algorithm.importance_cap=2.0"),
        ("learner.zero_stage=3", "learner.lora.rank=2"),
    ],
)
def test_nothing_of_a_learner_stays_behind(home: Path, settings: tuple[str, ...]) -> None:
    """Policy, reference, past weights, image tokenizer, rotary tables: and the next step is the same."""
    inline, config = make_config(home), make_config(home, *settings)
    workers = InlineWorkers(inline)
    groups = workers.rollout_and_score(PROMPTS, workers.update_weights(FrozenLearner(inline), 3), seed=11)
    batches = [prepare(groups, config, step, weight_version=3) for step in range(2)]
    straight = make_learner(config)
    for batch in batches:
        straight.update(batch)
    expected = straight.weights()
    memory = Offload("cpu")
    with only_new_tensors():
        learner = make_learner(config)
        learner.update(batches[0])
        there = left_behind()
        assert memory.offload(tensors(learner)) > sum(there) > 0
        assert left_behind(memory) == []
        memory.restore()
        assert left_behind() == there
        learner.update(batches[1])
        for name, value in learner.weights().items():
            np.testing.assert_array_equal(value, expected[name], err_msg=name)


def test_a_rollout_worker_starts_offloaded_serves_when_it_has_weights_and_is_offloaded_again(home: Path) -> None:
    resident = RolloutWorker(make_config(home))
    worker = RolloutWorker(make_config(home, "cluster.mode=ray", "cluster.take_turns=true"))
    assert worker._memory.offloaded
    worker._memory.restore()
    sent = {name: value.numpy() for name, value in resident.policy.module.state_dict().items()}
    worker.policy.module.load_state_dict(
        {k: v.clone() for k, v in worker.policy.module.state_dict().items()}, assign=True
    )
    worker.offload()  # what was read from a file is a part of it on a CPU, and could not be given back
    ref, prompt = WeightRef(1, digest(sent)), toy_text_prompt()
    resident.load_weights(ref, sent)
    expected = resident.rollout(prompt, ref, seed=1)
    for _ in range(2):
        assert not any(held(value) for value in worker.policy.module.state_dict().values())
        with pytest.raises(WorkerError, match="has no weights"):
            worker.rollout(prompt, ref, seed=1)
        worker.load_weights(ref, sent)
        found = worker.rollout(prompt, ref, seed=1)
        assert [each.token_ids.tobytes() for each in found] == [each.token_ids.tobytes() for each in expected]
        assert worker.offload() > 0
