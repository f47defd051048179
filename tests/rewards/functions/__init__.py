"""Mirrors ``rewards.functions``."""
