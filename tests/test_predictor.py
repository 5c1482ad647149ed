import json
import math
import pickle
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from halnet import Ages, DetectedFace, Detector, Face, Predictor
from halnet.artifact import bundled, sha256_file
from halnet.benchmarks.samples import portrait, sample_crops
from halnet.errors import ConfigError, DetectorError, ImageError
from halnet.faces.alignment import align
from halnet.faces.quality import Quality, measure_quality
from halnet.faces.upright import UprightDetector
from halnet.runtimes.fake import FakeRuntime

SMALL = (0.0, 0.0, 20.0, 20.0)  # box of the second face


def detect(photo: np.ndarray) -> list[DetectedFace]:
    """Find the face of the portrait, and before it a small one; find none in a black photo."""
    face = portrait()[1]
    moved = face.landmarks + np.array([60, 40], np.float32)
    return [DetectedFace(SMALL, moved, 0.7), face] if photo.max() > 0 else []


class ForeignDetector:
    """A detector that keeps state and has nothing to do with FaceDetector."""

    def __init__(self) -> None:
        self.photos: list[np.ndarray] = []

    def __call__(self, photo: np.ndarray) -> Sequence[DetectedFace]:
        self.photos.append(photo)
        return tuple(detect(photo))


@pytest.fixture
def predictor() -> Predictor:
    return Predictor(FakeRuntime(), detector=detect)


def test_a_photo_gives_its_faces_with_the_largest_first(predictor: Predictor) -> None:
    image, found = portrait()
    faces = predictor(image)
    assert [type(face) for face in faces] == [Face, Face]
    first = faces[0]
    crop = align(image, found.landmarks)
    assert first.age == pytest.approx(
        crop.mean() / 255 * 100, abs=0.05
    )  # the definition of the fake runtime
    assert first.stddev == pytest.approx(5.0, abs=0.01)
    assert first.box == found.box
    assert first.score == found.score
    assert first.probabilities.sum() == pytest.approx(1, abs=1e-5)
    assert faces[1].box == SMALL
    assert first.age != faces[1].age
    # The quantile of the fake runtime at 90 % is 1.8 standard deviations.
    assert first.interval(0.9) == pytest.approx((first.age - 9, first.age + 9), abs=0.05)
    assert first.probability(at_least=0) == pytest.approx(1)
    assert 0.4 < first.probability(at_least=round(first.age)) < 0.65


def test_a_list_of_photos_gives_a_list_of_lists(predictor: Predictor, tmp_path: Path) -> None:
    image, _ = portrait()
    path = tmp_path / "photo.png"
    cv2.imwrite(str(path), image[:, :, ::-1])
    black = np.zeros((64, 64, 3), np.uint8)
    by_array, by_path, by_bytes, none = predictor([image, path, path.read_bytes(), black])
    assert none == []
    assert [f.age for f in by_array] == [f.age for f in by_path] == [f.age for f in by_bytes]


@pytest.mark.parametrize("detector", [detect, ForeignDetector()])
def test_any_callable_is_a_detector(detector: Detector) -> None:
    image, face = portrait()
    with Predictor(FakeRuntime(), detector=detector) as predictor:
        assert predictor.detector is detector
        (expected,) = predictor.predict_faces(image, [face])
        largest, smallest = predictor(image)
        assert predictor(np.zeros((64, 64, 3), np.uint8)) == []
    assert (largest.age, largest.box, largest.score) == (expected.age, face.box, face.score)
    assert (smallest.box, smallest.score) == (SMALL, 0.7)


def test_a_detector_is_given_the_upright_rgb_photo() -> None:
    foreign = ForeignDetector()
    data = cv2.imencode(".png", np.full((30, 40, 3), (10, 20, 30), np.uint8))[1].tobytes()  # BGR
    Predictor(FakeRuntime(), detector=foreign)(data)
    (photo,) = foreign.photos
    assert (photo.shape, photo.dtype) == ((30, 40, 3), np.uint8)
    assert photo[0, 0].tolist() == [30, 20, 10]


