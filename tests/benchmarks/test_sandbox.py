"""A small form of the hostile benchmark: every hostile program and answer once, few honest ones."""

from benchmarks.faults.sandbox import HOSTILE, run


def test_nobody_hostile_is_paid_and_everybody_honest_is() -> None:
    count = len(HOSTILE)
    report = run(count, 0.4)
    assert report["hostile_paid"] == [0, 0] and report["honest_only_paid"] == report["honest_paid"] == [count, count], (
        report
    )
    assert report["canary_files"] == ["canary"] and report["canary_untouched"] and report["bystander_alive"], report
    assert report["folders_left"] == [] and report["processes_after_closing"] == 0, report
    assert report["descriptors_before_after"][0] >= report["descriptors_before_after"][1], report
