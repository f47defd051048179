"""A request to stop: the loop saves the last whole step and ends; a resumed run has the bits of the straight one."""

from __future__ import annotations

from pathlib import Path

import pytest

from cluster.run.session import session
from rl.checkpoints.folder import FolderCheckpoints
from rl.config import SourceConfig
from rl.data.stream import PromptStream
from rl.loop import Parts, train
from rl.stop import Stop, StopRequested
from tests.cluster.runs import MAKERS, make_config, run
from tests.rl.examples import Recorder

SETTINGS = ("steps=3", "learner.engine=torch", "val_before_train=false", "val_after_train=false")


def test_only_what_may_be_abandoned_is_interrupted() -> None:
    stop = Stop()
    with pytest.raises(StopRequested), stop.may_abandon():
        stop.request()
    again = Stop()
    again.request()
    assert again.requested
    with pytest.raises(StopRequested), again.may_abandon():
        raise AssertionError("nothing new is begun")


@pytest.mark.parametrize("where", ["sampling", "learning"])
def test_a_stopped_run_saves_and_goes_on_to_the_same_bits(tmp_path: Path, where: str) -> None:
    straight = make_config(tmp_path, *SETTINGS, "name=straight")
    with session(straight) as parts:
        expected, _ = run(straight, parts.workers, parts.learner)
    config, stop, recorder = make_config(tmp_path, *SETTINGS, f"name={where}"), Stop(), Recorder()
    stream = PromptStream(
        [SourceConfig(make.__name__) for make in MAKERS],
        config.seed,
        [[make(index) for index in range(4)] for make in MAKERS],
    )
    with session(config) as parts:
        part, name = (parts.workers, "rollout_and_score") if where == "sampling" else (parts.learner, "update")
        original, calls = getattr(part, name), []

        def second_time(*args, **options):
            calls.append(1)
            if len(calls) == 2:
                stop.request()  # as the signal's handler does, in the middle of the second step
            return original(*args, **options)

        setattr(part, name, second_time)
        with pytest.raises(KeyboardInterrupt):
            train(Parts(config, stream, [], parts.workers, parts.learner, recorder, FolderCheckpoints(config)), stop)
    assert recorder.ended == ["KILLED"]
    saved = [path.name for path in (config.run_dir / "checkpoints").iterdir()]
    assert saved == (["global_step_1"] if where == "sampling" else ["global_step_2"])
    with session(config) as parts:
        resumed, _ = run(config, parts.workers, parts.learner)
    assert resumed.weights == expected.weights
