"""What the plan proposes, pasted, is a plan that fits; what makes no sense is one line; a published step as a sanity row."""

from __future__ import annotations

import json
import random
from dataclasses import replace
from pathlib import Path

import pytest
from typer.testing import CliRunner

from cluster.cli.app import app
from cluster.plan.memory import activations
from cluster.plan.plan import Assumed, Model, make_plan, passes_of, samplers, training_of
from cluster.plan.search import RANKS, WORKERS, divide, propose
from cluster.plan.seconds import DEVICES
from cluster.plan.sizes import adapter
from policies.network.transformer import TransformerConfig
from rl.config import Config, build_config
from rl.config.device import resolved
from rl.config.lora import TARGETS
from tests.cluster.plan.test_plan import DREAM, EXPERTS, LLADA_8B, MMADA_8B
from tests.wide import wide

MODELS = {
    "llada": LLADA_8B,
    "mmada": MMADA_8B,
    "dream": DREAM,
    "1.7B": TransformerConfig(151_936, 2048, 28, 16, 6144, n_kv_heads=8),
    "experts": TransformerConfig(
        157_184, 2048, 20, 16, 5120, n_kv_heads=4, experts=replace(EXPERTS, count=64, hidden_size=512)
    ),
    "tiny": TransformerConfig(1792, 128, 6, 4, 384),
}
# A setting that a user may type, and its values.
TYPED = {
    RANKS: (1, 2, 8),
    WORKERS: (1, 3, 16),
    "learner.zero_stage": (0, 1, 2, 3),
    "learner.micro_batch_size_per_gpu": (1, 7, 64),
    "learner.optimizer": ("adamw", "adamw8bit"),
    "learner.activation_checkpointing": ("true", "false"),
    "policy.dtype": ("float32", "bfloat16"),
    "cluster.placement": ("auto", "colocated", "disaggregated"),
    "cluster.take_turns": ("true",),
    "learner.algorithm.kl_coef": (0, 0.01),
    "learner.algorithm.mu": (1, 4),
    "learner.algorithm.estimator": ("masked", "coupled", "elbo"),
    "learner.lora.rank": (0, 16),
    "rollout.batch_size": (4, 32),
    "max_staleness": (0, 1),
}
DATA = "data.train=[{source: chain_sum}]"


def built(words: list[str]) -> Config | None:
    """None where the config's own checks refuse the combination."""
    try:
        return build_config([("test", {})], [DATA, *words])
    except ValueError:
        return None


def asked(draw: random.Random) -> tuple[list[str], str, str, int]:
    """Words that a user types, a model, a device and GPUs."""
    chosen = draw.sample(sorted(TYPED), draw.randint(0, 4))
    words = [f"{key}={draw.choice(TYPED[key])}" for key in chosen]
    return words, draw.choice(sorted(MODELS)), draw.choice(sorted(DEVICES)), draw.choice((1, 2, 3, 4, 8, 12))


def planned(words: list[str], config: Config, name: str, device: str, gpus: int):
    """As the command does it: the plan's config, and its model."""
    rank = config.learner.lora.rank
    model = Model(MODELS[name], adapter(MODELS[name], rank, TARGETS) if rank else None, images=False)
    divided = config
    if not any(word.startswith((RANKS, WORKERS)) for word in words):
        divided = divide(config, model, DEVICES[device], Assumed(), gpus)
    return model, divided


@pytest.mark.parametrize("seed", wide(range(16), 4))
def test_what_is_proposed_fits_when_it_is_pasted(seed: int) -> None:
    words, name, device, gpus = asked(random.Random(seed))
    config = built(words)
    if config is None:
        return
    model, divided = planned(words, config, name, device, gpus)
    typed = {word.partition("=")[0] for word in words}
    found = propose(divided, typed, model, DEVICES[device], Assumed(), gpus, config)
    if found is None:
        return
    assert not typed & {setting.partition("=")[0] for setting in found.settings}, "what was typed is not changed"
    pasted = built([*words, *found.settings])
    assert pasted is not None, f"the config refuses {found.settings}"
    model, again = planned([*words, *found.settings], pasted, name, device, gpus)
    plan = make_plan(again, model, DEVICES[device], Assumed(), gpus)
    assert plan.fits and plan.used == found.plan.used
    assert plan.samples_per_hour == pytest.approx(found.plan.samples_per_hour)


