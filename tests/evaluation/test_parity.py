from dataclasses import replace

import numpy as np
import pytest

from halnet.datasets.record import Record
from halnet.evaluation.parity import Divergence, Parity, Reference, compare
from halnet.results import Outputs
from halnet.runtimes.base import RuntimeSpec
from halnet.runtimes.fake import FakeRuntime

SPEC = FakeRuntime().spec
RECORDS = tuple(
    Record(f"{i}", age, age, split="test") for i, age in enumerate([40] * 60 + [52] * 40)
)
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
    found[:3] += 5  # three ages leave the interval, and add 15 / 100 to the MAE
    parity = compared(LABELS + 5, found)
    assert (parity.data, parity.precision, parity.runtime) == ("here", "fp32", "fake 1, cpu")
    overall = parity.overall
    assert overall.count == 100
    assert overall.reference is not None
    assert overall.artifact is not None
    assert overall.reference.mae == pytest.approx(5)
    assert overall.artifact.mae == pytest.approx(5.15)
    assert overall.delta_mae == pytest.approx(0.15)
    assert overall.maximum == pytest.approx(5)
    assert overall.p99 == pytest.approx(5)
    assert (overall.reference.coverage, overall.artifact.coverage) == (1.0, 0.97)
    assert overall.delta_coverage == pytest.approx(-0.03)
    assert (overall.reference.cs5, overall.artifact.cs5) == (1.0, 0.97)
    assert not parity.passed
    assert parity.failures == [
        "expected the 99th percentile of the age shift within 0.01 years, found +5.0000",
        "expected the change of the MAE within 0.001 years, found +0.1500",
        "expected the change of the interval coverage within 0.002 (share), found -0.0300",
    ]
    values = parity.to_dict()
    assert values["passed"] is False
    assert values["overall"]["artifact"]["mae"] == overall.artifact.mae
    names = ["count", "mae", "bias", "cs3", "cs5", "coverage", "width"]
    assert list(values["overall"]["artifact"]) == names
    assert "by_set" not in values, "there is one dataset"


def test_the_age_shift_of_a_single_photo_is_between_two_values() -> None:
    found = LABELS.copy()
    found[0] += 5
    assert compared(LABELS, found).overall.p99 == pytest.approx(0.05)


@pytest.mark.parametrize(("changed", "passes"), [(2, True), (3, False)])
def test_the_coverage_may_change_by_two_photos(changed: int, passes: bool) -> None:
    """The coverage of 100 photos may change by 1 % in INT8, which is one photo, or by two photos.

    The intervals of the reference end 0.005 years outside of the true age.
    """
    expected = LABELS + 8.995
    found = expected.copy()
    found[:changed] += 0.01
    spec = replace(SPEC, metadata=replace(SPEC.metadata, precision="int8"))
    parity = compared(expected, found, spec)
    assert parity.delta_coverage == pytest.approx(-changed / 100)
    assert parity.passed is passes
    assert len(parity.failures) == (not passes)


@pytest.mark.parametrize(("count", "passes"), [(30, True), (300, False)])
def test_the_error_of_few_photos_may_change_by_chance(count: int, passes: bool) -> None:
    """Changes of one year, two thirds of them upwards: a third of a year in the mean."""
    records = [Record(f"{index}.jpg", 40, 40) for index in range(count)]
    expected = np.full(count, 45.0)
    changes = np.where(np.arange(count) % 3 == 0, -1.0, 1.0)
    parity = compared(expected, expected + changes, INT8, records)
    assert parity.overall.delta_mae == pytest.approx(1 / 3)
    spread = np.sqrt(8 / 9 / count)
    assert parity.overall.standard_error == pytest.approx(spread)
    assert parity.passed is passes
    same = compared(expected, expected + 0.3, INT8, records)
    assert not same.passed, "every error has changed in the same way"


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


