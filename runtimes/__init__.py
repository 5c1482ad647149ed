"""Runtimes: back ends that run a model file, all with the same interface."""

from halnet.runtimes.backends import BACKENDS, open_model, open_runtime
from halnet.runtimes.base import BatchLimits, Crops, Runtime, RuntimeOptions, RuntimeSpec

__all__ = [
    "BACKENDS",
    "BatchLimits",
    "Crops",
    "Runtime",
    "RuntimeOptions",
    "RuntimeSpec",
    "open_model",
    "open_runtime",
]
