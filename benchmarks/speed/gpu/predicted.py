"""What each row of ``benchmarks.speed.gpu`` should say, before it says it: arithmetic, and what we expect of our code.

``floor``: no code on this card is faster: operations over its peak, or bytes over its bandwidth, whichever takes longer.
``expected``: the floor over the share of it that we expect (``Expected``), and not less than the kernels of a pass take to
be started one after another. A row's result has the names of its predictions.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from benchmarks.speed.gpu.work import LARGE, SMALL, Work
from cluster.plan.memory import Training, learner_memory, rollout_memory, weight_bytes
from cluster.plan.seconds import Device, Sampler, group_seconds, pass_seconds, update_seconds
from cluster.plan.sizes import adapter
from policies.lora import TARGETS
from policies.network.transformer import TransformerConfig


@dataclass(frozen=True, slots=True)
class Expected:
    """Shares of the roofline that we expect, and what a kernel costs to start. Guesses, written down before a run.

    product, bandwidth  of the data sheet's, by one large product and one large copy
    forward             of a pass whose arithmetic is what takes long
    read                of a pass that waits for its weights
    kernel              of the bandwidth, by the row kernel; ``passes_eager``: reads and writes of the logits without it
    sampler, learner    of whole groups and whole steps: ``unigrpo plan``'s
    attention           of fused attention; ``math``: of attention written out, which stores its matrix
    launch_s, launches  seconds to start one kernel, and kernels of one layer
    """

    product: float = 0.7
    bandwidth: float = 0.85
    forward: float = 0.55
    read: float = 0.6
    kernel: float = 0.5
    passes_eager: float = 14.0
    sampler: float = 0.4
    learner: float = 0.4
    attention: float = 0.35
    math: float = 0.05
    launch_s: float = 6e-6
    launches: int = 24


@dataclass(frozen=True, slots=True)
class Prediction:
    """Both in the unit of the row's result: seconds, or operations or bytes a second for ``rates``."""

    floor: float
    expected: float


Predictions = Mapping[str, Prediction]
SAMPLED, UPDATED, WHOLE = "sampling_s", "updates_s", "step_s"
THREE_PASSES = "updates_s, three passes"
BACK_ENDS = ("default", "flash", "efficient", "cudnn", "math")


def predictions(work: Work, card: Device, dtype: str, expected: Expected | None = None) -> dict[str, Predictions]:
    """Row -> name of a result -> what it should be. Names of rows as in ``benchmarks.speed.gpu.rows``."""
    of = _Of(work, card, dtype, expected or Expected())
    found: dict[str, Predictions] = {"rates": of.rates(), "row kernel": of.kernel(), "attention": of.attention()}
    for name in work.models:
        found[f"forward {name}"] = of.forward(name)
        found[f"rollouts {name}"] = of.rollouts(name)
        found[f"graphs {name}"] = of.graphs(name)
    return found | {f"learner {SMALL}": of.learner(), f"LoRA {LARGE}": of.lora()}


def text_sampler(work: Work) -> Sampler:
    return Sampler("text", 1.0, work.prompt + work.new_tokens, work.scored, work.text_steps, work.new_tokens)


def image_sampler(work: Work) -> Sampler:
    return Sampler("draw", 1.0, work.prompt + work.codes, work.codes, 2 * work.image_steps, work.codes)


def published_sampler(work: Work) -> Sampler:
    return Sampler("text", 1.0, work.prompt + work.new_tokens, work.scored, work.published.steps, work.new_tokens)


def scored_by_learner(work: Work) -> Sampler:
    """All of a response may be masked: the learner forms logits of half of it on average."""
    return Sampler("text", 1.0, work.prompt + work.new_tokens, work.new_tokens, 1)


def small_training(work: Work, dtype: str, deepspeed: bool, logits_mib: float) -> Training:
    length = work.prompt + work.new_tokens
    return Training(
        dtype, 0, 1, work.micro_batch, length, work.new_tokens, False, True, logits_mib, deepspeed=deepspeed
    )


def lora_training(work: Work, dtype: str, deepspeed: bool, logits_mib: float) -> Training:
    beside = adapter(work.models[LARGE].config, work.published.rank, TARGETS)
    length = work.prompt + work.new_tokens
    return Training(
        dtype, 0, 1, work.published.micro_batch, length, work.new_tokens, False, True, logits_mib, adapter=beside,
        deepspeed=deepspeed,
    )  # fmt: skip


def memory_of_small(work: Work, dtype: str, deepspeed: bool, logits_mib: float) -> dict[str, float]:
    return learner_memory(work.models[SMALL].config, small_training(work, dtype, deepspeed, logits_mib))


def memory_of_lora(work: Work, dtype: str, deepspeed: bool, logits_mib: float) -> dict[str, float]:
    return learner_memory(work.models[LARGE].config, lora_training(work, dtype, deepspeed, logits_mib))


def memory_of_sampling(work: Work, name: str, dtype: str, group: int) -> dict[str, float]:
    """Of a sampler alone: no next version of the weights arrives here."""
    found = rollout_memory(work.models[name].config, dtype, group, work.prompt + work.new_tokens, work.scored)
    return {part: size for part, size in found.items() if part != "next weights"}


def attention_flops(batch: int, heads: int, queries: int, keys: int, size: int) -> float:
    """Both products of attention, a multiply-add as two."""
    return 4.0 * batch * heads * queries * keys * size


