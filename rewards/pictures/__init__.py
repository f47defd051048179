"""Rewards that look at drawings."""
