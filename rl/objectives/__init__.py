"""Objectives by name. A new one is one file here and one line below.

The losses themselves need torch. The config's checks do not, so a line names its loss and says what else they must know.
"""

from __future__ import annotations

from rl.objectives.objective import Objective
from rl.registry import Registry

OBJECTIVES: Registry[Objective] = Registry(
    "objective",
    {
        "unigrpo": Objective("rl.objectives.unigrpo:unigrpo", uses_old=True, by_token=True, has_ratio=True),
        "policy_gradient": Objective("rl.objectives.policy_gradient:policy_gradient", by_token=True),
        "wd1": Objective("rl.objectives.policy_gradient:policy_gradient", "rl.advantages:wd1_weights", by_token=True),
        "gdsd": Objective("rl.objectives.residual:gdsd", uses_old=True),
        "rspo": Objective("rl.objectives.residual:rspo", needs_reference=True),
        "trafl": Objective(
            "rl.objectives.residual:trafl", totals="rl.objectives.residual:trafl_totals", needs_reference=True
        ),
        "stabledrl": Objective(
            "rl.objectives.self_normalized:stabledrl",
            totals="rl.objectives.self_normalized:stabledrl_totals",
            uses_old=True,
        ),
        "dpo": Objective("rl.objectives.dpo:dpo", pairs=True, needs_reference=True),
    },
    group="unigrpo.objectives",
    member=Objective,
)
