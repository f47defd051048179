"""Puzzles that are judged by their rules."""
