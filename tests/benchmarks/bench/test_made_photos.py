"""Made photos: their sizes, and the portraits in them."""

import cv2
import numpy as np

from halnet.benchmarks.bench.made_photos import LEFT, make_photos
from halnet.benchmarks.samples import portrait
from halnet.photos.images import load_image


def test_the_photos_have_the_portrait_as_often_as_they_say() -> None:
    small, large, ten = make_photos()
    part = portrait()[0][:340, LEFT : LEFT + 300]
    assert [photo.faces for photo in (small, large, ten)] == [1, 1, 10]
    assert small.size == (300, 340)
    assert large.size == ten.size == (4000, 3000)
    for photo, columns, rows, tile in (
        (small, 1, 1, (300, 340)),
        (large, 1, 1, (2647, 3000)),
        (ten, 5, 2, (800, 906)),
    ):
        image = load_image(photo.data)
        assert image.shape == (photo.size[1], photo.size[0], 3)
        for cell in np.concatenate(
            [np.split(band, columns, axis=1) for band in np.split(image, rows)]
        ):
            y, x = (cell.shape[0] - tile[1]) // 2, (cell.shape[1] - tile[0]) // 2
            found = cv2.resize(
                cell[y : y + tile[1], x : x + tile[0]], (300, 340), interpolation=cv2.INTER_AREA
            )
            assert np.abs(found.astype(float) - part).mean() < 3
