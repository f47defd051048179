"""The sections of a config: frozen dataclasses with their defaults."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rl.config.cluster import ClusterConfig
from rl.config.health import HealthConfig
from rl.config.learner import LearnerConfig
from rl.config.rewards import CustomRewardConfig, JudgeConfig, RewardsConfig
from rl.types import ImageSampling, TextSampling, ThinkDrawSampling


@dataclass(frozen=True)
class PolicyConfig:
    """The policy.

    path     a Hugging Face-layout folder, the name of a shipped policy (``tiny``), or of a repository on a hub
             (``GSAI-ML/LLaDA-8B-Instruct``, or with ``@revision``); a run keeps it with the commit that it was
    revision  of a repository on a hub: a branch, a tag or a commit; null is the newest
    image_tokenizer  of a repository on a hub that has none of its own, as MMaDA's: a folder, or a name on a hub
             (``ORG/NAME``, or with ``@revision``); null: the one in the policy's folder
    device   auto: cuda where the run has a GPU, else cpu; or cpu, cuda, cuda:0, ...
    dtype    of the weights: auto: bfloat16 on a GPU, else float32; or float32, bfloat16
    compile  samplers run layers through torch.compile; see docs/performance.md
    """

    path: str = "tiny"
    revision: str | None = None
    image_tokenizer: str | None = None
    device: str = "auto"
    dtype: str = "auto"
    compile: bool = False


@dataclass(frozen=True)
class SourceConfig:
    """One source of rows.

    source   a preset (gsm8k, math, ...: ``unigrpo data list``) or a preset's .yaml file; a generator (sudoku4x4, chain_sum,
             gsm_symbolic, easy_vqa, scenes); a .jsonl, .json or .parquet file; a folder written by Hugging Face datasets; or a
             data set on a hub (``openai/gsm8k``, or with ``@revision``)
    path     a preset's rows on this machine: a file, or a folder in the published layout; null: from the hub
    split    train or val; generators keep the two apart, files are taken whole. Of a folder or a data set on a hub: any of
             its own, and of the latter also a part, ``train[:1000]``
    config   which configuration of a data set on a hub; null: its only or default one
    revision  of a data set on a hub: a branch, a tag or a commit; null is the newest
    task     for rows that do not say: text, understand, draw or think_draw
    weight   share of training prompts that come from here, relative to the other sources
    limit    use at most this many rows
    args     passed to the generator, or how a file or preset is read
    """

    source: str = "???"
    path: str | None = None
    split: str = "train"
    task: str | None = None
    weight: float = 1.0
    limit: int | None = None
    args: dict[str, Any] = field(default_factory=dict)
    config: str | None = None
    revision: str | None = None


@dataclass(frozen=True)
class DataConfig:
    """What is trained on, and what is held out.

    train            sources, mixed by their weight
    val              sources of held-out prompts, all of which every evaluation asks
    filter_overlong  rows that do not fit the policy with their response: error, drop them, or truncate: cut the beginning
                     of their longest turn (verl: filter_overlong_prompts, truncation)
    on_overlap       held-out prompts that are training prompts too: error, or drop them from training
    """

    train: list[SourceConfig] = field(default_factory=list)
    val: list[SourceConfig] = field(default_factory=list)
    filter_overlong: str = "error"
    on_overlap: str = "error"


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
class HintsConfig:
    """Groups whose scores are all equal and low are sampled again in part, with part of a worked answer given (IGPO, arXiv
    2509.10396). Rows that are answered in text alone.

    share   of such a group that is sampled again; what scores better replaces members of the group. 0: off
    below   scores below this are low
    given   share of the worked answer's chunks that a rollout is given, uniform between these two
    chunk   tokens of a chunk, uniform between these two
    """

    share: float = 0.0
    below: float = 1.0
    given: list[float] = field(default_factory=lambda: [0.2, 0.6])
    chunk: list[int] = field(default_factory=lambda: [5, 10])


@dataclass(frozen=True)
class RolloutConfig:
    """How training rollouts are sampled.

    batch_size       prompts of one step
    n_samples_per_prompt  rollouts of one prompt: a group
    threads          CPU threads of one rollout worker
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
    hints: HintsConfig = field(default_factory=HintsConfig)


@dataclass(frozen=True)
class EvaluationConfig:
    """Held-out evaluation.

    n_samples_per_prompt  answers to each held-out prompt, which count alike
    n_samples  samples a prompt of ``unigrpo eval``, for pass@k and maj@k; null: n_samples_per_prompt, which evaluations
               during a run have
    k_shots    worked examples of data.train before every held-out question: the same ones for each source, chosen by the seed
    layout     of drawings in ``unigrpo eval``, as its official scorer reads them
    mix        task -> reward name -> weight: the score of a task is their weighted sum; weight 0 reports a curve beside it
    """

    n_samples_per_prompt: int = 1
    n_samples: int | None = None
    k_shots: int = 0
    layout: str | None = None
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

    steps         updates
    batch_size    examples of one update
    lr            largest learning rate
    lr_schedule   constant, or cosine: down to 0 over lr_decay_steps
    warmup_steps  over which the learning rate rises from 0
    weight_decay  AdamW's
    betas         AdamW's
    max_grad_norm  a larger gradient is scaled down to this norm
    threads       CPU threads
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
    """Where a run is watched; its folder has metrics and samples as files in any case.

    mlflow        also log to MLflow
    uri           an MLflow server; null keeps a SQLite store in output_dir, which all its runs share
    experiment    the name under which MLflow lists the run
    samples_freq  steps between tables of samples, and between pages that play rollouts of training
    password_env  name of the environment variable with the password of a database: ``postgresql://USER@HOST/DATABASE``. A
                  server's login is MLflow's own: MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD
    also          further trackers by name
    traces        groups of a step, and prompts of each task of an evaluation, whose rollouts become MLflow traces; 0 is off
    traces_freq   steps between two whose rollouts become traces
    machine_s     seconds between two readings of what a node does (processor, memory, GPUs); 0 is off
    log_model     which policies become MLflow models when the run ends: final, best (by best_metric), both, or off
    log_model_gb  most GB of weights that one model may copy into MLflow's store. A store in files on the same disk gets hard
                  links, which copy nothing
    registered_model  a name in MLflow's registry for these models; null registers none
    """

    mlflow: bool = True
    uri: str | None = None
    password_env: str | None = None
    experiment: str = "unigrpo"
    samples_freq: int = 10
    also: list[str] = field(default_factory=list)
    traces: int = 2
    traces_freq: int = 1
    machine_s: float = 10.0
    log_model: str = "both"
    log_model_gb: float = 4.0
    registered_model: str | None = None


@dataclass(frozen=True)
class Config:
    """A whole run.

    name              of the run, and of its folder in output_dir
    output_dir        the folder of all runs
    seed              of everything that is drawn: prompts, noise, masks
    steps             training steps: a batch of prompts, their rollouts, mu updates
    val_before_train, val_after_train  evaluate on the held-out prompts before the first step, after the last one
    test_freq         steps between evaluations; 0: none on the way
    resume_mode       auto: from the newest whole checkpoint of this run; disable: over the folder anew; path: from resume_path
    resume_path       a global_step_N folder, for resume_mode=path
    keep_best         how many of the best checkpoints by best_metric are kept
    save_freq, save_minutes  a checkpoint every so many steps, and once so many minutes have passed since the last one;
                      0 turns each of them off
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
    health: HealthConfig = field(default_factory=HealthConfig)
    val_before_train: bool = True
    val_after_train: bool = True
    test_freq: int = 0
    save_freq: int = 0
    save_minutes: float = 10.0
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
