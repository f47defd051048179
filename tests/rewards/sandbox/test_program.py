"""Programs that stay, swarm, fill or shout: each is worth 0, leaves nothing, and costs its neighbours nothing."""

import os
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psutil
import pytest

from rewards.code import close_sandboxes, run_test
from rewards.registry import load_reward
from rewards.sandbox.folders import remove
from rewards.sandbox.kernel import offers
from rewards.sandbox.kernel.usage import OwnTime
from rewards.sandbox.parent import Isolated
from rl.types import ScoreStatus
from tests.rewards.makers import text_item

OFFER = offers.found()
NOTHING = ("namespaces", "room", "processes", "landlock", "seccomp")
TREES = pytest.mark.skipif(not (OFFER.namespaces and OFFER.room and OFFER.processes), reason=offers.line(OFFER))
HONEST = ("def f(x):\n    return x + 0.5", [{"function": "f", "args": [1], "expected": 1.5}])
STAYS = (
    "import ctypes, os, signal, sys, time\n"
    "ctypes.CDLL(None).prctl(1, 0, 0, 0, 0)\n"
    "signal.setitimer(signal.ITIMER_REAL, 0)\n"
    "for number in set(signal.Signals) - {signal.SIGKILL, signal.SIGSTOP}:\n"
    "    signal.signal(number, signal.SIG_IGN)\n"
    "if os.fork() == 0:\n"
    "    os.setsid()\n"
    "    if os.fork() == 0:\n"
    "        os.setsid()\n"
    "        time.sleep(300)\n"
    "time.sleep(300)\n"
)
SHOUTS = {
    "a huge whole number": "def f(x): return 10 ** 400",
    "too many digits": "import sys\nsys.set_int_max_str_digits(0)\ndef f(x): return 10 ** 5000",
    "too deep": "import json\njson.dumps = lambda value: '[' * 200_000\ndef f(x): return 1",
    "deep and closed": "import json\njson.dumps = lambda value: '[' * 90_000 + ']' * 90_000\ndef f(x): return 1",
    "no JSON": "import json\njson.dumps = lambda value: '{1.5'\ndef f(x): return 1",
    "no text": "import os\nos.write(3, b'\\xff\\xfe1.5')\ndef f(x): return 1",
    "infinite": "def f(x): return [float('inf')] * 3",
    "a value of its own class": "class Any(float):\n    def __eq__(self, other): return True\ndef f(x): return Any(9)",
    "ends early": "import os\nos.write(1, b'1.5')\nos._exit(0)",
    "closes all": "import os\nos.closerange(0, 64)\ndef f(x): return 1.5",
    "a surrogate": "def f(x): return '\\ud800'",
    "nothing": "def f(x): pass",
}


def scores(programs, tests, **settings):
    reward = load_reward({"name": "code", "deadline_s": 5.0, **settings})
    return reward.score([text_item(f"```python\n{program}\n```", metadata={"tests": tests}) for program in programs])


def ran(program, seconds=10.0, memory_mb=512, less=()):
    """How the program ended, by the supervisor's words."""
    child = Isolated("rewards.sandbox.program:run", memory_mb, 1, rules="program", less=less)
    try:
        outcome = child.call({"program": program, "input": ""}, seconds, grace_s=20.0)
    finally:
        child.close()
    assert outcome.status is ScoreStatus.OK, outcome
    return outcome.value


def _command(process):
    try:
        return process.cmdline()
    except psutil.Error:
        return []


def left_over():
    """Trees of programs. A program is a fork of its template, and the template of ``scores`` is this process's child."""
    target, own = "rewards.sandbox.program:run", psutil.Process()
    found = set(own.children(recursive=True)) - set(own.children())
    found |= {each for each in psutil.process_iter(["ppid"]) if each.info["ppid"] == 1}
    found = [each for each in found if target in _command(each)]
    _, alive = psutil.wait_procs(found, timeout=5.0)  # the kernel takes a moment to end a killed tree
    return [p for p in alive if p.status() != psutil.STATUS_ZOMBIE]


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """Where temporary folders are made."""
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    return tmp_path


