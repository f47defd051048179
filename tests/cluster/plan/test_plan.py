"""The cost model: counts against real modules, memory against hand-made sums, times against the roofline."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

from cluster.cli.app import app
from cluster.plan.memory import (
    HOST,
    LARGEST,
    STEPPING,
    WORKED_ON,
    Training,
    activations,
    learner_memory,
    logits,
    on_device,
    one_layer,
    rollout_memory,
)
from cluster.plan.plan import Assumed, Model, make_plan, samplers
from cluster.plan.search import MICRO, OFFLOAD, OPTIMIZER, RANKS, STAGE, apply, divide, propose, read
from cluster.plan.seconds import DEVICES, Efficiency, Sampler, group_seconds, reduce_seconds, update_seconds
from cluster.plan.sizes import adapter, forward_flops, parameters, saved_numbers
from policies.lora import LoraLinear, adapters
from policies.network.experts import ExpertsConfig
from policies.network.transformer import Transformer, TransformerConfig
from rl.config import Config, build_config
from rl.config.lora import TARGETS
from rl.errors import ConfigError

LLADA_8B = TransformerConfig(126_464, 4096, 32, 32, 12_288)
MMADA_8B = replace(LLADA_8B, vocab_size=134_656)
DREAM = TransformerConfig(152_064, 3584, 28, 28, 18_944, n_kv_heads=4, qkv_bias=True)
SMALL = TransformerConfig(100, 32, 3, 4, 48, n_kv_heads=2, qkv_bias=True, out_bias=True, qk_norm=True, tied_head=True)
EXPERTS = ExpertsConfig(
    count=8, per_token=2, hidden_size=16, shared=1, groups=2, groups_per_token=1, scale=2.5, first_layer=1
)
H100 = DEVICES["h100"]
WHOLE = Model(LLADA_8B, images=False)
ROOFLINE = Assumed(efficiency=Efficiency(1.0, 1.0, 1.0))


def training(**differs: object) -> Training:
    """One rank of LLaDA-8B's size."""
    base = Training("bfloat16", 0, 1, 4, 512, 128, False, True, 64.0)
    return replace(base, **differs)  # pyright: ignore[reportArgumentType]


def test_a_step_of_8_bit_adamw_is_counted_where_it_takes_more_than_a_micro_batch() -> None:
    small = training(optimizer="adamw8bit", micro_batch=1, length=4, scored=4)
    one_tensor = (
        WORKED_ON * parameters(SMALL) - activations(SMALL, small) - max(logits(SMALL, small), one_layer(SMALL, small))
    )
    assert learner_memory(SMALL, small)[STEPPING] == one_tensor > 0  # bfloat16: ZeRO has all weights in one tensor
    whole = learner_memory(SMALL, replace(small, dtype="float32"))[STEPPING]
    assert 0 < whole < one_tensor  # each weight is a tensor of its own
    assert STEPPING not in learner_memory(SMALL, replace(small, optimizer="adamw"))
    assert STEPPING not in learner_memory(LLADA_8B, training(optimizer="adamw8bit"))


def test_published_sizes() -> None:
    """LLaDA's report calls its 8B 8.02 billion; Dream-7B is 7.62 billion. The indices of the checkpoints add up to these."""
    assert parameters(LLADA_8B) == 8_015_581_184
    assert parameters(DREAM) == 7_615_616_512
    assert parameters(MMADA_8B) - parameters(LLADA_8B) == 2 * 8192 * 4096


@pytest.mark.parametrize(
    "config",
    [replace(LLADA_8B, n_layers=1), DREAM, SMALL, replace(SMALL, experts=EXPERTS, head_dim=6, tied_head=False)],
)
def test_parameters_are_those_of_the_module(config: TransformerConfig) -> None:
    with torch.device("meta"):
        module = Transformer(config)
    assert parameters(config) == sum(weight.numel() for weight in module.parameters())


@pytest.mark.parametrize("target", [None, TARGETS, ("q_proj", "v_proj"), ("ff_out",), ("up_proj", "attn_out")])
def test_a_backward_pass_keeps_about_what_the_formula_says(target: tuple[str, ...] | None) -> None:
    """Against what autograd saves of a real layer, weights left out. A fused kernel may keep less than this."""
    config, rank = TransformerConfig(64, 64, 2, 4, 192), 8
    beside = None if target is None else adapter(config, rank, target)
    kept = _saved(config, 2, 48, rank, target) / (2 * 48 * config.n_layers)
    assert saved_numbers(config, beside) == pytest.approx(kept, rel=0.2)


