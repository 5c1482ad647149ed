"""ONNX files and devices that ONNX Runtime must not run."""

from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import onnx
import pytest

from halnet.errors import ArtifactError, RuntimeUnavailableError
from halnet.results import Outputs
from halnet.runtimes import cuda, open_runtime
from halnet.runtimes.backends import describe
from halnet.runtimes.cuda import Gpu
from halnet.runtimes.ort import CPU, CUDA, NO_FALLBACK


def change(artifact: Path, out: Path, **properties: str | None) -> Path:
    """Write a copy of an artifact with other properties; None removes one."""
    model = onnx.load(artifact)
    values = {entry.key: entry.value for entry in model.metadata_props}
    for key, value in properties.items():
        values[f"halnet.{key}"] = value  # type: ignore[assignment]
    kept = {key: value for key, value in values.items() if value is not None}
    del model.metadata_props[:]
    onnx.helper.set_model_props(model, kept)
    onnx.save(model, out)
    return out


def test_an_unknown_fingerprint_is_refused(onnx_artifact: Path, tmp_path: Path) -> None:
    bad = change(onnx_artifact, tmp_path / "bad.onnx", input_fingerprint="0" * 16)
    with pytest.raises(ArtifactError, match="found 0000000000000000"):
        open_runtime(bad)


X86 = "model name : A CPU\nflags : fpu avx2 {}\n"


