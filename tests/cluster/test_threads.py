"""Threads that wait give the core away, in every process of a run."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from tests.wide import wide


def policy_when_torch_is_imported(module: str, **variables: str) -> str:
    """OpenMP reads the variable when torch is imported, once."""
    code = (
        "import os, sys\n"
        "class Look:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        "        if name == 'torch' and not seen: seen.append(os.environ.get('OMP_WAIT_POLICY'))\n"
        "seen = []\n"
        "sys.meta_path.insert(0, Look())\n"
        f"import {module}\n"
        "import torch\n"
        "print(seen[0])\n"
    )
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("OMP_", "GOMP_", "KMP_"))}
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env={**kept, **variables})
    assert run.returncode == 0, run.stderr[-500:]
    return run.stdout.split()[-1]


@pytest.mark.parametrize("module", wide(["cluster.workers.actors", "cluster.cli.app", "cluster.learner.rank_group"], 3))
def test_no_thread_spins_while_it_waits(module: str) -> None:
    assert policy_when_torch_is_imported(module) == "PASSIVE"


def test_what_the_user_set_stays() -> None:
    assert policy_when_torch_is_imported("cluster", OMP_WAIT_POLICY="ACTIVE") == "ACTIVE"
