"""The whole loop beside what a user would pick instead: ``unigrpo bench all``, ``unigrpo bench quick``."""
