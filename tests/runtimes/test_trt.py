"""The TensorRT back end on the fakes: what it refuses, its buffers, its batches."""

import json
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from halnet.errors import ArtifactError, RuntimeUnavailableError
from halnet.runtimes.backends import describe, open_runtime
from halnet.runtimes.fake import FakeRuntime


def test_batches_beyond_the_profile_go_in_several_runs(
    fakes: SimpleNamespace, engine: Path, crops: np.ndarray
) -> None:
    many = np.concatenate([crops, crops[::-1]])  # 10 crops, a profile of 1 to 4
    with open_runtime(engine) as runtime:
        found = runtime.run(many)
        assert fakes.trt.calls == [4, 4, 2]
        assert str(runtime.spec.batch_limits) == "1 to 4"
    expected = FakeRuntime().run(many)
    np.testing.assert_array_equal(found.age, expected.age)
    np.testing.assert_array_equal(found.stddev, expected.stddev)
    np.testing.assert_array_equal(found.probabilities, expected.probabilities)


def test_results_outlive_the_next_run_and_all_memory_is_given_back(
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
    with pytest.raises(ArtifactError, match="the runtime is closed"):
        runtime.run(crops)


def test_the_gpu_asked_for_runs(fakes: SimpleNamespace, engine: Path, crops: np.ndarray) -> None:
    with open_runtime(engine, device="cuda:0") as runtime:
        assert runtime.spec.provider == "cuda:0 (GPU of the tests)"
        assert runtime.spec.version == "9.8.7 (tensorrt_rtx)"
        runtime.run(crops)
    assert set(fakes.cuda.chosen) == {0}
    assert fakes.trt.settings[0].cuda_graph_strategy == "whole"
    with pytest.raises(ArtifactError, match=r"built for SM86, SM89, found SM75 \(another\)"):
        open_runtime(engine, device="cuda:1")
    with pytest.raises(RuntimeUnavailableError, match=r"expected cuda:0 .*found cuda:2"):
        open_runtime(engine, device="cuda:2")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"version": "1.0"}, "built by tensorrt_rtx 1.0, which alone can load it, found 9.8.7"),
        ({"engine_sha256": "0"}, "is not the engine that halnet.engine.json describes"),
        ({"library": "tensorrt"}, "install NVIDIA's tensorrt"),
        ({"batches": [1, 2]}, "damaged; export the checkpoint again"),
        ({"properties": {}}, r"found no halnet\.\* metadata"),
    ],
)
def test_engines_that_do_not_belong_are_refused(
    fakes: SimpleNamespace, engine: Path, change: dict[str, object], message: str
) -> None:
    sidecar = engine.with_name("halnet.engine.json")
    sidecar.write_text(json.dumps(json.loads(sidecar.read_text()) | change))
    with pytest.raises((ArtifactError, RuntimeUnavailableError), match=message):
        open_runtime(engine)
    assert not fakes.cuda.memory


def test_without_its_sidecar(fakes: SimpleNamespace, engine: Path) -> None:
    engine.with_name("halnet.engine.json").unlink()
    with pytest.raises(ArtifactError, match=r"expected its sidecar halnet\.engine\.json"):
        open_runtime(engine)


def test_the_librarys_own_refusals(fakes: SimpleNamespace, engine: Path) -> None:
    fakes.trt.refuse = True
    with pytest.raises(ArtifactError, match="refused the engine on GPU of the tests"):
        open_runtime(engine)
    fakes.trt.refuse = False
    fakes.trt.dtypes["age"] = "half"
    with pytest.raises(ArtifactError, match="expected the tensors"):
        open_runtime(engine)
    del fakes.trt.dtypes["age"]
    fakes.cuda.status = 2
    with pytest.raises(RuntimeUnavailableError, match="CUDA says 2"):
        open_runtime(engine)


def test_missing_packages_name_their_cure(
    fakes: SimpleNamespace, engine: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "cuda.bindings.runtime", None)
    with pytest.raises(RuntimeUnavailableError, match=r"cuda-bindings is not installed; pip inst"):
        open_runtime(engine)
    monkeypatch.setitem(sys.modules, "tensorrt_rtx", None)
    with pytest.raises(RuntimeUnavailableError, match=r"pip install 'halnet\[tensorrt-rtx\]'"):
        open_runtime(engine)


def test_an_engine_describes_itself_without_library_or_gpu(engine: Path) -> None:
    spec = describe(engine)
    assert spec.provider == "SM86, SM89"
    assert (spec.batch_limits.least, spec.batch_limits.most) == (1, 4)
    assert spec.metadata.dataset == "none"