def test_parameters_of_an_adapter_are_those_of_the_module() -> None:
    for config in (SMALL, TransformerConfig(64, 64, 2, 4, 192)):
        for target in (TARGETS, ("q_proj", "v_proj"), ("ff_out",)):
            module, found = Transformer(config), adapter(config, 4, target)
            _attach(module, 4, target)
            assert found.parameters == sum(each.numel() for each in module.parameters() if each.requires_grad)
            assert found.beside == sum(layer.weight.numel() for _, layer in adapters(module))


def _attach(module: Transformer, rank: int, target: tuple[str, ...]) -> None:
    module.requires_grad_(False)
    for block in module.blocks:
        for name in target:
            setattr(block, name, LoraLinear(getattr(block, name), rank, 1.0, None))


def _saved(config: TransformerConfig, rows: int, length: int, rank: int, target: tuple[str, ...] | None) -> int:
    module = Transformer(config)
    if target is not None:
        _attach(module, rank, target)
    weights = {weight.untyped_storage().data_ptr() for weight in module.parameters()}
    seen: dict[int, int] = {}
    alive: list[torch.Tensor] = []  # else an address is used again

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        alive.append(tensor)
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in weights and tensor.is_floating_point():
            seen[storage.data_ptr()] = storage.nbytes() // tensor.element_size()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        x = torch.randn(rows, length, config.d_model, requires_grad=True)
        rope = module._rope_tables(0, length, x)
        for block in module.blocks:
            x = block(x, rope, None)
    return sum(seen.values())


def test_memory_of_eight_billion_parameters() -> None:
    """By hand: 8.0156e9 parameters; bfloat16 weights 16.03 GB, gradients 32.06, AdamW 96.19, reference 16.03."""
    memory = {part: round(size / 1e9, 2) for part, size in learner_memory(LLADA_8B, training()).items()}
    assert memory["weights"] == 16.03 and memory["gradients"] == 32.06
    assert memory["AdamW"] == 96.19 and memory["reference"] == 16.03
    # Above a layer's gradient, 4 x 512 x 2 x (2 x 4096 + 3 x 12288): chunks of 64 MiB, two in float32 and three halves
    # more, and the head's gradient in float32
    assert memory[LARGEST] == round((2 + 1.5) * 64 * 2**20 / 1e9 + 126_464 * 4096 * 4 / 1e9, 2)
    beside = learner_memory(LLADA_8B, training(adapter=adapter(LLADA_8B, 128, TARGETS)))
    assert round(beside[LARGEST] / 1e9, 2) == round(3.5 * 64 * 2**20 / 1e9, 2)
    short = training(scored=4, micro_batch=1, logits_mib=64.0)
    assert logits(LLADA_8B, short) == 4 * 126_464 * (
        2 + 3 * 4
    )  # all of them: the product, log-probs, and for the entropy
    eight = learner_memory(LLADA_8B, training(zero_stage=2, ranks=8, reference=False))
    assert round(eight["gradients"] / 1e9, 2) == 4.01 and round(eight["AdamW"] / 1e9, 2) == 12.02
    assert round(eight["weights"] / 1e9, 2) == 16.03 and eight["reference"] == 0
    assert round(learner_memory(LLADA_8B, training(zero_stage=3, ranks=8))["weights"] / 1e9, 2) == 2.0
    assert learner_memory(LLADA_8B, training(dtype="float32"))["AdamW"] == 8 * 8_015_581_184
    eight_bit = learner_memory(LLADA_8B, training(optimizer="adamw8bit"))["AdamW"]
    assert eight_bit == (4 + 2 + 2 * 4 / 256) * 8_015_581_184  # float32 weights, two codes, two scales for every 256
    # 4 x 512 tokens, 32 layers of 69,632 numbers (4 d + 2 d + 2 d + 3 * 12,288), 2 bytes
    assert saved_numbers(LLADA_8B) == 69_632
    assert activations(LLADA_8B, training()) == 4 * 512 * 32 * 69_632 * 2
    assert activations(LLADA_8B, training(checkpointing=True)) == 4 * 512 * 32 * 4096 * 2
    assert one_layer(LLADA_8B, training(checkpointing=True)) == 4 * 512 * (69_632 + 2 * 4096 + 3 * 12_288) * 2
    assert activations(LLADA_8B, training(passes=3)) == 3 * activations(LLADA_8B, training())
    assert round(rollout_memory(LLADA_8B, "bfloat16", 8, 512, 32)["weights"] / 1e9, 2) == 16.03


