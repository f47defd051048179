"""What each health rule measures, means and advises, made from the rules themselves.

python -m rl.health.page > docs/health.md
"""

from __future__ import annotations

from rl.health import BUILT_IN, RULES
from rl.health.rule import Rule

_HEAD = """# Health of a run

Is my run healthy, and if it is not, what do I do? `unigrpo train` asks the rules of this page at every step.

* **Terminal and log**: one line when a rule's state changes, with the value, the limit and what helps.
* **Metrics**: `health/RULE` is 0 (healthy) or 1 (sick), `health_value/RULE` is what the rule measured. They are logged at a
  rule's first reading, at a change, and at every tenth step.
* **Tag** `health` in MLflow: `healthy`, or `sick: clip_fraction, kl`. The search `tags.health LIKE '%kl%'` finds such runs.
* **summary.json**, under `health`: `checked` names the rules that had something to read, `sick` counts those that were sick.

A rule is a function of the logged metrics alone. So a resumed run goes on with the states that it had, and rules change no bit
of training. A rule without its metrics says nothing. A rule becomes sick after several readings in a row beyond its limit, and
healthy again after as many that are a tenth within it. So a value near the limit does not change the state at each step.

| setting | meaning |
|---|---|
| `health.limits.RULE=VALUE` | another limit |
| `health.off=[RULE, ...]` | these rules are left out |
| `health.on=false` | no rule is asked |

A package brings a rule of its own by the entry point `unigrpo.health_rules`: see
[add a health rule](extending_runs.md#add-a-health-rule).

<!-- Generated: python -m rl.health.page > docs/health.md -->
"""


def page() -> str:
    """The built-in rules, as Markdown."""
    return _HEAD + "".join(f"\n## {name}\n\n{_described(RULES[name])}" for name in BUILT_IN)


def _described(rule: Rule) -> str:
    side, readings = "below" if rule.below else "above", "reading" if rule.patience == 1 else "readings in a row"
    return (
        f"**Sick {side} {rule.limit:g}**, after {rule.patience} {readings}: {rule.value}.\n\n"
        f"It means: {rule.means}.\n\n"
        f"What helps: {rule.do}.\n\n"
        f"It reads {', '.join(f'`{name}`' for name in rule.reads)}.\n"
    )


if __name__ == "__main__":
    print(page(), end="")
