import cv2
import numpy as np
import pytest

from halnet.benchmarks.samples import portrait
from halnet.datasets.crop_hash import (
    BITS,
    MAX_DISTANCE,
    MIN_SIMILARITY,
    describe_crop,
    find_close,
    find_close_within,
    hash_crop,
    hash_description,
    similarity,
)
from halnet.photos.images import Image


@pytest.fixture(scope="module")
def crop() -> Image:
    """The bundled portrait in the size of a prepared crop."""
    image = portrait()[0]
    side = min(image.shape[:2])
    return np.asarray(cv2.resize(image[:side, :side], (256, 256)), np.uint8)


def _distance(first: Image, second: Image) -> int:
    return (hash_crop(first) ^ hash_crop(second)).bit_count()


def _jpeg(crop: Image) -> Image:
    return np.asarray(cv2.imdecode(cv2.imencode(".jpg", crop, [1, 40])[1], 1), np.uint8)


def _smaller(crop: Image) -> Image:
    small = cv2.resize(crop, (100, 100), interpolation=cv2.INTER_AREA)
    return np.asarray(cv2.resize(small, (256, 256)), np.uint8)


def _brighter(crop: Image) -> Image:
    return np.clip(crop * 1.2 + 10, 0, 255).astype(np.uint8)


def _gray(crop: Image) -> Image:
    return np.repeat(cv2.cvtColor(crop, cv2.COLOR_RGB2GRAY)[..., None], 3, axis=2)


@pytest.mark.parametrize("change", [_jpeg, _smaller, _brighter, _gray])
def test_a_copy_has_nearly_the_same_hash(change: object, crop: Image) -> None:
    copy = change(crop)  # type: ignore[operator]
    assert _distance(crop, copy) <= MAX_DISTANCE
    assert similarity(describe_crop(crop), describe_crop(copy)) >= MIN_SIMILARITY


def test_the_background_does_not_matter(crop: Image) -> None:
    other = np.zeros_like(crop)
    other[48:208, 48:208] = crop[48:208, 48:208]
    assert _distance(crop, other) == 0


def test_another_picture_has_another_hash(crop: Image) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (256, 256, 3), np.uint8)
    for other in (noise, crop[:, ::-1], crop[::-1]):
        assert _distance(crop, other) > MAX_DISTANCE
        assert similarity(describe_crop(crop), describe_crop(other)) < 0.8


def test_the_first_bit_is_the_first_coefficient() -> None:
    description = np.full(BITS, -1, np.float32)
    description[0] = description[63] = 1
    assert hash_description(description) == 1 << 63 | 1


def test_the_hash_of_the_portrait_stays(crop: Image) -> None:
    """Checkpoints carry hashes, so later versions must compute the same ones."""
    assert (hash_crop(crop) ^ 0x6FEA3E98C24AB203).bit_count() <= 1


def test_a_flat_crop_has_a_hash() -> None:
    assert hash_crop(np.zeros((256, 256, 3), np.uint8)) < 2**64


def test_close_pairs_are_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """The same as by counting bits one by one, in blocks of any size."""
    rng = np.random.default_rng(0)
    values = rng.integers(0, 2**64, 300, np.uint64)
    values[100:150] = values[:50] ^ np.uint64(0b101)
    numbers = [int(value) for value in values]
    close = {(i, j) for i in range(300) for j in range(300) if _bits(numbers, i, j) <= 8}
    for block in (1, 5_000, 1_000_000):
        monkeypatch.setattr("halnet.datasets.crop_hash.BLOCK", block)
        assert set(find_close(numbers, values, 8)) == close
        assert set(find_close_within(values, 8)) == {(i, j) for i, j in close if i < j}
    assert len(close) >= 400
    assert find_close_within(values, 1) == []


def _bits(values: list[int], i: int, j: int) -> int:
    return (values[i] ^ values[j]).bit_count()


def test_no_hashes_have_no_pairs() -> None:
    assert find_close([], [5]) == find_close([5], []) == find_close_within([]) == []
