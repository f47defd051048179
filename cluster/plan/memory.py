"""Memory of a learner rank and of a rollout worker, by part. Pure functions; every number is bytes.

Arithmetic, not measurement: what a caching allocator and a CUDA context take beside it is ``RESERVE`` of the device.
``benchmarks.parity.plan_memory`` compares a rank's with the peak of a real process.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from cluster.plan.sizes import Adapter, backward_numbers, parameters, saved_numbers
from cluster.plan.zero_sizes import LARGEST_BUCKET, LIVE_PARAMETERS, stage_of
from policies.network.transformer import TransformerConfig
from rl.learner.adamw8bit import BLOCK, CHUNK

RESERVE = 0.08  # of a device: CUDA context, NCCL buffers, fragments
WIDTHS: Mapping[str, int] = {"float32": 4, "bfloat16": 2}
HOST = "on the host"  # the part that is not the device's
LARGEST = "logits, or one layer's gradient"  # which are not there at the same time
STEPPING = "a step of 8-bit AdamW"  # beyond activations and logits, which are gone by then


@dataclass(frozen=True, slots=True)
class Training:
    """What of the config decides a rank's memory. length: tokens of the longest sequence, prompt and response.

    adapter: None where all weights are trained. deepspeed: False for ``learner.engine=torch``. passes: of the network over
    one sequence whose states are kept at once, which an estimator of several passes has. streams: 2 where each of these goes
    over a noisy and a clean copy
    """

    dtype: str
    zero_stage: int
    ranks: int
    micro_batch: int
    length: int
    scored: int
    checkpointing: bool
    reference: bool
    logits_mib: float
    optimizer: str = "adamw"
    adapter: Adapter | None = None
    offload: bool = False
    deepspeed: bool = True
    passes: int = 1
    streams: int = 1

    @property
    def stage(self) -> int:
        """As the engine runs it: with bfloat16 weights DeepSpeed's least is 2."""
        return stage_of(self.zero_stage, self.dtype == "bfloat16") if self.deepspeed else 0


# Of the two moments, bytes a parameter: 8 bits each, and a float32 scale for every 256.
MOMENTS: Mapping[str, float] = {"adamw": 8, "adamw8bit": 2 * (1 + 4 / BLOCK)}
WORKED_ON = 73  # bytes of what is temporary, measured, for each number of a chunk that 8-bit AdamW steps


def weight_bytes(config: TransformerConfig, dtype: str) -> int:
    return parameters(config) * WIDTHS[dtype]


def learner_memory(config: TransformerConfig, training: Training) -> dict[str, float]:
    """By part. Mixed precision as in ZeRO (arXiv 1910.02054, section 3.1), with gradients added up in float32:

    bfloat16          weights 2, gradients 4, AdamW 12 (its own float32 weights and two moments) a parameter
    float32           weights 4, gradients 4, AdamW 8
    float32 with ZeRO  weights 4, gradients 4, AdamW 12: DeepSpeed keeps weights of its own there, too

    With ``adamw8bit`` two moments take 2.03 bytes in place of 8. With an adapter only its own parameters have gradients
    and an optimizer's state, and the reference is the policy without it.
    Stage 1 divides AdamW's by the ranks, 2 the gradients too, 3 the weights too. A whole reference is frozen and whole.
    """
    count, extra = parameters(config), training.adapter.parameters if training.adapter else 0
    trained = extra or count
    width, stage, ranks = WIDTHS[training.dtype], training.stage, training.ranks
    states = trained * (MOMENTS[training.optimizer] + (4 if stage else 0)) / (ranks if stage >= 1 else 1)
    gradients = trained * 4 / (ranks if stage >= 2 else 1)
    offloaded = training.offload and stage >= 1
    whole = training.reference and training.adapter is None
    kept, largest = activations(config, training), max(logits(config, training), one_layer(config, training))
    stepping = max(0.0, _worked_on(config, training, trained) - kept - largest)
    return {
        "weights": (count + extra) * width / (ranks if stage >= 3 else 1),
        "gradients": 0.0 if offloaded and stage >= 2 else gradients,
        "AdamW": 0.0 if offloaded else states,
        "reference": float(count * width) if whole else 0.0,
        "buffers": _buffers(config, training, trained),
        "activations": kept,
        LARGEST: largest,
        **({STEPPING: stepping} if stepping else {}),
        HOST: (states + (gradients if stage >= 2 else 0.0)) if offloaded else 0.0,
    }