@given(stage=st.integers(0, 3), ranks=st.integers(1, 64))
def test_shards_of_all_ranks_are_the_whole(stage: int, ranks: int) -> None:
    alone, shard = (learner_memory(SMALL, training(zero_stage=stage, ranks=n)) for n in (1, ranks))
    for part, first in (("AdamW", 1), ("gradients", 2), ("weights", 3)):
        assert shard[part] * (ranks if max(stage, 2) >= first else 1) == pytest.approx(
            alone[part]
        )  # bfloat16: 2 at least


def test_the_roofline_of_an_h100() -> None:
    """Counted by hand. Text, 256 + 256 tokens: 512 x 2 x 6.979e9 operations in the layers, 1.4e11 in attention, the head on
    a block of 32: 7.3 TFLOP, 7.4 ms a step, so 256 steps give 135 tokens/s. A picture: 15 guided steps of 1,280 tokens."""
    text = Sampler("text", 1.0, 512, 32, 256)
    seconds = group_seconds(LLADA_8B, H100, "bfloat16", text, 1)
    assert 256 / seconds == pytest.approx(135, rel=0.02)
    assert 3600 / group_seconds(
        MMADA_8B, H100, "bfloat16", Sampler("draw", 1.0, 1280, 1024, 30, 1024), 1
    ) == pytest.approx(5_860, rel=0.03)
    tiny = Sampler("text", 1.0, 8, 8, 1)  # too little work: all weights are read for it
    assert group_seconds(LLADA_8B, H100, "bfloat16", tiny, 1) == pytest.approx(16.03e9 / 3.35e12, rel=1e-3)


def test_learning_takes_three_passes_and_log_probs_one_each() -> None:
    text = Sampler("text", 1.0, 512, 256, 256)
    forward = forward_flops(LLADA_8B, 512, 128) / H100.flops

    def seconds(**differs: bool) -> float:
        settings = {"kl": False, "checkpointing": False, **differs}
        return update_seconds(LLADA_8B, H100, "bfloat16", text, mu=1, **settings)

    assert seconds() == pytest.approx(3 * forward)
    assert seconds(kl=True) == pytest.approx(4 * forward)
    assert seconds(kl=True, checkpointing=True) == pytest.approx(5 * forward)
    assert update_seconds(LLADA_8B, H100, "bfloat16", text, mu=4, kl=True, checkpointing=False) == pytest.approx(
        19 * forward  # the first update needs no old log-probs before it
    )
    assert update_seconds(
        LLADA_8B, H100, "bfloat16", text, mu=1, kl=False, checkpointing=False, frozen=True
    ) == pytest.approx(2 * forward)
    assert reduce_seconds(8_015_581_184, H100, 1, 4) == 0
    assert reduce_seconds(8_015_581_184, H100, 8, 4) == pytest.approx(4 * 2 * 7 / 8 * 32.06e9 / 450e9, rel=1e-3)


def config_8b(**learner: object) -> Config:
    text = {"max_new_tokens": 256, "block_length": 32, "steps": 128}
    return build_config(
        [
            (
                "test",
                {
                    "policy": {"dtype": "bfloat16"},
                    "rollout": {"batch_size": 128, "n_samples_per_prompt": 8, "text": text},
                    "learner": {
                        "micro_batch_size_per_gpu": 4,
                        "zero_stage": 2,
                        "activation_checkpointing": True,
                        **learner,
                    },
                    "data": {"train": [{"source": "chain_sum"}]},
                },
            )
        ]
    )


def test_more_gpus_are_never_slower_and_the_division_fits() -> None:
    config, before = config_8b(), 0.0
    for gpus in (8, 16, 64):
        divided = divide(config, WHOLE, H100, ROOFLINE, gpus)
        plan = make_plan(divided, WHOLE, H100, ROOFLINE, gpus)
        assert plan.fits and plan.layout.gpus == gpus
        assert plan.samples_per_hour > before
        before = plan.samples_per_hour


