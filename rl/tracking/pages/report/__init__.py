"""One page about one run or several: curves, health, seconds, faults, samples, settings."""