@pytest.mark.parametrize(("min_face", "count"), [(20.0, 2), (20.5, 1), (10_000.0, 0)])
def test_the_narrowest_face_applies_to_every_detector(min_face: float, count: int) -> None:
    image, _ = portrait()
    predictor = Predictor(FakeRuntime(), detector=detect, min_face=min_face)
    assert len(predictor.detect(image)) == len(predictor(image)) == count


def test_the_narrowest_face_applies_to_the_detector_of_a_path(yunet: Path) -> None:
    image, face = portrait()
    for min_face, count in ((face.box[2] - 2, 1), (face.box[2] + 2, 0)):
        predictor = Predictor(FakeRuntime(), detector=yunet, min_face=min_face)
        assert isinstance(predictor.detector, UprightDetector)
        assert len(predictor.detect(image)) == count


@pytest.mark.parametrize(
    ("returned", "message"),
    [
        (None, "must return a sequence of halnet.DetectedFace values, but it returned NoneType"),
        ([[0, 0, 9, 9]], "must return a sequence of halnet.DetectedFace .* one of them is list"),
    ],
)
def test_a_detector_that_returns_something_else_is_one_clear_error(
    returned: Any, message: str
) -> None:
    predictor = Predictor(FakeRuntime(), detector=lambda photo: returned)
    with pytest.raises(DetectorError, match=message):
        predictor(portrait()[0])


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (((0, 0, 9), np.eye(5, 2), 0.5), "box of a detected face: expected four finite numbers"),
        (((0, 0, 9, 9), np.eye(6, 2), 0.5), "landmarks of a detected face: expected 5 x 2 finite"),
        (((0, 0, 9, 9), np.full((5, 2), np.nan), 0.5), "landmarks of .* found .*nan"),
    ],
)
def test_a_detector_with_a_wrong_face_is_one_clear_error(
    values: tuple[Any, Any, Any], message: str
) -> None:
    predictor = Predictor(FakeRuntime(), detector=lambda photo: [DetectedFace(*values)])
    with pytest.raises(DetectorError, match=message) as error:
        predictor(portrait()[0])
    assert "\n" not in str(error.value)


def test_a_face_far_outside_of_the_photo_has_no_age() -> None:
    image, face = portrait()
    lost = [
        DetectedFace(face.box, face.landmarks + np.float32(move), 0.99) for move in (9e6, -600, 600)
    ]
    predictor = Predictor(FakeRuntime(), detector=lambda photo: [*lost, face])
    assert [found.score for found in predictor(image)] == [face.score]
    message = r"expected places inside the photo of 512 x 512 pixels, found \[\[.*; give x and y"
    for other in lost:
        with pytest.raises(DetectorError, match=message):
            predictor.predict_faces(image, [face, other])


@pytest.mark.parametrize("min_face", [-0.5, float("nan"), float("inf")])
def test_a_wrong_width_of_the_narrowest_face_is_refused_at_once(min_face: float) -> None:
    with pytest.raises(ConfigError, match=f"min_face: .* pixels from 0 up, found {min_face}"):
        Predictor(FakeRuntime(), detector=detect, min_face=min_face)


def test_what_is_not_a_detector_is_refused_at_once() -> None:
    with pytest.raises(ConfigError, match="detector: expected a callable .* found int"):
        Predictor(FakeRuntime(), detector=640)  # type: ignore[arg-type]


def test_a_bad_photo_is_an_error(predictor: Predictor, tmp_path: Path) -> None:
    with pytest.raises(ImageError, match="No such file"):
        predictor(tmp_path / "missing.jpg")
    with pytest.raises(ImageError, match="not a JPEG"):
        predictor(b"nonsense")


def test_the_first_bad_photo_of_a_list_is_named(predictor: Predictor) -> None:
    image, _ = portrait()
    with pytest.raises(
        ImageError, match=r"^item 1 of the list \(counted from 0\): photo: expected"
    ):
        predictor([image, None, b"nonsense"])
    with pytest.raises(ConfigError, match="errors: expected raise or return, found 'ignore'"):
        predictor([image], errors="ignore")  # type: ignore[call-overload]