def test_what_does_not_fit_is_told_with_settings_that_do() -> None:
    config = config_8b(zero_stage=0, activation_checkpointing=False, micro_batch_size_per_gpu=32)
    asked = replace(config, cluster=replace(config.cluster, learner_ranks=8, rollout_workers=8))
    assert not make_plan(asked, WHOLE, H100, ROOFLINE, 16).fits
    found = propose(asked, (), WHOLE, H100, ROOFLINE, 16)
    assert found is not None and found.plan.fits and found.plan.layout.gpus <= 16
    again = make_plan(apply(asked, _values(asked, found.settings)), WHOLE, H100, ROOFLINE, 16)
    assert again.fits and again.samples_per_hour == found.plan.samples_per_hour  # the line that is pasted is the plan
    assert propose(asked, (), WHOLE, DEVICES["l40s"], ROOFLINE, 1) is None  # 16 GB of weights, twice, in 48


def _values(config: Config, settings: tuple[str, ...]) -> dict[str, object]:
    words = dict(setting.split("=") for setting in settings)
    found: dict[str, object] = {}
    for key, word in words.items():
        now = read(config, key)
        found[key] = word == "true" if isinstance(now, bool) else type(now)(word)
    return found


def test_eight_gpus_train_all_of_an_8b_and_one_trains_its_adapter() -> None:
    """Both were refused once: NeMo-RL runs the second, and the first needs ranks and workers in turn on the same GPUs."""
    whole = propose(config_8b(), (), WHOLE, H100, ROOFLINE, 8)
    assert whole is not None and not {OPTIMIZER, OFFLOAD} & {word.split("=")[0] for word in whole.settings}
    beside = Model(LLADA_8B, adapter(LLADA_8B, 128, TARGETS), images=False)
    config = config_8b()
    alone = replace(config, cluster=replace(config.cluster, learner_ranks=1, rollout_workers=1))
    plan = make_plan(alone, beside, H100, ROOFLINE, 1)
    assert plan.fits and plan.layout.mode == "colocated"
    assert not make_plan(alone, WHOLE, H100, ROOFLINE, 1).fits


@pytest.mark.parametrize(
    ("key", "value"),
    [(RANKS, 4), (STAGE, 3), (MICRO, 2), (OPTIMIZER, "adamw8bit"), ("cluster.rollout_workers", 3), (OFFLOAD, True)],
)
def test_what_was_typed_stays(key: str, value: object) -> None:
    config = apply(config_8b(), {key: value})
    found = propose(config, {key}, WHOLE, H100, ROOFLINE, 8)
    assert found is None or key not in {word.split("=")[0] for word in found.settings}


def test_bits_are_given_up_only_where_nothing_else_fits() -> None:
    """8B whole on two GPUs: 32 bits of AdamW fit on no device."""
    found = propose(config_8b(), (), WHOLE, DEVICES["h200"], ROOFLINE, 1)
    assert found is not None and "learner.optimizer=adamw8bit" in found.settings
    assert found.plan.memory["learner rank"][HOST] == 0


def test_an_offloaded_optimizer_is_the_hosts() -> None:
    on_host = learner_memory(LLADA_8B, training(zero_stage=2, ranks=8, offload=True))
    here = learner_memory(LLADA_8B, training(zero_stage=2, ranks=8))
    assert on_host["AdamW"] == on_host["gradients"] == 0
    assert on_host[HOST] == here["AdamW"] + here["gradients"]
    assert on_device(on_host) == on_device(here) - on_host[HOST]
    config = config_8b(offload_optimizer=True)
    assert make_plan(config, WHOLE, H100, ROOFLINE, 8).seconds["steps on the host"] > 0


def test_drawing_is_not_counted_for_a_model_that_cannot() -> None:
    config = build_config([("test", {"data": {"train": [{"source": "chain_sum"}, {"source": "scenes"}]}})])
    assert [kind.task for kind in samplers(config, ROOFLINE)] == ["draw", "text"]
    assert [(kind.task, kind.share) for kind in samplers(config, ROOFLINE, images=False)] == [("text", 1.0)]


