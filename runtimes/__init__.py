"""Runtimes: interchangeable back ends behind one protocol.

To add one, write a file beside this one with a class that follows `base.Runtime` and a function
`devices`, both of which import their SDK inside functions only, and give it a line in `BACKENDS`.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from halnet.errors import ArtifactError, ConfigError, RuntimeUnavailableError
from halnet.runtimes.base import Batches, Crops, Runtime, RuntimeSpec

__all__ = [
    "BACKENDS",
    "Availability",
    "Batches",
    "Crops",
    "Runtime",
    "RuntimeSpec",
    "choose_runtime",
    "describe",
    "fitting",
    "installed",
    "open_runtime",
    "survey",
]


@dataclass(frozen=True)
class Backend:
    """One line of the table of back ends."""

    module: str  # below halnet.runtimes
    factory: str  # class in it: (model, device, threads, mode)
    endings: tuple[str, ...]  # of the names of the model files, or folders, that it runs
    devices: dict[str, tuple[str, ...]]  # kind: distributions, any of which runs on it
    cure: str  # what to do when none is installed
    modes: tuple[str, ...] = ("latency",)

    @property
    def packages(self) -> tuple[str, ...]:
        """Return the distributions, any of which brings the library."""
        return tuple(dict.fromkeys(name for names in self.devices.values() for name in names))


BACKENDS = {  # in the order of choice
    "onnxruntime": Backend(
        "ort",
        "OnnxRuntime",
        (".onnx",),
        {"cpu": ("onnxruntime", "onnxruntime-gpu"), "cuda": ("onnxruntime-gpu",)},
        "pip install 'halnet[onnxruntime]'",
    ),
    "openvino": Backend(
        "ov",
        "OpenVINORuntime",
        ("_openvino_model", ".xml", ".onnx"),
        dict.fromkeys(("cpu", "gpu", "npu"), ("openvino",)),
        "pip install 'halnet[openvino]'",
        ("latency", "throughput"),
    ),
    "tensorrt": Backend(
        "trt",
        "TensorRTRuntime",
        (".engine",),
        {"cuda": ("tensorrt-rtx", "tensorrt")},
        "pip install 'halnet[tensorrt-rtx]'",
    ),
    "pytorch": Backend(
        "pytorch",
        "PyTorchRuntime",
        (".safetensors",),
        dict.fromkeys(("cpu", "cuda"), ("torch",)),
        "pip install 'halnet[train]'",
    ),
    "fake": Backend("fake", "FakeRuntime", (".fake",), {"cpu": ("halnet",)}, ""),
}


def open_runtime(
    model: str | Path,
    runtime: str = "auto",
    device: str = "auto",
    threads: int | None = None,
    mode: str = "latency",
) -> Runtime:
    """Load a model file, or folder, into a back end.

    `runtime` is a name of `BACKENDS`, or "auto": the first installed that runs this kind of file
    on this kind of device; `spec` says which. `device` is "auto", "cpu" or what the back end names
    ("cuda", "cuda:1", "gpu", "npu"). `mode` is "latency", for one call after the other, or where
    the back end has it "throughput", for many crops a call. What is asked for is what runs.

    Raises ConfigError for a name that does not exist, ArtifactError for a file that the back end
    cannot run, RuntimeUnavailableError where the back end or device is missing.
    """
    if runtime == "auto":
        runtime = choose_runtime(model, device)
    if runtime not in BACKENDS:
        raise ConfigError(f"runtime {runtime}: expected one of {', '.join(BACKENDS)} or auto")
    backend = BACKENDS[runtime]
    if runtime != "fake":
        _check_file(Path(model), runtime, backend)
    if threads is not None and threads < 1:
        raise ConfigError(f"threads: expected at least 1, found {threads}")
    if mode not in backend.modes:
        having = [name for name, other in BACKENDS.items() if mode in other.modes]
        raise ConfigError(
            f"mode {mode}: runtime {runtime} has {', '.join(backend.modes)}"
            + (f"; {', '.join(having)} has {mode}" if having else "")
        )
    module = import_module(f"halnet.runtimes.{backend.module}")
    loaded: Runtime = getattr(module, backend.factory)(model, device, threads, mode)
    return loaded


def choose_runtime(model: str | Path, device: str = "auto") -> str:
    """Return the first back end installed that runs this kind of file on this kind of device.

    Where none is installed, the first that could: opening it names the cure.
    """
    able = fitting(model)
    if not able:
        known = ", ".join({e: None for backend in BACKENDS.values() for e in backend.endings})
        raise ArtifactError(
            f"{model}: expected a model whose name ends in one of {known}; "
            "make one with halnet export"
        )
    # An unknown device is refused by the back end, which knows those that there are.
    return (installed(able, device) or installed(able) or able)[0]


def fitting(model: str | Path) -> list[str]:
    """Return the back ends that run files of this name, in their order; none for other files."""
    name = Path(model).name
    return [key for key, backend in BACKENDS.items() if name.endswith(backend.endings)]


def installed(names: Iterable[str] = tuple(BACKENDS), device: str = "auto") -> list[str]:
    """Return those back ends, in their order, whose libraries for a kind of device are installed.

    None of the libraries is imported.
    """
    found = []
    for name in names:
        backend = BACKENDS[name]
        packages = backend.packages if device == "auto" else backend.devices.get(_kind(device), ())
        if _version(packages):
            found.append(name)
    return found


def _kind(device: str) -> str:
    """Return "cuda" of "cuda:1", "gpu" of "GPU.0"."""
    return device.lower().replace(":", ".").split(".", maxsplit=1)[0]


def _check_file(path: Path, runtime: str, backend: Backend) -> None:
    if not path.name.endswith(backend.endings):
        others = fitting(path)
        cure = f"; runtime {' or '.join(others)} runs it" if others else ""
        raise ArtifactError(
            f"{path}: runtime {runtime} runs models that end in {' or '.join(backend.endings)}"
            f"{cure}"
        )
    if not path.exists():
        raise ArtifactError(f"{path}: no such model file; make one with halnet export")


def describe(model: str | Path) -> RuntimeSpec:
    """Return what a model file says of itself, also where no device here can run it."""
    name = choose_runtime(model)
    module = import_module(f"halnet.runtimes.{BACKENDS[name].module}")
    if hasattr(module, "describe"):
        _check_file(Path(model), name, BACKENDS[name])
        spec: RuntimeSpec = module.describe(Path(model))
        return spec
    with open_runtime(model, name) as runtime:
        return runtime.spec


@dataclass(frozen=True)
class Availability:
    """The state of a back end here."""

    runtime: str
    version: str | None  # of its library; None: not installed
    devices: tuple[str, ...]  # that it can run on now
    problem: str  # why it cannot run, with the cure; empty where it can


def survey() -> list[Availability]:
    """Return the state of every back end, asking the libraries installed for their devices."""
    return [_look(name, backend) for name, backend in BACKENDS.items()]


def _look(name: str, backend: Backend) -> Availability:
    number = _version(backend.packages)
    if number is None:
        return Availability(name, None, (), backend.cure)
    try:
        devices = import_module(f"halnet.runtimes.{backend.module}").devices()
    except RuntimeUnavailableError as error:
        return Availability(name, number, (), str(error))
    return Availability(name, number, tuple(devices), "")


def _version(packages: tuple[str, ...]) -> str | None:
    for package in packages:
        try:
            return version(package)
        except PackageNotFoundError:
            continue
    return None
