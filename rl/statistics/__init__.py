"""What numbers of an evaluation say, and how surely. Pure functions of numbers."""

from rl.statistics.bootstrap import bootstrap_interval, paired_bootstrap
from rl.statistics.mcnemar import mcnemar
from rl.statistics.several import maj_at_k, pass_at_k

__all__ = ["bootstrap_interval", "maj_at_k", "mcnemar", "paired_bootstrap", "pass_at_k"]
