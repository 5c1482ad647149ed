"""The protocol that every back end follows, and what they share."""

import os
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Protocol, Self

import numpy as np
from numpy.typing import NDArray

from halnet.artifact import INPUT, INPUT_NAME, OUTPUT_NAMES, Metadata
from halnet.closing import Closing
from halnet.errors import ArtifactError, ConfigError
from halnet.results import Outputs, join_outputs

Crops = NDArray[np.uint8]  # N x 224 x 224 x 3 RGB


@dataclass(frozen=True)
class BatchLimits:
    """How many crops a model file takes in one inference."""

    minimum: int = 1
    maximum: int | None = None  # None: any number

    def __str__(self) -> str:
        if self.minimum == self.maximum:
            return str(self.maximum)
        return "any" if self.maximum is None else f"{self.minimum} to {self.maximum}"


@dataclass(frozen=True)
class RuntimeOptions:
    """Which back end runs a model, and how. What is not "auto" is what runs, or an error."""

    runtime: str = "auto"  # a name in `backends.BACKENDS`, or "auto"
    device: str = "auto"  # "auto", "cpu", or a device that the back end knows: "cuda:1", "gpu"
    threads: int | None = None  # of one inference on a CPU; None: one for each core
    mode: str = "latency"  # "latency" for single calls, "throughput" for many crops in one call

    def __post_init__(self) -> None:
        if self.threads is not None and self.threads < 1:
            raise ConfigError(f"threads: expected at least 1, found {self.threads}")


@dataclass(frozen=True)
class RuntimeSpec:
    """What runs, on what: what was asked for is what is stated here."""

    runtime: str  # name in the table of back ends, "onnxruntime"
    version: str  # of the library
    provider: str  # as the library names it: "CPUExecutionProvider", "cuda:0"
    threads: int  # of one inference; 0 where the library decides
    model: str  # path of the model file
    metadata: Metadata
    batch_limits: BatchLimits = BatchLimits()
    mode: str = "latency"  # see `RuntimeOptions`


class Runtime(Protocol):
    """A model loaded into one back end. Close it, or use it as a context manager."""

    @property
    def spec(self) -> RuntimeSpec:
        """What runs, on what."""
        ...

    def run(self, images: Crops) -> Outputs:
        """Return the outputs for N x 224 x 224 x 3 uint8 RGB crops, N at least 1."""
        ...

    def close(self) -> None:
        """Free what the back end holds; a second call does nothing."""
        ...

    def __enter__(self) -> Self: ...

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None: ...


class RuntimeBase(Closing):
    """Context manager, input check and batches, shared by the back ends."""

    spec: RuntimeSpec

    def run(self, images: Crops) -> Outputs:
        """Return the outputs for N x 224 x 224 x 3 uint8 RGB crops, N at least 1.

        More crops than the model takes go in several inferences; fewer are filled up with copies
        of the last. Raises ConfigError for anything else than such crops.
        """
        crops = check_crops(images)
        limits = self.spec.batch_limits
        maximum = limits.maximum or len(crops)
        parts = []
        for start in range(0, len(crops), maximum):
            part = crops[start : start + maximum]
            missing = max(0, limits.minimum - len(part))
            if missing:
                part = np.concatenate([part, np.repeat(part[-1:], missing, axis=0)])
            parts.append(self._infer(part))
        return join_outputs(parts, len(crops))

    def _infer(self, crops: Crops) -> Outputs:
        """Return the outputs for contiguous crops, as many as the model takes."""
        raise NotImplementedError


def check_crops(images: Crops) -> Crops:
    """Return `images`, C-contiguous, if they are N x 224 x 224 x 3 uint8; else ConfigError."""
    expected = (INPUT.size, INPUT.size, 3)
    if images.dtype != np.uint8 or images.ndim != 4 or images.shape[1:] != expected:
        raise ConfigError(
            f"crops must be N x {INPUT.size} x {INPUT.size} x 3 uint8 RGB, "
            f"got {images.dtype} of shape {images.shape}"
        )
    if len(images) == 0:
        raise ConfigError("crops must be at least one, got an empty batch")
    return np.ascontiguousarray(images)


def check_signature(
    model: str | Path, inputs: list[tuple[str, str]], outputs: tuple[str, ...], uint8: str
) -> None:
    """Raise ArtifactError unless (name, type) of the inputs and the outputs are the contract's.

    `uint8` is what the library calls that type.
    """
    if inputs != [(INPUT_NAME, uint8)] or outputs != OUTPUT_NAMES:
        raise ArtifactError(
            f"{model}: expected the input {INPUT_NAME} (uint8) and the outputs "
            f"{', '.join(OUTPUT_NAMES)}, found {inputs} and {', '.join(outputs)}"
        )


def thread_count(threads: int | None) -> int:
    """Return the threads asked for, or as many as there are cores."""
    return threads or os.cpu_count() or 1
