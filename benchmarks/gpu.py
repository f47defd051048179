"""What one GPU does: the row kernel, forward passes, rollouts and a learner's step, as one JSON. No Ray, random weights.

    python -m benchmarks.gpu --out gpu.json             under 8 minutes on an 80 GB GPU
    python -m benchmarks.gpu --out dry.json --dry       tiny shapes on any machine: that it runs, not how fast
                             --no-compile               leaves torch.compile out

Seconds are of the wall, between two waits for the device, medians. ``of_matmul`` is a share of what one large product
reaches here; ``of_plan`` is what ``unigrpo plan`` calls its efficiency: the roofline's seconds, with this device's
measured rates, over the seconds it took. A section that fails or finds no time left says so, and the others go on.
"""

from __future__ import annotations

import argparse
import json
import os
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any

import torch

from benchmarks.policy import FIRST_PLAIN, bench_policy
from benchmarks.speed.rollout import Shape
from cluster.plan.memory import Training, learner_memory
from cluster.plan.seconds import DEVICES, Device, Sampler, group_seconds, update_seconds
from cluster.plan.sizes import forward_flops, parameters
from policies.base import EncodedPrompt
from policies.network.compiled import compile_layers
from policies.noise import uniforms
from policies.policy import MaskedDiffusionPolicy
from policies.samplers.image import sample_image
from policies.samplers.text import sample_text
from rl.types import ImageSampling, TextSampling


@dataclass(frozen=True, slots=True)
class Size:
    """One model. vocabulary: text and image codes."""

    d_model: int
    n_layers: int
    n_heads: int
    mlp_hidden_size: int
    vocabulary: int


@dataclass(frozen=True, slots=True)
class Work:
    """What is measured. Tokens, but for models and kernel rows. scored: rows whose logits a pass forms, a block's."""

    models: dict[str, Size] = field(
        default_factory=lambda: {
            "1b": Size(2048, 16, 16, 5632, 32768),
            "8b": Size(4096, 32, 32, 12288, 134656),
        }
    )
    learner: str = "1b"
    kernel: tuple[tuple[int, int], ...] = ((32, 32768), (256, 32768), (32, 126464), (256, 126464), (4096, 8192))
    batches: tuple[tuple[int, int], ...] = ((1, 512), (8, 512))
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
    repeats: int = 5
    compiled: tuple[bool, ...] = (False, True)
    calibrate_s: float = 2.0
    calibrate_width: int = 4096


TINY = Size(32, 2, 2, 64, 256)
DRY = Work(
    {"tiny": TINY}, "tiny", ((3, 300),), ((2, 16),), 4, 2, 8, 8, 4, 16, 64, 3, 2, 2, 1, calibrate_s=0.02, calibrate_width=64
)  # fmt: skip
Section = Callable[[], Any]


