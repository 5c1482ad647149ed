"""Tests that every back end must pass."""

import pickle
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from halnet import __version__
from halnet.ages import mean_and_stddev
from halnet.artifact import bundled
from halnet.errors import ConfigError, RuntimeUnavailableError
from halnet.runtimes.backends import BACKENDS, open_runtime, survey
from halnet.runtimes.base import Runtime, RuntimeOptions


def model_for(name: str, request: pytest.FixtureRequest) -> Path | str:
    """Return a model for a back end. The one for TensorRT runs on the fakes."""
    if name == "tensorrt":
        request.getfixturevalue("fakes")
    fixture = {
        "pytorch": "checkpoint",
        "onnxruntime": "onnx_artifact",
        "openvino": "openvino_artifact",
        "tensorrt": "engine",
        "litert": "litert_artifact",
        "remote": "served_model",
    }.get(name)
    return request.getfixturevalue(fixture) if fixture else Path("model.fake")


def device_for(name: str) -> str:
    return {"tensorrt": "cuda", "remote": "auto"}.get(name, "cpu")


@pytest.fixture(scope="module")
def served_model(serving: Callable[..., Any]) -> Iterator[str]:
    """The address of `halnet serve` with the bundled model."""
    options = RuntimeOptions("onnxruntime", "cpu", 1)
    with serving(model=bundled("halnet.onnx"), options=options) as (_, address):
        yield address


@pytest.fixture(params=list(BACKENDS))
def runtime(request: pytest.FixtureRequest) -> Iterator[Runtime]:
    model, device = model_for(request.param, request), device_for(request.param)
    with open_runtime(model, request.param, device, 2) as opened:
        yield opened


def test_outputs_follow_the_contract(runtime: Runtime, crops: np.ndarray) -> None:
    outputs = runtime.run(crops)
    assert outputs.age.shape == outputs.stddev.shape == (5,)
    assert outputs.probabilities.shape == (5, 101)
    for value in (outputs.age, outputs.stddev, outputs.probabilities):
        assert value.dtype == np.float32
    np.testing.assert_allclose(outputs.probabilities.sum(axis=1), 1, atol=1e-5)
    age, stddev = mean_and_stddev(outputs.probabilities)
    np.testing.assert_allclose(outputs.age, age, atol=1e-3)
    np.testing.assert_allclose(outputs.stddev, stddev, atol=1e-3)
    assert np.ptp(outputs.age) > 1  # different crops have different ages


def test_outputs_do_not_depend_on_the_batch(runtime: Runtime, crops: np.ndarray) -> None:
    whole = runtime.run(crops).age
    single = np.concatenate([runtime.run(crops[i : i + 1]).age for i in range(5)])
    np.testing.assert_allclose(single, whole, atol=1e-3)
    backwards = runtime.run(crops[::-1]).age  # a view with negative strides
    np.testing.assert_allclose(backwards[::-1], whole, atol=1e-3)