@dataclass(frozen=True, slots=True)
class _Of:
    work: Work
    card: Device
    dtype: str
    expected: Expected

    @property
    def peak(self) -> float:
        return self.card.flops / (1 if self.dtype == "bfloat16" else 2)

    @property
    def width(self) -> int:
        return 2 if self.dtype == "bfloat16" else 4

    def rates(self) -> Predictions:
        flops, bandwidth = self.peak, self.card.bandwidth
        return {
            "flops": Prediction(flops, flops * self.expected.product),
            "bandwidth": Prediction(bandwidth, bandwidth * self.expected.bandwidth),
        }

    def kernel(self) -> Predictions:
        """One read of the logits. By hand, eager reads or writes them ``passes_eager`` times, half of it in wider types."""
        found, share = {}, self.expected
        for rows, vocabulary in self.work.kernel:
            floor = rows * vocabulary * self.width / self.card.bandwidth
            name = f"{rows} x {vocabulary}"
            found[f"{name}, kernel"] = Prediction(floor, max(floor / share.kernel, share.launch_s))
            eager = max(share.passes_eager * floor / share.bandwidth, share.launches * share.launch_s)
            found[f"{name}, eager"] = Prediction(floor, eager)
        return found

    def attention(self) -> Predictions:
        """Forward alone, at the large model's heads. Each back-end has the same floor."""
        config, found = self.work.models[LARGE].config, {}
        for batch, queries, keys in self.work.attended:
            flops = attention_flops(batch, config.n_heads, queries, keys, config.head_size)
            numbers = 2 * batch * config.n_heads * config.head_size * (queries + keys)
            floor = max(flops / self.peak, numbers * self.width / self.card.bandwidth)
            for back_end in BACK_ENDS:
                share = self.expected.math if back_end == "math" else self.expected.attention
                expected = max(floor / share, self.expected.launch_s)
                found[f"{batch} x {queries} x {keys}, {back_end}"] = Prediction(floor, expected)
        return found

    def forward(self, name: str) -> Predictions:
        config, found = self.work.models[name].config, {}
        for batch, length in self.work.batches:
            found[f"{batch} x {length}"] = self._pass(config, batch, length)
        return found

    def graphs(self, name: str) -> Predictions:
        """A pass that is started as one graph does not wait for its kernels' starts."""
        config, found = self.work.models[name].config, {}
        for batch, length in self.work.batches:
            plain = self._pass(config, batch, length)
            found[f"{batch} x {length}, plain"] = plain
            found[f"{batch} x {length}, graph"] = Prediction(plain.floor, self._shared(config, batch, length))
        return found

    def rollouts(self, name: str) -> Predictions:
        config = self.work.models[name].config
        return {
            "text": self._group(config, text_sampler(self.work), self.work.group),
            "images": self._group(config, image_sampler(self.work), self.work.group),
            "text, dual cache": self._dual(config),
        }

    def learner(self) -> Predictions:
        config = self.work.models[SMALL].config
        one = update_seconds(
            config,
            self.card,
            self.dtype,
            scored_by_learner(self.work),
            mu=self.work.updates,
            kl=True,
            checkpointing=False,
        )
        return {WHOLE: self._learning(one * self.work.rollouts)}

    def lora(self) -> Predictions:
        config, published = self.work.models[LARGE].config, self.work.published
        group = self._group(config, published_sampler(self.work), published.group)
        sampled = Prediction(published.prompts * group.floor, published.prompts * group.expected)
        rollouts = published.prompts * published.group
        one, three = (
            update_seconds(
                config, self.card, self.dtype, scored_by_learner(self.work), mu=published.updates, kl=kl,
                checkpointing=False, frozen=True, passes=passes,
            )
            for kl, passes in ((True, 1), (False, 3))
        )  # fmt: skip
        updated = self._learning(one * rollouts)
        return {
            SAMPLED: sampled,
            UPDATED: updated,
            WHOLE: Prediction(sampled.floor + updated.floor, sampled.expected + updated.expected),
            THREE_PASSES: self._learning(three * rollouts),
        }

    def _learning(self, floor: float) -> Prediction:
        return Prediction(floor, floor / self.expected.learner)

    def _group(self, config: TransformerConfig, sampler: Sampler, group: int) -> Prediction:
        floor = group_seconds(config, self.card, self.dtype, sampler, group)
        starts = sampler.passes * self._starts(config)
        return Prediction(floor, max(floor / self.expected.sampler, starts))

    def _dual(self, config: TransformerConfig) -> Prediction:
        """A block's first step computes the whole sequence, the others the block alone."""
        work = self.work
        blocks = -(-work.new_tokens // work.scored)
        whole = pass_seconds(config, self.card, self.dtype, work.group, work.prompt + work.new_tokens, work.scored)
        block = pass_seconds(config, self.card, self.dtype, work.group, work.scored, work.scored)
        floor = blocks * whole + (work.text_steps - blocks) * block
        return Prediction(floor, max(floor / self.expected.sampler, work.text_steps * self._starts(config)))

    def _pass(self, config: TransformerConfig, batch: int, length: int) -> Prediction:
        floor = pass_seconds(config, self.card, self.dtype, batch, length, self.work.scored)
        return Prediction(floor, max(self._shared(config, batch, length), self._starts(config)))

    def _shared(self, config: TransformerConfig, batch: int, length: int) -> float:
        """Without the starts of its kernels."""
        floor = pass_seconds(config, self.card, self.dtype, batch, length, self.work.scored)
        waits = floor <= weight_bytes(config, self.dtype) / self.card.bandwidth
        return floor / (self.expected.read if waits else self.expected.forward)

    def _starts(self, config: TransformerConfig) -> float:
        return config.n_layers * self.expected.launches * self.expected.launch_s
