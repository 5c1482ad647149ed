"""Prints ages and standard deviations in years, with OpenVINO and NumPy but without halnet.

Usage: plain_openvino.py MODEL CROPS

MODEL is the file halnet.xml in a folder that `halnet export` wrote. CROPS is a .npy file with
aligned face crops, N x 224 x 224 x 3 uint8 RGB.
"""

import sys

import numpy as np
import openvino

# Without this hint, OpenVINO computes in bfloat16 on some machines, which shifts the ages.
model = openvino.compile_model(sys.argv[1], "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
outputs = model(np.load(sys.argv[2]))
for age, deviation in zip(outputs["age"], outputs["stddev"], strict=True):
    print(f"{age:.3f} {deviation:.3f}")
