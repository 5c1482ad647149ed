import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from halnet import Predictor
from halnet.artifact import CHECKPOINTS, bundled
from halnet.datasets.prepared_dataset import PreparedDataset
from halnet.errors import ArtifactError, ConfigError, DatasetError, ImageError
from halnet.evaluation.accuracy import (
    EvaluateConfig,
    evaluate_model,
    find_checkpoint,
    run_photos,
)
from halnet.evaluation.metrics import evaluate
from halnet.evaluation.predictions import to_predictions
from halnet.network.checkpoint import load_checkpoint, save_checkpoint
from halnet.runtimes.backends import open_model
from halnet.runtimes.base import RuntimeOptions
from halnet.runtimes.fake import FakeRuntime

CPU = RuntimeOptions(device="cpu")


def test_metrics_of_the_fake_runtime(prepared: Path) -> None:
    """A synthetic crop of the age a has the brightness 40 + 2 a, which the fake reads as an age."""
    options = RuntimeOptions(runtime="fake")
    calls: list[tuple[int, int]] = []
    config = EvaluateConfig((prepared,), Path("fake"), "train", limit=70, options=options)
    report = evaluate_model(config, lambda *call: calls.append(call))
    assert calls == [(32, 70), (64, 70), (70, 70)]
    truth = report.predictions.label
    assert report.evaluation.overall.count == 70
    assert report.evaluation.overall.mae == pytest.approx(
        np.abs((40 + 2 * truth) / 2.55 - truth).mean(), abs=0.4
    )
    (found,) = report.sets.values()
    assert (found.missed, report.spec.runtime) == (0, "fake")
    sha256 = PreparedDataset(prepared).split_sha256
    assert report.title == f"fake on fake: synthetic train split {sha256[:12]}"


