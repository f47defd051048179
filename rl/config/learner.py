"""Settings of the learner."""

from __future__ import annotations

from dataclasses import dataclass, field

from rl.config.lora import LoraConfig


@dataclass(frozen=True)
class UniGRPOConfig:
    """Objective and mask schedule (arXiv 2505.15809, equations 3-5, algorithm 1, section 5.2).

    clip_low, clip_high   the ratio is clipped to [1 - clip_low, 1 + clip_high]
    kl_coef               beta; 0 runs without a reference model
    kl_estimator          how the KL of one token is estimated (http://joschu.net/blog/kl-approx.html)
    normalizer            what a response's sum is divided by. ``masked``: 1/M (eq. 4); ``length``: 1/|o| (eq. 5)
    schedule              how inner updates choose mask ratios
    mu                    inner updates on one batch
    kl_clip               largest KL estimate of one token; null leaves it alone. k3 is heavy-tailed under random masks
    estimator             how a response's log-likelihood is estimated, see docs/estimators.md
    estimator_samples     forward passes of one estimate, where the estimator has a choice; null: its own default
    trajectory_shrink     trajectory: so many neighbouring denoising steps share a forward pass
    objective             what is optimised, see docs/estimators.md
    residual_scale        gdsd, rspo, trafl: psi, the change of log-likelihood a token that an advantage of 1 asks for
    weight_cap            stabledrl: the largest importance weight of a response
    ratio                 token, or sequence: one ratio for a whole response
    dual_clip             bounds the loss of a rollout with a negative advantage by this times it; null: no bound
    entropy_coef          bonus on the entropy of scored tokens
    normalizer_length     the divisor of normalizer=constant
    importance_cap  unigrpo: what a stale rollout is worth, (policy now / policy that sampled), at most this; null: 1
    importance_level  token, or sequence: one weight for a whole response
    importance_versions  so many past versions of the weights are kept on the host, for the log-probs of stale rollouts
    prompt_mask_prob      share of the prompt's tokens that an estimate hides as well (d1); 0: the prompt is never masked
    spg_beta, spg_mixture  spg: exponent of the upper bound, and its share in the mixture with the lower one
    control_variate       coefficient of a control variate: one more pass, over the full mask, that leaves the estimate's mean as
                          it is and takes noise of the masks' choice away; 1 is a good value; 0: none
    structure_weight      what a token of the first ``structure_share`` that the sampler revealed counts in the surrogate, against
                          the others (HT-GRPO); 1: all alike
    structure_share       see structure_weight
    spg_block_length      spg: task -> length of the blocks that a response is hidden by, as its sampler's; a task that is
                          not named, such as draw, is hidden as a whole
    """

    clip_low: float = 0.2
    clip_high: float = 0.2
    kl_coef: float = 0.01
    kl_estimator: str = "k3"
    normalizer: str = "masked"
    schedule: str = "stratified"
    mu: int = 4
    kl_clip: float | None = None
    estimator: str = "masked"
    estimator_samples: int | None = None
    trajectory_shrink: int = 1
    spg_beta: float = 1.5
    spg_mixture: float = 0.5
    objective: str = "unigrpo"
    residual_scale: float = 1.0
    weight_cap: float = 5.0
    ratio: str = "token"
    dual_clip: float | None = None
    entropy_coef: float = 0.0
    normalizer_length: int | None = None
    importance_cap: float | None = None
    importance_level: str = "token"
    importance_versions: int = 1
    prompt_mask_prob: float = 0.0
    control_variate: float = 0.0
    structure_weight: float = 1.0
    structure_share: float = 0.25
    spg_block_length: dict[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class LearnerConfig:
    """One optimizer step on ``mini_batch_size`` rollouts (all of the batch if null), in micro-batches.

    lr                   largest learning rate
    lr_schedule          constant, or cosine: down to 0 over all updates of the run
    warmup_steps         updates over which the learning rate rises from 0
    weight_decay         AdamW's
    betas                AdamW's
    max_grad_norm        a larger gradient is scaled down to this norm
    mini_batch_size      rollouts of one update; null: all of a step's
    micro_batch_size_per_gpu  rollouts that go through the network at once, on each rank
    scale_advantages_by_std  divide a group's advantages by their deviation (GRPO); false: reward - mean (Dr. GRPO)
    threads              CPU threads of one rank
    engine               deepspeed, or torch (one rank, plain AdamW: a debugger's choice)
    zero_stage           what DeepSpeed parts over the ranks: 1 the optimizer's state, 2 gradients too, 3 weights too
    optimizer            adamw, or adamw8bit: its moments take 2 bytes a parameter in place of 8 (arXiv 2110.02861)
    offload_optimizer    keep the optimizer's state in the host's memory, and step there (zero_stage 1 to 3)
    max_skipped_updates  stop after this many updates in a row without usable groups or with a non-finite gradient
    reference_sync_freq  copy the policy into the reference every so many steps; null keeps it frozen
    advantage_baseline   mean of the group, or leave_one_out: mean of the others
    task_weights         task -> weight of its rollouts in the loss; 1 where it is not named
    logits_mib           where a micro-batch's logits would take more, they are formed in chunks of this many MiB
    packing              sequences of a micro-batch share one stream of tokens: no layer works on padding
    activation_checkpointing  keep a layer's input alone, and run it again for its gradient
    overlong_filtering   leave rollouts that ran out of canvas out of the loss
    n_trained_per_prompt  train on so many members of each group, chosen so that their scores differ most
                         (arXiv 2504.13818); advantages compare these alone; null: on all
    sft_rows             so many of a step's prompts that have a worked answer are learned with it, in every update (LaViDa-R1,
                         arXiv 2602.14147): masked cross-entropy as in fine-tuning, by the settings of sft
    sft_coef             weight of their mean loss
    drop_equal_groups    leave groups whose scores are all equal out of the update: they teach nothing but the KL term
    """

    algorithm: UniGRPOConfig = field(default_factory=UniGRPOConfig)
    engine: str = "deepspeed"
    zero_stage: int = 0
    lr: float = 5e-5
    lr_schedule: str = "constant"
    warmup_steps: int = 0
    weight_decay: float = 0.0
    betas: list[float] = field(default_factory=lambda: [0.9, 0.95])
    max_grad_norm: float = 1.0
    mini_batch_size: int | None = None
    micro_batch_size_per_gpu: int = 32
    scale_advantages_by_std: bool = True
    reference_sync_freq: int | None = None
    max_skipped_updates: int = 20
    threads: int = 2
    advantage_baseline: str = "mean"
    task_weights: dict[str, float] = field(default_factory=dict)
    overlong_filtering: bool = False
    drop_equal_groups: bool = False
    n_trained_per_prompt: int | None = None
    sft_rows: int = 0
    sft_coef: float = 0.1
    logits_mib: float = 64.0
    activation_checkpointing: bool = False
    offload_optimizer: bool = False
    optimizer: str = "adamw"
    packing: bool = False
    lora: LoraConfig = field(default_factory=LoraConfig)
