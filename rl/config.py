"""Configuration: a recipe, merged with ``key=value`` overrides, validated once, then frozen.

Every mistake is found here or in the checks that ``cluster/cli.py`` runs before the first process starts (law 11).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib import resources
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from rl.cluster_config import ClusterConfig
from rl.errors import ConfigError
from rl.learner_config import LearnerConfig
from rl.learner_config import UniGRPOConfig as UniGRPOConfig
from rl.reward_config import CustomRewardConfig, JudgeConfig, RewardsConfig
from rl.types import ImageSampling, TextSampling, ThinkDrawSampling


@dataclass(frozen=True)
class PolicyConfig:
    """path is a Hugging Face-layout folder, or the name of a shipped policy (``tiny``).

    compile  samplers run layers through torch.compile; see docs/performance.md
    """

    path: str = "tiny"
    device: str = "cpu"
    dtype: str = "float32"
    compile: bool = False


@dataclass(frozen=True)
class SourceConfig:
    """One source of rows.

    source   a generator (sudoku4x4, chain_sum, gsm_symbolic, easy_vqa, scenes), a .jsonl or .parquet file, or a folder
             written by Hugging Face datasets
    split    train or val; generators keep the two apart, files are taken whole
    task     for rows that do not say: text, understand, draw or think_draw
    weight   share of training prompts that come from here, relative to the other sources
    limit    use at most this many rows
    args     passed to the generator
    """

    source: str = "???"
    split: str = "train"
    task: str | None = None
    weight: float = 1.0
    limit: int | None = None
    args: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class DataConfig:
    train: list[SourceConfig] = field(default_factory=list)
    val: list[SourceConfig] = field(default_factory=list)


@dataclass(frozen=True)
class CacheGateConfig:
    """What an approximate key-value cache (``text.cache``) must show before a run trains with it; see docs/sampling.md.

    prompts          training prompts, answered greedily with the cache and without
    min_agreement    least share of tokens that are the same
    max_reward_drop  how much less the mean reward may be with the cache
    """

    prompts: int = 64
    min_agreement: float = 0.9
    max_reward_drop: float = 0.05


@dataclass(frozen=True)
class RolloutConfig:
    """How training rollouts are sampled. batch_size counts prompts. threads: CPU threads of one rollout worker.

    max_gen_batches  above 1: dynamic sampling (DAPO): at most so many batches of prompts a step, until batch_size of them
                     have scores that differ within their group
    n_samples_by_task  task -> rollouts a prompt, where a task needs more or fewer than n_samples_per_prompt
    """

    batch_size: int = 12
    n_samples_per_prompt: int = 8
    text: TextSampling = field(default_factory=TextSampling)
    understand: TextSampling = field(default_factory=TextSampling)
    draw: ImageSampling = field(default_factory=ImageSampling)
    think_draw: ThinkDrawSampling = field(default_factory=ThinkDrawSampling)
    threads: int = 1
    max_gen_batches: int = 1
    n_samples_by_task: dict[str, int] = field(default_factory=dict)
    cache_gate: CacheGateConfig = field(default_factory=CacheGateConfig)


@dataclass(frozen=True)
class EvaluationConfig:
    """Held-out evaluation. The score of a task is its weighted mix; weight 0 reports a curve beside it."""

    n_samples_per_prompt: int = 1
    text: TextSampling = field(default_factory=lambda: TextSampling(temperature=0.0))
    understand: TextSampling = field(default_factory=lambda: TextSampling(temperature=0.0))
    draw: ImageSampling = field(default_factory=ImageSampling)
    think_draw: ThinkDrawSampling = field(
        default_factory=lambda: ThinkDrawSampling(think=TextSampling(temperature=0.0))
    )
    mix: dict[str, dict[str, float]] = field(
        default_factory=lambda: {
            "text": {"correctness": 1.0, "format": 0.0},
            "understand": {"correctness": 1.0, "format": 0.0},
            "draw": {"composition": 1.0, "clip": 0.0},
        }
    )


@dataclass(frozen=True)
class SftConfig:
    """Mixed Long-CoT fine-tuning (arXiv 2505.15809, section 2.2): masked cross-entropy on worked answers.

    canvas_prob   share of examples padded with end-of-text to the sampler's canvas; the rest end at their first one
    semi_autoregressive_prob  share of those in which one block is in play, as in the sampler; else any token may be
    eos_fill     block: end-of-text fills the block in which an answer ends, as the sampler sees it; canvas: all of the
                 canvas, every one of them learned (LLaDA, arXiv 2502.09992, appendix B)
    packing      examples of a micro-batch share one stream of tokens, as in learner.packing
    optimizer    adamw or adamw8bit, as in learner.optimizer
    prompt_dropout  share of draw examples without their caption, which classifier-free guidance needs
    lr_decay_steps  length of the cosine, null for ``steps``: a leg that another one follows may stop before its end
    """

    steps: int = 1000
    batch_size: int = 64
    lr: float = 1e-3
    lr_schedule: str = "cosine"
    lr_decay_steps: int | None = None
    warmup_steps: int = 50
    weight_decay: float = 0.01
    betas: list[float] = field(default_factory=lambda: [0.9, 0.98])
    max_grad_norm: float = 1.0
    canvas_prob: float = 0.75
    semi_autoregressive_prob: float = 0.5
    prompt_dropout: float = 0.1
    threads: int = 2
    eos_fill: str = "block"
    packing: bool = False
    optimizer: str = "adamw"


@dataclass(frozen=True)
class TrackingConfig:
    """uri: an MLflow server; null keeps a SQLite store in the run folder. samples_freq: steps between sample tables."""

    mlflow: bool = True
    uri: str | None = None
    experiment: str = "unigrpo"
    samples_freq: int = 10


@dataclass(frozen=True)
class Config:
    """A whole run. ``resume_mode``: auto (newest whole checkpoint of this run), disable, or path (``resume_path``).

    keep_checkpoints  the newest so many are kept
    best_metric       of held-out evaluation, such as val/text/score: the best keep_best checkpoints by it are kept as well
    best_mode         max or min: which values of it are better
    max_staleness  by how many weight versions rollouts may be behind the weights that they train; 0 is on-policy
    """

    name: str = "run"
    output_dir: str = "runs"
    seed: int = 0
    steps: int = 100
    policy: PolicyConfig = field(default_factory=PolicyConfig)
    data: DataConfig = field(default_factory=DataConfig)
    rollout: RolloutConfig = field(default_factory=RolloutConfig)
    rewards: RewardsConfig = field(default_factory=RewardsConfig)
    custom_reward_function: CustomRewardConfig = field(default_factory=CustomRewardConfig)
    judge: JudgeConfig = field(default_factory=JudgeConfig)
    evaluation: EvaluationConfig = field(default_factory=EvaluationConfig)
    learner: LearnerConfig = field(default_factory=LearnerConfig)
    sft: SftConfig = field(default_factory=SftConfig)
    cluster: ClusterConfig = field(default_factory=ClusterConfig)
    tracking: TrackingConfig = field(default_factory=TrackingConfig)
    val_before_train: bool = True
    val_after_train: bool = True
    test_freq: int = 0
    save_freq: int = 0
    keep_checkpoints: int = 2
    resume_mode: str = "auto"
    resume_path: str | None = None
    best_metric: str | None = None
    best_mode: str = "max"
    keep_best: int = 1
    max_staleness: int = 0

    @property
    def run_dir(self) -> Path:
        return Path(self.output_dir) / self.name


def load_config(recipe: str | Path, overrides: Sequence[str] = ()) -> Config:
    """A shipped recipe's name or a YAML file's path, merged with ``key=value`` overrides, validated and frozen.

    Raises ConfigError, with one line that says what, where, the value, what is allowed and how to mend it.
    """
    path = recipe_path(recipe)
    try:
        loaded = OmegaConf.load(path)
    except Exception as error:  # YAML errors have many classes; all are the user's file
        raise ConfigError(f"{path}: not a YAML mapping: {_first_line(error)}") from error
    if not isinstance(loaded, DictConfig):
        raise ConfigError(f"{path}: expected a mapping of settings, got {type(loaded).__name__}")
    return build_config([(str(path), loaded), *(_parse_override(text) for text in overrides)])


def build_config(layers: Sequence[tuple[str, DictConfig | Mapping[str, Any]]]) -> Config:
    """Merge named layers over the defaults, in order, and validate.

    Mappings merge key by key, but for the mixes of the first layer, the recipe: they replace the default ones, since
    nobody asks for a reward by leaving it out.
    """
    merged = _writable(OmegaConf.structured(Config))
    for _, layer in layers[:1]:
        for section in ("rewards", "evaluation"):
            if isinstance(part := layer.get(section), Mapping | DictConfig) and part.get("mix"):
                merged[section].mix = {}
    for where, layer in layers:
        try:
            merged = OmegaConf.merge(merged, layer)
        except OmegaConfBaseException as error:
            raise ConfigError(_explain(where, error)) from error
    try:
        config = OmegaConf.to_object(merged)
    except OmegaConfBaseException as error:
        raise ConfigError(_explain("config", error)) from error
    assert isinstance(config, Config)
    from rl.validation import validate

    validate(config)
    return config


def recipe_path(recipe: str | Path) -> Path:
    """The file of a shipped recipe or of a path. Raises ConfigError with the names that exist."""
    path = Path(recipe)
    if path.suffix in (".yaml", ".yml"):
        if path.is_file():
            return path
        raise ConfigError(f"recipe: no such file: {path}")
    folder = Path(str(resources.files("rl") / "recipes"))
    names = sorted(file.stem for file in folder.glob("*.yaml"))
    if str(recipe) in names:
        return folder / f"{recipe}.yaml"
    raise ConfigError(f"recipe: unknown {str(recipe)!r}; allowed: {', '.join(names)}, or the path of a .yaml file")


def to_yaml(config: Config) -> str:
    """The whole config as YAML; ``load_config`` of it gives an equal config."""
    return OmegaConf.to_yaml(OmegaConf.structured(config))


def _writable(config: DictConfig) -> DictConfig:
    """OmegaConf marks nodes made from frozen dataclasses read-only, at every level; merging needs them open."""
    OmegaConf.set_readonly(config, False)
    for key in config:
        child = config._get_node(key)
        if isinstance(child, DictConfig) and not child._is_none():
            _writable(child)
    return config


def _parse_override(text: str) -> tuple[str, DictConfig]:
    if "=" not in text or not text.split("=", 1)[0].strip():
        raise ConfigError(f"override {text!r}: expected key=value, e.g. rollout.n_samples_per_prompt=8")
    try:
        return f"override {text!r}", OmegaConf.from_dotlist([text])
    except Exception as error:
        raise ConfigError(f"override {text!r}: {_first_line(error)}") from error


def _explain(where: str, error: OmegaConfBaseException) -> str:
    key = str(error.full_key or error.key or "")
    from rl.validation import closest, flatten

    known = [name for name, _ in flatten(dataclasses.asdict(Config()), leaves_only=False)]
    if "not in" in str(error) or type(error).__name__ == "ConfigKeyError":
        return f"{where}: unknown setting {key!r}{closest(key, known)}"
    return f"{where}: {key}: {_first_line(error)}"


def _first_line(error: BaseException) -> str:
    lines = str(error).strip().splitlines()
    return lines[0] if lines else type(error).__name__
