"""Worker of the study `versions`: one version of halnet in a process of its own.

It is run as a file, with the folder of its version first in PYTHONPATH, and uses only what all
versions have. It reads a JSON object from each line of standard input, and answers with one.

- {"open": MODEL, "detector": FILE, "threads": N}: open a predictor that runs in ONNX Runtime.
- {"photo": FILE, "runs": N}: the seconds of N runs, from the bytes of the file to ages, after one
  run that does not count, and the ages.
- {"crops": N, "runs": M}: the seconds of M runs of the model with N crops, after one run.
"""

import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np


def measure(runs: int, run: Callable[[], Any]) -> list[float]:
    """Return the seconds of each of several runs, after one run that does not count."""
    run()
    seconds = []
    for _ in range(runs):
        start = time.perf_counter()
        run()
        seconds.append(time.perf_counter() - start)
    return seconds


class Worker:
    """Answers tasks with one predictor."""

    predictor: Any = None

    def answer(self, task: dict[str, Any]) -> dict[str, Any]:
        """Do one task, and return what was measured."""
        if "open" in task:
            import halnet.predictor  # of the version that PYTHONPATH names

            model, detector, threads = (task[key] for key in ("open", "detector", "threads"))
            self.predictor = halnet.predictor.Predictor(
                model, runtime="onnxruntime", threads=threads, detector=detector
            )
            return {"package": halnet.predictor.__file__}
        if "photo" in task:
            data = Path(task["photo"]).read_bytes()
            return {
                "seconds": measure(task["runs"], lambda: self.predictor(data)),
                "ages": [face.age for face in self.predictor(data)],
            }
        crops = np.zeros((task["crops"], 224, 224, 3), np.uint8)
        return {"seconds": measure(task["runs"], lambda: self.predictor.predict_crops(crops))}


def main() -> None:
    """Answer each line of standard input."""
    worker = Worker()
    for line in sys.stdin:
        print(json.dumps(worker.answer(json.loads(line))), flush=True)


if __name__ == "__main__":
    main()
