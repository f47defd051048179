"""The command line, and the one place where a run is put together."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from cluster import console
from cluster.cli import compare, config, evaluate, jobs, report, status
from cluster.cli.data import data

app = typer.Typer(
    help="UniGRPO: reinforcement learning for masked-diffusion models that reason, see and draw.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
SETTINGS = (
    "KEY=VALUE changes one setting of the recipe, e.g. steps=500 rollout.n_samples_per_prompt=8. `unigrpo config` shows all of "
    "them with what they mean and where their values come from"
)
AS_YAML = f"{SETTINGS}; --settings prints them as YAML."
# Command -> what somebody may paste. The last line of a command's help; tests hold that its words exist.
EXAMPLES = {
    "train": "unigrpo train --recipe tiny name=first steps=20",
    "sft": "unigrpo sft --recipe tiny_sft sft.steps=200",
    "generate": "unigrpo generate 'a red circle' --task draw --out circle.png",
    "export": "unigrpo export runs/tiny --out tuned --best val/text/score",
    "doctor": "unigrpo doctor --policy GSAI-ML/LLaDA-8B-Instruct",
    "rewards check": "unigrpo rewards check my_reward.py:reward --rows train.jsonl",
    "rewards list": "unigrpo rewards list --verbose",
    "bench": "unigrpo bench rollout --out rollout.json",
    "plan": "unigrpo plan --recipe llada-8b-gsm8k-lora gpus=1 gpu=h100",
    "status": "unigrpo status runs/tiny",
    "config": "unigrpo config --recipe tiny learner.lr rollout.text",
    "recipes": "unigrpo recipes --json",
    "eval": "unigrpo eval --recipe tiny policy.path=runs/tiny/policy",
    "compare": "unigrpo compare runs/a-eval runs/b-eval --json",
    "report": "unigrpo report runs/a runs/b --out comparison.html",
    "submit": "unigrpo submit --address http://head:8265 --recipe my.yaml",
    "jobs list": "unigrpo jobs list --address http://head:8265",
    "jobs status": "unigrpo jobs status JOB --address http://head:8265",
    "jobs stop": "unigrpo jobs stop JOB --address http://head:8265",
    "jobs logs": "unigrpo jobs logs JOB --follow --address http://head:8265",
    "manifest kuberay": "unigrpo manifest kuberay --image registry/unigrpo:1 --claim runs:/data --recipe my.yaml",
    "manifest slurm": "unigrpo manifest slurm --recipe my.yaml --gpus-per-node 8",
    "data list": "unigrpo data list",
    "data show": "unigrpo data show train.jsonl --n 2",
}


def _version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        typer.echo(f"unigrpo {version('unigrpo')}")
        raise typer.Exit


@app.callback()
def every_command(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version, and end.")
    ] = False,
) -> None:
    """UniGRPO: reinforcement learning for masked-diffusion models that reason, see and draw."""


Recipe = Annotated[str, typer.Option(help="A shipped recipe's name, or the path of a .yaml file.")]
Overrides = Annotated[list[str] | None, typer.Argument(metavar="KEY=VALUE...", help="Settings that differ.")]
Settings = Annotated[bool, typer.Option("--settings", help="Print every setting with its value, and end.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Check everything, print what would run, and end.")]


@app.command(epilog=AS_YAML)
def train(
    overrides: Overrides = None, recipe: Recipe = "tiny", settings: Settings = False, dry_run: DryRun = False
) -> None:
    """Post-train a policy with UniGRPO on all tasks of the recipe; resumes a run that was cut off."""

    def body() -> int:
        from cluster.cli import runs

        if settings:
            return runs.show_settings(recipe, overrides or [])
        return runs.train(recipe, overrides or [], dry_run)

    console.run(body)


@app.command(epilog=AS_YAML)
def sft(
    overrides: Overrides = None, recipe: Recipe = "tiny_sft", settings: Settings = False, dry_run: DryRun = False
) -> None:
    """Mixed Long-CoT fine-tuning: the cold start before reinforcement learning."""

    def body() -> int:
        from cluster.cli import runs

        if settings:
            return runs.show_settings(recipe, overrides or [])
        return runs.sft(recipe, overrides or [], dry_run)

    console.run(body)


@app.command(epilog=f"{SETTINGS}.")
def generate(
    prompt: Annotated[str | None, typer.Argument(help="The question, or the caption to draw.")] = None,
    overrides: Overrides = None,
    recipe: Recipe = "tiny",
    prompts: Annotated[
        Path | None, typer.Option(help="Answer a file of rows instead (.jsonl, .json, .parquet) into --out FILE.jsonl.")
    ] = None,
    task: Annotated[str | None, typer.Option(help="text (the default), understand, draw or think_draw.")] = None,
    image: Annotated[Path | None, typer.Option(help="The image to look at (task understand).")] = None,
    out: Annotated[
        Path | None,
        typer.Option(help="Where a drawing goes (default: drawing.png; several are numbered), or all answers."),
    ] = None,
    n: Annotated[int, typer.Option(min=1, help="How many samples.")] = 1,
    given: Annotated[
        str | None, typer.Option(help="What is known of the answer: text with [mask:N] holes, or a picture (draw).")
    ] = None,
    mask: Annotated[Path | None, typer.Option(help="White where the given picture is drawn anew (draw).")] = None,
    trace: Annotated[Path | None, typer.Option(help="Write an HTML page that plays the denoising.")] = None,
) -> None:
    """Answer one prompt, draw it, or fill in what is missing of an answer or a picture; or answer a file of rows.

    Sampling settings are those of evaluation.{task}; seed=N gives other noise. With --prompts, the same command goes on
    where an earlier one was cut off.
    """

    def body() -> int:
        from cluster.cli import generate

        settings = overrides or []
        if prompts is not None:
            words = settings if prompt is None else [prompt, *settings]
            generate.check_alone(words, {"--image": image, "--given": given, "--mask": mask, "--trace": trace}, out)
            from cluster.evaluate.answers import FileRequest, answer_file

            return answer_file(recipe, words, FileRequest(prompts, out or Path(), task, n))
        generate.check_out(out, task or "text")
        request = generate.Request(
            prompt or "", task or "text", image, out or Path("drawing.png"), n, given, mask, trace
        )
        return generate.generate(recipe, settings, request)

    console.run(body)


@app.command()
def export(
    source: Annotated[Path, typer.Argument(metavar="RUN_OR_CHECKPOINT", help="A run's folder, or a global_step_N.")],
    out: Annotated[Path, typer.Option(help="The folder to write: new, or empty.")],
    best: Annotated[
        str | None, typer.Option(help="The best checkpoint by this held-out metric, e.g. val/text/score.")
    ] = None,
    mode: Annotated[str, typer.Option(help="Whether max or min of that metric is best.")] = "max",
    dtype: Annotated[str | None, typer.Option(help="float32, bfloat16 or float16; default: as it was trained.")] = None,
    adapter: Annotated[bool, typer.Option("--adapter", help="A LoRA adapter alone, in PEFT's format.")] = False,
) -> None:
    """Write a trained policy in its family's own format: safetensors with the original names, config and tokenizers."""

    def body() -> int:
        from cluster.cli.export import export as run

        return run(source, out, best, mode, dtype, adapter)

    console.run(body)


