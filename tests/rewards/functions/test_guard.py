"""Whatever a user's function raises is a score that says so; Ctrl-C and SIGTERM end what runs."""

import signal
import subprocess
import sys
import textwrap
import threading

import pytest

from rewards import load_reward
from rewards.functions.guard import Interrupts
from rewards.mix import RewardMix
from rl.errors import RewardError
from rl.stop import Stop, StopRequested
from tests.rewards.makers import text_item

ITEMS = [text_item("a"), text_item("b")]
RAISED = [
    "raise SystemExit",
    "raise SystemExit(3)",
    "import sys; sys.exit()",
    "import sys; sys.exit('no key')",
    "exit(0)",
    "quit()",
    "raise KeyboardInterrupt",
    "raise KeyboardInterrupt('mine')",
    "raise GeneratorExit",
    "import asyncio; raise asyncio.CancelledError",
    "raise BaseException('bare')",
    "class FunctionTimedOut(BaseException): pass\n    raise FunctionTimedOut('after 1 s')",
    "import argparse; argparse.ArgumentParser().parse_args(['--no-such'])",
    "raise BaseExceptionGroup('many', [KeyboardInterrupt(), ValueError()])",
    "raise StopIteration",
    "raise RecursionError",
    "raise MemoryError",
    "raise SystemError",
    "raise Warning('x')",
    "class Mute(Exception):\n        def __str__(self): raise RuntimeError\n    raise Mute",
    "import unittest; raise unittest.SkipTest('x')",
    "next(iter([]))",
    "def f():\n        yield\n    g = f(); next(g); g.throw(KeyboardInterrupt)",
]


@pytest.fixture
def write(tmp_path):
    def write(text):
        (tmp_path / "mine.py").write_text(text)
        return str(tmp_path / "mine.py")

    return write


@pytest.mark.parametrize("body", RAISED)
def test_what_a_function_raises_is_its_score(body, write):
    for head in ("def reward(completions)", "async def reward(completions)", "def reward(solution_str)"):
        path = write(f"{head}:\n    {body}\n")
        for reward in (load_reward(f"{path}:reward"), RewardMix({"text": {"custom": 1.0}}, custom={"path": path})):
            for score in reward.score(ITEMS):
                assert score.status == "crashed" and "mine.py:" in score.detail and "\n" not in score.detail


@pytest.mark.parametrize("body", RAISED)
def test_what_a_file_raises_is_one_line(body, write):
    path = write(f"if True:\n    {body}\ndef reward(completions): return [1.0] * len(completions)\n")
    with pytest.raises(RewardError, match=r"mine.py:\d+: ") as caught:
        load_reward(f"{path}:reward")
    assert "\n" not in str(caught.value)


def test_a_reward_of_another_package_does_not_end_the_run_either():
    class Leaving:
        name = "format"

        def score(self, items):
            raise SystemExit("no")

    mix = RewardMix({"text": {"length": 1.0, "format": 0.0}}, {"length": {"longest": 9}}, loaded={"format": Leaving()})
    assert [score.calls["format"].status for score in mix.score(ITEMS)] == ["crashed", "crashed"]


INTERRUPTED = {
    "in the function": "os.kill(os.getpid(), number)",
    "in a wait": "import threading; threading.Timer(0.3, os.kill, (os.getpid(), number)).start(); time.sleep(20)",
    "although it is swallowed": "try: os.kill(os.getpid(), number); time.sleep(20)\n    except BaseException: pass",
    "although another is raised": "try: os.kill(os.getpid(), number); time.sleep(20)\n    except BaseException: raise ValueError",
}


@pytest.mark.parametrize(
    "head", ["def reward(completions)", "async def reward(completions)", "def reward(solution_str)"]
)
@pytest.mark.parametrize("name", INTERRUPTED)
def test_ctrl_c_ends_the_run(name, head, write, tmp_path):
    path = write(
        f"import os, signal, time\nnumber = signal.SIGINT\n{head}:\n    {INTERRUPTED[name]}\n    return [1.0] * 2\n"
    )
    # A process that a shell starts in the background ignores the signal, and so do its children.
    script = textwrap.dedent(f"""
        import signal
        signal.signal(signal.SIGINT, signal.default_int_handler)
        from rewards.mix import RewardMix
        from tests.rewards.makers import text_item
        mix = RewardMix({{"text": {{"custom": 1.0}}}}, custom={{"path": {path!r}}})
        try:
            print([score.status for score in mix.score([text_item("a"), text_item("b")])])
        except KeyboardInterrupt:
            print("ended")
    """)
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60)
    assert done.stdout == "ended\n", done.stdout + done.stderr


def test_a_stop_that_a_signal_requests_passes_and_handlers_are_put_back(write):
    stop = Stop()
    before = signal.signal(signal.SIGTERM, lambda number, frame: stop.request())
    mine = signal.getsignal(signal.SIGTERM)
    try:
        path = write(
            "import os, signal\ndef reward(completions): os.kill(os.getpid(), signal.SIGTERM); return [1.0] * 2\n"
        )
        reward = load_reward(f"{path}:reward")
        with pytest.raises(StopRequested), stop.may_abandon():
            reward.score(ITEMS)
        assert signal.getsignal(signal.SIGTERM) is mine
        assert [score.value for score in reward.score(ITEMS)] == [1.0, 1.0]  # a second request raises nothing
    finally:
        signal.signal(signal.SIGTERM, before)


def test_in_another_thread_no_handler_is_touched():
    before, seen = signal.getsignal(signal.SIGINT), []

    def work():
        with Interrupts() as interrupts:
            seen.append((signal.getsignal(signal.SIGINT), interrupts.passing))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert seen == [(before, None)]