@pytest.mark.long
def test_some_of_those_are_proposals() -> None:
    """The test above would pass if nothing were ever proposed."""
    found = 0
    for seed in range(0, 16, 4):
        words, name, device, gpus = asked(random.Random(seed))
        config = built(words)
        if config is not None:
            model, divided = planned(words, config, name, device, gpus)
            typed = {word.partition("=")[0] for word in words}
            found += propose(divided, typed, model, DEVICES[device], Assumed(), gpus, config) is not None
    assert found >= 2


WRONG = [  # words, and what the one line says
    (["gpus=0"], "gpus=0: must be a whole number, 1 to"),
    (["gpus=-8"], "gpus=-8: must be"),
    (["gpus=1.5"], "gpus=1.5: must be a whole number"),
    (["gpus=nan"], "gpus=nan: must be"),
    (["gpus=inf"], "gpus=inf: must be"),
    (["gpus=1e30"], "gpus=1e30: must be"),
    (["gpus="], "gpus=: expected a whole number"),
    (["gpus=eight"], "gpus=eight: expected"),
    (["gpu=h900"], "gpu=h900: allowed: a100"),
    (["gpu="], "gpu=: allowed"),
    (["prompt_tokens=0"], "prompt_tokens=0: must be"),
    (["image_codes=1e99"], "image_codes=1e99: must be"),
    (["reward_s=-1"], "reward_s=-1: must be"),
    (["reward_s=nan"], "reward_s=nan: must be"),
    (["sampler_efficiency=0"], "sampler_efficiency=0: must be"),
    (["learner_efficiency=40"], "learner_efficiency=40: must be a number, 1e-06 to 1"),
    (["learner.zero_stage=4"], "learner.zero_stage=4"),
    (["learner.micro_batch_size_per_gpu=0"], "learner.micro_batch_size_per_gpu=0"),
    (["learner.lora.rank=-1"], "learner.lora.rank=-1"),
    (["learner.lora.rank=129"], "learner.lora.rank=129: above 128, the width"),
    (["learner.lora.rank=8", "learner.lora.target=[nothing]"], "nothing"),
    (["learner.optimizer=sgd"], "learner.optimizer"),
    (["cluster.placement=disaggregated", "cluster.learner_ranks=4", "gpus=2"], "need 6 GPUs, there are 2"),
    (["cluster.learner_ranks=4", "gpus=2"], "two ranks never share one"),
    (["policy.path=/no/such/folder"], "no such folder"),
    (["policy.dtype=int4"], "policy.dtype"),
    (["nonsense=1"], "unknown setting 'nonsense'"),
    (["gpus"], "gpus"),
]


@pytest.mark.parametrize(("words", "said"), WRONG, ids=[" ".join(words) for words, _ in WRONG])
def test_what_makes_no_sense_is_one_line(words: list[str], said: str) -> None:
    refused = CliRunner().invoke(app, ["plan", "--recipe", "tiny", *words])
    assert refused.exit_code == 2 and said in refused.stderr, refused.output
    assert refused.stderr.count("\n") == 1 and not refused.stdout


def test_a_micro_batch_is_no_larger_than_a_ranks_share() -> None:
    """12 prompts of 8 rollouts over 4 ranks are 24 a rank, whatever a micro-batch may be."""
    wide = build_config([("test", {})], [DATA, "learner.micro_batch_size_per_gpu=100000", "cluster.learner_ranks=4"])
    longest = samplers(wide, Assumed())[0]
    assert training_of(wide, Model(LLADA_8B), longest).micro_batch == 24
    halved = build_config([("test", {})], [DATA, "learner.micro_batch_size_per_gpu=64", "learner.mini_batch_size=10"])
    assert training_of(halved, Model(LLADA_8B), longest).micro_batch == 10