class Bench:
    def __init__(self, work: Work, device: str, dtype: torch.dtype, minutes: float) -> None:
        self.work, self.device, self.dtype = work, device, dtype
        self.ends = time.monotonic() + 60 * minutes
        self.rates: Device = DEVICES["h100"]

    def run(self) -> dict[str, Any]:
        sections: dict[str, Section] = {"rates": self.calibrate, "kernel": self.kernel}
        for name in self.work.models:
            sections[f"forward {name}"] = lambda name=name: self.forward(name)
            sections[f"rollouts {name}"] = lambda name=name: self.rollouts(name)
        sections[f"learner {self.work.learner}"] = self.learner
        return {"bench": "gpu", **self.machine(), **{name: self.section(name, make) for name, make in sections.items()}}

    def machine(self) -> dict[str, Any]:
        name = torch.cuda.get_device_name() if self.device.startswith("cuda") else "CPU"
        return {"device": name, "torch": torch.__version__, "dtype": str(self.dtype), "work": asdict(self.work)}

    def section(self, name: str, make: Section) -> Any:
        if time.monotonic() > self.ends:
            return {"skipped": "no time left"}
        began = time.monotonic()
        try:
            found = make()
        except (RuntimeError, ImportError) as error:  # out of memory is one of the first
            found = {"error": f"{type(error).__name__}: {error}".splitlines()[0]}
        if self.device.startswith("cuda"):
            torch.cuda.empty_cache()
        print(f"{name} ({time.monotonic() - began:.0f} s): {json.dumps(found)}", flush=True)
        return found

    def calibrate(self) -> dict[str, Any]:
        from cluster.cli.plan import rates

        found = rates(self.device, self.work.calibrate_s, self.work.calibrate_width)
        scale = 1 if self.dtype == torch.bfloat16 else 2  # the plan halves a rate for float32
        self.rates = replace(self.rates, flops=found["flops"] * scale, bandwidth=found["bandwidth"], measured=True)
        return found

    def kernel(self) -> list[dict[str, Any]]:
        """The row kernel against eager: seconds, and that both write the same tokens."""
        if not self.device.startswith("cuda"):
            os.environ["TRITON_INTERPRET"] = "1"
        from policies.samplers.row_kernel import look
        from policies.samplers.tokens import look_eager

        found = []
        for rows, vocabulary in self.work.kernel:
            generator = torch.Generator(self.device).manual_seed(0)
            logits = torch.randn(rows, vocabulary, device=self.device, generator=generator).mul_(4).to(self.dtype)
            noise = uniforms([0], 0, torch.arange(rows, device=self.device))[0]
            ours, eager = look(logits, noise, 0.7), look_eager(logits, noise, 0.7)
            kernel_s, eager_s = (self.seconds(partial(f, logits, noise, 0.7)) for f in (look, look_eager))
            found.append({
                "rows": rows, "vocabulary": vocabulary, "kernel_s": kernel_s, "eager_s": eager_s,
                "speedup": eager_s / kernel_s,
                "same_tokens": float((ours.token == eager.token).double().mean()),
                "largest_difference": float((ours.probability - eager.probability).abs().max()),
                "bytes_per_s": logits.numel() * logits.element_size() / kernel_s,
            })  # fmt: skip
        return found

    def forward(self, name: str) -> list[dict[str, Any]]:
        """A pass and the logits of a block's rows, as it is and compiled."""
        policy, found = self.policy(name), []
        for batch, length in self.work.batches:
            ids = self.ids(batch, length, policy)
            flops = batch * forward_flops(policy.module.config, length, self.work.scored)

            def run(ids: torch.Tensor = ids) -> torch.Tensor:
                return policy.head(policy.hidden(ids)[:, -self.work.scored :], image=False)

            for compiled in self.work.compiled:
                compile_layers(policy.module, compiled)
                with torch.inference_mode():
                    seconds = self.seconds(run)
                rate = flops / seconds
                found.append({
                    "batch": batch, "length": length, "compiled": compiled, "seconds": seconds, "tflops": rate / 1e12,
                    "of_matmul": rate / self.peak,
                })  # fmt: skip
        return found

    def rollouts(self, name: str) -> dict[str, Any]:
        """Groups of text, exact and with the dual cache, and of images with guidance: samples an hour."""
        work, policy = self.work, self.policy(name)
        prompt = list(range(FIRST_PLAIN, FIRST_PLAIN + work.prompt))
        drawn = EncodedPrompt(tuple(prompt), (6,), (2, 3), work.codes)
        length, blocks = work.prompt + work.new_tokens, work.scored
        text = TextSampling(work.new_tokens, blocks, work.text_steps, temperature=1.0)
        draw = ImageSampling(work.image_steps, 3.5, temperature=1.0)
        of_text = Sampler("text", 1.0, length, blocks, work.text_steps)
        of_image = Sampler("draw", 1.0, work.prompt + work.codes, work.codes, 2 * work.image_steps, work.codes)
        seeds = list(range(work.group))
        cases: dict[str, tuple[Section, Sampler | None]] = {
            "text": (lambda: sample_text(policy, prompt, text, seeds), of_text),
            "text, dual cache": (lambda: sample_text(policy, prompt, replace(text, cache="dual"), seeds), None),
            "images": (lambda: sample_image(policy, drawn, draw, seeds), of_image),
        }
        found: dict[str, Any] = {}
        for compiled in self.work.compiled:
            compile_layers(policy.module, compiled)
            for case, (sample, planned) in cases.items():
                found[f"{case}, compiled" if compiled else case] = self._rollouts(policy, sample, planned)
        return found

    def _rollouts(self, policy: MaskedDiffusionPolicy, sample: Section, planned: Sampler | None) -> dict[str, float]:
        seconds, group = self.seconds(sample, repeats=1), self.work.group
        found = {"group_s": seconds, "samples_per_hour": group / seconds * 3600}
        if planned is not None:
            ideal = group_seconds(policy.module.config, self.rates, self.dtype_name, planned, group)
            found["of_plan"] = ideal / seconds
        return found

    def learner(self) -> dict[str, Any]:
        """Whole UniGRPO steps with a reference, by DeepSpeed on one rank, against what the plan says of them."""
        from benchmarks.speed.learner import RATIOS, bench_batch
        from benchmarks.speed.learner import Shape as LearnerShape
        from cluster.learner.deepspeed_engine import DeepSpeedEngine, start_distributed
        from rl.config.learner import LearnerConfig, UniGRPOConfig
        from rl.learner.reference import make_reference
        from rl.learner.update import UniGRPOLearner

        work, policy = self.work, self.policy(self.work.learner)
        sizes, length = policy.module.config, work.prompt + work.new_tokens
        config = LearnerConfig(UniGRPOConfig(mu=len(RATIOS)), lr=1e-6, micro_batch_size_per_gpu=work.micro_batch)
        batch = bench_batch(
            LearnerShape(prompt=work.prompt, responses=(work.new_tokens,) * work.rollouts), policy.vocabulary.size
        )
        start_distributed(0, 1, None, self.device, 600)
        with TemporaryDirectory() as folder:
            reference = make_reference(policy, None)
            engine = DeepSpeedEngine(policy.module, config, 1000, log=Path(folder) / "engine.log")
            learner = UniGRPOLearner(policy, engine, config, reference)
            learner.update(batch)
            self.reset_peak()
            seconds = self.seconds(lambda: learner.update(batch), repeats=2)
        of_text = Sampler("text", 1.0, length, work.new_tokens, 1)
        ideal = update_seconds(
            sizes, self.rates, self.dtype_name, of_text, mu=len(RATIOS), kl=True, checkpointing=False
        )
        training = Training(
            self.dtype_name, engine.stage, 1, work.micro_batch, length, work.new_tokens, False, True, config.logits_mib
        )
        planned = learner_memory(sizes, training)
        return {
            "parameters": parameters(sizes), "stage": engine.stage, "step_s": seconds,
            "samples_per_hour": work.rollouts / seconds * 3600, "of_plan": work.rollouts * ideal / seconds,
            "planned_bytes": planned, "planned_sum": sum(planned.values()), "peak_bytes": self.peak_bytes(),
        }  # fmt: skip

    @property
    def peak(self) -> float:
        """Operations a second of one large product in this precision."""
        return self.rates.flops / (1 if self.dtype == torch.bfloat16 else 2)

    @property
    def dtype_name(self) -> str:
        return str(self.dtype).removeprefix("torch.")

    def policy(self, name: str) -> MaskedDiffusionPolicy:
        size = self.work.models[name]
        shape = Shape(size.d_model, size.n_layers, size.n_heads, size.mlp_hidden_size)
        return bench_policy(shape, size.vocabulary, codebook=self.work.codebook, device=self.device, dtype=self.dtype)

    def ids(self, batch: int, length: int, policy: MaskedDiffusionPolicy) -> torch.Tensor:
        generator = torch.Generator(self.device).manual_seed(1)
        high = policy.vocabulary.size
        return torch.randint(FIRST_PLAIN, high, (batch, length), device=self.device, generator=generator)

    def seconds(self, work: Section, repeats: int | None = None) -> float:
        """One warm-up, then the median."""
        turns = []
        for _ in range(1 + (repeats or self.work.repeats)):
            self.wait()
            began = time.perf_counter()
            work()
            self.wait()
            turns.append(time.perf_counter() - began)
        return median(turns[1:])

    def wait(self) -> None:
        if self.device.startswith("cuda"):
            torch.cuda.synchronize()

    def reset_peak(self) -> None:
        if self.device.startswith("cuda"):
            torch.cuda.reset_peak_memory_stats()

    def peak_bytes(self) -> int | None:
        return torch.cuda.max_memory_allocated() if self.device.startswith("cuda") else None


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--minutes", type=float, default=7.0, help="no section begins later")
    parser.add_argument("--dry", action="store_true", help="tiny shapes, also on a CPU")
    parser.add_argument("--no-compile", action="store_true", help="leave torch.compile out")
    options = parser.parse_args()
    work = DRY if options.dry else Work()
    work = replace(work, compiled=(False,)) if options.no_compile else work
    cuda = torch.cuda.is_available()
    if not cuda and not options.dry:
        raise SystemExit("benchmarks.gpu: no GPU is visible here; --dry runs tiny shapes on the CPU")
    device, dtype = ("cuda:0", torch.bfloat16) if cuda else ("cpu", torch.float32)
    result = Bench(work, device, dtype, options.minutes).run()
    options.out.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    print(options.out)


if __name__ == "__main__":
    main()
