"""``unigrpo eval``: our own suites, another harness, and folders for official scorers."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from cluster import console


def register(app: typer.Typer, settings: str) -> None:
    """settings: what the end of the help says of KEY=VALUE."""
    app.command("eval", epilog=settings)(evaluate)


def evaluate(
    overrides: Annotated[list[str] | None, typer.Argument(metavar="KEY=VALUE...", help="Settings that differ.")] = None,
    recipe: Annotated[str, typer.Option(help="A shipped recipe's name, or the path of a .yaml file.")] = "tiny",
    settings: Annotated[bool, typer.Option("--settings", help="Print every setting with its value, and end.")] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Check everything, print what would run, and end.")
    ] = False,
    layout: Annotated[
        str | None,
        typer.Option(help="Drawings as a scorer reads them. `unigrpo config evaluation.layout` lists the names."),
    ] = None,
    harness: Annotated[
        str | None, typer.Option(help="Let another harness ask and judge: lm-eval (the extra eval).")
    ] = None,
    tasks: Annotated[str | None, typer.Option(help="Of the harness: names, separated by commas.")] = None,
    limit: Annotated[float | None, typer.Option(help="Of the harness: documents a task, or a share below 1.")] = None,
    include_path: Annotated[list[Path] | None, typer.Option(help="Of the harness: a folder with task files.")] = None,
    num_fewshot: Annotated[int | None, typer.Option(min=0, help="Of the harness: examples before a question.")] = None,
    chat_template: Annotated[
        bool, typer.Option("--chat-template", help="Of the harness: ask through the policy's chat template.")
    ] = False,
    draws: Annotated[int, typer.Option(help="Of the harness: masks that a log-likelihood is the mean of.")] = 128,
) -> None:
    """Score a policy (policy.path=NAME or FOLDER, also of a run, a checkpoint or an adapter) on held-out data."""

    def body() -> int:
        from cluster.cli import runs

        words = [*(overrides or []), *([] if layout is None else [f"evaluation.layout={layout}"])]
        if settings:
            return runs.show_settings(recipe, words)
        own = {
            "--tasks": tasks, "--limit": limit, "--include-path": include_path, "--num-fewshot": num_fewshot,
            "--chat-template": chat_template,
        }  # fmt: skip
        require_harness(harness, [name for name, value in own.items() if value])
        if harness is None:
            return runs.evaluate(recipe, words, dry_run)
        from cluster.evaluate import harness as harnesses

        names = tuple(name.strip() for name in (tasks or "").split(",") if name.strip())
        asked = harnesses.Asked(names, limit, tuple(include_path or ()), num_fewshot, chat_template, draws)
        return harnesses.evaluate(recipe, words, asked, dry_run)

    console.run(body)


def require_harness(harness: str | None, given: list[str]) -> None:
    """Raises ConfigError for an unknown harness, and for its options without it."""
    from rl.errors import ConfigError

    if harness is None and given:
        raise ConfigError(
            f"{given[0]}: only with a harness: add --harness lm-eval, or set data.val and evaluation.* instead"
        )
    if harness is not None and harness != "lm-eval":
        raise ConfigError(f"--harness {harness}: allowed: lm-eval")
