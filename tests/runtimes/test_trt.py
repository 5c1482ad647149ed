"""The back end TensorRT on fake libraries: its batches, its memory, and what it refuses."""

import json
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from halnet.errors import ArtifactError, ConfigError, RuntimeUnavailableError
from halnet.runtimes.backends import describe, open_runtime
from halnet.runtimes.base import BatchLimits
from halnet.runtimes.device_clock import DeviceTimes
from halnet.runtimes.fake import FakeRuntime
from halnet.runtimes.sidecar import Sidecar, sidecar_path


def test_more_crops_than_the_profile_allows_are_divided_into_several_runs(
    fakes: SimpleNamespace, engine: Path, crops: np.ndarray
) -> None:
    many = np.concatenate([crops, crops[::-1]])  # 10 crops; the profile allows 1 to 4
    with open_runtime(engine) as runtime:
        found = runtime.run(many)
        assert fakes.trt.calls == [4, 4, 2]
        assert str(runtime.spec.batch_limits) == "1 to 4"
    expected = FakeRuntime().run(many)
    np.testing.assert_array_equal(found.age, expected.age)
    np.testing.assert_array_equal(found.stddev, expected.stddev)
    np.testing.assert_array_equal(found.probabilities, expected.probabilities)


def test_outputs_are_copies_and_all_memory_is_released(
    fakes: SimpleNamespace, engine: Path, crops: np.ndarray
) -> None:
    runtime = open_runtime(engine)
    assert len(fakes.cuda.memory) == 8  # four tensors, each pinned and on the device
    first = runtime.run(crops[:1])
    kept = first.age.copy()
    runtime.run(crops[1:2])
    np.testing.assert_array_equal(first.age, kept)
    runtime.close()
    runtime.close()
    assert not fakes.cuda.memory
    assert not fakes.cuda.streams
    with pytest.raises(ConfigError, match=r"TensorRTRuntime: used after close\(\)"):
        runtime.run(crops)


def test_the_clock_of_the_gpu_measures_the_model_with_and_without_transfers(
    fakes: SimpleNamespace, engine: Path, crops: np.ndarray
) -> None:
    """Five crops are two inferences. Each has one copy to the GPU and three copies from it."""
    with open_runtime(engine) as runtime:
        runtime.run(crops)
        assert not fakes.cuda.events, "a run that is not timed needs no events"
        whole = fakes.compute + 4 * fakes.copy
        assert runtime.time_on_device(crops) == DeviceTimes(2 * fakes.compute, 2 * whole)
        assert runtime.time_on_device(crops[:1]) == DeviceTimes(fakes.compute, whole)
        assert not fakes.cuda.events, "events are destroyed"
    with pytest.raises(ConfigError, match=r"TensorRTRuntime: used after close\(\)"):
        runtime.time_on_device(crops)


def test_the_requested_gpu_is_used(fakes: SimpleNamespace, engine: Path, crops: np.ndarray) -> None:
    with open_runtime(engine, device="cuda:0") as runtime:
        assert runtime.spec.provider == "cuda:0 (GPU of the tests)"
        assert runtime.spec.version == "9.8.7 (tensorrt_rtx)"
        runtime.run(crops)
    assert set(fakes.cuda.chosen) == {0}
    assert fakes.trt.settings[0].cuda_graph_strategy == "whole"
    with pytest.raises(
        ArtifactError, match=r"expected a GPU of SM86, SM89, found SM75 \(another\)"
    ):
        open_runtime(engine, device="cuda:1")
    with pytest.raises(RuntimeUnavailableError, match=r"expected cuda:0 .*found cuda:2"):
        open_runtime(engine, device="cuda:2")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"version": "1.0"}, "expected tensorrt_rtx 1.0, which built the engine, found 9.8.7"),
        ({"engine_sha256": "0"}, "expected the engine that halnet.engine.json describes"),
        ({"library": "tensorrt"}, "needs tensorrt, which is not installed; pip install tensorrt"),
        ({"batches": [1, 2]}, "damaged; export the checkpoint again"),
        ({"library": "json"}, "damaged; export the checkpoint again"),  # it is not imported
        ({"library": "."}, "damaged; export the checkpoint again"),
        ({"properties": {}}, r"found no halnet\.\* metadata"),
    ],
)
def test_an_engine_that_does_not_fit_its_sidecar_is_refused(
    fakes: SimpleNamespace, engine: Path, change: dict[str, object], message: str
) -> None:
    sidecar = engine.with_name("halnet.engine.json")
    sidecar.write_text(json.dumps(json.loads(sidecar.read_text()) | change))
    with pytest.raises((ArtifactError, RuntimeUnavailableError), match=message):
        open_runtime(engine)
    assert not fakes.cuda.memory


def test_an_engine_without_its_sidecar_is_refused(fakes: SimpleNamespace, engine: Path) -> None:
    engine.with_name("halnet.engine.json").unlink()
    with pytest.raises(ArtifactError, match=r"expected its sidecar halnet\.engine\.json"):
        open_runtime(engine)


def test_an_engine_that_the_library_refuses_is_an_error(
    fakes: SimpleNamespace, engine: Path
) -> None:
    fakes.trt.refuse = True
    with pytest.raises(ArtifactError, match="refused the engine on GPU of the tests"):
        open_runtime(engine)


def test_an_engine_with_other_tensors_is_refused(fakes: SimpleNamespace, engine: Path) -> None:
    fakes.trt.dtypes["age"] = "half"
    with pytest.raises(ArtifactError, match="expected the tensors"):
        open_runtime(engine)


def test_a_cuda_call_that_fails_is_an_error(fakes: SimpleNamespace, engine: Path) -> None:
    fakes.cuda.status = 2
    with pytest.raises(RuntimeUnavailableError, match="a CUDA call failed with 2"):
        open_runtime(engine)


@pytest.mark.parametrize("module", ["cuda.bindings.runtime", "tensorrt_rtx"])
def test_without_its_libraries_the_error_says_what_to_install(
    module: str, fakes: SimpleNamespace, engine: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, module, None)
    expected = (
        rf"^runtime tensorrt needs {module.partition('.')[0]}, which is not installed; "
        r"pip install 'halnet\[tensorrt-rtx\]'$"
    )
    with pytest.raises(RuntimeUnavailableError, match=expected):
        open_runtime(engine)


def test_an_engine_is_described_without_its_library_and_a_gpu(engine: Path) -> None:
    spec = describe(engine)
    assert spec.provider == "SM86, SM89"
    assert spec.batch_limits == BatchLimits(1, 4)
    assert spec.metadata.dataset == "none"


def test_a_sidecar_is_the_same_after_writing_and_reading_it(engine: Path) -> None:
    sidecar = Sidecar.read(engine)
    assert (sidecar.batches, sidecar.onnx_sha256) == ((1, 2, 4), "cd" * 32)
    sidecar_path(engine).write_text(sidecar.to_json())
    assert Sidecar.read(engine) == sidecar


def test_a_sidecar_without_the_hash_of_its_graph_is_read(engine: Path) -> None:
    values = json.loads(sidecar_path(engine).read_text())
    del values["onnx_sha256"]
    sidecar_path(engine).write_text(json.dumps(values))
    assert Sidecar.read(engine).onnx_sha256 == ""
    assert describe(engine).batch_limits == BatchLimits(1, 4)
