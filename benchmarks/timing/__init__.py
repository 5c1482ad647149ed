"""Timing: runtimes side by side in turns, how certain a time is, and how a process starts."""
