"""Evaluation that others accept: all rows, several samples a prompt, comparisons, other harnesses, official layouts."""
