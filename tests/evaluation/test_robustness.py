"""The effects of degradations, with degradations and a runtime whose ages can be computed."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from halnet.datasets.prepared_dataset import PreparedDataset
from halnet.datasets.record import Record
from halnet.errors import ConfigError
from halnet.evaluation import robustness
from halnet.evaluation.accuracy import EvaluateConfig
from halnet.evaluation.robustness import UNCHANGED, RobustnessReport, degrade, measure_robustness
from halnet.runtimes.base import RuntimeOptions

FAKE = {"model": Path("fake"), "options": RuntimeOptions(runtime="fake")}
MakeFolder = Callable[..., Path]


def brighten(crop: np.ndarray, strength: float, rng: np.random.Generator) -> np.ndarray:
    """Make a crop brighter, which the fake runtime predicts 10.2 years older at strength 1."""
    del rng
    return (crop + int(26 * strength)).astype(np.uint8)


def flicker(crop: np.ndarray, strength: float, rng: np.random.Generator) -> np.ndarray:
    """Make a crop brighter or darker at random."""
    return (crop.astype(int) + int(26 * strength) * rng.choice([-1, 1])).astype(np.uint8)


DEGRADATIONS = {"brighter": brighten, "flicker": flicker}


@pytest.fixture(scope="module")
def folders(make_prepared_folder: MakeFolder) -> tuple[Path, Path]:
    """A dataset with exact ages and one with ranges, none of them above 49 years."""
    return (
        make_prepared_folder(40, "exact", shares="50/25/25"),
        make_prepared_folder(40, "ranges", first=60, years=10, shares="50/25/25"),
    )


@pytest.fixture(scope="module")
def report(folders: tuple[Path, Path]) -> RobustnessReport:
    calls = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(robustness, "DEGRADATIONS", DEGRADATIONS)
        found = measure_robustness(
            EvaluateConfig(folders, **FAKE), lambda *call: calls.append(call)
        )
    assert calls == [(20 * i, 140) for i in range(1, 8)]
    return found


def test_each_degradation_at_each_strength_follows_the_crops_without_one(
    report: RobustnessReport,
) -> None:
    strengths = ("weak", "middle", "strong")
    expected = [UNCHANGED, *((n, s) for n in DEGRADATIONS for s in strengths)]
    assert [(e.degradation, e.strength) for e in report.effects] == expected
    assert {e.count for e in report.effects} == {20}
    assert list(report.by_set) == ["exact", "ranges"]
    assert {e.count for e in report.by_set["ranges"]} == {10}


def test_shifts_errors_and_coverage(report: RobustnessReport, folders: tuple[Path, Path]) -> None:
    """A brightness of 6, 13 and 26 more is 2.35, 5.1 and 10.2 years more."""
    unchanged, weak, middle, strong, *_ = report.effects
    assert (unchanged.shift_mean, unchanged.shift_p95) == (0, 0)
    for effect, years in ((weak, 2.353), (middle, 5.098), (strong, 10.196)):
        assert effect.shift_mean == pytest.approx(years, abs=0.05)
        assert effect.shift_p95 == pytest.approx(years, abs=0.05)
        assert effect.bias == pytest.approx(unchanged.bias + years, abs=0.05)
    # The fake predicts (39.5 + 2 age) / 2.55 for an age, and its interval reaches 9 years.
    ages = np.array([r.age for r in PreparedDataset(folders[0]).select("test")])
    error = (39.5 + 2 * ages + 26) / 2.55 - ages
    assert strong.error == pytest.approx(np.abs(error).mean(), abs=0.1)
    of_exact, of_ranges = (effects[3] for effects in report.by_set.values())
    assert of_exact.error == strong.error, "the MAE is that of exact ages alone"
    assert of_exact.coverage.hits == (np.abs(error) < 9).sum() < 10
    assert strong.coverage.hits == of_exact.coverage.hits + of_ranges.coverage.hits
    assert strong.coverage.count == 20


def test_random_numbers_depend_on_the_photo_alone(
    report: RobustnessReport, folders: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Some photos become brighter and others darker, at each strength the same ones."""
    weak, _, strong = report.effects[4:]
    assert strong.shift_p95 == pytest.approx(10.196, abs=0.05)
    rising = (strong.bias - report.effects[0].bias) / 10.196
    assert -1 < rising < 1
    assert (weak.bias - report.effects[0].bias) / 2.353 == pytest.approx(rising, abs=0.05)
    monkeypatch.setattr(robustness, "DEGRADATIONS", DEGRADATIONS)
    part = measure_robustness(EvaluateConfig(folders[:1], limit=5, **FAKE))
    crop = np.full((256, 256, 3), 100, np.uint8)
    rates = [
        np.sign(int(degrade(crop, record, ("flicker", "strong"))[0, 0, 0]) - 100)
        for record in part.photos[0].records
    ]
    biased = part.effects[-1].bias - part.effects[0].bias
    assert biased == pytest.approx(10.196 * np.mean(rates), abs=0.05)


def test_a_crop_without_a_degradation_is_the_crop(crops: np.ndarray) -> None:
    crop = crops[0]
    assert degrade(crop, Record("a", 1, 1), UNCHANGED) is crop


def test_the_values_for_json(report: RobustnessReport) -> None:
    values = json.loads(json.dumps(report.to_dict()))
    assert len(values["robustness"]) == 7
    assert values["robustness"][3]["shift_mean"] == report.effects[3].shift_mean
    assert values["robustness"][3]["coverage"]["count"] == 20
    assert values["sets"]["exact"][0]["coverage"]["share"] is None, "10 photos are too few"
    assert [text.split()[0] for text in values["photos"]] == ["exact", "ranges"]
    assert report.error_name == "MAE"


def test_a_dataset_without_photos_is_named(
    folders: tuple[Path, Path], make_prepared_folder: MakeFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(robustness, "DEGRADATIONS", {})
    empty = make_prepared_folder(20, "empty", first=120, shares="50/50/0")
    report = measure_robustness(EvaluateConfig((folders[0], empty), **FAKE))
    assert list(report.by_set) == ["exact"]
    assert list(report.to_dict()["not_evaluated"]) == ["empty"]


def test_raw_photos_are_refused(folders: tuple[Path, Path]) -> None:
    with pytest.raises(ConfigError, match="leave out --photos"):
        measure_robustness(EvaluateConfig(folders, photos=folders, **FAKE))
