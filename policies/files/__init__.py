"""Weights, tokenizers and folders on disk."""
