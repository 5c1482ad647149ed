"""Benchmarks: how exact a runtime is, how fast, and that its ages survived the export."""
