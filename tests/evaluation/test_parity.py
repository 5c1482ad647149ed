from dataclasses import replace

import numpy as np
import pytest

from halnet.datasets.prepared_dataset import Record
from halnet.evaluation.parity import Divergence, Parity, Reference, compare
from halnet.results import Outputs
from halnet.runtimes.base import RuntimeSpec
from halnet.runtimes.fake import FakeRuntime

SPEC = FakeRuntime().spec
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
    spec: RuntimeSpec = SPEC,
    records: tuple[Record, ...] = RECORDS,
) -> Parity:
    reference = Reference("here", outputs(expected), records, SPEC.metadata.calibration)
    return compare(reference, outputs(found), spec)


def test_the_values_of_a_comparison() -> None:
    """The 90 % interval of the fake runtime is 1.8 standard deviations, 9 years, on each side."""
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
    assert overall.delta_coverage == pytest.approx(-0.01)
    assert (overall.reference.cs5, overall.artifact.cs5) == (1.0, 0.99)
    assert not parity.passed
    assert parity.failures == [
        "expected the 99th percentile of the age shift within 0.01 years, found +0.0500",
        "expected the change of the MAE within 0.001 years, found +0.0500",
        "expected the change of the interval coverage, a share, within 0.002, found -0.0100",
    ]
    values = parity.to_dict()
    assert values["passed"] is False
    assert values["overall"]["artifact"]["mae"] == overall.artifact.mae


def test_the_calibration_of_the_artifact_makes_its_intervals() -> None:
    quantiles = tuple(percent / 90 for percent in range(1, 100))  # 1.0 at 90 %: 5 years
    calibration = replace(SPEC.metadata.calibration, quantiles=quantiles)
    spec = replace(SPEC, metadata=replace(SPEC.metadata, calibration=calibration))
    overall = compared(LABELS + 6, LABELS + 6, spec).overall
    assert (overall.maximum, overall.delta_mae, overall.delta_coverage) == (0, 0, -1)


def test_a_decade_with_other_ages_is_named() -> None:
    found = LABELS.copy()
    found[60:] += 3
    by_decade = compared(LABELS, found).by_decade
    assert list(by_decade) == ["40-49", "50-59"]
    forties, fifties = by_decade.values()
    assert (forties.count, forties.maximum, forties.delta_mae) == (60, 0, 0)
    assert (fifties.count, fifties.p99) == (40, pytest.approx(3))
    assert fifties.delta_mae == pytest.approx(3)


def test_equal_outputs_pass_and_nan_does_not() -> None:
    age = np.linspace(20, 60, 100)
    assert compared(age, age).passed
    broken = compared(age, age * np.nan, records=())
    assert not broken.passed
    assert not broken.by_decade


def test_without_true_ages_only_the_ages_are_compared() -> None:
    age = np.linspace(20, 60, 100)
    parity = compared(age, age + 0.005, records=())
    assert parity.passed
    assert parity.overall.maximum == pytest.approx(0.005, abs=1e-5)
    assert (parity.overall.reference, parity.overall.artifact) == (None, None)
    assert (parity.overall.delta_mae, parity.overall.delta_coverage) == (0, 0)


@pytest.mark.parametrize(
    ("precision", "within", "outside"),
    [("fp32", 0.005, 0.05), ("fp16", 0.05, 1.5), ("int8", 1.5, 2.5)],
)
def test_each_precision_has_its_tolerance(precision: str, within: float, outside: float) -> None:
    age = np.linspace(20, 60, 100)
    spec = replace(SPEC, metadata=replace(SPEC.metadata, precision=precision))
    assert compared(age, age + within, spec, ()).passed
    assert not compared(age, age + outside, spec, ()).passed


def test_a_divergence_states_node_operator_and_error() -> None:
    text = str(Divergence("features.4", "Conv", 0.125))
    assert text == "features.4 (Conv), which differs by 12.5% of its largest value"