@app.command(epilog=f"{SETTINGS}.")
def doctor(
    overrides: Overrides = None,
    policy: Annotated[
        str | None, typer.Option(help="Examine this policy: a folder, or a name as policy.path takes it.")
    ] = None,
    recipe: Annotated[str | None, typer.Option(help="Whose memory is planned, and whose cluster is asked.")] = None,
    out: Annotated[Path | None, typer.Option(help="Where pictures go; default: OUTPUT_DIR/doctor.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON, progress on stderr.")] = False,
) -> None:
    """What this machine has; with --policy: whether that policy is whole, samples and learns here. Exit 2 when red."""

    def body() -> int:
        from cluster.cli.doctor import doctor as run

        return run(overrides or [], policy, recipe, out, as_json)

    console.run(body)


rewards_app = typer.Typer(help="Reward functions.", no_args_is_help=True)
app.add_typer(rewards_app, name="rewards")


@rewards_app.command("check")
def rewards_check(
    spec: Annotated[
        str,
        typer.Argument(metavar="FILE.py:FUNCTION|NAME", help="Your function, or a reward's name."),
    ],
    kwargs: Annotated[
        list[str] | None,
        typer.Argument(metavar="KEY=VALUE...", help="reward_kwargs, or settings."),
    ] = None,
    recipe: Recipe = "tiny",
    rows: Annotated[Path | None, typer.Option(help="Your own rows (.jsonl or .parquet) instead of samples.")] = None,
    deadline: Annotated[float, typer.Option(min=0.1, help="Seconds for all checks.")] = 30.0,
    memory_mb: Annotated[
        int | None, typer.Option(min=64, help="Address space of the function, MiB; as in a run, none unless given.")
    ] = None,
) -> None:
    """Run a reward on sample rows: signature, each row's score, determinism, threads, and what a step would cost."""

    def body() -> int:
        from cluster.cli.rewards_check import check

        return check(spec, recipe, rows, deadline, memory_mb, kwargs or [])

    console.run(body)


