"""How often photos are drawn, by dataset and by age."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from halnet.datasets.collection import DataCollection
from halnet.datasets.prepared_dataset import PreparedDataset
from halnet.datasets.record import Record
from halnet.errors import ConfigError
from halnet.training.config import Share, TrainConfig
from halnet.training.photos import (
    PhotoCounts,
    SetPhotos,
    TrainingPhotos,
    count_photos,
    draw_rates,
    photos_by_set,
    training_photos,
)


@pytest.fixture(scope="module")
def data(prepared: Path, ranges: Path) -> DataCollection:
    return DataCollection([PreparedDataset(prepared), PreparedDataset(ranges)])


def photos_of(name: str, data: DataCollection, *ends: tuple[int, int]) -> SetPhotos:
    """Return a dataset with one photo for each label."""
    records = tuple(Record(f"{i}.jpg", low, high) for i, (low, high) in enumerate(ends))
    return SetPhotos(name, data.sets["synthetic"], records)


def test_photos_by_set_keep_the_order_of_the_collection(data: DataCollection) -> None:
    first, second = photos_by_set(data, "val")
    assert (first.name, second.name) == ("synthetic", "ranges")
    assert (first.is_exact, second.is_exact) == (True, False)
    assert (*first.records, *second.records) == data.select("val")
    sources = [second.data.records[row].source for row in second.rows]
    assert sources == [record.source for record in second.records]


def test_photos_and_copies_of_each_dataset_are_counted(
    prepared: Path, make_prepared_folder: Callable[..., Path]
) -> None:
    """The second dataset has photos 200 to 239 of the first one, and neither val nor test."""
    second = make_prepared_folder(80, "second", first=200, shares="100/0/0")
    both = DataCollection([PreparedDataset(prepared), PreparedDataset(second)])
    sets = {split: photos_by_set(both, split) for split in ("train", "val", "test")}
    one, two = count_photos(both, sets)
    later = [r for r in one_split(both, "synthetic", "val", "test") if int(r.source[:3]) >= 200]
    assert later, "some of the photos in common are in validation or test of the first dataset"
    assert two.used == {"train": 80 - len(later), "val": 0, "test": 0}
    assert two.copies == {"train": len(later), "val": 0}
    assert one.used == {"train": 216, "val": 12, "test": 12}
    assert one.notes == [
        "synthetic: 216 training, 12 validation, 12 test photos; left out as copies of photos in "
        "another split: none"
    ]
    assert two.notes == [
        f"second: {80 - len(later)} training, 0 validation, 0 test photos; left out as copies of "
        f"photos in another split: {len(later)} of training",
        "second: no validation photos, so the validation error does not include this dataset",
        "second: no test photos, so the model is not tested on this dataset",
    ]
    assert two.to_dict() == {"photos": two.used, "copies_left_out": two.copies}


def one_split(data: DataCollection, name: str, *splits: str) -> list[Record]:
    return [record for record in data.sets[name].records if record.split in splits]


def test_a_dataset_without_training_photos_says_so() -> None:
    counts = PhotoCounts("away", {"train": 0, "val": 3, "test": 4}, {"train": 2_000, "val": 1})
    assert counts.notes == [
        "away: 0 training, 3 validation, 4 test photos; left out as copies of photos in another "
        "split: 2,000 of training, 1 of validation",
        "away: no training photos, so the model is trained without this dataset",
    ]


def test_each_photo_is_drawn_once_by_default(data: DataCollection) -> None:
    photos = training_photos(data, TrainConfig())
    assert photos.rates is None
    drawn, copies = photos.draw((3, 1))
    expected = np.random.default_rng((3, 1)).permutation(len(photos))
    np.testing.assert_array_equal(drawn, expected)
    assert not copies.any()


def test_a_share_multiplies_how_often_photos_are_drawn(data: DataCollection) -> None:
    photos = training_photos(data, TrainConfig(shares=(Share("ranges", 4),)))
    assert photos.rates is not None
    assert photos.rates.mean() == pytest.approx(1)
    count = len(photos.sets[0].records)
    np.testing.assert_allclose(photos.rates[count:] / photos.rates[0], 4)
    np.testing.assert_allclose(photos.rates[:count], photos.rates[0])


def test_another_name_of_a_dataset_is_refused(data: DataCollection) -> None:
    message = "share: expected names among synthetic, ranges, found aaf"
    with pytest.raises(ConfigError, match=message):
        training_photos(data, TrainConfig(shares=(Share("aaf", 2),)))


def test_rare_ages_are_drawn_more_often(data: DataCollection) -> None:
    """There are 16 times as many people of 30 as of 70, in two datasets together."""
    many = photos_of("a", data, *[(30, 30)] * 48, (70, 70))
    few = photos_of("b", data, *[(70, 70)] * 2)
    rates = draw_rates([many, few], {}, 0.5)
    assert rates.mean() == pytest.approx(1)
    np.testing.assert_allclose(rates[48:] / rates[0], 4)
    np.testing.assert_allclose(draw_rates([many, few], {}, 0), 1)
    # The two photos with a share of 4 count as eight, so there are nine people of 70.
    shared = draw_rates([many, few], {"b": 4}, 0.5)
    assert shared[48] / shared[0] == pytest.approx((48 / 9) ** 0.5)
    assert shared[49] / shared[48] == pytest.approx(4)


def test_a_range_has_the_mean_rate_of_its_years(data: DataCollection) -> None:
    """The years from 20 to 60 are rare inside, so a photo that may have any of them is too."""
    part = photos_of("a", data, *[(20, 20)] * 40, *[(60, 60)] * 40, (20, 60))
    rates = draw_rates([part], {}, 1.0)
    ages = np.arange(101)
    counts = 40.0 * (ages == 20) + 40.0 * (ages == 60) + ((ages >= 20) & (ages <= 60)) / 41
    kernel = np.exp(-(np.array([-2, -1, 0, 1, 2]) ** 2) / 8)
    density = np.convolve(counts, kernel / kernel.sum(), mode="same")
    expected = (1 / density[20:61]).mean() / (1 / density[20])
    assert rates[80] / rates[0] == pytest.approx(expected)


def test_draws_follow_the_rates(data: DataCollection) -> None:
    """Each photo is drawn its expected number of times, rounded up or down, and on average."""
    part = photos_of("a", data, *[(30, 30)] * 50)
    rates = np.linspace(0.1, 1.9, 50)
    photos = TrainingPhotos((part,), rates)
    totals = np.zeros(50)
    for epoch in range(200):
        drawn, copies = photos.draw((0, epoch))
        assert len(drawn) == len(copies) == 50
        counts = np.bincount(drawn, minlength=50)
        assert ((counts == np.floor(rates)) | (counts == np.ceil(rates))).all()
        assert sorted(copies) == sorted(c for count in counts for c in range(count))
        totals += counts
    np.testing.assert_allclose(totals / 200, rates, atol=0.12)
    again = photos.draw((0, 7))
    np.testing.assert_array_equal(again[0], photos.draw((0, 7))[0])
    assert not np.array_equal(again[0], photos.draw((0, 8))[0])
    assert not np.array_equal(again[0], photos.draw((1, 7))[0])


def test_the_order_of_draws_is_shuffled(data: DataCollection) -> None:
    rates = np.array([20.0, *[0.0] * 19])
    part = photos_of("a", data, *[(30, 30)] * 20)
    drawn, copies = TrainingPhotos((part,), rates).draw((0, 0))
    assert (drawn == 0).all()
    assert sorted(copies) == list(range(20))
    assert list(copies) != list(range(20))
