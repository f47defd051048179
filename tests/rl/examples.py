"""Small groups made by hand, for what only looks at results."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from rl.types import Group, Message, Prompt, Rollout, RolloutStatus, Score, ScoreStatus, Task


def score(value: float, status: ScoreStatus = ScoreStatus.OK, **parts: float) -> Score:
    return Score(value, status, parts)


def failed(status: ScoreStatus = ScoreStatus.TIMEOUT) -> Score:
    return Score(float("nan"), status, detail="ran into its deadline")


def text_group(
    name: str, *scores: Score, task: Task = Task.TEXT, source: str = "sums", text: str = "<think>1+1=2</think>2"
) -> Group:
    prompt = Prompt(f"{source}/{name}", task, (Message("user", "1 + 1 ="),), reference="2", source=source)
    return _group(prompt, scores, text=text)


def draw_group(name: str, *scores: Score, colour: tuple[int, int, int] = (255, 0, 0)) -> Group:
    caption = f"a coloured square, number {name}"
    prompt = Prompt(f"scenes/{name}", Task.DRAW, (Message("user", caption),), reference=caption, source="scenes")
    return _group(prompt, scores, image=np.full((8, 8, 3), colour, np.uint8))


def _group(prompt: Prompt, scores: tuple[Score, ...], text: str = "", image: np.ndarray | None = None) -> Group:
    rollouts = tuple(
        Rollout(
            prompt_id=prompt.id,
            index=index,
            token_ids=np.array([1, 2], np.int64),
            response_mask=np.array([False, True]),
            step_map=np.array([-1, 0], np.int32),
            seed=index,
            weight_version=0,
            status=RolloutStatus.COMPLETE,
            text=text,
            image=image,
        )
        for index in range(len(scores))
    )
    return Group(prompt, rollouts, scores)


class Recorder:
    """A tracker that keeps what it is told."""

    def __init__(self) -> None:
        self.logged: dict[int, dict[str, float]] = {}
        self.shown: list[tuple[int, str]] = []
        self.ended: list[str] = []

    def log(self, step: int, metrics: Mapping[str, float]) -> None:
        self.logged.setdefault(step, {}).update(metrics)

    def samples(self, step: int, groups: Sequence[Group], name: str) -> None:
        self.shown.append((step, name))

    def rollouts(self, step: int, groups: Sequence[Group]) -> None: ...

    def phase(self, text: str) -> None: ...

    def tag(self, name: str, value: str) -> None: ...

    def close(self, status: str) -> None:
        self.ended.append(status)

    def curve(self) -> dict[int, dict[str, float]]:
        """All numbers but times."""
        timed = ("timing_s/", "perf/")
        return {s: {n: v for n, v in m.items() if not n.startswith(timed)} for s, m in self.logged.items()}