@pytest.mark.parametrize(
    ("bits", "flags", "runs"),
    [("8", "", False), ("8", "avx_vnni", True), ("7", "", True), ("8", None, True)],
)
def test_weights_of_8_bits_need_a_processor_that_adds_them_exactly(
    bits: str,
    flags: str | None,
    runs: bool,
    onnx_artifact: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Where the system does not describe its processor, the model runs."""
    info = tmp_path / "cpuinfo"
    if flags is not None:
        info.write_text(X86.format(flags))
    monkeypatch.setattr("halnet.processor.CPU_INFO", info)
    path = change(onnx_artifact, tmp_path / "int8.onnx", precision="int8", weight_bits=bits)
    for runtime in ("onnxruntime", "openvino"):
        if runs:
            with open_runtime(path, runtime=runtime, device="cpu") as model:
                assert model.spec.metadata.weight_bits == int(bits)
        else:
            with pytest.raises(
                RuntimeUnavailableError,
                match=r"weights of 8 bits.*expected VNNI, found AVX2; export .* --weight-bits 7",
            ):
                open_runtime(path, runtime=runtime, device="cpu")
    assert describe(path).metadata.weight_bits == int(bits), "what it states can always be read"


def test_a_file_without_metadata_is_refused(onnx_artifact: Path, tmp_path: Path) -> None:
    bad = change(onnx_artifact, tmp_path / "bad.onnx", format_version=None)
    with pytest.raises(ArtifactError, match=r"found no halnet\.\* metadata"):
        open_runtime(bad)


@pytest.mark.parametrize("share", [0.0, 0.5, 0.999])
def test_a_truncated_file_is_refused(onnx_artifact: Path, tmp_path: Path, share: float) -> None:
    data = onnx_artifact.read_bytes()
    bad = tmp_path / "bad.onnx"
    bad.write_bytes(data[: int(len(data) * share)])
    with pytest.raises(ArtifactError, match="cannot load it"):
        open_runtime(bad)


@pytest.mark.parametrize("beside", [False, True])
def test_external_data_is_refused(
    onnx_artifact: Path, tmp_path: Path, beside: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """This is also true if the weights are where ONNX Runtime finds them, in the current folder."""
    bad = tmp_path / "bad.onnx"
    onnx.save(onnx.load(onnx_artifact), bad, save_as_external_data=True, location="weights.bin")
    assert (tmp_path / "weights.bin").stat().st_size > 1e6
    if beside:
        monkeypatch.chdir(tmp_path)
    with pytest.raises(ArtifactError, match="found weights in external data"):
        open_runtime(bad)


def test_a_file_with_other_outputs_is_refused(onnx_artifact: Path, tmp_path: Path) -> None:
    model = onnx.load(onnx_artifact)
    del model.graph.output[1]
    bad = tmp_path / "bad.onnx"
    onnx.save(model, bad)
    with pytest.raises(ArtifactError, match="expected the input image .*found"):
        open_runtime(bad)


def test_a_future_opset_is_refused(onnx_artifact: Path, tmp_path: Path) -> None:
    model = onnx.load(onnx_artifact)
    model.opset_import[0].version = 99
    bad = tmp_path / "bad.onnx"
    onnx.save(model, bad)
    with pytest.raises(ArtifactError, match="cannot load it: .*opset"):
        open_runtime(bad)


def test_the_error_for_cuda_names_the_build_that_supports_it(onnx_artifact: Path) -> None:
    import onnxruntime

    if "CUDAExecutionProvider" in onnxruntime.get_available_providers():
        pytest.skip("this is the build for GPUs")
    with pytest.raises(RuntimeUnavailableError, match=r"needs the build for GPUs; .*halnet\[gpu\]"):
        open_runtime(onnx_artifact, "onnxruntime", "cuda")


@pytest.fixture
def expected(onnx_artifact: Path, crops: np.ndarray) -> Outputs:
    with open_runtime(onnx_artifact, "onnxruntime", "cpu") as cpu:
        return cpu.run(crops)


@pytest.fixture
def on_cuda(monkeypatch: pytest.MonkeyPatch) -> type[Any]:
    """A build for GPUs as halnet sees it, whose sessions compute on the CPU.

    The class of its sessions has what was `asked` for, the numbers of crops in each of its
    `batches`, the `problem` that a session raises, and the providers that a session is `given`.
    """
    import onnxruntime

    class Session(onnxruntime.InferenceSession):  # type: ignore[misc]
        asked: ClassVar[list[Any]] = []
        batches: ClassVar[list[int]] = []
        problem: ClassVar[str] = ""
        given: ClassVar[list[str]] = [CUDA, CPU]

        def __init__(self, data: bytes, options: Any, providers: Any) -> None:
            self.asked.append((providers, options.get_session_config_entry(NO_FALLBACK)))
            if self.problem:
                raise RuntimeError(self.problem)
            super().__init__(data, onnxruntime.SessionOptions(), providers=[CPU])

        def get_providers(self) -> list[str]:
            return self.given

        def run(self, names: Any, feed: dict[str, np.ndarray]) -> Any:
            self.batches.append(len(feed["image"]))
            return super().run(names, feed)

    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: [CUDA, CPU])
    monkeypatch.setattr(onnxruntime, "InferenceSession", Session)
    monkeypatch.setattr(onnxruntime, "preload_dlls", lambda: None, raising=False)
    monkeypatch.setattr(cuda, "find_gpus", lambda: [Gpu(0, "GPU of the test", (9, 0))])
    return Session


def test_a_silent_fallback_is_an_error(onnx_artifact: Path, on_cuda: type[Any]) -> None:
    """The build for GPUs always lists CUDA, and runs on the CPU if CUDA cannot be loaded."""
    on_cuda.given = [CPU]
    with pytest.raises(RuntimeUnavailableError, match=f"expected {CUDA}, found {CPU}"):
        open_runtime(onnx_artifact, "onnxruntime", "cuda")
    settings = {"device_id": "0", "use_tf32": "0", "cudnn_conv_algo_search": "HEURISTIC"}
    assert on_cuda.asked == [([(CUDA, settings)], "1")]


def test_a_model_that_cuda_cannot_run_alone_is_refused(
    onnx_artifact: Path, on_cuda: type[Any]
) -> None:
    on_cuda.problem = (
        "[ONNXRuntimeError] : 1 : FAIL : This session contains graph nodes that are assigned to "
        "the default CPU EP, but fallback to CPU EP has been explicitly disabled by the user."
    )
    with pytest.raises(RuntimeUnavailableError, match="use the artifact in FP32 or FP16"):
        open_runtime(onnx_artifact, "onnxruntime", "cuda")


def test_cuda_plans_few_numbers_of_crops(
    onnx_artifact: Path, crops: np.ndarray, expected: Outputs, on_cuda: type[Any]
) -> None:
    with open_runtime(onnx_artifact, "onnxruntime", "cuda") as runtime:
        for count in (1, 2, 3, 4, 5):
            found = runtime.run(crops[:count])
            np.testing.assert_allclose(found.age, expected.age[:count], atol=1e-3)
            np.testing.assert_allclose(
                found.probabilities, expected.probabilities[:count], atol=1e-5
            )
    assert on_cuda.batches == [1, 2, 4, 4, 8]
