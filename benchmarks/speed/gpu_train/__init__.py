"""Whole runs on one GPU over Ray: ``python -m benchmarks.speed.gpu_train``."""
