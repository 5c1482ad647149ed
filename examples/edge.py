"""Prints the ages of the faces in photos. It needs NumPy, OpenCV and one runtime, but no PyTorch.

Usage: edge.py PHOTO...
"""

import sys

from halnet import Predictor

predictor = Predictor()  # the model that comes with halnet, on an installed runtime
print(predictor.spec.software)
for photo in sys.argv[1:]:
    for face in predictor(photo):
        low, high = face.interval(0.9)
        print(f"{photo}: {face.age:.1f} years, 90 % interval {low:.1f} to {high:.1f}")
