r"""Can an answer that is none talk a reasoning-gym verifier into full marks? Tried on every data set, through our reward.

    python -m benchmarks.parity.gym_verifiers [--rows 2] [--seed 7] [--only NAME ...] [--write docs/gym.md]

For each data set: rows with its default settings. A row's own answer must pay. These must not, unless they are the row's
own answer in value: the question and its lines, constants, no answer, what is no finite number, the name of the right
answer in the verifier and expressions over its locals, code, calls that work the question out, other rows' answers.
Exit code 1 where one pays, or gets no verdict. The whole table takes some minutes on one core.
"""

from __future__ import annotations

import argparse
import importlib.metadata as metadata
import json
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import reasoning_gym
from reasoning_gym.factory import DATASETS

from rewards.gym import ReasoningGymReward, ReasoningGymSettings
from rewards.sandbox.gym_rules import FRESH, REFUSED, own_answer, why_held
from rewards.sandbox.values import number_of, same
from rewards.sandbox.wire import plain
from rl.types import Message, Prompt, RewardItem, ScoreStatus, Task

SEED, ROWS, DEADLINE_S = 7, 2, 30.0
NOTHING = "(nothing)"  # an answer of blanks is none
CONSTANTS = (
    NOTHING, "0", "1", "-1", "2", "3", "10", "24", "100", "0.5", "1/2", "0/1", "True", "False", "Yes", "No", "yes", "no",
    "none", "x", "x + C", "A", "a", "not", "up", "R U", "banana", "infeasible", "[]", "{}", "[[]]", '[""]', "null", "()",
    "''", "6*4+1-1", "(5-1)*6*1", "8*3*1*1", "A→B", "(A ∨ ¬A)", "12:00", "0 days, 00:00", "1 × 1", "\\frac{1}{1}", "-", ".",
)  # fmt: skip
NOT_FINITE = (
    "nan",
    "NaN",
    "-nan",
    "inf",
    "-inf",
    "Infinity",
    "1e999",
    "nan+nanj",
    "[NaN]",
    "1/0",
    "zoo",
    "oo",
    "9**9**9",
)
ORACLE = (
    "oracle_answer", "answer", "entry", "entry['answer']", "entry['answer'].split()", "entry['metadata']", "metadata",
    "valid_solutions", "list(valid_solutions)[0]", "[r.split() for r in list(valid_solutions)[0].splitlines()]",
    "[r.split() for r in oracle_answer.splitlines()]", "list(oracle_answer)", "oracle_answer.split()", "self", "locals()",
    "target_poly", "integrand", "user_expr", "derivative", "expected_answer", "[*oracle_answer]", "str(oracle_answer)",
    "(lambda: oracle_answer)()", "Symbol('x')", "parse_expr(entry['answer'])", "globals()['__builtins__']",
)  # fmt: skip
CODE = (
    "__import__('os').system('true')", "exec('x = 1')", "(exec('import sys'), 1)[1]", "[c for c in ().__class__.__mro__]",
    "getattr(0, 'real')", "print(1)", "open('/dev/null')", "sympify('1')", "eval('24')", "(24).real", "f'{24}'",
)  # fmt: skip
CALLS = (
    "Integral({q}, {x})", "integrate({q}, {x})", "Integral({q}, {x}) + C", "-Integral(-({q}), {x})", "expand({q})", "{q}",
    "simplify({q})", "({q}).expand()", "Mul({q}, 1)", "diff({q}, {x})", "solve({q}, {x})", "Subs({q}, {x}, {x})",
    "antiderivative({q})", "factor({q})", "Poly({q})", "({q})*{x}", "1*({q})",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Tried:
    """What came of one data set.

    paid: ``(kind, answer)`` that got full marks and is not the row's answer. lost: those that got no verdict. best: the
    highest mark of a constant, of what is not finite, of code, and of the oracle's name.
    """

    name: str
    rows: int
    own_right: int
    own: int
    refused: int
    answers: int
    best: float
    paid: tuple[tuple[str, str], ...]
    lost: tuple[tuple[str, str], ...] = ()


def rows_of(name: str, count: int, seed: int = SEED) -> list[Prompt]:
    """Rows as a data file has them: what JSON can hold."""
    rows = reasoning_gym.create_dataset(name, size=count, seed=seed)
    found = []
    for index in range(count):
        row = json.loads(json.dumps(plain(rows[index])))
        message, reference = Message("user", row["question"]), row["answer"]
        found.append(Prompt(f"{name}/{index}", Task.TEXT, (message,), reference=reference, metadata=row["metadata"]))
    return found


def answers_of(prompt: Prompt, others: Sequence[Prompt]) -> Iterator[tuple[str, str]]:
    """``(kind, answer)`` of all that is tried on a row but its own answer."""
    question = prompt.messages[0].content
    yield "question", question
    lines = [line for line in question.splitlines() if line.strip()]
    yield from (("a line of the question", line) for line in [*lines[:20], *lines[-20:]])
    own = own_of(prompt) or ""
    count = len(re.findall(r"-?[0-9]+(?:\.[0-9]+)?", own))
    yield from (("not finite", form) for form in (*NOT_FINITE, f"[{', '.join(['NaN'] * count)}]", "nan " * count))
    for kind, answers in (("constant", CONSTANTS), ("oracle", ORACLE), ("code", CODE)):
        yield from ((kind, answer) for answer in answers)
    asked = prompt.metadata.get("integrand") or prompt.metadata.get("polynomial_expr") or prompt.metadata.get("problem")
    if isinstance(asked, str):
        names = prompt.metadata.get("variables") or [prompt.metadata.get("variable", "x")]
        yield from (("works it out", call.format(q=asked, x=names[0])) for call in CALLS)
    yield from (("another row", answer) for other in others if (answer := own_of(other)) and answer != own)


def tried(name: str, reward: ReasoningGymReward, rows: int = ROWS, seed: int = SEED) -> Tried:
    """Every answer against every row of a data set. ``reward`` gives partial marks."""
    prompts = rows_of(name, rows + 2, seed)
    tried_rows = prompts[:rows]
    own_right = own = refused = answers = 0
    best: float = 0.0
    paid: list[tuple[str, str]] = []
    lost: list[tuple[str, str]] = []
    for prompt in tried_rows:
        right = own_of(prompt)
        if right is not None:
            (score,) = reward.score([RewardItem(prompt, right)])
            own, own_right = own + 1, own_right + (score.value == 1.0)
            if score.status is ScoreStatus.INVALID:
                own, refused = own - 1, refused + 1
                continue
        given = list(answers_of(prompt, [other for other in prompts if other is not prompt]))
        scores = reward.score([RewardItem(prompt, answer) for _, answer in given])
        for (kind, answer), score in zip(given, scores, strict=True):
            answers += 1
            if is_answer(answer, prompt) or (kind == "another row" and "possible_answer" in prompt.metadata):
                continue  # the second: a colouring of another graph may be one of this graph too
            if not score.usable:
                lost.append((kind, answer))
            elif score.value >= 1.0:
                paid.append((kind, answer))
            elif kind in ("constant", "not finite", "oracle", "code"):
                best = max(best, score.value)
    return Tried(name, rows, own_right, own, refused, answers, best, tuple(paid), tuple(lost))


def own_of(prompt: Prompt) -> str | None:
    return own_answer({"answer": prompt.reference, "metadata": prompt.metadata})


def is_answer(answer: str, prompt: Prompt) -> bool:
    """Whether an answer is right in value: the row's own but for case and blanks, the same number, or another that is listed."""
    own = own_of(prompt) or ""
    listed = prompt.metadata.get("valid_answers") or ()
    first, second = number_of(answer), number_of(own)
    alike = first is not None and second is not None and same(first, second)
    return alike or "".join(answer.split()).casefold() == "".join(own.split()).casefold() or answer in listed


def line_of(found: Tried) -> str:
    """One row of the table."""
    if found.name in REFUSED:
        return f"| `{found.name}` | refused | {REFUSED[found.name]} | | | |"
    verdict = "a fresh process" if found.name in FRESH else "honest"
    own = f"{found.own_right} of {found.own}" if found.own else "no answer in the row"
    own += f", {found.refused} refused" if found.refused else ""
    held = f"{verdict}{', with our check' if why_held(found.name) else ''}"
    wrongly = len(found.paid)
    return f"| `{found.name}` | {held} | {why_held(found.name)} | {own} | {wrongly} of {found.answers} | {found.best:.2f} |"


def page(results: Mapping[str, Tried]) -> str:
    """docs/gym.md."""
    counts = {kind: 0 for kind in ("honest", "with our check", "a fresh process", "refused")}
    for name in results:
        kind = "refused" if name in REFUSED else "a fresh process" if name in FRESH else "with our check"
        counts[kind if why_held(name) or name in REFUSED else "honest"] += 1
    return _INTRODUCTION.format(
        version=metadata.version("reasoning-gym"),
        sets=len(results),
        rows=ROWS,
        seed=SEED,
        answers=sum(found.answers for found in results.values()),
        lines="\n".join(line_of(results[name]) for name in sorted(results)),
        **{kind.replace(" ", "_"): count for kind, count in counts.items()},
    )


def run(names: Sequence[str], rows: int = ROWS, seed: int = SEED) -> dict[str, Tried]:
    reward = ReasoningGymReward(ReasoningGymSettings(partial=True, deadline_s=DEADLINE_S))
    found = {}
    for name in names:
        found[name] = Tried(name, 0, 0, 0, 0, 0, 0.0, ()) if name in REFUSED else tried(name, reward, rows, seed)
        print(line_of(found[name]), file=sys.stderr, flush=True)
    return found


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=ROWS)
    parser.add_argument("--seed", type=int, default=SEED)
    parser.add_argument("--only", nargs="*", default=sorted(DATASETS), metavar="NAME")
    parser.add_argument("--write", type=Path, metavar="PAGE")
    arguments = parser.parse_args()
    results = run(arguments.only, arguments.rows, arguments.seed)
    bad = [found for found in results.values() if found.paid or found.lost or found.own_right < found.own]
    for found in bad:
        print(f"{found.name}: own {found.own_right} of {found.own}; paid: {found.paid[:5]!r}; lost: {found.lost[:5]!r}")
    if arguments.write:
        arguments.write.write_text(page(results), encoding="utf-8")
    return 1 if bad else 0


