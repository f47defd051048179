"""A stranger's tokenizer and chat template, tried once in a process that can be ended: they are programs, of a kind.

A template can loop for ever and fill the memory; a tokenizer's file can end the process that reads it. The trial loads both,
writes a few chats and tokenizes them, within a CPU time and an address space. Run as
``python -m policies.files.trial FOLDER ALIASES SECONDS``: it prints the stage that begins, and what is wrong there.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import resource
import signal
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from policies.files.parts import MOST_BYTES
from policies.files.strict_json import MAX_BYTES, require_inside
from rl.errors import PolicyError

SECONDS, MEMORY = 5, 2 << 30  # of CPU time, and bytes of address space; a vocabulary of 150,000 takes 0.5 s and 0.4 GiB
PATIENCE = 120.0  # seconds by the clock, on a machine that has more to do
FILES = (
    "tokenizer.json", "vocab.json", "merges.txt", "tokenizer_config.json", "special_tokens_map.json", "chat_template.jinja",
)  # fmt: skip
MEND = "copy it from the original checkpoint"
_passed: set[bytes] = set()


def try_tokenizer(folder: Path, aliases: Mapping[str, str]) -> None:
    """Raises PolicyError: one line. What passed once in this process is known by its content."""
    mark = _content(folder, aliases)
    if mark in _passed:
        return
    home = str(Path(__file__).parents[2])
    try:
        done = subprocess.run(
            [sys.executable, "-P", "-m", "policies.files.trial", str(folder), json.dumps(dict(aliases)), str(SECONDS)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env={"PYTHONPATH": os.pathsep.join([home, *filter(None, sys.path)]), "TOKENIZERS_PARALLELISM": "false"},
            timeout=PATIENCE,
            start_new_session=True,  # an interrupt from the terminal is for this process
        )
    except subprocess.TimeoutExpired as error:
        raise PolicyError(
            f"{folder}: its tokenizer and template were not tried within {PATIENCE:g} s; {MEND}"
        ) from error
    said = [json.loads(line) for line in done.stdout.decode("utf-8", "replace").splitlines()]
    if done.returncode == 0 and said and said[-1] == "":
        _passed.add(mark)
        return
    raise PolicyError(_told(folder, said, done.returncode))


def _told(folder: Path, said: list[str], code: int) -> str:
    """The child's own line, or why there is none."""
    if code == 2 and said:
        return said[-1]
    stage = said[-1] if said else str(folder)
    if code == -signal.SIGXCPU:
        return f"{stage}: takes more than {SECONDS} s for one chat; {MEND}"
    if code in (-signal.SIGABRT, -signal.SIGSEGV, -signal.SIGKILL):
        return f"{stage}: ended the process that tried it, as what needs more than {MEMORY >> 30} GiB does; {MEND}"
    return f"{stage}: cannot be tried (exit code {code}); {MEND}"


def _content(folder: Path, aliases: Mapping[str, str]) -> bytes:
    """A digest of all that the trial reads. Raises PolicyError for a file that is none of the folder's, or too large."""
    digest = hashlib.sha256(json.dumps(dict(aliases)).encode())
    for file in [*(folder / name for name in FILES), *sorted((folder / "additional_chat_templates").glob("*.jinja"))]:
        if os.path.isfile(file):
            require_inside(file, folder, MOST_BYTES if file.name in FILES[:3] else MAX_BYTES)
            digest.update(f"\0{file.name}\0{file.stat().st_size}\0".encode("utf-8", "surrogateescape"))
            with file.open("rb") as source:
                digest.update(hashlib.file_digest(source, "sha256").digest())
    return digest.digest()


def main() -> int:
    """Exit code 2 after one line: refused."""
    from policies.files.tokenizer import ChatTokenizer  # what Python takes for this does not count

    _limit(float(sys.argv[3]))
    folder, stage = Path(sys.argv[1]), f"{sys.argv[1]}: its tokenizer"
    try:
        _say(stage)
        tokenizer = ChatTokenizer.load(folder, json.loads(sys.argv[2]))
        _say(stage := tokenizer.template_name)
        texts = tokenizer.check_template()
        _say(stage := f"{folder}: its tokenizer")
        for text in texts:
            tokenizer.decode(tokenizer.encode(text))
    except PolicyError as error:
        _say(" ".join(str(error).split()))
        return 2
    except MemoryError:
        _say(f"{stage}: needs more than {MEMORY >> 30} GiB; {MEND}")
        return 2
    _say("")
    return 0


def _limit(seconds: float) -> None:
    used = resource.getrusage(resource.RUSAGE_SELF)
    until = math.ceil(used.ru_utime + used.ru_stime + seconds)
    limits = {resource.RLIMIT_AS: MEMORY, resource.RLIMIT_CPU: until, resource.RLIMIT_CORE: 0}
    for what, limit in limits.items():
        hard = resource.getrlimit(what)[1]
        resource.setrlimit(what, (limit if hard == resource.RLIM_INFINITY else min(limit, hard), hard))


def _say(line: str) -> None:
    os.write(1, json.dumps(line).encode() + b"\n")


if __name__ == "__main__":
    sys.exit(main())
