"""Int8Advice: the advice, what it is drawn from, and what is left out."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from halnet.benchmarks import speed, worth
from halnet.benchmarks.advice import Int8Advice, advise_int8
from halnet.benchmarks.speed import BenchConfig
from halnet.errors import RuntimeUnavailableError
from halnet.export import Exported
from halnet.runtimes.fake import FakeRuntime

QUICK = BenchConfig(runs=3, warmup=0)
SIZES = {"fp32": 1200, "fp16": 600, "int8": 400}


def test_advice() -> None:
    faster = Int8Advice("onnx", "ort", {"fp32": 7.3, "fp16": 12.0, "int8": 5.0}, SIZES)
    assert faster.gain == pytest.approx(1.46)
    assert faster.advice == (
        "ort, FP32 7.3 ms, FP16 12.0 ms, INT8 5.0 ms: INT8 is 1.5 times as fast as FP32: worth it"
    )
    slower = Int8Advice("onnx", "ort", {"fp32": 4.0, "fp16": 3.5, "int8": 3.4}, SIZES)
    assert slower.advice.endswith(
        "INT8 is 1.0 times as fast as FP16: not worth it for speed, deploy FP16, unless a file of "
        "67% of the size matters"
    )


def exported(path: Path, precision: str, **changes: Any) -> Exported:
    path.write_bytes(b"x" * SIZES[precision])
    made = Exported(path, "onnx", precision, 0, "", path, None, "")
    return replace(made, **changes)


def test_what_is_timed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    opened = []

    def open_fake(path: Path, runtime: str, threads: int | None) -> FakeRuntime:
        opened.append((path.name, runtime, threads))
        fake = FakeRuntime()
        if path.name == "halnet.fp16.onnx":  # left by an export of another checkpoint
            metadata = replace(fake.spec.metadata, checkpoint_sha256="another")
            fake.spec = replace(fake.spec, metadata=metadata)
        return fake

    monkeypatch.setattr(worth, "open_runtime", open_fake)
    int8 = exported(tmp_path / "halnet.int8.onnx", "int8")
    assert advise_int8([int8], QUICK) == {}, "nothing beside it"
    full = exported(tmp_path / "halnet.onnx", "fp32")
    exported(tmp_path / "halnet.fp16.onnx", "fp16")
    opened.clear()
    found = advise_int8([full, int8], QUICK, threads=1)
    assert list(found) == [int8.path]
    assert opened == [
        (name, "onnxruntime", 1) for name in ("halnet.onnx", "halnet.fp16.onnx", "halnet.int8.onnx")
    ]
    assert found[int8.path].sizes == {"fp32": 1200, "int8": 400}
    assert set(found[int8.path].milliseconds) == {"fp32", "int8"}

    def absent(*args: Any, **options: Any) -> None:
        raise RuntimeUnavailableError("no GPU")

    monkeypatch.setattr(worth, "open_runtime", absent)
    assert advise_int8([int8], QUICK) == {}


def test_processors(monkeypatch: pytest.MonkeyPatch) -> None:
    x86 = "model name\t: A CPU\nflags\t\t: fpu avx2 avx512f avx512_vnni\n"
    for text, features in (
        (x86, ["AVX2", "AVX-512", "VNNI"]),
        ("Features\t: fp asimd asimddp i8mm\n", ["dot product", "I8MM"]),
        ("", []),
    ):
        monkeypatch.setattr(speed, "_cpu_info", lambda text=text: text)
        assert speed.cpu_features() == features
    monkeypatch.setattr(speed, "_cpu_info", lambda: x86)
    assert speed.machine() == "A CPU, AVX2, AVX-512, VNNI"