def test_errors_can_stand_among_the_results(tmp_path: Path) -> None:
    image, face = portrait()
    black = np.zeros((64, 64, 3), np.uint8)

    def odd(photo: np.ndarray) -> Any:
        return [face] if photo.max() > 0 else None

    predictor = Predictor(FakeRuntime(), detector=odd)
    photos = (tmp_path / "missing.jpg", image, black, image.astype(np.float32))
    missing, found, wrong, other = predictor(photos, errors="return")
    assert isinstance(missing, ImageError)
    assert "No such file" in str(missing)
    assert [face.age for face in found] == [face.age for face in predictor(image)]  # type: ignore[union-attr]
    assert isinstance(wrong, DetectorError)
    assert "found float32" in str(other)


@pytest.mark.parametrize("use", ["__call__", "detect", "predict_crops", "__reduce__"])
def test_use_after_close_is_one_clear_error(use: str, predictor: Predictor) -> None:
    argument = sample_crops()[:1] if use == "predict_crops" else np.zeros((64, 64, 3), np.uint8)
    predictor.close()
    with pytest.raises(ConfigError, match=r"Predictor: used after close\(\); open a new one"):
        getattr(predictor, use)(*[] if use == "__reduce__" else [argument])


def test_a_runtime_that_was_closed_is_one_clear_error(predictor: Predictor) -> None:
    predictor._runtime.close()
    with pytest.raises(ConfigError, match=r"FakeRuntime: used after close\(\)"):
        predictor(portrait()[0])


@pytest.mark.parametrize("crops", [None, [sample_crops()[0]], "crops"])
def test_crops_that_are_no_array_are_one_clear_error(crops: Any, predictor: Predictor) -> None:
    message = f"crops: expected an array of N x 224 .* found {type(crops).__name__}"
    with pytest.raises(ConfigError, match=message):
        predictor.predict_crops(crops)