@pytest.mark.parametrize(
    ("images", "message"),
    [
        (np.zeros((0, 224, 224, 3), np.uint8), "expected at least one, found an empty"),
        (np.zeros((1, 224, 224, 3), np.float32), "uint8 RGB, found float32"),
        (np.zeros((1, 3, 224, 224), np.uint8), r"found uint8 of shape \(1, 3, 224, 224\)"),
        (np.zeros((224, 224, 3), np.uint8), "N x 224 x 224 x 3"),
        (None, "expected an array of N x 224 x 224 x 3 uint8 RGB, found NoneType"),
    ],
)
def test_wrong_crops_are_refused(runtime: Runtime, images: np.ndarray, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        runtime.run(images)


def test_the_spec_states_what_runs(runtime: Runtime) -> None:
    spec = runtime.spec
    assert spec.runtime in BACKENDS
    if spec.runtime == "tensorrt":
        assert (spec.provider, spec.threads) == ("cuda:0 (GPU of the tests)", 0)
    elif spec.runtime == "remote":
        assert spec.provider.startswith("http://127.0.0.1:")
        assert (spec.version, spec.threads) == (f"halnet {__version__}", 0)
    else:
        assert spec.provider in ("cpu", "CPU", "CPUExecutionProvider", "XNNPACK")
        assert spec.threads == 2
    assert spec.mode == "latency"
    assert spec.metadata.calibration.quantiles
    runtime.close()
    runtime.close()


@pytest.mark.parametrize("name", list(BACKENDS))
def test_a_device_that_does_not_exist_is_refused(name: str, request: pytest.FixtureRequest) -> None:
    with pytest.raises(RuntimeUnavailableError, match="found abacus"):
        open_runtime(model_for(name, request), name, "abacus")


def test_onnxruntime_equals_pytorch(
    checkpoint: Path, onnx_artifact: Path, crops: np.ndarray
) -> None:
    with (
        open_runtime(checkpoint, device="cpu") as pytorch,
        open_runtime(onnx_artifact) as onnxruntime,
    ):
        assert (pytorch.spec.runtime, onnxruntime.spec.runtime) == ("pytorch", "onnxruntime")
        a, b = pytorch.run(crops), onnxruntime.run(crops)
    assert np.ptp(a.age) > 1
    np.testing.assert_allclose(a.age, b.age, atol=1e-3)
    np.testing.assert_allclose(a.probabilities, b.probabilities, atol=1e-5)


def test_cuda_is_refused_without_a_cuda_device(checkpoint: Path) -> None:
    import torch

    if torch.cuda.is_available():
        pytest.skip("there is a CUDA device here")
    expected = "expected a CUDA device .*, found none; install the NVIDIA driver"
    with pytest.raises(RuntimeUnavailableError, match=expected):
        open_runtime(checkpoint, "pytorch", "cuda")


@pytest.mark.parametrize("name", ["pytorch", "onnxruntime"])
def test_cuda_equals_cpu(name: str, crops: np.ndarray) -> None:
    devices = next(found.devices for found in survey() if found.runtime == name)
    if not any(device.startswith("cuda") for device in devices):
        pytest.skip(f"needs a CUDA device that {name} can use")
    model = bundled("halnet.safetensors" if name == "pytorch" else "halnet.onnx")
    with open_runtime(model, name, "cpu") as cpu, open_runtime(model, name, "cuda") as gpu:
        assert "cuda:0" in gpu.spec.provider
        for batch in (1, 5, 64):
            images = np.resize(crops, (batch, *crops.shape[1:]))
            np.testing.assert_allclose(cpu.run(images).age, gpu.run(images).age, atol=0.01)


def test_several_threads_may_share_a_runtime(runtime: Runtime, crops: np.ndarray) -> None:
    expected = runtime.run(crops).age
    with ThreadPoolExecutor(4) as pool:
        for index, found in enumerate(pool.map(lambda i: runtime.run(crops[i % 5 :]), range(12))):
            np.testing.assert_allclose(found.age, expected[index % 5 :], atol=1e-3)


def test_a_forked_process_runs_the_model_or_says_what_to_do(
    runtime: Runtime, crops: np.ndarray, in_fork: Callable[[Callable[[], Any]], Any]
) -> None:
    expected = runtime.run(crops).age
    found = in_fork(lambda: (runtime.run(crops).age, runtime.spec.threads))
    if runtime.spec.runtime in ("openvino", "tensorrt"):
        assert isinstance(found, RuntimeUnavailableError)
        assert "it was opened before this process was forked" in str(found)
        assert "multiprocessing.get_context('spawn')" in str(found)
        in_fork(runtime.close)
    else:
        np.testing.assert_allclose(found[0], expected, atol=1e-3)
        assert found[1] == {"pytorch": 1, "remote": 0}.get(runtime.spec.runtime, 2)
    np.testing.assert_array_equal(runtime.run(crops).age, expected)


def test_a_closed_runtime_is_one_clear_error(runtime: Runtime, crops: np.ndarray) -> None:
    runtime.close()
    with pytest.raises(ConfigError, match=r"Runtime: used after close\(\); open a new one"):
        runtime.run(crops)


def test_a_runtime_that_is_pickled_is_opened_again(runtime: Runtime, crops: np.ndarray) -> None:
    with pickle.loads(pickle.dumps(runtime)) as again:
        assert again.spec == runtime.spec
        np.testing.assert_allclose(again.run(crops).age, runtime.run(crops).age, atol=1e-3)


@pytest.mark.parametrize(
    ("name", "blocked"),
    [
        ("onnxruntime", "onnxruntime"),
        ("openvino", "openvino"),
        ("pytorch", "torch"),
        ("litert", "ai_edge_litert"),
    ],
)
def test_without_its_library_the_error_says_what_to_install(
    name: str, blocked: str, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = model_for(name, request)
    monkeypatch.setitem(
        sys.modules, blocked, None
    )  # an import then fails as if it were not installed
    expected = rf"runtime {name} needs {blocked}, which .*; pip install 'halnet\[{name}\]'"
    with pytest.raises(RuntimeUnavailableError, match=expected):
        open_runtime(model, name)
