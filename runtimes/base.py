"""The protocol of a runtime, and what the back ends share."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol, Self

import numpy as np
from numpy.typing import NDArray

from halnet.ages import N_AGES
from halnet.artifact import INPUT, INPUT_NAME, OUTPUT_NAMES, Metadata, size_artifact
from halnet.closing import Closing
from halnet.cores import check_threads
from halnet.errors import ArtifactError, ConfigError, HalnetError, RuntimeUnavailableError
from halnet.forking import Forkable
from halnet.processor import adds_8_bit_products_exactly, cpu_features
from halnet.results import Outputs, join_outputs
from halnet.runtimes.device_clock import DeviceClock, DeviceTimes, read_marks

FULL_BITS = 8  # of weights that only some processors multiply exactly
Crops = NDArray[np.uint8]  # N x 224 x 224 x 3 RGB


@dataclass(frozen=True)
class BatchLimits:
    """How many crops a model file accepts in one inference."""

    minimum: int = 1
    maximum: int | None = None  # None: any number

    def __str__(self) -> str:
        if self.minimum == self.maximum:
            return str(self.maximum)
        return "any" if self.maximum is None else f"{self.minimum} to {self.maximum}"


@dataclass(frozen=True)
class RuntimeOptions:
    """How to run a model: with which runtime, on which device.

    A named runtime or device is used, or an error says why that is not possible. If a field is
    "auto", halnet chooses. Raises ConfigError if `threads` or `calls` is out of its range.
    """

    runtime: str = "auto"  # "auto", or a name in `halnet.runtimes.BACKENDS`
    device: str = "auto"  # "auto", "cpu", or another device of the runtime, such as "cuda:1", "gpu"
    threads: int | None = None  # CPU threads of one inference; None: one for each usable core
    mode: str = "latency"  # "latency" for single calls, "throughput" for many crops in one call
    calls: int = 1  # calls that threads of the program make at the same time, as a rule

    def __post_init__(self) -> None:
        check_threads(self.threads)
        if self.calls < 1:
            raise ConfigError(f"calls: expected at least 1, found {self.calls}")


@dataclass(frozen=True)
class RuntimeSpec:
    """What runs: the runtime, its device and the model file."""

    runtime: str  # name in `halnet.runtimes.BACKENDS`, such as "onnxruntime"
    version: str  # version of the library
    provider: str  # the device, as the library names it: "CPUExecutionProvider", "cuda:0"
    threads: int  # CPU threads of one inference; 0 if the library decides
    model: str  # path of the model file
    metadata: Metadata
    batch_limits: BatchLimits = BatchLimits()
    mode: str = "latency"  # see `RuntimeOptions`

    @property
    def software(self) -> str:
        """The runtime, its version and the provider, such as "openvino 2026.4.1, CPU"."""
        return f"{self.runtime} {self.version}, {self.provider}"

    def to_dict(self) -> dict[str, Any]:
        """Return what the model states, as JSON-ready values. "bytes" is None without a file."""
        metadata, path = self.metadata, Path(self.model)
        calibration = metadata.calibration
        return {
            "file": self.model,
            "bytes": size_artifact(path) if path.exists() else None,
            "runtime": self.software,
            "precision": metadata.precision,
            "weight_bits": metadata.weight_bits,
            "batch": str(self.batch_limits),
            "input": f"{metadata.input.describe()}, fingerprint {metadata.input.fingerprint()}",
            "way": metadata.input.way,
            "dataset": metadata.dataset,
            "split_sha256": metadata.split_sha256,
            "datasets": [asdict(trained) for trained in metadata.datasets],
            "licence": metadata.licence,
            "terms": metadata.terms,
            "checkpoint_sha256": metadata.checkpoint_sha256,
            "reference_mae": metadata.reference_mae,
            "temperature": calibration.temperature,
            "interval_levels": f"up to {len(calibration.quantiles)} %",
            "calibration": calibration.to_dict(),
            "minor_errors": metadata.minor_errors,
        }


class Runtime(Protocol):
    """A model that a back end has loaded. Close it, or use it as a context manager."""

    @property
    def spec(self) -> RuntimeSpec:
        """What runs: the runtime, its device and the model file."""
        ...

    def run(self, images: Crops) -> Outputs:
        """Return the outputs for N x 224 x 224 x 3 uint8 RGB crops. N is at least 1."""
        ...

    def time_on_device(self, images: Crops) -> DeviceTimes | None:
        """Run crops once and return the times by the clock of the GPU; None if there is none."""
        ...

    def close(self) -> None:
        """Release the model. A second call does nothing."""
        ...

    def __enter__(self) -> Self: ...

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None: ...


class RuntimeBase(Forkable, Closing):
    """Base class of the back ends: it checks the crops and divides them into batches.

    A runtime that is pickled is opened again, with the same arguments, where it is unpickled.
    """

    spec: RuntimeSpec
    _clock: DeviceClock | None = None  # `_open` sets it where the device has a clock
    _marks: list[Any] | None = None  # of the run that is being timed; None: no run is

    def __init__(self, model: Any, options: RuntimeOptions = RuntimeOptions()) -> None:
        """Open a model, which is a path or what else the back end accepts."""
        super().__init__()
        self._model = Path(model).absolute() if isinstance(model, str | Path) else model
        self._options = options
        self._open(model, options)

    def _open(self, model: Any, options: RuntimeOptions) -> None:
        """Load the model and set `spec`."""
        raise NotImplementedError

    def __reduce__(self) -> tuple[Any, ...]:
        self.check_open()
        return type(self), (self._model, self._options)

    def run(self, images: Crops) -> Outputs:
        """Return the outputs for N x 224 x 224 x 3 uint8 RGB crops. N is at least 1.

        If there are more crops than the model accepts, they are divided into several inferences. If
        there are fewer, the last crop is repeated. Raises ConfigError for anything else than crops
        and after close(), ArtifactError if the model is damaged, and RuntimeUnavailableError in a
        forked process that cannot run the model (see `halnet.forking`).
        """
        self.check_open()
        crops = check_crops(images)
        self.check_process()
        limits = self.spec.batch_limits
        maximum = limits.maximum or len(crops)
        parts = []
        for start in range(0, len(crops), maximum):
            part = crops[start : start + maximum]
            missing = self._fill_up(len(part)) - len(part)
            if missing:
                part = np.concatenate([part, np.repeat(part[-1:], missing, axis=0)])
            parts.append(self._infer(part))
            _check_outputs(self.spec.model, parts[-1], len(part))
        return join_outputs(parts, len(crops))

    def time_on_device(self, images: Crops) -> DeviceTimes | None:
        """Run crops once and return the times by the clock of the GPU; None if there is none.

        Only one thread at a time may call this. Raises what `run` raises.
        """
        self.check_open()
        if self._clock is None:
            return None
        self._marks = []
        try:
            self.run(images)
            return read_marks(self._clock, self._marks)
        finally:
            self._marks = None

    def _fill_up(self, count: int) -> int:
        """Return how many crops an inference for `count` crops has: some may be repeated."""
        return max(count, self.spec.batch_limits.minimum)

    def _infer(self, crops: Crops) -> Outputs:
        """Return the outputs for C-contiguous crops, as many as the model accepts at once.

        Where there is a `_clock`, this calls `_mark` at each of the moments in `MARKS`.
        """
        raise NotImplementedError

    def _mark(self) -> None:
        """Mark this moment if the run is being timed."""
        if self._clock is not None and self._marks is not None:
            self._marks.append(self._clock.mark())


def check_crops(images: Crops) -> Crops:
    """Return `images` as a C-contiguous array; ConfigError unless it is N x 224 x 224 x 3 uint8."""
    expected = (INPUT.size, INPUT.size, 3)
    if not isinstance(images, np.ndarray):
        raise ConfigError(
            f"crops: expected an array of N x {INPUT.size} x {INPUT.size} x 3 uint8 RGB, found "
            f"{type(images).__name__}"
        )
    if images.dtype != np.uint8 or images.ndim != 4 or images.shape[1:] != expected:
        raise ConfigError(
            f"crops: expected N x {INPUT.size} x {INPUT.size} x 3 uint8 RGB, "
            f"found {images.dtype} of shape {images.shape}"
        )
    if len(images) == 0:
        raise ConfigError("crops: expected at least one, found an empty array")
    return np.ascontiguousarray(images)


def check_weights(metadata: Metadata, model: str | Path) -> None:
    """Raise RuntimeUnavailableError if this processor cannot compute a model's integers exactly.

    Without VNNI, x86 adds two products of 8-bit integers in 16 bits. With weights of 8 bits these
    sums can saturate, so that ages would depend on the machine.
    """
    if metadata.weight_bits == FULL_BITS and adds_8_bit_products_exactly() is False:
        raise RuntimeUnavailableError(
            f"{model}: this INT8 model has weights of 8 bits, for x86 processors with VNNI and for "
            f"Arm; expected VNNI, found {', '.join(cpu_features()) or 'neither'}; export the "
            "checkpoint with --weight-bits 7, or use the FP32 model"
        )


@contextmanager
def library_errors(model: str | Path, problem: str, line: int = 0) -> Iterator[None]:
    """Turn whatever a library raises for a model file into ArtifactError.

    For a damaged file, the class of such an error depends on the damage. If its message has several
    lines, the one with the index `line` states the reason.
    """
    try:
        yield
    except HalnetError:
        raise
    except Exception as error:
        lines = [text.strip() for text in str(error).splitlines() if text.strip()]
        reason = lines[line] if lines else type(error).__name__
        raise ArtifactError(
            f"{model}: {problem}: {reason}; export the checkpoint again, or use another device"
        ) from error


def _check_outputs(model: str, outputs: Outputs, count: int) -> None:
    """Raise ArtifactError unless the outputs have the shapes of an artifact's for `count` crops."""
    expected = ((count,), (count,), (count, N_AGES))
    found = tuple(np.shape(getattr(outputs, name)) for name in OUTPUT_NAMES)
    if found != expected:
        raise ArtifactError(
            f"{model}: expected {', '.join(OUTPUT_NAMES)} of the shapes {expected}, found {found}; "
            "export the checkpoint again"
        )


def check_signature(
    model: str | Path, inputs: list[tuple[str, str]], outputs: tuple[str, ...], uint8: str
) -> None:
    """Raise ArtifactError unless a model has the input and the outputs of an artifact.

    `inputs` are pairs of a name and a type, `outputs` are names, and `uint8` is how the library
    names that type.
    """
    if inputs != [(INPUT_NAME, uint8)] or outputs != OUTPUT_NAMES:
        raise ArtifactError(
            f"{model}: expected the input {INPUT_NAME} (uint8) and the outputs "
            f"{', '.join(OUTPUT_NAMES)}, found {inputs} and {', '.join(outputs)}; "
            "make a model with halnet export"
        )
