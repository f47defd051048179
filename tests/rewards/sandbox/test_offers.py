"""What a kernel offers, in words; the filter of system calls by an interpreter of ours; and what a room shows."""

import errno
import os

import pytest

from rewards.sandbox.kernel import offers, room, seccomp
from rewards.sandbox.kernel.offers import Offer
from rl.config import load_config
from rl.errors import ConfigError, RewardError

WHOLE = Offer(namespaces=True, room=True, processes=True, landlock=7, seccomp=True)
LESS = [
    (("namespaces", "room", "processes"), "no user namespaces"),
    (("room",), "no mounts of its own"),
    (("room", "landlock"), "no Landlock, so"),
    (("processes",), "no /proc of its own"),
    (("seccomp",), "no system call filter"),
    (("namespaces", "room", "processes", "landlock"), "no Landlock of version 6"),
    (("namespaces", "room", "processes", "seccomp"), "the network is open"),
]
ALLOWED, KILLED, TAKEN = "allowed", "killed", "taken without effect"


def decide(code, number, arguments=(), architecture=0xC000003E):
    """What a filter says to a call: ``allowed``, ``killed``, or an errno's name."""
    words = {0: number, 4: architecture} | {16 + 8 * place: value for place, value in enumerate(arguments)}
    words |= {20 + 8 * place: value >> 32 for place, value in enumerate(arguments)}
    place, held = 0, 0
    while True:
        operation, yes, no, value = code[place]
        place += 1
        if operation == 0x20:
            held = words.get(value, 0) & 0xFFFFFFFF
        elif operation == 0x06:
            known = {0x7FFF0000: ALLOWED, 0x80000000: KILLED, 0x00050000: TAKEN}
            return known.get(value) or errno.errorcode[value & 0xFFFF]
        elif operation == 0x54:
            held &= value
        else:
            holds = {0x15: held == value, 0x25: held > value, 0x35: held >= value, 0x45: bool(held & value)}[operation]
            place += yes if holds else no


@pytest.mark.parametrize(("less", "said"), LESS, ids=["-".join(less) for less, _ in LESS])
def test_what_does_not_hold_is_one_line_and_required_refuses(monkeypatch, less, said):
    offer = WHOLE.without(*less)
    line = offers.line(offer)
    assert (
        said in line
        and "\n" not in line
        and line.startswith("the sandbox for models' programs and answers is not whole")
    )
    monkeypatch.setattr(offers, "found", lambda: offer)
    offers.check("best_effort")
    with pytest.raises(RewardError, match="rewards.sandbox=required: .*rewards.sandbox=best_effort") as raised:
        offers.check("required")
    assert said in str(raised.value) and "\n" not in str(raised.value)


def test_where_all_holds_nothing_is_said(monkeypatch):
    monkeypatch.setattr(offers, "found", lambda: WHOLE)
    offers.check("required")
    assert offers.missing(WHOLE) == [] and "not" not in offers.line(WHOLE)


def test_the_setting_is_checked():
    assert load_config("tiny").rewards.sandbox == "best_effort"
    with pytest.raises(ConfigError, match=r"rewards\.sandbox.*best_effort, required"):
        load_config("tiny", ["rewards.sandbox=always"])


NUMBERS = {
    "x86_64": {"read": 0, "socket": 41, "socketpair": 53, "clone": 56, "execve": 59, "ptrace": 101, "chmod": 91},
    "aarch64": {"read": 63, "socket": 198, "socketpair": 199, "clone": 220, "execve": 221, "ptrace": 117, "chmod": 52},
}


@pytest.mark.parametrize(("machine", "architecture"), [("x86_64", 0xC000003E), ("aarch64", 0xC00000B7)])
def test_the_filter_on_both_processors(machine, architecture):
    def says(calls, name, *arguments):
        return decide(seccomp.assemble(calls, machine), NUMBERS[machine].get(name, name), arguments, architecture)

    sealed, open_ = seccomp.Calls(), seccomp.Calls(sockets=(2, 10), programs=True, modes=True, memory=True)
    assert says(sealed, "read") == says(open_, "read") == says(open_, "execve") == says(open_, "chmod") == ALLOWED
    assert says(sealed, "execve") == says(sealed, "chmod") == says(open_, "ptrace") == "EPERM"
    assert [says(open_, "socket", family) for family in (2, 10, 1, 16, 40)] == [ALLOWED, ALLOWED, *["ENETUNREACH"] * 3]
    assert says(sealed, "socket", 2) == "ENETUNREACH" and says(sealed, "socketpair", 1, 1) == ALLOWED
    assert (
        says(sealed, "clone", 0x00010F00) == says(open_, "clone", 17) == ALLOWED
        and says(sealed, "clone", 17) == "EPERM"
    )
    assert says(open_, "clone", 0x10000000 | 17) == "EPERM" and says(open_, 435) == says(open_, 470) == "ENOSYS"
    assert decide(seccomp.assemble(open_, machine), 0, (), 0x40000003) == KILLED
    assert decide(seccomp.assemble(open_, machine), 0x40000000, (), architecture) == "EPERM"