@pytest.mark.parametrize(
    ("settings", "passes"),
    [([], 1), (["learner.algorithm.estimator=coupled"], 3), (["learner.algorithm.estimator=left_to_right"], 128),
     (["learner.algorithm.estimator=elbo_stratified", "learner.algorithm.estimator_samples=3"], 3),
     (["learner.algorithm.estimator=trajectory"], 64)],
)  # fmt: skip
def test_an_estimators_passes_count(settings: list[str], passes: int) -> None:
    """128 tokens in 64 steps. Their states are kept at once, and each of them takes its time."""
    config = resolved(build_config([("test", {})], [DATA, *settings]), gpu=True)
    plain = resolved(build_config([("test", {})], [DATA]), gpu=True)
    kind = samplers(config, Assumed())[0]
    assert passes_of(config, kind) == passes
    if "estimator=trajectory" in "".join(settings):
        assert passes_of(config, kind, own_block=4) == 2 and passes_of(config, kind, own_block=32) == 16
    sizes = training_of(config, Model(LLADA_8B), kind), training_of(plain, Model(LLADA_8B), kind)
    kept, once = (activations(LLADA_8B, training) for training in sizes)
    assert kept == passes * once
    seconds = [
        make_plan(each, Model(LLADA_8B), DEVICES["h100"], Assumed()).seconds["log-probs and updates"]
        for each in (config, plain)
    ]
    assert seconds[0] == pytest.approx(passes * seconds[1])


def test_a_published_step() -> None:
    """NVIDIA's NeMo-RL, pull request 3550 (comment of 2026-09-23, and research/gdpo/configs/gdpo_llada_8b.yaml): LLaDA-8B,
    LoRA of rank 128, 2 prompts x 6 rollouts, 12 updates, three passes an estimate, 256 tokens in 128 steps, blocks of 32,
    micro-batches of 1, on one H100: it fits; some 30 s of sampling and 65 s of updates.

    By arithmetic at 40% of the roofline, for sequences of 512 tokens, which are their longest, sampling takes as long.
    Updates take half of theirs: they reach 20% of it, in micro-batches of one sequence.
    """
    settings = [
        "policy.dtype=bfloat16", "learner.lora.rank=128", "rollout.batch_size=2", "rollout.n_samples_per_prompt=6",
        "rollout.text.max_new_tokens=256", "rollout.text.steps=128", "rollout.text.block_length=32",
        "learner.micro_batch_size_per_gpu=1", "learner.activation_checkpointing=true", "learner.algorithm.kl_coef=0",
        "learner.algorithm.mu=12", "learner.algorithm.estimator=elbo_stratified", "learner.algorithm.estimator_samples=3",
        "cluster.learner_ranks=1", "cluster.rollout_workers=1",
    ]  # fmt: skip
    config = build_config([("test", {})], [DATA, *settings])
    model = Model(LLADA_8B, adapter(LLADA_8B, 128, TARGETS), images=False)
    plan = make_plan(config, model, DEVICES["h100"], Assumed(), 1)
    assert plan.fits and plan.layout.mode == "colocated"
    assert plan.seconds["sampling"] == pytest.approx(30, rel=0.15)
    assert 65 / 3 < plan.seconds["log-probs and updates"] < 65
    assert 95 / 2.5 < sum(plan.seconds.values()) < 95


def test_a_proposal_after_our_own_division_names_it(tmp_path: Path) -> None:
    """Pasted without it, ``gpus=`` would be divided anew, under other settings."""
    model = {
        "model_type": "llada", "d_model": 4096, "n_layers": 32, "n_heads": 32, "mlp_hidden_size": 12288,
        "vocab_size": 126464, "embedding_size": 126464, "mask_token_id": 126336, "eos_token_id": 126081,
    }  # fmt: skip
    (tmp_path / "config.json").write_text(json.dumps(model))
    (tmp_path / "mine.yaml").write_text("data: {train: [{source: chain_sum}]}\n")
    words = ["plan", "--recipe", str(tmp_path / "mine.yaml"), f"policy.path={tmp_path}", "gpus=8", "gpu=h100"]
    first = json.loads(CliRunner().invoke(app, [*words, "--json"]).stdout)
    assert not first["fits"] and {RANKS, WORKERS} <= {word.partition("=")[0] for word in first["proposal"]}
    pasted = CliRunner().invoke(app, [*words, *first["proposal"], "--json"])
    assert pasted.exit_code == 0 and json.loads(pasted.stdout)["fits"]
