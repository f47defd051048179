"""The learner as processes: ranks, DeepSpeed, what travels to them."""
