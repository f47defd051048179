"""Folders of drawings as the official scorers of drawing benchmarks read them: ``evaluation.layout``."""

from __future__ import annotations

from rl.errors import ConfigError
from rl.layouts.base import Layout
from rl.registry import Registry, Takes

LAYOUTS: Registry[type[Layout]] = Registry(
    "layout",
    {
        "geneval": "rl.layouts.geneval:GenEval",
        "dpg": "rl.layouts.dpg:Dpg",
        "t2i-compbench": "rl.layouts.t2i_compbench:T2ICompBench",
        "hpsv2": "rl.layouts.hpsv2:Hpsv2",
    },
    group="unigrpo.layouts",
    error=ConfigError,
    member=Takes(2, "rl.layouts.base:Layout"),
)
