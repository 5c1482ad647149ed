"""The back end LiteRT: it runs `.tflite` artifacts on the CPU, with the kernels of XNNPACK."""

import threading
from pathlib import Path
from typing import Any

import numpy as np

from halnet.artifact import INPUT_NAME, OUTPUT_NAMES
from halnet.cores import thread_count
from halnet.errors import RuntimeUnavailableError
from halnet.packages import installed_version
from halnet.results import Outputs, join_outputs
from halnet.runtimes.base import (
    Crops,
    RuntimeBase,
    RuntimeOptions,
    RuntimeSpec,
    check_signature,
    library_errors,
)
from halnet.runtimes.litert_file import LIBRARY, import_part, read_litert

PROVIDER = "XNNPACK"  # the delegate that computes on the CPU, as the library names it
DELEGATE = "DELEGATE"  # the operation that stands for all operations that a delegate computes


class LiteRTRuntime(RuntimeBase):
    """A LiteRT artifact in an interpreter. Several threads may share it; their calls take turns.

    The interpreter computes one crop at a time, unless the file has a fixed batch size: several
    crops at once are not faster on a CPU, and for each other number of crops it would plan its
    memory again.
    """

    def _open(self, model: str | Path, options: RuntimeOptions) -> None:
        if options.device not in ("auto", "cpu"):
            raise RuntimeUnavailableError(
                f"runtime litert: expected device cpu, found {options.device}"
            )
        library = import_interpreter()
        file = read_litert(model)
        count = thread_count(options.threads)
        with library_errors(model, "LiteRT cannot load it"):
            interpreter = library.Interpreter(model_content=file.data, num_threads=count)
            interpreter.allocate_tensors()
            runner = interpreter.get_signature_runner()  # of the only signature
            images = runner.get_input_details().items()
            inputs = [(name, np.dtype(image["dtype"]).name) for name, image in images]
            outputs = tuple(sorted(runner.get_output_details(), key=_position))
            operations = {entry["op_name"] for entry in interpreter._get_ops_details()}
        check_signature(model, inputs, outputs, "uint8")
        if DELEGATE not in operations:  # other kernels give the same ages in ten times the time
            raise RuntimeUnavailableError(
                f"runtime litert: expected {PROVIDER}, found a build of {LIBRARY} "
                f"{installed_version(LIBRARY)} without it; pip install 'halnet[litert]'"
            )
        self._interpreter: Any = interpreter
        self._runner: Any = runner
        self._lock = threading.Lock()
        self.spec = RuntimeSpec(
            "litert",
            str(installed_version(LIBRARY)),
            PROVIDER,
            count,
            str(model),
            file.metadata,
            file.batch_limits,
            options.mode,
        )

    def close(self) -> None:
        """Release the interpreter."""
        super().close()
        self._interpreter = self._runner = None

    def _after_fork(self) -> None:
        """Open an interpreter with threads of its own."""
        self._open(self._model, self._options)

    def _infer(self, crops: Crops) -> Outputs:
        size = self.spec.batch_limits.maximum or 1
        with library_errors(self.spec.model, "LiteRT cannot run it"), self._lock:
            self.check_open()
            parts = [self._run(crops[i : i + size]) for i in range(0, len(crops), size)]
        return join_outputs(parts)

    def _run(self, crops: Crops) -> Outputs:
        """Run as many crops as the interpreter was opened for."""
        found = self._runner(**{INPUT_NAME: crops})
        return Outputs(*(found[name] for name in OUTPUT_NAMES))


def describe(model: Path) -> RuntimeSpec:
    """Return the metadata of a `.tflite` file, which is read but not run."""
    file = read_litert(model)
    version = str(installed_version(LIBRARY))
    return RuntimeSpec("litert", version, "cpu", 0, str(model), file.metadata, file.batch_limits)


def devices() -> list[str]:
    """Return the devices of this runtime, ["cpu"]."""
    import_interpreter()
    return ["cpu"]


def import_interpreter() -> Any:
    """Import the interpreter; RuntimeUnavailableError if it is not installed."""
    return import_part("interpreter")


def _position(name: str) -> tuple[int, str]:
    """Return where an output stands: those of an artifact in their order, then all others.

    The library lists the outputs of a signature in the order of their names.
    """
    return OUTPUT_NAMES.index(name) if name in OUTPUT_NAMES else len(OUTPUT_NAMES), name
