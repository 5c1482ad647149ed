"""The first section, the practice statement and the list of contents: what a reader sees first."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from halnet.audit.age_checks import check_legal_age
from halnet.audit.check_sections import check_section, nist_section
from halnet.audit.figures import StatedRate
from halnet.audit.measure import make_report
from halnet.audit.practice import QUESTIONS, practice_section
from halnet.audit.refusals import Refusal
from halnet.audit.report import AuditReport
from halnet.audit.summary_section import summary_section
from halnet.evaluation.accuracy import EvaluateConfig
from halnet.evaluation.predictions import Predictions
from halnet.runtimes.base import RuntimeOptions

MakePredictions = Callable[..., Predictions]


def test_what_was_not_tested_comes_first(fake_report: AuditReport) -> None:
    section = summary_section(fake_report)
    name, text = section.points[0]
    assert name == "Not tested"
    for word in ("masks", "injected video", "make-up", "cameras", "look much older"):
        assert word in text
    assert 5 <= len(section.points) <= 8


def test_the_points_state_the_figures_of_the_report(fake_report: AuditReport) -> None:
    points = dict(summary_section(fake_report).points)
    ages, labels = np.array(fake_report.photos.age), np.array(fake_report.photos.label_low)
    passed = int(((ages >= 25) & (labels < 18)).sum())
    text = f"{100 * passed / 32:.1f} % ("
    assert text in points["Age check at 18"]
    assert ") of 32 photos of people under 18 were let through." in points["Age check at 18"]
    assert (ages[labels >= 18] >= 25).all()
    assert "none of 208 photos of adults (at most 1.5 %) were ref" in points["Age check at 18"]
    assert (
        "For people aged 17, nothing is stated, because there are fewer than 20"
        in points["Age check at 18"]
    )
    error = fake_report.accuracy[0].error
    assert f"{error.value:.2f} ({error.low:.2f} to {error.high:.2f}) years" in points["Accuracy"]
    assert "another model on the same photos" in points["What you can conclude"]


def test_the_practice_statement_has_the_headings_of_the_standard() -> None:
    assert [name.split(" ")[0] for name in QUESTIONS] == [
        *("Functional", "Performance", "Privacy", "Security", "Acceptability")
    ]
    section = practice_section()
    (table,) = section.tables
    assert [row[0] for row in table.rows if row[0]] == list(QUESTIONS)
    assert {row[3] for row in table.rows} == {"..."}
    assert "The standard itself was not consulted" in section.text[0]
    assert "iso27001security.com" in section.text[0]


def test_the_figures_of_nist(make_predictions: MakePredictions) -> None:
    """Of 20 people of 17, five are taken for 25 or older, and of 20 of 12, one."""
    labels = [17] * 20 + [12] * 20 + [5] * 20 + [30] * 20
    ages = [25.0] * 5 + [24.9] * 15 + [26.0] + [12.0] * 19 + [30.0] * 20 + [31.0] * 20
    checks = check_legal_age(make_predictions(labels, ages), 18, ())
    table = nist_section((checks,), ()).tables[0]
    assert [row[:2] for row in table.rows] == [("17", 20), ("12", 20), ("all under 18", 60)]
    assert [str(row[2]).split(" ")[0] for row in table.rows] == ["25.0", "5.0", "43.3"]


def test_how_wrong_the_wrong_results_are(make_predictions: MakePredictions) -> None:
    labels = [10] * 20 + [17] * 10 + [20] * 20 + [60] * 10
    ages = [30.0] * 20 + [18.5] * 10 + [17.0] * 20 + [24.0] * 10
    checks = check_legal_age(make_predictions(labels, ages), 18, ())
    by_age = {row.challenge: row for row in checks.challenges}
    assert (by_age[18].youngest, by_age[18].oldest) == (10, 20)
    assert by_age[18].years_below.value == pytest.approx((20 * 8 + 10 * 1) / 30)
    assert by_age[18].years_above.value == 2
    assert by_age[25].oldest == 60
    assert by_age[25].years_above.value == pytest.approx((20 * 2 + 10 * 42) / 30)
    assert by_age[25].years_below.value == 8
    table = next(t for t in check_section(checks).tables if t.title.startswith("How wrong"))
    row = next(row for row in table.rows if row[0] == "25")
    assert (row[1], row[2], row[4], row[5]) == (20, "10", 30, "60")


def test_the_lines_of_the_figure_are_broken_where_photos_are_missing(
    make_predictions: MakePredictions,
) -> None:
    labels = [17] * 20 + [18] * 3 + [19] * 20
    checks = check_legal_age(make_predictions(labels, [18.0] * 43), 18, ())
    line = check_section(checks).figures[0].series[0]
    values = dict(zip(line.x, line.values, strict=True))
    assert (values[17], values[19]) == (100.0, 100.0)
    assert values[18] != values[18], "three photos give no point"


def test_few_photos_give_no_half_sentences(
    make_prepared_folder: Callable[..., Path],
) -> None:
    folder = make_prepared_folder(60, "few", shares="40/20/40")
    options = RuntimeOptions(runtime="fake")
    config = EvaluateConfig((folder,), Path("fake"), limit=3, options=options)
    report = make_report(config, "halnet report", steady=1)
    for name, text in summary_section(report).points:
        assert "too few" not in text, f"{name}: {text}"
    assert "no two groups have at least 20 photos" in str(summary_section(report).points)
    refusal = Refusal("all", "all photos", "any reason", StatedRate.of(0, 60))
    full = replace(report, refusals=replace(report.refusals, rates=(refusal,)))
    assert dict(summary_section(full).points)["No result"] == (
        "a check gives a result for every photo; without one are none of 60 (at most 5.0 %)."
    )
