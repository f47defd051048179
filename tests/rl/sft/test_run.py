"""Fine-tuning runs: resumed bit for bit, evaluated on the way, plain text, LLaDA's end of text, packed batches."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Mapping
from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from cluster.run import preflight
from policies import load_policy
from policies.files.fresh_policy import build, train_tokenizer
from policies.images.lfq import LFQConfig, LFQTokenizer
from policies.network.packed_sequences import pack_sequences
from rl.checkpoints.folder import FolderCheckpoints
from rl.config import Config, RolloutConfig, SftConfig, SourceConfig
from rl.data.rows import load_rows
from rl.data.stream import PromptStream
from rl.errors import CheckpointError, DataError
from rl.learner.engine import TorchEngine
from rl.sft.examples import ExampleMaker, text_example
from rl.sft.run import SftRun
from rl.sft.steps import batch_loss
from rl.stop import Stop
from rl.types import Message, Prompt, Task, TextSampling
from tests.toys import toy_draw_prompt, toy_policy

CANVAS = TextSampling(max_new_tokens=24, block_length=8, steps=12)
EOS = 99
LESSONS = [
    Prompt(f"l{i}", Task.TEXT, (Message("user", f"{i} + 1 ="),), solution=f"{i + 1}" * (1 + i)) for i in range(5)
]
DRAWINGS = [toy_draw_prompt(index) for index in range(3)]  # their scenes are rendered, several pictures a caption


def config(folder: Path, **settings) -> Config:
    values = {
        "name": "run", "output_dir": str(folder), "rollout": RolloutConfig(text=CANVAS),
        "sft": SftConfig(steps=8, batch_size=4, lr=5e-3, warmup_steps=2), **settings,
    }  # fmt: skip
    return Config(**values)


@cache
def scenes_folder() -> Path:
    """A toy whose pictures have a size that scenes can be drawn at."""
    folder = Path(tempfile.mkdtemp(prefix="unigrpo-scenes-"))
    torch.manual_seed(0)
    LFQTokenizer(LFQConfig(image_size=24, bits=6, width=16)).save(folder / "images")
    sizes = {"d_model": 32, "n_layers": 2, "n_heads": 2, "mlp_hidden_size": 64}
    build(folder / "policy", train_tokenizer(["1 + 1 ="], 300), folder / "images", max_length=128, **sizes)
    return folder / "policy"


def make(settings: Config) -> SftRun:
    policy = load_policy(scenes_folder())
    engine = TorchEngine(policy.module, settings.sft, settings.sft.steps)
    stream = PromptStream([SourceConfig("lessons"), SourceConfig("drawings")], settings.seed, [LESSONS, DRAWINGS])
    return SftRun(policy, engine, stream, settings, FolderCheckpoints(settings))


def kept(task: SftRun) -> FolderCheckpoints:
    assert isinstance(task.checkpoints, FolderCheckpoints)
    return task.checkpoints


def run(settings: Config, evaluate=None, before: Mapping[str, float] | None = None) -> tuple[SftRun, dict[int, float]]:
    """The run, and its losses by step; ``before`` where it does not resume."""
    task, losses = make(settings), {}
    found = task.resume()
    task.run(lambda step, metrics: losses.update({step: metrics["sft/loss"]}), found or before or {}, evaluate)
    return task, losses


def test_a_run_that_was_cut_off_goes_on_bit_for_bit(tmp_path: Path) -> None:
    straight, curve = run(config(tmp_path / "straight"))
    half = config(tmp_path / "cut", save_freq=3, keep_checkpoints=9)
    cut = make(half)

    def stop(step: int, metrics: Mapping[str, float]) -> None:
        if step == 4:
            raise KeyboardInterrupt

    assert cut.resume() is None
    with pytest.raises(KeyboardInterrupt):
        cut.run(stop, {"val/text/score": 0.25})
    again = make(half)
    assert again.resume() == {"val/text/score": 0.25} and again.step == 3
    rest: dict[int, float] = {}
    again.run(lambda step, metrics: rest.update({step: metrics["sft/loss"]}), {})
    assert rest == {step: loss for step, loss in curve.items() if step >= 3}
    for name, value in straight.policy.module.state_dict().items():
        assert torch.equal(value, again.policy.module.state_dict()[name])
    saved = sorted(path.name for path in kept(again).folder.glob("global_step_*"))
    assert saved == ["global_step_3", "global_step_6", "global_step_8"]


class Minutes:
    """A clock by which a step takes so many minutes."""

    def __init__(self, per_step: float) -> None:
        self.steps, self.per_step = 0, per_step

    def __call__(self) -> float:
        return 60 * self.per_step * self.steps

    def log(self, step: int, metrics: Mapping[str, float]) -> None:
        self.steps = step + 1


@pytest.mark.parametrize(
    ("minutes", "settings", "saved"),
    [
        (4.0, {}, [3, 6, 8]),
        (0.1, {}, []),  # the policy itself is written at the end
        (4.0, {"save_minutes": 0.0}, []),
        (4.0, {"save_freq": 5}, [3, 5, 8]),
        (60.0, {"save_minutes": 120.0}, [2, 4, 6, 8]),
    ],
)
def test_saved_once_so_many_minutes_have_passed(tmp_path: Path, minutes: float, settings, saved: list[int]) -> None:
    task, now = make(config(tmp_path, keep_checkpoints=9, **settings)), Minutes(minutes)
    assert task.resume() is None
    task.run(now.log, {}, now=now)
    assert sorted(int(path.name[12:]) for path in kept(task).folder.glob("global_step_*")) == saved


def test_a_run_that_is_told_to_stop_finishes_its_step_and_saves_it(tmp_path: Path) -> None:
    task, stop = make(config(tmp_path)), Stop()
    assert task.resume() is None
    with pytest.raises(KeyboardInterrupt):
        task.run(lambda step, metrics: stop.request() if step == 4 else None, {}, stop=stop)
    assert [path.name for path in kept(task).folder.glob("global_step_*")] == ["global_step_5"]
    again = make(config(tmp_path))
    assert again.resume() == {} and again.step == 5


def test_an_evaluation_is_abandoned_when_the_run_is_told_to_stop(tmp_path: Path) -> None:
    task, stop = make(config(tmp_path, test_freq=3)), Stop()

    def evaluate(step: int) -> Mapping[str, float]:
        stop.request()
        raise AssertionError("it went on")

    assert task.resume() is None
    with pytest.raises(KeyboardInterrupt):
        task.run(lambda step, metrics: None, {}, evaluate, stop)
    assert [path.name for path in kept(task).folder.glob("global_step_*")] == ["global_step_3"]


@pytest.mark.parametrize("whole", [False, True])
def test_an_evaluation_that_was_cut_off_is_made_when_the_run_goes_on(tmp_path: Path, whole: bool) -> None:
    """whole: it was not cut off, and the kill came right after it."""
    settings = config(tmp_path, save_freq=2, test_freq=2)
    made: list[int] = []

    def cut(step: int) -> Mapping[str, float]:
        if step == 4 and not whole:
            raise KeyboardInterrupt
        return {"val/text/score": 0.5}

    def stop(step: int, metrics: Mapping[str, float]) -> None:
        if step == 4:
            raise KeyboardInterrupt

    task = make(settings)
    assert task.resume() is None
    with pytest.raises(KeyboardInterrupt):
        task.run(stop, {}, cut)
    again = make(settings)
    assert again.resume() == {} and again.step == 4

    def evaluate(step: int) -> Mapping[str, float]:
        assert not again.policy.module.training
        made.append(step)
        return {"val/text/score": 0.5}

    again.run(lambda step, metrics: None, {}, evaluate)
    assert made == ([6] if whole else [4, 6]) and set(kept(again).ratings.read()) == {2, 4, 6}


def test_evaluations_on_the_way_rate_the_checkpoints(tmp_path: Path) -> None:
    scores = {2: 0.1, 4: 0.9, 6: 0.3}
    settings = config(tmp_path, save_freq=2, test_freq=2, keep_checkpoints=1, best_metric="val/text/score")
    task, _ = run(settings, lambda step: {"val/text/score": scores[step]})
    assert kept(task).best() == [4]
    assert {path.name for path in kept(task).folder.glob("global_*")} == {"global_step_4", "global_step_8"}


def test_packed_examples_have_the_same_loss_and_gradient(tmp_path: Path) -> None:
    gradients, losses = [], []
    for packed in (False, True):
        policy = load_policy(scenes_folder(), dtype=torch.float64)
        pack_sequences(policy.module, packed)
        maker, rng = ExampleMaker(policy, config(tmp_path)), np.random.default_rng(3)
        loss = batch_loss(policy, [maker.make(prompt, rng) for prompt in [*LESSONS, *DRAWINGS]])
        gradients.append(torch.autograd.grad(loss, list(policy.module.parameters())))
        losses.append(loss.detach())
    torch.testing.assert_close(losses[0], losses[1], rtol=0, atol=1e-10)
    for left, right in zip(*gradients, strict=True):
        torch.testing.assert_close(left, right, rtol=0, atol=1e-10)
    task = make(config(tmp_path, sft=SftConfig(steps=1, batch_size=4, packing=True)))
    assert task.policy.module.packing


@given(st.integers(1, 30), st.integers(0, 1000))
def test_end_of_text_fills_the_canvas_as_llada_does(length: int, seed: int) -> None:
    """Every token after the answer is end-of-text, and any of them may be hidden and is then scored."""
    response = [*range(10, 10 + length - 1), EOS]
    example = text_example([7], response, EOS, CANVAS, 0.0, np.random.default_rng(seed), whole_canvas=True)
    total = max(24, -(-length // 8) * 8)
    assert example.token_ids.tolist() == [7, *response, *[EOS] * (total - length)]
    assert (example.hidden == example.scored).all() and example.scored.any() and not example.hidden[0]


def test_the_config_chooses_how_end_of_text_fills(tmp_path: Path) -> None:
    policy, lesson = toy_policy(), LESSONS[0]
    sft = SftConfig(canvas_prob=1.0, semi_autoregressive_prob=0.0)
    scored = {}
    for fill in ("block", "canvas"):
        maker = ExampleMaker(policy, config(tmp_path, sft=replace(sft, eos_fill=fill)))
        examples = [maker.make(lesson, np.random.default_rng(seed)) for seed in range(30)]
        prefix = len(policy.encode_prompt(lesson).prefix)
        scored[fill] = max(int(np.flatnonzero(example.scored).max()) - prefix for example in examples)
    assert scored["block"] < 8 <= scored["canvas"]


def test_plain_text_is_learned_as_a_whole(tmp_path: Path) -> None:
    rows = tmp_path / "rows.jsonl"
    texts = ["a red circle", "what is the colour? " * 40]
    rows.write_text("".join(json.dumps({"text": text}) + "\n" for text in texts))
    short, long = load_rows(SourceConfig(str(rows)))
    assert short.messages == () and short.solution == texts[0]
    policy = toy_policy()
    maker, rng = ExampleMaker(policy, config(tmp_path)), np.random.default_rng(0)
    whole = [*policy.tokenizer.encode(texts[0]), policy.vocabulary.eos_id]
    hidden = np.zeros(len(whole), dtype=bool)
    for _ in range(50):
        example = maker.make(short, rng)
        assert example.token_ids.tolist() == whole and (example.hidden == example.scored).all()
        hidden |= example.hidden
    assert hidden.all()  # there is no prompt: any token may be hidden
    everything = [*policy.tokenizer.encode(texts[1]), policy.vocabulary.eos_id]
    window = maker.make(long, rng).token_ids.tolist()
    assert len(everything) > len(window) == policy.max_length
    assert any(everything[i : i + len(window)] == window for i in range(len(everything)))
    preflight.check_solutions(preflight.Inputs(((short, long),), ()))
    with pytest.raises(DataError, match="plain text without a message, which only sft's training data may have"):
        preflight.check_messages([short])


@pytest.mark.parametrize(
    ("full", "settings", "minutes", "saved"),
    [
        ((3,), {}, 4.0, [6, 8]),
        ((3, 6), {}, 4.0, []),  # nothing was saved on the way, so that the end writes the policy alone
        ((2, 4), {"save_freq": 2}, 0.0, [6, 8]),
        ((2, 4, 6), {"save_freq": 2}, 0.0, [8]),
        ((5,), {"save_freq": 5}, 0.0, [8]),
        ((1, 2, 3), {}, 30.0, [4, 5, 6, 7, 8]),
    ],
)
def test_a_full_disk_is_a_warning_until_the_end(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch,
    full: tuple[int, ...], settings: dict, minutes: float, saved: list[int],
) -> None:  # fmt: skip
    """As in training: what was due is tried again, and the weights are those of a run whose disk had room."""
    write = FolderCheckpoints._write

    def writes(self: FolderCheckpoints, folder: Path, step: int, *rest) -> None:
        if step in full:
            raise OSError(28, "No space left on device")
        write(self, folder, step, *rest)

    calm, now = make(config(tmp_path / "calm")), Minutes(0.0)
    assert calm.resume() is None
    calm.run(now.log, {}, now=now)
    monkeypatch.setattr(FolderCheckpoints, "_write", writes)
    task, now = make(config(tmp_path / "full", keep_checkpoints=9, **settings)), Minutes(minutes)
    assert task.resume() is None
    task.run(now.log, {}, now=now)
    assert sorted(int(path.name[12:]) for path in kept(task).folder.glob("global_step_*")) == saved
    assert caplog.text.count("No space left on device; there is no earlier one; make room") == len(full)
    assert caplog.text.count("training goes on") == len(full)
    for name, value in calm.policy.module.state_dict().items():
        assert torch.equal(value, task.policy.module.state_dict()[name])


@pytest.mark.parametrize(("settings", "stops"), [({"save_freq": 8}, None), ({}, 4)])
def test_what_must_be_saved_and_cannot_ends_the_run(
    tmp_path: Path, monkeypatch, settings: dict, stops: int | None
) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(FolderCheckpoints, "_write", full)
    task, stop = make(config(tmp_path, **settings)), Stop()
    assert task.resume() is None
    with pytest.raises(CheckpointError, match="cannot be saved: .*No space left.*; there is no earlier one; make room"):
        task.run(lambda step, metrics: stop.request() if step == stops else None, {}, stop=stop)
