"""The system on one GPU, without Ray: ``python -m benchmarks.speed.gpu``."""
