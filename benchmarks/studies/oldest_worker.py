"""Prints the age in years of the first crop in a file, with one runtime and without halnet.

Usage: oldest_worker.py PACKAGE MODEL CROPS

PACKAGE is onnxruntime, openvino or ai-edge-litert. CROPS is a .npy file of N x 224 x 224 x 3 uint8
RGB. The program runs with old releases of the package and of NumPy.
"""

import os
import sys
from collections.abc import Callable
from typing import Any

import numpy as np

Crops = Any  # NumPy of that time may not have the names for types of arrays


def run_onnxruntime(model: str, crops: Crops) -> Any:
    """Return the ages from an .onnx file."""
    import onnxruntime

    session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
    return session.run(["age"], {"image": crops})[0]


def run_openvino(model: str, crops: Crops) -> Any:
    """Return the ages from an .onnx file or an IR folder, computed in float32."""
    try:
        from openvino import Core
    except ImportError:  # before 2023.1
        from openvino.runtime import Core
    core = Core()
    network = core.read_model(os.path.join(model, "halnet.xml") if os.path.isdir(model) else model)
    compiled = core.compile_model(network, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    return compiled({"image": crops})[compiled.output("age")]


def run_litert(model: str, crops: Crops) -> Any:
    """Return the ages from a .tflite file."""
    from ai_edge_litert.interpreter import Interpreter

    return Interpreter(model).get_signature_runner()(image=crops)["age"]


RUN: dict[str, Callable[[str, Crops], Any]] = {
    "onnxruntime": run_onnxruntime,
    "openvino": run_openvino,
    "ai-edge-litert": run_litert,
}

if __name__ == "__main__":
    package, model, crops = sys.argv[1:]
    print(float(RUN[package](model, np.load(crops)[:1])[0]))
