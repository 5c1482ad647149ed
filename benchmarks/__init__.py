"""Benchmarks: compare artifacts with PyTorch FP32, and measure how fast runtimes are."""
