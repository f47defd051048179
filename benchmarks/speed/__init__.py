"""How fast: samplers, learner, weight transfer, orchestration."""
