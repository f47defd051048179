"""The algorithm: prompts -> rollouts -> scores -> advantages -> masked log-probs -> loss -> weights.

Nothing in this package imports Ray, DeepSpeed or vLLM; those live in ``cluster``.
"""
