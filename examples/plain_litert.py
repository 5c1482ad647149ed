"""Prints ages and standard deviations in years, with LiteRT and NumPy but without halnet.

Usage: plain_litert.py MODEL CROPS

MODEL is a .tflite file that `halnet export` wrote. CROPS is a .npy file with aligned face crops,
N x 224 x 224 x 3 uint8 RGB.
"""

import sys

import numpy as np
from ai_edge_litert.interpreter import Interpreter

predict = Interpreter(model_path=sys.argv[1]).get_signature_runner()
for crop in np.load(sys.argv[2]):
    outputs = predict(image=crop[None])
    print(f"{outputs['age'][0]:.3f} {outputs['stddev'][0]:.3f}")
