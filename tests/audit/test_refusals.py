"""Failure to acquire: why a check gives no result, and for whom, from crops and from photos."""

from collections.abc import Callable, Sequence
from pathlib import Path

import cv2
import numpy as np
import pytest

from halnet import DetectedFace
from halnet.audit.judging import OF_CROPS, OF_PHOTOS
from halnet.audit.measure import make_report
from halnet.audit.refusal_section import refusal_section
from halnet.audit.report import AuditReport
from halnet.audit.sections import find_sections
from halnet.datasets.cropping import PreparedPhoto
from halnet.datasets.indexing import write_index
from halnet.datasets.origin import Origin
from halnet.datasets.prepared_dataset import PreparedDataset, crop_path
from halnet.errors import ImageError
from halnet.evaluation.accuracy import EvaluateConfig
from halnet.faces.alignment import TEMPLATE
from halnet.runtimes.base import RuntimeOptions

FAKE = RuntimeOptions(runtime="fake")
SIDE = 448  # pixels of a photo, in which the template at twice its size is a large face
MakeFolder = Callable[..., Path]


@pytest.fixture
def make_folder(tmp_path: Path) -> MakeFolder:
    """A function that writes a dataset of textured crops, all of them test photos.

    Photo i has the age 10 + i % 40, but photo 59 the range 16 to 20.
    It takes the landmarks of each photo: 5 x 2, in pixels of a photo of `SIDE` x `SIDE`.
    """

    def make(places: Sequence[np.ndarray], name: str = "made") -> Path:
        rng = np.random.default_rng(0)
        # Blocks of four pixels have much detail at a quarter of the resolution: no blur is found.
        pattern = np.kron(rng.integers(60, 200, (64, 64)), np.ones((4, 4)))
        crop = np.repeat(pattern[..., None], 3, axis=2).astype(np.uint8)
        photos = []
        for i, landmarks in enumerate(places):
            source = f"{i:03d}.png"
            path = crop_path(tmp_path / name, source)
            path.parent.mkdir(parents=True, exist_ok=True)
            cv2.imwrite(str(path), crop)
            photos.append(
                PreparedPhoto(
                    source,
                    *((16, 20) if i == 59 else (10 + i % 40, 10 + i % 40)),
                    ("female", "male")[i % 2],
                    groups={"camera": "ab"[i % 2]},
                    split="test",
                    score=0.9,
                    faces=1,
                    width=SIDE,
                    height=SIDE,
                    landmarks=" ".join(f"{value:g}" for value in landmarks.ravel()),
                    hash=rng.bytes(8).hex(),
                )
            )
        origin = Origin(name, seed=0, listing_sha256="0", shares="0/0/100")
        write_index(tmp_path / name, origin, photos)
        return tmp_path / name

    return make


def _report(folder: Path, photos: Path | None = None) -> AuditReport:
    paths = (photos,) if photos else ()
    config = EvaluateConfig((folder,), Path("fake"), photos=paths, options=FAKE)
    return make_report(config, "halnet report fake", steady=1)


def _hits(report: AuditReport, name: str) -> dict[str, tuple[int, int]]:
    return {
        row.reason: (row.refused.hits, row.refused.count)
        for row in report.refusals.rates
        if row.name == name
    }


def test_the_reasons_of_crops(make_folder: MakeFolder) -> None:
    """Of 60 faces, 6 have eyes 7 pixels apart; 3 of them and 3 others lie half outside."""
    large = 2 * TEMPLATE
    small = TEMPLATE / 8 + 200
    outside = large + [0, 260]
    small_outside = TEMPLATE / 8 + [200, SIDE - 15]
    places = [small] * 3 + [small_outside] * 3 + [large] * 14 + [outside] * 3 + [large] * 37
    report = _report(make_folder(places))
    found = _hits(report, "all photos")
    assert tuple(found) == ("any reason", *OF_CROPS)
    assert {name: hits for name, hits in found.items() if hits[0]} == {
        "any reason": (9, 60),
        "too small": (6, 60),
        "cut off": (6, 60),
    }
    assert _hits(report, "camera: a") == {
        "any reason": (5, 30),
        "too small": (3, 30),
        "cut off": (3, 30),
    }
    assert _hits(report, "male") == _hits(report, "camera: b")
    overall = next(row for row in report.refusals.rates if row.reason == "cut off").refused
    assert overall.share == pytest.approx(0.1)
    effect = next(row for row in report.refusals.effects if row.legal == 18)
    assert effect.challenge == 25
    # Photos 0 to 7 and 40 to 47 are of people of 10 to 17; the first 6 are refused. The person of
    # 16 to 20 years is on neither side.
    assert (effect.no_result_below.hits, effect.no_result_below.count) == (6, 16)
    assert (effect.no_result_of_age.hits, effect.no_result_of_age.count) == (3, 43)
    assert (effect.let_through.count, effect.let_through_judged.count) == (16, 10)
    assert (effect.referred.count, effect.referred_judged.count) == (43, 40)
    tables = {table.title.split(".")[0]: table for table in refusal_section(report).tables}
    rows = tables["Why a check gives no result"].rows
    assert rows[1][4] == "below 10 (distance of the eyes, pixels)"
    (female,) = (r for r in tables["For whom a check gives no result"].rows if r[0] == "female")
    assert female[3] == "too small 3, cut off 3"


