"""Degradations: each does what it is named after, on crops where its effect can be measured."""

import cv2
import numpy as np
import pytest

from halnet.artifact import bundled
from halnet.evaluation.degradations import DEGRADATIONS, STRENGTHS, Degradation


@pytest.fixture(scope="module")
def crop() -> np.ndarray:
    """A face, 256 x 256 x 3 uint8 RGB."""
    photo = cv2.imread(str(bundled("portrait.jpg")), cv2.IMREAD_COLOR_RGB)
    return np.asarray(photo[100:356, 130:386], np.uint8)


def change(name: str, crop: np.ndarray, strength: float, seed: int = 0) -> np.ndarray:
    return DEGRADATIONS[name](crop, strength, np.random.default_rng(seed))


def difference(a: np.ndarray, b: np.ndarray) -> float:
    return float(np.abs(a.astype(float) - b).mean())


def details(crop: np.ndarray) -> float:
    """Return the mean square of the differences between neighbours."""
    gray = crop.astype(float).mean(axis=2)
    return float(np.square(np.diff(gray, axis=1)).mean())


@pytest.mark.parametrize("degradation", DEGRADATIONS.values(), ids=DEGRADATIONS)
@pytest.mark.parametrize("size", [64, 256])
def test_each_strength_changes_more(degradation: Degradation, size: int, crop: np.ndarray) -> None:
    given = cv2.resize(crop, (size, size), interpolation=cv2.INTER_AREA)
    before = given.copy()
    effects = []
    for strength in (0.0, *STRENGTHS.values()):
        found = degradation(given, strength, np.random.default_rng(1))
        assert found.shape == given.shape
        assert found.dtype == np.uint8
        effects.append(difference(found, given))
    np.testing.assert_array_equal(given, before, "the crop itself stays as it is")
    assert effects == sorted(effects)
    assert effects[0] < 5
    assert effects[-1] > 6
    again = degradation(given, 0.5, np.random.default_rng(1))
    np.testing.assert_array_equal(again, degradation(given, 0.5, np.random.default_rng(1)))


@pytest.mark.parametrize("name", sorted(set(DEGRADATIONS) - {"jpeg"}))
def test_strength_zero_changes_nothing(name: str, crop: np.ndarray) -> None:
    assert np.abs(change(name, crop, 0).astype(int) - crop).max() <= 1


def test_noise_is_independent_and_grain_is_not() -> None:
    gray = np.full((200, 200, 3), 128, np.uint8)
    noise = change("noise", gray, 0.5).astype(float) - 128
    grain = change("grain", gray, 0.5).astype(float) - 128
    assert noise.std() == pytest.approx(20, rel=0.03)
    assert grain.std() == pytest.approx(17.5, rel=0.03)

    def correlation(a: np.ndarray, b: np.ndarray) -> float:
        return float(np.corrcoef(a.ravel(), b.ravel())[0, 1])

    assert abs(correlation(noise[:, 1:], noise[:, :-1])) < 0.02
    assert abs(correlation(noise[..., 0], noise[..., 1])) < 0.02
    assert correlation(grain[:, 1:], grain[:, :-1]) > 0.7
    np.testing.assert_array_equal(grain[..., 0], grain[..., 1])


def test_blur_and_low_resolution_remove_details_and_sharpening_adds_them(crop: np.ndarray) -> None:
    whole = details(crop)
    assert details(change("blur", crop, 1)) < 0.2 * whole
    assert details(change("resolution", crop, 1)) < 0.3 * whole
    assert details(change("sharpening", crop, 0.5)) > 2 * whole


def test_blur_has_the_stated_width() -> None:
    """An edge that is blurred by a Gaussian of 2.5 pixels is 84 % up after 2.5 pixels."""
    edge = np.zeros((40, 60, 3), np.uint8)
    edge[:, 30:] = 200
    row = change("blur", edge, 0.5)[20, :, 0]
    assert np.interp(29.5 + 2.5, np.arange(60), row) == pytest.approx(0.841 * 200, abs=3)


def test_jpeg_leaves_blocks_of_eight_pixels(crop: np.ndarray) -> None:
    def step(image: np.ndarray, column: int) -> float:
        values = image.astype(float).mean(axis=2)
        return float(np.abs(np.diff(values, axis=1)[:, column - 1 :: 8]).mean())

    found = change("jpeg", crop, 1)
    assert step(found, 8) > 2 * step(found, 4)
    assert step(crop, 8) == pytest.approx(step(crop, 4), rel=0.2)


def test_colours_go_and_tints_come(crop: np.ndarray) -> None:
    def spread(image: np.ndarray) -> float:
        return float(np.ptp(image.astype(int), axis=2).mean())

    assert spread(change("gray", crop, 1)) == 0
    assert spread(change("gray", crop, 0.5)) == pytest.approx(spread(crop) / 2, rel=0.1)
    gray = np.full((8, 8, 3), 100, np.uint8)
    tinted = change("tint", gray, 1)[0, 0]
    factors = 1 + 0.45 * np.random.default_rng(0).uniform(-1, 1, 3)
    np.testing.assert_allclose(tinted, 100 * factors, atol=0.6)
    assert spread(tinted[None, None]) > 10


def test_tones_become_darker_or_brighter() -> None:
    """Black and white stay, and 128 becomes 255 * (128 / 255) ** exp(0.6) or ** exp(-0.6)."""
    ramp = np.array([0, 128, 255], np.uint8).repeat(3).reshape(1, 3, 3)
    found = {tuple(change("tones", ramp, 1, seed)[0, :, 0].tolist()) for seed in range(20)}
    expected = {round(255 * (128 / 255) ** np.exp(sign * 0.6)) for sign in (-1, 1)}
    assert found == {(0, middle, 255) for middle in expected}


def test_halftone_has_dots_of_the_stated_period() -> None:
    """At strength 1, the dots are 6 pixels apart: the spectrum has its peaks at 1 / 6."""
    gray = np.full((240, 240, 3), 128, np.uint8)
    values = change("halftone", gray, 1)[..., 0].astype(float) - 128
    assert np.abs(values).max() == pytest.approx(44, abs=1)
    spectrum = np.abs(np.fft.fft2(values))
    row, column = np.unravel_index(spectrum.argmax(), spectrum.shape)
    frequency = np.hypot(np.fft.fftfreq(240)[row], np.fft.fftfreq(240)[column])
    assert frequency == pytest.approx(1 / 6, rel=0.03)
