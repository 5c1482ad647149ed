"""The process that a training runs in: what the training changes there, and how it is restored."""

import logging
import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

import cv2
import torch
from lightning.pytorch.utilities.seed import isolate_rng

# Environment variables that Lightning sets.
VARIABLES = (
    *("PL_GLOBAL_SEED", "PL_SEED_WORKERS"),
    *("MASTER_ADDR", "MASTER_PORT", "WORLD_SIZE", "NODE_RANK", "LOCAL_RANK"),
)


@contextmanager
def restored_host() -> Iterator[None]:
    """Restore, at the end of a block, what a training changes in its process.

    These are the states of the random numbers of Python, NumPy and PyTorch, the numbers of threads
    of PyTorch and OpenCV, environment variables, warning filters and the level of Lightning's log.
    In the block, the default dtype of PyTorch is float32. What `keep_freed_memory` sets stays,
    because the C library cannot tell what it was before.
    """
    environment = {name: os.environ.get(name) for name in VARIABLES}
    log = logging.getLogger("lightning.pytorch")
    level, dtype = log.level, torch.get_default_dtype()
    threads, opencv_threads = torch.get_num_threads(), cv2.getNumThreads()
    failure: BaseException | None = None
    # To read the state of CUDA's random numbers would start CUDA on every GPU.
    has_cuda = bool(torch.cuda.is_initialized())  # type: ignore[no-untyped-call]
    with isolate_rng(include_cuda=has_cuda), warnings.catch_warnings():
        torch.set_default_dtype(torch.float32)
        try:
            yield
        except BaseException as error:  # noqa: BLE001 - isolate_rng restores nothing if it raises
            failure = error
        finally:
            torch.set_default_dtype(dtype)
            torch.set_num_threads(threads)
            if cv2.getNumThreads() != opencv_threads:  # in a forked process, setting it can hang
                cv2.setNumThreads(opencv_threads)
            log.setLevel(level)
            for name, value in environment.items():
                if value is None:
                    os.environ.pop(name, None)
                else:
                    os.environ[name] = value
    if failure is not None:
        raise failure
