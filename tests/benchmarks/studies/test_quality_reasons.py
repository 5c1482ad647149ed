from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from halnet.benchmarks.studies import quality_reasons
from halnet.benchmarks.studies.photo_faults import CHECKS, FAULTS, cut, scale_light, shrink
from halnet.benchmarks.studies.quality_reasons import (
    CANDIDATES,
    GROWN,
    LEFT_OUT,
    REFUSED,
    WORST,
    Measured,
    Steps,
    choose_limits,
    compare,
    compare_errors,
    compare_groups,
    fill_up,
    trade,
)
from halnet.checks.reasons import REASONS
from halnet.datasets.record import Record
from halnet.errors import DatasetError
from halnet.evaluation.predictions import Predictions
from halnet.faces.alignment import TEMPLATE
from halnet.faces.quality import measure_quality

COUNT = 2000
RNG = np.random.default_rng(0)
CROP = RNG.integers(0, 256, (224, 224, 3)).astype(np.uint8)


def record(name: str = "a.jpg", factor: float = 1.0) -> Record:
    landmarks = tuple((factor * TEMPLATE).ravel().tolist())
    side = round(224 * factor)
    return Record(name, 30, 30, width=side, height=side, landmarks=landmarks, score=0.9)


def measured(errors: np.ndarray, **values: np.ndarray) -> Measured:
    """Photos of people of 30 years with these errors; numbers that are not named are the same."""
    count = len(errors)
    label = np.full(count, 30.0)
    predictions = Predictions(
        source=tuple(map(str, range(count))),
        sex=("female", "male") * (count // 2),
        label_low=label,
        label_high=label,
        age=label + errors,
        stddev=np.ones(count),
        low=label + errors - 5,
        high=label + errors + 5,
        adult=np.ones(count),
        dataset=("synthetic",) * count,
    )
    # The middle of both limits, or one beyond the only one: nothing is refused.
    inside = {r.name: r.low + 1 if np.isfinite(r.low) else r.high - 1 for r in CANDIDATES}
    numbers = {name: np.full(count, value) for name, value in inside.items()}
    return Measured(predictions, numbers | values)


def no_growth() -> Steps:
    return Steps((np.nan, 1.0), np.array([[1.0], [2.0]]), np.array([[4.0], [4.0]]))


def test_the_worst_photos_are_refused_only_if_they_are_worse() -> None:
    errors = np.full(COUNT, 2.0)
    errors[:20] = 6.0  # the worst one percent by the yaw
    yaw, score = np.linspace(90, 0, COUNT), np.linspace(0.5, 1, COUNT)
    score = np.roll(score, 1000)  # its worst photos are like all others
    found = measured(errors, **{"turned away": yaw, "detector unsure": score})
    steps = {name: no_growth() for name in FAULTS}
    rows = {row[0]: row for row in choose_limits(found, steps)}
    assert rows["turned away"][3] == f"at most {np.quantile(yaw, 1 - WORST):.3g}"
    assert rows["turned away"][5] == "20"
    assert rows["turned away"][-1] == "yes"
    assert float(rows["turned away"][6].split()[0]) == pytest.approx(6 / 2.04, abs=0.01)
    assert rows["detector unsure"][5] == "20"
    assert rows["detector unsure"][-1] == "no"
    assert rows["too dark"][-1] == "no"  # its degradation does not matter


def test_the_width_of_the_interval_fills_up_what_the_other_reasons_leave() -> None:
    refused = np.zeros(COUNT, np.bool_)
    refused[:30] = True
    widths = np.arange(COUNT, dtype=np.float64)[::-1]  # the refused photos have the widest ones
    limit = fill_up(widths, refused)
    assert (refused | (widths > limit)).mean() == REFUSED
    assert fill_up(widths, np.ones(COUNT, np.bool_)) == float("inf")


def test_errors_are_compared_with_those_of_the_same_ages() -> None:
    errors = np.full(COUNT, 2.0)
    errors[1000:] = 8.0
    found = measured(errors)
    # All photos are 30 years old; the second half is predicted to be older than 50.
    older = replace(found.predictions, label_low=found.predictions.label_low + 30 * (errors > 5))
    older = replace(older, label_high=older.label_low, age=older.label_low + errors)
    both = replace(found, predictions=older)
    chosen = np.zeros(COUNT, np.bool_)
    chosen[1900:] = True
    assert compare_errors(found, chosen)[0] == pytest.approx(8 / 5)
    ratio, low = compare_errors(both, chosen)
    assert (ratio, low) == (pytest.approx(1), pytest.approx(1))
    assert np.isnan(compare_errors(found, ~np.ones(COUNT, np.bool_))).all()


def test_the_limit_of_a_degradation_is_interpolated() -> None:
    values = np.array([[70.0] * 3, [20.0] * 3, [10.0] * 3])
    errors = np.array([[4.0] * 3, [4.8] * 3, [7.2] * 3])  # 1, 1.2 and 1.8 times the first
    steps = Steps((np.nan, 20.0, 10.0), values, errors)
    assert GROWN == 1.5
    assert steps.find_limit() == pytest.approx(15)
    assert np.isnan(Steps((np.nan, 20.0), values[:2], errors[:2]).find_limit())
    assert steps.rows("too small")[1] == ["too small", "20", "20", "4.80", "+20%"]


def test_a_smaller_photo_has_fewer_pixels_between_the_eyes() -> None:
    crop, landmarks, size = shrink(CROP, record(factor=2.0), 14)
    quality = measure_quality(crop, landmarks, size, 0.9)
    assert quality.eye_distance == pytest.approx(14)
    assert quality.inside == pytest.approx(1, abs=0.01)
    assert crop.shape == CROP.shape
    assert crop.std() < 0.5 * CROP.std()


def test_light_is_multiplied_up_to_white() -> None:
    crop, landmarks, size = scale_light(np.full((224, 224, 3), 100, np.uint8), record(), 0.3)
    assert (crop == 30).all()
    assert size == (224, 224)
    np.testing.assert_allclose(landmarks, TEMPLATE)
    assert (scale_light(CROP, record(), 300)[0][CROP > 0] == 255).all()


def test_a_photo_is_cut_off_at_three_sides() -> None:
    sides = set()
    for name in ("a", "b", "c"):
        crop, landmarks, size = cut(CROP, record(name), 0.5)
        black = (crop == 0).all(axis=2)
        assert black.mean() == pytest.approx(0.5, abs=0.01)
        sides.add((bool(black[100, 5]), bool(black[100, 218]), bool(black[218, 100])))
        inside = measure_quality(crop, landmarks, size, 0.9).inside
        bottom = (112 - 56) / (208 - 56)
        assert inside == pytest.approx(bottom if black[218, 5] and black[218, 218] else 0.5)
    assert len(sides) == 3


def test_the_tables_of_the_test_photos() -> None:
    errors = np.full(COUNT, 2.0)
    errors[:100] = 8.0
    dark = np.full(COUNT, 130.0)
    dark[:100] = 1.0
    found = measured(errors, **{"too dark": dark})
    rows = {row[0]: row for row in compare(found)}
    assert len(rows) == len(REASONS) + 1 + len(LEFT_OUT)
    assert rows["too dark"][1:5] == ["100", "5.0%", "8.00 (100)", "2.00 (1,900)"]
    assert rows["too dark"][5:7] == ["0.0%", "100.0%"]
    assert rows["any reason"][1:] == rows["too dark"][1:]
    assert rows["blurred"][1:4] == ["0", "0.0%", "none"]
    groups = {row[0]: row for row in compare_groups(found)}
    assert groups["all"][1:] == ["2,000", "5.0%", "2.30", "2.00", "-13.0%"]
    assert groups["exact ages"][1:] == groups["all"][1:]
    assert groups["30 to 49 years"] == ["30 to 49 years", *groups["all"][1:]]
    assert "13 to 17 years" not in groups
    assert groups["female"][1] == "1,000"


def test_other_limits_of_the_width_refuse_more_or_fewer_photos() -> None:
    errors = np.full(COUNT, 2.0)
    errors[:60] = 10.0  # the worst three percent by the width
    widths = np.linspace(60, 5, COUNT)
    found = measured(errors, uncertain=widths)
    rows = trade(found, found)
    assert [row[2] for row in rows] == ["3.0%", "5.0%", "7.0%", "10.0%"]
    assert float(rows[0][1]) == pytest.approx(widths[60], abs=0.06)
    assert rows[0][3] == f"{2 / 2.24 - 1:+.1%}"
    assert rows[0][2:4] == rows[0][4:]


def test_each_degradation_belongs_to_a_reason() -> None:
    names = {reason.name for reason in REASONS}
    assert set(FAULTS) <= names
    assert set(CHECKS) <= names


def test_an_index_without_landmarks_is_an_error(prepared: Path) -> None:
    result = CliRunner().invoke(
        quality_reasons.main, ["--data", str(prepared), "--limit", "2", "--degraded", "2"]
    )
    assert isinstance(result.exception, DatasetError)
    assert "halnet prepare" in str(result.exception)


def test_the_study_runs_on_photos(aaf_prepared: Path) -> None:
    result = CliRunner().invoke(
        quality_reasons.main,
        ["--data", str(aaf_prepared), "--degraded", "2"],
        catch_exceptions=False,
    )
    assert result.exit_code == 0
    lines = result.output.splitlines()
    assert sum(line.startswith("## ") for line in lines) == 6
    (small,) = (line for line in lines if "eyes 8 pixels apart" in line)
    assert "| 0% | 100% |" in small
