"""Weights on their way from the learner to the rollout workers."""
