"""The command ``unigrpo doctor``: a line for each check as it ends, or all of them as JSON."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from rich.console import Console

from cluster import console
from cluster.doctor.case import Case, Machine
from cluster.doctor.check import Check, Result, State, examine
from cluster.doctor.registry import MACHINE, POLICY
from cluster.plan.family import family_layer
from rl.config import Config, Layer, Origin, layers_of, load_config, merge, settings_given
from rl.output.printable import plain, said
from rl.output.tables import Screen

STYLES = {State.OK: "green", State.RED: "bold red", State.SKIPPED: "dim"}
_WIDTH = 9  # of a state and a blank


def doctor(overrides: Sequence[str], policy: str | None, recipe: str | None, out: Path | None, as_json: bool) -> int:
    """0, or 2 where a check is red. Raises ConfigError for settings that make no sense."""
    if policy is None:
        results = _examined(MACHINE, Machine(load_config(recipe or "tiny", overrides)), as_json)
    else:
        config = config_of(policy, recipe, overrides)
        typed = settings_given(recipe, overrides)
        results = _examined(POLICY, case_of(config, policy, recipe, out, typed), as_json)
    counts = Counter(result.state for result in results)
    if as_json:
        print(json.dumps({"ok": not counts[State.RED], "checks": [_as_json(each) for each in results]}, indent=2))
    else:
        console.show(", ".join(f"{count} {state}" for state, count in sorted(counts.items())))
    return console.REFUSED if counts[State.RED] else console.OK


def config_of(policy: str, recipe: str | None, overrides: Sequence[str]) -> Config:
    """Settings of recipe and user over the card of the policy's family, as a run has them. Raises ConfigError."""
    asked = Layer(f"--policy {policy}", Origin.OVERRIDE, {"policy": {"path": policy}})
    layers = [*layers_of(recipe, overrides), asked]
    card = family_layer(layers)
    return merge(layers if card is None else [card, *layers])


def case_of(
    config: Config, policy: str, recipe: str | None, out: Path | None, typed: frozenset[str] | set[str]
) -> Case:
    """On a GPU in bfloat16 where there is one, on the CPU in float32 where there is none, unless settings say otherwise.

    typed: the settings that the recipe or the user gives
    """
    config = replace(config, policy=replace(config.policy, path=policy))
    device, dtype = config.policy.device, config.policy.dtype
    if "policy.device" not in typed or device == "auto":
        device = "cuda" if _sees_gpu() else "cpu"
    if "policy.dtype" not in typed or dtype == "auto":
        dtype = "bfloat16" if device.startswith("cuda") else "float32"
    return Case(policy, config, device, dtype, out or Path(config.output_dir) / "doctor", recipe)


def _sees_gpu() -> bool:
    import torch

    return torch.cuda.is_available()


def _examined(checks: Sequence[Check[Any]], case: Any, as_json: bool) -> list[Result]:
    """Progress goes to stderr where stdout is a program's."""
    screen = Screen(stderr=as_json)
    width = max(len(check.name) for check in checks)
    results = []
    with _progress(screen, len(checks)) as begin:
        for result in examine(checks, case, begin):
            results.append(result)
            if not as_json:
                _tell(screen, result, width)
    return results


@contextmanager
def _progress(screen: Console, count: int) -> Iterator[Any]:
    """What is being checked: a line that moves on a terminal, plain lines on stderr elsewhere."""
    begun = 0
    if screen.is_terminal:
        with screen.status("") as status:

            def show(name: str) -> None:
                nonlocal begun
                begun += 1
                status.update(plain(f"{begun} of {count}: {name}"))

            yield show
        return

    def say(name: str) -> None:
        nonlocal begun
        begun += 1
        console.say(f"checking {begun} of {count}: {name}")

    yield say


def _tell(screen: Console, result: Result, width: int) -> None:
    head = plain(
        f"{result.state.upper() if result.state is State.RED else result.state:{_WIDTH}}", style=STYLES[result.state]
    )
    text = result.found + (f"; remedy: {result.remedy}" if result.remedy else "")
    line = plain(f"{result.name:{width}}  {text}", style="dim" if result.state is State.SKIPPED else "")
    screen.print(head + line, highlight=False, soft_wrap=True)


def _as_json(result: Result) -> dict[str, Any]:
    """Without secrets; numbers as they were found."""
    words = {"name": result.name, "state": str(result.state), "found": result.found, "remedy": result.remedy}
    safe = {key: said(value) for key, value in words.items()}
    numbers = {key: said(value) if isinstance(value, str) else value for key, value in result.data.items()}
    return {**safe, "seconds": round(result.seconds, 3), "data": numbers}
