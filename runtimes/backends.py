"""The table of back ends: which one runs a model file, which are installed, and how to open one.

To add a back end, write a file beside this one and add a line to `BACKENDS`. The file has a
subclass of `base.RuntimeBase` and a function `devices`. Both import their library inside functions
only. If a model can be described without running it, the file also has a function `describe`.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path

from halnet.artifact import PACKAGE_ENDING, bundled, find_model
from halnet.errors import ArtifactError, ConfigError, RuntimeUnavailableError
from halnet.packages import has_file, installed_version, is_installed
from halnet.runtimes.base import Runtime, RuntimeOptions, RuntimeSpec, check_weights
from halnet.runtimes.onnx_file import ONNX_ENDINGS


@dataclass(frozen=True)
class Backend:
    """One line of the table of back ends."""

    module: str  # name of the module in halnet.runtimes
    factory: str  # class in this module, which is called with (model, RuntimeOptions)
    endings: tuple[str, ...]  # how the names of its model files, or folders, end
    libraries: tuple[str, ...]  # modules, any of which is the library
    devices: dict[str, str]  # kind of device: file of the library that supports it; empty: any
    cure: str  # command that installs it
    modes: tuple[str, ...] = ("latency",)
    made_by: str = "halnet export"  # the command that writes such files
    reads_file: bool = True  # False: no model file has to exist
    takes_address: bool = False  # True: its models are named by the address of a server
    # Whether its kernels add products of 8-bit integers in 32 bits on every processor, so that no
    # sum saturates.
    exact_sums: bool = False

    @property
    def library(self) -> str | None:
        """The module of the library that is installed, or None. It is not imported."""
        return next(filter(is_installed, self.libraries), None)

    def supports(self, device: str) -> bool:
        """Return whether the installed library supports a kind of device, or "auto", any kind."""
        if self.library is None or device == "auto":
            return self.library is not None
        file = self.devices.get(device)
        return file is not None and (not file or has_file(self.library, file))


CUDA_FILE = "capi/libonnxruntime_providers_cuda.so"  # only builds of ONNX Runtime for GPUs have it

# "auto" takes the first of these that is installed and runs the file on the device. ONNX Runtime is
# before OpenVINO because an export checks an .onnx artifact on ONNX Runtime.
BACKENDS = {
    "onnxruntime": Backend(
        "ort",
        "OnnxRuntime",
        ONNX_ENDINGS,
        ("onnxruntime",),
        {"cpu": "", "cuda": CUDA_FILE},
        "pip install 'halnet[onnxruntime]'",
    ),
    "openvino": Backend(
        "ov",
        "OpenVINORuntime",
        ("_openvino_model", ".xml", ".onnx"),
        ("openvino",),
        dict.fromkeys(("cpu", "gpu", "npu"), ""),
        "pip install 'halnet[openvino]'",
        ("latency", "throughput"),
    ),
    "tensorrt": Backend(
        "trt",
        "TensorRTRuntime",
        (".engine",),
        ("tensorrt_rtx", "tensorrt"),
        {"cuda": ""},
        "pip install 'halnet[tensorrt-rtx]'",
    ),
    "litert": Backend(
        "litert",
        "LiteRTRuntime",
        (".tflite",),
        ("ai_edge_litert",),
        {"cpu": ""},
        "pip install 'halnet[litert]'",
        # On x86 without VNNI, XNNPACK widens integers to 16 bits before it multiplies them.
        exact_sums=True,
    ),
    "pytorch": Backend(
        "pytorch",
        "PyTorchRuntime",
        (".safetensors",),
        ("torch",),
        dict.fromkeys(("cpu", "cuda"), ""),
        "pip install 'halnet[pytorch]'",
        made_by="halnet train",
    ),
    "remote": Backend(
        "remote", "RemoteRuntime", (), ("halnet",), {}, "", reads_file=False, takes_address=True
    ),
    "fake": Backend(
        "fake", "FakeRuntime", (".fake",), ("halnet",), {"cpu": ""}, "", reads_file=False
    ),
}
# How the names of models end that no back end runs, and what to do with them.
ELSEWHERE = {
    PACKAGE_ENDING: "is a Core ML model: these run on Apple's systems alone, and halnet has no "
    "runtime for them; open it there with Core ML (see docs/coreml.md)"
}
REMOTE = "remote"  # the back end whose models are named by addresses
BUNDLED_FILES = ("halnet.onnx", "halnet.safetensors")  # the model that is installed with halnet


def open_runtime(
    model: str | Path | None = None,
    runtime: str = "auto",
    device: str = "auto",
    threads: int | None = None,
    mode: str = "latency",
) -> Runtime:
    """Open a model with a runtime.

    `model` is a model file or folder, the name of a bundled checkpoint (`halnet-accurate`), or the
    address of a server that runs a model ("http://host:8000", see `halnet.runtimes.remote`), and
    None stands for the model that is installed with halnet. The other arguments are fields of
    `RuntimeOptions`. If one of them is "auto", halnet chooses, and the `spec` of the result states
    the choice.

    Raises ConfigError for a name that does not exist, ArtifactError for a file that the runtime
    cannot run, and RuntimeUnavailableError if the runtime or the device is missing.
    """
    return open_model(model, RuntimeOptions(runtime, device, threads, mode))


def open_model(
    model: str | Path | None = None, options: RuntimeOptions = RuntimeOptions()
) -> Runtime:
    """Open a model as `open_runtime` does, with all options in one value."""
    opened = _open(model, options)
    if opened.spec.threads and not BACKENDS[opened.spec.runtime].exact_sums:  # it is on the CPU
        try:
            check_weights(opened.spec.metadata, opened.spec.model)
        except RuntimeUnavailableError:
            opened.close()
            raise
    return opened


def _open(model: str | Path | None, options: RuntimeOptions) -> Runtime:
    """Open a model, also one whose integers this processor cannot compute exactly."""
    address = find_address(model)
    name = options.runtime
    if name != "auto":
        check_runtime_name(name)
    elif address is not None:
        name = REMOTE
    elif model is None:
        name = bundled_runtime(options.device)
    else:
        name = choose_runtime(find_model(model), options.device)
    backend = BACKENDS[name]
    if backend.takes_address != (address is not None):
        kind = "the address of a server, such as http://HOST:8000" if address is None else "a file"
        found = hide_password(address) if address else model or "none"
        raise ConfigError(f"runtime {name}: expected {kind} as the model, found {found}")
    if address is None:
        model = bundled_model(name) if model is None else find_model(model)
        _check_file(model, name)
    if options.mode not in backend.modes:
        others = [other for other, line in BACKENDS.items() if options.mode in line.modes]
        raise ConfigError(
            f"mode {options.mode}: runtime {name} supports {', '.join(backend.modes)}"
            + (f"; {', '.join(others)} supports {options.mode}" if others else "")
        )
    module = import_module(f"halnet.runtimes.{backend.module}")
    opened: Runtime = getattr(module, backend.factory)(address or model, options)
    return opened


def find_address(model: str | Path | None) -> str | None:
    """Return the address of a server that names a model, or None if a file does.

    It may be a path, which has lost one of the two slashes.
    """
    match = re.match(r"(https?):/{1,2}(?=[^/])", str(model), re.IGNORECASE)
    return f"{match[1].lower()}://{str(model)[match.end() :]}" if match else None


def hide_password(address: str) -> str:
    """Return an address for a message, with *** in place of a user name and a password."""
    return re.sub("//.*@", "//***@", address, flags=re.DOTALL)


def check_runtime_name(name: str) -> None:
    """Raise ConfigError for a name that is not in `BACKENDS`, with the names that are."""
    if name not in BACKENDS:
        real = [key for key, line in BACKENDS.items() if line.reads_file or line.takes_address]
        raise ConfigError(f"runtime {name}: expected one of {', '.join(real)}, auto")


def choose_runtime(model: str | Path, device: str = "auto") -> str:
    """Return the first back end that is installed and runs this kind of file on this device.

    If none is installed, this is the first one that could run the file. To open it then raises an
    error that says what to install. Raises ArtifactError if no back end runs such files, and
    RuntimeUnavailableError if they are models for other systems.
    """
    able = runtimes_for(model)
    for ending, problem in ELSEWHERE.items():
        if Path(model).name.endswith(ending):
            raise RuntimeUnavailableError(f"{Path(model).name} {problem}")
    if not able and not Path(model).exists():
        raise ArtifactError(f"{model}: no such model file or folder; make one with halnet export")
    if not able:
        real = [backend for backend in BACKENDS.values() if backend.reads_file]
        known = ", ".join({e: None for backend in real for e in backend.endings})
        raise ArtifactError(
            f"{model}: expected a model whose name ends in one of {known}; "
            "make one with halnet export"
        )
    # An unknown device is left to the back end, which raises an error with the devices that exist.
    return (installed(able, device) or installed(able) or able)[0]


def runtimes_for(model: str | Path) -> list[str]:
    """Return the back ends that run files with such a name, in the order of the table."""
    name = Path(model).name
    return [key for key, backend in BACKENDS.items() if name.endswith(backend.endings)]


def installed(names: Iterable[str] = tuple(BACKENDS), device: str = "auto") -> list[str]:
    """Return those of these back ends that are installed with support for this kind of device.

    The order stays. No library is imported.
    """
    return [name for name in names if BACKENDS[name].supports(_kind(device))]


def bundled_runtimes() -> list[str]:
    """Return the back ends that run the bundled model, in the order of the table."""
    able = {name for file in BUNDLED_FILES for name in runtimes_for(file)}
    return [name for name in BACKENDS if name in able]


def bundled_runtime(device: str = "auto") -> str:
    """Return the first back end that is installed and runs the bundled model on this device.

    Raises RuntimeUnavailableError if none is installed, or if there is no such kind of device.
    """
    names = bundled_runtimes()
    kinds = dict.fromkeys(["auto", *(kind for name in names for kind in BACKENDS[name].devices)])
    if _kind(device) not in kinds:
        raise RuntimeUnavailableError(
            f"device {device}: expected one of {', '.join(kinds)}, or one of them with a number, "
            "such as cuda:1"
        )
    able = installed(names, device)
    if not able:
        raise RuntimeUnavailableError(
            f"no installed runtime runs the bundled model on device {device}; use another device, "
            "or pip install 'halnet[onnxruntime]', which is the smallest runtime and runs on CPUs"
        )
    return able[0]


def bundled_model(runtime: str) -> Path:
    """Return the bundled model file for a back end; ConfigError if there is none."""
    check_runtime_name(runtime)
    for file in BUNDLED_FILES:
        if runtime in runtimes_for(file):
            return bundled(file)
    raise ConfigError(
        f"runtime {runtime}: the bundled model runs on {', '.join(bundled_runtimes())}; "
        f"for {runtime}, make a model file with halnet export and name it"
    )


def describe(model: str | Path) -> RuntimeSpec:
    """Return the metadata of a model file, even if no device of this machine can run it.

    Raises ArtifactError for a file that is not a model, and RuntimeUnavailableError if a library
    that reads it is missing.
    """
    model = find_model(model)
    name = choose_runtime(model)
    module = import_module(f"halnet.runtimes.{BACKENDS[name].module}")
    if hasattr(module, "describe"):
        _check_file(Path(model), name)
        spec: RuntimeSpec = module.describe(Path(model))
        return spec
    with _open(model, RuntimeOptions(name)) as runtime:
        return runtime.spec


@dataclass(frozen=True)
class Availability:
    """Whether a back end can run on this machine."""

    runtime: str  # name in BACKENDS
    version: str | None  # version of its library; None: not installed
    devices: tuple[str, ...]  # devices that it can run on now
    problem: str  # why it cannot run and what to do; empty if it can


def survey() -> list[Availability]:
    """Return whether each back end can run here. This imports the libraries that are installed."""
    return [_availability(name, backend) for name, backend in BACKENDS.items()]


def _availability(name: str, backend: Backend) -> Availability:
    if backend.library is None:
        return Availability(name, None, (), backend.cure)
    devices: tuple[str, ...] = ()
    problem = ""
    try:
        devices = tuple(import_module(f"halnet.runtimes.{backend.module}").devices())
    except RuntimeUnavailableError as error:
        problem = str(error)
    return Availability(name, installed_version(backend.library), devices, problem)


def _kind(device: str) -> str:
    """Return the kind of a device: "cuda" for "cuda:1", "gpu" for "GPU.0"."""
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
        raise ArtifactError(f"{path}: no such model file; make one with {backend.made_by}")