@rewards_app.command("list")
def rewards_list(
    verbose: Annotated[bool, typer.Option("--verbose", help="Also each reward's value and settings.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON: names, values and settings.")] = False,
) -> None:
    """Names that a mix may use; installed packages add theirs under the entry point group unigrpo.rewards."""

    def body() -> int:
        from rewards.reference import as_data, listing

        typer.echo(json.dumps(as_data(), indent=2) if as_json else listing(verbose))
        return console.OK

    console.run(body)


@app.command(context_settings={"allow_extra_args": True, "ignore_unknown_options": True}, add_help_option=False)
def bench(context: typer.Context) -> None:
    """Measure this machine: all, quick, rollout, learner, estimators, forward or scale, then options. Needs a checkout."""

    def body() -> int:
        from cluster.cli.bench import run

        return run(context.args, context.get_help)

    console.run(body)


@app.command(epilog=f"{SETTINGS}.")
def plan(
    words: Annotated[
        list[str] | None, typer.Argument(metavar="KEY=VALUE...", help="gpus=64 gpu=h100, and settings that differ.")
    ] = None,
    recipe: Recipe = "tiny",
    calibration: Annotated[Path | None, typer.Option(help="What plan --calibrate wrote on such a GPU.")] = None,
    calibrate: Annotated[Path | None, typer.Option(help="Measure this machine's device into a file, and end.")] = None,
    device: Annotated[str, typer.Option(help="What --calibrate measures.")] = "cuda",
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON: bytes and seconds.")] = False,
) -> None:
    """Whether a run fits on a GPU, and how long its steps take: memory and seconds by part, from sizes alone."""

    def body() -> int:
        from cluster.cli import plan

        if calibrate is not None:
            return plan.calibrate(calibrate, device)
        return plan.plan(recipe, words or [], calibration, as_json)

    console.run(body)


status.register(app)
config.register(app)
evaluate.register(app, AS_YAML)
compare.register(app)
report.register(app)
app.command("submit", epilog=f"{SETTINGS}.")(jobs.submit)
app.add_typer(jobs.jobs, name="jobs")
app.add_typer(jobs.manifest, name="manifest")
app.add_typer(data, name="data")


def _with_examples(group: typer.Typer, path: str = "") -> None:
    """Each command's help ends with an example."""
    for command in group.registered_commands:
        name = command.name or str(getattr(command.callback, "__name__", ""))
        example = f"Example: {EXAMPLES[f'{path}{name}']}"
        command.epilog = f"{command.epilog}\n\n{example}" if command.epilog else example
    for child in group.registered_groups:
        if child.typer_instance is not None:
            _with_examples(child.typer_instance, f"{path}{child.name} ")


_with_examples(app)
console.once(app, rewards_app, jobs.jobs, jobs.manifest, data)


def main() -> None:
    app()


if __name__ == "__main__":
    main()
