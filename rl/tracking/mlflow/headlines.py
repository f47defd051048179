"""Which numbers stand on top of a run's page, and which are left out. MLflow sorts groups by name.

Names of metrics are stable, so nothing is renamed: what a person asks first is logged once more, in groups that sort to the
top in the order of the questions: is it better on held-out prompts, does reward rise, is it healthy, how does the policy move,
how fast is it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

HELD_OUT, REWARD, HEALTH, POLICY, SPEED = "1 held out", "2 reward", "3 health", "4 policy", "5 speed"
_NAMED = {
    "critic/rewards/mean": f"{REWARD}/mean",
    "frac_reward_zero_std": f"{HEALTH}/groups without a difference",
    "frac_groups_dropped": f"{HEALTH}/groups dropped",
    "actor/ppo_kl": f"{HEALTH}/KL to the old policy",
    "actor/kl_loss": f"{HEALTH}/KL to the reference",
    "actor/pg_clipfrac": f"{HEALTH}/clip fraction",
    "actor/entropy": f"{POLICY}/entropy",
    "actor/grad_norm": f"{POLICY}/gradient norm",
    "actor/lr": f"{POLICY}/learning rate",
    "response_length/mean": f"{POLICY}/response length",
    "sft/loss": f"{POLICY}/loss",
    "timing_s/step": f"{SPEED}/seconds a step",
    "timing_s/gen": f"{SPEED}/seconds sampling",
    "perf/exposed_reward_s": f"{SPEED}/seconds waiting for rewards",
    "perf/throughput": f"{SPEED}/tokens a second",
}
_ASKED = ("val/", "critic/", "rewards/", "health/", "1 ", "2 ", "3 ", "4 ", "5 ")


def headlines(metrics: Mapping[str, float]) -> dict[str, float]:
    """The same numbers under the names that sort to the top. Example: ``val/text/score`` is ``1 held out/text``."""
    found: dict[str, float] = {}
    for name, value in metrics.items():
        first, _, rest = name.partition("/")
        if name in _NAMED:
            found[_NAMED[name]] = value
        elif first == "val" and rest.count("/") == 1 and rest.endswith("/score"):
            found[f"{HELD_OUT}/{rest.removesuffix('/score')}"] = value
        elif first == "rewards" and rest.endswith("/mean"):
            found[f"{REWARD}/{rest.removesuffix('/mean')}"] = value
    return found


class Still:
    """Holds back a number while it has been 0 at every step: most of such never move. When it does, all its points come.

    known: names that the run has already
    """

    def __init__(self, known: Iterable[str] = ()) -> None:
        self._held: dict[str, dict[int, int]] = {}
        self._moved: set[str] = set(known)

    def moving(self, step: int, time_ms: int, metrics: Mapping[str, float]) -> list[tuple[str, float, int, int]]:
        """(name, value, time, step) of what is to be written now; the same again until ``written`` is told."""
        points: list[tuple[str, float, int, int]] = []
        for name, value in metrics.items():
            asked = name in _NAMED or name.startswith(_ASKED)
            if value == 0 and name not in self._moved and not asked:
                self._held.setdefault(name, {}).setdefault(step, time_ms)
                continue
            self._moved.add(name)
            held = self._held.get(name, {})
            points += [(name, 0.0, then, earlier) for earlier, then in held.items() if earlier != step]
            points.append((name, value, time_ms, step))
        return points

    def written(self, metrics: Mapping[str, float]) -> None:
        """The points of these names are in the store."""
        for name in self._moved.intersection(metrics):
            self._held.pop(name, None)