def test_if_a_check_refuses_all_photos_the_page_says_so(make_folder: MakeFolder) -> None:
    report = _report(make_folder([TEMPLATE / 8 + 200] * 24))
    assert _hits(report, "all photos")["any reason"] == (24, 24)
    assert report.refusals.refused_error.count == 24
    assert report.refusals.judged_error.value is None
    text = "A check gives no result for any of the 24 photos of made."
    assert any(warning.startswith(text) for warning in find_sections(report)[0].warnings)
    effect = next(row for row in report.refusals.effects if row.legal == 18)
    assert effect.referred_judged.share is None


def test_without_landmarks_the_reasons_are_not_known(fake_report: AuditReport) -> None:
    """The datasets of older versions have none."""
    assert fake_report.refusals.rates == ()
    assert fake_report.refusals.not_known == 240
    assert any("Run halnet prepare" in text for text in refusal_section(fake_report).text)


# Original photos. Their first corner says how many faces the detector finds.


@pytest.fixture
def photos(make_prepared_folder: Callable[..., Path], tmp_path: Path) -> tuple[Path, Path]:
    """A prepared dataset with 24 test photos, and the folder of its photos, with one face each."""
    folder = make_prepared_folder(60, "first", shares="40/20/40")
    for record in PreparedDataset(folder).select("test"):
        _write_photo(tmp_path / "photos" / record.source, 1, record.age)
    return folder, tmp_path / "photos"


def _write_photo(path: Path, faces: int, age: int) -> None:
    """Write a photo whose fake age is about `age` years, with a number of faces."""
    path.parent.mkdir(exist_ok=True)
    photo = np.full((SIDE, SIDE, 3), round(2.55 * age), np.uint8)
    photo[:16, :16] = 40 * faces
    cv2.imwrite(str(path), photo, [cv2.IMWRITE_JPEG_QUALITY, 100])


@pytest.fixture(autouse=True)
def _detector(monkeypatch: pytest.MonkeyPatch) -> None:
    def detect(photo: np.ndarray) -> list[DetectedFace]:
        count = round(float(photo[4, 4].mean()) / 40)
        # A second face is smaller. A third of its crop is outside of the photo and thus black.
        return [
            DetectedFace(
                (100.0, 100.0, 200.0 - 50 * i, 200.0 - 50 * i),
                (2 * TEMPLATE + [0, 150 * i]).astype(np.float32),
                0.9,
            )
            for i in range(count)
        ]

    monkeypatch.setattr("halnet.predictor.open_detector", lambda *_, **__: detect)


def test_original_photos(photos: tuple[Path, Path]) -> None:
    folder, source = photos
    records = PreparedDataset(folder).select("test")
    for i, faces in ((0, 0), (5, 0), (7, 2)):
        _write_photo(source / records[i].source, faces, records[i].age)
    report = _report(folder, source)
    assert report.subject.from_photos
    found = _hits(report, "all photos")
    assert tuple(found) == ("any reason", *OF_PHOTOS)
    assert (found["no face"], found["several faces"]) == ((2, 24), (1, 24))
    assert len(report.photos.id) == 22, "photos without a face have no age"
    kept = [record for i, record in enumerate(records) if i not in (0, 5)]
    assert report.photos.label_low == tuple(record.age for record in kept)
    # Each age belongs to its own photo: the fake age follows from the light of the photo.
    assert np.abs(np.array(report.photos.age) - report.photos.label_low).max() < 0.6
    assert report.subject.sets[0].photos == 22
    women = [record.sex == "female" for record in records]
    expected = women[0] + women[5], sum(women)
    assert _hits(report, "female")["no face"] == expected
    assert report.refusals.effects[0].referred.count < 23
    names = [section.title for section in find_sections(report)]
    assert "Failure to acquire: no result" in names


def test_a_dataset_without_a_face(
    photos: tuple[Path, Path], make_folder: MakeFolder, tmp_path: Path
) -> None:
    """One of two datasets has no face: a warning. All have none: one error."""
    folder, source = photos
    other = make_folder([2 * TEMPLATE] * 20, "other")
    for record in PreparedDataset(other).records:
        _write_photo(tmp_path / "walls" / record.source, 0, 30)
    config = EvaluateConfig(
        (folder, other), Path("fake"), photos=(source, tmp_path / "walls"), options=FAKE
    )
    report = make_report(config, "halnet report", steady=1)
    text = "No face was found in any of the 20 photos of other, so no figure has them."
    assert text in report.warnings
    assert [part.photos for part in report.subject.sets] == [24, 0]
    with pytest.raises(ImageError, match="walls: expected photos of faces, found no face in any"):
        _report(other, tmp_path / "walls")


def test_a_damaged_photo_is_named(photos: tuple[Path, Path]) -> None:
    folder, source = photos
    record = PreparedDataset(folder).select("test")[3]
    (source / record.source).write_bytes(b"no photo")
    with pytest.raises(ImageError, match=record.source):
        _report(folder, source)
