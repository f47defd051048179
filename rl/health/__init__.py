"""Health in words: rules over a run's metrics that say what is wrong, what it means and what to do (docs/health.md)."""

from __future__ import annotations

from rl.health.rule import Rule
from rl.registry import Registry

BUILT_IN: dict[str, str | Rule] = {
    "first_ratio": "rl.health.policy:FIRST_RATIO",
    "kl": "rl.health.policy:KL",
    "entropy": "rl.health.policy:ENTROPY",
    "clip_fraction": "rl.health.policy:CLIP_FRACTION",
    "gradient": "rl.health.gradient:GRADIENT",
    "skipped_updates": "rl.health.gradient:SKIPPED_UPDATES",
    "dead_groups": "rl.health.groups:DEAD_GROUPS",
    "identical_rollouts": "rl.health.groups:IDENTICAL_ROLLOUTS",
    "starving": "rl.health.groups:STARVING",
    "canvas": "rl.health.lengths:CANVAS",
    "truncated": "rl.health.lengths:TRUNCATED",
    "hacking": "rl.health.held_out:HACKING",
    "wide_interval": "rl.health.held_out:WIDE_INTERVAL",
    "mismatch": "rl.health.system:MISMATCH",
    "staleness": "rl.health.system:STALENESS",
    "exposed_rewards": "rl.health.system:EXPOSED_REWARDS",
    "restarts": "rl.health.system:RESTARTS",
}
RULES: Registry[Rule] = Registry("health rule", BUILT_IN, group="unigrpo.health_rules", member="rl.health.rule:Rule")
