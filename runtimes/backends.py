"""The table of back ends: which one runs a model file, whether it is installed, and opening it.

To add a back end, write a file beside this one with a subclass of `base.RuntimeBase` and a function
`devices`, both of which import their SDK inside functions only, and add a line to `BACKENDS`.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from importlib import import_module
from pathlib import Path

from halnet.artifact import bundled
from halnet.errors import ArtifactError, ConfigError, RuntimeUnavailableError
from halnet.packages import installed_version
from halnet.runtimes.base import Runtime, RuntimeOptions, RuntimeSpec


@dataclass(frozen=True)
class Backend:
    """One line of the table of back ends."""

    module: str  # below halnet.runtimes
    factory: str  # class in it, called with (model, RuntimeOptions)
    endings: tuple[str, ...]  # of the names of the model files, or folders, that it runs
    devices: dict[str, tuple[str, ...]]  # kind of device: distributions, any of which runs on it
    cure: str  # how to install it
    modes: tuple[str, ...] = ("latency",)
    reads_file: bool = True  # False: no model file has to exist

    @property
    def packages(self) -> tuple[str, ...]:
        """The distributions, any of which brings the library."""
        return tuple(dict.fromkeys(name for names in self.devices.values() for name in names))


# In the order in which "auto" chooses. ONNX Runtime stands first, since an .onnx artifact is
# checked on it when it is exported: "auto" runs what was checked.
BACKENDS = {
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
        "pip install 'halnet[pytorch]'",
    ),
    "fake": Backend("fake", "FakeRuntime", (".fake",), {"cpu": ("halnet",)}, "", reads_file=False),
}
BUNDLED_FILES = ("halnet.onnx", "halnet.safetensors")  # of the model that comes with the package


def open_runtime(
    model: str | Path | None = None,
    runtime: str = "auto",
    device: str = "auto",
    threads: int | None = None,
    mode: str = "latency",
) -> Runtime:
    """Load a model file, or folder, into a back end; see `open_model`, which takes the same.

    What is asked for is what runs; what is left "auto" is chosen, and `spec` says what was.
    """
    return open_model(model, RuntimeOptions(runtime, device, threads, mode))


def open_model(
    model: str | Path | None = None, options: RuntimeOptions = RuntimeOptions()
) -> Runtime:
    """Load a model file, or folder, into a back end; None: the model that comes with the package.

    The runtime "auto" is the first of `BACKENDS` that runs this kind of file on the device and is
    installed.

    Raises ConfigError for a name that does not exist, ArtifactError for a file that the back end
    cannot run, RuntimeUnavailableError where the back end or the device is missing.
    """
    if options.runtime not in ("auto", *BACKENDS):
        raise ConfigError(f"runtime {options.runtime}: expected one of {', '.join(BACKENDS)}, auto")
    if model is None:
        name = bundled_runtime(options.device) if options.runtime == "auto" else options.runtime
        model = bundled_model(name)
    else:
        name = (
            choose_runtime(model, options.device)
            if options.runtime == "auto"
            else (options.runtime)
        )
    backend = BACKENDS[name]
    _check_file(Path(model), name)
    if options.mode not in backend.modes:
        others = [other for other, line in BACKENDS.items() if options.mode in line.modes]
        raise ConfigError(
            f"mode {options.mode}: runtime {name} supports {', '.join(backend.modes)}"
            + (f"; {', '.join(others)} supports {options.mode}" if others else "")
        )
    module = import_module(f"halnet.runtimes.{backend.module}")
    loaded: Runtime = getattr(module, backend.factory)(model, replace(options, runtime=name))
    return loaded


def choose_runtime(model: str | Path, device: str = "auto") -> str:
    """Return the first installed back end that runs this kind of file on this kind of device.

    Where none is installed, this is the first that could run it: opening that one names the cure.
    """
    able = runtimes_for(model)
    if not able:
        known = ", ".join({e: None for backend in BACKENDS.values() for e in backend.endings})
        raise ArtifactError(
            f"{model}: expected a model whose name ends in one of {known}; "
            "make one with halnet export"
        )
    # An unknown device is refused by the back end, which knows the devices that exist.
    return (installed(able, device) or installed(able) or able)[0]


def runtimes_for(model: str | Path) -> list[str]:
    """Return the back ends that run files of this name, in their order; none for other names."""
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
        if installed_version(*packages):
            found.append(name)
    return found


def bundled_runtimes() -> list[str]:
    """Return the back ends that run the model that comes with the package, in their order."""
    able = {name for file in BUNDLED_FILES for name in runtimes_for(file)}
    return [name for name in BACKENDS if name in able]


def bundled_runtime(device: str = "auto") -> str:
    """Return the first installed back end that runs the bundled model on this kind of device."""
    able = installed(bundled_runtimes(), device)
    if not able:
        raise RuntimeUnavailableError(
            f"no runtime is installed that runs the bundled model on device {device}; "
            "pip install 'halnet[onnxruntime]' installs the smallest one, for a CPU"
        )
    return able[0]


def bundled_model(runtime: str) -> Path:
    """Return the bundled model file for a back end; ConfigError where there is none for it."""
    for file in BUNDLED_FILES:
        if runtime in runtimes_for(file):
            return bundled(file)
    raise ConfigError(
        f"runtime {runtime}: the bundled model runs on {', '.join(bundled_runtimes())}; "
        "make another model file with halnet export and name it"
    )


def describe(model: str | Path) -> RuntimeSpec:
    """Return what a model file says of itself, even where no device here can run it."""
    name = choose_runtime(model)
    module = import_module(f"halnet.runtimes.{BACKENDS[name].module}")
    if hasattr(module, "describe"):
        _check_file(Path(model), name)
        spec: RuntimeSpec = module.describe(Path(model))
        return spec
    with open_model(model, RuntimeOptions(name)) as runtime:
        return runtime.spec


@dataclass(frozen=True)
class Availability:
    """The state of a back end on this machine."""

    runtime: str
    version: str | None  # of its library; None: not installed
    devices: tuple[str, ...]  # that it can run on now
    problem: str  # why it cannot run, with the cure; empty where it can


def survey() -> list[Availability]:
    """Return the state of every back end, asking the installed libraries for their devices."""
    return [_look(name, backend) for name, backend in BACKENDS.items()]


def _look(name: str, backend: Backend) -> Availability:
    number = installed_version(*backend.packages)
    if number is None:
        return Availability(name, None, (), backend.cure)
    try:
        devices = import_module(f"halnet.runtimes.{backend.module}").devices()
    except RuntimeUnavailableError as error:
        return Availability(name, number, (), str(error))
    return Availability(name, number, tuple(devices), "")


def _kind(device: str) -> str:
    """Return "cuda" for "cuda:1", "gpu" for "GPU.0"."""
    return device.lower().replace(":", ".").split(".", maxsplit=1)[0]


def _check_file(path: Path, runtime: str) -> None:
    backend = BACKENDS[runtime]
    if not backend.reads_file:
        return
    if not path.name.endswith(backend.endings):
        others = runtimes_for(path)
        cure = f"; runtime {' or '.join(others)} runs it" if others else ""
        raise ArtifactError(
            f"{path}: runtime {runtime} runs models whose names end in "
            f"{' or '.join(backend.endings)}{cure}"
        )
    if not path.exists():
        raise ArtifactError(f"{path}: no such model file; make one with halnet export")
