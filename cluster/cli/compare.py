"""``unigrpo compare A B``: two evaluations of the same prompts, paired."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from cluster import console


def register(app: typer.Typer) -> None:
    app.command("compare")(compare)


def compare(
    first: Annotated[Path, typer.Argument(metavar="A", help="The folder of an evaluation (unigrpo eval).")],
    second: Annotated[Path, typer.Argument(metavar="B", help="Another one, of the same prompts.")],
    as_json: Annotated[
        bool, typer.Option("--json", help="Print JSON: tests, and the prompts that changed sides.")
    ] = False,
    out: Annotated[Path | None, typer.Option(help="Also write the JSON to a file.")] = None,
    mlflow: Annotated[
        bool, typer.Option("--mlflow/--no-mlflow", help="Log it beside the evaluations, where both are in MLflow.")
    ] = True,
    changed: Annotated[int, typer.Option(min=0, help="How many prompts that changed sides are printed.")] = 20,
) -> None:
    """Whether B is better than A: prompt by prompt, with McNemar's test for right or wrong, a bootstrap otherwise."""

    def body() -> int:
        import json

        from cluster.evaluate.compare import compared, require_writable, show, warnings

        if out is not None:
            require_writable(out)
        found = compared(first, second)
        for line in warnings(found):
            console.say(f"warning: {line}")
        text = json.dumps(found, indent=2, ensure_ascii=False)
        if out is not None:
            out.write_text(text + "\n", "utf-8")
        if as_json:
            console.show(text)
        else:
            show(found, changed)
        if mlflow:
            from cluster.evaluate.comparison import log_comparison

            if (line := log_comparison(found, first, second)) is not None:
                console.say(line)
        return console.OK

    console.run(body)
