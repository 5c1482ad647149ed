"""Two reports compared: paired where the photos are the same, and only what is beyond chance."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from halnet.audit.comparison import Comparison, compare
from halnet.audit.comparison_sections import all_changes_section, comparison_section
from halnet.audit.photo_table import PhotoTable, list_photos
from halnet.audit.report import AuditReport
from halnet.evaluation.predictions import Predictions

MakePredictions = Callable[..., Predictions]
ALL = "all photos"
ERROR = "mean distance to the true age (or range), years"
COVERAGE = "coverage of the 90 % interval"
LET_THROUGH = "let through below 18 (legal age 18, challenge age 25)"


@pytest.fixture
def table(make_predictions: MakePredictions) -> PhotoTable:
    """200 photos of minors and 200 of adults, with errors of about 4 years."""
    rng = np.random.default_rng(0)
    labels = np.concatenate([rng.integers(8, 18, 200), rng.integers(18, 60, 200)])
    ages = labels + rng.normal(0, 5, 400)
    return list_photos(make_predictions(labels.tolist(), ages.tolist(), 8.0))


def _changes(comparison: Comparison) -> dict[tuple[str, str], str]:
    return {(row.measure, row.photos_of): row.result for row in comparison.changes}


def _shift(table: PhotoTable, years: np.ndarray) -> PhotoTable:
    def moved(values: tuple[float, ...]) -> tuple[float, ...]:
        return tuple((np.array(values) + years).tolist())

    return replace(table, age=moved(table.age), low=moved(table.low), high=moved(table.high))


def test_the_same_photos_and_ages_show_no_difference(
    table: PhotoTable, fake_report: AuditReport
) -> None:
    found = compare(table, fake_report.subject, table)
    assert (found.is_paired, found.shared_photos) == (True, 400)
    assert set(_changes(found).values()) <= {"no difference shown", "too few"}
    assert {row.now for row in found.changes} == {row.then for row in found.changes}


def test_pairs_find_a_small_change_that_two_samples_do_not(
    table: PhotoTable, fake_report: AuditReport
) -> None:
    """Each age moves 4 % towards the true one, which is little beside the spread of the errors."""
    truth = np.array(table.label_low)
    better = _shift(table, 0.04 * (truth - np.array(table.age)))
    paired = compare(table, fake_report.subject, better)
    assert _changes(paired)[ERROR, ALL] == "better"
    worse = compare(better, fake_report.subject, table)
    assert _changes(worse)[ERROR, ALL] == "worse"
    others = replace(better, id=tuple(f"other {name}" for name in better.id))
    unpaired = compare(table, fake_report.subject, others)
    assert (unpaired.is_paired, unpaired.shared_photos) == (False, 0)
    assert _changes(unpaired)[ERROR, ALL] == "no difference shown"
    row = next(row for row in paired.changes if (row.measure, row.photos_of) == (ERROR, ALL))
    assert row.then is not None
    assert row.now == pytest.approx(0.96 * row.then, rel=1e-4)
    assert row.low is not None
    assert row.high is not None
    assert row.low < row.now - row.then < row.high < 0


def test_rates_and_unpaired_reports(table: PhotoTable, fake_report: AuditReport) -> None:
    minors = np.array(table.label_high) < 18
    older = _shift(table, np.where(minors, 12.0, 0.0))
    found = compare(table, fake_report.subject, older)
    assert _changes(found)[LET_THROUGH, ALL] == "worse"
    assert _changes(found)[COVERAGE, ALL] == "worse"
    assert _changes(found)["referred from 21 on (legal age 21, challenge age 28)", ALL] == (
        "no difference shown"
    )
    others = replace(older, id=tuple(f"other {name}" for name in older.id))
    unpaired = compare(table, fake_report.subject, others)
    assert _changes(unpaired)[LET_THROUGH, ALL] == "worse"
    assert _changes(compare(others, fake_report.subject, table))[LET_THROUGH, ALL] == "better"


def test_only_photos_with_the_same_label_are_pairs(
    table: PhotoTable, fake_report: AuditReport
) -> None:
    """The order does not matter, and a photo with another label is no pair."""
    back = {
        name: tuple(reversed(getattr(table, name)))
        for name in ("id", "dataset", "sex", "label_low", "label_high", "age", "low", "high")
    }
    other = replace(table, **back)
    found = compare(table, fake_report.subject, other)
    assert {row.p for row in found.changes} <= {1.0, None}
    labels = tuple(age + (i < 30) for i, age in enumerate(table.label_low))
    moved = replace(table, label_low=labels, label_high=labels)
    found = compare(table, fake_report.subject, moved)
    assert (found.shared_photos, found.is_paired) == (370, True)


def test_the_sections(table: PhotoTable, fake_report: AuditReport) -> None:
    truth = np.array(table.label_low)
    better = _shift(table, 0.5 * (truth - np.array(table.age)))
    found = compare(table, fake_report.subject, better)
    now = replace(fake_report.subject, model=replace(fake_report.subject.model, version="2"))
    section = comparison_section(found, now)
    assert any(text.startswith("Better beyond chance: mean distance") for text in section.text)
    assert "Worse beyond chance: nothing." in section.text
    assert section.tables[1].rows == (("runtime", "fake 1, cpu", "fake 2, cpu"),)
    (full,) = all_changes_section(found).tables
    assert len(full.rows) == len(found.changes)
    part = compare(table, fake_report.subject, _head(better, 100))
    assert "Only the 100 photos" in comparison_section(part, now).warnings[0]


def _head(table: PhotoTable, count: int) -> PhotoTable:
    names = ("id", "dataset", "sex", "label_low", "label_high", "age", "low", "high")
    return replace(table, **{name: getattr(table, name)[:count] for name in names})
