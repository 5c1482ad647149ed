from pathlib import Path

import numpy as np
import pytest

from halnet.datasets.prepared_dataset import PreparedDataset
from halnet.datasets.record import Record
from halnet.training.photos import SetPhotos
from halnet.training.validation import (
    SetScore,
    exact_mae,
    mean_bias,
    mean_error,
    reference_mae,
    score_sets,
)


def photos_of(name: str, root: Path, *ends: tuple[int, int]) -> SetPhotos:
    records = tuple(Record(f"{i}.jpg", low, high) for i, (low, high) in enumerate(ends))
    return SetPhotos(name, PreparedDataset(root), records)


@pytest.fixture
def scores(prepared: Path) -> tuple[SetScore, ...]:
    exact = photos_of("aaf", prepared, (20, 20), (40, 40))
    ranges = photos_of("fairface", prepared, (3, 9), (3, 9), (70, 100), (70, 100))
    ages = np.array([21, 37, 6, 11, 99, 62], np.float32)
    return score_sets([exact, ranges], ages)


def test_the_error_of_a_range_is_the_distance_to_it(scores: tuple[SetScore, ...]) -> None:
    exact, ranges = scores
    assert exact == SetScore("aaf", True, 2, error=2, bias=-1)
    assert ranges == SetScore("fairface", False, 4, error=2.5, bias=-1.5)
    assert (exact.column, ranges.column) == ("val_mae_aaf", "val_distance_fairface")


def test_the_reference_is_the_mae_of_exact_ages_alone(prepared: Path) -> None:
    """Ages of two datasets, one of which has a range of ages too: errors of 1, 3 and 8 years."""
    first = photos_of("aaf", prepared, (20, 20), (40, 40))
    second = photos_of("mixed", prepared, (3, 9), (50, 50))
    ages = np.array([21, 37, 90, 58], np.float32)
    assert exact_mae([first, second], ages) == 4
    assert exact_mae([photos_of("fairface", prepared, (3, 9))], np.array([90.0])) is None
    assert reference_mae({"val": 4.00004, "test": None}) == {"val": 4.0}


def test_each_dataset_counts_the_same(scores: tuple[SetScore, ...]) -> None:
    assert mean_error(scores) == (2 + 2.5) / 2
    assert mean_bias(scores) == (-1 - 1.5) / 2
