"""How a run looks in MLflow: its page, its rollouts as traces, its tables, and what waits while the store is away."""
