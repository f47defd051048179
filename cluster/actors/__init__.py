"""Supervised Ray actors: pools, calls, heartbeats, resources."""
