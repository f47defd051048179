"""What is measured: models, batches and counts. ``WORK`` is for a GPU of 80 GB or more; ``DRY`` has every row, and is small."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from policies.network.transformer import TransformerConfig


@dataclass(frozen=True, slots=True)
class Size:
    """One model. vocabulary: text and image codes."""

    d_model: int
    n_layers: int
    n_heads: int
    mlp_hidden_size: int
    vocabulary: int

    @property
    def config(self) -> TransformerConfig:
        return TransformerConfig(self.vocabulary, self.d_model, self.n_layers, self.n_heads, self.mlp_hidden_size)


SMALL, LARGE = "1b", "8b"


@dataclass(frozen=True, slots=True)
class Work:
    """Tokens, unless a line says otherwise.

    kernel        (rows, vocabulary) of the row kernel
    batches       (sequences, tokens) of forward passes
    scored        rows whose logits a pass forms: a block's
    group         rollouts of one prompt in the rows of rollouts
    image_steps   passes of an image, each twice for guidance
    rollouts      of a learner's step of the small model; micro_batch: of them at once
    updates       masks of that step
    attended      (sequences, queries, keys) of attention
    """

    models: Mapping[str, Size] = field(
        default_factory=lambda: {
            SMALL: Size(2048, 16, 16, 5632, 32768),
            LARGE: Size(4096, 32, 32, 12288, 134656),
        }
    )
    kernel: tuple[tuple[int, int], ...] = ((32, 32768), (256, 32768), (32, 126464), (256, 126464), (4096, 8192))
    batches: tuple[tuple[int, int], ...] = ((1, 512), (8, 512))
    attended: tuple[tuple[int, int, int], ...] = ((8, 512, 512), (8, 32, 512), (8, 1280, 1280))
    scored: int = 32
    group: int = 8
    prompt: int = 256
    new_tokens: int = 256
    text_steps: int = 64
    codes: int = 1024
    codebook: int = 8192
    image_steps: int = 15
    rollouts: int = 16
    micro_batch: int = 4
    updates: int = 4
    repeats: int = 5
    calibrate_s: float = 2.0
    calibrate_width: int = 4096
    published: Published = field(default_factory=lambda: Published())


@dataclass(frozen=True, slots=True)
class Published:
    """A step that NVIDIA's NeMo-RL reports for LLaDA-8B with LoRA on one H100 (github.com/NVIDIA-NeMo/RL, pull request 3550):
    2 prompts x 6 rollouts, 128 denoising steps in blocks of 32, 12 updates, rank 128; 30 s of sampling and 65 s of updates.
    Their estimate has three passes, UniGRPO's has one. Lengths are ours: they are not given."""

    prompts: int = 2
    group: int = 6
    steps: int = 128
    updates: int = 12
    rank: int = 128
    alpha: float = 64.0
    micro_batch: int = 6
    seconds: float = 95.0


WORK = Work()
DRY = Work(
    # Layers of one shape: what torch compiles for one model serves the other.
    models={SMALL: Size(32, 2, 2, 64, 256), LARGE: Size(32, 3, 2, 64, 384)},
    kernel=((3, 300),),
    batches=((1, 16), (2, 16)),
    attended=((2, 16, 16), (2, 4, 16)),
    scored=4,
    group=2,
    prompt=8,
    new_tokens=8,
    text_steps=4,
    codes=16,
    codebook=64,
    image_steps=3,
    rollouts=3,
    micro_batch=2,
    updates=2,
    repeats=1,
    calibrate_s=0.02,
    calibrate_width=64,
    published=Published(steps=4, updates=3, group=3, rank=4, micro_batch=2),
)
