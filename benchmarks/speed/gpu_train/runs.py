"""The runs of the stretch: the same settings but for how processes share the card and hand on weights."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from tokenizers import Tokenizer

from benchmarks.speed.gpu.work import Size
from policies.files.folders import find_policy
from policies.files.fresh_policy import build

REWARD = Path(__file__).with_name("reward.py")
STEPS, STRUCK = 6, 3
VICTIM = "rollout worker 0"


@dataclass(frozen=True, slots=True)
class Run:
    """struck: VICTIM is killed while step STRUCK is being made."""

    name: str
    overrides: tuple[str, ...]
    struck: bool = False


@dataclass(frozen=True, slots=True)
class Scale:
    """prompts: of a step. group: rollouts of one. most_s: after so long a run is ended."""

    size: Size
    prompts: int
    group: int
    micro_batch: int
    most_s: float


# vocabulary: of the shipped tokenizers. 20 layers make 1.03 billion parameters.
WHOLE = Scale(Size(2048, 20, 16, 5632, 1792), 8, 8, 16, 150)
DRY = Scale(Size(64, 2, 2, 128, 1792), 4, 4, 8, 420)

RUNS = (
    Run("inline", ("cluster.mode=inline",)),
    Run("object_store", ("cluster.weight_sync=object_store", "cluster.placement=colocated")),
    Run("ipc", ("cluster.weight_sync=ipc", "cluster.placement=colocated")),
    Run("take_turns", ("cluster.take_turns=true", "cluster.placement=colocated"), struck=True),
)


def settings(run: Run, scale: Scale, policy: Path, folder: Path, dtype: str) -> list[str]:
    """Overrides of the recipe ``tiny``: two prompts of three are text, the others drawings."""
    sudoku = "{source: sudoku4x4, weight: 0.67, args: {size: 500, blanks: [4, 8]}}"
    scenes = "{source: scenes, weight: 0.33, args: {categories: [single_object, colors]}}"
    return [
        f"name={run.name}", f"output_dir={folder}", f"policy.path={policy}", f"policy.dtype={dtype}", f"steps={STEPS}",
        f"data.train=[{sudoku}, {scenes}]", f"rollout.batch_size={scale.prompts}",
        f"rollout.n_samples_per_prompt={scale.group}", f"rollout.n_samples_by_task={{draw: {scale.group}}}",
        f"custom_reward_function.path={REWARD}", "custom_reward_function.name=digits", "rewards.mix.text={custom: 1.0}",
        f"learner.micro_batch_size_per_gpu={scale.micro_batch}", "learner.algorithm.schedule=stratified",
        "learner.drop_equal_groups=false", "learner.lr=1e-5", "learner.warmup_steps=0",
        "cluster.rollout_workers=1", "cluster.reward_workers=1", "val_before_train=false", "val_after_train=false",
        "test_freq=0", "save_freq=0", "save_minutes=0", "tracking.mlflow=false", "resume_mode=disable", *run.overrides,
    ]  # fmt: skip


def make_policy(folder: Path, size: Size) -> Path:
    """MMaDA's architecture with random weights, and the shipped policy's tokenizers."""
    shipped = find_policy("tiny")
    tokenizer = Tokenizer.from_file(str(shipped / "tokenizer.json"))
    sizes = {
        "d_model": size.d_model, "n_layers": size.n_layers, "n_heads": size.n_heads,
        "mlp_hidden_size": size.mlp_hidden_size,
    }  # fmt: skip
    build(folder, tokenizer, shipped / "image_tokenizer", **sizes)
    return folder
