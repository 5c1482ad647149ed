"""Forked and spawned processes. How each runtime behaves is tested in runtimes/test_conformance."""

import multiprocessing
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from halnet import FaceDetector, Predictor
from halnet.benchmarks.samples import portrait, sample_crops
from halnet.runtimes.fake import FakeRuntime

InFork = Callable[[Callable[[], Any]], Any]

CROPS = sample_crops()[:4]
PATIENCE = 60  # seconds before a process is taken for one that hangs

needs_fork = pytest.mark.skipif(sys.platform != "linux", reason="needs fork")


PROGRAM = """
import os, signal, sys
from halnet import open_runtime
from halnet.benchmarks.samples import sample_crops

crops = sample_crops()[:4]
runtime = open_runtime(None, "onnxruntime", threads=2)
expected = runtime.run(crops).age
process = os.fork()
if process:
    sys.exit(os.waitstatus_to_exitcode(os.waitpid(process, 0)[1]))
signal.alarm(30)  # a process that hangs must not outlive the test
same = abs(runtime.run(crops).age - expected).max() < 1e-3
runtime.close()
sys.exit(7 if same else 8)
"""


@needs_fork
def test_a_forked_process_can_end_as_any_other(tmp_path: Path) -> None:
    """A server that loads the model before it forks would otherwise wait for its workers."""
    done = subprocess.run([sys.executable, "-c", PROGRAM], timeout=PATIENCE, check=False)
    assert done.returncode == 7


@needs_fork
def test_a_lock_that_was_held_during_the_fork_does_not_stop_the_detector(
    yunet: Path, in_fork: InFork
) -> None:
    photo, face = portrait()
    detector = FaceDetector(yunet, engine="opencv")
    with vars(detector._engine)["_lock"]:
        (found,) = in_fork(lambda: detector(photo))
    np.testing.assert_allclose(found.box, face.box, atol=1)


def test_a_predictor_is_opened_again_in_a_spawned_process() -> None:
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, context) as pool:
        for predictor in (Predictor(FakeRuntime(), flip=True), Predictor(runtime="onnxruntime")):
            found = pool.submit(predictor.predict_crops, CROPS).result(PATIENCE)
            np.testing.assert_allclose(found.age, predictor.predict_crops(CROPS).age, atol=1e-3)
