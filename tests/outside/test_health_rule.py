"""A health rule from a package, made from nothing but the manual: its limit can be set, and it fires."""

from __future__ import annotations

from pathlib import Path

from tests.outside.package import code_of, make_package, run_with

RUN = """
from rl.config import build_config
from rl.health.watch import Watch

for override in ([], ["health.limits.slowdown=9"], ["health.off=[slowdown]"]):
    watch = Watch.of(build_config([], override).health)
    logged = [watch.log(step, {"timing_s/step": 1.0 if step < 15 else 4.0}) for step in range(40)]
    print(*[f"{change.step} {change.rule} {change.reading.value}" for changes, _ in logged for change in changes])
"""


def test_a_rule_of_a_package(tmp_path: Path) -> None:
    make_package(
        tmp_path, "slowdown", code_of("Add a health rule"), {"unigrpo.health_rules": "slowdown = slowdown:SLOWDOWN"}
    )
    assert run_with(tmp_path, "-c", RUN).stdout.splitlines() == ["21 slowdown 3.1", "", ""]
