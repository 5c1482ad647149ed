"""Errors beside times, on prepared datasets of noise."""

from collections.abc import Callable
from pathlib import Path

import pytest

from halnet.benchmarks.bench.model_errors import DataConfig, measure_errors
from halnet.errors import DatasetError
from halnet.evaluation.accuracy import EvaluateConfig, evaluate_model
from halnet.runtimes.base import RuntimeOptions

OPTIONS = RuntimeOptions("onnxruntime", threads=1)


@pytest.fixture(scope="module")
def model() -> Path:
    pytest.importorskip("onnxruntime")
    from halnet.artifact import bundled

    return bundled("halnet.onnx")


def test_one_dataset(model: Path, prepared: Path) -> None:
    config = DataConfig((prepared,), limit=10)
    (found,) = measure_errors(model, OPTIONS, config)
    expected = evaluate_model(EvaluateConfig((prepared,), model, limit=10, options=OPTIONS))
    assert (found.kind, found.count) == ("MAE", 10)
    assert found.error == expected.evaluation.overall.mae
    assert found.coverage == expected.evaluation.overall.coverage
    assert found.photos.startswith("synthetic all photos")


def test_several_datasets_have_their_sum_first(
    model: Path, make_prepared_folder: Callable[..., Path]
) -> None:
    exact = make_prepared_folder(40, "exact")
    ranges = make_prepared_folder(40, "ranges", 1000, 10)
    found = measure_errors(model, OPTIONS, DataConfig((exact, ranges), limit=6))
    assert [(errors.photos.split()[0], errors.kind, errors.count) for errors in found] == [
        ("all", "MAE", 6),
        ("all", "distance", 6),
        ("exact", "MAE", 6),
        ("ranges", "distance", 6),
    ]
    assert found[0].error == found[2].error
    assert found[1].error == found[3].error


def test_a_folder_that_is_no_dataset_is_an_error(model: Path, tmp_path: Path) -> None:
    with pytest.raises(DatasetError):
        measure_errors(model, OPTIONS, DataConfig((tmp_path,)))