def test_a_shouting_program_is_wrong_and_its_neighbours_are_right():
    program, tests = HONEST
    found = scores([program, *SHOUTS.values(), program], tests)
    assert [found[0].value, found[-1].value] == [1.0, 1.0]
    assert {name: score.value for name, score in zip(SHOUTS, found[1:-1], strict=True)} == dict.fromkeys(SHOUTS, 0.0)
    assert all(score.usable for score in found)


@pytest.mark.parametrize(
    "less", [(), ("namespaces", "room", "processes"), NOTHING], ids=["all", "no namespaces", "nothing"]
)
def test_a_program_does_not_outlive_its_deadline(folder, less):
    found = ran(STAYS, 0.5, less=less)
    assert found["end"] == "timeout" and found["error"] == "no end within 0.5 s"
    assert not left_over() and not list(folder.iterdir())


@pytest.mark.parametrize("less", [("room",), NOTHING], ids=["no room", "nothing"])
def test_an_honest_program_runs_wherever_it_must(less):
    found = ran("import json, tempfile\nwith tempfile.TemporaryFile() as f: print(f.write(b'xyz'))", less=less)
    assert found == {"end": "ok", "output": "3\n", "value": "", "error": ""}


@TREES
def test_limits_are_for_the_tree():
    swarm = (
        "import os, time\nfor _ in range(6):\n    if os.fork() == 0:\n        x = bytearray(300 << 20)\n"
        "        time.sleep(60)\ntime.sleep(60)"
    )
    assert ran(swarm)["error"] == "it and its children took more than 512 MiB together"
    count = "made = 0\ntry:\n    while made < 200:\n        {}\n        made += 1\nexcept OSError: pass\nprint(made)"
    many = "import os, time\n" + count.format("if os.fork() == 0: time.sleep(60)") + "\ntime.sleep(60)"
    assert ran(many)["error"] == "it had more than 64 processes"
    assert 0 < int(ran(count.format("open(str(made), 'wb').write(bytes(1 << 20))"))["output"]) < 64


HOLDS = {  # 240 MiB in each of five processes, of 512 for all
    "shared, and not resident": (
        "import mmap\nm = mmap.mmap(-1, 240 << 20)\nfor at in range(0, 240 << 20, 24 << 20):\n"
        "    m[at:at + (24 << 20)] = bytes(24 << 20)\n    m.madvise(mmap.MADV_DONTNEED)"
    ),
    "without the first thread": (
        "import ctypes, threading, time\ndef hold():\n    time.sleep(0.05)\n    x = bytearray(240 << 20)\n    time.sleep(20)\n"
        "threading.Thread(target=hold).start()\nctypes.CDLL(None).syscall(60, 0)"
    ),
    "not to be read": (
        "import ctypes, mmap\nctypes.CDLL(None).prctl(4, 0, 0, 0, 0)\nm = mmap.mmap(-1, 240 << 20)\nm[:9] = bytes(9)"
    ),
}


@TREES
@pytest.mark.parametrize("what", HOLDS)
def test_memory_counts_wherever_it_is(what):
    held = "\n".join("        " + line for line in HOLDS[what].splitlines())
    swarm = (
        f"import os, time\nfor _ in range(5):\n    if os.fork() == 0:\n{held}\n        time.sleep(20)\ntime.sleep(20)"
    )
    assert ran(swarm)["error"] == "it and its children took more than 512 MiB together"


@TREES
def test_what_sockets_hold_counts():
    swarm = (
        "import os, socket, time\nfor _ in range(12):\n    if os.fork() == 0:\n        held = []\n"
        "        while len(held) < 56: held += socket.socketpair()\n        time.sleep(20)\ntime.sleep(20)"
    )
    assert ran(swarm, memory_mb=128)["error"] == "it and its children took more than 128 MiB together"
    assert ran(swarm.replace("(12)", "(3)").replace("(20)", "(0.2)"), memory_mb=128)["end"] == "ok"


