from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest

from halnet.artifact import bundled
from halnet.benchmarks.parity import Parity, Reference, Verifier, VerifyConfig, compare
from halnet.benchmarks.samples import sample_crops
from halnet.datasets.prepared_dataset import Record
from halnet.errors import ArtifactError, ConfigError
from halnet.results import Outputs
from halnet.runtimes.base import Runtime
from halnet.runtimes.fake import FakeRuntime

RECORDS = tuple(Record(f"{i}", 40 if i < 60 else 52, "", "test") for i in range(100))
LABELS = np.array([record.age for record in RECORDS], float)


def outputs(age: np.ndarray) -> Outputs:
    n = len(age)
    return Outputs(
        age.astype(np.float32), np.full(n, 5, np.float32), np.zeros((n, 101), np.float32)
    )


def compared(
    expected: np.ndarray,
    found: np.ndarray,
    runtime: Runtime | None = None,
    records: tuple[Record, ...] = RECORDS,
) -> Parity:
    runtime = runtime or FakeRuntime()
    calibration = runtime.spec.metadata.calibration
    reference = Reference("here", outputs(expected), records, calibration)
    return compare(reference, outputs(found), runtime)


def test_figures_by_hand() -> None:
    """The fake's 90 % interval reaches 1.8 deviations, 9 years."""
    found = LABELS + 5
    found[0] += 5  # leaves the interval, and adds 5 / 100 to the MAE
    parity = compared(LABELS + 5, found)
    assert (parity.data, parity.precision, parity.runtime) == ("here", "fp32", "fake 1, cpu")
    overall = parity.overall
    assert overall.count == 100
    assert overall.reference is not None
    assert overall.artifact is not None
    assert overall.reference.mae == pytest.approx(5)
    assert overall.artifact.mae == pytest.approx(5.05)
    assert overall.delta_mae == pytest.approx(0.05)
    assert overall.maximum == pytest.approx(5)
    assert overall.p99 == pytest.approx(0.05)  # between the 99th and the 100th value
    assert (overall.reference.coverage, overall.artifact.coverage) == (1.0, 0.99)
    assert (overall.reference.cs5, overall.artifact.cs5) == (1.0, 0.99)
    assert len(parity.failures) == 3
    assert not parity.passed
    assert "delta MAE +0.0500 is beyond 0.001 years" in parity.failures


def test_the_decade_that_moved_is_named() -> None:
    found = LABELS.copy()
    found[60:] += 3
    forties, fifties = compared(LABELS, found).by_decade.values()
    assert list(compared(LABELS, found).by_decade) == ["40-49", "50-59"]
    assert (forties.count, forties.maximum, forties.delta_mae) == (60, 0, 0)
    assert (fifties.count, fifties.p99) == (40, pytest.approx(3))
    assert fifties.delta_mae == pytest.approx(3)


def test_equal_outputs_pass_and_nan_does_not() -> None:
    age = np.linspace(20, 60, 100)
    assert compared(age, age).passed
    broken = compared(age, age * np.nan, records=())
    assert not broken.passed
    assert not broken.by_decade


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
        results = [compared(age, age + shift, runtime, ()).passed for runtime in runtimes.values()]
        assert sum(results) == passing, shift


def test_a_good_artifact_passes_and_a_changed_one_does_not(
    onnx_artifact: Path, checkpoint: Path, tmp_path: Path
) -> None:
    verifier = Verifier(VerifyConfig(checkpoint))
    good = verifier(onnx_artifact)
    assert good.passed
    assert good.overall.count == len(sample_crops())
    assert good.overall.artifact is None
    model = onnx.load(onnx_artifact)
    (weight,) = (t for t in model.graph.initializer if sorted(t.dims) == [101, 1280])
    values = onnx.numpy_helper.to_array(weight) * np.float32(1.01)  # one per cent of the last layer
    weight.CopyFrom(onnx.numpy_helper.from_array(values, weight.name))
    changed = tmp_path / "halnet.onnx"
    onnx.save(model, changed)
    assert not verifier(changed).passed


def test_the_checkpoint_and_the_split_must_be_those_of_the_artifact(
    onnx_artifact: Path, checkpoint: Path, prepared: Path
) -> None:
    with pytest.raises(ArtifactError, match="name it with --checkpoint"):
        Verifier(VerifyConfig())(onnx_artifact)
    with pytest.raises(ConfigError, match="its test photos may have been trained on"):
        Verifier(VerifyConfig(checkpoint, prepared))(onnx_artifact)


def test_the_bundled_artifact_passes() -> None:
    parity = Verifier(VerifyConfig())(bundled("halnet.onnx"))
    assert parity.passed
    assert parity.overall.maximum < 0.01
