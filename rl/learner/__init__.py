"""The learner: masked log-probabilities, updates, engines."""
