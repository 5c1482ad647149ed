"""Batches of degraded crops are like the single ones of halnet.evaluation.degradations."""

import cv2
import numpy as np
import pytest
import torch

from halnet.evaluation import degradations as single
from halnet.training import batch_degradations as batches


@pytest.fixture(scope="module")
def crop() -> np.ndarray:
    """Return a crop of 64 x 64 pixels with edges, slopes and colours."""
    rng = np.random.default_rng(3)
    small = rng.integers(0, 256, (9, 9, 3)).astype(np.uint8)
    crop = cv2.resize(small, (64, 64), interpolation=cv2.INTER_CUBIC)
    cv2.circle(crop, (30, 34), 12, (230, 190, 170), -1)
    return crop


def to_batch(*crops: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(np.stack(crops)).permute(0, 3, 1, 2).float()


def to_crop(image: torch.Tensor) -> np.ndarray:
    return image.round().clamp(0, 255).permute(1, 2, 0).numpy().astype(int)


class SameDraws:
    """A generator with the same random numbers, whether one or several are drawn."""

    def __init__(self, integer: int, uniform: float, choice: float) -> None:
        self.integer, self.fraction, self.sign = integer, uniform, choice

    def integers(self, *_: object, size: object = None, **__: object) -> object:
        return self.integer if size is None else np.full(size, self.integer)

    def uniform(self, low: float, high: float, size: object = None) -> object:
        value = low + (high - low) * self.fraction
        return value if size is None else np.full(size, value)

    def choice(self, values: object, size: object = None) -> object:
        return self.sign if size is None else np.full(size, self.sign)


@pytest.mark.parametrize("strength", [0.2, 0.55, 1.0])
@pytest.mark.parametrize(
    ("name", "most"),
    [
        ("blur", 2),
        ("sharpening", 4),
        ("resolution", 2),
        ("gray", 2),
        ("tint", 1),
        ("tones", 1),
        ("halftone", 1),
    ],
)
@pytest.mark.parametrize("draw", [SameDraws(0, 0.3, -1.0), SameDraws(1, 0.8, 1.0)])
def test_a_batch_is_degraded_like_a_single_crop(
    crop: np.ndarray, name: str, most: int, strength: float, draw: SameDraws
) -> None:
    expected = single.DEGRADATIONS[name](crop, strength, draw).astype(int)
    batch = to_batch(np.zeros_like(crop), crop)
    found = batches.BATCH_DEGRADATIONS[name](batch, np.array([0.4, strength]), draw)
    assert np.abs(to_crop(found[1]) - expected).max() <= most
    assert np.abs(expected - crop.astype(int)).max() > 2 * most  # the change itself is larger


@pytest.mark.parametrize("quality", [5, 30, 75, 90])
def test_jpeg_is_that_of_a_file(crop: np.ndarray, quality: int) -> None:
    options = [
        *(cv2.IMWRITE_JPEG_QUALITY, quality),
        *(cv2.IMWRITE_JPEG_SAMPLING_FACTOR, cv2.IMWRITE_JPEG_SAMPLING_FACTOR_420),
    ]
    data = cv2.imencode(".jpg", cv2.cvtColor(crop, cv2.COLOR_RGB2BGR), options)[1]
    expected = cv2.imdecode(data, cv2.IMREAD_COLOR_RGB).astype(int)
    found = to_crop(batches.jpeg(to_batch(crop), np.array([float(quality)]))[0])
    lost = np.abs(expected - crop.astype(int)).mean()
    assert np.abs(found - expected).mean() < max(0.25 * lost, 1.2)


def test_jpeg_of_a_side_that_is_no_multiple_of_a_block(crop: np.ndarray) -> None:
    part = crop[:52, :52]
    found = batches.jpeg(to_batch(part), np.array([95.0]))[0]
    assert found.shape == (3, 52, 52)
    assert np.abs(to_crop(found) - part.astype(int)).mean() < 6


@pytest.mark.parametrize("name", ["noise", "grain"])
def test_noise_has_its_strength(name: str) -> None:
    torch.manual_seed(0)
    crops = torch.full((2, 3, 128, 128), 128.0)
    rng = np.random.default_rng(0)
    found = batches.BATCH_DEGRADATIONS[name](crops, np.array([0.25, 0.75]), rng) - 128
    full = {"noise": single.NOISE, "grain": single.GRAIN}[name]
    assert found.std(dim=(1, 2, 3)).tolist() == pytest.approx([full / 4, full * 3 / 4], rel=0.03)
    is_gray = bool((found[:, 0] == found[:, 2]).all())
    assert is_gray == (name == "grain")
    neighbours = float((found[1, 0, :, 1:] * found[1, 0, :, :-1]).mean() / found[1, 0].var())
    assert (neighbours > 0.7) == (name == "grain")


def test_the_share_of_degraded_crops(crop: np.ndarray) -> None:
    batch = to_batch(*[crop] * 600)[:, :, :32, :32].contiguous()
    names = ["tint", "tones", "halftone"]
    found = batches.degrade_batch(batch, 0.3, 2, names, np.random.default_rng(5))
    changed = (found != batch).flatten(1).any(dim=1)
    assert float(changed.float().mean()) == pytest.approx(0.3, abs=0.05)
    assert not (found != found.round()).any()
    assert float(found.min()) >= 0
    assert float(found.max()) <= 255
    untouched = batches.degrade_batch(batch, 0.0, 2, names, np.random.default_rng(5))
    assert (untouched == batch).all()


def test_two_degradations_are_different_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    def add(number: float):
        return lambda crops, strengths, rng: crops + number

    steps = {"a": add(1), "b": add(10), "c": add(100)}
    monkeypatch.setattr(batches, "BATCH_DEGRADATIONS", steps)
    found = batches.degrade_batch(
        torch.zeros(400, 3, 4, 4), 1.0, 2, list(steps), np.random.default_rng(1)
    )
    values, counts = found[:, 0, 0, 0].unique(return_counts=True)
    assert values.tolist() == [1, 10, 11, 100, 101, 110]
    assert int(counts[[0, 1, 3]].sum()) == pytest.approx(200, abs=40)  # one degradation


def test_strengths_are_spread_evenly() -> None:
    strengths = batches.draw_strengths(64_000, np.random.default_rng(0))
    counts = np.histogram(strengths, 8, (0, 1))[0]
    assert counts.min() > 7_600
    assert counts.max() < 8_400
    assert len(np.unique(strengths)) == batches.LEVELS
