"""A run's processes: who does what, where, and what becomes of those that are lost."""

import os

# Before anything imports torch: OpenMP reads this once. By default its threads spin while they wait for one another. Where
# another process has the core meanwhile, or a container has a quota, an operation then takes a scheduler's turn: milliseconds.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
