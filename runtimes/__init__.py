"""Runtimes: interchangeable back ends behind one protocol.

To add one, write a file beside this one with a class that follows `base.Runtime`, imports its SDK
inside its functions only, and give it a line in `BACKENDS`.
"""

from dataclasses import dataclass
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from halnet.errors import ArtifactError, ConfigError
from halnet.runtimes.base import Crops, Runtime, RuntimeSpec

__all__ = ["BACKENDS", "Availability", "Crops", "Runtime", "RuntimeSpec", "open_runtime", "survey"]


@dataclass(frozen=True)
class Backend:
    """One line of the table of back ends."""

    module: str  # below halnet.runtimes
    factory: str  # class in it: (model, device, threads)
    suffixes: tuple[str, ...]  # of the model files that it runs
    packages: tuple[str, ...]  # distributions, any of which brings the SDK
    cure: str  # what to do when it is missing


BACKENDS = {
    "onnxruntime": Backend(
        "ort",
        "OnnxRuntime",
        (".onnx",),
        ("onnxruntime", "onnxruntime-gpu"),
        "pip install 'halnet[onnxruntime]'",
    ),
    "pytorch": Backend(
        "pytorch",
        "PyTorchRuntime",
        (".safetensors",),
        ("torch",),
        "pip install 'halnet[train]'",
    ),
    "fake": Backend("fake", "FakeRuntime", (".fake",), ("halnet",), ""),
}


def open_runtime(
    model: str | Path, runtime: str = "auto", device: str = "auto", threads: int | None = None
) -> Runtime:
    """Load a model file into a back end.

    `runtime` is a name of `BACKENDS`, or "auto": the one that runs this kind of file. `device` is
    "auto", "cpu" or what the back end names. What is asked for is what runs.

    Raises ConfigError for a name that does not exist, ArtifactError for a file that the back end
    cannot run, RuntimeUnavailableError where the back end or device is missing.
    """
    if runtime == "auto":
        runtime = _runtime_for(model)
    if runtime not in BACKENDS:
        raise ConfigError(f"runtime {runtime}: expected one of {', '.join(BACKENDS)} or auto")
    backend = BACKENDS[runtime]
    if runtime != "fake":
        _check_file(Path(model), runtime, backend)
    if threads is not None and threads < 1:
        raise ConfigError(f"threads: expected at least 1, found {threads}")
    module = import_module(f"halnet.runtimes.{backend.module}")
    loaded: Runtime = getattr(module, backend.factory)(model, device, threads)
    return loaded


def _runtime_for(model: str | Path) -> str:
    suffix = Path(model).suffix
    for name, backend in BACKENDS.items():
        if suffix in backend.suffixes:
            return name
    known = ", ".join(suffix for backend in BACKENDS.values() for suffix in backend.suffixes)
    raise ArtifactError(f"{model}: expected a model file ({known}), found {suffix or 'no suffix'}")


def _check_file(path: Path, runtime: str, backend: Backend) -> None:
    if not path.exists():
        raise ArtifactError(f"{path}: no such model file; make one with halnet export")
    if path.suffix not in backend.suffixes:
        raise ArtifactError(
            f"{path}: runtime {runtime} runs {' or '.join(backend.suffixes)} files, "
            f"found {path.suffix or 'no suffix'}"
        )


@dataclass(frozen=True)
class Availability:
    """Whether a back end's library is installed here."""

    runtime: str
    version: str | None  # None: not installed
    cure: str  # what to do when it is missing


def survey() -> list[Availability]:
    """Return the state of every back end, without importing any of their libraries."""
    return [
        Availability(name, _version(backend.packages), backend.cure)
        for name, backend in BACKENDS.items()
    ]


def _version(packages: tuple[str, ...]) -> str | None:
    for package in packages:
        try:
            return version(package)
        except PackageNotFoundError:
            continue
    return None
