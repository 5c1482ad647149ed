"""Signals after models of OpenVINO were freed in the order in which they were opened."""

import subprocess
import sys

import pytest

SCRIPT = """
import signal
import numpy as np
from halnet.runtimes.backends import open_model
from halnet.runtimes.base import RuntimeOptions

models = [open_model(None, RuntimeOptions("openvino", threads=1)) for _ in range(3)]
for model in models:
    model.run(np.zeros((1, 224, 224, 3), np.uint8))
while models:
    models.pop(0).close()
signal.signal(signal.SIGTERM, signal.default_int_handler)
try:
    signal.raise_signal(signal.SIGTERM)
except KeyboardInterrupt:
    print("interrupted")
"""


def test_a_signal_after_openvino_is_handled() -> None:
    pytest.importorskip("openvino")
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT], capture_output=True, text=True, check=False, timeout=120
    )
    assert (done.returncode, done.stdout) == (0, "interrupted\n"), done.stderr
