"""``python -m benchmarks NAME`` or ``unigrpo bench NAME``: the measurements that a user runs on a machine of their own."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from cluster import console
from rl.errors import ConfigError

app = typer.Typer(
    help="Side-by-side measurements on this machine.",
    epilog="Example: unigrpo bench rollout --out rollout.json",
    context_settings={"help_option_names": ["-h", "--help"]},
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)


@app.command()
def rollout(
    out: Annotated[Path, typer.Option(help="Where the JSON goes.")] = Path("bench-rollout.json"),
    repeats: Annotated[int, typer.Option(min=1, help="Turns of each side; medians are reported.")] = 5,
    vocabulary: Annotated[list[int] | None, typer.Option(min=2048, help="Default: 4096 and 32768.")] = None,
    group: Annotated[list[int] | None, typer.Option(min=1, help="Rollouts a group of text. Default: 1 and 8.")] = None,
    case: Annotated[list[str] | None, typer.Option(help="text, image, cached or block. Default: all.")] = None,
) -> None:
    """Samplers against the plain algorithms, with and without caches: same random weights, one thread, taking turns."""

    def body() -> Mapping[str, Any]:
        from benchmarks.speed.rollout import CASES, GROUPS, VOCABULARIES, run

        _require_names("--case", case or (), CASES)
        return run(repeats, vocabularies=vocabulary or VOCABULARIES, groups=group or GROUPS, only=case or CASES)

    measure(out, body)


@app.command()
def learner(
    out: Annotated[Path, typer.Option(help="Where the JSON goes.")] = Path("bench-learner.json"),
    repeats: Annotated[int, typer.Option(min=1, help="Turns of each side; medians are reported.")] = 5,
    vocabulary: Annotated[list[int] | None, typer.Option(min=2048, help="Default: 4096 and 32768.")] = None,
) -> None:
    """The learner against the plain full-logits loss: same random weights and masks, one thread, taking turns."""

    def body() -> Mapping[str, Any]:
        from benchmarks.speed.learner import VOCABULARIES, run

        return run(repeats, vocabularies=vocabulary or VOCABULARIES)

    measure(out, body)


@app.command()
def estimators(
    out: Annotated[Path, typer.Option(help="Where the JSON goes.")] = Path("bench-estimators.json"),
    plot: Annotated[Path | None, typer.Option(help="Where a plot goes (.png).")] = None,
    policy: Annotated[str, typer.Option(help="A policy folder, or a shipped policy's name.")] = "tiny",
    prompts: Annotated[int, typer.Option(min=1, help="Prompts of text, and as many of images.")] = 2,
    draws: Annotated[int, typer.Option(min=2, help="Estimates of each kind.")] = 16,
    passes: Annotated[int, typer.Option(min=6, help="Forward passes of one estimate; a multiple of 6.")] = 6,
) -> None:
    """Bias and variance of every likelihood estimator, and of its policy gradient, at equal forward passes."""

    def body() -> Mapping[str, Any]:
        if plot is not None:
            _require_folder("--plot", plot)
        if passes % 6:
            raise ConfigError(f"--passes {passes}: must be a multiple of 6, since masks come in pairs and in threes")
        from benchmarks.learning import estimators as bench

        result = bench.run(prompts, passes=passes, draws=draws, policy=policy)
        for modality in ("text", "image"):
            print(f"\n{modality}\n\n{bench.table(result, modality)}")
        if plot is not None:
            bench.plot(result, plot)
        return result

    measure(out, body)


@app.command()
def forward(
    out: Annotated[Path, typer.Option(help="Where the JSON goes.")] = Path("bench-forward.json"),
    repeats: Annotated[int, typer.Option(min=1, help="Turns of each side; medians are reported.")] = 5,
    vocabulary: Annotated[list[int] | None, typer.Option(min=2048, help="Default: 4096.")] = None,
) -> None:
    """A forward pass against the plain matrix products in it, and where the rest of its time goes."""

    def body() -> Mapping[str, Any]:
        from benchmarks.speed.forward import run

        return run(repeats, vocabularies=vocabulary or (4096,))

    measure(out, body)


@app.command()
def scale(
    out: Annotated[Path, typer.Option(help="Where the JSON goes.")] = Path("bench-scale.json"),
    workers: Annotated[list[int] | None, typer.Option(min=1, help="Default: 1, 4, 16, 64, 256 and 1024.")] = None,
    seconds: Annotated[float, typer.Option(min=0.01, help="Seconds that a group takes to sample.")] = 10.0,
    groups: Annotated[int, typer.Option(min=1, help="Groups that a worker samples in a step.")] = 4,
    steps: Annotated[int, typer.Option(min=2, help="Steps; the first is a warm-up.")] = 2,
) -> None:
    """The real loop, scheduler and Ray over simulated workers that sleep: how far one controller goes."""

    def body() -> Mapping[str, Any]:
        from benchmarks.speed.scale import COUNTS, Shape, run

        return run(workers or COUNTS, Shape(seconds=seconds, groups=groups, steps=steps))

    measure(out, body)


@app.command(name="all")
def whole(
    out: Annotated[Path, typer.Option(help="Where the JSON goes; a table goes beside it (.md).")] = Path("bench.json"),
    only: Annotated[list[str] | None, typer.Option(help="loop, starts, memory or ratios. Default: all.")] = None,
    steps: Annotated[int, typer.Option(min=3, help="Steps of each side of the whole loop.")] = 24,
    repeats: Annotated[int, typer.Option(min=1, help="Turns of each side of a ratio.")] = 3,
) -> None:
    """The whole loop against what a user would pick instead, its start, its memory, and all ratios: under 30 minutes."""

    def checked() -> int:
        from benchmarks.bench.whole import PARTS, run

        _require_folder("--out", out)
        _require_names("--only", only or (), PARTS)
        found = run(out, only or PARTS, steps=steps, repeats=repeats)
        print(out)
        return int(any("failed" in part for part in found["parts"].values()))

    console.run(checked)


@app.command()
def quick(
    out: Annotated[Path, typer.Option(help="Where the JSON goes.")] = Path("bench-quick.json"),
    repeats: Annotated[int, typer.Option(min=1, help="Turns of each side.")] = 3,
    keep: Annotated[int, typer.Option(min=0, help="Measure so often, and commit what was seen as the spread.")] = 0,
) -> None:
    """Ratios in 3 minutes, and a warning for each that left the committed spread."""

    def body() -> Mapping[str, Any]:
        from benchmarks.bench import whole

        if keep:
            results = [whole.quick(repeats)[0] for _ in range(keep)]
            whole.keep_spread(results)
            return results[-1]
        result, warnings = whole.quick(repeats)
        print(whole.table(result["rows"]))
        for line in warnings:
            print(f"warning: {line}", file=sys.stderr)
        return {**result, "warnings": warnings}

    measure(out, body)


def measure(out: Path, body: Callable[[], Mapping[str, Any]]) -> None:
    """Run a measurement and write its JSON. A file that cannot be written is found before it: it takes minutes."""

    def checked() -> int:
        _require_folder("--out", out)
        out.write_text(json.dumps(body(), indent=2) + "\n", encoding="utf-8")
        print(out)
        return console.OK

    console.run(checked)


def _require_folder(option: str, path: Path) -> None:
    if not path.parent.is_dir():
        raise ConfigError(f"{option} {path}: no such folder: {path.parent}; make it first")


def _require_names(option: str, names: Sequence[str], allowed: Sequence[str]) -> None:
    for name in names:
        if name not in allowed:
            raise ConfigError(f"{option} {name}: allowed: {', '.join(allowed)}")


if __name__ == "__main__":
    app(prog_name="unigrpo bench")
