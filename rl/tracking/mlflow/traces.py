"""Groups of rollouts as traces: what was asked, what each member answered, how each reward judged it, what it was worth.

Pure: the same group gives the same trace, wherever and whenever. Ids, which are its run's, come when it is written.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from rl.tracking.mlflow import shown
from rl.tracking.mlflow.events import Trace
from rl.types import Group, Rollout, RolloutStatus, Score, ScoreStatus

SIDE = 192  # pixels that a picture has at least on the page
MOST_MEMBERS = 64
MOST_TOKENS = 2048  # of a step map
ROOT, SAMPLING, REWARDS, ADVANTAGES = "group", "sampling", "rewards", "advantages"


def choose(groups: Sequence[Group], count: int, seed: int, step: int) -> list[int]:
    """Which groups of a step are traced: by the run's seed, the step and the prompt alone, so that a resumed run picks the
    same ones, whatever order they come in. Indices, rising."""

    def rank(index: int) -> tuple[bytes, int]:
        name = f"{seed}/{step}/{groups[index].prompt.id}"
        return hashlib.sha256(name.encode("utf-8", "surrogatepass")).digest(), index

    return sorted(sorted(range(len(groups)), key=rank)[:count])


def choose_of_each_task(groups: Sequence[Group], count: int, seed: int) -> list[int]:
    """Which held-out prompts are traced at every evaluation: ``count`` of each task, so that texts leave no drawing out. Those
    without rollouts, which an evaluation does not keep, are passed over. Indices, rising."""
    by_task: dict[str, list[int]] = {}
    for index, group in enumerate(groups):
        if group.rollouts:
            by_task.setdefault(str(group.prompt.task), []).append(index)
    found: list[int] = []
    for indices in by_task.values():
        found += [indices[each] for each in choose([groups[index] for index in indices], count, seed, -1)]
    return sorted(found)


def trace(
    group: Group, step: int, name: str, advantages: Sequence[float] | None, sampled_s: float, ended_ms: int
) -> Trace:
    """One group's trace.

    advantages  of each member; None where nothing is learned from them, as in an evaluation
    sampled_s   seconds in which the whole batch was sampled: no member has a clock of its own
    ended_ms    when it was whole, since 1970
    """
    pictures: dict[str, bytes] = {}
    members = list(zip(group.rollouts, group.scores, strict=False))[:MOST_MEMBERS]
    judged_s = max((score.seconds for _, score in members), default=0.0)
    began = ended_ms - int(1000 * (sampled_s + judged_s))
    judged = ended_ms - int(1000 * judged_s)
    prompt = group.prompt
    asked: dict[str, Any] = {"prompt": shown.asked(prompt)}
    if (picture := shown.prompt_png(prompt, SIDE)) is not None:
        pictures["prompt"] = picture
        asked["picture"] = shown.picture_cell("prompt")
    if prompt.reference is not None:
        asked["reference"] = shown.text(prompt.reference, 2000)
    spans = [
        _span(ROOT, None, _title(group, step, name), "CHAIN", (began, ended_ms), asked, _outcome(members)),
        _span(SAMPLING, ROOT, "sampling", "CHAIN", (began, judged), {"members": len(group.rollouts)}, None),
        *(_rollout(rollout, score, (began, judged), pictures) for rollout, score in members),
        _span(REWARDS, ROOT, "rewards", "EVALUATOR", (judged, ended_ms), None, None),
        *_rewards(members, judged),
    ]
    if advantages is not None:
        worth = {str(r.index): shown.number(a) for (r, _), a in zip(members, advantages, strict=False)}
        spans.append(_span(ADVANTAGES, ROOT, "advantages", "UNKNOWN", (ended_ms, ended_ms), None, worth))
    body = {
        "title": _title(group, step, name),
        "time_ms": began,
        "duration_ms": ended_ms - began,
        "request": shown.line(asked["prompt"], 900),
        "response": shown.line(_best(members), 900),
        "spans": spans,
        "feedback": list(_feedback(members)),
        "tags": {
            "step": str(step),
            "set": name,
            "task": str(prompt.task),
            "source": shown.line(prompt.source, 200),
            "prompt_id": shown.line(prompt.id, 200),
            "weight_version": str(max((r.weight_version for r, _ in members), default=0)),
        },
    }
    return Trace(step, name, prompt.id, body, pictures)


def _title(group: Group, step: int, name: str) -> str:
    return shown.line(f"{name} step {step}: {group.prompt.id}", 120)


def _span(
    key: str, parent: str | None, name: str, kind: str, times: tuple[int, int], inputs: Any, outputs: Any, **more: Any
) -> dict[str, Any]:
    return {
        "key": key,
        "parent": parent,
        "name": name,
        "type": kind,
        "times_ms": list(times),
        "inputs": inputs,
        "outputs": outputs,
        "attributes": more,
    }


def _rollout(rollout: Rollout, score: Score, times: tuple[int, int], pictures: dict[str, bytes]) -> dict[str, Any]:
    key = _member(rollout)
    response, steps = rollout.step_map[rollout.response_mask], _steps(rollout)
    answer: dict[str, Any] = {"text": shown.text(rollout.text)} if rollout.text or rollout.image is None else {}
    if rollout.image is not None:
        pictures[key] = shown.png(rollout.image, SIDE)
        answer["picture"] = shown.picture_cell(key)
    answer["score"] = shown.value_of(score)
    return _span(
        *(key, SAMPLING, f"rollout {rollout.index}", "LLM", times),
        {"seed": rollout.seed, "weight_version": rollout.weight_version},
        answer,
        tokens=len(response),
        denoising_steps=int(np.unique(response[response >= 0]).size),
        seed=rollout.seed,
        weight_version=rollout.weight_version,
        status=str(rollout.status),
        step_map=" ".join(map(str, steps[:MOST_TOKENS].tolist())),
        **({"given": len(steps) - len(response)} if len(steps) > len(response) else {}),
        warning="ran out of canvas" if rollout.status is RolloutStatus.TRUNCATED else "",
    )


def _steps(rollout: Rollout) -> np.ndarray:
    """The denoising step of each token of the response, -1 where a hint gave it."""
    if not rollout.spans:
        return rollout.step_map[rollout.response_mask]
    return np.concatenate([rollout.step_map[span.start : span.stop] for span in rollout.spans])


def _rewards(members: Sequence[tuple[Rollout, Score]], began: int) -> Iterator[dict[str, Any]]:
    names = dict.fromkeys(name for _, score in members for name in (score.calls or score.parts))
    for name in names:
        rows = [_judgement(rollout, score, name) for rollout, score in members]
        seconds = max((row["seconds"] or 0.0 for row in rows), default=0.0)
        failed = [row for row in rows if row["status"] not in (ScoreStatus.OK, ScoreStatus.WRONG_FORMAT)]
        times = (began, began + int(1000 * seconds))
        yield _span(
            f"reward {shown.line(name, 200)}",
            REWARDS,
            shown.line(name, 200),
            "EVALUATOR",
            times,
            None,
            rows,
            failed=len(failed),
        )


def _judgement(rollout: Rollout, score: Score, name: str) -> dict[str, Any]:
    call, value = score.calls.get(name), score.parts.get(name)
    status = score.status if call is None else call.status
    return {
        "member": rollout.index,
        "value": None if value is None else shown.number(value),
        "status": str(status),
        "seconds": None if call is None else round(call.seconds, 4),
        "detail": _detail(score, name),
    }


def _detail(score: Score, name: str) -> str:
    """A mix puts the name of the reward at fault in front."""
    owner = next((each for each in score.calls if score.detail.startswith(f"{each}: ")), name)
    return shown.line(score.detail) if owner == name else ""


def _feedback(members: Sequence[tuple[Rollout, Score]]) -> Iterator[dict[str, Any]]:
    """One a member and reward, under the reward's name; a reward that failed has an error and no value."""
    for rollout, score in members:
        span, common = _member(rollout), {"member": str(rollout.index)}
        for name, value in score.parts.items():
            if (finite := shown.number(value)) is not None:
                yield {"name": shown.line(name, 200), "span": span, "value": finite, "metadata": common}
        for name, call in score.calls.items():
            if call.status not in (ScoreStatus.OK, ScoreStatus.WRONG_FORMAT):
                said = {"error": str(call.status), "detail": _detail(score, name)}
                yield {"name": shown.line(name, 200), "span": span, "value": None, "metadata": common, **said}
        total = shown.value_of(score)
        failed = {"error": str(score.status), "detail": shown.line(score.detail)} if total is None else {}
        yield {"name": "score", "span": span, "value": total, "metadata": common, **failed}


def _member(rollout: Rollout) -> str:
    return f"rollout {rollout.index}"


def _outcome(members: Sequence[tuple[Rollout, Score]]) -> dict[str, Any]:
    return {"scores": [shown.value_of(score) for _, score in members], "best": shown.text(_best(members), 2000)}


def _best(members: Sequence[tuple[Rollout, Score]]) -> str:
    usable = [(score.value, -rollout.index, rollout) for rollout, score in members if score.usable]
    if not usable:
        return "no member could be scored"
    value, _, rollout = max(usable, key=lambda each: each[:2])
    said = rollout.text or "a picture"
    return f"[best of {len(members)}: {value:.3g}] {said}"
