from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest

from halnet.artifact import bundled
from halnet.benchmarks.parity import VerifyConfig, compare, verify
from halnet.benchmarks.samples import sample_crops
from halnet.datasets.prepared import Record
from halnet.errors import ArtifactError, ConfigError
from halnet.results import Outputs
from halnet.runtimes.fake import FakeRuntime

RECORDS = tuple(Record(f"{i}", 40, "", "test") for i in range(100))


def outputs(age: np.ndarray) -> Outputs:
    n = len(age)
    return Outputs(
        age.astype(np.float32), np.full(n, 5, np.float32), np.zeros((n, 101), np.float32)
    )


def test_figures_by_hand() -> None:
    """The fake's 90 % interval reaches 1.8 deviations, 9 years."""
    expected = np.full(100, 45.0)
    found = expected.copy()
    found[0] += 5  # leaves the interval, and adds 5 / 100 to the MAE
    parity = compare(
        FakeRuntime(), outputs(expected), outputs(found), FakeRuntime(), RECORDS, "here"
    )
    assert (parity.count, parity.data, parity.precision) == (100, "here", "fp32")
    assert parity.reference_mae == pytest.approx(5)
    assert parity.mae == pytest.approx(5.05)
    assert parity.maximum == pytest.approx(5)
    assert parity.p99 == pytest.approx(0.05)  # between the 99th and the 100th value
    assert (parity.reference_coverage, parity.coverage) == (1.0, 0.99)
    assert len(parity.failures) == 3
    assert not parity.passed
    assert "delta MAE +0.0500 is beyond 0.001 years" in parity.failures


def test_equal_outputs_pass_and_nan_does_not() -> None:
    age = np.linspace(20, 60, 100)
    same = compare(FakeRuntime(), outputs(age), outputs(age), FakeRuntime(), RECORDS, "")
    assert same.passed
    broken = compare(FakeRuntime(), outputs(age), outputs(age * np.nan), FakeRuntime(), (), "")
    assert not broken.passed


def test_each_precision_has_its_tolerance() -> None:
    age = np.linspace(20, 60, 100)
    runtimes = {}
    for precision in ("fp32", "fp16", "int8"):
        runtimes[precision] = FakeRuntime()
        spec = runtimes[precision].spec
        runtimes[precision].spec = replace(
            spec, metadata=replace(spec.metadata, precision=precision)
        )
    for shift, passing in ((0.005, 3), (0.05, 2), (1.5, 1), (2.5, 0)):
        results = [
            compare(runtime, outputs(age), outputs(age + shift), runtime, (), "").passed
            for runtime in runtimes.values()
        ]
        assert sum(results) == passing, shift


def test_a_good_artifact_passes_and_a_changed_one_does_not(
    onnx_artifact: Path, checkpoint: Path, tmp_path: Path
) -> None:
    good = verify(VerifyConfig(onnx_artifact, checkpoint))
    assert good.passed
    assert good.count == len(sample_crops())
    assert good.mae is None
    model = onnx.load(onnx_artifact)
    (weight,) = (t for t in model.graph.initializer if sorted(t.dims) == [101, 1280])
    values = onnx.numpy_helper.to_array(weight) * np.float32(1.01)  # one per cent of the last layer
    weight.CopyFrom(onnx.numpy_helper.from_array(values, weight.name))
    changed = tmp_path / "halnet.onnx"
    onnx.save(model, changed)
    assert not verify(VerifyConfig(changed, checkpoint)).passed


def test_the_checkpoint_and_the_split_must_be_those_of_the_artifact(
    onnx_artifact: Path, checkpoint: Path, prepared: Path
) -> None:
    with pytest.raises(ArtifactError, match="name it with --checkpoint"):
        verify(VerifyConfig(onnx_artifact, bundled("halnet.safetensors")))
    with pytest.raises(ConfigError, match="its test photos may have been trained on"):
        verify(VerifyConfig(onnx_artifact, checkpoint, data=prepared))


def test_the_bundled_artifact_passes() -> None:
    parity = verify(VerifyConfig(bundled("halnet.onnx")))
    assert parity.passed
    assert parity.maximum < 0.01
