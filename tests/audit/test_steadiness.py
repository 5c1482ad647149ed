"""Steadiness: small changes and degradations, measured with the fake runtime, which sees light."""

import numpy as np
import pytest

from halnet.audit.report import AuditReport
from halnet.audit.steadiness import CHANGES, describe_spread
from halnet.evaluation.degradations import DEGRADATIONS


def test_the_small_changes() -> None:
    crop = np.random.default_rng(0).integers(40, 200, (256, 256, 3)).astype(np.uint8)
    assert len(CHANGES) == 8
    for change in CHANGES.values():
        changed = change(crop)
        assert (changed.shape, changed.dtype) == (crop.shape, np.uint8)
        assert (changed != crop).any()
    assert (CHANGES["one pixel to the left"](crop)[:, 9] == crop[:, 10]).all()
    assert (CHANGES["one pixel down"](crop)[10] == crop[9]).all()
    assert CHANGES["10% brighter"](crop).mean() == pytest.approx(1.1 * crop.mean(), rel=0.01)
    assert CHANGES["10% darker"](crop).mean() == pytest.approx(0.9 * crop.mean(), rel=0.01)


def test_the_spread_of_the_ages() -> None:
    found = describe_spread(np.linspace(0, 1, 101))
    assert (found.photos, found.median) == (101, 0.5)
    assert found.p95 == pytest.approx(0.95)
    assert found.median_low is not None
    assert found.median_high is not None
    assert 0.3 < found.median_low < 0.45
    assert 0.55 < found.median_high < 0.7
    assert describe_spread(np.zeros(19)).median is None


def test_the_fake_ages_follow_the_light(fake_report: AuditReport) -> None:
    """The fake age is the mean brightness, which only light changes: by a tenth of the age."""
    effects = {(row.change, row.strength): row for row in fake_report.steadiness.effects}
    assert len(effects) == 1 + 8 + 2 * len(DEGRADATIONS)
    assert effects["none", ""].shift.value == 0
    ages = np.array(fake_report.photos.age)
    brighter = effects["10% brighter", ""].shift.value
    assert brighter == pytest.approx(0.1 * ages.mean(), rel=0.15)
    left = effects["one pixel to the left", ""].shift.value
    assert left is not None
    assert brighter is not None
    assert left < 0.05 * brighter
    repeatability = fake_report.steadiness.repeatability
    assert repeatability.photos == 24
    assert repeatability.median is not None
    assert repeatability.median == pytest.approx(0.1 * ages.mean() * np.sqrt(2 / 7), rel=0.2)
