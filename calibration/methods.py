"""The table of methods that measure the ranges of activations.

It has a file of its own, because the quantizer imports ONNX Runtime and the command line does not.
"""

from typing import Any

# Name of each method, its name in ONNX Runtime's `CalibrationMethod`, and its options. By default
# the entropy search starts with as many bins as there are levels, 128, so that it can choose only
# the whole range.
METHODS: dict[str, tuple[str, dict[str, Any]]] = {
    "minmax": ("MinMax", {}),
    "entropy": ("Entropy", {"num_bins": 512}),
    "percentile": ("Percentile", {"symmetric": False}),
}