def on_device(memory: Mapping[str, float]) -> float:
    """What of a process's memory is the device's."""
    return sum(size for part, size in memory.items() if part != HOST)


def _worked_on(config: TransformerConfig, training: Training, trained: int) -> float:
    """8-bit AdamW steps a chunk at a time of each tensor: the largest of the policy, or ZeRO's share of all in one."""
    if training.optimizer != "adamw8bit":
        return 0.0
    tensor = trained / training.ranks if training.stage >= 1 else min(trained, config.vocab_size * config.d_model)
    return min(CHUNK, tensor) * float(WORKED_ON)


def _buffers(config: TransformerConfig, training: Training, trained: int) -> float:
    """DeepSpeed's: a bucket that gradients are reduced in, and at stage 3 the weights that are gathered for use."""
    width, stage = WIDTHS[training.dtype], training.stage
    bucket = min(LARGEST_BUCKET, trained) * width if stage else 0
    if stage < 3 or training.ranks == 1:
        return float(bucket)
    gathered = min(LIVE_PARAMETERS, parameters(config)) * width
    return float(bucket + gathered)


def activations(config: TransformerConfig, training: Training) -> float:
    """What is kept of one micro-batch for its gradient; with checkpointing every layer's input alone."""
    kept = config.d_model if training.checkpointing else saved_numbers(config, training.adapter)
    return _numbers(training) * training.passes * config.n_layers * kept


def one_layer(config: TransformerConfig, training: Training) -> float:
    """What the backward pass of one layer holds beside what was kept; with checkpointing the layer is run again first."""
    again = saved_numbers(config, training.adapter) if training.checkpointing else 0
    return _numbers(training) * (backward_numbers(config) + again)


def _numbers(training: Training) -> float:
    """Bytes of one number for each token of a micro-batch."""
    return float(training.micro_batch * training.length * training.streams * WIDTHS[training.dtype])


def logits(config: TransformerConfig, training: Training) -> float:
    """What is there at once of the logits of the scored tokens (``rl.learner.likelihood``).

    Whole: the product, its log-probs, and for the entropy the probabilities and their product with these; log-probs of an
    estimator's other passes stay. Where the float32 logits would take more than ``learner.logits_mib``, a chunk: log-probs
    and their gradient in float32, with bfloat16 weights that gradient twice more, and the gradient of the head in float32.
    """
    width, limit = WIDTHS[training.dtype], training.logits_mib * 2**20
    numbers = float(training.micro_batch * training.scored * config.vocab_size)
    if 4 * numbers <= limit:
        return numbers * (width + 3 * 4) + (training.passes - 1) * numbers * 4
    head = 0.0 if training.adapter else config.vocab_size * config.d_model * 4.0
    return limit / 4 * (4 + 4 + (width + 4 if width < 4 else 0)) + head


def rollout_memory(
    config: TransformerConfig, dtype: str, group: int, length: int, scored: int, adapter: Adapter | None = None
) -> dict[str, float]:
    """Weights, twice while the next version arrives beside the old; one layer's states; logits of a block, in float32.

    Of an adapter the product alone arrives: a worker keeps the base of the layers that it stands beside.
    """
    width = WIDTHS[dtype]
    arriving = float(parameters(config) * 4)  # as they come off the wire: float32
    return {
        "weights": float(parameters(config) * width),
        **({"next weights": arriving} if adapter is None else {"the adapter's base": float(adapter.beside * width)}),
        "activations": group * length * width * float(2 * config.d_model + saved_numbers(config)),
        "logits": group * scored * config.vocab_size * 4.0 * 2,
    }
