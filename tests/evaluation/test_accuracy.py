from pathlib import Path

import numpy as np
import pytest

from halnet import Predictor
from halnet.datasets.prepared_dataset import PreparedDataset, to_predictions
from halnet.errors import ImageError
from halnet.evaluation.accuracy import (
    EvaluateConfig,
    evaluate_model,
    run_photos,
)
from halnet.evaluation.metrics import evaluate
from halnet.runtimes.backends import open_runtime
from halnet.runtimes.fake import FakeRuntime


def test_outputs_come_in_the_order_of_the_records(prepared: Path) -> None:
    data = PreparedDataset(prepared)
    records = data.select("train")[:70]
    calls: list[tuple[int, int]] = []
    outputs = data.outputs(FakeRuntime().run, records, lambda *c: calls.append(c))
    expected = [data.inner_crops([record]).mean() / 2.55 for record in records]
    np.testing.assert_allclose(outputs.age, expected, atol=0.05)
    assert calls == [(32, 70), (64, 70), (70, 70)]
    # A synthetic crop of age a has the brightness 40 + 2 a; the fake reads that as 15.7 + 0.78 a.
    result = evaluate(to_predictions(outputs, records, FakeRuntime().spec.metadata.calibration))
    truth = np.array([record.age for record in records])
    assert result.overall.mae == pytest.approx(
        np.abs((40 + 2 * truth) / 2.55 - truth).mean(), abs=0.4
    )


def test_a_limit_is_spread_over_the_split(prepared: Path, checkpoint: Path, tmp_path: Path) -> None:
    config = EvaluateConfig(prepared, checkpoint, split="train", limit=20, device="cpu")
    report = evaluate_model(config, lambda done, total: None)
    ages = [record.age for record in PreparedDataset(prepared).select("train")]
    assert report.predictions.label.tolist() == [ages[i * 216 // 20] for i in range(20)]
    assert report.evaluation.overall.count == 20


def test_raw_photos_give_the_ages_of_their_crops(
    aaf_sample: Path, aaf_prepared: Path, yunet: Path
) -> None:
    """Real photos through detection and alignment, against the same photos' prepared crops."""
    data = PreparedDataset(aaf_prepared)
    records = data.select("train")[:50]
    with open_runtime(Predictor(runtime="onnxruntime").spec.model) as runtime:
        crops = data.outputs(runtime.run, records)
        photos, missed = run_photos(Predictor(runtime, detector=yunet), aaf_sample, records)
        assert not missed
        by_crop, by_photo = (
            evaluate(
                to_predictions(outputs, records, runtime.spec.metadata.calibration)
            ).overall.mae
            for outputs in (crops, photos)
        )
    assert abs(by_crop - by_photo) < 0.1
    assert np.abs(crops.age - photos.age).max() < 0.2


def test_photos_without_any_face(aaf_prepared: Path, tmp_path: Path, yunet: Path) -> None:
    import cv2

    data = PreparedDataset(aaf_prepared)
    records = data.select("val")
    for record in records:
        path = tmp_path / record.source
        path.parent.mkdir(exist_ok=True)
        cv2.imwrite(str(path), np.full((99, 99, 3), 50, np.uint8))
    with pytest.raises(ImageError, match="no face found in any of 4 photos"):
        run_photos(Predictor(FakeRuntime(), detector=yunet), tmp_path, records)


def test_flip_averaging_is_of_the_distributions(prepared: Path, checkpoint: Path) -> None:
    data = PreparedDataset(prepared)
    crops = data.inner_crops(data.select("test"))
    with open_runtime(checkpoint, device="cpu") as runtime:
        plain, mirrored = runtime.run(crops), runtime.run(crops[:, :, ::-1].copy())
    expected = (plain.probabilities + mirrored.probabilities) / 2
    report = evaluate_model(EvaluateConfig(prepared, checkpoint, flip=True, device="cpu"))
    np.testing.assert_allclose(report.predictions.age, expected @ np.arange(101.0), atol=1e-3)
    assert np.abs(report.predictions.age - plain.age).max() > 1e-3