SETS = (
    *(Record(f"a{i}", 40, 40, dataset="a") for i in range(300)),
    *(Record(f"b{i}", 52, 52, dataset="b") for i in range(50)),
    *(Record(f"c{i}", 60, 69, dataset="c") for i in range(50)),
)
OWN = {name: np.array([record.dataset == name for record in SETS]) for name in "abc"}
TRUTH = np.array([record.age_low for record in SETS], float)
INT8 = replace(SPEC, metadata=replace(SPEC.metadata, precision="int8"))


def test_errors_and_ages_of_each_dataset_are_compared() -> None:
    """A change of the small dataset `b`, which is hidden in the mean of all datasets."""
    found = TRUTH.copy()
    found[np.flatnonzero(OWN["b"])[:4]] += 2.5
    parity = compared(TRUTH, found, INT8, SETS)
    assert list(parity.by_set) == ["a", "b", "c"]
    assert (parity.count, parity.overall.count) == (400, 350), "overall has the exact ages alone"
    assert abs(parity.overall.delta_mae) <= 0.05
    assert parity.overall.p99 <= 2
    assert parity.by_set["a"].maximum == 0
    assert parity.by_set["b"].delta_mae == pytest.approx(0.2)
    assert parity.failures == [
        "expected the 99th percentile of the age shift on b within 2 years, found +2.5000",
    ], "of so few photos, a change of the MAE by a few of them may be chance"
    assert list(parity.by_decade) == ["40-49", "50-59"]
    assert set(parity.to_dict()["by_set"]) == {"a", "b", "c"}
    found = TRUTH + OWN["b"] * 0.2
    assert compared(TRUTH, found, INT8, SETS).failures == [
        "expected the change of the MAE on b within 0.05 years, found +0.2000"
    ]


def test_a_dataset_of_ranges_is_compared_by_its_distance() -> None:
    """Ages that move inside the range keep the distance; ages that leave it do not."""
    inside, outside = TRUTH + OWN["c"] * 8, TRUTH + OWN["c"] * 8.5
    assert compared(TRUTH, inside - OWN["c"] * 6.5, INT8, SETS).passed
    found = compared(TRUTH + OWN["c"] * 9, outside + OWN["c"] * 1.25, INT8, SETS)
    part = found.by_set["c"]
    assert part.error_name == "distance"
    assert part.delta_mae == pytest.approx(0.75)
    assert found.failures == [
        "expected the change of the distance on c within 0.05 years, found +0.7500"
    ]
    values = found.to_dict()["by_set"]["c"]["artifact"]
    assert (values["distance"], values["inside"]) == (pytest.approx(0.75), 0)


@pytest.mark.parametrize(("lost_in_a", "passes"), [(0, True), (1, False)])
def test_the_coverage_of_all_datasets_together_is_compared(lost_in_a: int, passes: bool) -> None:
    """Of 400 photos, four may leave their interval, even if all of them are in a small dataset."""
    expected = TRUTH + 8.995 * ~OWN["c"] - 8.995 * OWN["c"]
    found = expected.copy()
    found[np.flatnonzero(OWN["b"])[:2]] += 0.01
    found[np.flatnonzero(OWN["c"])[:2]] -= 0.01  # the interval ends below the range
    found[:lost_in_a] += 0.01
    parity = compared(expected, found, INT8, SETS)
    assert parity.by_set["b"].delta_coverage == pytest.approx(-0.04)
    assert parity.by_set["c"].delta_coverage == pytest.approx(-0.04)
    assert parity.delta_coverage == pytest.approx(-(4 + lost_in_a) / 400)
    assert parity.passed is passes


def test_exact_ages_and_ranges_of_one_dataset_are_apart() -> None:
    records = tuple(replace(record, dataset="d") for record in SETS)
    parity = compared(TRUTH, TRUTH, records=records)
    assert {name: part.count for name, part in parity.by_set.items()} == {"d": 350, "d, ranges": 50}


def test_the_licence_of_the_artifact_is_stated() -> None:
    spec = replace(SPEC, metadata=replace(SPEC.metadata, licence="X-1", terms="research only"))
    assert compared(LABELS, LABELS, spec).to_dict()["licence"] == "X-1: research only"
    assert "licence" not in compared(LABELS, LABELS).to_dict()


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
