"""Verifying answers to mathematics."""
