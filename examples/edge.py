"""An edge application: numpy, OpenCV and one runtime, no PyTorch. Usage: edge.py PHOTO..."""

import sys

from halnet import Predictor

predictor = Predictor()  # the bundled model on the best runtime installed
print(f"{predictor.spec.runtime} {predictor.spec.version}, {predictor.spec.provider}")
for photo in sys.argv[1:]:
    for face in predictor(photo):
        low, high = face.interval(0.9)
        print(f"{photo}: {face.age:.1f} years, 90 % between {low:.1f} and {high:.1f}")
