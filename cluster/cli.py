"""The command line, and the one place where a run is put together."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from cluster import console

app = typer.Typer(
    help="UniGRPO: reinforcement learning for masked-diffusion models that reason, see and draw.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)

Recipe = Annotated[str, typer.Option(help="A shipped recipe's name, or the path of a .yaml file.")]
Overrides = Annotated[list[str] | None, typer.Argument(metavar="KEY=VALUE...", help="Settings that differ.")]


@app.command()
def train(overrides: Overrides = None, recipe: Recipe = "tiny") -> None:
    """Post-train a policy with UniGRPO on all tasks of the recipe; resumes a run that was cut off."""

    def body() -> int:
        from cluster import commands

        return commands.train(recipe, overrides or [])

    console.run(body)


@app.command()
def sft(overrides: Overrides = None, recipe: Recipe = "tiny_sft") -> None:
    """Mixed Long-CoT fine-tuning: the cold start before reinforcement learning."""

    def body() -> int:
        from cluster import commands

        return commands.sft(recipe, overrides or [])

    console.run(body)


@app.command("eval")
def evaluate(overrides: Overrides = None, recipe: Recipe = "tiny") -> None:
    """Score a policy (policy.path=FOLDER) on the recipe's held-out data."""

    def body() -> int:
        from cluster import commands

        return commands.evaluate(recipe, overrides or [])

    console.run(body)


@app.command()
def generate(
    prompt: Annotated[str, typer.Argument(help="The question, or the caption to draw.")],
    overrides: Overrides = None,
    recipe: Recipe = "tiny",
    task: Annotated[str, typer.Option(help="text, understand or draw.")] = "text",
    image: Annotated[Path | None, typer.Option(help="The image to look at (task understand).")] = None,
    out: Annotated[Path, typer.Option(help="Where a drawing goes; several are numbered.")] = Path("drawing.png"),
    n: Annotated[int, typer.Option(min=1, help="How many samples.")] = 1,
) -> None:
    """Answer one prompt, or draw it. Sampling settings are those of evaluation.{task}; seed=N gives other noise."""

    def body() -> int:
        from cluster.generate import generate as run

        return run(recipe, overrides or [], prompt, task=task, image=image, out=out, count=n)

    console.run(body)


@app.command()
def doctor() -> None:
    """One screen about this machine: versions, cores, memory, GPU, compiler."""

    def body() -> int:
        from rich.console import Console

        from cluster.doctor import report

        table, healthy = report()
        Console().print(table)
        return console.OK if healthy else console.CRASHED

    console.run(body)


rewards_app = typer.Typer(help="Reward functions.", no_args_is_help=True)
app.add_typer(rewards_app, name="rewards")


@rewards_app.command("check")
def rewards_check(
    spec: Annotated[str, typer.Argument(metavar="FILE.py:FUNCTION", help="The function to look at.")],
    kwargs: Annotated[list[str] | None, typer.Argument(metavar="KEY=VALUE...", help="reward_kwargs.")] = None,
    recipe: Recipe = "tiny",
    rows: Annotated[Path | None, typer.Option(help="Your own rows (.jsonl or .parquet) instead of samples.")] = None,
    deadline: Annotated[float, typer.Option(min=0.1, help="Seconds for all checks.")] = 30.0,
    memory_mb: Annotated[int, typer.Option(min=64, help="Address space of the function, MiB.")] = 2048,
) -> None:
    """Run a reward function on sample rows: signature, values, determinism, threads, and what a step would cost."""

    def body() -> int:
        from cluster.rewards_check import check

        return check(spec, recipe, rows, deadline, memory_mb, kwargs or [])

    console.run(body)


@rewards_app.command("list")
def rewards_list() -> None:
    """Names that a mix may use; installed packages add theirs under the entry point group unigrpo.rewards."""

    def body() -> int:
        from rewards.base import reward_names

        typer.echo("\n".join(reward_names()))
        return console.OK

    console.run(body)


def main() -> None:
    app()


if __name__ == "__main__":
    main()
