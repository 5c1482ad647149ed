"""The advice on INT8, what it is based on, and what is left out."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from halnet.benchmarks import advice
from halnet.benchmarks.advice import Int8Advice, advise_int8
from halnet.benchmarks.timing.speed import BenchConfig
from halnet.errors import ArtifactError, RuntimeUnavailableError
from halnet.export import Exported
from halnet.runtimes.base import BatchLimits, RuntimeOptions
from halnet.runtimes.fake import FakeRuntime

QUICK = BenchConfig(runs=3, warmup=0)
SIZES = {"fp32": 1200, "fp16": 600, "int8": 400}


def test_the_advice_where_int8_is_faster() -> None:
    faster = Int8Advice("onnx", "ort", {"fp32": 7.3, "fp16": 12.0, "int8": 5.0}, SIZES)
    assert faster.fastest_other == "fp32"
    assert faster.gain == pytest.approx(1.46)
    assert faster.advice == (
        "ort, FP32 7.3 ms, FP16 12.0 ms, INT8 5.0 ms: INT8 is 1.5 times as fast as FP32 and is "
        "worth it"
    )


def test_the_advice_where_int8_is_not_faster() -> None:
    slower = Int8Advice("onnx", "ort", {"fp32": 4.0, "fp16": 3.5, "int8": 3.4}, SIZES)
    assert slower.advice.endswith(
        "INT8 is 1.0 times as fast as FP16 and is not worth it for speed; deploy FP16, unless you "
        "need the smaller file (67% of the size)"
    )


def test_the_keys_in_json() -> None:
    found = Int8Advice("onnx", "ort", {"fp32": 4.0, "int8": 2.0}, {"fp32": 9, "int8": 3})
    assert found.to_dict() == {
        "format": "onnx",
        "runtime": "ort",
        "milliseconds": {"fp32": 4.0, "int8": 2.0},
        "sizes": {"fp32": 9, "int8": 3},
        "batch": 1,
        "left_out": {},
        "gain": 2.0,
        "advice": found.advice,
    }


def exported(path: Path, precision: str, **changes: Any) -> Exported:
    path.write_bytes(b"x" * SIZES[precision])
    artifact = Exported(path, "onnx", precision, 0, "", path, None, "")
    return replace(artifact, **changes)


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, RuntimeOptions]]:
    """Open a fake runtime for each artifact, and record which were opened."""
    calls = []

    def open_fake(path: Path, options: RuntimeOptions) -> FakeRuntime:
        calls.append((path.name, options))
        if path.read_bytes() == b"damaged":
            raise ArtifactError(f"{path}: damaged")
        fake = FakeRuntime()
        if path.read_bytes().startswith(b"batch of 8"):
            fake.spec = replace(fake.spec, batch_limits=BatchLimits(8, 8))
        if path.name == "halnet.fp16.onnx":  # an export of another checkpoint has left it
            metadata = replace(fake.spec.metadata, checkpoint_sha256="another")
            fake.spec = replace(fake.spec, metadata=metadata)
        return fake

    monkeypatch.setattr(advice, "open_model", open_fake)
    return calls


def test_an_artifact_alone_gets_no_advice(opened: list[Any], tmp_path: Path) -> None:
    int8 = exported(tmp_path / "halnet.int8.onnx", "int8")
    assert advise_int8([int8], QUICK) == {}
    assert len(opened) == 1


def test_precisions_of_the_same_checkpoint_are_timed(opened: list[Any], tmp_path: Path) -> None:
    int8 = exported(tmp_path / "halnet.int8.onnx", "int8")
    full = exported(tmp_path / "halnet.onnx", "fp32")
    exported(tmp_path / "halnet.fp16.onnx", "fp16")
    found = advise_int8([full, int8], QUICK, threads=1)
    assert list(found) == [int8.path]
    assert opened == [
        (name, RuntimeOptions("onnxruntime", threads=1))
        for name in ("halnet.onnx", "halnet.fp16.onnx", "halnet.int8.onnx")
    ]
    assert found[int8.path].sizes == {"fp32": 1200, "int8": 400}
    assert set(found[int8.path].milliseconds) == {"fp32", "int8"}
    assert found[int8.path].runtime == "fake 1, cpu"
    assert found[int8.path].left_out == {"fp16": "which was made from another checkpoint"}
    assert found[int8.path].advice.endswith(
        "; not compared with FP16, which was made from another checkpoint"
    )


def test_only_artifacts_that_take_the_same_batches_are_compared(
    opened: list[Any], tmp_path: Path
) -> None:
    int8 = exported(tmp_path / "halnet.int8.onnx", "int8")
    full = exported(tmp_path / "halnet.onnx", "fp32")
    full.path.write_bytes(b"batch of 8")
    found = advise_int8([int8], QUICK)[int8.path]
    assert (found.milliseconds, found.fastest_other, found.gain) == ({}, None, None)
    assert found.advice == (
        "fake 1, cpu; not compared with FP32, which takes a batch of 8 crops, while INT8 takes a "
        "batch of any crops"
    )
    int8.path.write_bytes(b"batch of 8")
    found = advise_int8([int8], QUICK)[int8.path]
    assert set(found.milliseconds) == {"fp32", "int8"}
    assert (found.batch, found.left_out) == (8, {})
    assert " ms for 8 crops: INT8 is " in found.advice


def test_a_damaged_neighbour_does_not_end_an_export(opened: list[Any], tmp_path: Path) -> None:
    int8 = exported(tmp_path / "halnet.int8.onnx", "int8")
    exported(tmp_path / "halnet.onnx", "fp32").path.write_bytes(b"damaged")
    (found,) = advise_int8([int8], QUICK).values()
    assert found.left_out == {"fp32": "which cannot be opened"}


def test_a_failed_artifact_gets_no_advice(opened: list[Any], tmp_path: Path) -> None:
    class Failed:
        data, passed = "crops", False

        def to_dict(self) -> dict[str, Any]:
            return {}

    exported(tmp_path / "halnet.onnx", "fp32")
    int8 = exported(tmp_path / "halnet.int8.onnx", "int8", verdict=Failed())
    assert advise_int8([int8], QUICK) == {}
    assert not opened


def test_an_artifact_that_cannot_run_here_gets_no_advice(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(path: Path, options: RuntimeOptions) -> None:
        raise RuntimeUnavailableError("no GPU")

    monkeypatch.setattr(advice, "open_model", refuse)
    exported(tmp_path / "halnet.onnx", "fp32")
    assert advise_int8([exported(tmp_path / "halnet.int8.onnx", "int8")], QUICK) == {}