BY_ARGUMENT = {  # of calls whose arguments decide: x86_64, aarch64, and what a filter says to some
    "pairs": (53, 199, {
        (1, 1, 0): ALLOWED, (1, 0x80805, 0): ALLOWED, (1, 2, 0): "EPERM", (1, 0x80802, 0): "EPERM", (2, 1, 0): "EPERM",
    }),
    "families": (41, 198, {(2, 1, 0): ALLOWED, (16, 3, 0): ALLOWED, (16, 3, 15): "ENETUNREACH", (1, 1, 0): "ENETUNREACH"}),
    "files": (72, 25, {(3, 2): ALLOWED, (3, 1024): "EPERM", (3, 1026): "EPERM"}),
    "limits": (302, 261, {
        (0, 7, 0): ALLOWED, (0, 7, 4096): ALLOWED, (9, 7, 0): "EPERM",
        (0, 4, 0): ALLOWED, (0, 4, 4096): TAKEN, (0, 4, 1 << 32): TAKEN,
    }),
    "older limits": (160, 164, {(7, 4096): ALLOWED, (4, 4096): TAKEN}),
    "scheduling": (144, 119, {(0, 5, 64): ALLOWED, (1, 5, 64): "EPERM"}),
    "priorities": (141, 140, {(0, 0, 5): ALLOWED, (0, 1, 5): "EPERM"}),
}  # fmt: skip


@pytest.mark.parametrize("what", BY_ARGUMENT)
def test_calls_that_are_allowed_by_their_arguments(what):
    *numbers, cases = BY_ARGUMENT[what]
    for machine, number, architecture in zip(NUMBERS, numbers, (0xC000003E, 0xC00000B7), strict=True):
        code = seccomp.assemble(seccomp.Calls(sockets=(2, 10, 16), programs=True), machine)
        assert {case: decide(code, number, case, architecture) for case in cases} == cases


def test_a_socket_has_its_usual_size_where_there_is_no_network():
    sealed, open_ = (seccomp.assemble(seccomp.Calls(sockets=of), "x86_64") for of in ((), (2,)))
    for arguments, said in (((3, 1, 7), TAKEN), ((3, 1, 32), TAKEN), ((3, 1, 2), ALLOWED), ((3, 6, 7), ALLOWED)):
        assert decide(sealed, 54, arguments) == said and decide(open_, 54, arguments) == ALLOWED


def test_a_project_whose_root_is_an_environment_is_not_shown(tmp_path, monkeypatch):
    """``python -m venv .`` makes the folder of the rows Python's own."""
    for name in ("bin", "lib", "data"):
        (tmp_path / name).mkdir()
    for name in ("pyvenv.cfg", "rows.jsonl", ".env"):
        (tmp_path / name).write_text("x")
    monkeypatch.setattr(room.sys, "prefix", str(tmp_path))
    shown = [path for path in room.readable() if path.startswith(str(tmp_path))]
    assert sorted(os.path.relpath(path, tmp_path) for path in shown) == ["bin", "lib", "pyvenv.cfg"]


def test_a_room_shows_real_folders_and_the_links_on_the_way(tmp_path):
    real, file = tmp_path / "real" / "lib", tmp_path / "real" / "lib" / "inner"
    file.mkdir(parents=True)
    (tmp_path / "one").symlink_to("two")
    (tmp_path / "two").symlink_to(tmp_path / "real")
    (tmp_path / "loop").symlink_to("loop")
    shown = room.layout([f"{tmp_path}/one/lib", str(file), f"{tmp_path}/loop/x", f"{tmp_path}/absent"])
    top = os.path.realpath(tmp_path)
    assert shown.binds == (os.path.realpath(real),)
    assert {(path, target) for path, target in shown.links if path.startswith(top)} >= {
        (f"{top}/one", "two"), (f"{top}/two", str(tmp_path / "real")),
    }  # fmt: skip