def test_the_path_of_a_detector_is_read_at_once(
    yunet: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(DetectorError, match="missing.onnx: the YuNet model cannot be read"):
        Predictor(FakeRuntime(), detector=tmp_path / "missing.onnx")
    monkeypatch.chdir(yunet.parent)
    predictor = Predictor(FakeRuntime(), detector=yunet.name)
    monkeypatch.chdir(tmp_path)
    assert len(predictor(portrait()[0])) == 1
    assert len(pickle.loads(pickle.dumps(predictor))(portrait()[0])) == 1


def test_a_pickled_predictor_has_the_same_arguments(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A relative path is that of the folder in which the predictor was made."""
    (tmp_path / "copy.onnx").write_bytes(bundled("halnet.onnx").read_bytes())
    monkeypatch.chdir(tmp_path)
    options = {"detector": detect, "min_face": 20.5, "flip": True, "quality": True}
    first = Predictor("copy.onnx", runtime="onnxruntime", threads=1, **options)
    monkeypatch.chdir("/")
    second = pickle.loads(pickle.dumps(first))
    assert second.spec == replace(first.spec, model=str(tmp_path / "copy.onnx"))
    assert vars(second) | {"_runtime": None} == vars(first) | {"_runtime": None}


def test_any_number_of_crops_is_predicted(predictor: Predictor) -> None:
    crops = sample_crops()
    ages = predictor.predict_crops(crops)
    assert isinstance(ages, Ages)
    assert len(ages) == 72
    np.testing.assert_allclose(ages.age, crops.mean(axis=(1, 2, 3)) / 2.55, atol=0.05)
    low, high = ages.interval(0.9)
    np.testing.assert_allclose(high - low, 18, atol=0.05)
    assert ages.probability(at_least=0).shape == (72,)


def test_a_face_becomes_json_values(predictor: Predictor) -> None:
    entry = predictor(portrait()[0])[0].to_dict(0.9)
    places = {"turned": 0, "quality": None, "track": None}
    assert set(entry) == {
        "age",
        "stddev",
        "interval",
        "level",
        "box",
        "landmarks",
        "score",
        *places,
    }
    assert {name: entry[name] for name in places} == places
    assert entry["interval"][0] < entry["age"] < entry["interval"][1]
    assert len(entry["landmarks"]) == 5


def test_faces_have_their_quality_if_it_is_asked_for(predictor: Predictor) -> None:
    image, found = portrait()
    assert [face.quality for face in predictor(image)] == [None, None]
    with Predictor(FakeRuntime(), detector=detect, quality=True) as measuring:
        largest, smallest = measuring(image)
        (alone,) = measuring.predict_faces(image, [found])
        second = pickle.loads(pickle.dumps(measuring))
        assert second(image)[0].quality == largest.quality
        assert measuring(np.zeros((64, 64, 3), np.uint8)) == []
    crop = align(image, found.landmarks)
    expected = measure_quality(crop, found.landmarks, (512, 512), found.score)
    assert largest.quality == alone.quality == expected
    assert largest.quality.eye_distance == pytest.approx(
        np.hypot(*(found.landmarks[1] - found.landmarks[0]))
    )
    assert smallest.quality.score == pytest.approx(0.7)
    assert smallest.quality != largest.quality
    assert largest.to_dict()["quality"] == expected.to_dict()
    assert [face.age for face in predictor(image)] == [largest.age, smallest.age]


def test_quality_is_not_measured_unless_it_is_asked_for(
    predictor: Predictor, monkeypatch: pytest.MonkeyPatch
) -> None:
    def measure(*values: Any) -> None:
        raise AssertionError

    monkeypatch.setattr("halnet.predictor.measure_quality", measure)
    assert len(predictor(portrait()[0])) == 2
    with pytest.raises(AssertionError):
        predictor.check(portrait()[0])


def test_a_number_that_is_none_is_null_in_json(predictor: Predictor) -> None:
    face = predictor(portrait()[0])[0]
    quality = Quality(60.0, 0.51234, math.inf, math.nan, 0.0, 1.0, 0.9)
    entry = replace(face, quality=quality).to_dict()
    assert json.loads(json.dumps(entry, allow_nan=False))["quality"] == {
        **{"eye_distance": 60.0, "sharpness": 0.5123, "brightness": None, "yaw": None},
        **{"pitch": 0.0, "inside": 1.0, "score": 0.9},
    }


def test_the_log_states_what_was_chosen(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO", "halnet")
    with Predictor(threads=1) as predictor:
        spec = predictor.spec
    assert f"on {spec.runtime} {spec.version}, {spec.provider}" in caplog.text


def test_several_threads_may_share_a_predictor() -> None:
    image, face = portrait()
    with Predictor(threads=1) as predictor, ThreadPoolExecutor(4) as pool:
        (expected,) = predictor.predict_faces(image, [face])
        for (found,) in pool.map(lambda _: predictor.predict_faces(image, [face]), range(12)):
            assert found.age == pytest.approx(expected.age, abs=1e-3)


@pytest.mark.parametrize("runtime", ["onnxruntime", "openvino", "pytorch"])
def test_the_bundled_model_on_the_bundled_portrait(runtime: str) -> None:
    """The mission patch is that of STS-93 in July 1999, when Eileen Collins was 42."""
    image, face = portrait()
    with Predictor(runtime=runtime) as predictor:
        (result,) = predictor.predict_faces(image, [face])
        assert predictor.spec.metadata.dataset == "aaf, utkface, afad, fairface"
        assert predictor.spec.runtime == runtime
    low, high = result.interval(0.95)
    assert low < 42 < high
    assert result.age == pytest.approx(29.75, abs=0.1)


def test_the_bundled_files_belong_together() -> None:
    spec = Predictor(runtime="onnxruntime").spec
    assert spec.metadata.checkpoint_sha256 == sha256_file(bundled("halnet.safetensors"))
    assert spec.metadata.reference_mae["test"] < 5.5
