"""Choices from outside the packages: each is one file and one line, in a package that a test makes."""
