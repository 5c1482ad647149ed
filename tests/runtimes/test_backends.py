"""The table of back ends: which one is chosen, what is installed, and what cannot be opened."""

from pathlib import Path
from typing import Any

import pytest

from halnet.artifact import bundled
from halnet.errors import ArtifactError, ConfigError, HalnetError, RuntimeUnavailableError
from halnet.runtimes.backends import (
    bundled_model,
    bundled_runtime,
    choose_runtime,
    describe,
    open_model,
    open_runtime,
    survey,
)
from halnet.runtimes.base import RuntimeOptions


@pytest.fixture
def install(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Return a function that names the only modules that are installed.

    A module followed by a file, such as "onnxruntime capi/a.so", contains no other file.
    """

    def only(*present: str) -> None:
        files = dict(name.partition(" ")[::2] for name in present)
        backends = "halnet.runtimes.backends"
        monkeypatch.setattr(f"{backends}.is_installed", files.__contains__)
        monkeypatch.setattr(f"{backends}.has_file", lambda module, file: files[module] == file)

    return only


GPU_BUILD = "onnxruntime capi/libonnxruntime_providers_cuda.so"


@pytest.mark.parametrize(
    ("present", "device", "expected"),
    [
        (("onnxruntime", "openvino"), "auto", "onnxruntime"),
        (("openvino",), "auto", "openvino"),
        (("onnxruntime", "openvino"), "gpu.1", "openvino"),
        (("onnxruntime", "openvino"), "cuda:1", "onnxruntime"),  # its error names the GPU build
        (("openvino", GPU_BUILD), "cuda", "onnxruntime"),
        ((), "auto", "onnxruntime"),  # its error says what to install
    ],
)
def test_a_file_runs_on_the_first_installed_runtime_that_supports_it_and_the_device(
    present: tuple[str, ...], device: str, expected: str, install: Any
) -> None:
    install(*present)
    assert choose_runtime("halnet.onnx", device) == expected


@pytest.mark.parametrize(
    ("present", "device", "expected"),
    [
        (("onnxruntime", "openvino", "torch"), "auto", "onnxruntime"),
        (("openvino", "torch"), "auto", "openvino"),
        (("onnxruntime", "torch"), "auto", "onnxruntime"),
        (("torch",), "cpu", "pytorch"),
        (("onnxruntime", "openvino", "torch"), "cuda:0", "pytorch"),
        ((GPU_BUILD, "torch"), "cuda", "onnxruntime"),
        (("onnxruntime", "openvino"), "gpu", "openvino"),
    ],
)
def test_the_bundled_model_runs_on_the_first_installed_runtime_that_supports_the_device(
    present: tuple[str, ...], device: str, expected: str, install: Any
) -> None:
    install(*present)
    assert bundled_runtime(device) == expected


def test_without_any_runtime_the_error_says_what_to_install(install: Any) -> None:
    install()
    with pytest.raises(RuntimeUnavailableError, match=r"pip install 'halnet\[onnxruntime\]'"):
        bundled_runtime()


def test_a_device_that_does_not_exist_needs_no_installation(install: Any) -> None:
    install("onnxruntime")
    message = "^device banana: expected one of auto, cpu, cuda, gpu, npu, or one of them with a"
    with pytest.raises(RuntimeUnavailableError, match=message):
        bundled_runtime("banana")
    with pytest.raises(RuntimeUnavailableError, match="device cuda:1; use another device, or pip"):
        bundled_runtime("cuda:1")


def test_the_bundled_model_is_a_file_that_the_runtime_reads() -> None:
    assert bundled_model("pytorch").name == "halnet.safetensors"
    assert bundled_model("onnxruntime").name == "halnet.onnx"
    expected = "the bundled model runs on onnxruntime, openvino, pytorch; for tensorrt, make a"
    with pytest.raises(ConfigError, match=expected):
        bundled_model("tensorrt")


@pytest.mark.parametrize(
    ("name", "options", "kind", "message"),
    [
        ("a.safetensors", {"runtime": "caffe"}, ConfigError, "expected one of onnxruntime, openv"),
        (
            "a.safetensors",
            {"runtime": "onnxruntime"},
            ArtifactError,
            r"names end in \.onnx or _web; runtime pytorch runs it",
        ),
        ("a.caffemodel", {}, ArtifactError, r"ends in one of \.onnx, _web, _openvino_model"),
        ("none.onnx", {}, ArtifactError, "no such model file"),
        ("a.safetensors", {"threads": 0}, ConfigError, "threads: expected 1 to 1024, found 0"),
        (
            "a.onnx",
            {"runtime": "onnxruntime", "mode": "throughput"},
            ConfigError,
            "runtime onnxruntime supports latency; openvino supports throughput",
        ),
        ("a.onnx", {"runtime": "openvino", "mode": "eco"}, ConfigError, "mode eco: runtime openv"),
    ],
)
def test_wrong_requests_are_refused(
    name: str,
    options: dict[str, Any],
    kind: type[HalnetError],
    message: str,
    tmp_path: Path,
) -> None:
    for file in ("a.safetensors", "a.caffemodel", "a.onnx"):
        (tmp_path / file).touch()
    with pytest.raises(kind, match=message):
        open_runtime(tmp_path / name, **options)


def test_options_in_one_value_do_the_same_as_arguments() -> None:
    model = bundled("halnet.onnx")
    options = RuntimeOptions("onnxruntime", "cpu", threads=1)
    with (
        open_model(model, options) as first,
        open_runtime(model, "onnxruntime", "cpu", 1) as second,
        open_runtime(None, "onnxruntime", "cpu", 1) as third,
    ):
        assert first.spec == second.spec == third.spec
        assert (first.spec.threads, first.spec.model) == (1, str(model))


def test_a_model_file_is_described_by_its_metadata(tmp_path: Path) -> None:
    assert describe(bundled("halnet.onnx")).metadata.dataset == "aaf, utkface, afad, fairface"
    with pytest.raises(ArtifactError, match="no such model file"):
        describe(tmp_path / "none.engine")


def test_the_survey_states_the_devices_of_each_runtime() -> None:
    entries = {entry.runtime: entry for entry in survey()}
    assert entries["onnxruntime"].devices[0] == "cpu"
    assert entries["pytorch"].version
    assert not entries["pytorch"].problem
    assert entries["fake"].devices == ("cpu",)


@pytest.mark.parametrize(
    ("name", "extra"),
    [
        ("onnxruntime", "onnxruntime"),
        ("openvino", "openvino"),
        ("tensorrt", "tensorrt-rtx"),
        ("litert", "litert"),
        ("pytorch", "pytorch"),
    ],
)
def test_the_survey_says_what_to_install(name: str, extra: str, install: Any) -> None:
    install()
    (entry,) = (entry for entry in survey() if entry.runtime == name)
    assert entry.problem == f"pip install 'halnet[{extra}]'"
    assert (entry.version, entry.devices) == (None, ())


@pytest.mark.parametrize(
    ("model", "runtime", "message"),
    [
        ("missing", "auto", "missing: no such model file or folder; make one with halnet export"),
        (
            "no.safetensors",
            "auto",
            "no.safetensors: no such model file; make one with halnet train",
        ),
        (
            "halnet.onnx",
            "caffe",
            "runtime caffe: expected one of onnxruntime, openvino, tensorrt, ",
        ),
        (
            None,
            "caffe",
            "runtime caffe: expected one of onnxruntime, openvino, tensorrt, litert, ",
        ),
    ],
)
def test_a_wrong_name_is_told_apart_from_a_missing_file(
    model: str | None, runtime: str, message: str
) -> None:
    with pytest.raises(HalnetError, match=f"^{message}"):
        open_runtime(model, runtime)
