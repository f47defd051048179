"""The answers that another harness judged, judged by our own verifier: where the two differ."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from rewards.math.verify import verify_math
from rl.data.references import read_answer


@dataclass(frozen=True, slots=True)
class Verdict:
    """One answer. theirs: metric -> 0 or 1. ours: None where our verifier came to none."""

    id: str
    response: str
    reference: str
    theirs: dict[str, float]
    ours: float | None

    @property
    def differs(self) -> bool:
        return self.ours is not None and any(value != self.ours for value in self.theirs.values())

    def row(self) -> dict[str, Any]:
        return asdict(self)


def verdicts(samples: Iterable[Mapping[str, Any]], task: str) -> list[Verdict]:
    """Of one task's logged samples, several a document where it has several filters.

    Only answers in words whose target is one text, and which the harness calls right or wrong, can be compared.
    """
    found: dict[int, Verdict] = {}
    for sample in samples:
        response, target = sample["resps"][0][0], sample["target"]
        theirs = {f"{name},{sample['filter']}": sample[name] for name in sample["metrics"]}
        right = {name: float(value) for name, value in theirs.items() if value in (0, 1)}
        if not (isinstance(response, str) and isinstance(target, str) and right):
            continue
        number = int(sample["doc_id"])
        if number in found:
            found[number].theirs.update(right)
            continue
        reference = read_answer(task, {"answer": target}, None).reference or target
        score = verify_math(response, reference)
        found[number] = Verdict(f"{task}/{number}", response, reference, right, score.value if score.usable else None)
    return list(found.values())


def agreement(found: Iterable[Verdict]) -> dict[str, Any]:
    """How many each calls right: ``{"n": 20, "ours": 3, "exact_match,strict-match": {"right": 2, "differs": 1}}``."""
    judged = [verdict for verdict in found if verdict.ours is not None]
    names = dict.fromkeys(name for verdict in judged for name in verdict.theirs)
    by_metric = {
        name: {
            "right": sum(verdict.theirs.get(name) == 1.0 for verdict in judged),
            "differs": sum(verdict.theirs.get(name, verdict.ours) != verdict.ours for verdict in judged),
        }
        for name in names
    }
    return {"n": len(judged), "ours": sum(verdict.ours == 1.0 for verdict in judged), **by_metric}
