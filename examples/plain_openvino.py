"""Ages by OpenVINO and NumPy alone, without halnet. Usage: plain_openvino.py MODEL CROPS

MODEL is the halnet.xml of `halnet export`; CROPS a .npy file, N x 224 x 224 x 3 uint8 RGB, aligned.
"""

import sys

import numpy as np
import openvino

# The hint keeps float32 on machines that would choose bfloat16.
model = openvino.compile_model(sys.argv[1], "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
outputs = model(np.load(sys.argv[2]))
for age, deviation in zip(outputs["age"], outputs["stddev"], strict=True):
    print(f"{age:.3f} {deviation:.3f}")
