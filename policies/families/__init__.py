"""One file a family: what differs from the shared policy, and nothing else."""