def test_a_limit_is_spread_over_the_split(prepared: Path, checkpoint: Path) -> None:
    config = EvaluateConfig((prepared,), checkpoint, split="train", limit=20, options=CPU)
    report = evaluate_model(config)
    ages = [record.age for record in PreparedDataset(prepared).select("train")]
    assert report.predictions.label.tolist() == [ages[i * 216 // 20] for i in range(20)]
    assert report.evaluation.overall.count == 20


def test_several_datasets_are_evaluated_together_and_apart(
    make_prepared_folder: Callable[..., Path],
) -> None:
    first = make_prepared_folder(40, "first", shares="50/25/25")
    second = make_prepared_folder(40, "second", first=60, years=10, shares="50/25/25")
    options = RuntimeOptions(runtime="fake")
    config = EvaluateConfig((first, second), Path("fake"), limit=6, options=options)
    report = evaluate_model(config)
    assert list(report.sets) == ["first", "second"]
    exact, ranges = (part.evaluation for part in report.sets.values())
    assert (exact.overall.count, exact.ranges) == (6, None)
    assert ranges.overall.count == 0
    assert ranges.ranges is not None
    assert ranges.ranges.overall.count == 6
    assert set(ranges.ranges.by_group["camera"]) <= set("abc")
    assert report.evaluation.overall == exact.overall
    assert report.evaluation.ranges == ranges.ranges
    assert report.predictions.dataset == ("first",) * 6 + ("second",) * 6
    values = json.loads(json.dumps(report.to_dict()))
    assert set(values["sets"]) == {"first", "second"}
    assert values["sets"]["second"]["ranges"]["overall"]["count"] == 6
    assert values["sets"]["second"]["relation"] == "unknown"
    assert values["overall"]["count"] == 6


def test_a_dataset_that_the_model_never_saw_is_away(
    make_prepared_folder: Callable[..., Path], tmp_path: Path
) -> None:
    """The hashes of its training photos are in the checkpoint, which is given beside the model."""
    loaded = load_checkpoint(bundled("halnet.safetensors"))
    metadata = replace(loaded.metadata, licence="X-1", terms="research only")
    folder = make_prepared_folder(20, "away", shares="50/25/25")
    path = tmp_path / "model.safetensors"
    seen = PreparedDataset(folder).hashes[3]
    save_checkpoint(path, loaded.model, loaded.recipe, metadata, np.array([seen]))
    found = evaluate_model(EvaluateConfig((folder,), path, options=CPU))
    assert found.title == f"{path} on pytorch: away all photos, away"
    values = found.to_dict()
    assert (values["model"], values["runtime"]) == (str(path), "pytorch")
    assert (values["split"], values["relation"], values["seen_left_out"]) == ("all", "away", 1)
    assert values["overall"]["count"] == 19
    assert values["licence"] == "X-1: research only"
    assert "003.jpg" not in found.predictions.source


def test_a_dataset_without_photos_is_named(make_prepared_folder: Callable[..., Path]) -> None:
    some = make_prepared_folder(40, "some", shares="50/25/25")
    empty = make_prepared_folder(40, "empty", first=60, shares="50/50/0")
    config = EvaluateConfig((some, empty), Path("fake"), options=RuntimeOptions(runtime="fake"))
    report = evaluate_model(config)
    assert list(report.sets) == ["some"]
    assert [part.name for part in report.empty] == ["empty"]
    values = report.to_dict()
    assert list(values["sets"]) == ["some"], "the form is that of several datasets"
    assert list(values["not_evaluated"]) == ["empty"]
    assert "no photos in the split test" in values["not_evaluated"]["empty"]
    with pytest.raises(DatasetError, match="expected photos in the split test"):
        evaluate_model(replace(config, data=(empty,)))


@pytest.mark.parametrize(
    ("folder", "found"), [("none", "no such folder"), (".", r"no \d+\.jpg in it")]
)
def test_a_folder_without_the_photos_is_refused(
    folder: str, found: str, prepared: Path, tmp_path: Path
) -> None:
    options = RuntimeOptions(runtime="fake")
    config = EvaluateConfig((prepared,), Path("fake"), photos=(tmp_path / folder,), options=options)
    message = f"expected the original photos of synthetic, found {found}; name with --photos"
    with pytest.raises(DatasetError, match=message):
        evaluate_model(config)


@pytest.mark.parametrize(
    ("name", "found"),
    [("no.safetensors", "no such file"), ("a.onnx", "an artifact"), ("a.txt", "another file")],
)
def test_another_file_than_a_checkpoint_is_refused(
    name: str, found: str, prepared: Path, tmp_path: Path
) -> None:
    for existing in ("a.onnx", "a.txt"):
        (tmp_path / existing).touch()
    config = EvaluateConfig((prepared,), checkpoint=tmp_path / name)
    message = rf"expected a checkpoint \(\.safetensors\), found {found}.*; name a file that"
    with pytest.raises(ArtifactError, match=message):
        evaluate_model(config)


def test_the_checkpoint_can_be_a_bundled_one_by_its_name(prepared: Path) -> None:
    """It is found, and then refused, because the model was made from another one."""
    config = EvaluateConfig((prepared,), bundled("halnet.onnx"), checkpoint=Path(CHECKPOINTS[1]))
    assert find_checkpoint(CHECKPOINTS[1]) == bundled(f"{CHECKPOINTS[1]}.safetensors")
    with pytest.raises(ArtifactError, match=rf"in .*assets/{CHECKPOINTS[1]}\.safetensors; name it"):
        evaluate_model(config)


def test_each_dataset_needs_its_folder_of_photos(prepared: Path, tmp_path: Path) -> None:
    config = EvaluateConfig((prepared,), photos=(tmp_path, tmp_path))
    with pytest.raises(ConfigError, match="one folder for each of 1 datasets, found 2"):
        evaluate_model(config)


def test_raw_photos_give_the_ages_of_their_crops(
    aaf_sample: Path, aaf_prepared: Path, yunet: Path
) -> None:
    """Real photos, after detection and alignment, are compared with their prepared crops."""
    data = PreparedDataset(aaf_prepared)
    records = data.select("train")[:50]
    options = RuntimeOptions(runtime="onnxruntime")
    with open_model(bundled("halnet.onnx"), options) as runtime:
        crops = data.outputs(runtime.run, records)
        photos, missed = run_photos(Predictor(runtime, detector=yunet), aaf_sample, records)
        assert not missed
        calibration = runtime.spec.metadata.calibration
        by_crop, by_photo = (
            evaluate(to_predictions(outputs, records, calibration)).overall.mae
            for outputs in (crops, photos)
        )
    assert abs(by_crop - by_photo) < 0.1
    assert np.abs(crops.age - photos.age).max() < 0.2


def test_photos_without_any_face_are_an_error(
    aaf_prepared: Path, tmp_path: Path, yunet: Path
) -> None:
    data = PreparedDataset(aaf_prepared)
    records = data.select("val")
    for record in records:
        path = tmp_path / record.source
        path.parent.mkdir(exist_ok=True)
        cv2.imwrite(str(path), np.full((99, 99, 3), 50, np.uint8))
    with pytest.raises(ImageError, match="found no face in any of 4 photos"):
        run_photos(Predictor(FakeRuntime(), detector=yunet), tmp_path, records)


def test_flip_averaging_averages_distributions(prepared: Path, checkpoint: Path) -> None:
    data = PreparedDataset(prepared)
    crops = data.inner_crops(data.select("test"))
    with open_model(checkpoint, CPU) as runtime:
        plain, mirrored = runtime.run(crops), runtime.run(crops[:, :, ::-1].copy())
    expected = (plain.probabilities + mirrored.probabilities) / 2
    report = evaluate_model(EvaluateConfig((prepared,), checkpoint, flip=True, options=CPU))
    np.testing.assert_allclose(report.predictions.age, expected @ np.arange(101.0), atol=1e-3)
    assert np.abs(report.predictions.age - plain.age).max() > 1e-3
