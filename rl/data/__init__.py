"""Rows of files and generators, as prompts."""