@TREES
def test_a_swarm_that_only_spins_is_counted():
    assert ran("import os\nwhile True:\n    try: os.fork()\n    except OSError: pass")["error"] == (
        "it had more than 64 processes"
    )


def test_a_program_is_run_as_python_runs_it():
    """In a fork, and with nothing of ours to be seen."""
    program = (
        "import atexit, dataclasses, os, pickle, subprocess, sys, tempfile, threading, time\n"
        "@dataclasses.dataclass\nclass Point:\n    x: int\n"
        "atexit.register(print, 'at exit')\n"
        "class Last:\n    def __del__(self): print('deleted')\nlast = Last()\n"
        "def deep(n): return 0 if n == 0 else 1 + deep(n - 1)\n"
        "assert deep(980) == 980\n"
        "assert pickle.loads(pickle.dumps(Point(3))) == Point(3) and __name__ == '__main__'\n"
        "assert sys.argv == ['program.py'] and os.path.basename(__file__) == 'program.py'\n"
        "assert not {'rewards', 'rl', 'numpy'} & {name.partition('.')[0] for name in sys.modules}\n"
        "assert set(os.environ) <= {'LANG', 'OMP_NUM_THREADS', 'OPENBLAS_NUM_THREADS', 'MKL_NUM_THREADS', 'LC_CTYPE'}\n"
        "asked = 'import json, sys; print(json.dumps(sys.path))'\n"
        "new = subprocess.run([sys.executable, '-I', '-c', asked], capture_output=True, text=True).stdout\n"
        "import json\nassert json.loads(new) == sys.path, (new, sys.path)\n"
        "assert tempfile.gettempdir() and input() == '\u00e9'\n"
        "threading.Thread(target=lambda: (time.sleep(0.1), print('thread'))).start()\nprint('main')"
    )
    child = Isolated("rewards.sandbox.program:run", 512, 1, rules="program")
    try:
        first = child.call({"program": program, "input": "\u00e9\n"}, 20.0, grace_s=20.0).value
        ends = [child.call({"program": f"import sys\n{end}"}, 20.0).value for end in (
            "sys.exit(3)", "sys.exit()", "sys.exit('words')", "raise ValueError('no')", "def f(:", "print('\\udc80')",
        )]  # fmt: skip
    finally:
        child.close()
    assert first == {"end": "ok", "output": "main\nthread\nat exit\ndeleted\n", "value": "", "error": ""}
    assert [each["end"] for each in ends] == ["error", "ok", "error", "error", "error", "ok"]
    assert [each["error"] for each in ends[:5]] == [
        "exit code 3",
        "",
        "words",
        "ValueError: no",
        "SyntaxError: invalid syntax",
    ]


def test_time_without_a_processor_is_not_the_programs():
    """By the clock and the looks at a program: a deadline of 1 s."""

    def ends(looks, longest_s=10.0):
        """looks: seconds, processor seconds, whether it wants to run."""
        time = OwnTime(1.0, longest_s, 0.0)
        for now, cpu_s, wants in looks:
            time.note(now, wants)
            if time.is_over(now, cpu_s):
                return now
        return None

    half = [(n / 2, n / 2, True) for n in range(1, 30)]
    assert ends(half) == 1.0  # it has a processor to itself
    assert ends([(n / 2, n / 16, True) for n in range(1, 30)]) == 8.0  # an eighth of one
    assert ends([(n / 2, 0.01, False) for n in range(1, 30)]) == 1.0  # it sleeps
    assert ends([(n / 2, n / 8, n % 2 == 0) for n in range(1, 30)]) == 1.5  # it sleeps, and waits for a processor
    assert ends([(n / 2, 0.0, True) for n in range(1, 30)]) == 10.0  # it never gets one
    assert ends([(n / 8, n / 2, True) for n in range(1, 30)]) == 1.0  # four at a time: no less than its deadline