def test_those_who_share_a_gpu_in_turn_need_the_room_of_one_and_pay_for_the_way() -> None:
    config = config_8b(micro_batch_size_per_gpu=16)
    shared = replace(config, cluster=replace(config.cluster, learner_ranks=8, rollout_workers=8, placement="colocated"))
    at_once = make_plan(shared, WHOLE, H100, ROOFLINE, 8)
    in_turn = make_plan(replace(shared, cluster=replace(shared.cluster, take_turns=True)), WHOLE, H100, ROOFLINE, 8)
    rank, worker = (on_device(parts) for parts in at_once.memory.values())
    assert (at_once.used, in_turn.used) == (rank + worker, max(rank, worker))
    lasting = sum(at_once.memory["learner rank"][part] for part in ("weights", "gradients", "AdamW", "reference"))
    assert in_turn.seconds["taking turns"] == pytest.approx((2 * lasting + 16.03e9) / 25e9, rel=1e-3)
    assert at_once.seconds == {part: value for part, value in in_turn.seconds.items() if part != "taking turns"}


def test_the_command(tmp_path: Path) -> None:
    model = {
        "model_type": "llada", "d_model": 4096, "n_layers": 32, "n_heads": 32, "mlp_hidden_size": 12288,
        "vocab_size": 126464, "embedding_size": 126464, "mask_token_id": 126336, "eos_token_id": 126081,
    }  # fmt: skip
    (tmp_path / "config.json").write_text(json.dumps(model))
    words = [f"policy.path={tmp_path}", "policy.dtype=bfloat16", "gpus=64", "gpu=h100"]
    asked = ["cluster.learner_ranks=8", "cluster.rollout_workers=8"]
    fits = ["learner.zero_stage=2", "learner.activation_checkpointing=true", "learner.micro_batch_size_per_gpu=4"]
    run = CliRunner().invoke
    width = {"COLUMNS": "200"}
    good = run(app, ["plan", "--recipe", "tiny", *words, *fits, *asked], env=width)
    assert good.exit_code == 0, good.output
    assert "8,015,581,184 parameters, bfloat16" in good.stdout and "samples an hour" in good.stdout
    assert "16 x h100, disaggregated" in good.stdout and "vendor's figures" in good.stdout  # what was typed stays
    assert "Fits: " in good.stdout
    given = run(app, ["plan", "--recipe", "tiny", *words, "--json"])
    found = json.loads(given.stdout)
    assert (given.exit_code, found["gpus"], found["fits"]) == (1, 3, False) and RANKS in found["proposal"][0]
    faster = run(app, ["plan", "--recipe", "tiny", *words, *fits, "cluster.learner_ranks=4"], env=width)
    assert "Faster on 64 x h100 with: " in faster.stdout and "learner_ranks=8" not in faster.stdout, faster.output
    adapted = [*words[:2], "gpus=1", "gpu=h100", "learner.lora.rank=128", "cluster.rollout_workers=1", fits[2]]
    lora = run(app, ["plan", "--recipe", "tiny", *adapted], env=width)
    assert lora.exit_code == 0 and "an adapter of 335,544,320 is trained" in lora.stdout, lora.output
    bad = run(app, ["plan", "--recipe", "tiny", *words[:2], "gpus=1", "gpu=l40s"], env=width)
    assert (
        bad.exit_code == 1
        and "Does not fit. Nothing that was tried" in bad.stdout
        and "learner.lora.rank" in bad.stdout
    )
    for wrong, told in (("gpu=h900", "gpu=h900: allowed: a100"), ("gpus=many", "gpus=many: expected a whole number")):
        refused = run(app, ["plan", "--recipe", "tiny", wrong])
        assert refused.exit_code == 2 and told in refused.stderr and refused.stderr.count("\n") == 1


def test_calibration(tmp_path: Path) -> None:
    from cluster.cli.plan import _device, calibrate

    file = tmp_path / "here.json"
    assert calibrate(file, "cpu", 0.01, width=256) == 0
    assert json.loads(file.read_text())["flops"] > 0  # how many depends on what else the machine does
    with pytest.raises(ConfigError, match="measured in float32: measure on the GPU itself"):
        _device("h100", file)
    file.write_text(json.dumps({"dtype": "bfloat16", "flops": 6.5e14, "bandwidth": 2.9e12}))
    device = _device("h100", file)
    assert device.measured and device.flops == 6.5e14 and device.memory == 80e9