_INTRODUCTION = """# reasoning-gym's verifiers

Which of reasoning-gym's data sets can be trained on with the reward `reasoning_gym`, and what does it add to their verifiers?

<!-- Generated: python -m benchmarks.parity.gym_verifiers --write docs/gym.md -->

reasoning-gym {version} has {sets} data sets. Some of its verifiers pay for what is no answer. A policy finds such a verifier.
So this reward stands between:

* **No answer is evaluated.** Where a verifier calls `eval`, it gets a reader of literals. Where it calls sympy's parser, it
  gets a parser of formulas. A formula has numbers, the question's variables, `+ - * / **`, brackets and elementary functions.
  It has no quotes, no `_`, no attributes, no `[`, and no call such as `Integral` or `expand`.
* **Our own check stands beside a verifier that needs one.** Full marks count only where the check agrees.
* **A mark that is none** (NaN, below 0, above 1) is 0.
* **A row is refused** (`invalid`) where its verifier gives full marks to nonsense, or does not take the row's own answer.
* **A data set is refused** where its verifier cannot tell an answer from none. A run with such rows ends before it starts. One
  line names the row and the data set.

| verdict | data sets |
|---|---|
| honest: graded by its verifier | {honest} |
| honest, with our check | {with_our_check} |
| a fresh process, with our check: a worker of its own for each answer | {a_fresh_process} |
| refused | {refused} |

**What was tried**: {answers:,} answers, {rows} rows of each data set, seed {seed}. They are the question and its
lines, constants, no answer, NaN and infinities, names and expressions of the verifier's frame, code, and calls that
work the question out. Other rows' answers are among them. "Paid wrongly" counts those that got full marks without
being the row's answer. The last column is the highest mark of a constant, of code, or of the right answer's name:
what `partial: true` pays for nothing. Without `partial`, the default, all of that is 0.

| data set | verdict | our check, or why refused | own answers right | paid wrongly | most for nothing, partial |
|---|---|---|---|---|---|
{lines}
"""

if __name__ == "__main__":
    sys.exit(main())
