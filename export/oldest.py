"""The oldest releases of the runtimes that open an artifact and give its ages, found by test.

`python -m halnet.benchmarks.studies.oldest_runtime DEPLOY` finds them. These were found on
2026-11-27 with artifacts of the bundled checkpoint, among the releases for Python 3.11 on x86-64.
Of these, the oldest are ONNX Runtime 1.15.0, OpenVINO 2023.0.0 and LiteRT 1.0.0. `make extras` runs
the bundled model in the releases for FP32.
"""

OPSET, IR_VERSION = 15, 8  # of the .onnx files that were tested
# The oldest release of each package, by format and precision. All later ones work too.
OLDEST = {
    ("onnx", "fp32"): {"onnxruntime": "1.15.0", "openvino": "2023.0.0"},
    ("onnx", "fp16"): {"onnxruntime": "1.15.0", "openvino": "2023.0.0"},
    ("onnx", "int8"): {"onnxruntime": "1.15.0", "openvino": "2023.1.0"},
    ("openvino", "fp32"): {"openvino": "2023.0.0"},
    ("openvino", "fp16"): {"openvino": "2023.0.0"},
    ("openvino", "int8"): {"openvino": "2023.1.0"},
    ("litert", "fp32"): {"ai-edge-litert": "1.0.0"},
    ("litert", "fp16"): {"ai-edge-litert": "1.4.0"},
}


def opens_with(name: str, precision: str) -> dict[str, str]:
    """Return which releases open an artifact, such as {"openvino": ">=2023.0.0"}.

    `name` is that of its format. The result is empty if no release is known.
    """
    found = OLDEST.get((name, precision), {})
    return {package: f">={release}" for package, release in found.items()}