@TREES
def test_a_program_among_many_has_its_own_time():
    """Its neighbours take three processors of four, or more."""
    busy = "import os\nfor _ in range(8):\n    if os.fork() == 0:\n        while True: pass\nwhile True: pass"
    counts = "import time\nwhile time.process_time() < 0.45: pass\nprint('done')"
    child = Isolated("rewards.sandbox.program:run", 512, 1, rules="program")
    try:
        with ThreadPoolExecutor(4) as threads:
            found = list(
                threads.map(lambda each: child.call({"program": each}, 0.6, grace_s=30.0).value, [busy, busy, counts])
            )
    finally:
        child.close()
    assert [each["end"] for each in found] == ["timeout", "timeout", "ok"] and found[2]["output"] == "done\n"


@TREES
def test_a_program_that_waits_gives_its_place_away():
    """Eight that sleep do not hold up the one behind them."""
    order = []
    places = threading.Semaphore(1)

    def run(program):
        found = run_test(program, {"output": ""}, 2.0, 512, places)
        order.append(found.end)
        return found

    with ThreadPoolExecutor(5) as threads:
        list(threads.map(run, ["import time\ntime.sleep(60)"] * 4 + ["print(1)"]))
    assert order == ["ok"] + ["timeout"] * 4
    assert places.acquire(blocking=False) and not places.acquire(blocking=False)
    close_sandboxes()


@TREES
def test_memory_that_processes_share_counts_once():
    shared = (
        "import os, time\nx = bytearray(150 << 20)\n"
        "for _ in range(4):\n    if os.fork() == 0:\n        time.sleep(0.3)\n        os._exit(0)\n"
        "time.sleep(0.3)\nprint('ok')"
    )
    assert ran(shared)["end"] == "ok"


@pytest.mark.parametrize("less", [(), NOTHING], ids=["all", "nothing"])
def test_however_deep_its_folders_are_they_are_gone(folder, less):
    deep = "import os\nfor _ in range(1050):\n    os.mkdir('d' * 20)\n    os.chdir('d' * 20)\nos.mkdir('shut', 0)\nprint('ok')"
    assert ran(deep, less=less)["output"] == "ok\n"
    assert not list(folder.iterdir())


def test_a_folder_is_removed_with_what_its_links_point_to_left_alone(tmp_path):
    keep, folder = tmp_path / "keep", tmp_path / "folder"
    keep.mkdir()
    (keep / "file").write_text("x")
    here = os.getcwd()
    folder.mkdir()
    (folder / "link").symlink_to(keep)
    os.chdir(folder)
    try:
        for _ in range(1050):
            os.mkdir("deeper")
            os.chdir("deeper")
        Path("file").write_text("x")
    finally:
        os.chdir(here)
    remove(str(folder))
    assert not folder.exists() and (keep / "file").read_text() == "x"


@TREES
def test_a_program_sees_no_expected_value_no_neighbour_and_no_mark():
    """Its own text holds the call alone; what others run is nowhere."""
    look = (
        "import glob, os, sys\ndef f(x):\n    seen = open('program.py').read() + str(sys.argv) + str(dict(os.environ))\n"
        "    frame = sys._getframe()\n    while frame: seen, frame = seen + str(frame.f_code.co_consts), frame.f_back\n"
        "    for number in range(64):\n"
        "        try: seen += os.read(number, 9999).decode()\n        except OSError: pass\n"
        "    found = glob.glob('/proc/*') + glob.glob('/tmp/*') + glob.glob('/var/*')\n"
        "    found = [path for path in found if not sys.prefix.startswith(path)]\n"  # where Python itself lies
        "    names = [name for name in os.listdir('/tmp') if not sys.prefix.startswith('/tmp/' + name)]\n"
        "    return [found, ''.join(['2718', '28']) in seen, len(names)]"
    )
    (score,) = scores([look], [{"function": "f", "args": [1], "expected": 271828}])
    assert score.value == 0.0
    (score,) = scores([look], [{"function": "f", "args": [1], "expected": [["/tmp/program.py"], False, 1]}])
    assert score.value == 1.0, score.detail
