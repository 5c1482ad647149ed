"""Prints ages and standard deviations in years, with ONNX Runtime and NumPy but without halnet.

Usage: plain_onnxruntime.py MODEL CROPS

MODEL is an .onnx file that `halnet export` wrote. CROPS is a .npy file with aligned face crops,
N x 224 x 224 x 3 uint8 RGB.
"""

import sys

import numpy as np
import onnxruntime

session = onnxruntime.InferenceSession(sys.argv[1], providers=["CPUExecutionProvider"])
ages, deviations, _ = session.run(None, {"image": np.load(sys.argv[2])})
for age, deviation in zip(ages, deviations, strict=True):
    print(f"{age:.3f} {deviation:.3f}")
