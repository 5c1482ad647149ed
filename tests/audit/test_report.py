"""The report as a value: what it contains, and how it is written and read."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from halnet.age_calibration import AgeCalibration
from halnet.artifact import Metadata
from halnet.audit.judging import JudgedPhotos, judge_crops
from halnet.audit.measure import make_report
from halnet.audit.report import AuditReport, EarlierReport, read_earlier
from halnet.audit.sections import find_sections
from halnet.datasets.prepared_dataset import (
    REJECTS_FILE,
    SUMMARY_FILE,
    OnProgress,
    PreparedDataset,
)
from halnet.errors import ConfigError
from halnet.evaluation.accuracy import EvaluateConfig, OpenedModel
from halnet.reporting.json_values import from_values
from halnet.results import Outputs
from halnet.runtimes.base import RuntimeOptions
from halnet.runtimes.fake import FakeRuntime

FAKE = RuntimeOptions(runtime="fake")


def test_the_subject(fake_report: AuditReport, fake_folder: Path) -> None:
    subject = fake_report.subject
    assert subject.command == "halnet report fake"
    assert (subject.model.runtime, subject.model.artifact_sha256) == ("fake", "")
    (part,) = subject.sets
    assert part.split_sha256 == PreparedDataset(fake_folder).split_sha256
    assert (part.photos, part.exact, part.minors) == (240, 240, 32)
    assert (part.relation, part.origin, part.split) == ("unknown", "not known", "test")


def test_the_figures_agree_with_the_photos(fake_report: AuditReport) -> None:
    photos = fake_report.photos
    age, label = np.array(photos.age), np.array(photos.label_low)
    overall = fake_report.accuracy[0]
    assert overall.error.value == pytest.approx(np.abs(age - label).mean(), abs=1e-5)
    checks = next(part for part in fake_report.checks if part.legal == 18)
    row = next(row for row in checks.challenges if row.challenge == 25)
    assert row.let_through.hits == ((age >= 25) & (label < 18)).sum()
    assert row.referred.hits == ((age < 25) & (label >= 18)).sum()
    assert sum(part.observed.count for part in fake_report.reliability if part.legal == 16) == 240


def test_a_report_is_read_as_it_was_written(fake_report: AuditReport, tmp_path: Path) -> None:
    path = tmp_path / "report.json"
    path.write_text(fake_report.to_json())
    assert from_values(AuditReport, json.loads(path.read_text())) == fake_report
    assert read_earlier(path) == EarlierReport(fake_report.subject, fake_report.photos)


def test_an_earlier_report_may_have_other_parts(fake_report: AuditReport, tmp_path: Path) -> None:
    """A comparison needs what was tested, and the photos."""
    values = json.loads(fake_report.to_json())
    path = tmp_path / "report.json"
    old = {name: values[name] for name in ("kind", "format", "subject", "photos")}
    path.write_text(json.dumps({**old, "accuracy": "as an older version wrote it"}))
    assert read_earlier(path).photos == fake_report.photos
    for name in ("subject", "photos"):
        path.write_text(json.dumps({key: part for key, part in old.items() if key != name}))
        with pytest.raises(ConfigError, match=f"a damaged file .{name} is missing"):
            read_earlier(path)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("no JSON", "expected an age check report, found another file"),
        ("[]", "expected an age check report, found another JSON file"),
        ('{"kind": "menu"}', "found a file of the kind 'menu'"),
        ('{"kind": "halnet age check report", "format": 2}', "found format 2, which a newer"),
        ('{"kind": "halnet age check report", "format": 1}', "a damaged file .subject is missing"),
    ],
)
def test_files_of_another_kind(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "other.json"
    path.write_text(text)
    with pytest.raises(ConfigError, match=message):
        read_earlier(path)
    with pytest.raises(ConfigError, match="no such file; name the file report.json"):
        read_earlier(tmp_path / "nothing.json")
    with pytest.raises(ConfigError, match="expected an age check report"):
        read_earlier(tmp_path)


def test_an_earlier_report_without_photos_is_damaged(
    fake_report: AuditReport, tmp_path: Path
) -> None:
    values = json.loads(fake_report.to_json())
    values["photos"] = {name: [] for name in values["photos"]} | {"groups": {}}
    path = tmp_path / "report.json"
    path.write_text(json.dumps(values))
    with pytest.raises(ConfigError, match="damaged file .predictions: expected at least one photo"):
        read_earlier(path)


def test_photos_of_different_numbers_are_damage(fake_report: AuditReport, tmp_path: Path) -> None:
    values = json.loads(fake_report.to_json())
    values["photos"]["age"].pop()
    path = tmp_path / "report.json"
    path.write_text(json.dumps(values))
    with pytest.raises(ConfigError, match="damaged file .photos: expected 240 values, found 239"):
        read_earlier(path)


def test_without_minors_no_share_is_stated_and_the_page_says_so(
    make_prepared_folder: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = make_prepared_folder(60, "old", first=20, shares="40/20/40")
    monkeypatch.setattr("halnet.audit.measure.judge_crops", _only(lambda age: age >= 18))
    report = make_report(
        EvaluateConfig((folder,), Path("fake"), options=FAKE), "halnet report", steady=2
    )
    checks = next(part for part in report.checks if part.legal == 18)
    assert checks.below == 0
    assert {row.let_through.share for row in checks.challenges} == {None}
    first = find_sections(report)[0]
    text = "A rate needs at least 20 photos, and there are fewer of people under 13 (none), under"
    assert any(warning.startswith(text) for warning in first.warnings)
    points = dict(first.points)
    assert "about people under 18, because there are fewer than 20" in points["Age check at 18"]
    assert "0 of 0" not in str(find_sections(report))


def test_without_adults_no_share_is_stated_and_the_page_says_so(
    make_prepared_folder: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = make_prepared_folder(400, "young", shares="40/20/40")
    monkeypatch.setattr("halnet.audit.measure.judge_crops", _only(lambda age: age < 18))
    report = make_report(
        EvaluateConfig((folder,), Path("fake"), options=FAKE), "halnet report", steady=2
    )
    checks = next(part for part in report.checks if part.legal == 18)
    assert checks.of_age == 0
    assert {row.referred.share for row in checks.challenges} == {None}
    first = find_sections(report)[0]
    text = "aged 18 or more (none) and aged 21 or more (none). This report does not say how many"
    assert any(text in warning for warning in first.warnings)
    assert (
        "For adults, nothing is stated, because there are fewer than 20"
        in dict(first.points)["Age check at 18"]
    )


def _only(is_chosen: Callable[[int], bool]) -> Callable[..., JudgedPhotos]:
    """Return what judges the crops of the chosen ages alone."""

    def judge(opened: OpenedModel, on_progress: OnProgress) -> JudgedPhotos:
        judged = judge_crops(opened, on_progress)
        own = [i for i, record in enumerate(judged.records) if is_chosen(record.age)]
        outputs = judged.outputs
        return JudgedPhotos(
            tuple(judged.asked[i] for i in own),
            tuple(judged.reasons[i] for i in own),
            (True,) * len(own),
            Outputs(outputs.age[own], outputs.stddev[own], outputs.probabilities[own]),
            judged.looked_for,
        )

    return judge


def test_a_model_without_errors_of_minors_is_named(fake_report: AuditReport) -> None:
    """The fake runtime states none."""
    assert any("states no errors of minors" in text for text in fake_report.warnings)
    for checks in fake_report.checks:
        assert {row.challenge for row in checks.risks} == {None}


def test_a_model_without_calibration_is_refused(
    fake_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened = FakeRuntime._open

    def without(self: FakeRuntime, model: str, options: RuntimeOptions) -> None:
        opened(self, model, options)
        metadata = Metadata(calibration=AgeCalibration(1.0, ()))
        self.spec = replace(self.spec, metadata=metadata)

    monkeypatch.setattr(FakeRuntime, "_open", without)
    with pytest.raises(ConfigError, match="fake: expected a model that is calibrated for interv"):
        make_report(EvaluateConfig((fake_folder,), Path("fake"), options=FAKE), "", steady=2)


def test_photos_without_a_face_are_counted(make_prepared_folder: Callable[..., Path]) -> None:
    folder = make_prepared_folder(60, "some", shares="40/20/40")
    summary = json.loads((folder / SUMMARY_FILE).read_text())
    summary["reasons"] = {"no face found": 3, "a copy of the photo has another age": 2}
    (folder / SUMMARY_FILE).write_text(json.dumps(summary))
    (folder / REJECTS_FILE).write_text(
        "source,age,sex,reject\na,1,male,no face found\nb,1,male,no face found\n"
        "c,2,female,no face found\nd,2,female,a copy of the photo has another age\n"
    )
    report = make_report(EvaluateConfig((folder,), Path("fake"), options=FAKE), "", steady=2)
    found = {row.group: (row.missed.hits, row.missed.count) for row in report.acquisition}
    assert found == {"": (3, 63), "female": (1, 31), "male": (2, 32)}
    assert [(row.reason, row.photos) for row in report.rejected] == [
        ("a copy of the photo has another age", 2)
    ]
