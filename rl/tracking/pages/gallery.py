"""One page a test set: held-out prompts down, evaluations across, each answer with its score, changed verdicts marked."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rl.tracking.metrics_file import is_number
from rl.tracking.pages.answers import Answers
from rl.tracking.pages.html import is_embedded, line, page, text

TEMPLATE = "gallery.html"
_CHANGE = 0.1  # of the spread of a set's scores: a smaller difference is no change, where scores are not right or wrong

Row = Mapping[str, Any]


def sets_of(evaluations: Sequence[Answers]) -> list[str]:
    return list(dict.fromkeys(name for each in evaluations for name in each.sets))


def gallery(name: str, evaluations: Sequence[Answers], left_out: int = 0) -> str:
    """HTML. left_out: evaluations between these that are not shown.

    Where all scores lie from 0 to 1, an answer of score 1 is right, and a verdict has changed where the evaluation before
    said otherwise. Other scores are marked where they moved by a tenth of their spread.
    """
    shown = [each for each in evaluations if each.sets.get(name)]
    rows = {str(row.get("id")): row for each in shown for row in each.sets[name]}
    columns = [{str(row.get("id")): row for row in each.sets[name]} for each in shown]
    scores = [value for column in columns for row in column.values() if (value := _score(row)) is not None]
    judge = _Judge(scores)
    lines = [_line(row, [column.get(key) for column in columns], judge) for key, row in rows.items()]
    changed = sum(has for _, has in lines)
    body = [
        f"<h1>{line(name)}: {len(rows)} held-out prompts at {_many(len(shown), 'evaluation')}</h1>",
        f"<p>{_words(judge, changed, left_out)}</p>",
        '<label><input type="checkbox" id="only"> only prompts whose answer changed sides</label>' if changed else "",
        '<div class="scroll"><table><thead><tr><th>prompt</th>',
        *(_heading(each, name) for each in shown),
        "</tr></thead><tbody>",
        *(each for each, _ in lines),
        "</tbody></table></div>",
    ]
    return page(TEMPLATE, TITLE=f"Gallery: {line(name, 100)}", BODY="\n".join(body))


class _Judge:
    """Right, wrong, and what a change is, by the scale of a set's scores."""

    def __init__(self, scores: Sequence[float]) -> None:
        self.binary = all(0 <= value <= 1 for value in scores)
        self._least = _CHANGE * (max(scores) - min(scores)) if scores else 0.0

    def verdict(self, score: float | None) -> str:
        if score is None:
            return "failed"
        return ("right" if score >= 1 else "wrong") if self.binary else "plain"

    def change(self, before: float | None, now: float | None) -> tuple[str, str]:
        """(better or worse, in words); empty where nothing changed, or one of the two was not scored."""
        if before is None or now is None:
            return "", ""
        if self.binary:
            changed = self.verdict(before) != self.verdict(now)
            words = f"now {self.verdict(now)}"
        else:
            changed, words = abs(now - before) > self._least > 0, f"{now - before:+.3g}"
        if not changed:
            return "", ""
        return ("better", f"\u25b2 {words}") if now > before else ("worse", f"\u25bc {words}")


def _line(row: Row, answers: Sequence[Row | None], judge: _Judge) -> tuple[str, bool]:
    """A table's row, and whether some verdict in it changed."""
    cells, before, changed = [], None, False
    for answer in answers:
        if answer is None:
            cells.append("<td></td>")
            continue
        side, words = judge.change(before, _score(answer))
        changed = changed or bool(side)
        before = before if _score(answer) is None else _score(answer)
        cells.append(_cell(answer, judge.verdict(_score(answer)), side, words))
    head = [_image(row.get("asked"), "the picture that the prompt shows"), _block("asked", row.get("prompt"))]
    if row.get("reference") and row.get("reference") != row.get("prompt"):
        head.append(f'<div class="small">reference: {text(row["reference"])}</div>')
    kind = "changed" if changed else "same"
    return f'<tr class="{kind}"><th scope="row">{"".join(head)}</th>{"".join(cells)}</tr>', changed


def _cell(answer: Row, verdict: str, side: str, words: str) -> str:
    inside = [_image(answer.get("picture"), "drawn"), _block("said", answer.get("text")), _scored(answer)]
    inside += [f'<div class="change">{words}</div>'] if words else []
    return f'<td class="{verdict} {side}">{"".join(inside)}</td>'


def _scored(answer: Row) -> str:
    score, parts = _score(answer), answer.get("parts")
    if score is None:
        return f'<div class="score"><b>not scored</b> {line(answer.get("detail", ""))}</div>'
    named = parts.items() if isinstance(parts, Mapping) else ()
    whole = [(name, value) for name, value in named if is_number(value) and "/" not in name]
    inside = ", ".join(f"{line(name, 100)} {value:.3g}" for name, value in whole)
    return f'<div class="score"><b>{score:.3g}</b>{f" {inside}" if inside else ""}</div>'


def _heading(answers: Answers, name: str) -> str:
    when = "before training" if answers.step == 0 else f"step {answers.step}"
    mean = answers.means.get(name)
    of = ""
    if isinstance(mean, Sequence) and len(mean) == 2 and all(map(is_number, mean)) and mean[1]:
        of = f'<span class="small">mean {mean[0]:.3g} of {mean[1]:,.0f}</span>'
    return f'<th scope="col"><b>{when}</b>{of}</th>'


def _words(judge: _Judge, changed: int, left_out: int) -> str:
    said = "Right is a score of 1." if judge.binary else "A mark shows where a score moved by a tenth of its spread."
    marks = "no answer changed sides" if not changed else f"{_many(changed, 'prompt')} changed sides, marked in colour"
    more = f" {_many(left_out, 'evaluation')} between them left out." if left_out > 0 else ""
    return f"{said} From one evaluation to the next, {marks}. The mean is of the whole test set.{more}"


def _score(row: Row) -> float | None:
    value = row.get("score")
    return float(value) if is_number(value) else None


def _image(address: object, words: str) -> str:
    return f'<img src="{address}" alt="{words}">' if is_embedded(address) else ""


def _block(kind: str, words: object) -> str:
    return f'<div class="{kind}">{text(words)}</div>' if words else ""


def _many(count: int, what: str) -> str:
    return f"{count} {what}{'' if count == 1 else 's'}"
