import numpy as np

from halnet.benchmarks.samples import portrait, sample_crops
from halnet.faces.alignment import align


def test_the_crops_are_all_different_and_contain_the_plain_one() -> None:
    crops = sample_crops()
    assert crops.shape == (72, 224, 224, 3)
    assert crops.dtype == np.uint8
    assert len({crop.tobytes() for crop in crops}) == 72
    image, face = portrait()
    plain = align(image, face.landmarks).astype(int)
    nearest = min(np.abs(crop - plain).max() for crop in crops)
    assert nearest <= 1
    brightness = crops.mean(axis=(1, 2, 3))
    np.testing.assert_allclose(brightness[1::2], brightness[::2] / 2, atol=0.6)
