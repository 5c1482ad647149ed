"""The first age: a process of its own that opens a model and runs it, for `start_up.py`.

    python -m halnet.benchmarks.timing.first_age MODEL RUNTIME DEVICE THREADS MODE BATCH

THREADS is 0 for one thread on each core. The process prints a line when it has the first age, and
after more runs its peak memory in megabytes, or "unknown".
"""

import os
import sys

import numpy as np

from halnet.benchmarks.usage import peak_memory
from halnet.errors import HalnetError
from halnet.faces.alignment import CROP_SIZE
from halnet.runtimes.backends import open_model
from halnet.runtimes.base import RuntimeOptions

MORE_RUNS = 10  # after which memory does not grow any more
GRAY = 128


def main(arguments: list[str]) -> None:
    """Open the model and run it."""
    model, runtime, device, threads, mode, batch = arguments
    crops = np.full((int(batch), CROP_SIZE, CROP_SIZE, 3), GRAY, np.uint8)
    options = RuntimeOptions(runtime, device, int(threads) or None, mode)
    with open_model(model, options) as opened:
        print(float(opened.run(crops).age[0]), flush=True)
        for _ in range(MORE_RUNS):
            opened.run(crops)
        print(peak_memory(os.getpid()) or "unknown", flush=True)


if __name__ == "__main__":
    try:
        main(sys.argv[1:])
    except HalnetError as error:
        sys.exit(str(error))
